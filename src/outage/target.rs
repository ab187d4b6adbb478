//! What is known of one target: its sequential tests, and the counts that are told as evidence.
//!
//! Plain data; the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    cause::{CAUSES, Cause},
    latency::Latency,
    test::{Params, Test, Turn},
};
use crate::triage::Class;

/// Nothing seen for so long: evidence is stale, an alarm has no ground any more.
pub(super) const QUIET: Duration = Duration::from_secs(15 * 60);
/// Failures that repeat one that was seen (of the same call, or sent again by the SDK) say less than one of another
/// call: one request that makes a server stumble is no outage. They say something: whoever is alone repeats.
pub(super) const REPEAT: f64 = 1.0 / 4.0;

/// Recent counts: so many buckets of so many seconds each.
const BUCKETS: usize = 24;
const BUCKET_SECONDS: u64 = 10;

const FAILING: Params = Params {
    floor: 0.01,
    ceiling: 0.10,
    prior: (0.01, 200.0),
    memory: 3_000.0,
    excess: 0.25,
    raise: 11.0,
    // Four slices: four failures when calls are rare, failures in four different seconds when they are many.
    slice_adds: 11.0 / 4.0,
    slice_takes: 11.0 / 8.0,
    unbroken: Duration::from_secs(3),
    clear: 7.0,
};

/// One target.
#[derive(Clone, Debug)]
pub(super) struct Health {
    began: Instant,
    failing: Test,
    latency: Latency,
    recent: Recent,
    /// In the stretch that is under way.
    causes: [u32; CAUSES],
    class: Option<Class>,
    last: Instant,
    last_ok: Option<Instant>,
    cleared: Option<Instant>,
}

/// Outcomes of the last minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    /// Number of the newest bucket.
    newest: u64,
    ok: [u32; BUCKETS],
    bad: [u32; BUCKETS],
}

/// Good and bad outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ok: u64,
    pub(super) bad: u64,
}

/// A target that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Failing {
    /// The first failure of the stretch.
    pub(super) onset: Instant,
    /// Since then.
    pub(super) counts: Counts,
    /// Of late.
    pub(super) share: f64,
    pub(super) causes: [u32; CAUSES],
    /// The latest.
    pub(super) class: Option<Class>,
}

/// A target whose first tokens are late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Late {
    pub(super) onset: Instant,
    /// Good: in time.
    pub(super) counts: Counts,
    /// Of late.
    pub(super) share: f64,
}

/// What is to be told of a target at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    pub(super) failing: Option<Failing>,
    pub(super) late: Option<Late>,
    /// How far an alarm about failures is: 1 is raised.
    pub(super) level: f64,
    pub(super) recent: Counts,
    pub(super) usual_share: f64,
    /// First tokens: usual, present.
    pub(super) first_token: Option<(Duration, Duration)>,
    pub(super) last: Instant,
    pub(super) last_ok: Option<Instant>,
    /// When the latest alarm about failures was cleared.
    pub(super) cleared: Option<Instant>,
}

// === impl Health ===

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            failing: Test::new(FAILING, now),
            latency: Latency::new(now),
            recent: Recent::default(),
            causes: [0; CAUSES],
            class: None,
            last: now,
            last_ok: None,
            cleared: None,
        }
    }

    /// An answer; `first`: time to the first token of a stream. Returns whether an alarm was raised or cleared.
    pub(super) fn answered(&mut self, first: Option<Duration>, now: Instant) -> bool {
        let forgot = self.at(now);
        self.recent.count(self.bucket(now), false);
        self.last_ok = Some(now);
        let mut turned = forgot;
        if self.failing.see(false, 1.0, now) == Some(Turn::Cleared) {
            self.cleared = Some(now);
            turned = true;
        }
        if let Some(first) = first {
            turned |= self.latency.see(first, now).is_some();
        }
        turned
    }

    /// A failure that points at `cause`; `repeats` one that was seen. Returns as above.
    pub(super) fn failed(
        &mut self,
        cause: Cause,
        class: Class,
        repeats: bool,
        now: Instant,
    ) -> bool {
        let forgot = self.at(now);
        self.recent.count(self.bucket(now), true);
        if self.failing.stretch().is_none() {
            self.causes = [0; CAUSES];
        }
        let count = &mut self.causes[cause.index()];
        *count = count.saturating_add(1);
        self.class = Some(class);
        let weight = if repeats { REPEAT } else { 1.0 };
        forgot | self.failing.see(true, weight, now).is_some()
    }

    /// Drops what is stale. Returns whether an alarm was dropped.
    pub(super) fn quiet(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.last) < QUIET {
            return false;
        }
        let alarmed = self.failing.alarm().is_some() || self.latency.alarm().is_some();
        self.failing.forget();
        self.latency.forget();
        alarmed
    }

    pub(super) fn alarmed(&self) -> bool {
        self.failing.alarm().is_some() || self.latency.alarm().is_some()
    }

    pub(super) fn view(&self, now: Instant) -> View {
        let failing = self.failing.stretch().zip(self.failing.alarm());
        let usual = self.latency.usual();
        View {
            failing: failing.map(|(stretch, share)| Failing {
                onset: stretch.onset,
                counts: Counts {
                    ok: stretch.all - stretch.bad,
                    bad: stretch.bad,
                },
                share,
                causes: self.causes,
                class: self.class,
            }),
            late: self.latency.alarm().map(|(stretch, share)| Late {
                onset: stretch.onset,
                counts: Counts {
                    ok: stretch.all - stretch.bad,
                    bad: stretch.bad,
                },
                share,
            }),
            level: self.failing.level(),
            recent: self.recent.sum(self.bucket(now)),
            usual_share: self.failing.usual(),
            first_token: usual.zip(self.latency.present().map(Duration::from_secs_f64)),
            last: self.last,
            last_ok: self.last_ok,
            cleared: self.cleared,
        }
    }

    /// Something is seen now.
    fn at(&mut self, now: Instant) -> bool {
        let forgot = self.quiet(now);
        self.last = self.last.max(now);
        forgot
    }

    fn bucket(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / BUCKET_SECONDS
    }
}

// === impl Recent ===

impl Recent {
    fn count(&mut self, number: u64, bad: bool) {
        while self.newest < number {
            // Further back than all buckets reach is as good as all of them.
            self.newest = (self.newest + 1).max(number.saturating_sub(BUCKETS as u64));
            let at = (self.newest % BUCKETS as u64) as usize;
            (self.ok[at], self.bad[at]) = (0, 0);
        }
        let at = (self.newest % BUCKETS as u64) as usize;
        let count = match bad {
            true => &mut self.bad[at],
            false => &mut self.ok[at],
        };
        *count = count.saturating_add(1);
    }

    fn sum(&self, now: u64) -> Counts {
        let mut counts = Counts::default();
        for back in 0..BUCKETS as u64 {
            let Some(number) = self.newest.checked_sub(back) else {
                break;
            };
            if number + (BUCKETS as u64) <= now {
                break;
            }
            let at = (number % BUCKETS as u64) as usize;
            counts.ok += u64::from(self.ok[at]);
            counts.bad += u64::from(self.bad[at]);
        }
        counts
    }
}

// === impl Counts ===

impl Counts {
    pub(super) fn all(self) -> u64 {
        self.ok + self.bad
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            bad: self.bad + other.bad,
        }
    }
}
