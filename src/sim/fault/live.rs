//! Faults in force: which of them hit a call, and what they do to it together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Serialize;
use tokio::time::Instant;

use super::{Fault, Kind};
use crate::sim::{account::fingerprint, dice::Dice, rows};

/// A fault that cannot be injected.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FaultError {
    /// Neither a kind nor anything that implies one.
    #[error("a fault needs a `kind`, an `error` or a `status`")]
    NoKind,
    /// The id is in no row.
    #[error("no recorded failure has the id `{id}`{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownError {
        /// As it was given.
        id: String,
        /// A known id that looks like it.
        near: Option<String>,
    },
    /// A value outside its range.
    #[error("`{field}` {why}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// A fault in force, as `GET /_sim/faults` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct FaultView {
    /// Its number.
    pub id: u64,
    /// As it was injected.
    pub fault: Fault,
    /// Milliseconds since then.
    pub age_ms: u64,
    /// Calls that matched by model, endpoint, key and kind of answer, inside its time.
    pub matched: u64,
    /// Calls it hit.
    pub fired: u64,
}

/// The call, as far as faults look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) path: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) key: &'a str,
    pub(crate) stream: bool,
}

/// What the faults that hit a call do to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    /// The one that does more than delay.
    pub(crate) act: Option<(Kind, Arc<Fault>)>,
    /// Before the headers.
    pub(crate) delay: Duration,
    pub(crate) first_token: Duration,
    /// Before each event, drawn anew each time.
    pub(crate) gap: Option<super::Spread>,
    pub(crate) tokens_per_second: Option<f64>,
    pub(crate) fault_id: Option<u64>,
}

/// All faults in force.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    next_id: AtomicU64,
    live: ArcSwap<Vec<Arc<Live>>>,
}

#[derive(Debug)]
struct Live {
    id: u64,
    kind: Kind,
    fault: Arc<Fault>,
    since: Instant,
    models: Option<GlobSet>,
    endpoints: Option<GlobSet>,
    matched: AtomicU64,
    fired: AtomicU64,
}

// === impl Faults ===

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            next_id: AtomicU64::new(1),
            live: ArcSwap::default(),
        }
    }

    /// Puts a fault in force from now on; the id removes it again.
    pub(crate) fn inject(&self, fault: Fault) -> Result<u64, FaultError> {
        let kind = check(&fault)?;
        let (models, endpoints) = (
            globs("models", &fault.models)?,
            globs("endpoints", &fault.endpoints)?,
        );
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live {
            id,
            kind,
            models,
            endpoints,
            fault: Arc::new(fault),
            since: Instant::now(),
            matched: AtomicU64::new(0),
            fired: AtomicU64::new(0),
        });
        self.live.rcu(|all| {
            let mut all = Vec::clone(all);
            all.push(Arc::clone(&live));
            all
        });
        Ok(id)
    }

    pub(crate) fn clear(&self) {
        self.live.store(Arc::default());
    }

    pub(crate) fn remove(&self, id: u64) -> bool {
        let before = self.live.rcu(|all| {
            all.iter()
                .filter(|live| live.id != id)
                .cloned()
                .collect::<Vec<_>>()
        });
        before.iter().any(|live| live.id == id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live.load().is_empty()
    }

    pub(crate) fn views(&self) -> Vec<FaultView> {
        let view = |live: &Arc<Live>| FaultView {
            id: live.id,
            fault: Fault::clone(&live.fault),
            age_ms: u64::try_from(live.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            matched: live.matched.load(Ordering::Relaxed),
            fired: live.fired.load(Ordering::Relaxed),
        };
        self.live.load().iter().map(view).collect()
    }

    /// What hits this call.
    pub(crate) fn strike(&self, ask: Ask<'_>, now: Instant) -> Effects {
        let mut effects = Effects::default();
        for live in self.live.load().iter() {
            // A fault that could not act any more does not use up its count.
            if effects.act.is_some() && !live.kind.only_slows() {
                continue;
            }
            let Some(mut dice) = live.hits(ask, now, self.seed) else {
                continue;
            };
            let fault = &live.fault;
            if let Some(delay) = &fault.delay {
                effects.delay += delay.draw(&mut dice);
            }
            if let Some(first) = &fault.first_token {
                effects.first_token += first.draw(&mut dice);
            }
            effects.gap = effects.gap.or(fault.gap);
            effects.tokens_per_second = effects.tokens_per_second.or(fault.tokens_per_second);
            effects.fault_id.get_or_insert(live.id);
            if !live.kind.only_slows() {
                effects.act = Some((live.kind, Arc::clone(fault)));
            }
        }
        effects
    }
}

// === impl Kind ===

impl Kind {
    fn only_slows(self) -> bool {
        matches!(self, Self::Delay | Self::Drip | Self::Pace)
    }
}

// === impl Live ===

impl Live {
    fn hits(&self, ask: Ask<'_>, now: Instant, seed: u64) -> Option<Dice> {
        let fault = &self.fault;
        let mut age = now.saturating_duration_since(self.since);
        if let Some(period) = fault.period {
            age = Duration::from_nanos((age.as_nanos() % period.0.as_nanos().max(1)) as u64);
        }
        let matches = fault.from.is_none_or(|from| age >= from.0)
            && fault.until.is_none_or(|until| age < until.0)
            && fault.stream.is_none_or(|stream| stream == ask.stream)
            && self
                .endpoints
                .as_ref()
                .is_none_or(|globs| globs.is_match(ask.path))
            && self
                .models
                .as_ref()
                .is_none_or(|globs| ask.model.is_some_and(|model| globs.is_match(model)))
            && (fault.keys.is_empty()
                || fault
                    .keys
                    .iter()
                    .any(|key| key == ask.key || fingerprint(key) == ask.key));
        if !matches {
            return None;
        }
        let ordinal = self.matched.fetch_add(1, Ordering::Relaxed);
        let place = ordinal.checked_sub(fault.skip.unwrap_or(0))?;
        let every = fault.every.unwrap_or(1).max(1);
        if place % every != every - 1 {
            return None;
        }
        let mut dice = Dice::new(seed ^ self.id, ordinal);
        if fault.share.is_some_and(|share| dice.unit() >= share) {
            return None;
        }
        let spent = |fired: u64| {
            fault
                .times
                .is_none_or(|times| fired < times)
                .then_some(fired + 1)
        };
        self.fired
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent)
            .ok()?;
        Some(dice)
    }
}

fn check(fault: &Fault) -> Result<Kind, FaultError> {
    let kind = fault.resolved_kind().ok_or(FaultError::NoKind)?;
    let invalid = |field, why: &str| {
        Err(FaultError::Invalid {
            field,
            why: why.to_owned(),
        })
    };
    match (kind, &fault.error) {
        (Kind::Error, None) => return invalid("error", "must name a recorded failure"),
        (_, Some(id)) if rows::row(id).is_none() => {
            let near = rows()
                .iter()
                .map(|row| (strsim::jaro_winkler(&row.id, id), &row.id))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(likeness, _)| *likeness > 0.8);
            return Err(FaultError::UnknownError {
                id: id.clone(),
                near: near.map(|(_, id)| id.clone()),
            });
        }
        (Kind::Status, _) if fault.status.is_none() => {
            return invalid("status", "must be told for this kind");
        }
        (Kind::Drip, _) if fault.gap.is_none() => return invalid("gap", "must be told for a drip"),
        _ => {}
    }
    if fault
        .status
        .is_some_and(|status| !(200..=599).contains(&status))
    {
        return invalid("status", "must lie between 200 and 599");
    }
    if fault
        .share
        .is_some_and(|share| !(0.0..=1.0).contains(&share))
    {
        return invalid("share", "must lie between 0 and 1");
    }
    if fault
        .tokens_per_second
        .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
    {
        return invalid("tokens_per_second", "must be above 0");
    }
    for (name, value) in &fault.headers {
        if http::HeaderName::try_from(name).is_err() || http::HeaderValue::try_from(value).is_err()
        {
            return invalid("headers", &format!("cannot hold `{name}`"));
        }
    }
    Ok(kind)
}

fn globs(field: &'static str, patterns: &[String]) -> Result<Option<GlobSet>, FaultError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let invalid = |error: globset::Error| FaultError::Invalid {
        field,
        why: error.to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(invalid)?);
    }
    set.build().map(Some).map_err(invalid)
}

#[cfg(test)]
#[path = "../tests/faults.rs"]
mod tests;
