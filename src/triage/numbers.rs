//! The numbers that a refusal tells of the limit it refused for: "Limit 30000, Used 14567, Requested 24754", "rate limit of
//! 30,000 input tokens per minute", a quota's name and value.
//!
//! Only failures of a limit are read, and of their texts only what the provider says itself. What is not sure is left out: a
//! limit that is read too low throttles everybody for nothing.

use std::sync::OnceLock;
use std::time::Duration;

use regex::{Captures, Regex};

use super::class::Class;
use super::facts::{Facts, Quota};
use super::wait;
use crate::limits::Kind;

/// A limit, as a refusal tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToldLimit {
    /// `None`: the words do not say of what.
    pub kind: Option<Kind>,
    /// The capacity of the kind's window; never 0.
    pub limit: Option<u64>,
    /// What was used of it.
    pub used: Option<u64>,
    /// What the provider estimated this call at.
    pub requested: Option<u64>,
}

/// More than this is no limit.
const MOST: f64 = 1e12;
/// A count, and thousands or millions behind it.
const NUMBER: &str = r"(\d[\d,]*(?:\.\d+)?)(k|m)?\b";
/// What is counted.
const UNIT: &str = r"(?:(input|output|prompt|completion|generated)[ _-]?)?(requests?|reqs?|queries|(?:api[ -])?calls?|tokens?(?:_usage_based)?|images?)";
/// Over which time. "A minute" and "1 minute" are 60 s.
const WINDOW: &str = r"(?:per|/|every|a|an|each|allowed per|in)[ -]?(\d+ ?)?(seconds?|secs?|s|minutes?|mins?|days?|d|months?)\b";
/// The short names of limits.
const SHORT: &str = r"([io]?tp[md]|rpm|rpd|ipm|rps|qps|qpm)\b";

// === impl ToldLimit ===

impl ToldLimit {
    /// What the words and fields of a failure of this class tell.
    pub(super) fn read(facts: &Facts, class: Class) -> Option<Self> {
        if !(class.is_rate_limit() || class == Class::RequestTooLargeForLimit)
            || class == Class::RateLimitedRamp
        {
            return None;
        }
        let told = of_quotas(&facts.quotas, class)
            .or_else(|| of_text(&facts.unquoted, class))
            .or_else(|| of_headers(facts, class))?;
        told.sound(class)
    }

    /// The wait until the call would be let in, of a bucket that refills steadily.
    pub fn wait(&self) -> Option<Duration> {
        let limit = self.limit?;
        let window = self
            .kind
            .filter(|kind| *kind != Kind::Concurrency)?
            .window();
        let need = self.used?.checked_add(self.requested?)?;
        if self.requested? > limit {
            return None;
        }
        let over = need.saturating_sub(limit) as f64;
        Some(window.mul_f64(over / limit as f64))
    }

    /// Without what cannot be, and with the kind that the class means where the words do not say it.
    fn sound(mut self, class: Class) -> Option<Self> {
        if self.limit == Some(0) {
            return None;
        }
        self.kind = self.kind.or(match class {
            Class::RateLimitedRequests => Some(Kind::Requests),
            Class::RateLimitedTokens => Some(Kind::Tokens),
            Class::RateLimitedImages => Some(Kind::Images),
            Class::RateLimitedConcurrency => Some(Kind::Concurrency),
            _ => None,
        });
        // A limit without a kind is a size for one call, or something that has no bucket.
        let limited = self.limit.is_some() && self.kind.is_some();
        limited.then_some(self)
    }
}

/// Whether a limit of this kind can have led to this class.
fn suits(kind: Kind, class: Class) -> bool {
    match class {
        Class::RateLimitedRequests => matches!(kind, Kind::Requests | Kind::ProjectRequests),
        Class::RateLimitedTokens => kind.counts_tokens() && !kind.is_long(),
        Class::RateLimitedImages => kind == Kind::Images,
        Class::RateLimitedDay => kind.is_long(),
        Class::RateLimitedConcurrency => kind == Kind::Concurrency,
        Class::RequestTooLargeForLimit => kind.counts_tokens(),
        _ => true,
    }
}

fn compiled<'a>(cell: &'a OnceLock<Option<Regex>>, pattern: &str) -> Option<&'a Regex> {
    cell.get_or_init(|| Regex::new(&format!("(?i){pattern}")).ok())
        .as_ref()
}

/// The count in groups `at` and `at + 1`.
fn number(found: &Captures<'_>, at: usize) -> Option<u64> {
    let count = wait::count(found.get(at)?.as_str())? as f64;
    let digits = found.get(at)?.as_str();
    // `198.4k`: a fraction of thousands counts.
    let exact = digits.replace(',', "").parse().unwrap_or(count);
    let value = match found.get(at + 1).map(|unit| unit.as_str()) {
        Some("k" | "K") => exact * 1e3,
        Some("m" | "M") => exact * 1e6,
        _ => exact,
    };
    (0.0..=MOST)
        .contains(&value)
        .then_some(value.round() as u64)
}

/// What is counted, and the seconds of the window: a kind, and by what a number for the window is to be multiplied and divided
/// to be one for the kind's own.
fn kind_of(side: Option<&str>, unit: &str, seconds: u64) -> Option<(Kind, u64, u64)> {
    let unit = unit.to_ascii_lowercase();
    let kind = |minute, day: Option<Kind>, month: Option<Kind>| match seconds {
        1..=600 => Some((minute, 60, seconds)),
        86_400 => Some((day?, 1, 1)),
        2_592_000 => Some((month?, 1, 1)),
        _ => None,
    };
    if unit.starts_with("token") {
        let side = side.map(str::to_ascii_lowercase);
        let minute = match side.as_deref() {
            Some("input" | "prompt") => Kind::InputTokens,
            Some(_) => Kind::OutputTokens,
            None => Kind::Tokens,
        };
        // The sides' own limits by the day have no bucket.
        let long = side.is_none();
        let day = long.then_some(Kind::TokensPerDay);
        return kind(minute, day, long.then_some(Kind::TokensPerMonth));
    }
    if unit.starts_with("image") {
        return kind(Kind::Images, None, None);
    }
    kind(Kind::Requests, Some(Kind::RequestsPerDay), None)
}

fn seconds_of(times: Option<&str>, window: &str) -> Option<u64> {
    let unit = match window.to_ascii_lowercase().as_bytes() {
        [b's', ..] => 1,
        [b'm', b'o', ..] => 2_592_000,
        [b'm', ..] => 60,
        [b'd', ..] => 86_400,
        _ => return None,
    };
    let times = times.map_or(Some(1), |times| times.trim().parse::<u64>().ok())?;
    times.checked_mul(unit)
}

/// `TPM`, `RPD`.
fn kind_of_short(short: &str) -> Option<(Kind, u64, u64)> {
    let (side, rest) = match short.to_ascii_lowercase() {
        name if name.starts_with("itp") => (Some("input"), name[1..].to_owned()),
        name if name.starts_with("otp") => (Some("output"), name[1..].to_owned()),
        name => (None, name),
    };
    let (unit, seconds) = match rest.as_str() {
        "tpm" => ("tokens", 60),
        "tpd" => ("tokens", 86_400),
        "rpm" | "qpm" => ("requests", 60),
        "rpd" => ("requests", 86_400),
        "ipm" => ("images", 60),
        "rps" | "qps" => ("requests", 1),
        _ => return None,
    };
    kind_of(side, unit, seconds)
}

fn scaled(value: u64, (times, by): (u64, u64)) -> u64 {
    value.saturating_mul(times) / by.max(1)
}

/// What the text tells, in its surest form.
fn of_text(text: &str, class: Class) -> Option<ToldLimit> {
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
fn named(text: &str, class: Class) -> Option<(Kind, u64, u64)> {
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
    let joined = rest.starts_with(['-', '_', ':', '$', '%'])
        || rest.starts_with('.') && rest[1..].starts_with(|c: char| c.is_alphanumeric());
    let unit = rest.trim_start().to_ascii_lowercase();
    let other = [
        "mb", "kb", "gb", "bytes", "byte", "hour", "usd", "credit", "dollar", "enqueued", "%",
    ];
    joined || other.iter().any(|word| unit.starts_with(word))
}

/// "30,000 input tokens per minute", "60000 TPM", "Tokens per Minute (actual/limit): 2100000/2000000", "10 per 60s".
fn by_rate(text: &str, class: Class) -> Option<ToldLimit> {
    static AFTER: OnceLock<Option<Regex>> = OnceLock::new();
    static BRIEF: OnceLock<Option<Regex>> = OnceLock::new();
    static ACTUAL: OnceLock<Option<Regex>> = OnceLock::new();
    static BEFORE: OnceLock<Option<Regex>> = OnceLock::new();
    static BARE: OnceLock<Option<Regex>> = OnceLock::new();
    let group = |found: &Captures<'_>, at: usize| found.get(at).map(|m| m.as_str().to_owned());
    let window = |found: &Captures<'_>, at: usize| {
        seconds_of(group(found, at).as_deref(), found.get(at + 1)?.as_str())
    };
    let actual = compiled(
        &ACTUAL,
        &format!(r"{UNIT} {WINDOW} \(actual/limit\): {NUMBER}/{NUMBER}"),
    )?;
    for found in actual.captures_iter(text) {
        let kind = window(&found, 3)
            .and_then(|seconds| kind_of(group(&found, 1).as_deref(), &found[2], seconds));
        let (used, limit) = (number(&found, 5), number(&found, 7));
        // Of several, the one that is reached refused, whatever the rest of the words made of it.
        if let (Some((kind, times, by)), true) = (kind, used >= limit && limit > Some(0)) {
            let limit = limit.map(|limit| scaled(limit, (times, by)));
            return Some(ToldLimit {
                kind: Some(kind),
                limit,
                ..ToldLimit::default()
            });
        }
    }
    let mut told = Vec::new();
    let mut keep =
        |found: &Captures<'_>, limit: Option<u64>, used, kind: Option<(Kind, u64, u64)>| {
            let (Some(limit), Some((kind, times, by)), Some(whole)) = (limit, kind, found.get(0))
            else {
                return;
            };
            if suits(kind, class) && !is_an_offer(&text[..whole.start()]) {
                told.push(ToldLimit {
                    kind: Some(kind),
                    limit: Some(scaled(limit, (times, by))),
                    used,
                    requested: None,
                });
            }
        };
    let after = compiled(&AFTER, &format!(r"{NUMBER} ?{UNIT} ?{WINDOW}"))?;
    for found in after.captures_iter(text) {
        let kind = window(&found, 5)
            .and_then(|seconds| kind_of(group(&found, 3).as_deref(), &found[4], seconds));
        keep(&found, number(&found, 1), None, kind);
    }
    let brief = compiled(&BRIEF, &format!(r"{NUMBER} ?{SHORT}"))?;
    for found in brief.captures_iter(text) {
        keep(&found, number(&found, 1), None, kind_of_short(&found[3]));
    }
    let before = compiled(&BEFORE, &format!(r"{UNIT} {WINDOW}: {NUMBER} allowed"))?;
    for found in before.captures_iter(text) {
        let kind = window(&found, 3)
            .and_then(|seconds| kind_of(group(&found, 1).as_deref(), &found[2], seconds));
        keep(&found, number(&found, 5), None, kind);
    }
    let bare = compiled(
        &BARE,
        &format!(r"\b(?:exceeded:|limit of|get) {NUMBER} {WINDOW}"),
    )?;
    for found in bare.captures_iter(text) {
        let requests = matches!(class, Class::RateLimitedRequests | Class::RateLimitedDay);
        let kind = window(&found, 3).and_then(|seconds| kind_of(None, "requests", seconds));
        keep(&found, number(&found, 1), None, kind.filter(|_| requests));
    }
    told.into_iter().find(|told| told.limit != Some(0))
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

/// Google's quotas: their names say what and by when, their value how much.
fn of_quotas(quotas: &[Quota], class: Class) -> Option<ToldLimit> {
    let told = quotas.iter().filter_map(|quota| {
        let limit = quota.value.filter(|value| *value > 0)?;
        let of = |name: &str| kind_of_quota(name, class);
        let kind = of(&quota.id).or_else(|| of(&quota.metric))?;
        Some(ToldLimit {
            kind: Some(kind),
            limit: Some(limit),
            ..ToldLimit::default()
        })
    });
    let mut told = told.filter(|told| told.limit.is_some_and(|limit| limit as f64 <= MOST));
    told.find(|told| told.kind.is_some_and(|kind| suits(kind, class)))
}

/// `GenerateRequestsPerDayPerProjectPerModel-FreeTier`, `generate_content_paid_tier_input_token_count`. Where the name tells no
/// time, the class does.
fn kind_of_quota(name: &str, class: Class) -> Option<Kind> {
    let name: String = name
        .chars()
        .filter(|c| *c != '_' && *c != '-')
        .flat_map(char::to_lowercase)
        .collect();
    let day = name.contains("perday") || name.contains("daily");
    let minute = name.contains("perminute");
    if !(day || minute || class.is_rate_limit()) {
        return None;
    }
    let day = day || !minute && class == Class::RateLimitedDay;
    // Audio, images and the like have quotas of their own.
    if name.contains("audio") || name.contains("image") || name.contains("batch") {
        return None;
    }
    Some(match (name.contains("token"), day) {
        (true, true) => Kind::TokensPerDay,
        (true, false) if name.contains("output") => Kind::OutputTokens,
        (true, false) => Kind::InputTokens,
        (false, true) if name.contains("request") => Kind::RequestsPerDay,
        (false, false) if name.contains("request") => Kind::Requests,
        _ => return None,
    })
}

/// A router's own counters, repeated in the body: `error.metadata.headers`.
fn of_headers(facts: &Facts, class: Class) -> Option<ToldLimit> {
    let header = |name: &str| {
        let found = facts.headers.iter().find(|(known, _)| known == name)?;
        wait::count(&found.1)
    };
    let limit = header("x-ratelimit-limit").filter(|limit| *limit > 0 && *limit as f64 <= MOST)?;
    let kind = match class {
        Class::RateLimitedRequests => Kind::Requests,
        Class::RateLimitedDay => Kind::RequestsPerDay,
        _ => return None,
    };
    let left = header("x-ratelimit-remaining").filter(|left| *left <= limit);
    Some(ToldLimit {
        kind: Some(kind),
        limit: Some(limit),
        used: left.map(|left| limit - left),
        requested: None,
    })
}
