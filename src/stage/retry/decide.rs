//! One decision, as a pure function: after this failure, what now?

use std::time::Duration;

use crate::{
    config,
    error::Failure,
    triage::{NextTarget, SameTarget},
};

/// Jitter added to every wait: many callers are told the same time.
const JITTER: Duration = Duration::from_millis(500);
/// The pause before the one repeat at a target while others are left.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// Repeats at a target while another usable one is left.
const REPEATS_WITH_OTHERS: u32 = 1;
/// While another usable target is left, a told wait up to this long is spent here; longer ones are
/// spent only when nobody else can answer sooner.
const PATIENCE: Duration = Duration::from_secs(5);

/// What now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The same target after this wait.
    Again(Duration),
    /// The next target, at once.
    Next,
    /// Only a target with a larger context window.
    NextLarger,
    /// The failure goes to the caller.
    Stop,
}

/// Where the loop stands.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Repeats at this target so far.
    pub repeats: u32,
    /// Attempts left, over all targets.
    pub attempts_left: u32,
    /// The target serves others, and this call in its turn: then time is the bound, and not attempts.
    pub in_turn: bool,
    /// Another usable target is left.
    pub others: bool,
    /// What weir may still spend on waiting for this call.
    pub wait_left: Duration,
    /// To the call's deadline.
    pub time_left: Duration,
    /// It is the caller's own repeat.
    pub callers_repeat: bool,
    /// Uniform in 0..1.
    pub dice: f64,
}

/// After `failure` in this `situation`.
pub fn decide(failure: &Failure, situation: &Situation, params: &config::Retry) -> Decision {
    if failure.begun {
        // A part of the upload is gone.
        return Decision::Stop;
    }
    match pause(failure, situation, params) {
        Some(pause) if fits(pause, situation) => Decision::Again(pause),
        _ => next(failure),
    }
}

/// The wait before a repeat here; `None`: no repeat.
fn pause(failure: &Failure, s: &Situation, params: &config::Retry) -> Option<Duration> {
    let verdict = &failure.verdict;
    // The last attempt belongs to whoever has not failed yet.
    let kept = s.others && s.attempts_left == 1 && next(failure) == Decision::Next;
    let spent = s.attempts_left == 0;
    if (spent && !s.in_turn) || kept {
        return None;
    }
    let backoff = || {
        let grown = params
            .base
            .saturating_mul(1 << s.repeats.min(16))
            .min(params.max);
        grown + JITTER.mul_f64(s.dice)
    };
    match verdict.policy().same_target {
        SameTarget::Never => None,
        SameTarget::AfterWait => {
            let told = verdict
                .wait
                .map_or_else(backoff, |wait| wait + jitter(wait, s.dice));
            // However often a short wait is told, it is not asked more and more often than others ask.
            let told = if spent { told.max(backoff()) } else { told };
            let too_long = s.others && (told > PATIENCE || s.repeats >= REPEATS_WITH_OTHERS);
            (!too_long).then_some(told)
        }
        SameTarget::Backoff => {
            // The caller's own repeat is the repeat.
            if s.callers_repeat || (s.others && s.repeats >= REPEATS_WITH_OTHERS) {
                return None;
            }
            let own = if s.others {
                SHORT_PAUSE + SHORT_PAUSE.mul_f64(s.dice)
            } else {
                backoff()
            };
            match verdict.wait {
                // Somebody else can answer now.
                Some(told) if s.others && told > own => None,
                Some(told) => Some(own.max(told + jitter(told, s.dice))),
                None => Some(own),
            }
        }
    }
}

/// A told wait is never undercut; what is added keeps callers that were told the same time apart.
fn jitter(told: Duration, dice: f64) -> Duration {
    JITTER
        .min(told.mul_f64(0.2) + Duration::from_millis(10))
        .mul_f64(dice)
}

fn fits(pause: Duration, s: &Situation) -> bool {
    pause <= s.wait_left && pause < s.time_left
}

fn next(failure: &Failure) -> Decision {
    match failure.verdict.policy().next_target {
        NextTarget::Never => Decision::Stop,
        NextTarget::Always | NextTarget::WhenWaitDoesNotFit => Decision::Next,
        NextTarget::LargerWindow => Decision::NextLarger,
        NextTarget::OwnKeyOnly if failure.own_key => Decision::Next,
        NextTarget::OwnKeyOnly => Decision::Stop,
    }
}
