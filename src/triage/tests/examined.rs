//! Failures written by an examiner who had not seen the rules: reworded, translated, reshaped, misleading.
//!
//! Where honest people differ, a row allows several classes, scopes or answers.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::super::*;
use super::{Row, rows_of};

const EXAMINED: &str = include_str!("../../../tests/fixtures/examined.jsonl");

/// How far a wait may be from the told one: texts round, headers do not.
const SLACK: Duration = Duration::from_secs(1);

/// A fixed moment, at which rows without a `date` header came.
fn now() -> SystemTime {
    wait::point_in_time("Sat, 21 Nov 2026 12:00:00 GMT").expect("a date")
}

fn allows(row: &Row, key: &str, got: &Value) -> bool {
    row.json[key].as_array().unwrap().contains(got)
}

fn helps(helps: Helps) -> Value {
    match helps {
        Helps::Yes => Value::Bool(true),
        Helps::No => Value::Bool(false),
        Helps::Partly => Value::from("partly"),
    }
}

/// Class, scope, waiting, wait, retry and fallback: right or not.
fn marks(row: &Row, verdict: &Verdict) -> [bool; 6] {
    let told = row.json["wait_s"].as_f64().map(Duration::from_secs_f64);
    [
        allows(row, "class", &verdict.class.as_str().into()),
        allows(row, "scope", &verdict.scope.as_str().into()),
        allows(row, "waiting_helps", &helps(verdict.waiting_helps)),
        told.is_none_or(|told| close(told, verdict)),
        allows(row, "retry_same", &helps(verdict.retry_same)),
        allows(row, "fallback_helps", &helps(verdict.fallback_helps)),
    ]
}

/// The told wait is kept, but for rounding: neither undercut nor stretched.
fn close(told: Duration, verdict: &Verdict) -> bool {
    verdict
        .wait
        .is_some_and(|wait| wait.abs_diff(told.min(wait::LONGEST)) <= SLACK)
}

#[test]
fn examined_failures_are_judged_as_labelled() {
    let mut right = [0_usize; 6];
    let mut wrong = Vec::new();
    let rows = rows_of(EXAMINED);
    for row in &rows {
        let verdict = verdict_of(row, &row.provider());
        let marks = marks(row, &verdict);
        for (sum, mark) in right.iter_mut().zip(marks) {
            *sum += usize::from(mark);
        }
        if marks.contains(&false) {
            wrong.push(told_wrong(row, &verdict));
        }
    }
    println!(
        "rows {}: class, scope, waiting, wait, retry, fallback right: {right:?}",
        rows.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What hurts others, whichever preset judges: an account closed for a passing limit or a caller's own mistake.
#[test]
fn examined_passing_limits_and_callers_mistakes_close_no_account() {
    let generic = preset("openai-compatible").unwrap();
    for row in rows_of(EXAMINED) {
        let labels = row.json["class"].as_array().unwrap();
        let harmless = labels.iter().all(|label| {
            let class: Class = label.as_str().unwrap().parse().unwrap();
            class.is_rate_limit() || class.is_callers_mistake()
        });
        let verdict = verdict_of(&row, &generic);
        assert!(
            !(harmless && verdict.class.is_billing()),
            "{}",
            told_wrong(&row, &verdict)
        );
    }
}

fn verdict_of(row: &Row, provider: &Provider) -> Verdict {
    let (body, headers) = (row.body(), row.headers());
    let evidence = Evidence {
        status: u16::try_from(row.json["status"].as_u64().unwrap()).unwrap(),
        headers: &headers,
        body: &body,
        transport: row.transport(),
        endpoint: row.text("endpoint"),
    };
    judge_at(provider, &evidence, now())
}

fn told_wrong(row: &Row, verdict: &Verdict) -> String {
    let want = &row.json;
    format!(
        "{}: want {} of {}, waiting {} ({}), retry {}, fallback {}; got {} of {}, {:?} ({:?}), {:?}, {:?} by {}",
        row.text("id"),
        want["class"],
        want["scope"],
        want["waiting_helps"],
        want["wait_s"],
        want["retry_same"],
        want["fallback_helps"],
        verdict.class,
        verdict.scope,
        verdict.waiting_helps,
        verdict.wait,
        verdict.retry_same,
        verdict.fallback_helps,
        verdict.rule
    )
}
