//! One call's way through its targets: which comes next, what a repeat may cost, and how long is left.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::Instant;
use tower::retry::budget::Budget;

use super::{
    Decision, Situation, decide,
    layer::Shared,
    order::{Free, by_wait},
};
use crate::{
    call::{Attempt, Call, Plan, Target},
    config::Prefer,
    error::Error,
    models,
    triage::Class,
};

/// Where one call's loop stands.
pub(super) struct Loop<'a> {
    pub(super) plan: &'a Plan,
    /// The plan's, in the order in which they are turned to.
    pub(super) targets: Cow<'a, [Arc<Target>]>,
    pub(super) shared: &'a Shared,
    /// What the caller gets when nothing else comes.
    pub(super) error: Option<Error>,
    /// Targets below this index have had their turn.
    pub(super) turned: usize,
    /// The target that is coming back soonest, and when to ask again.
    hold: Option<(usize, Duration)>,
    /// See [`GaveUp::held_for`].
    pub(super) held_for: Option<Duration>,
}

/// Refused for room: who is, comes in his turn at a target that serves.
pub(super) fn is_in_turn(class: Class) -> bool {
    class.is_rate_limit() && class != Class::RateLimitedRamp
}

// === impl Loop ===

impl<'a> Loop<'a> {
    pub(super) fn new(plan: &'a Plan, shared: &'a Shared) -> Self {
        let mut begins = Self {
            plan,
            targets: Cow::Borrowed(plan.targets()),
            shared,
            error: None,
            turned: 0,
            hold: None,
            held_for: None,
        };
        begins.arrange();
        begins
    }

    pub(super) fn call(&self) -> &Call {
        &self.plan.call
    }

    /// What is left of the longest wait; limits have taken their part of it.
    fn wait_left(&self) -> Duration {
        let waited = self.call().meter.waited();
        self.shared.params.max_wait.saturating_sub(waited)
    }

    /// Where the route wants it, those who have not had their turn in the order of their waits.
    fn arrange(&mut self) {
        if self.plan.route.prefer == Prefer::Order || self.targets.len() < self.turned + 2 {
            return;
        }
        let (plan, shared, turned) = (self.plan, self.shared, self.turned);
        by_wait(&mut self.targets.to_mut()[turned..], |target| Free {
            usable: shared.circuits.is_available(target, &plan.call),
            wait: shared.limits.expected_wait(&plan.call, target),
        });
    }

    pub(super) fn attempt(&mut self, index: usize) -> Attempt {
        let last = !self.others(index);
        if index >= self.turned {
            self.turned = index + 1;
            if self.call().sdk.retry_count == 0 {
                self.targets[index].fruitless.call();
            }
        }
        Attempt {
            call: Arc::clone(&self.plan.call),
            target: Arc::clone(&self.targets[index]),
            max_wait: self.wait_left(),
            last,
        }
    }

    /// Whether a target after `index` could take the call now.
    fn others(&self, index: usize) -> bool {
        let rest = &self.targets[self.turned.max(index + 1)..];
        rest.iter()
            .any(|target| self.shared.circuits.is_available(target, self.call()))
    }

    pub(super) fn after(&self, index: usize, repeats: u32, error: &Error) -> Decision {
        let Error::Upstream(failure) = error else {
            return self.instead(index, repeats, error);
        };
        let class = failure.verdict.class;
        let open = self.is_open(index, error);
        let situation = self.situation(index, repeats);
        let situation = Situation {
            in_turn: open || (is_in_turn(class) && self.serves(index)),
            ..situation
        };
        match decide(failure, &situation, &self.shared.params) {
            // The budgets are for repeats; moving to the next target is not one.
            Decision::Again(_) if !open && !self.may_repeat(index, class) => {
                self.instead(index, repeats, error)
            }
            other => other,
        }
    }

    /// The same without a repeat.
    pub(super) fn instead(&self, index: usize, repeats: u32, error: &Error) -> Decision {
        let failure = match error {
            Error::Upstream(failure) => failure,
            // Nobody was asked: the next target costs nothing. Or it was asked and took all of its share of the time.
            Error::CircuitOpen(_) | Error::Limit(_) | Error::Deadline(_) => return Decision::Next,
            _ => return Decision::Stop,
        };
        let situation = Situation {
            attempts_left: 0,
            ..self.situation(index, repeats)
        };
        decide(failure, &situation, &self.shared.params)
    }

    fn situation(&self, index: usize, repeats: u32) -> Situation {
        let call = self.call();
        let most = self.shared.params.max_attempts.get();
        Situation {
            repeats,
            attempts_left: most.saturating_sub(call.meter.attempts()),
            in_turn: false,
            others: self.others(index),
            wait_left: self.wait_left(),
            time_left: call.deadline.left(Instant::now()),
            callers_repeat: call.sdk.retry_count > 0,
            dice: fastrand::f64(),
        }
    }

    /// The target has answered somebody lately.
    fn serves(&self, index: usize) -> bool {
        self.targets[index].fruitless.serves(Instant::now())
    }

    /// Refused for room by a target that has answered nobody yet, while others are under way there: whether it has let them in is known
    /// after the pause. The first of many calls are refused long before the first of them is answered; who goes on to refuse everybody is
    /// not waited for.
    pub(super) fn is_open(&self, index: usize, error: &Error) -> bool {
        let target = &self.targets[index];
        let asked = || {
            let (any, lets_in) = self.shared.limits.under_way(self.call(), target);
            any && (lets_in || target.fruitless.is_new(Instant::now()))
        };
        error.failure_class().is_some_and(is_in_turn) && !self.serves(index) && asked()
    }

    /// After the pause: whether it has answered meanwhile or let somebody in. Else the repeat is one like any other.
    pub(super) fn bears(&self, index: usize, class: Option<Class>) -> bool {
        let target = &self.targets[index];
        let lets_in = || self.shared.limits.under_way(self.call(), target).1;
        self.serves(index) || lets_in() || class.is_some_and(|class| self.may_repeat(index, class))
    }

    fn may_repeat(&self, index: usize, class: Class) -> bool {
        // The limit's queue lets it go again at the provider's own pace: that is no storm, and refusing would help nobody.
        if is_in_turn(class) && self.serves(index) {
            return true;
        }
        let fruitless = &self.targets[index].fruitless;
        if !fruitless.repeat(self.shared.params.budget) {
            return false;
        }
        let paid = self.shared.budget.withdraw();
        if !paid {
            fruitless.give_back();
        }
        paid
    }

    pub(super) async fn wait(&mut self, error: Error, pause: Duration) {
        self.keep(error);
        tokio::time::sleep(pause).await;
        self.call().meter.wait(pause);
    }

    /// Remembers the target that a call may wait for.
    pub(super) fn refused(&mut self, index: usize, error: &Error) {
        if let Error::CircuitOpen(open) = error
            && let Some(hold) = open.hold
            && self.hold.is_none_or(|(_, soonest)| hold < soonest)
        {
            self.hold = Some((index, hold));
        }
    }

    /// Nobody else can take the call: the target to wait for and how long, if one is coming back and time allows it. Up to
    /// twice the time to its turn, so that those who wait together do not ask together.
    pub(super) fn held(&mut self) -> Option<(usize, Duration)> {
        let (index, turn) = self.hold.take()?;
        let pause = turn.mul_f64(1.0 + fastrand::f64());
        let fits = pause <= self.wait_left() && pause < self.call().deadline.left(Instant::now());
        let attempts_left = self.call().meter.attempts() < self.shared.params.max_attempts.get();
        (fits && attempts_left).then_some((index, pause))
    }

    /// A fallback says 404 to a path that the first target knows.
    pub(super) fn lacks_endpoint(&self, error: &Error) -> bool {
        self.error.is_some() && error.failure_class() == Some(Class::NotFound)
    }

    /// The next target that `fits`, if attempts and time are left.
    pub(super) fn following(
        &mut self,
        index: usize,
        error: &Error,
        fits: impl Fn(&Target) -> bool,
    ) -> Option<usize> {
        let call = self.call();
        if call.meter.attempts() >= self.shared.params.max_attempts.get()
            || call.deadline.left(Instant::now()).is_zero()
        {
            return None;
        }
        self.arrange();
        let targets = &self.targets;
        let next = (self.turned.max(index + 1)..targets.len()).find(|i| fits(&targets[*i]))?;
        self.shared
            .metrics
            .fallback(&targets[index], &targets[next], error.class());
        self.call().meter.moved();
        Some(next)
    }

    /// The next target whose context window is larger than that of `index`.
    pub(super) fn following_larger(&mut self, index: usize, error: &Error) -> Option<usize> {
        let window = models::context_window(&self.targets[index].model)?;
        let larger = |target: &Target| {
            models::context_window(&target.model).is_some_and(|other| other > window)
        };
        self.following(index, error, larger)
    }
}
