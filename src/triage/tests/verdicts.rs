//! What the verdict says beyond its class: waits (in a file of their own), advice; foreign hosts; the user's own rules.

mod waits;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::*;
use super::corpus;

const NOON: Duration = Duration::from_secs(1_788_177_600); // 2026-08-31T12:00:00Z

fn judged(provider: &Provider, status: u16, headers: &[(&str, &str)], body: &str) -> Verdict {
    let headers = headers
        .iter()
        .map(|(name, value)| {
            (
                http::HeaderName::try_from(*name).unwrap(),
                value.parse().unwrap(),
            )
        })
        .collect();
    let transport = if status < 300 {
        Transport::ObjectIn200
    } else {
        Transport::Http
    };
    let evidence = Evidence {
        status,
        headers: &headers,
        body: body.as_bytes(),
        transport,
        endpoint: "/v1/chat/completions",
    };
    judge_at(provider, &evidence, UNIX_EPOCH + NOON)
}

fn openai() -> Arc<Provider> {
    preset("openai").unwrap()
}

const OUT_OF_QUOTA: &str = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#;

fn limited(message: &str) -> String {
    serde_json::json!({"error": {"message": message, "type": "tokens", "code": "rate_limit_exceeded"}}).to_string()
}

#[test]
fn an_empty_account_of_openai_is_believed_beside_a_retry_after() {
    let verdict = judged(&openai(), 429, &[("retry-after", "5")], OUT_OF_QUOTA);
    assert_eq!(
        (verdict.class, verdict.scope),
        (Class::QuotaExhausted, Scope::Organization)
    );
}

#[test]
fn elsewhere_a_short_retry_after_beats_the_word_quota() {
    let foreign = openai().at("https://llm.example.com/v1");
    for provider in [
        foreign,
        (*preset("openai-compatible").unwrap()).clone(),
        (*preset("azure").unwrap()).clone(),
    ] {
        for body in [
            OUT_OF_QUOTA,
            r#"{"message":"You exceeded your current quota, please check your plan and billing details."}"#,
        ] {
            let verdict = judged(&provider, 429, &[("retry-after", "5")], body);
            assert_eq!(
                verdict.class,
                Class::RateLimitedRequests,
                "{} {body}",
                provider.name
            );
            assert_eq!(verdict.wait, Some(Duration::from_secs(5)));
            assert_eq!(
                judged(&provider, 429, &[], body).class,
                Class::QuotaExhausted,
                "{} {body}",
                provider.name
            );
        }
    }
}

#[test]
fn the_unknown_gets_the_most_careful_class_of_its_status() {
    let provider = preset("openai-compatible").unwrap();
    for (status, class) in [
        (400, Class::InvalidRequest),
        (401, Class::AuthInvalid),
        (402, Class::QuotaExhausted),
        (403, Class::Permission),
        (404, Class::NotFound),
        (408, Class::Timeout),
        (409, Class::Conflict),
        (413, Class::PayloadTooLarge),
        (418, Class::InvalidRequest),
        (422, Class::InvalidRequest),
        (429, Class::RateLimitedRequests),
        (498, Class::CapacityUnavailable),
        (500, Class::ServerError),
        (502, Class::ServerError),
        (503, Class::Overloaded),
        (504, Class::Timeout),
        (529, Class::Overloaded),
        (599, Class::ServerError),
    ] {
        for body in [
            "",
            r#"{"error":{"message":"zork","code":"zork"}}"#,
            "zork",
            r#"{"zork":1}"#,
            r#"{"error":{"mess"#,
        ] {
            let verdict = judged(&provider, status, &[], body);
            assert_eq!(verdict.class, class, "{status} {body} by {}", verdict.rule);
            // The shape of a page or an empty body is a hint of its own; JSON without a known word is none.
            let most = if body.starts_with('{') {
                Confidence::Guess
            } else {
                Confidence::Likely
            };
            assert!(
                verdict.confidence <= most,
                "{status} {body} by {}",
                verdict.rule
            );
        }
    }
    assert_eq!(judged(&provider, 302, &[], "").class, Class::Unknown);
}

#[test]
fn a_200_that_is_no_answer_is_judged() {
    let provider = openai();
    assert_eq!(judged(&provider, 200, &[], "").class, Class::ServerError);
    assert_eq!(
        judged(&provider, 200, &[("content-type", "text/html")], "<html>hi").class,
        Class::EdgeHtmlError
    );
    assert_eq!(
        judged(&provider, 200, &[], r#"{"error":{"message":"zork"}}"#).class,
        Class::ServerError
    );
    assert_eq!(
        judged(&provider, 200, &[], OUT_OF_QUOTA).class,
        Class::QuotaExhausted
    );
    let inner = r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"{\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"}}"}}}"#;
    assert_eq!(
        judged(&preset("openrouter").unwrap(), 200, &[], inner).class,
        Class::Overloaded
    );
}

#[test]
fn a_cut_body_is_still_read() {
    let whole = limited(
        "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 9. Please try again in 7s. Visit x",
    );
    let cut = &whole[..whole.len() - 40];
    let verdict = judged(&openai(), 429, &[], cut);
    assert_eq!(
        (verdict.class, verdict.wait),
        (Class::RateLimitedTokens, Some(Duration::from_secs(7)))
    );
}

#[test]
fn a_callers_text_in_a_message_does_not_close_the_account() {
    for message in [
        "Invalid value: 'my billing and quota question'. Supported values are: 'a'.",
        "Unrecognized request argument supplied: insufficient_quota",
        "Additional properties are not allowed ('rate limit per day' was unexpected)",
    ] {
        let body = serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "code": null}});
        assert_eq!(
            judged(&openai(), 400, &[], &body.to_string()).class,
            Class::InvalidRequest,
            "{message}"
        );
    }
}

#[test]
fn what_the_headers_name_is_in_the_verdict() {
    let headers = [
        ("openai-organization", "org-x"),
        ("openai-project", "proj_y"),
        ("x-request-id", "req_z"),
    ];
    let verdict = judged(&openai(), 429, &headers, OUT_OF_QUOTA);
    assert_eq!(verdict.organization.as_deref(), Some("org-x"));
    assert_eq!(verdict.project.as_deref(), Some("proj_y"));
    assert_eq!(verdict.request_id.as_deref(), Some("req_z"));
    assert_eq!(verdict.code.as_deref(), Some("insufficient_quota"));
    assert_eq!(&*verdict.rule, "openai-words/insufficient-quota");
    assert!(
        verdict
            .provider_message
            .is_some_and(|message| message.starts_with("You exceeded"))
    );
}

#[test]
fn every_network_kind_has_its_class() {
    let headers = http::HeaderMap::new();
    for (kind, class, retry) in [
        (NetworkKind::Refused, Class::Connection, Helps::Yes),
        (NetworkKind::Reset, Class::Connection, Helps::Yes),
        (NetworkKind::Dns, Class::Connection, Helps::Yes),
        (NetworkKind::Tls, Class::Connection, Helps::No),
        (NetworkKind::ConnectTimeout, Class::Timeout, Helps::Yes),
        (NetworkKind::ReadTimeout, Class::Timeout, Helps::Partly),
    ] {
        let transport = Transport::Network(kind);
        let evidence = Evidence {
            status: 0,
            headers: &headers,
            body: b"",
            transport,
            endpoint: "/v1/x",
        };
        for name in presets() {
            let verdict = judge(&preset(name).unwrap(), &evidence);
            assert_eq!(
                (verdict.class, verdict.retry_same),
                (class, retry),
                "{name} {kind:?}"
            );
        }
    }
}

#[test]
fn the_users_rules_come_first() {
    let rules = "[[rule]]\nid = \"house\"\nwhen = { status = [429], message = 'in-house' }\nclass = \"overloaded\"\nadvice = \"Ask Bob.\"\n";
    let provider = openai().extended_with(rules, "weir.toml").unwrap();
    let verdict = judged(
        &provider,
        429,
        &[],
        &limited("In-House limit of tokens per min"),
    );
    assert_eq!(
        (verdict.class, &*verdict.rule, &*verdict.advice),
        (Class::Overloaded, "weir.toml/house", "Ask Bob.")
    );
    assert_eq!(
        judged(&provider, 429, &[], &limited("tokens per min")).class,
        Class::RateLimitedTokens
    );
}

#[test]
fn a_bad_provider_file_says_where_and_what() {
    let head = "name = \"x\"\ndialect = \"openai\"\n";
    let rule = |rest: &str| format!("{head}[[rule]]\nid = \"a\"\n{rest}");
    for (text, line, what, hint) in [
        (
            rule("when = { status = [429] }\nclass = \"overloadd\"\n"),
            6,
            "overloadd",
            Some("`overloaded`"),
        ),
        (
            rule("when = { stats = [429] }\nclass = \"overloaded\"\n"),
            5,
            "stats",
            Some("`status`"),
        ),
        (
            rule("when = { message = '(' }\nclass = \"overloaded\"\n"),
            5,
            "bad pattern",
            None,
        ),
        (
            rule("when = { status = [\"many\"] }\nclass = \"overloaded\"\n"),
            5,
            "many",
            None,
        ),
        (rule("class = \"overloaded\"\n"), 4, "no condition", None),
        (
            rule("when = { status = [429] }\nclass = \"overloaded\"\nadvice = \"a\\nb\"\n"),
            7,
            "ASCII",
            None,
        ),
        (
            format!("{head}then = [\"edgy\"]\n"),
            3,
            "edgy",
            Some("`edge`"),
        ),
        (
            format!("{head}bas_url = \"x\"\n"),
            3,
            "bas_url",
            Some("`base_url`"),
        ),
        ("dialect = \"openai\"\n".to_owned(), 1, "name", None),
    ] {
        let error = Provider::from_toml(&text, "mine.toml").unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.what.contains(what), "{error}");
        if let Some(hint) = hint {
            assert!(
                error
                    .hint
                    .as_deref()
                    .is_some_and(|said| said.contains(hint)),
                "{error}"
            );
        }
        assert!(
            error
                .to_string()
                .starts_with(&format!("mine.toml:{line}: "))
        );
    }
}

#[test]
fn words_and_advice_are_whole() {
    for class in Class::ALL {
        assert_eq!(class.as_str().parse(), Ok(*class));
        let text = advice::for_class(*class);
        assert!(
            text.ends_with('.') && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{class}"
        );
    }
    for row in corpus() {
        row.text("class").parse::<Class>().unwrap();
        row.text("scope").parse::<Scope>().unwrap();
    }
}

#[test]
fn nothing_transient_opens_a_billing_circuit() {
    for class in Class::ALL {
        let policy = class.policy();
        if class.is_rate_limit() {
            assert!(
                matches!(
                    policy.circuit,
                    CircuitEffect::Neutral | CircuitEffect::OpensTargetUntilReset
                ),
                "{class}"
            );
        }
        if class.is_callers_mistake() {
            assert_eq!(policy.circuit, CircuitEffect::Neutral, "{class}");
            assert_eq!(policy.same_target, SameTarget::Never, "{class}");
        }
    }
}

#[test]
fn a_provider_that_forbids_retries_is_obeyed() {
    let body = r#"{"error":{"message":"x","type":"server_error"}}"#;
    let verdict = judged(&openai(), 500, &[("x-should-retry", "false")], body);
    assert_eq!(
        (verdict.class, verdict.retry_same),
        (Class::ServerError, Helps::No)
    );
    assert_eq!(
        judged(&openai(), 500, &[("x-should-retry", "true")], body).retry_same,
        Helps::Yes
    );
}

#[test]
fn a_host_is_owned_by_name_and_not_by_likeness() {
    let azure = preset("azure").unwrap();
    assert!(azure.owns_host("me.openai.azure.com") && azure.owns_host("ME.OpenAI.azure.com"));
    assert!(
        !azure.owns_host("openai.azure.com.evil.example") && !azure.owns_host("xopenai.azure.com")
    );
    assert!(openai().is_at_home());
    assert!(
        !openai()
            .at("https://api.openai.com.evil.example/v1")
            .is_at_home()
    );
    assert!(openai().at("https://eu.api.openai.com/v1").is_at_home());
}

#[test]
fn the_policy_is_narrowed_by_what_is_known_of_the_failure() {
    let policy = |id: &str| {
        let row = corpus()
            .into_iter()
            .find(|row| row.text("id") == id)
            .unwrap();
        row.judged(&row.body(), &row.headers()).policy()
    };
    let zero = policy("openai-ipm-zero");
    assert_eq!(
        (zero.same_target, zero.next_target),
        (SameTarget::Never, NextTarget::Always)
    );
    let five = policy("openai-ipm-5");
    assert_eq!(
        (five.same_target, five.next_target),
        (SameTarget::AfterWait, NextTarget::WhenWaitDoesNotFit)
    );
    assert_eq!(
        policy("openrouter-402-weight").circuit,
        CircuitEffect::Neutral
    );
    assert_eq!(
        policy("openrouter-402").circuit,
        CircuitEffect::OpensScope { billing: true }
    );
    assert_eq!(
        policy("mistral-429-zero-limit").circuit,
        CircuitEffect::OpensTarget
    );
    assert_eq!(policy("openai-no-key").circuit, CircuitEffect::Neutral);
    assert_eq!(
        policy("openai-incorrect-key").circuit,
        CircuitEffect::OpensKey
    );
    assert_eq!(policy("conn-tls").same_target, SameTarget::Never);
    assert_eq!(policy("conn-reset-before").same_target, SameTarget::Backoff);
}

#[test]
fn headers_refine_a_limit_without_a_kind() {
    let body = r#"{"error":{"message":"Rate limit exceeded","code":"rate_limit_exceeded"}}"#;
    let empty = [
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-remaining-requests", "12"),
    ];
    assert_eq!(
        judged(&openai(), 429, &empty, body).class,
        Class::RateLimitedTokens
    );
    assert_eq!(
        judged(&openai(), 429, &[], body).class,
        Class::RateLimitedRequests
    );
    assert_eq!(
        judged(&openai(), 429, &empty, OUT_OF_QUOTA).class,
        Class::QuotaExhausted
    );
}

#[test]
fn advice_about_money_names_what_to_look_at_and_other_advice_does_not() {
    let checks = [
        "payment record",
        "balance",
        "organization and project",
        "auto recharge",
        "usage limit",
    ];
    let mut money = 0;
    for row in corpus() {
        let verdict = row.judged(&row.body(), &row.headers());
        let advice = &verdict.advice;
        let id = row.text("id");
        assert!(
            advice.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{id}"
        );
        assert!(
            advice.ends_with('.') && advice.len() < 320,
            "{id}: {advice}"
        );
        let named = checks.iter().all(|check| advice.contains(check));
        let billing = verdict.class.is_billing() && verdict.class != Class::AccountDeactivated;
        assert_eq!(
            named,
            billing && !matches!(verdict.scope, Scope::Request | Scope::Model),
            "{id}: {advice}"
        );
        money += usize::from(named);
    }
    assert!(money > 20, "{money}");
}
