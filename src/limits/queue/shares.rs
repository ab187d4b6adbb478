//! What each app has taken of late, and whether that is more than its share.
//!
//! The amounts fade with a time constant of [`ACTIVE`]. They are kept multiplied by a factor that grows with the time
//! since an epoch, so that one addition fades all others.

use std::{mem, sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt as _};
use tokio::time::Instant;

use super::{FlowId, Lane, flow::Flow};

/// An app that has not called for so long has no part in the shares.
pub(super) const ACTIVE: Duration = Duration::from_secs(10);
/// Apps remembered in one pool. More than may wait at once, so that somebody is always idle among them.
pub(super) const MOST: usize = 1536;
/// How often idle apps are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// The factor's exponent at which all amounts are divided by it.
const LARGEST: f64 = 50.0;
/// Amounts fade in steps as short as this.
const STEP: Duration = Duration::from_millis(10);
/// What an app may be over its share without being called greedy.
const SLACK: f64 = 1.1;

/// An app in the books of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct AppRef {
    index: u32,
    born: u64,
}

/// The books of one queue. `F`: the app's line in a lane.
#[derive(Debug)]
pub(super) struct Shares<F> {
    names: HashMap<Arc<str>, u32>,
    apps: Vec<Option<App<F>>>,
    free: Vec<u32>,
    births: u64,
    epoch: Instant,
    /// Last worked out, and when; good for [`STEP`].
    factor: (Instant, f64),
    /// Of the apps that are active, as of the last sweep and those since.
    weights: f64,
    active: usize,
    taken: f64,
    swept: Instant,
}

#[derive(Debug)]
pub(super) struct App<F> {
    name: Arc<str>,
    born: u64,
    weight: u32,
    seen: [Option<Instant>; 2],
    taken: f64,
    /// Counted in `weights`.
    counted: bool,
    flows: [F; 2],
}

// === impl AppRef ===

impl AppRef {
    pub(super) fn index(self) -> u32 {
        self.index
    }

    #[cfg(test)]
    pub(super) fn at<W>(queue: &super::Queue<W>, index: u32) -> Self {
        let born = queue.shares.app(index).map_or(0, |app| app.born);
        Self { index, born }
    }
}

// === impl Shares ===

impl<W> Shares<Flow<W>> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            names: HashMap::new(),
            apps: Vec::new(),
            free: Vec::new(),
            births: 0,
            epoch: now,
            factor: (now, 1.0),
            weights: 0.0,
            active: 0,
            taken: 0.0,
            swept: now,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn get(&self, id: FlowId) -> Option<&Flow<W>> {
        let app = self.apps.get(id.0 as usize)?.as_ref()?;
        Some(&app.flows[id.1 as usize])
    }

    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<W>> {
        let app = self.apps.get_mut(id.0 as usize)?.as_mut()?;
        Some(&mut app.flows[id.1 as usize])
    }

    /// Of an app that was seen in this very statement, or that has somebody waiting.
    pub(super) fn flow(&mut self, id: FlowId) -> &mut Flow<W> {
        self.get_mut(id)
            .expect("an app that calls or waits is not forgotten")
    }

    pub(super) fn find(&self, name: &str) -> AppRef {
        let index = self.names.get(name).copied();
        let born = index.and_then(|index| self.app(index)).map(|app| app.born);
        AppRef {
            index: index.unwrap_or(u32::MAX),
            born: born.unwrap_or(0),
        }
    }

    pub(super) fn weight(&self, index: u32) -> u32 {
        self.app(index).map_or(1, |app| app.weight)
    }

    /// The app calls.
    pub(super) fn seen(&mut self, name: &str, weight: u32, lane: Lane, now: Instant) -> AppRef {
        if now >= self.swept + SWEEP || (self.names.len() >= MOST && !self.names.contains_key(name))
        {
            self.sweep(now);
        }
        let index = match self.names.get(name) {
            Some(index) => *index,
            None => self.add(name, weight),
        };
        let app = self.apps[index as usize]
            .as_mut()
            .expect("a name leads to an app");
        app.seen[lane as usize] = Some(now);
        if app.weight != weight && app.counted {
            self.weights += f64::from(weight) - f64::from(app.weight);
        }
        app.weight = weight;
        if !app.counted {
            app.counted = true;
            self.active += 1;
            self.weights += f64::from(weight);
        }
        AppRef {
            index,
            born: app.born,
        }
    }

    /// Only the interactive lane counts: what batch calls take is what nobody else wanted.
    pub(super) fn charge(&mut self, app: AppRef, lane: Lane, cost: f64, now: Instant) {
        if lane == Lane::Batch {
            return;
        }
        let factor = self.factor(now);
        let Some(known) = self.apps.get_mut(app.index as usize) else {
            return;
        };
        let Some(known) = known.as_mut().filter(|known| known.born == app.born) else {
            return;
        };
        let before = known.taken;
        known.taken = (before + cost * factor).max(0.0);
        self.taken = (self.taken + known.taken - before).max(0.0);
    }

    /// Whether the app has taken more than its share of late, `unit` being a usual call.
    pub(super) fn is_over(&self, index: u32, unit: f64, now: Instant) -> bool {
        let Some(app) = self.app(index) else {
            return false;
        };
        if self.active <= 1 || self.weights <= 0.0 {
            return false;
        }
        let share = self.taken * f64::from(app.weight) / self.weights;
        app.taken > share * SLACK + unit * self.peek_factor(now)
    }

    /// Nobody else calls, in this lane or the other.
    pub(super) fn is_alone(&self, id: FlowId, now: Instant) -> bool {
        let other = match id.1 {
            Lane::Interactive => Lane::Batch,
            Lane::Batch => Lane::Interactive,
        };
        let others = self.app(id.0).and_then(|app| app.seen[other as usize]);
        self.active <= 1 && others.is_none_or(|seen| now >= seen + ACTIVE)
    }

    fn app(&self, index: u32) -> Option<&App<Flow<W>>> {
        self.apps.get(index as usize)?.as_ref()
    }

    fn add(&mut self, name: &str, weight: u32) -> u32 {
        self.births += 1;
        let name: Arc<str> = name.into();
        let app = App {
            name: Arc::clone(&name),
            born: self.births,
            weight,
            seen: [None; 2],
            taken: 0.0,
            counted: false,
            flows: Default::default(),
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.apps.push(None);
            u32::try_from(self.apps.len() - 1).expect("apps are bounded")
        });
        self.apps[index as usize] = Some(app);
        self.names.insert(name, index);
        index
    }

    fn peek_factor(&self, now: Instant) -> f64 {
        let (since, factor) = self.factor;
        if now.saturating_duration_since(since) < STEP {
            return factor;
        }
        let age = now.saturating_duration_since(self.epoch).as_secs_f64();
        (age / ACTIVE.as_secs_f64()).min(2.0 * LARGEST).exp()
    }

    fn factor(&mut self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.epoch);
        if age.as_secs_f64() / ACTIVE.as_secs_f64() < LARGEST {
            let factor = self.peek_factor(now);
            if now.saturating_duration_since(self.factor.0) >= STEP {
                self.factor = (now, factor);
            }
            return factor;
        }
        let fade = (-age.as_secs_f64() / ACTIVE.as_secs_f64()).exp();
        for app in self.apps.iter_mut().flatten() {
            app.taken *= fade;
        }
        self.taken *= fade;
        (self.epoch, self.factor) = (now, (now, 1.0));
        1.0
    }

    /// Counts anew who is active, and forgets idle apps. When there are too many, those that called longest ago as well.
    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        self.factor(now);
        let mut idle: Vec<(Option<Instant>, u32)> = Vec::new();
        (self.weights, self.active, self.taken) = (0.0, 0, 0.0);
        for (index, slot) in self.apps.iter_mut().enumerate() {
            let Some(app) = slot else { continue };
            let waits = app.flows.iter().any(|flow| !flow.is_empty());
            let last = app.seen.into_iter().flatten().max();
            app.counted = waits || last.is_some_and(|seen| now < seen + ACTIVE);
            if app.counted {
                self.active += 1;
                self.weights += f64::from(app.weight);
                self.taken += app.taken;
            }
            if !waits {
                idle.push((last.filter(|_| app.counted), index as u32));
            }
        }
        idle.sort_unstable();
        let spare = match self.names.len() >= MOST {
            true => self.names.len() - MOST * 7 / 8,
            false => 0,
        };
        for (place, (active, index)) in idle.into_iter().enumerate() {
            if active.is_none() || place < spare {
                self.forget(index);
            }
        }
    }

    fn forget(&mut self, index: u32) {
        let Some(app) = mem::take(&mut self.apps[index as usize]) else {
            return;
        };
        if app.counted {
            self.active -= 1;
            self.weights -= f64::from(app.weight);
            self.taken = (self.taken - app.taken).max(0.0);
        }
        self.names.remove(&app.name);
        self.free.push(index);
    }
}
