//! What a reply's head tells of limits, whatever the vendor's way to write it.
//!
//! It runs on every reply: one pass over the head, in which [`names`] says of which counter a header tells; numbers are read
//! where they stand ([`value`]). Only then is it decided what the counters of this vendor are ([`counter`]).

mod counter;
mod names;
mod policy;
mod value;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use self::names::Counters;
use super::Kind;
use crate::triage::{LimitHeaders, Provider};

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
    /// Of the head of a reply that succeeded: nothing left beside a reset of zero is no information there, for the call itself
    /// was let in.
    pub fn of(provider: &Provider, headers: &HeaderMap, now: SystemTime) -> Self {
        Self::read(provider.limiting.headers, headers, now, false)
    }

    /// Of the head of a refusal: what has nothing left is believed.
    pub fn of_refusal(provider: &Provider, headers: &HeaderMap, now: SystemTime) -> Self {
        Self::read(provider.limiting.headers, headers, now, true)
    }

    fn read(way: LimitHeaders, headers: &HeaderMap, now: SystemTime, refused: bool) -> Self {
        let mut heard = Self::default();
        if way == LimitHeaders::None {
            return heard;
        }
        let mut counters = Counters::default();
        for (name, value) in headers {
            counters.note(name.as_str().as_bytes(), value.as_bytes(), way);
        }
        if counters.any() {
            let clock = value::Clock::of(headers, now);
            counter::resolve(&counters, way, &clock, refused, &mut heard);
        }
        heard
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
        match place {
            Some(Some(held)) => {
                // What the two tell is of one and the same bucket only if they agree on its size.
                if held.limit.is_some() && reading.limit.is_some() && held.limit != reading.limit {
                    return;
                }
                held.limit = held.limit.or(reading.limit);
                held.remaining = held.remaining.or(reading.remaining);
                // More left than there is: one of the two is of another bucket.
                if held
                    .limit
                    .is_some_and(|limit| held.remaining.is_some_and(|left| left > limit))
                {
                    held.remaining = None;
                }
                held.reset = held.reset.or(reading.reset);
                held.window = held.window.or(reading.window);
            }
            Some(place) => *place = Some(reading),
            None => {}
        }
    }
}
