//! Which change is told: plain data, told the time. No lock, no thread, no HTTP.
//!
//! An *incident* is one thing that is closed off for people, however many circuits stand for it: an organisation out of
//! credit is one incident though it was found out at two addresses. It begins with its first circuit and ends with its last.
//!
//! The end is held for some time, and an incident that goes on meanwhile has flapped. One that comes back soon after its
//! end was told is held twice as long the next time, so that a slow flapping pages a few times and not all night.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::event::{Event, LONGEST_NAME, LONGEST_TEXT, clean};
use crate::{
    stage::breaker::Transition,
    triage::{Class, Scope},
};

/// Incidents remembered; beyond it the longest unchanged one is forgotten, and its end is not told.
const MAX: usize = 1_024;
/// A hold that grows ends here, unless the configured one is longer.
const LONGEST_HOLD: Duration = Duration::from_secs(5 * 60);
/// An incident whose end was told is forgotten after this many holds.
const CALM: u32 = 10;

/// A point in time, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

/// A circuit opened or closed; texts are bounded and clean.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) opened: bool,
    pub(super) scope: Scope,
    pub(super) key: String,
    pub(super) upstream: String,
    pub(super) provider: String,
    pub(super) class: Class,
    pub(super) advice: String,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) refused: u64,
}

/// What makes two circuits one incident.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Id {
    scope: Scope,
    /// An organisation's name is the provider's, a model's target and a key are an upstream's.
    place: String,
    key: String,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    pub(super) scope: Scope,
    pub(super) key: String,
    pub(super) upstream: String,
    pub(super) provider: String,
    pub(super) class: Class,
    pub(super) advice: String,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) since: Moment,
    pub(super) flaps: u32,
    /// Attempts that its circuits refused.
    pub(super) refused: u64,
    /// Circuits that are not closed.
    circuits: u32,
    /// Somebody was told, so that the end is told too.
    told: bool,
    /// When the last circuit closed.
    closed: Option<Moment>,
    /// The end was told.
    over: bool,
    /// How often it came back soon after its end.
    returns: u32,
    changed: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Incidents(HashMap<Id, Incident>);

// === impl Moment ===

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            at: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

// === impl Change ===

impl Change {
    /// Of a circuit that left the closed state (`opened`) or came back to it.
    pub(super) fn of(transition: &Transition, opened: bool) -> Self {
        let name = |text: &str| clean(text, LONGEST_NAME);
        let (first, last) = transition.request_ids();
        let upstream = &transition.target.upstream;
        Self {
            opened,
            scope: transition.scope,
            key: name(&transition.key),
            upstream: name(&upstream.name),
            provider: name(&upstream.provider.name),
            class: transition.class,
            advice: transition.last.as_ref().map_or_else(String::new, |last| {
                clean(&last.verdict.advice, LONGEST_TEXT)
            }),
            first: first.map(name),
            last: last.map(name),
            refused: transition.refused,
        }
    }

    fn id(&self) -> Id {
        let place = match self.scope {
            Scope::Project | Scope::Organization | Scope::Account | Scope::Provider => {
                &self.provider
            }
            Scope::Request | Scope::Model | Scope::Key => &self.upstream,
        };
        Id {
            scope: self.scope,
            place: place.clone(),
            key: self.key.clone(),
        }
    }
}

// === impl Incident ===

impl Incident {
    fn new(now: Moment, change: Change, returns: u32) -> Self {
        Self {
            scope: change.scope,
            key: change.key,
            upstream: change.upstream,
            provider: change.provider,
            class: change.class,
            advice: change.advice,
            first: change.first,
            last: change.last,
            since: now,
            flaps: 0,
            refused: 0,
            circuits: 1,
            told: false,
            closed: None,
            over: false,
            returns,
            changed: now.at,
        }
    }

    /// How long its end is held.
    fn hold(&self, hold: Duration) -> Duration {
        let grown = hold.saturating_mul(1 << self.returns.min(16));
        grown.min(LONGEST_HOLD.max(hold))
    }

    /// When its end is to be told, or, once it was, forgotten.
    fn due(&self, hold: Duration) -> Option<Instant> {
        let closed = self.closed?;
        let held = self.hold(hold);
        Some(closed.at + if self.over { held * CALM } else { held })
    }

    /// Goes on by what another failure tells.
    fn learn(&mut self, change: Change) {
        self.class = change.class;
        if !change.advice.is_empty() {
            self.advice = change.advice;
        }
        self.last = change.last.or_else(|| self.last.take());
    }
}

// === impl Incidents ===

impl Incidents {
    /// A circuit has changed. What is to be told at once; `wanted`: its cause is.
    pub(super) fn changed(&mut self, now: Moment, change: Change, wanted: bool) -> Option<Event> {
        let id = change.id();
        if change.opened {
            return self.opened(now, id, change, wanted);
        }
        let incident = self.0.get_mut(&id)?;
        incident.circuits = incident.circuits.saturating_sub(1);
        incident.changed = now.at;
        incident.refused = incident.refused.saturating_add(change.refused);
        incident.learn(change);
        if incident.circuits > 0 || incident.over {
            return None;
        }
        if incident.told {
            incident.closed = Some(now);
        } else {
            self.0.remove(&id);
        }
        None
    }

    fn opened(&mut self, now: Moment, id: Id, change: Change, wanted: bool) -> Option<Event> {
        let returns = match self.0.get_mut(&id) {
            Some(incident) if !incident.over => {
                if incident.closed.take().is_some() {
                    incident.flaps = incident.flaps.saturating_add(1);
                }
                incident.circuits = incident.circuits.saturating_add(1);
                incident.changed = now.at;
                incident.learn(change);
                let tell = wanted && !incident.told;
                incident.told |= wanted;
                return tell.then(|| Event::of(incident, now.wall, None));
            }
            Some(over) => over.returns.saturating_add(1),
            None => 0,
        };
        self.make_room(&id);
        let mut incident = Incident::new(now, change, returns);
        incident.told = wanted;
        let event = wanted.then(|| Event::of(&incident, now.wall, None));
        self.0.insert(id, incident);
        event
    }

    /// The ends whose hold is over by now, oldest first.
    pub(super) fn settle(&mut self, now: Moment, hold: Duration) -> Vec<Event> {
        self.end(now.at, |incident| {
            incident.due(hold).is_some_and(|due| due <= now.at)
        })
    }

    /// All ends that are held.
    pub(super) fn flush(&mut self) -> Vec<Event> {
        self.end(Instant::now(), |incident| incident.closed.is_some())
    }

    /// When to settle next.
    pub(super) fn next(&self, hold: Duration) -> Option<Instant> {
        self.0
            .values()
            .filter_map(|incident| incident.due(hold))
            .min()
    }

    /// Whether a circuit is open, as far as is known here.
    pub(super) fn any_open(&self) -> bool {
        self.0.values().any(|incident| incident.circuits > 0)
    }

    /// Ends what is `due`: one that was told to be over is forgotten, any other told.
    fn end(&mut self, now: Instant, due: impl Fn(&Incident) -> bool) -> Vec<Event> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut ended = Vec::new();
        self.0.retain(|_, incident| {
            let Some(closed) = incident.closed.filter(|_| due(incident)) else {
                return true;
            };
            if incident.over {
                return false;
            }
            let lasted = closed.at.saturating_duration_since(incident.since.at);
            ended.push((closed.at, Event::of(incident, closed.wall, Some(lasted))));
            incident.over = true;
            incident.changed = now;
            true
        });
        ended.sort_by_key(|(closed, _)| *closed);
        ended.into_iter().map(|(_, event)| event).collect()
    }

    /// Forgets one when there are too many, those that are over first.
    fn make_room(&mut self, id: &Id) {
        if self.0.len() < MAX || self.0.contains_key(id) {
            return;
        }
        let oldest = self
            .0
            .iter()
            .min_by_key(|(_, incident)| (!incident.over, incident.changed))
            .map(|(id, _)| id.clone());
        if let Some(oldest) = oldest {
            self.0.remove(&oldest);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
