//! A key that weir holds: whether it is the key that is refused, over all models of its upstream.
//!
//! A key that works is practically never refused, so two refusals that no answer contradicts are enough; the first one
//! opens the key's circuit anyway, and the second is that circuit's probe.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    target::{Counts, QUIET, REPEAT},
    test::{Params, Test, Turn},
};
use crate::triage::Class;

const PARAMS: Params = Params {
    floor: 0.000_5,
    ceiling: 0.000_5,
    prior: (0.000_5, 1.0),
    memory: 1.0,
    excess: 0.5,
    raise: 11.0,
    // Not one second's refusals alone: a provider that restarts has been seen to refuse good keys.
    slice_adds: 6.0,
    slice_takes: 6.0,
    unbroken: Duration::from_secs(3),
    clear: 4.0,
};

/// One upstream's key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    test: Test,
    class: Option<Class>,
    refused: bool,
    last: Instant,
}

/// What is to be told of a key at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct KeyView {
    /// The first refusal.
    pub(super) onset: Instant,
    pub(super) counts: Counts,
    pub(super) share: f64,
    pub(super) class: Option<Class>,
    pub(super) last: Instant,
}

// === impl Key ===

impl Key {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            test: Test::new(PARAMS, now),
            class: None,
            refused: false,
            last: now,
        }
    }

    /// Refused for the key's or its account's sake. Returns whether the alarm was raised or cleared.
    pub(super) fn refused(&mut self, class: Class, repeats: bool, now: Instant) -> bool {
        let forgot = self.at(now);
        self.class = Some(class);
        self.refused = true;
        let weight = if repeats { REPEAT } else { 1.0 };
        forgot | self.test.see(true, weight, now).is_some()
    }

    /// Answered. Returns as above.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        let forgot = self.at(now);
        self.refused = false;
        forgot | (self.test.see(false, 1.0, now) == Some(Turn::Cleared))
    }

    /// Drops what is stale. Returns whether an alarm was dropped.
    pub(super) fn quiet(&mut self, now: Instant) -> bool {
        let stale = now.saturating_duration_since(self.last) >= QUIET;
        let alarmed = stale && self.test.alarm().is_some();
        if stale {
            self.test.forget();
            self.refused = false;
        }
        alarmed
    }

    /// Whether answers are of interest: something was refused.
    pub(super) fn suspect(&self) -> bool {
        self.test.level() > 0.0
    }

    /// Whether the latest answer was a refusal.
    pub(super) fn refused_last(&self) -> bool {
        self.refused
    }

    pub(super) fn view(&self) -> Option<KeyView> {
        let (stretch, share) = self.test.stretch().zip(self.test.alarm())?;
        Some(KeyView {
            onset: stretch.onset,
            counts: Counts {
                ok: stretch.all - stretch.bad,
                bad: stretch.bad,
            },
            share,
            class: self.class,
            last: self.last,
        })
    }

    fn at(&mut self, now: Instant) -> bool {
        let forgot = self.quiet(now);
        self.last = self.last.max(now);
        forgot
    }
}
