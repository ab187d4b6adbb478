//! What one failure means for the circuits an attempt has passed: pure, from class and scope.

use std::time::{Duration, SystemTime};

use super::circuit::{Outcome, Pace};
use crate::{
    call::Target,
    config::{self, UpstreamKey},
    error::Failure,
    triage::{CircuitEffect, Class, Scope},
};

/// No told reset is believed for longer: a probe a day costs nothing.
const LONGEST_RESET: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a gate reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// This key at this target.
    KeyAtTarget,
    Key,
    Project,
    Organization,
}

/// A gate to open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Opens {
    pub(super) reach: Reach,
    pub(super) pace: Pace,
    pub(super) told: Option<Duration>,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effect {
    /// For the target's circuit.
    pub(super) target: Outcome,
    /// For the gates that the attempt has passed.
    pub(super) gates: Outcome,
    /// For a gate of its own.
    pub(super) opens: Option<Opens>,
}

const NEUTRAL: Effect = Effect {
    target: Outcome::Neutral,
    gates: Outcome::Neutral,
    opens: None,
};

/// Of a failure of `class` at `target`; `failure` is missing for a stream that broke after it had begun.
pub(super) fn effect(
    class: Class,
    failure: Option<&Failure>,
    target: &Target,
    rules: &config::Breaker,
) -> Effect {
    let own_key = failure.map_or(target.upstream.key != UpstreamKey::Passthrough, |f| {
        f.own_key
    });
    let told = failure.and_then(told);
    match class.policy().circuit {
        CircuitEffect::Neutral => NEUTRAL,
        CircuitEffect::Counts => Effect {
            target: Outcome::Failure,
            ..NEUTRAL
        },
        CircuitEffect::OpensScope { .. } => match failure.map_or(Scope::Key, |f| f.verdict.scope) {
            // Too dear for what is left: the next, smaller request may do.
            Scope::Request => NEUTRAL,
            // Spend limits have a date, but a human may end them sooner: it is probed as all of them are.
            Scope::Model => gate(Reach::KeyAtTarget, Pace::human(rules), None),
            Scope::Key | Scope::Provider => gate(Reach::Key, Pace::human(rules), None),
            Scope::Project => gate(Reach::Project, Pace::human(rules), None),
            Scope::Organization | Scope::Account => {
                gate(Reach::Organization, Pace::human(rules), None)
            }
        },
        CircuitEffect::OpensKey if own_key => gate(Reach::Key, Pace::human(rules), None),
        // A stranger's bad key says nothing about anybody else.
        CircuitEffect::OpensKey => NEUTRAL,
        CircuitEffect::OpensTargetUntilReset | CircuitEffect::OpensTarget
            if !is_one_model(target) =>
        {
            NEUTRAL
        }
        CircuitEffect::OpensTargetUntilReset if own_key => Effect {
            target: Outcome::Fatal {
                pace: Pace::trouble(rules),
                told,
            },
            ..NEUTRAL
        },
        // The day of one caller's account is over, not that of the others.
        CircuitEffect::OpensTargetUntilReset => {
            gate(Reach::KeyAtTarget, Pace::trouble(rules), told)
        }
        CircuitEffect::OpensTarget if own_key => Effect {
            target: Outcome::Fatal {
                pace: Pace::human(rules),
                told: None,
            },
            ..NEUTRAL
        },
        // Another caller may be allowed.
        CircuitEffect::OpensTarget => NEUTRAL,
    }
}

fn gate(reach: Reach, pace: Pace, told: Option<Duration>) -> Effect {
    Effect {
        gates: Outcome::Fatal { pace, told },
        opens: Some(Opens { reach, pace, told }),
        ..NEUTRAL
    }
}

/// Whether the target's circuit stands for one model. Files, batches and model lists share a target without a model,
/// and beyond some number models share one: what is said of one of these must not close all.
fn is_one_model(target: &Target) -> bool {
    !target.model.is_empty() && (target.label == target.model)
}

/// Time to the told reset.
fn told(failure: &Failure) -> Option<Duration> {
    let verdict = &failure.verdict;
    let reset = verdict
        .reset_at
        .and_then(|at| at.duration_since(SystemTime::now()).ok());
    // The later of the two: never undercut.
    verdict.wait.max(reset).map(|told| told.min(LONGEST_RESET))
}
