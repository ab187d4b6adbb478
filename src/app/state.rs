//! What survives a reload.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::StartError;
use crate::{
    alerts::{self, Alerts},
    call::Target,
    config::Config,
    failures::Failures,
    limits,
    outage::{self, Outages},
    stage::{breaker, cache, ingress, limit, record::Recorder, route::Targets},
    telemetry::{self, Metrics, access_log::AccessLog},
    upstream::Connector,
    witness::Witness,
};

/// Lives as long as the process.
#[derive(Debug)]
pub struct State {
    pub metrics: Arc<Metrics>,
    pub recorder: Arc<Recorder>,
    pub failures: Arc<Failures>,
    pub outages: Arc<Outages>,
    pub(super) witness: Arc<Witness>,
    pub gate: Arc<ingress::Gate>,
    pub circuits: Arc<breaker::Circuits>,
    pub alerts: Arc<Alerts>,
    pub limits: Arc<limit::Limits>,
    pub targets: Arc<Targets>,
    /// With the bound it was made for.
    cache: std::sync::Mutex<Option<(u64, Arc<cache::CacheStore>)>>,
    draining: AtomicBool,
    started: std::time::SystemTime,
}

// === impl State ===

impl State {
    pub(super) fn new(config: &Config, connector: &Connector) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new());
        let log = AccessLog::open(&config.log.access, Arc::clone(&metrics))
            .map_err(StartError::AccessLog)?;
        let waits = Arc::clone(&metrics);
        let limits =
            limit::Limits::default().with_hook(Arc::new(move |target: &Target, time: Duration| {
                waits
                    .limit_wait
                    .with_label_values(&[&*target.upstream.name])
                    .observe(time.as_secs_f64());
            }));
        let limits = limits.on_refusal(limit_refusals(&metrics));
        let failures = Arc::<Failures>::default();
        let alerts = Arc::new(Alerts::new(Arc::clone(&metrics), connector.clone()));
        let page = Arc::clone(&alerts);
        let outages = Outages::default().with_hook(Arc::new(move |change: &outage::Change| {
            if let Some(event) = alerts::Event::outage(change) {
                page.tell(event);
            }
        }));
        let outages = Arc::new(outages);
        let (count, book, tell) = (
            telemetry::breaker_hook(&metrics),
            Arc::clone(&failures),
            alerts.hook(),
        );
        let hook: breaker::Hook = Arc::new(move |change: &breaker::Transition| {
            count(change);
            book.changed(change);
            tell(change);
        });
        let circuits = Arc::new(breaker::Circuits::new(config.breaker.clone()).with_hook(hook));
        alerts.follow(&circuits);
        telemetry::watch_breaker(&metrics, &circuits);
        let limits = Arc::new(limits);
        telemetry::watch_limits(&metrics, &limits);
        Ok(Self {
            recorder: Arc::new(Recorder::new(
                Arc::clone(&metrics),
                log,
                Arc::clone(&failures),
            )),
            witness: Arc::new(Witness::new(
                Arc::clone(&metrics),
                Arc::clone(&failures),
                Arc::clone(&outages),
            )),
            failures,
            outages,
            metrics,
            gate: Arc::default(),
            circuits,
            alerts,
            limits,
            targets: Arc::default(),
            cache: std::sync::Mutex::default(),
            draining: AtomicBool::new(false),
            started: std::time::SystemTime::now(),
        })
    }

    /// New calls should go elsewhere from now on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether new calls should go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// When the process began to serve.
    pub fn started(&self) -> std::time::SystemTime {
        self.started
    }

    /// The store of cached answers, if there is one.
    pub fn cache(&self) -> Option<Arc<cache::CacheStore>> {
        let held = self
            .cache
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        held.as_ref().map(|(_, store)| Arc::clone(store))
    }

    /// The store for `config`: the one there is when its bounds are the same, so that a reload keeps what is stored.
    pub(super) fn cache_for(&self, config: &Config) -> Option<Arc<cache::CacheStore>> {
        let wanted = config.cache.as_ref()?;
        let mut held = self
            .cache
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*held {
            Some((bound, store)) if *bound == wanted.max_bytes => Some(Arc::clone(store)),
            _ => {
                let store = Arc::new(cache::CacheStore::new(wanted));
                *held = Some((wanted.max_bytes, Arc::clone(&store)));
                Some(store)
            }
        }
    }
}

/// Counts what the providers refuse for their limits.
fn limit_refusals(metrics: &Arc<Metrics>) -> limits::RefusalHook {
    let metrics = Arc::clone(metrics);
    Arc::new(move |target: &Target, refused: &limits::Refused| {
        let surprise = if refused.surprise { "true" } else { "false" };
        let labels = [&*target.upstream.name, refused.class.as_str(), surprise];
        metrics.limit_refusals.with_label_values(&labels).inc();
    })
}
