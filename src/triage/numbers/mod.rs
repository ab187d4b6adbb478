//! The numbers that a refusal tells of the limit it refused for: "Limit 30000, Used 14567, Requested 24754", "rate limit of
//! 30,000 input tokens per minute", a quota's name and value.
//!
//! Only failures of a limit are read, and of their texts only what the provider says itself. What is not sure is left out: a
//! limit that is read too low throttles everybody for nothing.

mod rate;
mod text;
mod words;

use std::time::Duration;

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
            .or_else(|| text::of_text(&facts.unquoted, class))
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
        let over = need.saturating_sub(limit) as f64 / limit as f64;
        Duration::try_from_secs_f64(window.as_secs_f64() * over).ok()
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
