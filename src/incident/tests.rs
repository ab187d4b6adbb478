//! Reports of made-up facts.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    failures::{Bad, Case, Change, Conclusion, Effects, Extract, Failed, Good, Id, Minute, Slot},
    triage::Class,
};

const OWN: &str = "00c0ffee00c0ffee";

fn at(text: &str) -> SystemTime {
    humantime::parse_rfc3339(&format!("2026-07-01T{text}Z")).unwrap()
}

fn upstream(name: &str, provider: &str, host: &str) -> UpstreamFacts {
    UpstreamFacts {
        name: name.into(),
        provider: provider.into(),
        host: host.into(),
        key: KeySource {
            source: "held".into(),
            kind: Some("project key".into()),
            fingerprint: Some(OWN.into()),
        },
        organization: None,
        project: None,
    }
}

fn good(upstream: &str, model: &str, minutes: &[(&str, u32)]) -> Good {
    let minutes: Vec<_> = minutes
        .iter()
        .map(|(time, n)| (Minute::of(at(time)), *n))
        .collect();
    Good {
        upstream: upstream.into(),
        model: model.into(),
        key: Some(OWN.into()),
        last: minutes
            .last()
            .map(|(minute, _)| minute.start() + Duration::from_secs(59)),
        minutes,
    }
}

fn bad(upstream: &str, class: Class, minutes: &[(&str, u32)]) -> Bad {
    let slots: Vec<_> = minutes
        .iter()
        .map(|(time, count)| {
            let first = at(time);
            let last = first + Duration::from_secs(u64::from(*count) - 1);
            let id = |at: SystemTime| Id {
                id: format!("req_{}", humantime::format_rfc3339_seconds(at)).into(),
                at,
            };
            let named = class != Class::Timeout && class != Class::Connection;
            Slot {
                minute: Minute::of(first),
                count: *count,
                named: if named { *count } else { 0 },
                first,
                last,
                first_id: named.then(|| id(first)),
                last_id: named.then(|| id(last)),
            }
        })
        .collect();
    let last = slots[slots.len() - 1].last;
    Bad {
        upstream: upstream.into(),
        model: "gpt-4o".into(),
        class,
        after_content: false,
        last: Failed {
            at: last,
            upstream: upstream.into(),
            class: class.to_string(),
            ..Failed::example()
        },
        slots,
    }
}

fn facts(good: Vec<Good>, bad: Vec<Bad>) -> Facts {
    Facts {
        started: at("06:00:00"),
        upstreams: vec![
            upstream("openai", "OpenAI", "api.openai.com"),
            upstream("azure", "Azure OpenAI", "acme.openai.azure.com"),
        ],
        book: Extract {
            good,
            bad,
            effects: Effects::default(),
            changes: Vec::new(),
            cases: Vec::new(),
            whole_from: None,
        },
        working_keys: Vec::new(),
        circuits: Vec::new(),
    }
}

/// The window 10:00 to 12:00, at 12:00:30.
fn report(facts: &Facts) -> Report {
    let window = Window {
        from: at("10:00:00"),
        to: at("12:00:00"),
    };
    let mut report = Report::of(facts, &window, None, at("12:00:30"));
    report.weir = "0.0.0".into();
    report
}

fn outage() -> Facts {
    let mut facts = facts(
        vec![
            good(
                "openai",
                "gpt-4o",
                &[("10:00:00", 50), ("11:10:00", 2), ("11:40:00", 40)],
            ),
            good("openai", "gpt-4o-mini", &[("11:05:00", 30)]),
            good("azure", "gpt-4o", &[("11:05:00", 57), ("11:06:00", 50)]),
        ],
        vec![
            bad(
                "openai",
                Class::Overloaded,
                &[("11:03:10", 5), ("11:08:00", 3), ("11:10:00", 1)],
            ),
            bad("openai", Class::Timeout, &[("11:04:00", 2)]),
            bad("openai", Class::InvalidRequest, &[("10:00:00", 4)]),
        ],
    );
    let case = |by: &str, outcome: &str| {
        Arc::new(Case {
            at: at("11:03:10"),
            failures: vec![Failed::example()],
            conclusion: Some(Conclusion {
                outcome: outcome.into(),
                answered_by: Some(by.into()),
                ..Conclusion::example()
            }),
            ..Case::example()
        })
    };
    facts.book.cases = vec![
        case("azure", "ok"),
        case("azure", "ok"),
        case("openai", "ok"),
        case("azure", "upstream_error"),
    ];
    facts.book.effects = Effects {
        calls: 120,
        answered_by_repeat: 3,
        answered_by_fallback: 107,
        failed: 5,
        refused: 1,
        callers_mistakes: 4,
        more_attempts: 9,
        sdk_repeats: 2,
        ..Effects::default()
    };
    let change = |time: &str, from: &str, to: &str| Change {
        at: at(time),
        upstream: "openai".into(),
        scope: "model".into(),
        key: "gpt-4o".into(),
        from: from.into(),
        to: to.into(),
        class: "overloaded".into(),
        last_request_id: Some("req_77".into()),
    };
    facts.book.changes = vec![
        change("11:03:14", "closed", "open"),
        change("11:10:10", "open", "half_open"),
        change("11:10:11", "half_open", "recovering"),
        change("11:11:00", "recovering", "closed"),
    ];
    facts
}

fn has(findings: &[Finding], cause: &str, words: &str) -> bool {
    findings
        .iter()
        .any(|f| f.cause == cause && format!("{} {}", f.claim, f.evidence).contains(words))
}

#[test]
fn an_outage_in_markdown() {
    insta::assert_snapshot!(report(&outage()).markdown());
}

#[test]
fn an_outage_in_json() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&report(&outage())).unwrap());
}

#[test]
fn json_can_be_read_again() {
    let report = report(&outage());
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn an_empty_window_says_so_and_is_short() {
    let report = report(&facts(
        vec![good("openai", "gpt-4o", &[("11:00:00", 7)])],
        Vec::new(),
    ));
    assert!(report.empty);
    insta::assert_snapshot!(report.markdown());
}

#[test]
fn callers_mistakes_are_no_failures_of_a_provider() {
    let report = report(&facts(
        Vec::new(),
        vec![bad("openai", Class::InvalidRequest, &[("11:00:00", 3)])],
    ));
    assert!(
        report.title.starts_with("No provider failed") && report.title.contains("3 calls"),
        "{}",
        report.title
    );
    assert_eq!(
        (
            report.upstreams[0].failures,
            report.upstreams[0].callers_mistakes
        ),
        (0, 3)
    );
    assert!(report.ruled_out.is_empty() && report.open.is_empty());
}

#[test]
fn a_key_that_worked_only_before_the_failures_is_not_ruled_out() {
    let mut facts = facts(
        vec![good("openai", "gpt-4o", &[("10:30:00", 9)])],
        vec![bad("openai", Class::ServerError, &[("11:00:00", 3)])],
    );
    facts.book.bad[0].last.organization = None;
    let report = report(&facts);
    assert!(
        has(
            &report.open,
            "key",
            "answered at 2026-07-01T10:30:59Z, before the failures began"
        ),
        "{:#?}",
        report.open
    );
    assert!(!report.ruled_out.iter().any(|f| f.cause == "key"));
}

#[test]
fn a_refused_key_is_never_called_valid() {
    let report = report(&facts(
        vec![good("openai", "gpt-4o", &[("11:30:00", 9)])],
        vec![bad("openai", Class::AuthInvalid, &[("11:00:00", 3)])],
    ));
    assert!(has(&report.open, "key", "refused 3 calls as auth_invalid"));
    assert!(!report.ruled_out.iter().any(|f| f.cause == "key"));
}

#[test]
fn failures_without_an_answer_leave_the_network_open() {
    let report = report(&facts(
        Vec::new(),
        vec![bad("openai", Class::Connection, &[("11:00:00", 3)])],
    ));
    assert!(has(
        &report.open,
        "network",
        "3 attempts got no HTTP answer"
    ));
    assert!(!report.ruled_out.iter().any(|f| f.cause == "network"));
}

#[test]
fn another_upstream_proves_something_only_while_this_one_failed() {
    let failing = || vec![bad("openai", Class::ServerError, &[("11:00:00", 3)])];
    let before = facts(vec![good("azure", "gpt-4o", &[("10:30:00", 9)])], failing());
    assert!(!has(&report(&before).ruled_out, "network", "azure"));
    let meanwhile = facts(vec![good("azure", "gpt-4o", &[("11:00:00", 9)])], failing());
    assert!(has(
        &report(&meanwhile).ruled_out,
        "network",
        "`azure`: 9 answered, 0 failed"
    ));
    let mut failing_too = failing();
    failing_too.push(bad("azure", Class::ServerError, &[("11:00:00", 5)]));
    let both = facts(
        vec![good("azure", "gpt-4o", &[("11:00:00", 9)])],
        failing_too,
    );
    assert!(!has(&report(&both).ruled_out, "network", "`azure`"));
}

#[test]
fn a_rate_limit_is_ruled_out_by_what_remained_and_by_nothing_else() {
    let mut limited = facts(
        Vec::new(),
        vec![bad("openai", Class::RateLimitedTokens, &[("11:00:00", 3)])],
    );
    assert!(has(
        &report(&limited).open,
        "rate_limit",
        "3 calls refused for a limit"
    ));
    limited.book.bad = vec![bad("openai", Class::Overloaded, &[("11:00:00", 3)])];
    assert!(has(
        &report(&limited).ruled_out,
        "rate_limit",
        "x-ratelimit-remaining-requests: 499"
    ));
    limited.book.bad[0]
        .last
        .headers
        .push(("x-ratelimit-remaining-tokens".into(), "0".into()));
    assert!(
        !report(&limited)
            .ruled_out
            .iter()
            .any(|f| f.cause == "rate_limit")
    );
}

#[test]
fn apps_are_named_only_when_asked_for() {
    let facts = outage();
    let plain = report(&facts);
    assert!(
        !plain.markdown().contains("| shop")
            && !serde_json::to_string(&plain.apps).unwrap().contains("shop")
    );
    assert!(plain.with_apps(&facts).markdown().contains("| shop | 4 |"));
}

#[test]
fn broken_streams_count_as_one_attempt() {
    let mut broken = bad("openai", Class::StreamError, &[("11:00:00", 3)]);
    broken.after_content = true;
    let report = report(&facts(
        vec![good("openai", "gpt-4o", &[("11:00:00", 10)])],
        vec![broken],
    ));
    let upstream = &report.upstreams[0];
    assert_eq!(
        (upstream.attempts, upstream.answered, upstream.failures),
        (10, 7, 3)
    );
    assert_eq!(
        (
            report.timeline.rows[0].attempts,
            report.timeline.rows[0].failures
        ),
        (10, 3)
    );
}

#[test]
fn texts_of_others_cannot_break_out_of_their_place() {
    let mut facts = facts(
        Vec::new(),
        vec![bad("openai", Class::ServerError, &[("11:00:00", 1)])],
    );
    let last = &mut facts.book.bad[0].last;
    last.code = Some("a|b\n# c".into());
    last.headers = vec![("via".into(), "x\n```\n# y".into())];
    let text = report(&facts).markdown();
    assert!(!text.contains("\n# c") && !text.contains("\n# y"), "{text}");
}
