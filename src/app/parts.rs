//! What the layers of one configuration are made of.

use std::{sync::Arc, time::Duration};

use super::State;
use crate::{
    config::{App, CachePolicy, Config, UpstreamKey},
    stage::{admit, breaker, cache, ingress, limit, quota, record::Recorder, retry, route::Router},
    telemetry::Metrics,
    witness::Witness,
};

/// Made anew for each configuration, and swapped in whole.
#[derive(Clone, Debug)]
pub struct Parts {
    pub config: Arc<Config>,
    pub metrics: Arc<Metrics>,
    pub recorder: Arc<Recorder>,
    pub witness: Arc<Witness>,
    pub gate: Arc<ingress::Gate>,
    pub ingress: ingress::Params,
    pub admit: admit::Params,
    pub cache: Option<(Arc<cache::CacheStore>, cache::Params)>,
    pub quotas: Arc<quota::Quotas>,
    pub router: Arc<Router>,
    pub retry: Arc<retry::Shared>,
    pub circuits: Arc<breaker::Circuits>,
    pub limits: Arc<limit::Limits>,
}

// === impl Parts ===

impl Parts {
    /// `before`: the allowances in force, so that a reload refills nobody's.
    pub(super) fn new(config: Arc<Config>, state: &State, before: Option<&quota::Quotas>) -> Self {
        let passthrough = config
            .upstreams
            .iter()
            .any(|upstream| upstream.key == UpstreamKey::Passthrough);
        let router = Arc::new(Router::new(&config, Arc::clone(&state.targets)));
        state.circuits.reconfigure(config.breaker.clone());
        state.alerts.configure(config.alerts.as_ref());
        let cached = config
            .routes
            .iter()
            .any(|route| route.cache_policy.is_some_and(|p| p != CachePolicy::Off));
        let cached = cached
            || config
                .cache
                .as_ref()
                .is_some_and(|cache| cache.policy != CachePolicy::Off);
        let cache = state
            .cache_for(&config)
            .filter(|_| cached)
            .zip(config.cache.clone())
            .map(|(store, settings)| {
                let (routes, general) = (Arc::clone(&router), settings.policy);
                let policy_for = move |model: &str| routes.cache_policy(model).unwrap_or(general);
                (
                    store,
                    cache::Params {
                        config: settings,
                        policy_for: Arc::new(policy_for),
                    },
                )
            });
        Self {
            metrics: Arc::clone(&state.metrics),
            recorder: Arc::clone(&state.recorder),
            witness: Arc::clone(&state.witness),
            gate: Arc::clone(&state.gate),
            ingress: ingress::Params {
                max_body_bytes: config.server.max_body_bytes,
                body_timeout: config.server.body_timeout,
                max_inflight: config.server.max_inflight,
            },
            admit: admit::Params {
                apps: Arc::new(admit::Apps::new(&config.apps, passthrough)),
                timeout: config.server.timeout,
                router: Arc::clone(&router),
            },
            cache,
            quotas: Arc::new(match before {
                Some(before) => before.renewed(&config.apps, config.retry.max_wait),
                None => quota::Quotas::new(&config.apps, config.retry.max_wait)
                    .with_hook(quota_waits(&state.metrics)),
            }),
            router,
            retry: Arc::new(retry::Shared::new(
                config.retry.clone(),
                Arc::clone(&state.circuits),
                Arc::clone(&state.limits),
                Arc::clone(&state.metrics),
            )),
            circuits: Arc::clone(&state.circuits),
            limits: Arc::clone(&state.limits),
            config,
        }
    }

    /// How far apps have come with their quotas.
    pub fn quota_views(&self) -> Vec<quota::QuotaView> {
        self.quotas.views()
    }

    /// The apps' day counts, for the next run.
    pub(super) fn saved_quotas(&self) -> serde_json::Value {
        serde_json::to_value(self.quotas.saved()).unwrap_or_default()
    }

    /// What [`saved_quotas`](Self::saved_quotas) of the last run gave.
    pub(super) fn restore_quotas(&self, kept: serde_json::Value) {
        if let Ok(kept) = serde_json::from_value(kept) {
            self.quotas.restore(&kept);
        }
    }
}

fn quota_waits(metrics: &Arc<Metrics>) -> quota::WaitHook {
    let metrics = Arc::clone(metrics);
    Arc::new(move |app: &App, time: Duration| {
        let waits = metrics.quota_wait.with_label_values(&[&*app.name]);
        waits.observe(time.as_secs_f64());
    })
}
