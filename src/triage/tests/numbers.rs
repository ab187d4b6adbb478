//! The numbers of refusals, against all corpora and against what a stranger may write.

use proptest::prelude::*;

use super::*;
use crate::limits::Kind;

const OTHERS: [&str; 3] = [
    include_str!("../../../tests/fixtures/vendors.jsonl"),
    include_str!("../../../tests/fixtures/examined.jsonl"),
    include_str!("../../../tests/fixtures/unseen.jsonl"),
];

fn of(provider: &str, status: u16, body: &str) -> Option<ToldLimit> {
    let evidence = Evidence {
        status,
        headers: &HeaderMap::new(),
        body: body.as_bytes(),
        transport: Transport::Http,
        endpoint: "/v1/chat/completions",
    };
    judge(&preset(provider).unwrap(), &evidence).told_limit
}

fn said(provider: &str, message: &str) -> Option<ToldLimit> {
    let body = serde_json::json!({"error": {"message": message, "type": "x", "code": "rate_limit_exceeded"}});
    of(provider, 429, &body.to_string())
}

fn limit(kind: Kind, limit: u64) -> ToldLimit {
    ToldLimit {
        kind: Some(kind),
        limit: Some(limit),
        ..ToldLimit::default()
    }
}

/// A row's verdict, by its own preset where there is one.
fn verdict(row: &Row) -> Verdict {
    let provider = match row.text("provider") {
        "cloudflare-edge" | "envoy-edge" | "network" => "openai",
        "vertex" => "gemini",
        name => name,
    };
    let provider = preset(provider)
        .or_else(|| preset("openai-compatible"))
        .unwrap();
    row.judged_by(&provider, &row.body(), &row.headers())
}

#[test]
fn openais_words_tell_limit_use_and_request() {
    use Kind::{ProjectTokens, Requests, RequestsPerDay, Tokens, TokensPerDay};
    let on = |what: &str, rest: &str| {
        format!(
            "Rate limit reached for gpt-4-turbo in organization org-1 on {what}: {rest}. Please try again in 1s."
        )
    };
    for (message, kind, numbers) in [
        (on("tokens per min (TPM)", "Limit 30000, Used 14567, Requested 24754"), Tokens, (30_000, 14_567, 24_754)),
        (on("requests per min (RPM)", "Limit 3, Used 3, Requested 1"), Requests, (3, 3, 1)),
        (on("requests per day (RPD)", "Limit 200, Used 200, Requested 1"), RequestsPerDay, (200, 200, 1)),
        (on("tokens per day (TPD)", "Limit 1,000,000, Used 993,000, Requested 35,000"), TokensPerDay, (1_000_000, 993_000, 35_000)),
        (on("images per min", "Limit 5, Used 5, Requested 1"), Kind::Images, (5, 5, 1)),
        (on("input tokens per minute (ITPM)", "Limit 10000, Used 9800, Requested 900"), Kind::InputTokens, (10_000, 9_800, 900)),
        (on("output tokens per minute (OTPM)", "Limit 1000, Used 900, Requested 300"), Kind::OutputTokens, (1_000, 900, 300)),
        ("Rate limit reached for gpt-4o in project proj_1 organization org-1 on tokens per min (TPM): Limit 5000, Used 4800, Requested 900.".into(), ProjectTokens, (5_000, 4_800, 900)),
        ("Rate limit reached for default-global-with-image-limits in organization org-1 on requests per min (RPM): Limit 60, Used 60, Requested 1.".into(), Requests, (60, 60, 1)),
    ] {
        let told = said("openai", &message).expect(&message);
        let got = (told.limit, told.used, told.requested);
        let want = (Some(numbers.0), Some(numbers.1), Some(numbers.2));
        assert_eq!((told.kind, got), (Some(kind), want), "{message}");
    }
}

#[test]
fn every_wait_that_is_told_beside_numbers_follows_from_them() {
    let mut checked = 0;
    for row in corpus() {
        let verdict = verdict(&row);
        let message = verdict.provider_message.unwrap_or_default();
        // The header beside it may be rounded up to seconds.
        let wait = wait::in_text(&message, SystemTime::now());
        let (Some(told), Some(wait)) = (verdict.told_limit, wait) else {
            continue;
        };
        if let Some(computed) = told.wait() {
            let off = computed.abs_diff(wait);
            assert!(
                off <= Duration::from_millis(2),
                "{computed:?} and {wait:?}: {message}"
            );
            checked += 1;
        }
    }
    assert!(
        checked >= 25,
        "only {checked} rows tell limit, use, request and wait"
    );
}

#[test]
fn other_vendors_words_are_read() {
    use Kind::{Concurrency, InputTokens, OutputTokens, Requests, RequestsPerDay, Tokens};
    for (provider, message, want) in [
        (
            "anthropic",
            "This request would exceed your organization's rate limit of 30,000 input tokens per minute (org: 0000-11, model: claude-opus-4-6).",
            limit(InputTokens, 30_000),
        ),
        (
            "anthropic",
            "This request would exceed your organization's rate limit of 8,000 output tokens per minute.",
            limit(OutputTokens, 8_000),
        ),
        (
            "anthropic",
            "This request would exceed your organization's rate limit of 50 requests per minute.",
            limit(Requests, 50),
        ),
        (
            "together",
            "Your rate limits are 60 RPM (1 QPS) and 60000 TPM (1000 tokens per second). Request was rejected due to token rate limiting.",
            limit(Tokens, 60_000),
        ),
        (
            "cohere",
            "You are using a Trial key, which is limited to 20 API calls / minute.",
            limit(Requests, 20),
        ),
        (
            "github-models",
            "Rate limit of 150 per 86400s exceeded for UserByModelByDay. Please wait 35973 seconds before retrying.",
            limit(RequestsPerDay, 150),
        ),
        (
            "github-models",
            "Rate limit of 2 per 0s exceeded for UserConcurrentRequests.",
            limit(Concurrency, 2),
        ),
        (
            "moonshot",
            "request reached organization max concurrency: 3, please try again after 1 seconds",
            limit(Concurrency, 3),
        ),
        (
            "openai-compatible",
            "Too many concurrent requests: 31 of 30 in progress",
            limit(Concurrency, 30),
        ),
        (
            "openai-compatible",
            "Too many concurrent requests: 4",
            limit(Concurrency, 4),
        ),
        (
            "xai",
            "Your team's rate limit is - Requests per Minute (actual/limit): 61/60, Tokens per Minute (actual/limit): 0/500000.",
            limit(Requests, 60),
        ),
        (
            "openai-compatible",
            "rate limit exceeded for this key: 5 requests per second",
            limit(Requests, 300),
        ),
    ] {
        assert_eq!(said(provider, message), Some(want), "{message}");
    }
}

#[test]
fn googles_quotas_tell_kind_and_limit() {
    let body = |id: &str, value: &str| {
        format!(
            r#"{{"error":{{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[
            {{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_requests","quotaId":"{id}","quotaDimensions":{{"model":"gemini-2.5-flash"}},"quotaValue":"{value}"}}]}},
            {{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"38s"}}]}}}}"#
        )
    };
    for (id, value, want) in [
        (
            "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            "15",
            Some(limit(Kind::Requests, 15)),
        ),
        (
            "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "50",
            Some(limit(Kind::RequestsPerDay, 50)),
        ),
        (
            "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            "250000",
            Some(limit(Kind::InputTokens, 250_000)),
        ),
        (
            "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "0",
            None,
        ),
    ] {
        for provider in ["gemini", "gemini-openai"] {
            assert_eq!(of(provider, 429, &body(id, value)), want, "{provider} {id}");
        }
    }
}

#[test]
fn a_routers_headers_inside_the_body_are_read() {
    let body = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,
        "metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1788220800000"}}}}"#;
    let told = of("openrouter", 429, body).unwrap();
    let want = (Some(Kind::RequestsPerDay), Some(50), Some(50));
    assert_eq!((told.kind, told.limit, told.used), want);
}

#[test]
fn what_is_no_limit_of_a_bucket_is_left_out() {
    for (provider, message) in [
        (
            "groq",
            "Rate limit reached for model `whisper` on seconds of audio per hour (ASPH): Limit 7200, Used 7100, Requested 300.",
        ),
        (
            "openai",
            "Rate limit reached for images per minute in organization org-1. Limit: 0, Used: 0, Requested: 1.",
        ),
        (
            "openai",
            "Enqueued token limit reached for gpt-4o in organization org-1. Limit: 90,000 enqueued tokens.",
        ),
        (
            "openrouter",
            "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        ),
        (
            "openai",
            "Rate limit reached, you wrote 'Limit 5, Used 5, Requested 1 on requests per min (RPM)'. Slow down.",
        ),
        (
            "github-models",
            "Request body too large for gpt-4.1 model. Max size: 8000 tokens.",
        ),
        (
            "azure",
            "Your requests to gpt-4o have exceeded the token rate limit. Please retry after 42 seconds.",
        ),
        ("openai", "Rate limit reached for gpt-4o-2024-08-06."),
        ("openai-compatible", "Rate limit 429: too many requests"),
        (
            "openai-compatible",
            "Rate limit 5 minutes: too many requests",
        ),
        (
            "openai-compatible",
            "Too many requests: rate limit 2024-08-06",
        ),
        (
            "openai-compatible",
            "Usage limit reached for 5 hour. Your limit will reset at 2026-11-20 19:00:00",
        ),
    ] {
        assert_eq!(said(provider, message), None, "{message}");
    }
    // Not a limit's refusal at all.
    let body = r#"{"error":{"message":"Invalid request: Limit 30000, Used 1, Requested 2 on tokens per min (TPM)"}}"#;
    assert_eq!(of("openai", 400, body), None);
}

#[test]
fn the_corpora_tell_many_numbers_and_none_that_is_absurd() {
    let mut told = BTreeMap::new();
    for rows in std::iter::once(corpus()).chain(OTHERS.map(rows_of)) {
        for row in rows {
            let verdict = verdict(&row);
            let Some(numbers) = verdict.told_limit else {
                continue;
            };
            let body = String::from_utf8_lossy(&row.body()).replace(',', "");
            let limited =
                verdict.class.is_rate_limit() || verdict.class == Class::RequestTooLargeForLimit;
            assert!(limited, "{:?}: {body}", verdict.class);
            let limit = numbers.limit.expect("a limit is told");
            assert!((1..=40_000_000).contains(&limit), "{numbers:?}: {body}");
            // It stands there, but where it is told for a second or in thousands.
            let scaled =
                [limit, limit / 60, limit / 1_000].map(|limit| body.contains(&limit.to_string()));
            assert!(scaled.contains(&true), "{numbers:?}: {body}");
            *told.entry(numbers.kind).or_insert(0_u32) += 1;
        }
    }
    let all: u32 = told.values().sum();
    assert!(all >= 150, "{all} rows: {told:?}");
    for kind in [
        Kind::Requests,
        Kind::Tokens,
        Kind::InputTokens,
        Kind::RequestsPerDay,
        Kind::TokensPerDay,
        Kind::Images,
        Kind::Concurrency,
    ] {
        assert!(told.contains_key(&Some(kind)), "{kind}: {told:?}");
    }
}

proptest! {
    #[test]
    fn any_words_and_numbers_give_bounded_ones(
        words in prop::collection::vec(prop_oneof![
            "\\PC{0,6}", "[0-9]{1,30}(,[0-9]{1,4})?(\\.[0-9]{1,3})?[km]?",
            prop::sample::select(vec!["Limit", "Used", "Requested", "limit:", "TPM", "RPM", "tokens per min", "requests per day",
                "per", "/", "of", "second", "concurrent requests:", "rate limit", "input tokens", "(actual/limit):"]).prop_map(str::to_owned),
        ], 0..14),
        status in prop::sample::select(vec![400_u16, 413, 429, 503]),
    ) {
        let body = serde_json::json!({"error": {"message": words.join(" "), "code": "rate_limit_exceeded"}}).to_string();
        for provider in ["openai", "gemini", "groq", "openai-compatible"] {
            if let Some(told) = of(provider, status, &body) {
                prop_assert!(told.limit.is_some_and(|limit| (1..=60_000_000_000_000).contains(&limit)), "{told:?}");
                let _ = told.wait();
            }
        }
    }
}
