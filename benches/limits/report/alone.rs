//! Rows of the scenarios: one limiter, one provider.

use super::{mean, percent, word};
use crate::{contender::Contender, figures::Figures, scenario::Scenario};

/// Seconds in which foreign use must be seen.
const NOTICE: f64 = 120.0;

pub(super) const COLUMNS: &[(&str, usize)] = &[
    ("scenario", 18),
    ("limiter", 10),
    ("used %", 6),
    ("met 429 %", 9),
    ("wait p50 s", 10),
    ("p95 s", 6),
    ("longest s", 9),
    ("held back %", 11),
    ("in vain s", 9),
    ("unjust %", 8),
    ("peak %", 6),
    ("refused %", 9),
    ("others", 31),
    ("verdict", 7),
];

pub(super) fn cells(scenario: &Scenario, contender: Contender, figures: &[Figures]) -> Vec<String> {
    let of = |value: fn(&Figures) -> f64| mean(figures.iter().map(value));
    let longest = figures.iter().map(|f| f.longest).fold(0.0, f64::max);
    vec![
        scenario.name.to_owned(),
        contender.as_str().to_owned(),
        percent(of(|f| f.used), 1),
        percent(of(|f| f.met), 2),
        format!("{:.2}", of(|f| f.wait_50)),
        format!("{:.2}", of(|f| f.wait_95)),
        format!("{longest:.1}"),
        percent(of(|f| f.held_back), 1),
        format!("{:.1}", of(|f| f.in_vain)),
        percent(of(|f| f.unjust), 2),
        percent(figures.iter().map(|f| f.peak).fold(0.0, f64::max), 0),
        percent(of(|f| f.refused), 1),
        others(contender, figures),
        verdict(scenario, contender, figures).to_owned(),
    ]
}

/// The worst seed decides.
pub(super) fn verdict(
    scenario: &Scenario,
    contender: Contender,
    figures: &[Figures],
) -> &'static str {
    let Some(goal) = scenario.goal.filter(|_| contender == Contender::Weir) else {
        return "";
    };
    let noticed = |f: &Figures| f.noticed.is_none_or(|after| after <= NOTICE);
    word(
        figures
            .iter()
            .all(|f| f.used >= goal.used && f.met <= goal.met && noticed(f)),
    )
}

/// What others got of what they asked for; the share that weir estimates, by the slowest seed.
fn others(contender: Contender, figures: &[Figures]) -> String {
    let mut got = figures.iter().filter_map(|f| f.others).peekable();
    if got.peek().is_none() {
        return String::new();
    }
    let got = format!("{:.0} % let in", mean(got) * 100.0);
    let noticed = figures
        .iter()
        .filter_map(|f| f.noticed)
        .max_by(f64::total_cmp);
    let share = mean(figures.iter().filter_map(|f| f.share)) * 100.0;
    match noticed {
        Some(after) if contender == Contender::Weir && after.is_finite() => {
            format!("{got}; {share:.0} % seen after {after:.0} s")
        }
        Some(_) if contender == Contender::Weir => format!("{got}; unseen"),
        _ => got,
    }
}
