//! The customer's account: keys, organizations, prepaid balance, token buckets.
//!
//! Without keys in the settings every Bearer key is good (except one that starts with `sk-invalid`) and belongs
//! to one organization; with keys, only these are, and the organization and project headers must match them.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::{
    bucket::{Bucket, Refused, duration_text},
    error::ApiError,
    models,
    refusal::{insufficient_quota, masked, rate_limited},
};

/// The organization of a key that names none.
pub const DEFAULT_ORGANIZATION: &str = "org-SIM000000000000000000000";
const DEFAULT_PROJECT: &str = "proj_SIM000000000000000000000";
const MINUTE: Duration = Duration::from_secs(60);
/// Shown in headers when nothing is enforced.
const SHOWN_REQUESTS: u32 = 10_000;
const SHOWN_TOKENS: u32 = 30_000_000;

/// A key the account knows.
#[derive(Clone, Debug)]
pub struct Key {
    /// The secret itself, `sk-…`.
    pub secret: String,
    /// Whom its calls are billed to.
    pub organization: String,
    /// The project it belongs to; `None` for a key of the whole organization.
    pub project: Option<String>,
}

/// What is enforced. `None` = not at all.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute, per organization and model.
    pub requests_per_minute: Option<u32>,
    /// Tokens per minute, per organization and model.
    pub tokens_per_minute: Option<u32>,
    /// Milliseconds of the shorter window over which the minute's limits are enforced too, so that a burst of a whole
    /// minute's allowance is refused. `None`: a whole minute's burst passes.
    pub window_ms: Option<u64>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) organization: String,
    pub(crate) project: Option<String>,
    /// The key is an admin key.
    pub(crate) admin: bool,
}

/// The six rate-limit headers, in numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge {
    limit_requests: u32,
    remaining_requests: u32,
    reset_requests: Duration,
    limit_tokens: u32,
    remaining_tokens: u32,
    reset_tokens: Duration,
}

/// The account; one lock, taken only when something is enforced.
#[derive(Debug)]
pub(crate) struct Account {
    keys: Vec<Key>,
    metered: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    limits: Limits,
    /// What an organization starts with, in 10⁻¹² USD.
    opening: Option<i64>,
    balances: HashMap<String, i64>,
    buckets: HashMap<(String, String), Buckets>,
}

#[derive(Debug)]
struct Buckets {
    requests: Option<Windowed>,
    tokens: Option<Windowed>,
}

/// The minute's bucket and the shorter one inside it.
#[derive(Debug)]
struct Windowed {
    minute: Bucket,
    burst: Option<Bucket>,
}

/// A short name for a key, by which logs and faults can tell keys apart: the first 12 hex digits of its BLAKE3 hash.
#[must_use]
pub fn fingerprint(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex()[..12].to_owned()
}

/// The secret in `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then_some(secret)
}

// === impl Account ===

impl Account {
    pub(crate) fn new(keys: Vec<Key>, limits: Limits, balance_usd: Option<f64>) -> Self {
        let account = Self {
            keys,
            metered: AtomicBool::new(false),
            book: Mutex::default(),
        };
        account.set_limits(limits);
        account.set_balance(balance_usd);
        account
    }

    /// Sets what every organization has left from now on; `None` = money is no matter.
    pub(crate) fn set_balance(&self, usd: Option<f64>) {
        let mut book = self.lock();
        book.opening = usd.map(|usd| (usd * 1e12).round() as i64);
        book.balances.clear();
        self.metered.store(book.is_metered(), Ordering::Relaxed);
    }

    /// Sets the limits and forgets what was used of the former ones.
    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut book = self.lock();
        book.limits = limits;
        book.buckets.clear();
        self.metered.store(book.is_metered(), Ordering::Relaxed);
    }

    /// What that organization has left, in USD.
    pub(crate) fn balance(&self, organization: &str) -> Option<f64> {
        let book = self.lock();
        let opening = book.opening?;
        Some(book.balances.get(organization).copied().unwrap_or(opening) as f64 / 1e12)
    }

    /// Who asks, or OpenAI's refusal.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Who, ApiError> {
        let refused = |error: ApiError| error.status(StatusCode::UNAUTHORIZED);
        let Some(secret) = bearer(headers) else {
            return Err(refused(ApiError::invalid(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using \
                 Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if \
                 you're accessing the API from your browser and are prompted for a username and password. You can \
                 obtain an API key from https://platform.openai.com/account/api-keys.",
            )));
        };
        let known = self.keys.iter().find(|key| key.secret == secret);
        if known.is_none() && (!self.keys.is_empty() || secret.starts_with("sk-invalid")) {
            return Err(refused(
                ApiError::invalid(format!(
                    "Incorrect API key provided: {}. You can find your API key at \
                     https://platform.openai.com/account/api-keys.",
                    masked(secret)
                ))
                .code("invalid_api_key"),
            ));
        }
        let told = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .filter(|text| !text.is_empty())
        };
        let organization = match (told("openai-organization"), known) {
            (None, known) => known.map_or(DEFAULT_ORGANIZATION, |key| &key.organization),
            (Some(told), Some(key)) if told == key.organization => told,
            (Some(_), Some(_)) => {
                return Err(refused(
                    ApiError::invalid(
                        "OpenAI-Organization header should match organization for API key",
                    )
                    .code("mismatched_organization"),
                ));
            }
            (Some(told), None) if told.starts_with("org-") => told,
            (Some(told), None) => {
                return Err(ApiError::invalid(format!("No such organization: {told}."))
                    .code("invalid_organization"));
            }
        };
        let project = match (told("openai-project"), known) {
            (None, Some(key)) => key.project.as_deref(),
            (None, None) => secret.starts_with("sk-proj-").then_some(DEFAULT_PROJECT),
            (Some(told), None) => Some(told),
            (Some(told), Some(key)) if key.project.as_deref().is_none_or(|own| own == told) => {
                Some(told)
            }
            (Some(_), Some(_)) => {
                return Err(refused(
                    ApiError::invalid("OpenAI-Project header should match project for API key")
                        .code("mismatched_project"),
                ));
            }
        };
        Ok(Who {
            organization: organization.to_owned(),
            project: project.map(str::to_owned),
            admin: secret.starts_with("sk-admin-"),
        })
    }

    /// Lets a call in, or refuses it for money, requests or tokens; the gauge is what the headers show either way.
    pub(crate) fn admit(
        &self,
        who: &Who,
        model: &str,
        tokens: u64,
    ) -> (Gauge, Result<(), ApiError>) {
        if !self.metered.load(Ordering::Relaxed) {
            return (Gauge::unmetered(tokens), Ok(()));
        }
        let now = Instant::now();
        let mut book = self.lock();
        let limits = book.limits;
        let broke = book.opening.is_some_and(|opening| {
            book.balances
                .get(&who.organization)
                .copied()
                .unwrap_or(opening)
                <= 0
        });
        let buckets = book
            .buckets
            .entry((who.organization.clone(), model.to_owned()))
            .or_insert_with(|| Buckets::new(limits, now));
        let verdict = if broke {
            Err(insufficient_quota())
        } else {
            buckets.take(who, model, tokens, limits, now)
        };
        (buckets.gauge(limits, tokens), verdict)
    }

    /// Books what a call cost.
    pub(crate) fn charge(&self, who: &Who, model: &str, input: u64, output: u64) {
        if !self.metered.load(Ordering::Relaxed) {
            return;
        }
        let mut book = self.lock();
        if let Some(opening) = book.opening {
            *book
                .balances
                .entry(who.organization.clone())
                .or_insert(opening) -= models::cost(model, input, output);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Book ===

impl Book {
    fn is_metered(&self) -> bool {
        self.opening.is_some()
            || self.limits.requests_per_minute.is_some()
            || self.limits.tokens_per_minute.is_some()
    }
}

// === impl Buckets ===

impl Buckets {
    fn new(limits: Limits, now: Instant) -> Self {
        let windowed = |limit: u32| Windowed {
            minute: Bucket::new(f64::from(limit), MINUTE, now),
            burst: limits.window_ms.map(|ms| {
                let window = Duration::from_millis(ms.max(1));
                // At least one request fits, or a low limit would never let anything through.
                let size = (f64::from(limit) * window.as_secs_f64() / 60.0).max(1.0);
                let full_in = Duration::from_secs_f64(size * 60.0 / f64::from(limit.max(1)));
                Bucket::new(size, full_in, now)
            }),
        };
        Self {
            requests: limits.requests_per_minute.map(windowed),
            tokens: limits.tokens_per_minute.map(windowed),
        }
    }

    fn take(
        &mut self,
        who: &Who,
        model: &str,
        tokens: u64,
        limits: Limits,
        now: Instant,
    ) -> Result<(), ApiError> {
        let refuse = |refused, kind: (&'static str, &str), limit: u32, amount: u64| {
            rate_limited(refused, kind, model, &who.organization, limit, amount)
        };
        // Tokens are looked at before the request is counted: a refusal takes nothing from either.
        if let (Some(bucket), Some(limit)) = (&mut self.tokens, limits.tokens_per_minute) {
            bucket.check(tokens as f64, now).map_err(|refused| {
                refuse(refused, ("tokens", "tokens per min (TPM)"), limit, tokens)
            })?;
        }
        if let (Some(bucket), Some(limit)) = (&mut self.requests, limits.requests_per_minute) {
            bucket.take(1.0, now).map_err(|refused| {
                refuse(refused, ("requests", "requests per min (RPM)"), limit, 1)
            })?;
        }
        if let Some(bucket) = &mut self.tokens {
            // Cannot be refused: it was checked above under the same lock.
            let _ = bucket.take(tokens as f64, now);
        }
        Ok(())
    }

    fn gauge(&self, limits: Limits, tokens: u64) -> Gauge {
        let mut gauge = Gauge::unmetered(tokens);
        if let (Some(bucket), Some(limit)) = (&self.requests, limits.requests_per_minute) {
            gauge.limit_requests = limit;
            gauge.remaining_requests = bucket.minute.remaining() as u32;
            gauge.reset_requests = bucket.minute.reset();
        }
        if let (Some(bucket), Some(limit)) = (&self.tokens, limits.tokens_per_minute) {
            gauge.limit_tokens = limit;
            gauge.remaining_tokens = bucket.minute.remaining() as u32;
            gauge.reset_tokens = bucket.minute.reset();
        }
        gauge
    }
}

// === impl Windowed ===

impl Windowed {
    fn check(&mut self, amount: f64, now: Instant) -> Result<(), Refused> {
        self.minute.check(amount, now)?;
        match &mut self.burst {
            // One call larger than the short window passes when that window is untouched.
            Some(burst) => match burst.check(amount, now) {
                Err(Refused::TooLarge) => burst.check(burst.remaining().max(1.0), now),
                verdict => verdict,
            },
            None => Ok(()),
        }
    }

    fn take(&mut self, amount: f64, now: Instant) -> Result<(), Refused> {
        self.check(amount, now)?;
        if let Some(burst) = &mut self.burst {
            let _ = burst.take(amount.min(burst.remaining()), now);
        }
        self.minute.take(amount, now)
    }
}

// === impl Gauge ===

impl Gauge {
    fn unmetered(tokens: u64) -> Self {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        Self {
            limit_requests: SHOWN_REQUESTS,
            remaining_requests: SHOWN_REQUESTS - 1,
            reset_requests: Duration::from_millis(6),
            limit_tokens: SHOWN_TOKENS,
            remaining_tokens: SHOWN_TOKENS.saturating_sub(tokens),
            reset_tokens: Duration::from_millis(
                u64::from(tokens) * 60_000 / u64::from(SHOWN_TOKENS),
            ),
        }
    }

    pub(crate) fn headers(&self) -> [(&'static str, String); 6] {
        [
            (
                "x-ratelimit-limit-requests",
                self.limit_requests.to_string(),
            ),
            ("x-ratelimit-limit-tokens", self.limit_tokens.to_string()),
            (
                "x-ratelimit-remaining-requests",
                self.remaining_requests.to_string(),
            ),
            (
                "x-ratelimit-remaining-tokens",
                self.remaining_tokens.to_string(),
            ),
            (
                "x-ratelimit-reset-requests",
                duration_text(self.reset_requests),
            ),
            ("x-ratelimit-reset-tokens", duration_text(self.reset_tokens)),
        ]
    }
}

#[cfg(test)]
#[path = "tests/account.rs"]
mod tests;
