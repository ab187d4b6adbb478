//! The sequential test: does this share of bad outcomes still look usual?
//!
//! A cumulative sum of log-likelihood ratios (CUSUM) over yes-or-no outcomes. Each one is weighed by how much likelier it
//! is in an outage than on a usual day; the sum never falls below zero, and an alarm is raised where it reaches a
//! threshold. Once raised, the reversed test, which takes the share seen during the alarm for the one to be refuted, clears
//! it. Two thresholds that far apart do not flap.
//!
//! Two things are unlike the textbook, because failures come in clusters and not one by one at random:
//!
//! - Evidence is counted by slices of a second, and what one slice can add is bounded. A thousand failures within the same
//!   second are one event (a restart, a reset connection), not a thousand. At three calls a minute each call has a slice
//!   of its own, and the bound is of no consequence.
//!   The bound falls where nothing but bad outcomes has been seen for longer than such an event lasts: an open circuit lets
//!   no more than a probe through, and the first probe that fails confirms what opened it.
//! - What is usual is learned, slowly, from stretches that the test itself has found to be harmless, and never from one
//!   that ends in an alarm. It stays within bounds: what always fails is not a usual day.
//!
//! Plain data; the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Outcomes of one slice that are learned from: a busy second is one second.
const LEARNED_OF_A_SLICE: f64 = 5.0;
/// How fast the share during an alarm follows: over the last twenty outcomes, about.
const FOLLOW: f64 = 1.0 / 20.0;

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    /// The usual share of bad outcomes is never taken to be lower: luck is not a promise.
    pub(super) floor: f64,
    /// Nor higher.
    pub(super) ceiling: f64,
    /// What it is taken to be before anything is known, and how many outcomes that is worth.
    pub(super) prior: (f64, f64),
    /// What is learned is worth this many outcomes at most, so that the usual can change.
    pub(super) memory: f64,
    /// An outage adds this much to the usual share, at least.
    pub(super) excess: f64,
    /// The sum that raises an alarm. For outcomes that are independent, e to this power is a lower bound of the number of
    /// outcomes between false alarms.
    pub(super) raise: f64,
    /// What one slice can add to the sum.
    pub(super) slice_adds: f64,
    /// What one slice can take from it.
    pub(super) slice_takes: f64,
    /// Where every outcome was bad for so long, all evidence counts, whatever slices it is from.
    pub(super) unbroken: Duration,
    /// The reversed sum that clears it. A third of it is the most that a slice can add.
    pub(super) clear: f64,
}

/// An alarm is raised or cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Raised,
    Cleared,
}

/// The bad stretch that is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    /// Its first bad outcome.
    pub(super) onset: Instant,
    pub(super) bad: u64,
    pub(super) all: u64,
}

/// One sequential test.
#[derive(Clone, Debug)]
pub(super) struct Test {
    params: Params,
    began: Instant,
    usual: Usual,
    /// Since the sum was zero; less what the current slice has brought.
    pending: Usual,
    slice: Slice,
    /// The sum at the start of the slice; the reversed one during an alarm.
    sum: f64,
    stretch: Option<Stretch>,
    /// Since when there were bad outcomes only, and the evidence in them, unbounded.
    unbroken: Option<(Instant, f64)>,
    /// During an alarm: the share of bad outcomes of late.
    alarm: Option<f64>,
}

/// How many outcomes, and how many of them were bad.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    bad: f64,
    all: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: u64,
    /// Evidence so far, unbounded.
    gained: f64,
    bad: f64,
    all: f64,
    /// The log-likelihood ratios of a bad and of a good outcome, found once per slice.
    weigh: [f64; 2],
}

// === impl Test ===

impl Test {
    pub(super) fn new(params: Params, now: Instant) -> Self {
        let (share, all) = params.prior;
        let usual = Usual {
            bad: share * all,
            all,
        };
        let mut test = Self {
            params,
            began: now,
            usual,
            pending: Usual::default(),
            slice: Slice::default(),
            sum: 0.0,
            stretch: None,
            unbroken: None,
            alarm: None,
        };
        test.slice.weigh = test.weigh();
        test
    }

    /// An outcome. `weight`: less than one for what repeats an outcome that was seen.
    pub(super) fn see(&mut self, bad: bool, weight: f64, now: Instant) -> Option<Turn> {
        let number = now.saturating_duration_since(self.began).as_secs();
        // Time that seems to go back (outcomes of two threads) stays in the slice.
        if number > self.slice.number {
            self.close_slice(number);
        }
        self.slice.all += 1.0;
        if bad {
            self.slice.bad += 1.0;
        }
        match self.alarm {
            None => self.watch(bad, weight, now),
            Some(share) => self.recover(bad, weight, share),
        }
    }

    /// The usual share of bad outcomes.
    pub(super) fn usual(&self) -> f64 {
        (self.usual.bad / self.usual.all).clamp(self.params.floor, self.params.ceiling)
    }

    /// Whether an alarm is raised, and then the share of bad outcomes of late.
    pub(super) fn alarm(&self) -> Option<f64> {
        self.alarm
    }

    /// The bad stretch that is under way.
    pub(super) fn stretch(&self) -> Option<Stretch> {
        self.stretch
    }

    /// How far the sum has come: 1 raises the alarm, and during it stays 1.
    pub(super) fn level(&self) -> f64 {
        match self.alarm {
            Some(_) => 1.0,
            None => (self.now() / self.params.raise).clamp(0.0, 1.0),
        }
    }

    /// Forgets the alarm and the evidence; keeps what is usual.
    pub(super) fn forget(&mut self) {
        self.alarm = None;
        self.restart();
    }

    fn restart(&mut self) {
        self.sum = 0.0;
        self.stretch = None;
        self.unbroken = None;
        self.pending = Usual::default();
        self.slice = Slice {
            number: self.slice.number,
            weigh: self.weigh(),
            ..Slice::default()
        };
    }

    /// The sum of this moment.
    fn now(&self) -> f64 {
        let Params {
            slice_adds,
            slice_takes,
            clear,
            ..
        } = self.params;
        let gained = match self.alarm {
            None => self.slice.gained.clamp(-slice_takes, slice_adds),
            Some(_) => self.slice.gained.clamp(-clear, clear / 3.0),
        };
        (self.sum + gained).max(0.0)
    }

    fn watch(&mut self, bad: bool, weight: f64, now: Instant) -> Option<Turn> {
        let [of_bad, of_good] = self.slice.weigh;
        self.slice.gained += weight * if bad { of_bad } else { of_good };
        self.unbroken = bad.then(|| {
            let (since, evidence) = self.unbroken.unwrap_or((now, 0.0));
            (since, evidence + weight * of_bad)
        });
        match &mut self.stretch {
            Some(stretch) => {
                stretch.all += 1;
                stretch.bad += u64::from(bad);
            }
            None if bad => {
                self.stretch = Some(Stretch {
                    onset: now,
                    bad: 1,
                    all: 1,
                });
            }
            None => return None,
        }
        if !bad || (self.now() < self.params.raise && !self.is_unbroken(now)) {
            return None;
        }
        let stretch = self.stretch;
        let share = stretch.map_or(1.0, |s| s.bad as f64 / s.all.max(1) as f64);
        self.restart();
        self.stretch = stretch;
        self.alarm = Some(share);
        Some(Turn::Raised)
    }

    fn is_unbroken(&self, now: Instant) -> bool {
        self.unbroken.is_some_and(|(since, evidence)| {
            evidence >= self.params.raise
                && now.saturating_duration_since(since) >= self.params.unbroken
        })
    }

    fn recover(&mut self, bad: bool, weight: f64, share: f64) -> Option<Turn> {
        if let Some(stretch) = &mut self.stretch {
            stretch.all += 1;
            stretch.bad += u64::from(bad);
        }
        let usual = self.usual();
        let refuted = share.clamp(usual + self.params.excess, 0.9);
        self.slice.gained += weight
            * match bad {
                true => (usual / refuted).ln(),
                false => ((1.0 - usual) / (1.0 - refuted)).ln(),
            };
        let outcome = f64::from(u8::from(bad));
        self.alarm = Some(share + weight * (outcome - share) * FOLLOW);
        if bad || self.now() < self.params.clear {
            return None;
        }
        self.forget();
        Some(Turn::Cleared)
    }

    fn close_slice(&mut self, number: u64) {
        self.sum = self.now();
        let closed = std::mem::take(&mut self.slice);
        self.slice.number = number;
        self.slice.weigh = closed.weigh;
        if self.alarm.is_some() || closed.all == 0.0 {
            return;
        }
        let part = closed.all.min(LEARNED_OF_A_SLICE) / closed.all;
        self.pending.bad += closed.bad * part;
        self.pending.all += closed.all * part;
        if self.sum <= 0.0 {
            let learned = std::mem::take(&mut self.pending);
            self.usual.learn(learned, self.params.memory);
            self.stretch = None;
            self.slice.weigh = self.weigh();
        }
    }

    fn weigh(&self) -> [f64; 2] {
        let usual = self.usual();
        let outage = usual + self.params.excess;
        [(outage / usual).ln(), ((1.0 - outage) / (1.0 - usual)).ln()]
    }
}

// === impl Usual ===

impl Usual {
    fn learn(&mut self, more: Self, memory: f64) {
        self.bad += more.bad;
        self.all += more.all;
        if self.all > memory {
            let part = memory / self.all;
            self.bad *= part;
            self.all = memory;
        }
    }
}

/// A slice's length.
pub(super) const SLICE: Duration = Duration::from_secs(1);
