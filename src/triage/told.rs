//! The waits that a failure tells: in its text, in fields of its body, in headers; and the reset of day limits.
//!
//! The longest of them counts, so that none is undercut. Zeros are no information. Reset headers tell when a bucket is
//! full, not when there is room, so they count only when nothing else was told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use super::class::{Class, Helps};
use super::facts::Facts;
use super::plain::wait_in_other_languages;
use super::{DayReset, Provider, SameTarget, wait};

/// The text of a header.
pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The waits that a failure tells, before its class is known.
pub(super) struct Told {
    /// The longest of text, fields of the body, `retry-after-ms` and `retry-after`; zeros are no information.
    pub(super) wait: Option<Duration>,
    /// A date in the text.
    date: Option<SystemTime>,
    /// A wait of zero was told.
    zero: bool,
}

/// A provider's counters: what of, and the headers with reset, remaining and window.
const COUNTERS: &[(Counter, &str, &str, &str)] = &[
    (
        Counter::Requests,
        "x-ratelimit-reset-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-renewalperiod-requests",
    ),
    (
        Counter::Requests,
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-requests-remaining",
        "",
    ),
    (
        Counter::Day,
        "x-ratelimit-reset-requests-day",
        "x-ratelimit-remaining-requests-day",
        "",
    ),
    (
        Counter::Tokens,
        "x-ratelimit-reset-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-renewalperiod-tokens",
    ),
    (
        Counter::Tokens,
        "x-ratelimit-reset-project-tokens",
        "x-ratelimit-remaining-project-tokens",
        "",
    ),
    (
        Counter::Tokens,
        "x-ratelimit-reset-tokens-minute",
        "x-ratelimit-remaining-tokens-minute",
        "",
    ),
    (
        Counter::Day,
        "x-ratelimit-reset-tokens-day",
        "x-ratelimit-remaining-tokens-day",
        "",
    ),
    (
        Counter::Tokens,
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-tokens-remaining",
        "",
    ),
    (
        Counter::Tokens,
        "anthropic-ratelimit-input-tokens-reset",
        "anthropic-ratelimit-input-tokens-remaining",
        "",
    ),
    (
        Counter::Tokens,
        "anthropic-ratelimit-output-tokens-reset",
        "anthropic-ratelimit-output-tokens-remaining",
        "",
    ),
    (
        Counter::Tokens,
        "ratelimitbysize-reset",
        "x-ratelimitbysize-remaining-minute",
        "",
    ),
    (
        Counter::Any,
        "x-ratelimit-reset",
        "x-ratelimit-remaining",
        "",
    ),
    (Counter::Any, "ratelimit-reset", "ratelimit-remaining", ""),
    (Counter::Any, "anthropic-ratelimit-unified-reset", "", ""),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counter {
    Requests,
    Tokens,
    Day,
    Any,
}

impl Told {
    pub(super) fn read(facts: &Facts, headers: &HeaderMap, now: SystemTime) -> Self {
        let header = |name: &str| {
            let outer = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
            let inner = facts.headers.iter().filter(|(n, _)| n == name);
            let mut values: Vec<&str> = outer.collect();
            if values.is_empty() {
                values.extend(inner.map(|(_, value)| value.as_str()));
            }
            values
        };
        let mut waits = vec![
            wait::in_text(&facts.text, now),
            wait_in_other_languages(&facts.text),
        ];
        for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
            waits.extend(header(name).into_iter().map(wait::milliseconds));
        }
        for name in [
            "retry-after",
            "x-retry-after",
            "x-ratelimit-timeremaining",
            "x-ratelimit-reset-after",
        ] {
            let told = header(name).into_iter();
            waits.extend(told.map(|value| wait::header(value, now)));
        }
        waits.extend(facts.delays.iter().map(|delay| wait::header(delay, now)));
        waits.extend(
            facts
                .delays_ms
                .iter()
                .map(|delay| wait::milliseconds(delay)),
        );
        // Some servers answer only with the reset of an inner answer's counter, in the body.
        let inner_reset = facts
            .headers
            .iter()
            .find(|(name, _)| name == "x-ratelimit-reset");
        waits.extend(inner_reset.map(|(_, value)| wait::header(value, now)));
        let zero = waits.contains(&Some(Duration::ZERO));
        let wait = waits
            .into_iter()
            .flatten()
            .filter(|wait| !wait.is_zero())
            .max();
        Self {
            wait,
            date: wait::date_in_text(&facts.text, now),
            zero,
        }
    }

    /// The wait for this class, and the point in time where one is known.
    pub(super) fn for_class(
        self,
        class: Class,
        retry_same: Helps,
        provider: &Provider,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> (Option<Duration>, Option<SystemTime>) {
        let day = class == Class::RateLimitedDay;
        if class.policy().same_target == SameTarget::Never || (retry_same == Helps::No && !day) {
            return (None, if class.is_billing() { self.date } else { None });
        }
        let mut wait = self.wait;
        if class.is_rate_limit() {
            // "Access returns on ..." tells a wait as well.
            let until = self.date.and_then(|date| date.duration_since(now).ok());
            wait = wait.max(until.map(|until| until.min(wait::LONGEST)));
            let counter = match class {
                Class::RateLimitedTokens => Counter::Tokens,
                _ => Counter::Requests,
            };
            wait = wait.max(self.window_of_an_empty_counter(counter, headers));
            let days = || day.then(|| reset_of(Counter::Day, headers, now)).flatten();
            wait = wait
                .or_else(days)
                .or_else(|| reset_of(counter, headers, now))
                .or_else(|| reset_of_policy(headers));
        }
        if day && let Some(reset) = next_reset(provider.day_reset, now) {
            // The short delay that some send beside an empty day is wrong: it lasts to the reset.
            let until = reset
                .duration_since(now)
                .unwrap_or_default()
                .min(wait::LONGEST);
            return (wait.max(Some(until)), Some(reset));
        }
        let reset_at = self
            .date
            .or_else(|| if day { now.checked_add(wait?) } else { None });
        (wait, reset_at)
    }

    /// "Come back in 0 ms" beside a counter that stands at zero is a lie; the window's length is the honest bound.
    fn window_of_an_empty_counter(
        &self,
        counter: Counter,
        headers: &HeaderMap,
    ) -> Option<Duration> {
        let lying = |reset: &str| {
            self.zero || text_of(headers, reset).and_then(wait::duration) == Some(Duration::ZERO)
        };
        COUNTERS
            .iter()
            .filter(|(kind, reset, remaining, _)| {
                *kind == counter && count_of(headers, remaining) == Some(0) && lying(reset)
            })
            .filter_map(|(_, _, _, window)| wait::duration(text_of(headers, window)?))
            .max()
    }
}

fn count_of(headers: &HeaderMap, name: &str) -> Option<u64> {
    wait::count(text_of(headers, name)?)
}

/// The wait when only reset headers tell one: that of the counters standing at zero, else of the kind that refused.
fn reset_of(counter: Counter, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let resets = |empty_only: bool| {
        COUNTERS
            .iter()
            .filter(|(kind, _, remaining, _)| {
                (*kind == counter || *kind == Counter::Any)
                    && (!empty_only || count_of(headers, remaining) == Some(0))
            })
            .filter_map(|(_, reset, _, _)| wait::header(text_of(headers, reset)?, now))
            .filter(|wait| !wait.is_zero())
            .max()
    };
    resets(true).or_else(|| resets(false))
}

/// The standard field: `"default";r=0;t=11`, or in its older draft `limit=100, remaining=0, reset=44`. Of several
/// policies, those that have nothing left.
fn reset_of_policy(headers: &HeaderMap) -> Option<Duration> {
    let policies = text_of(headers, "ratelimit")?;
    let old = policies.contains("reset=");
    let parts: Vec<&str> = if old {
        vec![policies]
    } else {
        policies.split(',').collect()
    };
    let of = |policy: &str, names: [&str; 2]| {
        let fields = policy.split([';', ',']).map(str::trim);
        let mut pairs = fields.filter_map(|field| field.split_once('='));
        pairs
            .find(|(name, _)| names.contains(name))
            .map(|(_, value)| value.to_owned())
    };
    parts
        .into_iter()
        .filter(|policy| of(policy, ["r", "remaining"]).is_none_or(|left| left == "0"))
        .filter_map(|policy| wait::duration(&of(policy, ["t", "reset"])?))
        .filter(|wait| !wait.is_zero())
        .max()
}

/// When day limits are full again; `None` when they refill steadily.
fn next_reset(reset: DayReset, now: SystemTime) -> Option<SystemTime> {
    const DAY: u64 = 86_400;
    let hour = match reset {
        DayReset::Refill => return None,
        DayReset::UtcMidnight => 0,
        DayReset::PacificMidnight => 8 * 3600,
    };
    let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let today = seconds / DAY * DAY + hour;
    let next = if today > seconds { today } else { today + DAY };
    Some(UNIX_EPOCH + Duration::from_secs(next))
}
