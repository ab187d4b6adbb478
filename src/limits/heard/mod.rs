//! What a reply's head tells of limits, whatever the vendor's way to write it.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::Kind;
use crate::triage::Provider;

/// Readings of one reply at most.
const MOST: usize = 10;

/// What one reply tells of one limit. Nonsense (`-1`, a limit of 0, more left than there is) is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub kind: Kind,
    /// The capacity; never 0.
    pub limit: Option<u64>,
    /// What is left, this request taken off.
    pub remaining: Option<u64>,
    /// Time until it is full again.
    pub reset: Option<Duration>,
    /// The window's length, where it is told and not the kind's own.
    pub window: Option<Duration>,
    /// `remaining` is rounded to multiples of this; 1: exact.
    pub rounding: u32,
}

/// All readings of one reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    readings: [Option<Reading>; MOST],
}

// === impl Heard ===

impl Heard {
    /// Of a reply's headers.
    pub fn of(provider: &Provider, headers: &HeaderMap, now: SystemTime) -> Self {
        let _ = (provider, headers, now);
        Self::default()
    }

    /// The readings, at most one of a kind.
    pub fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.readings.iter().flatten()
    }

    /// Adds one, or completes the one of its kind. What does not fit is left out.
    pub fn add(&mut self, reading: Reading) {
        let place = self
            .readings
            .iter_mut()
            .find(|held| held.is_none_or(|held| held.kind == reading.kind));
        if let Some(place) = place {
            *place = Some(reading);
        }
    }
}
