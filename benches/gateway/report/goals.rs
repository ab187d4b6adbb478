//! Whether what was measured is good enough.

use super::{Metric, Report};
use crate::args::{Args, Goals, Group};
use crate::gateway::BARE;
use crate::measure::DIRECT;

/// One line for each goal that is missed or, though asked for, was not measured.
///
/// nginx is there to look at; the goals are not its own.
pub(crate) fn missed(report: &Report, args: &Args) -> Vec<String> {
    let held_to_them = |name: &&String| ![BARE, DIRECT, "nginx"].contains(&name.as_str());
    let mut missed = Vec::new();
    for name in report.names.iter().filter(held_to_them) {
        for (metric, bound, as_ratio) in bounds(&args.goals) {
            let Some(bound) = bound.filter(|_| args.wants(Group::from(metric))) else {
                continue;
            };
            let (found, unit) = match as_ratio {
                true => (report.ratio(metric, name), "x the bare proxy's"),
                false => (report.value(metric, name), "at most"),
            };
            let label = metric.label();
            match found {
                Some(found) if found <= bound => {}
                Some(found) => missed.push(format!(
                    "{name}: {label}: {found:.2}, not {bound:.2} ({unit})"
                )),
                None => missed.push(format!("{name}: {label}: not measured")),
            }
        }
    }
    missed
}

/// What each goal bounds, and whether as a multiple of the bare proxy's.
fn bounds(goals: &Goals) -> [(Metric, Option<f64>, bool); 7] {
    [
        (
            Metric::CallCpu,
            goals.bound(goals.max_ratio_call, 2.0),
            true,
        ),
        (
            Metric::EventCpu,
            goals.bound(goals.max_ratio_stream, 2.0),
            true,
        ),
        (
            Metric::EventCpuAtOnce,
            goals.bound(goals.max_ratio_stream, 2.0),
            true,
        ),
        (Metric::HitCpu, goals.bound(goals.max_ratio_hit, 1.2), true),
        (
            Metric::IdleMemory,
            goals.bound(goals.max_idle_mb, 20.0),
            false,
        ),
        (
            Metric::StreamMemory,
            goals.bound(goals.max_stream_kb, 60.0),
            false,
        ),
        (
            Metric::StartUp,
            goals.bound(goals.max_start_ms, 50.0),
            false,
        ),
    ]
}
