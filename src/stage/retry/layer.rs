//! The layer: carries decisions out.

use std::{
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

use super::{Decision, turns::Loop};
use crate::{
    call::{Attempt, Plan, Reply},
    config,
    error::Error,
    stage::{Answering, breaker::Circuits, limit::Limits},
    telemetry::Metrics,
};

/// How long the budget remembers calls.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Retries allowed each second whatever the traffic: a sidecar with three calls a minute may retry too.
const BUDGET_FLOOR: u32 = 1;

/// Resolved from `[retry]`.
pub type Params = config::Retry;

/// What all workers share.
pub struct Shared {
    pub(super) params: Params,
    pub(super) budget: TpsBudget,
    pub(super) circuits: Arc<Circuits>,
    pub(super) limits: Arc<Limits>,
    pub(super) metrics: Arc<Metrics>,
}

#[derive(Clone, Debug)]
pub struct RetryLayer(Arc<Shared>);

#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    shared: Arc<Shared>,
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
    let mut state = Loop::new(plan, shared);
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
            Decision::NextLarger => at = state.following_larger(index, &error),
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
