//! The layer: carries decisions out.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower::{
    Layer, Service,
    retry::budget::{Budget, TpsBudget},
};

use super::{
    Decision, GaveUp, Situation, decide,
    order::{Free, by_wait, is_sooner},
};
use crate::{
    call::{Attempt, Call, Plan, Reply, Target},
    config::{self, Prefer},
    error::Error,
    models,
    stage::{Answering, breaker::Circuits, limit::Limits},
    telemetry::Metrics,
    triage::{Class, NextTarget},
};

/// How long the budget remembers calls.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Retries allowed each second whatever the traffic: a sidecar with three calls a minute may retry too.
const BUDGET_FLOOR: u32 = 1;

/// Where nobody tells when there will be room, a caller is not told less than this.
const LEAST_ESTIMATE: Duration = Duration::from_secs(1);

/// Resolved from `[retry]`.
pub type Params = config::Retry;

/// What all workers share.
pub struct Shared {
    params: Params,
    budget: TpsBudget,
    circuits: Arc<Circuits>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Debug)]
pub struct RetryLayer(Arc<Shared>);

#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// Where one call's loop stands.
struct Loop<'a> {
    plan: &'a Plan,
    /// The plan's, in the order in which they are turned to.
    targets: Cow<'a, [Arc<Target>]>,
    shared: &'a Shared,
    /// What the caller gets when nothing else comes.
    error: Option<Error>,
    /// Targets below this index have had their turn.
    turned: usize,
    /// The target that is coming back soonest, and when to ask again.
    hold: Option<(usize, Duration)>,
    /// See [`GaveUp::held_for`].
    held_for: Option<Duration>,
}

/// Refused for room: who is, comes in his turn at a target that serves.
fn is_in_turn(class: Class) -> bool {
    class.is_rate_limit() && class != Class::RateLimitedRamp
}

// === impl Shared ===

impl Shared {
    pub fn new(
        params: Params,
        circuits: Arc<Circuits>,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let budget = TpsBudget::new(BUDGET_WINDOW, BUDGET_FLOOR, params.budget);
        Self {
            params,
            budget,
            circuits,
            limits,
            metrics,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

// === impl RetryLayer ===

impl RetryLayer {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

// === impl Retry ===

impl<S> Service<Plan> for Retry<S>
where
    S: Service<Attempt, Response = Reply, Error = Error, Future: Send> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, plan: Plan) -> Answering {
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { run(inner, &plan, &shared).await })
    }
}

async fn run<S>(mut inner: S, plan: &Plan, shared: &Shared) -> Result<Reply, Error>
where
    S: Service<Attempt, Response = Reply, Error = Error>,
{
    shared.budget.deposit();
    if plan.call.sdk.retry_count > 0 {
        shared.metrics.sdk_retries.inc();
        // A repeat is a repeat, whoever makes it.
        let _ = shared.budget.withdraw();
    }
    let mut state = Loop {
        plan,
        targets: Cow::Borrowed(plan.targets()),
        shared,
        error: None,
        turned: 0,
        hold: None,
        held_for: None,
    };
    state.arrange();
    let mut at = Some(0);
    let mut repeats = 0;
    while let Some(index) = at {
        let attempt = state.attempt(index);
        std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
        let error = match inner.call(attempt).await {
            Ok(mut reply) => {
                state.targets[index].fruitless.success(Instant::now());
                reply.learnt.route = Some(Arc::clone(&plan.route.name));
                return Ok(reply);
            }
            Err(error) => error,
        };
        let mut decision = state.after(index, repeats, &error);
        if let Decision::Again(pause) = decision
            && state.is_open(index, &error)
        {
            state.wait(error.clone(), pause).await;
            if state.bears(index, error.failure_class()) {
                repeats += 1;
                continue;
            }
            decision = state.instead(index, repeats, &error);
        }
        match decision {
            Decision::Again(pause) => {
                // Should a limit of ours refuse the repeat, the provider's own word is the better one.
                state.wait(error, pause).await;
                repeats += 1;
                continue;
            }
            Decision::Next => {
                state.refused(index, &error);
                at = state.following(index, &error, |_| true);
                if at.is_none()
                    && let Some((target, pause)) = state.held()
                {
                    state.wait(error, pause).await;
                    (at, repeats) = (Some(target), 0);
                    continue;
                }
            }
            Decision::NextLarger => {
                let window = models::context_window(&state.targets[index].model);
                let larger = |t: &Target| matches!((window, models::context_window(&t.model)), (Some(a), Some(b)) if b > a);
                at = state.following(index, &error, larger);
            }
            // A fallback that lacks the endpoint is not the end of the call.
            Decision::Stop if state.lacks_endpoint(&error) => {
                at = state.following(index, &error, |_| true)
            }
            Decision::Stop => at = None,
        }
        repeats = 0;
        state.keep(error);
    }
    Err(state.gave_up())
}

// === impl Loop ===

impl Loop<'_> {
    fn call(&self) -> &Call {
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

    fn attempt(&mut self, index: usize) -> Attempt {
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

    fn after(&self, index: usize, repeats: u32, error: &Error) -> Decision {
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
    fn instead(&self, index: usize, repeats: u32, error: &Error) -> Decision {
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
    fn is_open(&self, index: usize, error: &Error) -> bool {
        let target = &self.targets[index];
        let asked = || {
            let (any, lets_in) = self.shared.limits.under_way(self.call(), target);
            any && (lets_in || target.fruitless.is_new(Instant::now()))
        };
        error.failure_class().is_some_and(is_in_turn) && !self.serves(index) && asked()
    }

    /// After the pause: whether it has answered meanwhile or let somebody in. Else the repeat is one like any other.
    fn bears(&self, index: usize, class: Option<Class>) -> bool {
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

    async fn wait(&mut self, error: Error, pause: Duration) {
        self.keep(error);
        tokio::time::sleep(pause).await;
        self.call().meter.wait(pause);
    }

    /// Remembers the target that a call may wait for.
    fn refused(&mut self, index: usize, error: &Error) {
        if let Error::CircuitOpen(open) = error
            && let Some(hold) = open.hold
            && self.hold.is_none_or(|(_, soonest)| hold < soonest)
        {
            self.hold = Some((index, hold));
        }
    }

    /// Nobody else can take the call: the target to wait for and how long, if one is coming back and time allows it. Up to
    /// twice the time to its turn, so that those who wait together do not ask together.
    fn held(&mut self) -> Option<(usize, Duration)> {
        let (index, turn) = self.hold.take()?;
        let pause = turn.mul_f64(1.0 + fastrand::f64());
        let fits = pause <= self.wait_left() && pause < self.call().deadline.left(Instant::now());
        let attempts_left = self.call().meter.attempts() < self.shared.params.max_attempts.get();
        (fits && attempts_left).then_some((index, pause))
    }

    /// A fallback says 404 to a path that the first target knows.
    fn lacks_endpoint(&self, error: &Error) -> bool {
        self.error.is_some() && error.failure_class() == Some(Class::NotFound)
    }

    /// The next target that `fits`, if attempts and time are left.
    fn following(
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

    /// Remembers what to tell the caller. A provider's own failure in this call says more than a circuit that was open.
    /// A fallback that does not take the call as it is (another model, another set of endpoints, a key of ours that is
    /// wrong) says less than what made it necessary: the app would look for a mistake in its request.
    fn keep(&mut self, error: Error) {
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

    fn gave_up(mut self) -> Error {
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
