//! How numbers, units and windows are written, and what kinds they make.

use std::sync::OnceLock;

use regex::{Captures, Regex};

use super::MOST;
use crate::limits::Kind;
use crate::triage::wait;

/// A kind, and by what a number told for the window is to be multiplied and divided to be one for the kind's own.
pub(super) type Scaled = (Kind, u64, u64);

/// A count, and thousands or millions behind it.
pub(super) const NUMBER: &str = r"(\d[\d,]*(?:\.\d+)?)(k|m)?\b";
/// What is counted.
pub(super) const UNIT: &str = r"(?:(input|output|prompt|completion|generated)[ _-]?)?(requests?|reqs?|queries|(?:api[ -])?calls?|tokens?(?:_usage_based)?|images?)";
/// Over which time. "A minute" and "1 minute" are 60 s.
pub(super) const WINDOW: &str = r"(?:per|/|every|a|an|each|allowed per|in)[ -]?(\d+ ?)?(seconds?|secs?|s|minutes?|mins?|days?|d|months?)\b";
/// The short names of limits.
pub(super) const SHORT: &str = r"([io]?tp[md]|rpm|rpd|ipm|rps|qps|qpm)\b";

pub(super) fn compiled<'a>(cell: &'a OnceLock<Option<Regex>>, pattern: &str) -> Option<&'a Regex> {
    cell.get_or_init(|| Regex::new(&format!("(?i){pattern}")).ok())
        .as_ref()
}

/// The count in groups `at` and `at + 1`.
pub(super) fn number(found: &Captures<'_>, at: usize) -> Option<u64> {
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
pub(super) fn kind_of(side: Option<&str>, unit: &str, seconds: u64) -> Option<Scaled> {
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

pub(super) fn seconds_of(times: Option<&str>, window: &str) -> Option<u64> {
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
pub(super) fn kind_of_short(short: &str) -> Option<Scaled> {
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

pub(super) fn scaled(value: u64, (times, by): (u64, u64)) -> u64 {
    value.saturating_mul(times) / by.max(1)
}
