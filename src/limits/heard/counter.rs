//! What a vendor's counters are: of which kind, over which window, and what of them is nonsense.

use std::time::Duration;

use super::names::{Counter, Counters, Told};
use super::value::{self, Clock};
use super::{Heard, Reading, policy};
use crate::limits::Kind;
use crate::triage::LimitHeaders;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// A minute's counter is full again within one; some vendors round up.
const PAST_A_MINUTE: Duration = Duration::from_secs(65);
/// A minute's counter may be overdrawn by what calls took more than was reserved, not by more than this.
const OVERDRAWN: Duration = Duration::from_secs(600);
/// A reset below this is rounded too coarsely to tell a window by.
const COARSE: Duration = Duration::from_millis(50);

/// One counter's numbers, without what is nonsense.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Duration>,
    window: Option<Duration>,
}

/// Turns counters into readings.
pub(super) fn resolve(
    counters: &Counters<'_>,
    way: LimitHeaders,
    clock: &Clock<'_>,
    refused: bool,
    heard: &mut Heard,
) {
    use Counter as C;
    let numbers = |counter: Counter| {
        // Mistral tells no resets, and a reply's own word for how many are left is exact.
        let zero_counts = refused || (way == LimitHeaders::Mistral);
        Numbers::of(counters.of(counter), clock, zero_counts)
    };
    let mut add = |counter: Counter, kind: Kind| {
        if let Some(numbers) = numbers(counter) {
            heard.add(numbers.reading(kind, rounding(way, kind)));
        }
    };
    for (counter, kind) in [
        (C::ProjectRequests, Kind::ProjectRequests),
        (C::ProjectTokens, Kind::ProjectTokens),
        (C::InputTokens, Kind::InputTokens),
        (C::OutputTokens, Kind::OutputTokens),
        (C::Images, Kind::Images),
        (C::MinuteRequests, Kind::Requests),
        (C::MinuteTokens, Kind::Tokens),
        (C::DayRequests, Kind::RequestsPerDay),
        (C::DayTokens, Kind::TokensPerDay),
        (C::MonthTokens, Kind::TokensPerMonth),
        (C::SizeMinute, Kind::Tokens),
        (C::Size, Kind::Tokens),
        (C::SizeMonth, Kind::TokensPerMonth),
        (C::Trial, Kind::Requests),
    ] {
        add(counter, kind);
    }
    if let Some(numbers) = numbers(C::Requests) {
        let by_day = way == LimitHeaders::Groq || counters.of.is_some_and(says_day);
        let day = by_day || numbers.is_by_day(Kind::Requests);
        let kind = if day {
            Kind::RequestsPerDay
        } else {
            Kind::Requests
        };
        heard.add(numbers.reading(kind, 1));
    }
    // Anthropic's counter of all tokens may be a copy of the limit that is nearest, input's or output's: not one of both together.
    let limit = |counter: Counter| counters.of(counter).limit;
    let split = [limit(C::InputTokens), limit(C::OutputTokens)];
    let copy = limit(C::Tokens).is_some() && split.contains(&limit(C::Tokens));
    if let Some(numbers) = numbers(C::Tokens).filter(|_| !copy) {
        let day = way != LimitHeaders::Groq && numbers.is_by_day(Kind::Tokens);
        let kind = if day {
            Kind::TokensPerDay
        } else {
            Kind::Tokens
        };
        heard.add(numbers.reading(kind, rounding(way, kind)));
    }
    if let Some(numbers) = numbers(C::Plain) {
        heard.add(numbers.plain(way, Kind::Requests, Kind::RequestsPerDay));
    }
    if let Some(numbers) = numbers(C::PlainTokens) {
        heard.add(numbers.plain(way, Kind::Tokens, Kind::TokensPerDay));
    }
    policy::resolve(counters, clock, refused, heard);
}

/// `UserByModelByDay`.
fn says_day(of: &[u8]) -> bool {
    of.to_ascii_lowercase().ends_with(b"byday")
}

/// What a vendor rounds its tokens to. Who speaks Anthropic's dialect behind another name rounds as it does.
const fn rounding(way: LimitHeaders, kind: Kind) -> u32 {
    let split = matches!(kind, Kind::InputTokens | Kind::OutputTokens);
    match way {
        LimitHeaders::Anthropic if kind.counts_tokens() => 1_000,
        LimitHeaders::Any if split => 1_000,
        _ => 1,
    }
}

// === impl Numbers ===

impl Numbers {
    /// `None` where nothing is told, or what is told is that nothing is known.
    fn of(told: &Told<'_>, clock: &Clock<'_>, zero_counts: bool) -> Option<Self> {
        if told.limit.is_none() && told.remaining.is_none() {
            return None;
        }
        let limit = told.limit.map(value::count);
        // `-1` and `0`: what stands beside it means as little.
        if limit.is_some_and(|limit| limit.is_none_or(|limit| limit == 0)) {
            return None;
        }
        let numbers = Self {
            limit: limit.flatten(),
            remaining: told.remaining.and_then(value::count),
            reset: told.reset.and_then(|reset| clock.reset(reset)),
            window: told.window.and_then(value::window),
        };
        numbers.sound(zero_counts)
    }

    /// Without what cannot be.
    fn sound(mut self, zero_counts: bool) -> Option<Self> {
        let too_many = |remaining: &u64| self.limit.is_some_and(|limit| *remaining > limit);
        self.remaining = self.remaining.filter(|remaining| !too_many(remaining));
        let nothing = self.remaining == Some(0) && self.reset.is_none_or(|reset| reset.is_zero());
        if nothing && !zero_counts {
            self.remaining = None;
        }
        (self.limit.is_some() || self.remaining.is_some()).then_some(self)
    }

    fn reading(self, kind: Kind, rounding: u32) -> Reading {
        Reading {
            kind,
            limit: self.limit,
            remaining: self.remaining,
            reset: self.reset,
            window: self.window.filter(|window| *window != kind.window()),
            rounding,
        }
    }

    /// Whether OpenAI's names tell of a day here. A bucket that refills steadily tells its window: the reset is the time in
    /// which what is used comes back.
    fn is_by_day(&self, kind: Kind) -> bool {
        if let Some(window) = self.window {
            return window >= DAY;
        }
        let Some(reset) = self.reset else {
            return false;
        };
        let used = match (self.limit, self.remaining) {
            (Some(limit), Some(remaining)) if remaining < limit => Some((limit, limit - remaining)),
            _ => None,
        };
        let window = used.map(|(limit, used)| reset.as_secs_f64() * limit as f64 / used as f64);
        let a_days = DAY.as_secs_f64() * 0.8..=DAY.as_secs_f64() * 1.2;
        if reset >= COARSE && window.is_some_and(|window| a_days.contains(&window)) {
            return true;
        }
        // A day taken for a minute costs a refusal that tells more; a minute taken for a day costs a day.
        let overdrawn = self.remaining == Some(0) && reset <= OVERDRAWN;
        match kind {
            Kind::Requests => reset > PAST_A_MINUTE && !overdrawn,
            _ => reset > Duration::from_secs(3_600),
        }
    }

    /// Of names that do not say what they count, over which time.
    fn plain(mut self, way: LimitHeaders, minute: Kind, day: Kind) -> Reading {
        let reset = self.reset.unwrap_or_default();
        let kind = match way {
            LimitHeaders::Together => {
                self.window = Some(Duration::from_secs(1));
                minute
            }
            _ if reset <= PAST_A_MINUTE => minute,
            LimitHeaders::OpenRouter => day,
            // Neither a minute nor a day, most likely: an hour.
            _ if reset <= Duration::from_secs(3_600) => {
                self.window = Some(Duration::from_secs(3_600));
                minute
            }
            _ => day,
        };
        self.reading(kind, 1)
    }
}

/// A reading of a limit over a window that is told.
pub(super) fn windowed(
    tokens: bool,
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Duration>,
    window: Option<Duration>,
    refused: bool,
) -> Option<Reading> {
    let numbers = Numbers {
        limit: limit.filter(|limit| *limit > 0),
        remaining,
        reset,
        window,
    };
    if limit == Some(0) {
        return None;
    }
    let numbers = numbers.sound(refused)?;
    let (minute, day) = if tokens {
        (Kind::Tokens, Kind::TokensPerDay)
    } else {
        (Kind::Requests, Kind::RequestsPerDay)
    };
    Some(match window {
        None => numbers.plain(LimitHeaders::Any, minute, day),
        Some(window) if window == MINUTE => numbers.reading(minute, 1),
        Some(window) if window >= DAY && tokens && window > DAY * 2 => {
            numbers.reading(Kind::TokensPerMonth, 1)
        }
        Some(window) if window >= DAY => numbers.reading(day, 1),
        Some(_) => numbers.reading(minute, 1),
    })
}
