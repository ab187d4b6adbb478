//! What a run comes to, in numbers.

use std::collections::{HashMap, HashSet};

use crate::{
    driver::{How, Trial},
    hidden::Counted,
    scenario::Scenario,
    world::Record,
};

/// Replies that anybody may learn from before it counts.
const LESSONS: usize = 20;
/// Seconds after a change of the limits in which it may go unused.
const GRACE: f64 = 60.0;
/// Seconds between the points at which the allowed rate is looked up.
const STEP: f64 = 0.1;

/// Of one run; shares are 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Of the allowed throughput, of the limit that binds.
    pub(crate) used: f64,
    /// Calls that met a provider's refusal, of those that reached it.
    pub(crate) met: f64,
    /// Of the waits of answered calls, in seconds.
    pub(crate) wait_50: f64,
    pub(crate) wait_95: f64,
    /// The longest time to a refusal or to the provider's door.
    pub(crate) longest: f64,
    /// Calls that the limiter refused, of all.
    pub(crate) held_back: f64,
    /// Calls that ended with the provider's refusal, of all.
    pub(crate) refused: f64,
    /// Others' calls that the provider let in, of theirs; `None`: there were none.
    pub(crate) others: Option<f64>,
    /// Seconds from the beginning of foreign use to a share within 5 points of the truth; `None`: there was none.
    pub(crate) noticed: Option<f64>,
    /// The share that was estimated at the end, where there was any.
    pub(crate) share: Option<f64>,
}

/// When it counts.
struct Span<'a> {
    scenario: &'a Scenario,
    from: f64,
}

// === impl Figures ===

impl Figures {
    pub(crate) fn of(scenario: &Scenario, trial: &Trial) -> Self {
        let learnt = trial.record.replies.get(LESSONS - 1).copied();
        let span = Span {
            scenario,
            from: learnt.unwrap_or(f64::INFINITY),
        };
        let mut waits = waits(trial);
        waits.sort_by(f64::total_cmp);
        let of_all = |how| {
            let count = trial.ended.iter().filter(|ended| ended.how == how).count();
            count as f64 / trial.ended.len().max(1) as f64
        };
        Self {
            used: used(&span, trial),
            met: met(&span, trial),
            wait_50: percentile(&waits, 0.5),
            wait_95: percentile(&waits, 0.95),
            longest: longest(trial),
            held_back: of_all(How::HeldBack),
            refused: of_all(How::Refused),
            others: match trial.record.others {
                [_, 0] => None,
                [admitted, all] => Some(admitted as f64 / all as f64),
            },
            noticed: noticed(scenario, trial),
            share: trial.looks.last().and_then(|look| share(&look.pools)),
        }
    }
}

/// Admitted, of what would have been allowed: the larger share of all limits, as the one that binds leaves the others unused.
fn used(span: &Span<'_>, trial: &Trial) -> f64 {
    let share = |counted| {
        let allowed = span.allowed(counted)?;
        let admitted = trial
            .record
            .log
            .iter()
            .filter(|a| a.admitted && span.counts(a.at));
        let taken: f64 = match counted {
            Counted::Requests => admitted.count() as f64,
            Counted::Tokens => admitted.map(|arrived| arrived.tokens).sum(),
        };
        Some(taken / allowed)
    };
    Counted::ALL
        .into_iter()
        .filter_map(share)
        .fold(0.0, f64::max)
}

fn met(span: &Span<'_>, trial: &Trial) -> f64 {
    let (mut all, mut met) = (HashSet::new(), HashSet::new());
    for arrived in trial.record.log.iter().filter(|a| a.at >= span.from) {
        all.insert(arrived.call);
        if !arrived.admitted {
            met.insert(arrived.call);
        }
    }
    met.len() as f64 / all.len().max(1) as f64
}

/// From the caller's asking to the provider's admission, of calls that were answered.
fn waits(trial: &Trial) -> Vec<f64> {
    let admitted = admissions(&trial.record);
    let answered = trial
        .ended
        .iter()
        .filter(|ended| ended.how == How::Answered);
    answered
        .filter_map(|ended| Some(admitted.get(&ended.call)? - ended.arrived))
        .collect()
}

fn longest(trial: &Trial) -> f64 {
    let admitted = admissions(&trial.record);
    let times = trial.ended.iter().map(|ended| match ended.how {
        How::Answered => admitted.get(&ended.call).copied().unwrap_or(ended.at) - ended.arrived,
        How::HeldBack | How::Refused => ended.at - ended.arrived,
        How::Left => 0.0,
    });
    times.fold(0.0, f64::max)
}

/// When each call was let in.
pub(crate) fn admissions(record: &Record) -> HashMap<u64, f64> {
    let admitted = record.log.iter().filter(|arrived| arrived.admitted);
    admitted.map(|arrived| (arrived.call, arrived.at)).collect()
}

fn noticed(scenario: &Scenario, trial: &Trial) -> Option<f64> {
    let foreign = scenario.hidden.foreign?;
    let near = |share: f64| (share - foreign.share).abs() <= 0.05;
    trial
        .looks
        .iter()
        .find(|look| look.at >= foreign.from && share(&look.pools).is_some_and(near))
        .map_or(Some(f64::INFINITY), |look| Some(look.at - foreign.from))
}

fn share(pools: &[weir::limits::PoolView]) -> Option<f64> {
    pools
        .iter()
        .filter_map(|pool| pool.foreign_share)
        .max_by(f64::total_cmp)
}

/// The smallest value that `share` of all are not above; 0 of nothing.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

// === impl Span ===

impl Span<'_> {
    /// Whether what happens then is throughput that counts.
    fn counts(&self, at: f64) -> bool {
        let changes = &self.scenario.hidden.changes;
        let graceful = changes
            .iter()
            .any(|change| (change.at..change.at + GRACE).contains(&at));
        (self.from..self.scenario.seconds()).contains(&at) && !graceful
    }

    /// What steady use would have got in that time.
    fn allowed(&self, counted: Counted) -> Option<f64> {
        self.scenario.hidden.limit(counted)?;
        let steps = (self.scenario.seconds() / STEP) as u32;
        let times = (0..steps).map(|step| f64::from(step) * STEP);
        times
            .filter(|at| self.counts(*at))
            .map(|at| Some(self.scenario.hidden.allowed_per_second(counted, at)? * STEP))
            .sum()
    }
}
