//! Limits told as a rate: "30,000 input tokens per minute", "60000 TPM", "10 per 60s".

use std::sync::OnceLock;

use regex::{Captures, Regex};

use super::words::{
    NUMBER, SHORT, Scaled, UNIT, WINDOW, compiled, kind_of, kind_of_short, number, scaled,
    seconds_of,
};
use super::{ToldLimit, suits};
use crate::triage::Class;

/// What a form's match tells.
type Found = (Option<u64>, Option<Scaled>);

/// The first rate that can have led to the class.
pub(super) fn by_rate(text: &str, class: Class) -> Option<ToldLimit> {
    static AFTER: OnceLock<Option<Regex>> = OnceLock::new();
    static BRIEF: OnceLock<Option<Regex>> = OnceLock::new();
    static BEFORE: OnceLock<Option<Regex>> = OnceLock::new();
    static BARE: OnceLock<Option<Regex>> = OnceLock::new();
    if let Some(told) = reached(text) {
        return Some(told);
    }
    let first = |cell, pattern: String, read: &dyn Fn(&Captures<'_>) -> Found| {
        let regex = compiled(cell, &pattern)?;
        regex.captures_iter(text).find_map(|found| {
            let (limit, (kind, times, by)) = match read(&found) {
                (Some(limit), Some(kind)) if limit > 0 => (limit, kind),
                _ => return None,
            };
            let before = &text[..found.get(0)?.start()];
            (suits(kind, class) && !is_an_offer(before)).then(|| ToldLimit {
                kind: Some(kind),
                limit: Some(scaled(limit, (times, by))),
                ..ToldLimit::default()
            })
        })
    };
    let after = format!(r"{NUMBER} ?{UNIT} ?{WINDOW}");
    let brief = format!(r"{NUMBER} ?{SHORT}");
    let before = format!(r"{UNIT} {WINDOW}: {NUMBER} allowed");
    let bare = format!(r"\b(?:exceeded:|limit of|get) {NUMBER} {WINDOW}");
    first(&AFTER, after, &|found| {
        (number(found, 1), counted(found, 3))
    })
    .or_else(|| {
        first(&BRIEF, brief, &|found| {
            (number(found, 1), kind_of_short(&found[3]))
        })
    })
    .or_else(|| {
        first(&BEFORE, before, &|found| {
            (number(found, 5), counted(found, 1))
        })
    })
    .or_else(|| {
        // Without a unit it is requests, if the class says so.
        if !matches!(class, Class::RateLimitedRequests | Class::RateLimitedDay) {
            return None;
        }
        first(&BARE, bare, &|found| {
            let seconds = window(found, 3);
            let kind = seconds.and_then(|seconds| kind_of(None, "requests", seconds));
            (number(found, 1), kind)
        })
    })
}

/// "Tokens per Minute (actual/limit): 2100000/2000000". Of several, the one that is reached refused, whatever the other words
/// made of it.
fn reached(text: &str) -> Option<ToldLimit> {
    static ACTUAL: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = format!(r"{UNIT} {WINDOW} \(actual/limit\): {NUMBER}/{NUMBER}");
    let actual = compiled(&ACTUAL, &pattern)?;
    actual.captures_iter(text).find_map(|found| {
        let (kind, times, by) = counted(&found, 1)?;
        let (used, limit) = (number(&found, 5)?, number(&found, 7)?);
        (used >= limit && limit > 0).then(|| ToldLimit {
            kind: Some(kind),
            limit: Some(scaled(limit, (times, by))),
            ..ToldLimit::default()
        })
    })
}

/// The kind in the groups of side, unit, and window, from `at` on.
fn counted(found: &Captures<'_>, at: usize) -> Option<Scaled> {
    let side = found.get(at).map(|side| side.as_str());
    kind_of(side, found.get(at + 1)?.as_str(), window(found, at + 2)?)
}

fn window(found: &Captures<'_>, at: usize) -> Option<u64> {
    let times = found.get(at).map(|times| times.as_str());
    seconds_of(times, found.get(at + 1)?.as_str())
}

/// What one would have after paying is not what there is: "add 10 credits to unlock 1000 requests per day".
fn is_an_offer(before: &str) -> bool {
    let sentence = before.rsplit(['.', ';', '\n']).next().unwrap_or(before);
    let near: String = sentence.chars().rev().take(48).collect();
    let near: String = near.chars().rev().collect::<String>().to_lowercase();
    [
        "unlock",
        "upgrade to",
        "to get",
        "to have",
        "increase to",
        "raise it to",
        "up to",
    ]
    .iter()
    .any(|word| near.contains(word))
}
