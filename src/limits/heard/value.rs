//! Numbers and times as vendors write them, read where they stand. What is rare goes to the parser that failures use.

use std::cell::OnceCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use crate::triage::wait;

/// More than this is no limit.
const MOST: u64 = 1_000_000_000_000_000;
/// A limit that is full again later than this is no limit of a rate.
const LATEST: Duration = Duration::from_secs(32 * 86_400);

/// The time from which points in time are counted.
pub(super) struct Clock<'a> {
    headers: &'a HeaderMap,
    now: SystemTime,
    /// Read once, on need: most vendors tell no points in time.
    theirs: OnceCell<SystemTime>,
}

impl<'a> Clock<'a> {
    pub(super) const fn of(headers: &'a HeaderMap, now: SystemTime) -> Self {
        Self {
            headers,
            now,
            theirs: OnceCell::new(),
        }
    }

    /// The provider's clock, which is the one it means, else ours.
    fn now(&self) -> SystemTime {
        *self.theirs.get_or_init(|| {
            let date = self.headers.get(http::header::DATE);
            date.and_then(|date| http_date(date.as_bytes()))
                .unwrap_or(self.now)
        })
    }

    fn until(&self, point: SystemTime) -> Duration {
        point.duration_since(self.now()).unwrap_or_default()
    }

    /// The time that a value tells, from now on: `120ms`, `6m0s`, `12`, `7.66`, an epoch, RFC 3339.
    pub(super) fn reset(&self, value: &[u8]) -> Option<Duration> {
        let value = value.trim_ascii();
        let told = quick(value).or_else(|| {
            let point = stamp(value)?;
            Some(Quick::At(point))
        });
        let told = match told {
            Some(Quick::In(wait)) => Some(wait),
            Some(Quick::At(point)) => Some(self.until(point)),
            None => wait::header(std::str::from_utf8(value).ok()?, self.now()),
        };
        told.map(|wait| wait.min(LATEST))
    }
}

/// A count: `500`, `30,000`, `60.000`. A sign, an exponent or other text make it none.
pub(super) fn count(value: &[u8]) -> Option<u64> {
    let (number, rest) = leading_count(value.trim_ascii())?;
    // A fraction says nothing more.
    let fraction = matches!(rest, [b'.', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    (rest.is_empty() || fraction).then_some(number)
}

/// The count at the beginning, and what follows.
pub(super) fn leading_count(value: &[u8]) -> Option<(u64, &[u8])> {
    let mut number: u64 = 0;
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match byte {
            b'0'..=b'9' => {
                number = number
                    .checked_mul(10)?
                    .checked_add(u64::from(byte - b'0'))?;
            }
            b',' if at > 0 && thousands(&value[at + 1..]) => {}
            _ => break,
        }
        at += 1;
    }
    (at > 0 && number <= MOST).then_some((number, &value[at..]))
}

/// Whether three digits stand here, and not four.
fn thousands(rest: &[u8]) -> bool {
    rest.len() >= 3
        && rest[..3].iter().all(u8::is_ascii_digit)
        && !rest.get(3).is_some_and(u8::is_ascii_digit)
}

/// A whole number of seconds, as windows are told.
pub(super) fn window(value: &[u8]) -> Option<Duration> {
    let seconds = count(value).filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds).min(LATEST))
}

enum Quick {
    In(Duration),
    At(SystemTime),
}

/// Numbers with units and nothing else, or one bare number.
fn quick(value: &[u8]) -> Option<Quick> {
    let mut nanos: u128 = 0;
    let mut rest = value;
    loop {
        let (number, scale, after) = decimal(rest)?;
        let (unit, after) = unit(after)?;
        let Some(unit) = unit else {
            // A bare number: seconds, or a point in time where as seconds it would be decades.
            if rest.len() != value.len() || !after.is_empty() {
                return None;
            }
            return Some(bare(number, scale));
        };
        nanos = nanos.saturating_add(u128::from(number) * u128::from(unit) / u128::from(scale));
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    Some(Quick::In(Duration::from_nanos(nanos)))
}

fn bare(number: u64, scale: u64) -> Quick {
    let whole = number / scale;
    if whole >= 100_000_000_000 {
        return Quick::At(UNIX_EPOCH + Duration::from_millis(whole.min(MOST)));
    }
    if whole >= 1_000_000_000 {
        return Quick::At(UNIX_EPOCH + Duration::from_secs(whole));
    }
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(scale);
    Quick::In(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

/// A number with at most nine digits behind the point: its digits, what they are to be divided by, and the rest.
fn decimal(text: &[u8]) -> Option<(u64, u64, &[u8])> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = |text: &[u8]| {
        let fold = |sum: u64, byte: &u8| sum * 10 + u64::from(byte - b'0');
        text.iter().fold(0, fold)
    };
    let whole = digits(text);
    if whole == 0 || whole > 15 {
        return None;
    }
    let (number, rest) = text.split_at(whole);
    let number = value(number);
    let [b'.', fraction @ ..] = rest else {
        return Some((number, 1, rest));
    };
    let length = digits(fraction);
    if length == 0 || number > 1_000_000_000 {
        return None;
    }
    let kept = length.min(9);
    let scale = 10_u64.pow(u32::try_from(kept).unwrap_or(9));
    let number = number * scale + value(&fraction[..kept]);
    Some((number, scale, &fraction[length..]))
}

/// Nanoseconds of the unit at the beginning; `None` within when there is none; without when it is another word.
fn unit(text: &[u8]) -> Option<(Option<u64>, &[u8])> {
    const SECOND: u64 = 1_000_000_000;
    Some(match text {
        [] => (None, text),
        [b'm', b's', rest @ ..] => (Some(1_000_000), rest),
        [b'u', b's', rest @ ..] => (Some(1_000), rest),
        [b'n', b's', rest @ ..] => (Some(1), rest),
        [b's', rest @ ..] => (Some(SECOND), rest),
        [b'm', rest @ ..] => (Some(60 * SECOND), rest),
        [b'h', rest @ ..] => (Some(3_600 * SECOND), rest),
        [b'd', rest @ ..] => (Some(86_400 * SECOND), rest),
        _ => return None,
    })
}

/// `2026-09-01T12:00:17Z`, as long as that and in UTC.
fn stamp(text: &[u8]) -> Option<SystemTime> {
    if text.len() != 20
        || !matches!(text[10], b'T' | b't' | b' ')
        || !matches!(text[19], b'Z' | b'z')
    {
        return None;
    }
    let day = (
        two(text, 0)? * 100 + two(text, 2)?,
        two(text, 5)?,
        two(text, 8)?,
    );
    wait::civil(day.0, day.1, day.2, clock(&text[11..19])?)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &[u8]) -> Option<SystemTime> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    if text.len() != 29 || &text[25..] != b" GMT" {
        return None;
    }
    let month = MONTHS.chunks(3).position(|name| name == &text[8..11])? as u64 + 1;
    let year = two(text, 12)? * 100 + two(text, 14)?;
    wait::civil(year, month, two(text, 5)?, clock(&text[17..25])?)
}

/// Seconds of `08:49:37`.
fn clock(text: &[u8]) -> Option<f64> {
    let (hours, minutes, seconds) = (two(text, 0)?, two(text, 3)?, two(text, 6)?);
    let good = text[2] == b':' && text[5] == b':' && hours < 25 && minutes < 60 && seconds < 61;
    good.then(|| (hours * 3_600 + minutes * 60 + seconds) as f64)
}

fn two(text: &[u8], at: usize) -> Option<u64> {
    let (tens, ones) = (*text.get(at)?, *text.get(at + 1)?);
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))
}
