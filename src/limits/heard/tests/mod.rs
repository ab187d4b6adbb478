//! What is read of literal heads.

mod properties;
mod vendors;

use std::time::UNIX_EPOCH;

use http::{HeaderName, HeaderValue};

use super::*;
use crate::triage::preset;

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
