//! Limits in sentences: with their labels, as used and whole, or of calls at once.

use std::sync::OnceLock;

use regex::{Captures, Regex};

use super::rate::by_rate;
use super::words::{
    NUMBER, SHORT, Scaled, UNIT, WINDOW, compiled, kind_of, kind_of_short, number, scaled,
    seconds_of,
};
use super::{ToldLimit, kind_of_quota, suits};
use crate::limits::Kind;
use crate::triage::Class;

/// What the text tells, in its surest form.
pub(super) fn of_text(text: &str, class: Class) -> Option<ToldLimit> {
    // Jobs have limits of their own, sounds are counted in seconds, and a batch's queue is no rate.
    static OTHERS: OnceLock<Option<Regex>> = OnceLock::new();
    let others = compiled(
        &OTHERS,
        r"\bfine-tun|\bseconds of audio\b|\(AS[PH]|\benqueued\b|\bper request\b",
    )?;
    if others.is_match(text) {
        return None;
    }
    let told = if class == Class::RateLimitedConcurrency {
        at_once(text)
    } else {
        labelled(text, class)
            .or_else(|| by_rate(text, class))
            .or_else(|| of_and_used(text, class))
    }?;
    Some(of_project(told, text))
}

/// "… in project proj_x …": the project's share refused, not the organisation's limit.
fn of_project(mut told: ToldLimit, text: &str) -> ToldLimit {
    if text.contains(" in project ") {
        told.kind = told.kind.map(|kind| match kind {
            Kind::Requests => Kind::ProjectRequests,
            Kind::Tokens => Kind::ProjectTokens,
            other => other,
        });
    }
    told
}

/// The kind that the text names first and that can have led to the class.
fn named(text: &str, class: Class) -> Option<Scaled> {
    static LONG: OnceLock<Option<Regex>> = OnceLock::new();
    static BRIEF: OnceLock<Option<Regex>> = OnceLock::new();
    static METRIC: OnceLock<Option<Regex>> = OnceLock::new();
    let long = compiled(&LONG, &format!(r"\b{UNIT}[ _-]{WINDOW}"))?;
    let told = long.captures_iter(text).filter_map(|found| {
        let seconds = seconds_of(found.get(3).map(|m| m.as_str()), &found[4])?;
        kind_of(found.get(1).map(|m| m.as_str()), &found[2], seconds)
    });
    let brief = compiled(&BRIEF, &format!(r"\b{SHORT}"))?;
    let short = brief
        .captures_iter(text)
        .filter_map(|found| kind_of_short(&found[1]));
    let metric = compiled(&METRIC, r"\bmetric:? \S*/(\w+)")?;
    let metrics = metric
        .captures_iter(text)
        .filter_map(|found| Some((kind_of_quota(&found[1], class)?, 1, 1)));
    short
        .chain(told)
        .chain(metrics)
        .find(|(kind, ..)| suits(*kind, class))
}

/// "Limit 30000, Used 14567, Requested 24754", "current: 65000, limit: 64000", "Limit: 5/1min. Current: 6/1min".
fn labelled(text: &str, class: Class) -> Option<ToldLimit> {
    static LIMIT: OnceLock<Option<Regex>> = OnceLock::new();
    static USED: OnceLock<Option<Regex>> = OnceLock::new();
    static ASKED: OnceLock<Option<Regex>> = OnceLock::new();
    let one = |cell, words: &str| {
        let regex = compiled(cell, &format!(r"\b(?:{words}){NUMBER}"))?;
        let all = regex.captures_iter(text);
        let mut numbers = all.filter(|found| !is_part_of_a_word(text, found));
        let first = numbers.next()?;
        // Some list several metrics, those without access first.
        match number(&first, 1) {
            Some(0) => numbers.find_map(|found| number(&found, 1).filter(|n| *n > 0)),
            number => number,
        }
    };
    let limit = one(
        &LIMIT,
        r"limit(?: is|:|=)? ?|allowance of |max (?:RPM|TPM|RPD|TPD): ?",
    )?;
    let named = named(text, class);
    let (kind, scale) = match named {
        Some((kind, times, by)) => (Some(kind), (times, by)),
        None => (None, (1, 1)),
    };
    // Where neither the words nor the class say of what, it may be a size, a date, anything.
    if kind.is_none() && !matches!(class, Class::RateLimitedRequests | Class::RateLimitedTokens) {
        return None;
    }
    let told = |value: Option<u64>| value.map(|value| scaled(value, scale));
    Some(ToldLimit {
        kind,
        limit: told(Some(limit)),
        used: told(one(&USED, r"used:? ?|current: ?")),
        requested: one(
            &ASKED,
            r"requested:? ?|asked(?: for)? ?|this call wants |this request needs ",
        ),
    })
}

/// Whether the number goes on behind (`4-turbo`, `50 MB`), so that it is none, or is one of money, bytes or seconds.
fn is_part_of_a_word(text: &str, found: &Captures<'_>) -> bool {
    let Some(whole) = found.get(0) else {
        return true;
    };
    let rest = &text[whole.end()..];
    // A status is no limit: "rate limit 429".
    let status =
        found.get(1).is_some_and(|digits| digits.as_str() == "429") && !rest.starts_with(',');
    let joined = status
        || rest.starts_with(['-', '_', ':', '$', '%'])
        || rest.starts_with('.') && rest[1..].starts_with(|c: char| c.is_alphanumeric());
    let unit = rest.trim_start().to_ascii_lowercase();
    let other = [
        "mb", "kb", "gb", "bytes", "byte", "hour", "usd", "credit", "dollar", "enqueued", "%",
        "second", "sec", "minute", "day", "week", "error",
    ];
    joined || other.iter().any(|word| unit.starts_with(word))
}

/// "500 of 500", "1000/1000", "(40k/40k)": all of it is used, or nearly.
fn of_and_used(text: &str, class: Class) -> Option<ToldLimit> {
    if text.contains("actual/limit") {
        return None;
    }
    static BOTH: OnceLock<Option<Regex>> = OnceLock::new();
    static ASKED: OnceLock<Option<Regex>> = OnceLock::new();
    let both = compiled(
        &BOTH,
        &format!(r"(?:^|[\s(]){NUMBER}(?:/| of ){NUMBER}(?:$|[\s,.);])"),
    )?;
    let (kind, times, by) = named(text, class).or(match class {
        Class::RateLimitedTokens if text.contains("minute") => Some((Kind::Tokens, 60, 60)),
        _ => None,
    })?;
    let (used, limit) = both.captures_iter(text).find_map(|found| {
        let (used, limit) = (number(&found, 1)?, number(&found, 3)?);
        (limit > 0 && used.saturating_mul(10) >= limit.saturating_mul(8)).then_some((used, limit))
    })?;
    let asked = compiled(&ASKED, &format!(r"\bthis call wants {NUMBER}"))?;
    Some(ToldLimit {
        kind: Some(kind),
        limit: Some(scaled(limit, (times, by))),
        used: Some(scaled(used, (times, by))),
        requested: asked.captures(text).and_then(|found| number(&found, 1)),
    })
}

/// "concurrent requests: 4", "max concurrency: 3", "31 of 30 in progress", "Rate limit of 2 per 0s … UserConcurrentRequests".
fn at_once(text: &str) -> Option<ToldLimit> {
    static FORMS: OnceLock<Option<Regex>> = OnceLock::new();
    let forms = compiled(
        &FORMS,
        &[
            format!(r"\bconcurren\w*(?: \w+)?: ?(?:\d+ of )?{NUMBER}"),
            format!(r"{NUMBER} (?:concurrent|parallel|simultaneous)\b"),
            format!(r"\b(?:of|maximum is|allows|current limit:|in-flight limit of|最大并发为) ?{NUMBER}(?: units| in progress| per 0s|\b)"),
        ]
        .join("|"),
    )?;
    let found = forms.captures_iter(text).find_map(|found| {
        [1, 3, 5]
            .into_iter()
            .find_map(|at| number(&found, at))
            .filter(|limit| *limit > 0)
    })?;
    // More calls at once than this is no limit for one account.
    (found <= 100_000).then_some(ToldLimit {
        kind: Some(Kind::Concurrency),
        limit: Some(found),
        ..ToldLimit::default()
    })
}
