//! The limits of all targets. Made once; survives reloads.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::{line::Line, places::Places};
use crate::{
    call::{Call, Target, TargetId},
    config::Limit,
    limits::{PoolView, Saved},
};

/// Targets with lines of their own. Beyond it, lines that nobody stands in are forgotten.
const MOST_LINES: usize = 10_000;

/// Called after each wait, with its length. Must not block.
pub type WaitHook = Arc<dyn Fn(&Target, Duration) + Send + Sync>;

/// The limits of all targets.
#[derive(Default)]
pub struct Limits {
    lines: RwLock<HashMap<TargetId, Arc<Line>>>,
    /// By the upstream's name.
    places: RwLock<HashMap<Arc<str>, Arc<Places>>>,
    hook: Option<WaitHook>,
}

// === impl Limits ===

impl Limits {
    /// `hook` hears of every wait.
    #[must_use]
    pub fn with_hook(mut self, hook: WaitHook) -> Self {
        self.hook = Some(hook);
        self
    }

    pub(super) fn waited(&self, target: &Target, time: Duration) {
        if let Some(hook) = &self.hook {
            hook(target, time);
        }
    }

    /// The line of a target; none when nothing is fixed. With other numbers than before it begins anew, and those who
    /// stand in the old one are served by the old numbers.
    pub(super) fn line(&self, target: &Target) -> Option<Arc<Line>> {
        let limits = &target.upstream.limits;
        let (requests, tokens) = (
            fixed(limits.requests_per_minute),
            fixed(limits.tokens_per_minute),
        );
        if requests.is_none() && tokens.is_none() {
            return None;
        }
        let known = self
            .lines
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&target.id)
            .cloned();
        if let Some(line) = known.filter(|line| line.serves(requests, tokens)) {
            return Some(line);
        }
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= MOST_LINES {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        let line = lines
            .entry(target.id)
            .or_insert_with(|| Arc::new(Line::new(requests, tokens)));
        if !line.serves(requests, tokens) {
            *line = Arc::new(Line::new(requests, tokens));
        }
        Some(Arc::clone(line))
    }

    /// Everything, for people.
    pub fn views(&self) -> Vec<PoolView> {
        Vec::new()
    }

    /// Everything worth keeping for the next run.
    pub fn saved(&self) -> Saved {
        Saved::default()
    }

    /// What the last run kept; pools take it when they are first used.
    pub fn restore(&self, saved: Saved) {
        let _ = saved;
    }

    /// How long `call` would wait for `target` now; `None`: it never fits.
    pub fn expected_wait(&self, call: &Call, target: &Target) -> Option<Duration> {
        let _ = (call, target);
        Some(Duration::ZERO)
    }

    /// The places of an upstream; none when they are not bounded.
    pub(super) fn places(&self, target: &Target) -> Option<Arc<Places>> {
        let limit = fixed(target.upstream.limits.concurrency)?;
        let name = &target.upstream.name;
        let known = self
            .places
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if let Some(places) = known.filter(|places| places.limit() == limit) {
            return Some(places);
        }
        let mut all = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let places = all
            .entry(Arc::clone(name))
            .or_insert_with(|| Arc::new(Places::new(limit)));
        if places.limit() != limit {
            *places = Arc::new(Places::new(limit));
        }
        Some(Arc::clone(places))
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits")
            .field("lines", &self.lines)
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

fn fixed(limit: Limit) -> Option<NonZeroU32> {
    match limit {
        Limit::Auto => None,
        Limit::Fixed(limit) => Some(limit),
    }
}
