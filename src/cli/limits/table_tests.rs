//! The page as it stands in terminals of several widths.

use super::*;
use crate::limits::{
    Kind, QueueView, Source,
    made_up::{bucket, pool, refusal},
};

fn page() -> LimitsPage {
    LimitsPage {
        version: "1.2.3".to_owned(),
        at: "2026-07-01T12:00:00.000Z".to_owned(),
        pools: Vec::new(),
        pools_left_out: 0,
        quotas: Vec::new(),
        quotas_left_out: 0,
    }
}

fn busy() -> PoolView {
    let mut view = pool("openai", "gpt-4o");
    view.models = vec!["gpt-4o".to_owned(), "gpt-4o-2024-08-06".to_owned()];
    view.buckets = vec![
        bucket(Kind::Requests, 10_000, 8_421),
        bucket(Kind::Tokens, 12_000_000, 604_000),
        bucket(Kind::TokensPerDay, 1_000_000_000, 215_000_000),
    ];
    view.buckets[1].foreign_share = Some(0.38);
    view.buckets[1].source = Source::Refusal;
    view.buckets[2].full_in_seconds = 30_000.0;
    view.concurrency.inflight = 12;
    view.concurrency.limit = Some(64);
    view.concurrency.learned = true;
    view.queue = QueueView {
        interactive: 30,
        batch: 4,
        oldest_seconds: 2.13,
        apps: 3,
    };
    let mut last = refusal("2026-07-01T11:57:00Z", "rate_limited_tokens");
    last.told_wait_seconds = Some(1.2);
    last.surprise = true;
    view.last_refusal = Some(last);
    view
}

fn full() -> LimitsPage {
    let mut local = pool("vllm", "llama-3.3-70b-instruct");
    local.concurrency.inflight = 1;
    let mut remembered = pool("claude", "claude-sonnet");
    remembered.models = ["a", "b", "c", "d", "e", "f"]
        .map(|n| format!("claude-sonnet-4-{n}"))
        .to_vec();
    let mut input = bucket(Kind::InputTokens, 30_000, 30_000);
    input.source = Source::Remembered;
    remembered.buckets.push(input);
    let quota = QuotaView {
        app: "search".to_owned(),
        on_limit: "wait".to_owned(),
        priority: "batch".to_owned(),
        weight: 2,
        allowances: vec![
            AllowanceView {
                kind: "tokens_per_minute".to_owned(),
                quota: 200_000,
                used: 190_000,
                remaining: 10_000,
                burst: 200_000,
                next_in_seconds: Some(0.0),
            },
            AllowanceView {
                kind: "requests_per_minute".to_owned(),
                quota: 30,
                used: 8,
                remaining: 22,
                burst: 5,
                next_in_seconds: Some(7.5),
            },
            AllowanceView {
                kind: "concurrency".to_owned(),
                quota: 8,
                used: 8,
                remaining: 0,
                burst: 8,
                next_in_seconds: None,
            },
        ],
        waiting: 3,
        oldest_wait_seconds: 0.42,
    };
    let mut other = quota.clone();
    (other.app, other.on_limit) = ("nightly".to_owned(), "reject".to_owned());
    (other.waiting, other.weight) = (0, 1);
    other.allowances.truncate(1);
    LimitsPage {
        pools: vec![remembered, busy(), local],
        pools_left_out: 1_234,
        quotas: vec![quota, other],
        ..page()
    }
}

fn plain(width: usize) -> Look {
    Look {
        width,
        colour: false,
    }
}

#[test]
fn a_wide_terminal_shows_all_of_it() {
    insta::assert_snapshot!(table(&full(), plain(120)));
}

#[test]
fn a_narrow_terminal_shows_short_numbers() {
    insta::assert_snapshot!(table(&full(), plain(80)));
}

#[test]
fn a_slim_one_has_no_bars() {
    insta::assert_snapshot!(table(&full(), plain(56)));
}

#[test]
fn nothing_known_is_said() {
    insta::assert_snapshot!(table(&page(), plain(80)), @r"
    weir 1.2.3 · 2026-07-01 12:00:00 UTC

      Nothing is known of limits yet: no call was answered.
    ");
}

#[test]
fn accounts_are_named_where_there_are_several() {
    let mut one = busy();
    one.account = Some("a1b2c3d4".to_owned());
    let alone = LimitsPage {
        pools: vec![one.clone()],
        ..page()
    };
    assert!(!table(&alone, plain(120)).contains("a1b2c3d4"));
    let mut two = one.clone();
    two.account = Some("e5f6a7b8".to_owned());
    let both = LimitsPage {
        pools: vec![one, two],
        ..page()
    };
    let text = table(&both, plain(120));
    assert!(
        text.contains("account a1b2c3d4") && text.contains("account e5f6a7b8"),
        "{text}"
    );
}

#[test]
fn no_line_is_longer_than_the_terminal() {
    for width in 56..200 {
        for line in table(&full(), plain(width)).lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colours_change_nothing_else() {
    let colour = Look {
        width: 120,
        colour: true,
    };
    let painted = table(&full(), colour);
    assert!(painted.contains("\x1b[31m"), "little is left of tokens");
    let mut bare = painted;
    for code in ["0", "1", "2", "31", "32", "33"] {
        bare = bare.replace(&format!("\x1b[{code}m"), "");
    }
    let trimmed = |text: &str| {
        text.lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(trimmed(&bare), trimmed(&table(&full(), plain(120))));
}
