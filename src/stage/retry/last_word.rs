//! What the caller is told when no target answered, and whether it is asked back.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    GaveUp,
    order::is_sooner,
    turns::{Loop, is_in_turn},
};
use crate::{
    call::Target,
    error::Error,
    triage::{Class, NextTarget},
};

/// Where nobody tells when there will be room, a caller is not told less than this.
const LEAST_ESTIMATE: Duration = Duration::from_secs(1);

impl Loop<'_> {
    /// Remembers what to tell the caller. A provider's own failure in this call says more than a circuit that was open.
    /// A fallback that does not take the call as it is (another model, another set of endpoints, a key of ours that is
    /// wrong) says less than what made it necessary: the app would look for a mistake in its request.
    pub(super) fn keep(&mut self, error: Error) {
        if let Some(class) = error.failure_class() {
            self.call().meter.failed(class);
        }
        let replaces = match (&self.error, &error) {
            (None, _) => true,
            (Some(Error::Upstream(_)), Error::Upstream(new)) => {
                let class = new.verdict.class;
                let ours =
                    new.own_key && new.verdict.policy().next_target == NextTarget::OwnKeyOnly;
                !(ours
                    || class.is_callers_mistake()
                    || matches!(class, Class::ModelNotFound | Class::RoutingNoProvider))
            }
            (Some(Error::Upstream(old)), Error::Limit(new)) => {
                if old.verdict.class.is_rate_limit() && old.target.id == new.target.id {
                    self.held_for = new.retry_after;
                }
                false
            }
            (Some(Error::Upstream(_)), _) => false,
            // The last word on time.
            (Some(_), Error::Deadline(_)) => true,
            (Some(_), Error::Upstream(_)) => true,
            // Nobody was asked: what tells the caller to come back soonest is the truest word.
            (Some(old @ (Error::Limit(_) | Error::CircuitOpen(_))), Error::Limit(_))
            | (Some(old @ Error::Limit(_)), Error::CircuitOpen(_)) => is_sooner(&error, old),
            // What opened it since is the newer word.
            (Some(Error::CircuitOpen(old)), Error::CircuitOpen(new)) => {
                old.target.id == new.target.id
            }
            // Of two circuits the first target's: it is the provider that the caller meant.
            (Some(_), _) => false,
        };
        if replaces {
            (self.error, self.held_for) = (Some(error), None);
        }
    }

    /// Refused for room without a word on when there will be some, by a target that serves: our own estimate.
    fn estimate(&self, last: &Error) -> Option<Duration> {
        let Error::Upstream(failure) = last else {
            return None;
        };
        let serves = || failure.target.fruitless.serves(Instant::now());
        if !is_in_turn(failure.verdict.class) || failure.verdict.wait.is_some() || !serves() {
            return None;
        }
        let expected = |target| self.shared.limits.expected_wait(self.call(), target);
        Some(expected(&failure.target)?.max(LEAST_ESTIMATE))
    }

    pub(super) fn gave_up(mut self) -> Error {
        let last = self
            .error
            .take()
            .expect("the loop runs at least once and ends with an error");
        self.held_for = self.held_for.or_else(|| self.estimate(&last));
        Error::Retry(Arc::new(GaveUp {
            may_return: self.held_for.is_some() || self.may_return(&last),
            held_for: self.held_for,
            last,
            route: Arc::clone(&self.plan.route.name),
        }))
    }

    /// Whether all of the SDK's waits, if each is like this one, fit into the time that it gives one call.
    fn is_patient(&self, wait: Duration) -> bool {
        let call = self.call();
        let given = call.deadline.left(call.arrived);
        wait.saturating_mul(call.sdk.retry_count.saturating_add(1)) < given
    }

    /// Whether an invitation of the caller is within what the target bears. A limit that serves somebody lets everybody
    /// come back after the told time; one that has answered nobody for as long as it told is as good as an outage.
    fn may_return(&self, last: &Error) -> bool {
        let asked = match last {
            Error::Upstream(failure) => &failure.target,
            Error::Deadline(passed) => &passed.target,
            // Nobody was asked. But a caller who was sent away before, and would be again, has an end to his patience.
            Error::CircuitOpen(open) => return self.is_patient(open.retry_after),
            _ => return true,
        };
        let told = last.retry_after().unwrap_or_default();
        !last.wants_caller_back()
            || asked.fruitless.answered_within(Instant::now(), told)
            || self.bear_another(matches!(last, Error::Deadline(_)))
    }

    /// Who comes back turns to all of them again, but for those whose circuit is open: each must bear it.
    fn bear_another(&self, silent: bool) -> bool {
        let share = self.shared.params.budget;
        let turned = self.targets[..self.turned].iter();
        let usable = |target: &&Arc<Target>| self.shared.circuits.is_available(target, self.call());
        let mut charged = Vec::with_capacity(self.turned);
        for target in turned.filter(usable) {
            let borne = match silent {
                true => target.fruitless.repeat_after_silence(share),
                false => target.fruitless.repeat(share),
            };
            if !borne {
                charged
                    .iter()
                    .for_each(|target: &&Arc<Target>| target.fruitless.give_back());
                return false;
            }
            charged.push(target);
        }
        true
    }
}
