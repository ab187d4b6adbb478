//! Foreign use: another program spends the same account. When people are told that it began, and that it is over.
//!
//! Plain data, told the time. What the share is, the buckets estimate; here it is only watched: one pool is told once, when
//! its share has been over the threshold for a while, and once more when it has been far below it for longer. Between the
//! two nothing is told, so that a program which comes and goes pages once.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{Kind, PoolView};
use crate::redact;

/// A share that is over for this long is told: a burst of somebody's is not.
const HOLD: Duration = Duration::from_secs(60);
/// One that is below half for this long is over.
const CALM: Duration = Duration::from_secs(5 * 60);
/// Pools watched; those of callers' own making are not bounded by the configuration.
const MAX: usize = 1_024;
/// Longer names are cut.
const LONGEST_NAME: usize = 128;

/// A change that people are told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    pub upstream: String,
    /// The models' common name; `*`: calls without a model.
    pub pool: String,
    /// The limit of which most is used elsewhere.
    pub kind: Kind,
    pub capacity: u64,
    /// Of `capacity`, 0 to 1; at the end: the most that it was.
    pub share: f64,
    pub since: SystemTime,
    pub ended: Option<Ended>,
}

/// The end of foreign use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    pub lasted: Duration,
    /// Nothing is known of the pool any more; else the share has fallen.
    pub unseen: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Watch(HashMap<(String, String), Watched>);

#[derive(Debug)]
struct Watched {
    /// The most that was seen, and of what.
    kind: Kind,
    capacity: u64,
    most: f64,
    since: Instant,
    since_wall: SystemTime,
    told: bool,
    /// Below half of the threshold since then.
    calm: Option<Instant>,
}

/// A share as it is seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    kind: Kind,
    capacity: u64,
    share: f64,
}

// === impl Watch ===

impl Watch {
    /// Looks at all pools; what is to be told. `threshold`: `None` watches nothing and forgets what was told.
    pub(super) fn look(
        &mut self,
        views: &[PoolView],
        threshold: Option<f64>,
        now: Instant,
        wall: SystemTime,
    ) -> Vec<Foreign> {
        let Some(threshold) = threshold else {
            self.0.clear();
            return Vec::new();
        };
        let seen = largest(views);
        let mut told = Vec::new();
        for (id, seen) in &seen {
            if seen.share >= threshold && (self.0.contains_key(id) || self.0.len() < MAX) {
                let watched = self
                    .0
                    .entry(id.clone())
                    .or_insert_with(|| Watched::new(seen, now, wall));
                told.extend(watched.over(id, seen, now));
            }
        }
        self.0.retain(|id, watched| {
            let share = seen.get(id).map(|seen| seen.share);
            if share.is_some_and(|share| share >= threshold) {
                return true;
            }
            let end = watched.under(id, share, threshold, now);
            let goes_on = watched.told && end.is_none();
            told.extend(end);
            goes_on
        });
        told.sort_by(|a, b| (&a.upstream, &a.pool).cmp(&(&b.upstream, &b.pool)));
        told
    }
}

// === impl Watched ===

impl Watched {
    fn new(seen: &Seen, now: Instant, wall: SystemTime) -> Self {
        Self {
            kind: seen.kind,
            capacity: seen.capacity,
            most: seen.share,
            since: now,
            since_wall: wall,
            told: false,
            calm: None,
        }
    }

    fn over(&mut self, id: &(String, String), seen: &Seen, now: Instant) -> Option<Foreign> {
        self.calm = None;
        if seen.share >= self.most {
            (self.kind, self.capacity, self.most) = (seen.kind, seen.capacity, seen.share);
        }
        if self.told || now.saturating_duration_since(self.since) < HOLD {
            return None;
        }
        self.told = true;
        // Now, and not the peak: it is what people find when they look.
        Some(Foreign {
            kind: seen.kind,
            capacity: seen.capacity,
            share: seen.share,
            ..self.change(id, None)
        })
    }

    /// Not over the threshold; the end, when that has been so for long enough.
    fn under(
        &mut self,
        id: &(String, String),
        share: Option<f64>,
        threshold: f64,
        now: Instant,
    ) -> Option<Foreign> {
        if share.is_some_and(|share| share >= threshold / 2.0) {
            self.calm = None;
            return None;
        }
        let calm = *self.calm.get_or_insert(now);
        if !self.told || now.saturating_duration_since(calm) < CALM {
            return None;
        }
        let ended = Ended {
            lasted: calm.saturating_duration_since(self.since),
            unseen: share.is_none(),
        };
        Some(self.change(id, Some(ended)))
    }

    fn change(&self, (upstream, pool): &(String, String), ended: Option<Ended>) -> Foreign {
        let name = |text: &str| redact::name(text).chars().take(LONGEST_NAME).collect();
        Foreign {
            upstream: name(upstream),
            pool: name(pool),
            kind: self.kind,
            capacity: self.capacity,
            share: self.most,
            since: self.since_wall,
            ended,
        }
    }
}

/// The largest share of each upstream's pools. Callers' own accounts at one upstream count as one: they are not weir's to
/// look after, and many of them are not many alerts.
fn largest(views: &[PoolView]) -> HashMap<(String, String), Seen> {
    let mut all: HashMap<(String, String), Seen> = HashMap::new();
    for view in views {
        let shares = view.buckets.iter().filter_map(|bucket| {
            Some(Seen {
                kind: bucket.kind,
                capacity: bucket.capacity,
                share: bucket.foreign_share?,
            })
        });
        let Some(most) = shares.max_by(|a, b| a.share.total_cmp(&b.share)) else {
            continue;
        };
        let known = all
            .entry((view.upstream.clone(), view.pool.clone()))
            .or_insert(most);
        if most.share > known.share {
            *known = most;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::made_up::{bucket, pool};

    struct Clock(Watch, Instant, SystemTime);

    impl Clock {
        fn new() -> Self {
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            Self(Watch::default(), Instant::now(), wall)
        }

        /// Looks every ten seconds for `seconds` at a share; all that is told.
        fn sees(&mut self, share: Option<f64>, seconds: u64) -> Vec<Foreign> {
            let mut view = pool("openai", "gpt-4o");
            let mut tokens = bucket(Kind::Tokens, 2_000_000, 500_000);
            tokens.foreign_share = share;
            view.buckets.push(tokens);
            self.sees_views(&[view], seconds)
        }

        fn sees_views(&mut self, views: &[PoolView], seconds: u64) -> Vec<Foreign> {
            let mut told = Vec::new();
            for _ in 0..seconds / 10 {
                self.1 += Duration::from_secs(10);
                self.2 += Duration::from_secs(10);
                told.extend(self.0.look(views, Some(0.2), self.1, self.2));
            }
            told
        }
    }

    #[test]
    fn a_share_over_the_threshold_for_a_minute_is_told_once() {
        let mut clock = Clock::new();
        let since = clock.2 + Duration::from_secs(10);
        assert_eq!(clock.sees(Some(0.3), 60), []);
        let told = clock.sees(Some(0.4), 600);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].share, told[0].since), (0.4, since));
        assert_eq!((told[0].kind, told[0].capacity), (Kind::Tokens, 2_000_000));
    }

    #[test]
    fn a_minute_begins_anew_when_the_share_falls_meanwhile() {
        let mut clock = Clock::new();
        for _ in 0..10 {
            assert_eq!(clock.sees(Some(0.3), 50), []);
            assert_eq!(clock.sees(Some(0.19), 10), []);
        }
    }

    #[test]
    fn it_is_over_after_five_minutes_below_half_and_not_before() {
        let mut clock = Clock::new();
        assert_eq!(clock.sees(Some(0.3), 80).len(), 1);
        assert_eq!(clock.sees(Some(0.35), 10), []);
        // Between half and whole: neither.
        assert_eq!(clock.sees(Some(0.15), 3_600), []);
        assert_eq!(clock.sees(Some(0.05), 290), []);
        assert_eq!(clock.sees(Some(0.15), 10), []);
        assert_eq!(clock.sees(Some(0.05), 300), []);
        let told = clock.sees(Some(0.05), 10);
        let ended = told[0].ended.expect("it is over");
        assert!(!ended.unseen);
        assert_eq!(told[0].share, 0.35, "the most that it was");
        assert_eq!(
            ended.lasted,
            Duration::from_secs(80 + 3_600 + 290 + 10 + 10)
        );
        // And it may come again.
        assert_eq!(clock.sees(Some(0.3), 80).len(), 1);
    }

    #[test]
    fn a_pool_that_is_gone_ends_as_unseen() {
        let mut clock = Clock::new();
        assert_eq!(clock.sees(Some(0.3), 80).len(), 1);
        let told = clock.sees_views(&[], 400);
        assert!(told[0].ended.expect("it is over").unseen);
        assert!(clock.0.0.is_empty(), "it is forgotten");
    }

    #[test]
    fn many_accounts_of_one_upstream_are_one_alert() {
        let mut clock = Clock::new();
        let views: Vec<_> = (0..50)
            .map(|n| {
                let mut view = pool("openai", "gpt-4o");
                view.account = Some(format!("caller-{n}"));
                let mut tokens = bucket(Kind::Tokens, 1_000 + n, 0);
                tokens.foreign_share = Some(0.3 + n as f64 / 100.0);
                view.buckets.push(tokens);
                view
            })
            .collect();
        let told = clock.sees_views(&views, 100);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].capacity, 1_049);
    }

    #[test]
    fn without_a_threshold_nothing_is_told_nor_remembered() {
        let mut clock = Clock::new();
        assert_eq!(clock.sees(Some(0.9), 50), []);
        assert_eq!(clock.0.look(&[], None, clock.1, clock.2), []);
        assert!(clock.0.0.is_empty());
    }
}
