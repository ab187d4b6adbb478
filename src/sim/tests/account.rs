use std::time::Duration;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
        .collect()
}

fn project_key() -> Key {
    Key {
        secret: "sk-proj-one".into(),
        organization: "org-A".into(),
        project: Some("proj_a".into()),
    }
}

fn account(limits: Limits, balance_usd: Option<f64>) -> Arc<Account> {
    Arc::new(Account::new(Vec::new(), limits, balance_usd, 1))
}

/// A call of that many tokens that is over at once, and its headers.
fn call(
    account: &Arc<Account>,
    model: &str,
    tokens: u64,
) -> (Vec<(&'static str, String)>, Result<(), ApiError>) {
    let (gauge, verdict) = account.admit(&someone(), model, Ask::text(tokens, 0));
    (
        gauge.headers(std::time::SystemTime::UNIX_EPOCH),
        verdict.map(drop),
    )
}

fn someone() -> Who {
    Who {
        organization: "org-A".into(),
        project: None,
        admin: false,
    }
}

#[test]
fn any_key_is_good_without_configured_ones_except_invalid_and_missing() {
    let account = account(Limits::default(), None);
    let who = account
        .identify(&headers(&[("authorization", "Bearer sk-anything")]))
        .unwrap();
    assert_eq!(who.organization, DEFAULT_ORGANIZATION);
    assert_eq!(who.project, None);
    let wrong = account
        .identify(&headers(&[(
            "authorization",
            "Bearer sk-invalid-0123456789",
        )]))
        .unwrap_err();
    assert_eq!(wrong.status, 401);
    assert!(
        wrong
            .message
            .starts_with("Incorrect API key provided: sk-inval*********6789. You"),
        "{}",
        wrong.message
    );
    assert_eq!(account.identify(&HeaderMap::new()).unwrap_err().code, None);
}

#[test]
fn organization_and_project_headers_must_match_the_key() {
    let account = Account::new(vec![project_key()], Limits::default(), None, 1);
    let ask = |name, value| {
        account.identify(&headers(&[
            ("authorization", "Bearer sk-proj-one"),
            (name, value),
        ]))
    };
    assert_eq!(
        ask("openai-organization", "org-A")
            .unwrap()
            .project
            .unwrap(),
        "proj_a"
    );
    assert_eq!(
        ask("openai-organization", "org-B")
            .unwrap_err()
            .code
            .as_deref(),
        Some("mismatched_organization")
    );
    assert_eq!(
        ask("openai-project", "proj_b").unwrap_err().code.as_deref(),
        Some("mismatched_project")
    );
}

#[tokio::test(start_paused = true)]
async fn requests_run_out_and_come_back_one_by_one() {
    let limits = Limits {
        requests_per_minute: Some(500),
        ..Limits::default()
    };
    let account = account(limits, None);
    for _ in 0..500 {
        call(&account, "gpt-4o", 1).1.unwrap();
    }
    let (gauge, verdict) = call(&account, "gpt-4o", 1);
    let error = verdict.unwrap_err();
    assert_eq!(
        error.message,
        "Rate limit reached for gpt-4o in organization org-A on requests per min (RPM): Limit 500, Used 500, \
         Requested 1. Please try again in 120ms. Visit https://platform.openai.com/account/rate-limits to learn more."
    );
    assert_eq!(
        (&*error.kind, error.code.as_deref()),
        ("requests", Some("rate_limit_exceeded"))
    );
    assert!(error.headers().contains(&("retry-after-ms", "120".into())));
    assert_eq!(gauge[2].1, "0");
    call(&account, "gpt-4o-mini", 1)
        .1
        .expect("another model has its own bucket");
    tokio::time::advance(Duration::from_millis(120)).await;
    call(&account, "gpt-4o", 1).1.unwrap();
    call(&account, "gpt-4o", 1).1.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_tokens_takes_no_request() {
    let limits = Limits {
        requests_per_minute: Some(10),
        tokens_per_minute: Some(1_000),
        ..Limits::default()
    };
    let account = account(limits, None);
    call(&account, "m", 900).1.unwrap();
    for _ in 0..20 {
        assert_eq!(call(&account, "m", 200).1.unwrap_err().kind, "tokens");
    }
    let too_large = call(&account, "m", 1_001).1.unwrap_err();
    assert!(too_large.message.starts_with("Request too large for m in organization org-A on tokens per min (TPM): Limit 1000, Requested 1001."));
    assert_eq!(call(&account, "m", 100).0[2].1, "8");
}

#[tokio::test(start_paused = true)]
async fn a_short_window_refuses_the_burst_that_the_minute_would_allow() {
    let limits = Limits {
        requests_per_minute: Some(600),
        window_ms: Some(1_000),
        ..Limits::default()
    };
    let account = account(limits, None);
    let passed = (0..100)
        .filter(|_| call(&account, "m", 1).1.is_ok())
        .count();
    assert_eq!(passed, 10);
    tokio::time::advance(Duration::from_secs(1)).await;
    let passed = (0..100)
        .filter(|_| call(&account, "m", 1).1.is_ok())
        .count();
    assert_eq!(passed, 10);
}

#[test]
fn an_empty_balance_is_insufficient_quota_until_topped_up() {
    let account = account(Limits::default(), Some(0.001));
    call(&account, "gpt-4o", 1).1.unwrap();
    account.charge(&someone(), "gpt-4o", 400, 0);
    assert!(account.balance("org-A").unwrap().abs() < 1e-12);
    assert_eq!(
        call(&account, "gpt-4o", 1).1.unwrap_err().code.as_deref(),
        Some("insufficient_quota")
    );
    account.set_balance(Some(5.0));
    call(&account, "gpt-4o", 1).1.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_is_under_way_until_its_ticket_is_dropped() {
    let limits = Limits {
        concurrency: Some(1),
        ..Limits::default()
    };
    let account = account(limits, None);
    let (_, first) = account.admit(&someone(), "m", Ask::text(1, 0));
    let refused = call(&account, "other", 1).1.unwrap_err();
    assert!(
        refused.message.contains("concurrent"),
        "{}",
        refused.message
    );
    drop(first);
    call(&account, "other", 1).1.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_let_in_under_former_limits_gives_nothing_back_to_the_new_ones() {
    let limits = Limits {
        tokens_per_minute: Some(1_000),
        charge: Some(crate::sim::Charge::Usage),
        ..Limits::default()
    };
    let account = account(limits.clone(), None);
    let mut ticket = account
        .admit(&someone(), "m", Ask::text(0, 900))
        .1
        .unwrap()
        .unwrap();
    account.set_limits(limits, Vec::new());
    call(&account, "m", 500).1.unwrap();
    ticket.used(Used::default());
    drop(ticket);
    assert_eq!(call(&account, "m", 0).0[3].1, "500");
}

#[tokio::test(start_paused = true)]
async fn what_a_call_did_not_use_is_given_back_at_its_end_but_not_when_its_caller_left() {
    let limits = Limits {
        tokens_per_minute: Some(1_000),
        charge: Some(crate::sim::Charge::Usage),
        ..Limits::default()
    };
    let account = account(limits, None);
    let left = |account| call(account, "m", 0).0[3].1.parse::<u64>().unwrap();
    let mut ticket = account
        .admit(&someone(), "m", Ask::text(10, 400))
        .1
        .unwrap()
        .unwrap();
    ticket.used(Used {
        input: 10,
        output: 90,
    });
    assert_eq!(left(&account), 590);
    drop(ticket);
    assert_eq!(left(&account), 900);
    let mut ticket = account
        .admit(&someone(), "m", Ask::text(10, 400))
        .1
        .unwrap()
        .unwrap();
    ticket.used(Used {
        input: 10,
        output: 90,
    });
    ticket.abandoned();
    drop(ticket);
    assert_eq!(left(&account), 490);
}
