//! The customer's account: keys, organizations, prepaid balance, and one [`Meter`] of limits for each organization.
//!
//! Without keys in the settings every Bearer key is good (except one that starts with `sk-invalid`) and belongs
//! to one organization; with keys, only these are, and the organization and project headers must match them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::{
    Time,
    error::ApiError,
    limits::{Admitted, Ask, Change, Gauge, Limits, Meter, Tally, Used},
    models,
    refusal::{insufficient_quota, masked},
};

/// The organization of a key that names none.
pub const DEFAULT_ORGANIZATION: &str = "org-SIM000000000000000000000";
const DEFAULT_PROJECT: &str = "proj_SIM000000000000000000000";
/// More than any test has; what comes after them shares one meter.
const MOST_ORGANIZATIONS: usize = 1_024;

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

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) organization: String,
    pub(crate) project: Option<String>,
    /// The key is an admin key.
    pub(crate) admin: bool,
}

/// A call that was let in. Dropped, it is over: settled when what it used is known and nobody left, else cancelled.
#[derive(Debug)]
pub(crate) struct Ticket {
    account: Arc<Account>,
    organization: String,
    generation: u64,
    admitted: Option<Admitted>,
    used: Option<Used>,
}

/// The account; one lock, taken only when something is enforced.
#[derive(Debug)]
pub(crate) struct Account {
    keys: Vec<Key>,
    metered: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    limits: Limits,
    changes: Vec<Change>,
    /// From which the times of limits count.
    start: Instant,
    /// Counts the settings of limits: a call let in under former ones is no matter of these.
    generation: u64,
    seed: u64,
    /// What an organization starts with, in 10⁻¹² USD.
    opening: Option<i64>,
    balances: HashMap<String, i64>,
    meters: HashMap<String, Meter>,
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
    pub(crate) fn new(keys: Vec<Key>, limits: Limits, balance_usd: Option<f64>, seed: u64) -> Self {
        let account = Self {
            keys,
            metered: AtomicBool::new(false),
            book: Mutex::new(Book {
                limits: Limits::default(),
                changes: Vec::new(),
                start: Instant::now(),
                generation: 0,
                seed,
                opening: None,
                balances: HashMap::new(),
                meters: HashMap::new(),
            }),
        };
        account.set_limits(limits, Vec::new());
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

    /// Sets the limits and how they change, and forgets what was used of the former ones.
    pub(crate) fn set_limits(&self, limits: Limits, changes: Vec<Change>) {
        let mut book = self.lock();
        (book.limits, book.changes) = (limits, changes);
        book.start = Instant::now();
        book.generation += 1;
        book.meters.clear();
        self.metered.store(book.is_metered(), Ordering::Relaxed);
    }

    /// Changes the limits; what is used stays used.
    pub(crate) fn change_limits(&self, limits: Limits) {
        let mut book = self.lock();
        let now = Instant::now();
        let at = now.duration_since(book.start);
        book.fold(now);
        for meter in book.meters.values_mut() {
            meter.change(now, limits.clone());
        }
        // For organizations that come later.
        book.changes.push(Change {
            at: Time(at),
            limits,
        });
        self.metered.store(book.is_metered(), Ordering::Relaxed);
    }

    /// The limits in force.
    pub(crate) fn limits(&self) -> Limits {
        let book = self.lock();
        let at = Instant::now().duration_since(book.start);
        let past = book.changes.iter().filter(|change| change.at.0 <= at);
        past.fold(book.limits.clone(), |limits, change| {
            change.limits.clone().over(&limits)
        })
    }

    /// What was let in and refused, by organization and pool.
    pub(crate) fn tallies(&self) -> BTreeMap<String, Tally> {
        let mut book = self.lock();
        let (now, mut all) = (Instant::now(), BTreeMap::new());
        for (organization, meter) in &mut book.meters {
            let tallies = meter.tallies(now).into_iter();
            all.extend(tallies.map(|(pool, tally)| (format!("{organization} {pool}"), tally)));
        }
        all
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

    /// Lets a call in, or refuses it for money or a limit; the gauge is what the headers show either way.
    pub(crate) fn admit(
        self: &Arc<Self>,
        who: &Who,
        model: &str,
        ask: Ask,
    ) -> (Gauge, Result<Option<Ticket>, ApiError>) {
        let unmetered = Gauge::unmetered(ask.input + ask.output);
        if !self.metered.load(Ordering::Relaxed) {
            return (unmetered, Ok(None));
        }
        let mut book = self.lock();
        // Read under the lock: a meter's time never goes back.
        let now = Instant::now();
        if book.is_broke(&who.organization) {
            let style = book.limits.headers.unwrap_or_default();
            let untold = Gauge::new(style, Vec::new(), 0, None);
            return (untold, Err(insufficient_quota()));
        }
        let generation = book.generation;
        match book.meter(&who.organization).admit(now, model, ask) {
            Ok(admitted) => {
                let gauge = admitted.gauge().clone();
                let ticket = Ticket {
                    account: Arc::clone(self),
                    organization: who.organization.clone(),
                    generation,
                    admitted: Some(admitted),
                    used: None,
                };
                (gauge, Ok(Some(ticket)))
            }
            Err(refusal) => (
                refusal.gauge().clone(),
                Err(refusal.error(&who.organization)),
            ),
        }
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
        self.opening.is_some() || self.limits.says_something() || !self.changes.is_empty()
    }

    /// Keeps the changes from growing without bound: of many that are past, the oldest become the start. What an
    /// organization that comes later used meanwhile is nothing either way.
    fn fold(&mut self, now: Instant) {
        const MOST_CHANGES: usize = 256;
        self.changes.sort_by_key(|change| change.at.0);
        let past = |change: &Change| self.start + change.at.0 <= now;
        while self.changes.len() >= MOST_CHANGES && self.changes.first().is_some_and(past) {
            self.limits = self.changes.remove(0).limits.over(&self.limits);
        }
    }

    fn is_broke(&self, organization: &str) -> bool {
        self.opening
            .is_some_and(|opening| *self.balances.get(organization).unwrap_or(&opening) <= 0)
    }

    fn meter(&mut self, organization: &str) -> &mut Meter {
        let full = self.meters.len() >= MOST_ORGANIZATIONS;
        let name = if full && !self.meters.contains_key(organization) {
            DEFAULT_ORGANIZATION
        } else {
            organization
        };
        self.meters.entry(name.to_owned()).or_insert_with(|| {
            Meter::new(self.limits.clone(), self.seed, self.start)
                .with_changes(self.changes.clone())
        })
    }
}

// === impl Ticket ===

impl Ticket {
    /// What the answer's usage will tell.
    pub(crate) fn used(&mut self, used: Used) {
        self.used = Some(used);
    }

    /// The caller left before the end: nobody knows how much was made by then.
    pub(crate) fn abandoned(&mut self) {
        self.used = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(admitted) = self.admitted.take() else {
            return;
        };
        let mut book = self.account.lock();
        if book.generation != self.generation {
            return;
        }
        let now = Instant::now();
        let meter = book.meter(&self.organization);
        match self.used {
            Some(used) => meter.settle(now, admitted, used),
            None => meter.cancel(now, admitted),
        }
    }
}

#[cfg(test)]
#[path = "tests/account.rs"]
mod tests;
