//! What the verdict says beyond its class: waits, resets, advice; foreign hosts; the user's own rules.

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
fn a_told_wait_is_the_longest_of_all_sources() {
    let text = limited(
        "Rate limit reached for m on tokens per min (TPM): Limit 9, Used 9, Requested 9. Please try again in 18.642s.",
    );
    let wait = |headers: &[(&str, &str)], body: &str| judged(&openai(), 429, headers, body).wait;
    assert_eq!(wait(&[], &text), Some(Duration::from_millis(18_642)));
    assert_eq!(
        wait(&[("retry-after", "19")], &text),
        Some(Duration::from_secs(19))
    );
    assert_eq!(
        wait(&[("retry-after", "2")], &text),
        Some(Duration::from_millis(18_642))
    );
    assert_eq!(
        wait(&[("retry-after-ms", "25000")], &text),
        Some(Duration::from_secs(25))
    );
    assert_eq!(
        wait(
            &[("retry-after-ms", "0"), ("retry-after", "0.598")],
            &limited("x")
        ),
        Some(Duration::from_millis(598))
    );
    assert_eq!(
        wait(
            &[("retry-after", "Mon, 31 Aug 2026 12:00:42 GMT")],
            &limited("x")
        ),
        Some(Duration::from_secs(42))
    );
}

#[test]
fn nonsense_waits_are_no_waits_and_absurd_ones_are_bounded() {
    let wait = |value: &str| judged(&openai(), 429, &[("retry-after", value)], &limited("x")).wait;
    for value in ["-5", "NaN", "soon", "0", "", "1e9999", "-0"] {
        assert_eq!(wait(value), None, "{value}");
    }
    assert_eq!(wait("99999999"), Some(wait::LONGEST));
    assert_eq!(wait("78883"), Some(Duration::from_secs(78_883)));
}

#[test]
fn a_reset_header_counts_only_when_nothing_else_tells_a_wait() {
    let full = ("x-ratelimit-reset-tokens", "6m0s");
    let text = limited("on tokens per min (TPM). Please try again in 644ms.");
    // The time until the bucket is full, not until there is room.
    assert_eq!(
        judged(&openai(), 429, &[full], &text).wait,
        Some(Duration::from_millis(644))
    );
    assert_eq!(
        judged(&openai(), 429, &[full], &limited("tokens per min")).wait,
        Some(Duration::from_secs(360))
    );
    let other = ("x-ratelimit-reset-requests", "9m");
    assert_eq!(
        judged(&openai(), 429, &[full, other], &limited("tokens per min")).wait,
        Some(Duration::from_secs(360))
    );
}

#[test]
fn a_zero_beside_an_empty_window_waits_for_the_window() {
    let row = corpus()
        .into_iter()
        .find(|row| row.text("id") == "azure-retry-after-lies")
        .unwrap();
    assert_eq!(
        row.judged(&row.body(), &row.headers()).wait,
        Some(Duration::from_secs(60))
    );
}

#[test]
fn what_waiting_cannot_cure_tells_no_wait() {
    for (status, body) in [
        (429, OUT_OF_QUOTA),
        (
            400,
            r#"{"error":{"message":"x","type":"invalid_request_error"}}"#,
        ),
    ] {
        assert_eq!(
            judged(&openai(), status, &[("retry-after", "30")], body).wait,
            None
        );
    }
    let row = corpus()
        .into_iter()
        .find(|row| row.text("id") == "groq-413-tpm")
        .unwrap();
    assert_eq!(row.judged(&row.body(), &row.headers()).wait, None);
}

#[test]
fn a_spend_limit_tells_when_it_ends() {
    let row = corpus()
        .into_iter()
        .find(|row| row.text("id") == "anthropic-400-own-limit")
        .unwrap();
    let headers = http::HeaderMap::new();
    let body = row.body();
    let evidence = Evidence {
        status: 400,
        headers: &headers,
        body: &body,
        transport: Transport::Http,
        endpoint: "/",
    };
    let verdict = judge_at(&row.provider(), &evidence, UNIX_EPOCH + NOON);
    assert_eq!(
        verdict.reset_at,
        Some(UNIX_EPOCH + Duration::from_secs(1_788_220_800))
    );
    assert_eq!(verdict.wait, None);
}

#[test]
fn a_day_limit_lasts_to_its_reset_whatever_delay_is_told() {
    let row = corpus()
        .into_iter()
        .find(|row| row.text("id") == "gemini-429-day-short-delay")
        .unwrap();
    let headers = http::HeaderMap::new();
    let body = row.body();
    let evidence = Evidence {
        status: 429,
        headers: &headers,
        body: &body,
        transport: Transport::Http,
        endpoint: "/",
    };
    let verdict = judge_at(&row.provider(), &evidence, UNIX_EPOCH + NOON);
    assert_eq!(verdict.wait, Some(Duration::from_secs(20 * 3600)));
    assert_eq!(
        verdict.reset_at,
        Some(SystemTime::UNIX_EPOCH + NOON + Duration::from_secs(20 * 3600))
    );
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
fn every_place_that_tells_a_wait_is_heard() {
    let told = |headers: &[(&str, &str)], body: &str| {
        let verdict = judged(&preset("openai-compatible").unwrap(), 429, headers, body);
        assert!(verdict.class.is_rate_limit(), "{body}: {}", verdict.class);
        verdict.wait.map(|wait| wait.as_millis())
    };
    let say = |text: &str| limited(&format!("Rate limit on requests per min. {text}"));
    for (headers, body, want) in [
        (&[][..], say("Please retry after 38 seconds."), Some(38_000)),
        (&[], say("Retry after 2026-08-31T12:00:42Z."), Some(42_000)),
        (&[], say("Access returns on 2026-08-31 at 12:01 UTC."), Some(60_000)),
        (&[], r#"{"error":{"code":429,"message":"limited","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"38.5s"}]}}"#.to_owned(), Some(38_500)),
        (&[], r#"{"error":{"message":"limited","retry_after_ms":2500}}"#.to_owned(), Some(2_500)),
        (&[], r#"{"error":{"message":"limited","metadata":{"retry_after_seconds":7}}}"#.to_owned(), Some(7_000)),
        (&[], r#"{"error":{"message":"limited","resets_at":1788177660}}"#.to_owned(), Some(60_000)),
        (&[("retry-after", "3"), ("retry-after", "9")], say(""), Some(9_000)),
        (&[("retry-after", "1788177660")], say(""), Some(60_000)),
        (&[("retry-after", "1788177660000")], say(""), Some(60_000)),
        (&[("x-ratelimit-reset-after", "1.5")], say(""), Some(1_500)),
        (&[("anthropic-ratelimit-unified-reset", "1788177660")], say(""), Some(60_000)),
        (&[("retry-after", "-1")], say(""), None),
        (&[("retry-after", "0")], say(""), None),
        (&[("retry-after", "Sun, 31 Aug 2025 12:00:00 GMT")], say(""), None),
    ] {
        assert_eq!(told(headers, &body), want, "{headers:?} {body}");
    }
}

proptest::proptest! {
    #[test]
    fn no_source_of_a_wait_is_undercut(
        text in proptest::option::of(1_u64..200_000),
        seconds in proptest::option::of(1_u64..200_000),
        ms in proptest::option::of(1_u64..200_000_000),
        field in proptest::option::of(1_u64..200_000),
        date in proptest::option::of(1_u64..200_000),
        zero in proptest::prelude::any::<bool>(),
    ) {
        let mut message = "Rate limit reached on tokens per min (TPM).".to_owned();
        if let Some(n) = text { message += &format!(" Please try again in {n}s."); }
        let mut body = serde_json::json!({"error": {"message": message, "code": "rate_limit_exceeded"}});
        if let Some(n) = field { body["error"]["retry_after"] = n.into(); }
        let mut headers: Vec<(&str, String)> = Vec::new();
        if let Some(n) = seconds { headers.push(("retry-after", n.to_string())); }
        if let Some(n) = ms { headers.push(("retry-after-ms", n.to_string())); }
        if let Some(n) = date {
            headers.push(("x-retry-after", humantime::format_rfc3339(UNIX_EPOCH + NOON + Duration::from_secs(n)).to_string()));
        }
        if zero { headers.push(("x-ms-retry-after-ms", "0".to_owned())); }
        let borrowed: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let wait = judged(&openai(), 429, &borrowed, &body.to_string()).wait;
        let sources = [
            text.map(Duration::from_secs), seconds.map(Duration::from_secs), ms.map(Duration::from_millis),
            field.map(Duration::from_secs), date.map(Duration::from_secs),
        ];
        for source in sources.into_iter().flatten() {
            proptest::prop_assert!(wait >= Some(source.min(wait::LONGEST)), "{:?} undercuts {:?}", wait, source);
        }
        proptest::prop_assert!(wait.is_none_or(|wait| wait <= wait::LONGEST));
        proptest::prop_assert_eq!(wait.is_none(), sources.iter().all(Option::is_none));
    }

    #[test]
    fn any_bytes_in_any_place_tell_no_more_than_the_longest_wait(
        value in proptest::collection::vec(0x20_u8..0x7f, 0..40), text in "\\PC{0,60}", which in 0_usize..8,
    ) {
        let name = ["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens", "date",
            "anthropic-ratelimit-tokens-reset", "x-ratelimit-reset", "x-ratelimit-renewalperiod-tokens"][which];
        let value = String::from_utf8(value).unwrap();
        let body = serde_json::json!({"error": {"message": format!("tokens per min; retry after {text}"), "code": "rate_limit_exceeded",
            "retry_after": value, "retryDelay": text}});
        for provider in ["openai", "gemini", "openrouter", "azure"] {
            let verdict = judged(&preset(provider).unwrap(), 429, &[(name, value.trim())], &body.to_string());
            proptest::prop_assert!(verdict.wait.is_none_or(|wait| wait <= wait::LONGEST));
        }
    }
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
