//! The verdict: facts, then the first rule that fits, then what follows from it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use super::class::{Class, Helps, Scope};
use super::facts::Facts;
use super::rule::{Rule, Scene};
use super::{
    Confidence, DayReset, Evidence, Provider, SameTarget, Transport, Verdict, advice, wait,
};

/// A told wait up to this makes a foreign 429 a passing one, whatever its words: empty accounts tell no wait, and
/// limits by the minute never tell more than two of them.
const PASSING: Duration = Duration::from_secs(120);

/// Judges one failed attempt. Never fails: what nobody knows becomes the most careful class its status allows.
pub fn judge(provider: &Provider, evidence: &Evidence<'_>) -> Verdict {
    judge_at(provider, evidence, SystemTime::now())
}

/// [`judge`] at a given time, to which points in time that the failure names are compared. The `date` header of the
/// answer is preferred: it is the clock by which the provider means them.
pub fn judge_at(provider: &Provider, evidence: &Evidence<'_>, now: SystemTime) -> Verdict {
    let facts = Facts::read(evidence);
    let now = text_of(evidence.headers, "date")
        .and_then(wait::point_in_time)
        .unwrap_or(now);
    let told = Told::read(&facts, evidence.headers, now);
    let status = match evidence.status {
        400.. => Some(evidence.status),
        _ => facts.status,
    };
    let believed = provider.quota_words_are_final && provider.at_home;
    let passing = status == Some(429) && !believed && told.wait.is_some_and(|wait| wait <= PASSING);
    let scene = Scene {
        status,
        facts: &facts,
        headers: evidence.headers,
        body: evidence.body,
        endpoint: evidence.endpoint,
        transport: evidence.transport,
        own_host: provider.at_home,
        passing,
    };
    let rule = provider
        .rules
        .iter()
        .flat_map(|set| &set.rules)
        .find(|rule| rule.fits(&scene));
    let ruling = Ruling::of(rule, evidence.transport);
    let (wait, reset_at) = told.for_class(&ruling, provider, evidence.headers, now);
    let seen = |name: &Option<http::HeaderName>| {
        name.as_ref()
            .and_then(|name| text_of(evidence.headers, name.as_str()))
            .map(str::to_owned)
    };
    Verdict {
        class: ruling.class,
        scope: ruling.scope,
        wait,
        reset_at,
        retry_same: ruling.retry_same,
        waiting_helps: ruling.waiting_helps,
        fallback_helps: ruling.fallback_helps,
        advice: match rule.and_then(|rule| rule.advice.as_ref()) {
            Some(own) => Cow::Owned(own.clone()),
            None => Cow::Borrowed(advice::for_class(ruling.class)),
        },
        rule: rule.map_or_else(|| Arc::from("none"), |rule| rule.id.clone()),
        confidence: ruling.confidence,
        organization: seen(&provider.organization_seen_header),
        project: seen(&provider.project_seen_header),
        request_id: provider
            .request_id_headers
            .iter()
            .find_map(|name| text_of(evidence.headers, name.as_str()))
            .map(str::to_owned),
        provider_message: facts.message,
        code: facts.code,
        kind: facts.kind,
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What the rule says, completed by what is usual for its class.
struct Ruling {
    class: Class,
    scope: Scope,
    waiting_helps: Helps,
    retry_same: Helps,
    fallback_helps: Helps,
    confidence: Confidence,
}

impl Ruling {
    fn of(rule: Option<&Rule>, transport: Transport) -> Self {
        let class = rule.map_or(Class::Unknown, |rule| rule.class);
        let (scope, waiting_helps, retry_same, fallback_helps) = usual(class);
        let confidence = match rule {
            Some(rule) if rule.by_word() => Confidence::Certain,
            Some(rule) if rule.by_status_only() && transport == Transport::Http => {
                Confidence::Guess
            }
            Some(_) => Confidence::Likely,
            None => Confidence::Guess,
        };
        Self {
            class,
            scope: rule.and_then(|rule| rule.scope).unwrap_or(scope),
            waiting_helps: rule
                .and_then(|rule| rule.waiting_helps)
                .unwrap_or(waiting_helps),
            retry_same: rule.and_then(|rule| rule.retry_same).unwrap_or(retry_same),
            fallback_helps: rule
                .and_then(|rule| rule.fallback_helps)
                .unwrap_or(fallback_helps),
            confidence,
        }
    }
}

/// Scope and what helps, as is usual for the class: (scope, waiting, retry on the same key, fallback).
const fn usual(class: Class) -> (Scope, Helps, Helps, Helps) {
    use Helps::{No, Partly, Yes};
    match class {
        Class::QuotaExhausted
        | Class::BillingHardLimit
        | Class::BillingInactive
        | Class::VerificationRequired
        | Class::IpBlocked => (Scope::Organization, No, No, Yes),
        Class::AccountDeactivated | Class::RoutingNoProvider => (Scope::Account, No, No, Yes),
        Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::ModelLoading => (Scope::Model, Yes, Yes, Yes),
        Class::RateLimitedDay => (Scope::Model, Partly, Yes, Yes),
        Class::RateLimitedConcurrency => (Scope::Account, Yes, Yes, Yes),
        Class::RateLimitedRamp => (Scope::Organization, Yes, Yes, Yes),
        Class::BatchQueueFull => (Scope::Organization, Partly, Yes, No),
        Class::Overloaded
        | Class::CapacityUnavailable
        | Class::ServerError
        | Class::Timeout
        | Class::Connection
        | Class::EdgeHtmlError
        | Class::StreamError => (Scope::Provider, Yes, Yes, Yes),
        Class::EdgeBlocked | Class::RegionUnsupported => (Scope::Provider, No, No, Yes),
        Class::AuthInvalid | Class::AuthWrongOrg | Class::Permission => (Scope::Key, No, No, Yes),
        Class::AuthProjectArchived => (Scope::Project, No, No, Yes),
        Class::ModelNotFound => (Scope::Model, No, No, Yes),
        Class::RequestTooLargeForLimit => (Scope::Request, No, No, Yes),
        Class::ContextLength => (Scope::Request, No, No, Partly),
        Class::Conflict => (Scope::Request, Yes, Yes, No),
        Class::ModelOutputInvalid => (Scope::Request, Yes, Yes, Yes),
        Class::AuthMissing
        | Class::PayloadTooLarge
        | Class::InvalidRequest
        | Class::ContentFilter
        | Class::NotFound
        | Class::StateNotPortable
        | Class::Cancelled => (Scope::Request, No, No, No),
        Class::Unknown => (Scope::Request, No, No, Partly),
    }
}

/// The waits that a failure tells, before its class is known.
struct Told {
    /// The longest of text, fields of the body, `retry-after-ms` and `retry-after`; zeros are no information.
    wait: Option<Duration>,
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
        Counter::Requests,
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
        Counter::Tokens,
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
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counter {
    Requests,
    Tokens,
    Any,
}

impl Told {
    fn read(facts: &Facts, headers: &HeaderMap, now: SystemTime) -> Self {
        let header = |name: &str| {
            let inner = || {
                facts
                    .headers
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, value)| value.as_str())
            };
            text_of(headers, name).or_else(inner)
        };
        let mut waits = vec![
            wait::in_text(&facts.text),
            header("retry-after-ms").and_then(wait::milliseconds),
            header("x-ms-retry-after-ms").and_then(wait::milliseconds),
            header("retry-after").and_then(|value| wait::header(value, now)),
            header("x-ratelimit-timeremaining").and_then(|value| wait::header(value, now)),
        ];
        waits.extend(facts.delays.iter().map(|delay| wait::header(delay, now)));
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
            date: wait::date_in_text(&facts.text).filter(|date| *date > now),
            zero,
        }
    }

    /// The wait for this class, and the point in time where one is known.
    fn for_class(
        self,
        ruling: &Ruling,
        provider: &Provider,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> (Option<Duration>, Option<SystemTime>) {
        let class = ruling.class;
        let day = class == Class::RateLimitedDay;
        if class.policy().same_target == SameTarget::Never
            || (ruling.retry_same == Helps::No && !day)
        {
            return (None, if class.is_billing() { self.date } else { None });
        }
        let mut wait = self.wait;
        if class.is_rate_limit() {
            let counter = match class {
                Class::RateLimitedTokens => Counter::Tokens,
                _ => Counter::Requests,
            };
            wait = wait.max(self.window_of_an_empty_counter(counter, headers));
            wait = wait.or_else(|| reset_of(counter, headers, now));
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
