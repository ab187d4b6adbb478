//! The wait that a verdict tells, and until when.

use super::*;

/// A row of the corpus, without headers.
fn at_noon(id: &str, status: u16) -> Verdict {
    let mut rows = corpus().into_iter();
    let row = rows.find(|row| row.text("id") == id).unwrap();
    let evidence = Evidence {
        status,
        headers: &http::HeaderMap::new(),
        body: &row.body(),
        transport: Transport::Http,
        endpoint: "/",
    };
    judge_at(&row.provider(), &evidence, UNIX_EPOCH + NOON)
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
    let verdict = at_noon("anthropic-400-own-limit", 400);
    assert_eq!(
        verdict.reset_at,
        Some(UNIX_EPOCH + Duration::from_secs(1_788_220_800))
    );
    assert_eq!(verdict.wait, None);
}

#[test]
fn a_day_limit_lasts_to_its_reset_whatever_delay_is_told() {
    let verdict = at_noon("gemini-429-day-short-delay", 429);
    assert_eq!(verdict.wait, Some(Duration::from_secs(20 * 3600)));
    assert_eq!(
        verdict.reset_at,
        Some(SystemTime::UNIX_EPOCH + NOON + Duration::from_secs(20 * 3600))
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
