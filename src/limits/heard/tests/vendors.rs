//! Literal heads of vendors with names of their own.

use super::*;

#[test]
fn anthropic() {
    let pairs = [
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-requests-reset", "2026-09-01T12:00:01Z"),
        ("anthropic-ratelimit-input-tokens-limit", "30000"),
        ("anthropic-ratelimit-input-tokens-remaining", "22000"),
        (
            "anthropic-ratelimit-input-tokens-reset",
            "2026-09-01T12:00:17Z",
        ),
        ("anthropic-ratelimit-output-tokens-limit", "8000"),
        ("anthropic-ratelimit-output-tokens-remaining", "8000"),
        (
            "anthropic-ratelimit-output-tokens-reset",
            "2026-09-01T12:00:00Z",
        ),
        ("anthropic-ratelimit-tokens-limit", "38000"),
        ("anthropic-ratelimit-tokens-remaining", "30000"),
        (
            "anthropic-ratelimit-tokens-reset",
            "2026-09-01T12:00:17.250Z",
        ),
        ("anthropic-priority-input-tokens-limit", "7"),
        ("anthropic-fast-input-tokens-limit", "8"),
        ("anthropic-ratelimit-unified-status", "allowed"),
        ("anthropic-ratelimit-unified-reset", "1788264099"),
    ];
    let want = [
        (Kind::Requests, Some(50), Some(49), Some(1_000), None, 1),
        (
            Kind::Tokens,
            Some(38_000),
            Some(30_000),
            Some(17_250),
            None,
            1_000,
        ),
        (
            Kind::InputTokens,
            Some(30_000),
            Some(22_000),
            Some(17_000),
            None,
            1_000,
        ),
        (
            Kind::OutputTokens,
            Some(8_000),
            Some(8_000),
            Some(0),
            None,
            1_000,
        ),
    ];
    assert_eq!(heard("anthropic", &pairs), want);
    assert_eq!(heard("anthropic-openai", &pairs), want);
    // The provider's clock counts, not ours.
    let mut head = head(&pairs[..3]);
    head.insert(
        "date",
        HeaderValue::from_static("Tue, 01 Sep 2026 11:59:31 GMT"),
    );
    let anthropic = preset("anthropic").unwrap();
    let got = Heard::of(&anthropic, &head, now() - Duration::from_secs(999));
    assert_eq!(rows(&got)[0].3, Some(30_000));
}

#[test]
fn groq_counts_requests_by_the_day() {
    let got = heard(
        "groq",
        &[
            ("x-ratelimit-limit-requests", "14400"),
            ("x-ratelimit-remaining-requests", "14399"),
            ("x-ratelimit-reset-requests", "6s"),
            ("x-ratelimit-limit-tokens", "18000"),
            ("x-ratelimit-remaining-tokens", "17997"),
            ("x-ratelimit-reset-tokens", "7.66s"),
            ("retry-after", "2"),
        ],
    );
    let want = [
        (
            Kind::Tokens,
            Some(18_000),
            Some(17_997),
            Some(7_660),
            None,
            1,
        ),
        (
            Kind::RequestsPerDay,
            Some(14_400),
            Some(14_399),
            Some(6_000),
            None,
            1,
        ),
    ];
    assert_eq!(got, want);
}

#[test]
fn mistral_new_and_old() {
    let new = heard(
        "mistral",
        &[
            ("x-ratelimit-limit-req-minute", "60"),
            ("x-ratelimit-remaining-req-minute", "0"),
            ("x-ratelimit-limit-tokens-minute", "500000"),
            ("x-ratelimit-remaining-tokens-minute", "499000"),
            ("x-ratelimit-tokens-query-cost", "1000"),
        ],
    );
    let want = [
        (Kind::Requests, Some(60), Some(0), None, None, 1),
        (Kind::Tokens, Some(500_000), Some(499_000), None, None, 1),
    ];
    assert_eq!(new, want);
    let old = heard(
        "mistral",
        &[
            ("x-ratelimitbysize-limit-minute", "500000"),
            ("x-ratelimitbysize-remaining-minute", "499900"),
            ("x-ratelimitbysize-limit-month", "1000000000"),
            ("x-ratelimitbysize-remaining-month", "999999000"),
            ("ratelimitbysize-limit", "500000"),
            ("ratelimitbysize-reset", "12"),
            ("ratelimitbysize-query-cost", "32"),
        ],
    );
    let want = [
        (
            Kind::Tokens,
            Some(500_000),
            Some(499_900),
            Some(12_000),
            None,
            1,
        ),
        (
            Kind::TokensPerMonth,
            Some(1_000_000_000),
            Some(999_999_000),
            None,
            None,
            1,
        ),
    ];
    assert_eq!(old, want);
    // The plan has no access to the model: no limit to keep to.
    assert_eq!(
        heard("mistral", &[("x-ratelimit-limit-req-minute", "0")]),
        []
    );
}

#[test]
fn openrouter_by_minute_and_by_day() {
    for (reset, kind, millis) in [
        ("1788264041000", Kind::Requests, 41_000),
        ("1788307200000", Kind::RequestsPerDay, 43_200_000),
    ] {
        let got = heard(
            "openrouter",
            &[
                ("x-ratelimit-limit", "20"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", reset),
            ],
        );
        assert_eq!(got, [(kind, Some(20), Some(7), Some(millis), None, 1)]);
    }
}

#[test]
fn cerebras_github_together_fireworks_and_cohere() {
    let cerebras = heard(
        "cerebras",
        &[
            ("x-ratelimit-limit-requests-day", "14400"),
            ("x-ratelimit-remaining-requests-day", "14399"),
            ("x-ratelimit-reset-requests-day", "30211.5"),
            ("x-ratelimit-limit-tokens-minute", "60000"),
            ("x-ratelimit-remaining-tokens-minute", "58000"),
            ("x-ratelimit-reset-tokens-minute", "11.25"),
            ("x-ratelimit-limit-tokens-day", "1000000"),
        ],
    );
    let want = [
        (
            Kind::Tokens,
            Some(60_000),
            Some(58_000),
            Some(11_250),
            None,
            1,
        ),
        (
            Kind::RequestsPerDay,
            Some(14_400),
            Some(14_399),
            Some(30_211_500),
            None,
            1,
        ),
        (Kind::TokensPerDay, Some(1_000_000), None, None, None, 1),
    ];
    assert_eq!(cerebras, want);
    let github = heard(
        "github-models",
        &[
            ("x-ratelimit-type", "UserByModelByDay"),
            ("x-ratelimit-limit-requests", "150"),
            ("x-ratelimit-remaining-requests", "149"),
        ],
    );
    assert_eq!(
        github,
        [(Kind::RequestsPerDay, Some(150), Some(149), None, None, 1)]
    );
    let together = heard(
        "together",
        &[
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "9"),
            ("x-ratelimit-reset", "1"),
            ("x-tokenlimit-limit", "3000"),
            ("x-tokenlimit-remaining", "2800"),
        ],
    );
    let want = [
        (Kind::Requests, Some(10), Some(9), Some(1_000), Some(1), 1),
        (Kind::Tokens, Some(3_000), Some(2_800), None, Some(1), 1),
    ];
    assert_eq!(together, want);
    let fireworks = heard(
        "fireworks",
        &[
            ("x-ratelimit-limit-tokens-prompt", "3600000"),
            ("x-ratelimit-remaining-tokens-prompt", "3599000"),
            ("x-ratelimit-limit-tokens-generated", "36000"),
            ("x-ratelimit-limit-tokens-cache-adjusted-prompt", "900000"),
        ],
    );
    let want = [
        (
            Kind::InputTokens,
            Some(3_600_000),
            Some(3_599_000),
            None,
            None,
            1,
        ),
        (Kind::OutputTokens, Some(36_000), None, None, None, 1),
    ];
    assert_eq!(fireworks, want);
    let cohere = heard(
        "cohere",
        &[
            ("x-endpoint-monthly-call-limit", "1000"),
            ("x-trial-endpoint-call-limit", "20"),
            ("x-trial-endpoint-call-remaining", "19"),
        ],
    );
    assert_eq!(
        cohere,
        [(Kind::Requests, Some(20), Some(19), None, None, 1)]
    );
}
