//! Rows of the crowds: many apps, one provider.

use super::{mean, percent, word};
use crate::{
    contender::Contender,
    crowd::{Crowd, NO_WAIT, Shares},
};

pub(super) const COLUMNS: &[(&str, usize)] = &[
    ("crowd", 18),
    ("limiter", 10),
    ("Jain", 5),
    ("intruder's part %", 17),
    ("others' wait p95 s, alone", 25),
    ("with", 6),
    ("others' answer p95 s, alone", 27),
    ("with", 6),
    ("verdict", 7),
];

pub(super) fn cells(crowd: &Crowd, contender: Contender, shares: &[Shares]) -> Vec<String> {
    let of = |value: fn(&Shares) -> f64| mean(shares.iter().map(value));
    let seconds = |value| format!("{:.2}", of(value));
    let alone = |value| {
        if crowd.intruder.is_some() {
            seconds(value)
        } else {
            String::new()
        }
    };
    vec![
        crowd.name.to_owned(),
        contender.as_str().to_owned(),
        format!("{:.3}", of(|s| s.jain)),
        crowd
            .intruder
            .map_or_else(String::new, |_| percent(of(|s| s.intruder), 1)),
        alone(|s| s.wait[0]),
        seconds(|s| s.wait[1]),
        alone(|s| s.time[0]),
        seconds(|s| s.time[1]),
        verdict(crowd, contender, shares).to_owned(),
    ]
}

/// The worst seed decides.
pub(super) fn verdict(crowd: &Crowd, contender: Contender, shares: &[Shares]) -> &'static str {
    let goal = crowd.goal;
    let judged = goal.jain.is_some() || goal.wait.is_some() || goal.time.is_some();
    if contender != Contender::Weir || !judged {
        return "";
    }
    let within = |[alone, with]: [f64; 2], most: Option<f64>| {
        most.is_none_or(|most| with <= NO_WAIT || with <= alone * most)
    };
    let good = |s: &Shares| {
        goal.jain.is_none_or(|least| s.jain >= least)
            && within(s.wait, goal.wait)
            && within(s.time, goal.time)
    };
    word(shares.iter().all(good))
}
