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

fn someone() -> Who {
    Who {
        organization: "org-A".into(),
        project: None,
        admin: false,
    }
}

#[test]
fn any_key_is_good_without_configured_ones_except_invalid_and_missing() {
    let account = Account::new(Vec::new(), Limits::default(), None);
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
    let account = Account::new(vec![project_key()], Limits::default(), None);
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
    let account = Account::new(Vec::new(), limits, None);
    for _ in 0..500 {
        account.admit(&someone(), "gpt-4o", 1).1.unwrap();
    }
    let (gauge, verdict) = account.admit(&someone(), "gpt-4o", 1);
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
    assert_eq!(gauge.headers()[2].1, "0");
    account
        .admit(&someone(), "gpt-4o-mini", 1)
        .1
        .expect("another model has its own bucket");
    tokio::time::advance(Duration::from_millis(120)).await;
    account.admit(&someone(), "gpt-4o", 1).1.unwrap();
    account.admit(&someone(), "gpt-4o", 1).1.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_tokens_takes_no_request() {
    let limits = Limits {
        requests_per_minute: Some(10),
        tokens_per_minute: Some(1_000),
        window_ms: None,
    };
    let account = Account::new(Vec::new(), limits, None);
    account.admit(&someone(), "m", 900).1.unwrap();
    for _ in 0..20 {
        assert_eq!(
            account.admit(&someone(), "m", 200).1.unwrap_err().kind,
            "tokens"
        );
    }
    let too_large = account.admit(&someone(), "m", 1_001).1.unwrap_err();
    assert!(too_large.message.starts_with("Request too large for m in organization org-A on tokens per min (TPM): Limit 1000, Requested 1001."));
    assert_eq!(account.admit(&someone(), "m", 100).0.headers()[2].1, "8");
}

#[tokio::test(start_paused = true)]
async fn a_short_window_refuses_the_burst_that_the_minute_would_allow() {
    let limits = Limits {
        requests_per_minute: Some(600),
        tokens_per_minute: None,
        window_ms: Some(1_000),
    };
    let account = Account::new(Vec::new(), limits, None);
    let passed = (0..100)
        .filter(|_| account.admit(&someone(), "m", 1).1.is_ok())
        .count();
    assert_eq!(passed, 10);
    tokio::time::advance(Duration::from_secs(1)).await;
    let passed = (0..100)
        .filter(|_| account.admit(&someone(), "m", 1).1.is_ok())
        .count();
    assert_eq!(passed, 10);
}

#[test]
fn an_empty_balance_is_insufficient_quota_until_topped_up() {
    let account = Account::new(Vec::new(), Limits::default(), Some(0.001));
    account.admit(&someone(), "gpt-4o", 1).1.unwrap();
    account.charge(&someone(), "gpt-4o", 400, 0);
    assert!(account.balance("org-A").unwrap().abs() < 1e-12);
    assert_eq!(
        account
            .admit(&someone(), "gpt-4o", 1)
            .1
            .unwrap_err()
            .code
            .as_deref(),
        Some("insufficient_quota")
    );
    account.set_balance(Some(5.0));
    account.admit(&someone(), "gpt-4o", 1).1.unwrap();
}
