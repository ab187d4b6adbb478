//! Changes of circuits, as a metric and in the log.

use std::sync::Arc;

use super::Metrics;
use crate::stage::breaker::{Hook, State, Transition};

/// Books every change of a circuit's state into `metrics` and says it once in the log, with what to do.
pub fn hook(metrics: &Arc<Metrics>) -> Hook {
    let metrics = Arc::clone(metrics);
    Arc::new(move |transition: &Transition| {
        let labels = [&*transition.target.upstream.name, transition.scope.as_str()];
        let state = metrics.breaker_state.with_label_values(&labels);
        match (transition.from, transition.to) {
            (State::Closed, State::Closed) => {}
            (State::Closed, _) => state.inc(),
            (_, State::Closed) => state.dec(),
            _ => {}
        }
        say(transition);
    })
}

fn say(transition: &Transition) {
    let (first, last) = transition.request_ids();
    let (upstream, scope, key) = (
        &*transition.target.upstream.name,
        transition.scope.as_str(),
        &*transition.key,
    );
    let class = transition.class.as_str();
    match transition.to {
        State::Open if transition.from == State::Closed => {
            let advice = transition
                .last
                .as_ref()
                .map_or("", |failure| &*failure.verdict.advice);
            tracing::warn!(
                upstream,
                scope,
                key,
                class,
                first,
                last,
                advice,
                "A circuit opened: calls go elsewhere."
            );
        }
        State::Closed => tracing::info!(
            upstream,
            scope,
            key,
            class,
            "A circuit closed: all calls are served again."
        ),
        to => tracing::info!(
            upstream,
            scope,
            key,
            class,
            last,
            state = to.as_str(),
            "A circuit changed."
        ),
    }
}
