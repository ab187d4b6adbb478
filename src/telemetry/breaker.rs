//! Circuits: their changes, as a metric and in the log; since when they are open and when they are probed, read at each
//! scrape.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use prometheus::{
    GaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::time::Instant;

use super::Metrics;
use crate::stage::breaker::{CircuitStatus, Circuits, Hook, State, Transition};

const LABELS: &[&str] = &["upstream", "scope", "class"];

/// Gauges that are there while a circuit is not closed, and gone with it.
struct Open {
    circuits: Weak<Circuits>,
    since: GaugeVec,
    next_probe: GaugeVec,
}

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

/// From now on `metrics` tell what of `circuits` is open.
pub fn watch(metrics: &Metrics, circuits: &Arc<Circuits>) {
    // Weak, for the circuits' hook holds the metrics.
    metrics.add(Box::new(Open::new(Arc::downgrade(circuits))));
}

// === impl Open ===

impl Open {
    fn new(circuits: Weak<Circuits>) -> Self {
        let gauge = |name, help| {
            GaugeVec::new(Opts::new(name, help), LABELS)
                .expect("metric names and labels are constants")
        };
        Self {
            circuits,
            since: gauge(
                "weir_breaker_open_since_timestamp_seconds",
                "When the longest open circuit of this kind left the closed state (Unix time); absent when none is open.",
            ),
            next_probe: gauge(
                "weir_breaker_next_probe_timestamp_seconds",
                "When the next call may probe a circuit of this kind (Unix time); absent while none is to be probed.",
            ),
        }
    }

    /// One sample for each upstream, scope and class: the earliest of what `time` tells of the circuits.
    fn samples(
        gauge: &GaugeVec,
        circuits: &[CircuitStatus],
        time: impl Fn(&CircuitStatus) -> Option<f64>,
    ) -> Vec<MetricFamily> {
        let mut earliest: HashMap<[&str; 3], f64> = HashMap::new();
        for circuit in circuits {
            let labels = [
                &*circuit.upstream,
                circuit.scope.as_str(),
                circuit.class.as_str(),
            ];
            if let Some(time) = time(circuit) {
                let known = earliest.entry(labels).or_insert(time);
                *known = known.min(time);
            }
        }
        // Made anew, so that two scrapes at once do not empty each other's.
        let fresh = GaugeVec::new(
            Opts::new(
                gauge.desc()[0].fq_name.clone(),
                gauge.desc()[0].help.clone(),
            ),
            LABELS,
        )
        .expect("it has been made before");
        for (labels, time) in earliest {
            fresh.with_label_values(&labels).set(time);
        }
        fresh.collect()
    }
}

impl Collector for Open {
    fn desc(&self) -> Vec<&Desc> {
        [self.since.desc(), self.next_probe.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(circuits) = self.circuits.upgrade() else {
            return Vec::new();
        };
        let open = circuits.snapshot(Instant::now());
        let now = unix(SystemTime::now());
        let mut families = Self::samples(&self.since, &open, |circuit| Some(unix(circuit.opened)));
        families.extend(Self::samples(&self.next_probe, &open, |circuit| {
            circuit.next_probe_seconds.map(|wait| now + wait)
        }));
        families
    }
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
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
