//! How it went: attempts and failures in equal steps of time.

use serde::{Deserialize, Serialize};

use super::{group::Group, window::utc};
use crate::failures::Minute;

/// Rows at most.
const ROWS: u32 = 48;
/// Steps that divide an hour, in minutes.
const STEPS: [u32; 6] = [1, 5, 10, 15, 30, 60];

/// Attempts and failures of all upstreams of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Length of a step.
    pub minutes: u32,
    /// From the first step with a call to the last.
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its begin: RFC 3339, UTC.
    pub at: String,
    pub attempts: u64,
    /// Not callers' own mistakes.
    pub failures: u64,
}

// === impl Timeline ===

impl Timeline {
    pub(super) fn of(groups: &[Group<'_>], from: Minute, to: Minute) -> Self {
        let fits = |step: &&u32| (to.0 - from.0) / **step < ROWS;
        let minutes = STEPS.iter().find(fits).copied().unwrap_or(60);
        let first = from.0 / minutes;
        let mut rows: Vec<_> = (first..=to.0 / minutes)
            .map(|step| Row {
                at: utc(Minute(step * minutes).start()),
                attempts: 0,
                failures: 0,
            })
            .collect();
        let place = |minute: Minute| (minute.0 / minutes).checked_sub(first).map(|n| n as usize);
        for group in groups {
            for (minute, count) in group.good.iter().flat_map(|good| &good.minutes) {
                if let Some(row) = place(*minute).and_then(|at| rows.get_mut(at)) {
                    row.attempts += u64::from(*count);
                }
            }
            for bad in &group.bad {
                for slot in &bad.slots {
                    let Some(row) = place(slot.minute).and_then(|at| rows.get_mut(at)) else {
                        continue;
                    };
                    let count = u64::from(slot.count);
                    row.attempts += if bad.after_content { 0 } else { count };
                    row.failures += if bad.class.is_callers_mistake() {
                        0
                    } else {
                        count
                    };
                }
            }
        }
        let is_some = |row: &Row| row.attempts + row.failures > 0;
        let end = rows.iter().rposition(is_some).map_or(0, |at| at + 1);
        rows.truncate(end);
        let begin = rows.iter().position(is_some).unwrap_or(0);
        rows.drain(..begin);
        Self { minutes, rows }
    }
}
