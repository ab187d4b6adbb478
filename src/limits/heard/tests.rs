use std::time::UNIX_EPOCH;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::triage::{preset, presets};

/// 2026-09-01 12:00:00 UTC.
const NOW: u64 = 1_788_264_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn head(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

/// (kind, limit, remaining, reset in ms, window in s, rounding) of each reading.
type Row = (
    Kind,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    u32,
);

fn rows(heard: &Heard) -> Vec<Row> {
    let row = |r: &Reading| {
        let millis = r.reset.map(|reset| reset.as_millis() as u64);
        let window = r.window.map(|window| window.as_secs());
        (r.kind, r.limit, r.remaining, millis, window, r.rounding)
    };
    let mut rows: Vec<_> = heard.iter().map(row).collect();
    rows.sort_unstable();
    rows
}

fn heard(provider: &str, pairs: &[(&'static str, &'static str)]) -> Vec<Row> {
    rows(&Heard::of(&preset(provider).unwrap(), &head(pairs), now()))
}

#[test]
fn openai() {
    let got = heard(
        "openai",
        &[
            ("content-type", "application/json"),
            ("x-request-id", "req_1"),
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-limit-tokens", "30,000"),
            ("x-ratelimit-remaining-tokens", "14,000"),
            ("x-ratelimit-reset-tokens", "32s"),
            ("x-ratelimit-limit-project-tokens", "5000"),
            ("x-ratelimit-remaining-project-tokens", "4200"),
            ("x-ratelimit-reset-project-tokens", "9.6s"),
        ],
    );
    let want = [
        (Kind::Requests, Some(500), Some(499), Some(120), None, 1),
        (
            Kind::Tokens,
            Some(30_000),
            Some(14_000),
            Some(32_000),
            None,
            1,
        ),
        (
            Kind::ProjectTokens,
            Some(5_000),
            Some(4_200),
            Some(9_600),
            None,
            1,
        ),
    ];
    assert_eq!(got, want);
}

#[test]
fn openais_names_tell_days_by_their_reset() {
    for (limit, remaining, reset, kind) in [
        ("200", "199", "7m12s", Kind::RequestsPerDay),
        ("10000", "9999", "8.64s", Kind::RequestsPerDay),
        ("10000", "9000", "2h24m0s", Kind::RequestsPerDay),
        ("200", "0", "24h0m0s", Kind::RequestsPerDay),
        ("500", "499", "120ms", Kind::Requests),
        ("3", "2", "20s", Kind::Requests),
        ("3", "0", "1m0s", Kind::Requests),
        // Overdrawn, and not a day.
        ("500", "0", "1m20s", Kind::Requests),
        ("150000000", "149999998", "1ms", Kind::Requests),
        ("500", "500", "0s", Kind::Requests),
    ] {
        let got = heard(
            "openai",
            &[
                ("x-ratelimit-limit-requests", limit),
                ("x-ratelimit-remaining-requests", remaining),
                ("x-ratelimit-reset-requests", reset),
            ],
        );
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].0, kind, "{limit} {remaining} {reset}");
    }
    for (limit, remaining, reset, kind) in [
        ("1000000", "990000", "14m24s", Kind::TokensPerDay),
        ("150000", "149984", "6m0s", Kind::Tokens),
        ("30000", "15000", "30s", Kind::Tokens),
    ] {
        let got = heard(
            "openai",
            &[
                ("x-ratelimit-limit-tokens", limit),
                ("x-ratelimit-remaining-tokens", remaining),
                ("x-ratelimit-reset-tokens", reset),
            ],
        );
        assert_eq!(got[0].0, kind, "{limit} {remaining} {reset}");
    }
}

#[test]
fn azure() {
    let got = heard(
        "azure",
        &[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "58"),
            ("x-ratelimit-reset-requests", "2"),
            ("x-ratelimit-renewalperiod-requests", "10"),
            ("x-ratelimit-limit-tokens", "60000"),
            ("x-ratelimit-remaining-tokens", "59000"),
            ("x-ratelimit-reset-tokens", "12"),
            ("x-ratelimit-renewalperiod-tokens", "60"),
            ("x-ratelimit-key", "abc"),
        ],
    );
    let want = [
        (Kind::Requests, Some(60), Some(58), Some(2_000), Some(10), 1),
        (
            Kind::Tokens,
            Some(60_000),
            Some(59_000),
            Some(12_000),
            None,
            1,
        ),
    ];
    assert_eq!(got, want);
}

#[test]
fn nonsense_is_left_out() {
    for pairs in [
        [
            ("x-ratelimit-limit-tokens", "-1"),
            ("x-ratelimit-remaining-tokens", "-1"),
            ("x-ratelimit-reset-tokens", "0"),
        ],
        [
            ("x-ratelimit-limit-tokens", "0"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "12"),
        ],
        [
            ("x-ratelimit-limit-tokens", "-1"),
            ("x-ratelimit-remaining-tokens", "700"),
            ("x-ratelimit-reset-tokens", "0"),
        ],
        [
            ("x-ratelimit-limit-tokens", "1e9"),
            ("x-ratelimit-remaining-tokens", "none"),
            ("x-ratelimit-reset-tokens", "soon"),
        ],
        [
            ("x-ratelimit-limit-tokens", "99999999999999999999"),
            ("x-ratelimit-remaining-tokens", "1"),
            ("x-ratelimit-reset-tokens", "1s"),
        ],
    ] {
        for provider in ["azure", "openai", "openai-compatible"] {
            assert_eq!(heard(provider, &pairs), [], "{provider} {pairs:?}");
        }
    }
    let more_left_than_there_is = [
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-requests", "11"),
    ];
    let want = [(Kind::Requests, Some(10), None, None, None, 1)];
    assert_eq!(heard("openai", &more_left_than_there_is), want);
}

#[test]
fn nothing_left_is_believed_of_refusals_only_where_no_reset_says_so() {
    let azure = preset("azure").unwrap();
    for reset in [None, Some("0"), Some("0s"), Some("9s")] {
        let mut head = head(&[
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
        ]);
        if let Some(reset) = reset {
            head.insert("x-ratelimit-reset-tokens", HeaderValue::from_static(reset));
        }
        let left = |heard: Heard| heard.iter().next().and_then(|reading| reading.remaining);
        let believed = (reset == Some("9s")).then_some(0);
        assert_eq!(left(Heard::of(&azure, &head, now())), believed, "{reset:?}");
        assert_eq!(left(Heard::of_refusal(&azure, &head, now())), Some(0));
    }
}

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

#[test]
fn the_standards_drafts() {
    let any = "openai-compatible";
    for (pairs, want) in [
        (
            vec![
                ("ratelimit", r#""default";r=50;t=30"#),
                ("ratelimit-policy", r#""default";q=100;w=60"#),
            ],
            vec![(Kind::Requests, Some(100), Some(50), Some(30_000), None, 1)],
        ),
        (
            vec![
                (
                    "ratelimit-policy",
                    r#""burst";q=10;w=1, "daily";q=1000;w=86400, "size";q=65535;qu="content-bytes";w=10"#,
                ),
                ("ratelimit", r#""burst";r=9;t=1,"daily";r=998;t=4000"#),
            ],
            vec![
                (Kind::Requests, Some(10), Some(9), Some(1_000), Some(1), 1),
                (
                    Kind::RequestsPerDay,
                    Some(1_000),
                    Some(998),
                    Some(4_000_000),
                    None,
                    1,
                ),
            ],
        ),
        (
            vec![
                ("ratelimit", r#""t";r=700;t=9"#),
                ("ratelimit-policy", r#""t";q=1000;w=60;qu="tokens""#),
            ],
            vec![(Kind::Tokens, Some(1_000), Some(700), Some(9_000), None, 1)],
        ),
        (
            vec![
                ("ratelimit", "limit=100, remaining=60, reset=44"),
                ("ratelimit-policy", "100;w=60"),
            ],
            vec![(Kind::Requests, Some(100), Some(60), Some(44_000), None, 1)],
        ),
        (
            vec![
                ("ratelimit-limit", "100, 10;w=1, 100;w=3600"),
                ("ratelimit-remaining", "42"),
                ("ratelimit-reset", "1800"),
            ],
            vec![(
                Kind::Requests,
                Some(100),
                Some(42),
                Some(1_800_000),
                Some(3_600),
                1,
            )],
        ),
        (
            vec![("ratelimit-policy", "5000;w=86400")],
            vec![(Kind::RequestsPerDay, Some(5_000), None, None, None, 1)],
        ),
        (
            vec![
                ("x-ratelimit-limit", "60"),
                ("x-ratelimit-remaining", "59"),
                ("x-ratelimit-reset", "1788264030"),
            ],
            vec![(Kind::Requests, Some(60), Some(59), Some(30_000), None, 1)],
        ),
        (vec![("ratelimit", r#""default";r=0"#)], vec![]),
        (
            vec![("ratelimit-limit", "0"), ("ratelimit-remaining", "0")],
            vec![],
        ),
    ] {
        assert_eq!(heard(any, &pairs), want, "{pairs:?}");
    }
}

#[test]
fn who_tells_nothing_is_not_listened_to() {
    let pairs = [("x-ratelimit-limit-requests", "5")];
    assert_eq!(heard("gemini", &pairs), []);
    assert_eq!(heard("deepseek", &pairs), []);
    assert_eq!(heard("openai", &[("content-type", "text/plain")]), []);
}

#[test]
fn of_two_tellings_of_a_kind_the_first_counts_and_is_completed() {
    let reading = |limit, remaining| Reading {
        kind: Kind::Tokens,
        limit,
        remaining,
        reset: None,
        window: None,
        rounding: 1,
    };
    let mut heard = Heard::default();
    heard.add(reading(Some(10), None));
    heard.add(reading(Some(20), Some(15)));
    heard.add(reading(None, Some(7)));
    assert_eq!(
        rows(&heard),
        [(Kind::Tokens, Some(10), Some(7), None, None, 1)]
    );
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[0-9]{1,25}".prop_map(String::into_bytes),
        "[0-9,.]{0,12}(ms|s|m|h|d|us|ns)?([0-9.]{0,6}(s|ms))?".prop_map(String::into_bytes),
        "-?[0-9]{1,4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z".prop_map(String::into_bytes),
        "\"[a-z]{0,3}\";[qrtw]=[0-9]{0,20}(;[qrtw]=[0-9]{0,20})?(, ?[0-9;=w]{0,9})?"
            .prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..24),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_bounded_numbers(
        pairs in prop::collection::vec((prop::sample::select(vec![
            "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-ratelimit-renewalperiod-requests",
            "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "x-ratelimit-limit", "x-ratelimit-remaining",
            "x-ratelimit-reset", "x-ratelimit-type", "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-reset",
            "ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-tokenlimit-limit", "date",
            "x-ratelimit-limit-tokens-month", "x-ratelimitbysize-limit-minute",
        ]), any_value()), 0..12),
        refused in any::<bool>(),
    ) {
        let mut head = HeaderMap::new();
        for (name, value) in pairs {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                head.append(name, value);
            }
        }
        for name in presets() {
            let provider = preset(name).unwrap();
            let heard = if refused { Heard::of_refusal(&provider, &head, now()) } else { Heard::of(&provider, &head, now()) };
            let mut kinds = Vec::new();
            for reading in heard.iter() {
                prop_assert!(reading.limit.is_some() || reading.remaining.is_some());
                prop_assert!(reading.limit.is_none_or(|limit| (1..=1_000_000_000_000_000).contains(&limit)));
                prop_assert!(reading.remaining <= reading.limit || reading.limit.is_none());
                prop_assert!(reading.reset.is_none_or(|reset| reset <= Duration::from_secs(32 * 86_400)));
                prop_assert!(reading.window.is_none_or(|window| !window.is_zero()));
                prop_assert!(!kinds.contains(&reading.kind));
                kinds.push(reading.kind);
            }
        }
    }

    #[test]
    fn openais_numbers_are_read_back(limit in 1_u64..1_000_000_000, used in 0.0_f64..1.0, millis in 1_u64..60_000) {
        let remaining = limit - (limit as f64 * used) as u64;
        let mut head = HeaderMap::new();
        let mut put = |name, value: String| head.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
        put("x-ratelimit-limit-tokens", limit.to_string());
        put("x-ratelimit-remaining-tokens", remaining.to_string());
        put("x-ratelimit-reset-tokens", format!("{}.{:03}s", millis / 1_000, millis % 1_000));
        let got = rows(&Heard::of(&preset("openai").unwrap(), &head, now()));
        prop_assert_eq!((got[0].1, got[0].2, got[0].3), (Some(limit), Some(remaining), Some(millis)));
    }
}
