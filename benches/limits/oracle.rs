//! Who was refused and could have gone: a run is replayed before the provider that it met.
//!
//! A call that the limiter refused is put back in its line. There it would have had the turn of the next call of its app that came
//! after it (within an app the order is that of coming; whose turn it is among apps does not depend on who stands there), or, where
//! none came, the turn after all that had come before it. At that moment the provider, with everything that it had let in by then, is
//! asked whether it would have let it in, and else after which time with nobody behind it in the way. If it could have left before
//! its time was up, it was refused unjustly.

use std::{cmp::Ordering, collections::HashMap, time::Duration};

use tokio::time::Instant;
use weir::sim::{Admitted, Ask, Meter, Used};

/// An arrival at the provider's door. Times are seconds since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Went {
    pub(crate) app: u64,
    /// When it came to the limiter; `None`: a repeat, whose turn was not its first one.
    pub(crate) came: Option<f64>,
    /// When it left the limiter.
    pub(crate) left: f64,
    pub(crate) door: f64,
    pub(crate) ask: Ask,
    /// When it was over; infinite where it never was.
    pub(crate) over: f64,
    /// What it used; `None`: it was never told.
    pub(crate) used: Option<Used>,
    pub(crate) admitted: bool,
}

/// A call that the limiter refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) app: u64,
    pub(crate) came: f64,
    /// It could have waited so long.
    pub(crate) until: f64,
    pub(crate) ask: Ask,
}

/// The provider as it was at the start.
#[derive(Debug)]
pub(crate) struct Provider<'a> {
    pub(crate) meter: Meter,
    pub(crate) began: Instant,
    pub(crate) model: &'a str,
}

/// In the order of the replay, where several things happen at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Over(usize),
    /// Before the one whose turn it takes.
    Asks(usize),
    Comes(usize),
}

/// A place in line: when it left the limiter, and when it was at the door.
#[derive(Clone, Copy, Debug)]
struct Turn {
    left: f64,
    door: f64,
}

/// When each of those `held` could have left the limiter; `None`: not in time.
pub(crate) fn replay(provider: Provider<'_>, went: &[Went], held: &[Held]) -> Vec<Option<f64>> {
    let turns = turns(went, held);
    let mut events: Vec<(f64, What)> = Vec::new();
    for (place, went) in went.iter().enumerate() {
        events.push((went.door, What::Comes(place)));
        if went.admitted && went.over.is_finite() {
            events.push((went.over, What::Over(place)));
        }
    }
    let in_time = |(place, turn): (usize, &Option<Turn>)| {
        let turn = turn.filter(|turn| turn.left <= held[place].until)?;
        Some((turn.door, What::Asks(place)))
    };
    events.extend(turns.iter().enumerate().filter_map(in_time));
    events.sort_by(|(a, one), (b, other)| a.total_cmp(b).then(one.cmp(other)));

    let Provider {
        mut meter,
        began,
        model,
    } = provider;
    let mut under_way: HashMap<usize, Admitted> = HashMap::new();
    let mut could = vec![None; held.len()];
    for (at, what) in events {
        let now = began + Duration::from_secs_f64(at);
        match what {
            What::Comes(place) => {
                // A refusal takes nothing, so that only those count which were let in.
                if went[place].admitted
                    && let Ok(admitted) = meter.admit(now, model, went[place].ask)
                {
                    under_way.insert(place, admitted);
                }
            }
            What::Over(place) => match (under_way.remove(&place), went[place].used) {
                (Some(admitted), Some(used)) => meter.settle(now, admitted, used),
                (Some(admitted), None) => meter.cancel(now, admitted),
                (None, _) => {}
            },
            What::Asks(place) => {
                let turn = turns[place].expect("only who has a turn asks");
                let wait = match meter.would_admit(now, model, held[place].ask) {
                    Ok(()) => Some(0.0),
                    Err(refusal) => refusal.wait.map(|wait| wait.as_secs_f64()),
                };
                could[place] = wait
                    .map(|wait| turn.left + wait)
                    .filter(|left| *left <= held[place].until);
            }
        }
    }
    could
}

/// The turn that each would have had.
fn turns(went: &[Went], held: &[Held]) -> Vec<Option<Turn>> {
    let mut lines: HashMap<u64, Vec<(f64, Turn)>> = HashMap::new();
    let mut all = Vec::new();
    for one in went {
        let Some(came) = one.came else { continue };
        let turn = Turn {
            left: one.left,
            door: one.door,
        };
        lines.entry(one.app).or_default().push((came, turn));
        all.push((came, turn));
    }
    let line = Line::new(all);
    let lines: HashMap<u64, Line> = lines
        .into_iter()
        .map(|(app, turns)| (app, Line::new(turns)))
        .collect();
    let turn = |held: &Held| {
        let own = lines.get(&held.app);
        if let Some(next) = own.and_then(|own| own.next(held.came)) {
            return Some(next);
        }
        // Nobody of its app came after it: after those of its app, in the order of coming.
        let before = own.and_then(|own| own.last_before(held.came));
        let next = line.next(held.came)?;
        Some(match before {
            Some(before) if before.left > next.left => before,
            _ => next,
        })
    };
    held.iter().map(turn).collect()
}

/// Turns in the order in which their calls came.
#[derive(Debug)]
struct Line {
    came: Vec<f64>,
    /// Of all that came then or later, the first turn.
    first: Vec<Turn>,
    /// Of all that came then or earlier, the last turn.
    last: Vec<Turn>,
}

// === impl Line ===

impl Line {
    fn new(mut turns: Vec<(f64, Turn)>) -> Self {
        turns.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut first: Vec<Turn> = turns.iter().map(|(_, turn)| *turn).collect();
        let mut last = first.clone();
        for place in (1..first.len()).rev() {
            first[place - 1] = of(first[place - 1], first[place], Ordering::is_lt);
        }
        for place in 1..last.len() {
            last[place] = of(last[place], last[place - 1], Ordering::is_gt);
        }
        Self {
            came: turns.into_iter().map(|(came, _)| came).collect(),
            first,
            last,
        }
    }

    /// The first turn of somebody who came later.
    fn next(&self, came: f64) -> Option<Turn> {
        let place = self.came.partition_point(|other| *other <= came);
        self.first.get(place).copied()
    }

    fn last_before(&self, came: f64) -> Option<Turn> {
        let place = self.came.partition_point(|other| *other < came);
        self.last.get(place.checked_sub(1)?).copied()
    }
}

fn of(one: Turn, other: Turn, is: fn(Ordering) -> bool) -> Turn {
    if is(one.left.total_cmp(&other.left)) {
        one
    } else {
        other
    }
}
