//! What a run comes to, in numbers.

use std::collections::{HashMap, HashSet};

use weir::sim::{Ask, LimitKind, Used};

use crate::{
    calls::MODEL,
    demand::Script,
    driver::{How, Trial},
    hidden::{KINDS, MINUTE},
    oracle::{self, Held, Provider, Went},
    scenario::Scenario,
    world::{Arrived, Record},
};

/// Replies that anybody may learn from before it counts.
const LESSONS: usize = 20;
/// Seconds after a change of the limits in which it may go unused.
const GRACE: f64 = 60.0;
/// Seconds between the points at which the allowed rate is looked up.
const STEP: f64 = 0.1;
/// Limits of a minute.
const MINUTES: [LimitKind; 4] = [
    LimitKind::Requests,
    LimitKind::Tokens,
    LimitKind::InputTokens,
    LimitKind::OutputTokens,
];

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
    /// The share that was estimated, where there was any: the mean of the last two minutes.
    pub(crate) share: Option<f64>,
    /// The most that was taken in any minute, of the limit in force at its highest; others' part left out.
    pub(crate) peak: f64,
    /// Calls held back that the provider would have let in before they would have had to go: of all.
    pub(crate) unjust: f64,
    /// Of the waits of calls that were held back in the end, in seconds: half of them were shorter.
    pub(crate) in_vain: f64,
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
            // What the last process has learnt, the next one knows.
            from: scenario.restart.or(learnt).unwrap_or(f64::INFINITY),
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
            others: match (
                trial.record.tally.foreign_admitted,
                trial.record.tally.foreign_refused,
            ) {
                (0, 0) => None,
                (admitted, refused) => Some(admitted as f64 / (admitted + refused) as f64),
            },
            noticed: noticed(scenario, trial),
            share: late_share(scenario, trial),
            peak: peak(scenario, &trial.record),
            unjust: unjust(scenario, trial),
            in_vain: in_vain(trial),
        }
    }
}

/// Admitted, of what would have been allowed: the larger share of all limits, as the one that binds leaves the others unused.
fn used(span: &Span<'_>, trial: &Trial) -> f64 {
    let log = &trial.record.log;
    let share = |kind| {
        let run = span.scenario.seconds();
        let admitted = log.iter().filter(|arrived| arrived.admitted);
        if let Some(whole) = span.scenario.hidden.of_days(kind, run) {
            let within = admitted.filter(|arrived| arrived.at < run);
            return Some(within.map(|arrived| arrived.took(kind)).sum::<f64>() / whole);
        }
        let allowed = span.allowed(kind)?;
        let taken: f64 = match kind {
            LimitKind::Concurrency => admitted.map(|arrived| span.within(arrived)).sum(),
            _ => admitted
                .filter(|arrived| span.counts(arrived.at))
                .map(|arrived| arrived.took(kind))
                .sum(),
        };
        Some(taken / allowed)
    };
    KINDS.into_iter().filter_map(share).fold(0.0, f64::max)
}

/// The most of any limit of a minute within any minute.
fn peak(scenario: &Scenario, record: &Record) -> f64 {
    let most = |kind| {
        let limit = scenario.hidden.limit(kind)? * scenario.hidden.highest();
        let admitted = record.log.iter().filter(|arrived| arrived.admitted);
        let taken: Vec<(f64, f64)> = admitted
            .map(|arrived| (arrived.at, arrived.took(kind)))
            .collect();
        let (mut first, mut sum, mut most) = (0, 0.0, 0.0_f64);
        for (at, amount) in &taken {
            sum += amount;
            while taken[first].0 + MINUTE <= *at {
                sum -= taken[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        Some(most / limit)
    };
    MINUTES.into_iter().filter_map(most).fold(0.0, f64::max)
}

/// Of all calls, those that were held back and would have been let in before they would have had to go.
fn unjust(scenario: &Scenario, trial: &Trial) -> f64 {
    let came: HashMap<u64, f64> = trial
        .ended
        .iter()
        .map(|ended| (ended.call, ended.arrived))
        .collect();
    let mut repeats = HashSet::new();
    let went = trial.record.log.iter().map(|arrived| Went {
        app: arrived.script.app,
        came: came
            .get(&arrived.call)
            .filter(|_| repeats.insert(arrived.call))
            .copied(),
        left: arrived.at - arrived.script.way_ms as f64 / 1_000.0,
        door: arrived.at,
        ask: ask(&arrived.script),
        over: arrived.over,
        used: arrived.settled.then_some(Used {
            input: arrived.script.input,
            output: arrived.script.output,
        }),
        admitted: arrived.admitted,
    });
    let held = trial
        .ended
        .iter()
        .filter(|ended| ended.how == How::HeldBack);
    let held: Vec<Held> = held
        .map(|ended| Held {
            app: ended.app,
            came: ended.arrived,
            until: ended.arrived + scenario.max_wait,
            ask: ask(&ended.script),
        })
        .collect();
    let began = tokio::time::Instant::now();
    let provider = Provider {
        meter: scenario.hidden.meter(trial.seed, began),
        began,
        model: MODEL,
    };
    let could = oracle::replay(provider, &went.collect::<Vec<_>>(), &held);
    could.iter().flatten().count() as f64 / trial.ended.len().max(1) as f64
}

fn ask(script: &Script) -> Ask {
    Ask::text(script.input, script.max_output)
}

/// Of the calls that were held back, how long half of them had waited for that.
fn in_vain(trial: &Trial) -> f64 {
    let held = trial
        .ended
        .iter()
        .filter(|ended| ended.how == How::HeldBack);
    let mut waits: Vec<f64> = held.map(|ended| ended.at - ended.arrived).collect();
    waits.sort_by(f64::total_cmp);
    percentile(&waits, 0.5)
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
    let (truth, from) = scenario.hidden.foreign()?;
    let near = |share: f64| (share - truth).abs() <= 0.05;
    trial
        .looks
        .iter()
        .find(|look| look.at >= from && share(&look.pools).is_some_and(near))
        .map_or(Some(f64::INFINITY), |look| Some(look.at - from))
}

fn late_share(scenario: &Scenario, trial: &Trial) -> Option<f64> {
    let late = trial.looks.iter();
    let late = late.filter(|look| look.at >= scenario.seconds() - 120.0);
    let shares: Vec<f64> = late.filter_map(|look| share(&look.pools)).collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
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
        let tiers = &self.scenario.hidden.tiers;
        let graceful = tiers
            .iter()
            .any(|tier| (tier.at..tier.at + GRACE).contains(&at));
        (self.from..self.scenario.seconds()).contains(&at) && !graceful
    }

    /// Seconds of a call under way that count.
    fn within(&self, arrived: &Arrived) -> f64 {
        let over = arrived.over.min(self.scenario.seconds());
        (over - arrived.at.max(self.from)).max(0.0)
    }

    /// What steady use would have got in that time.
    fn allowed(&self, kind: LimitKind) -> Option<f64> {
        self.scenario.hidden.limit(kind)?;
        let steps = (self.scenario.seconds() / STEP) as u32;
        let times = (0..steps).map(|step| f64::from(step) * STEP);
        times
            .filter(|at| self.counts(*at))
            .map(|at| Some(self.scenario.hidden.allowed_per_second(kind, at)? * STEP))
            .sum()
    }
}
