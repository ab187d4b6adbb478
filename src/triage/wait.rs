//! How long to wait, in every notation that providers use.
//!
//! One parser for all of them: durations in any mix of `d h m s ms us` with or without blanks (`6m 11.52s`, `120ms`,
//! `1 minute 3 seconds`), bare numbers as seconds, numbers above 10^11 as epoch milliseconds and from 10^9 as epoch
//! seconds (as a wait they would be 31 years), ISO times, HTTP dates. Negative numbers, NaN and nonsense are no
//! information; everything is bounded by [`LONGEST`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest wait that is believed. Limits are by the day at most; what claims more is a spend limit's date or nonsense.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A count as providers write it: commas between thousands are skipped, `-1` and the like are unknown.
pub fn count(text: &str) -> Option<u64> {
    let (value, rest) = number(text.trim())?;
    // Fractions appear in old texts (`60.000000`), never in the meaning.
    (rest.is_empty() && value < 1e18).then_some(value as u64)
}

/// A duration that fills the whole text. At most [`LONGEST`]; zero is kept.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let lower;
    let text = match text.strip_prefix("PT").or_else(|| text.strip_prefix('P')) {
        Some(iso) => {
            lower = iso.replace('T', "").to_ascii_lowercase();
            &lower
        }
        None => text,
    };
    let (value, rest) = leading_duration(text)?;
    rest.trim().is_empty().then_some(value)
}

/// The wait that a header's value tells, whatever the notation; a point in time counts from `now`, and one that has
/// passed is no wait.
pub fn header(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim().trim_matches('"');
    if let Some(point) = point_in_time(value) {
        return Some(point.duration_since(now).unwrap_or_default().min(LONGEST));
    }
    // Parameters follow (`30;w=60`), or a second proxy has added its own wait (`30, 60`).
    let value = value.split(';').next().unwrap_or_default();
    duration(value).or_else(|| {
        let parts = value.split(", ").map(duration);
        parts.collect::<Option<Vec<_>>>()?.into_iter().max()
    })
}

/// A wait in milliseconds, as in `retry-after-ms`.
pub fn milliseconds(value: &str) -> Option<Duration> {
    let (value, rest) = number(value.trim())?;
    rest.is_empty().then(|| bounded(value / 1e3))
}

/// Words after which a message tells a wait, and whether the number may follow at once ("wait 5 seconds").
const LEADS: &[(&str, bool)] = &[
    ("again ", false),
    ("retry ", false),
    ("retrying ", false),
    ("retry-after", true),
    ("retry_after", true),
    ("wait ", true),
    ("reset ", false),
    ("resets ", false),
    ("replenished ", false),
    ("refilled ", false),
    ("renewed ", false),
    ("available ", false),
    ("ready ", false),
    ("back ", false),
    ("hold off ", false),
];

/// What may stand between those words and the time.
const LINKS: &[(&str, bool)] = &[
    ("in ", true),
    ("after ", true),
    ("for ", true),
    ("at ", true),
    ("until ", true),
    ("again ", false),
    ("your request ", false),
    ("this request ", false),
    ("the request ", false),
    ("at least ", true),
    ("about ", true),
    ("approximately ", true),
    (":", true),
    ("=", true),
    ("\"", true),
    ("'", true),
];

/// The wait that a message tells: "try again in 6m 11.52s", "retry after 60 seconds", "Retry after
/// 2026-11-21T12:00:00Z". The longest, when there are several; a point in time counts from `now`.
pub fn in_text(text: &str, now: SystemTime) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    let told = |&(lead, at_once): &(&str, bool)| {
        lower
            .match_indices(lead)
            .filter_map(|(at, _)| told_after(&lower[at + lead.len()..], at_once, now))
            .max()
    };
    LEADS.iter().filter_map(told).max()
}

/// The time at the text's start, behind words like "in" and "after".
fn told_after(text: &str, at_once: bool, now: SystemTime) -> Option<Duration> {
    let mut rest = text.trim_start();
    let mut told = at_once;
    while let Some((link, tells)) = LINKS.iter().find(|(link, _)| rest.starts_with(link)) {
        rest = rest[link.len()..].trim_start();
        told |= tells;
    }
    if !told {
        return None;
    }
    let point = dated(rest).or_else(|| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        point_in_time(&rest[..digits])
    });
    if let Some(point) = point {
        let wait = point.duration_since(now).ok()?;
        return Some(wait.min(LONGEST));
    }
    leading_duration(rest).map(|(wait, _)| wait)
}

/// The first date in a message that lies after `now`: "you will regain access on 2026-09-01 at 00:00 UTC". A date
/// without a time means its start.
pub fn date_in_text(text: &str, now: SystemTime) -> Option<SystemTime> {
    let starts = |at: &usize| *at == 0 || !text.as_bytes()[at - 1].is_ascii_digit();
    (0..text.len().saturating_sub(9))
        .filter(starts)
        .filter_map(|at| dated(text.get(at..)?))
        .find(|date| *date > now)
}

/// The date at the text's start.
fn dated(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let digits = |at: usize, n: usize| {
        bytes
            .get(at..at + n)
            .is_some_and(|b| b.iter().all(u8::is_ascii_digit))
    };
    let dash = |at: usize| bytes.get(at) == Some(&b'-');
    if !(digits(0, 4) && dash(4) && digits(5, 2) && dash(7) && digits(8, 2)) {
        return None;
    }
    let rest = text.get(10..)?;
    let rest = rest.trim_start_matches(['T', 't', ' ', ',']);
    let rest = rest.strip_prefix("at ").unwrap_or(rest);
    let clock = rest
        .find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
        .unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(clock);
    let clock = clock.trim_end_matches('.');
    let day = &text[..10];
    let offset = zone
        .get(..6)
        .filter(|zone| !clock.is_empty() && zone.starts_with(['+', '-']))
        .and_then(|zone| rfc3339(&format!("{day}T{clock}{zone}")));
    offset.or_else(|| date(day, if clock.contains(':') { clock } else { "" }))
}

/// A point in time: epoch seconds or milliseconds, RFC 3339, HTTP date.
pub fn point_in_time(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number >= 1e11 { number / 1e3 } else { number };
        // 10^10 seconds is the year 2286; more is nonsense.
        return (1e9..1e10)
            .contains(&seconds)
            .then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds));
    }
    if text.as_bytes().get(4) == Some(&b'-') {
        return rfc3339(text);
    }
    http_date(text)
}

fn bounded(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

/// A number at the beginning: `30,000`, `0.598`, `60.000000`. No sign, no exponent.
fn number(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let mut digits = String::new();
    let mut at = 0;
    let mut fraction = false;
    while let Some(&byte) = bytes.get(at) {
        let follow = bytes[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        match byte {
            b'0'..=b'9' => digits.push(byte as char),
            b',' if follow == 3 && !digits.is_empty() && !fraction => {}
            b'.' | b',' if follow > 0 && !fraction && !digits.is_empty() => {
                fraction = true;
                digits.push('.');
            }
            _ => break,
        }
        at += 1;
    }
    Some((digits.parse().ok()?, &text[at..]))
}

/// Seconds of a unit; `None` for a word that is none.
fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "d" | "day" | "days" => 86_400.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => 1e-3,
        "us" | "\u{b5}s" | "\u{3bc}s" | "microsecond" | "microseconds" => 1e-6,
        "ns" | "nanosecond" | "nanoseconds" => 1e-9,
        _ => return None,
    })
}

/// `hh:mm:ss` or `d.hh:mm:ss` at the beginning of the text, and what follows it.
fn leading_clock(text: &str) -> Option<(Duration, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
        .unwrap_or(text.len());
    let clock = text[..end].trim_end_matches('.');
    let first = clock.find(':')?;
    let (days, clock) = match clock[..first].split_once('.') {
        Some((days, _)) => (days.parse::<u32>().ok()?, &clock[days.len() + 1..]),
        None => (0, clock),
    };
    let seconds = time_of_day(clock).filter(|_| clock.matches(':').count() == 2)?;
    Some((bounded(f64::from(days) * 86_400.0 + seconds), &text[end..]))
}

/// `a minute`, `one hour`.
fn leading_article(text: &str) -> Option<(Duration, &str)> {
    let rest = ["a ", "an ", "one "]
        .iter()
        .find_map(|article| text.strip_prefix(article))?;
    let end = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    Some((bounded(unit(&rest[..end])?), &rest[end..]))
}

/// A duration at the beginning of the text, and what follows it.
fn leading_duration(text: &str) -> Option<(Duration, &str)> {
    if let Some(told) = leading_clock(text).or_else(|| leading_article(text)) {
        return Some(told);
    }
    // Of a range the longer end counts.
    let mut rest = match number(text) {
        Some((_, after)) => match after.strip_prefix('-').map(|end| (number(end), end)) {
            Some((Some((_, tail)), end)) if !tail.starts_with('-') => end,
            _ => text,
        },
        None => text,
    };
    let mut seconds = None;
    while let Some((value, after)) = number(rest) {
        let tail = after.trim_start();
        let end = tail
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(tail.len());
        let word = tail[..end].to_lowercase();
        match unit(&word) {
            Some(factor) => {
                seconds = Some(seconds.unwrap_or(0.0) + value * factor);
                rest = &tail[end..];
            }
            // A bare number is seconds; after other parts it is something else.
            None if seconds.is_none()
                && (word.is_empty() || after.starts_with(char::is_whitespace)) =>
            {
                let ends = !after.starts_with(['-', '/', ':', '%']);
                return (word.is_empty() && ends).then(|| (bounded(value), after));
            }
            None => break,
        }
        let next = rest.trim_start();
        let next = next
            .strip_prefix("and ")
            .or_else(|| next.strip_prefix(','))
            .unwrap_or(next)
            .trim_start();
        if next.starts_with(|c: char| c.is_ascii_digit()) {
            rest = next;
        } else {
            break;
        }
    }
    seconds.map(|seconds| (bounded(seconds), rest))
}

/// Seconds since the epoch of a day and a time of day in UTC; `None` when out of range.
pub(crate) fn civil(year: u64, month: u64, day: u64, second_of_day: f64) -> Option<SystemTime> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last one; 719,468 days lie between 0000-03-01 and the epoch.
    let y = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719_468;
    UNIX_EPOCH
        .checked_add(Duration::try_from_secs_f64(days as f64 * 86_400.0 + second_of_day).ok()?)
}

/// `hh:mm`, `hh:mm:ss` or `hh:mm:ss.fff` as seconds; empty is midnight.
fn time_of_day(clock: &str) -> Option<f64> {
    if clock.is_empty() {
        return Some(0.0);
    }
    let mut parts = clock.split(':');
    let hours: f64 = parts.next()?.parse().ok()?;
    let minutes: f64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |s| s.parse().ok())?;
    let valid = (0.0..=24.0).contains(&hours)
        && (0.0..60.0).contains(&minutes)
        && (0.0..61.0).contains(&seconds);
    (valid && parts.next().is_none()).then_some(hours * 3600.0 + minutes * 60.0 + seconds)
}

fn date(day: &str, clock: &str) -> Option<SystemTime> {
    let mut parts = day.split('-').map(|part| part.parse().ok());
    civil(
        parts.next()??,
        parts.next()??,
        parts.next()??,
        time_of_day(clock)?,
    )
}

fn rfc3339(text: &str) -> Option<SystemTime> {
    let (day, rest) = text.split_at_checked(10)?;
    let rest = rest.trim_start_matches(['T', 't', ' ']);
    let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let local = date(day, rest[..end].trim())?;
    let zone = &rest[end..];
    let Some(ahead) = zone
        .strip_prefix('+')
        .map(|z| (z, true))
        .or_else(|| zone.strip_prefix('-').map(|z| (z, false)))
    else {
        return Some(local);
    };
    let offset = Duration::try_from_secs_f64(time_of_day(ahead.0)?).ok()?;
    if ahead.1 {
        local.checked_sub(offset)
    } else {
        local.checked_add(offset)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let mut words = text.split_once(',')?.1.split_whitespace();
    let day = words.next()?.parse().ok()?;
    let month = words.next()?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    civil(
        words.next()?.parse().ok()?,
        month,
        day,
        time_of_day(words.next()?)?,
    )
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
