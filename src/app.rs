//! Config → parts → stack → listeners → drain.
//!
//! [`State`] lives as long as the process: circuits, buckets, the cache and the metrics survive a reload.
//! [`Parts`] are made anew for each configuration and swapped in whole: a call sees one configuration.

mod listen;
mod worker;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

pub(crate) use self::listen::unix as unix_listener;

use self::listen::Listeners;
use crate::{
    alerts::{self, Alerts},
    call::Target,
    config::{App, CachePolicy, Config, Remember, UpstreamKey},
    failures::Failures,
    limits::{self, Keeper, Kept, Sources, Store},
    outage::{self, Outages},
    stage::{
        admit, breaker, cache, ingress, limit, quota,
        record::Recorder,
        retry,
        route::{Router, Targets},
    },
    telemetry::{self, Metrics, access_log::AccessLog},
    upstream::{Connector, TlsError},
    witness::Witness,
};

/// How long the end waits for alerts that are not delivered yet; a quarter of it when `drain_timeout` has passed.
const LAST_ALERTS: Duration = Duration::from_secs(2);

/// What survives a reload.
#[derive(Debug)]
pub struct State {
    pub metrics: Arc<Metrics>,
    pub recorder: Arc<Recorder>,
    pub failures: Arc<Failures>,
    pub outages: Arc<Outages>,
    witness: Arc<Witness>,
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

/// What the layers of one configuration are made of.
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

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    pub state: Arc<State>,
    parts: watch::Sender<Arc<Parts>>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<()>>,
    keeper: Keeper,
    address: Option<SocketAddr>,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Serving,
    /// No new connections; what runs is finished.
    Draining,
    /// Now.
    Stopped,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}{hint}")]
    Listen {
        address: String,
        source: io::Error,
        hint: &'static str,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot open the access log: {0}")]
    AccessLog(#[source] io::Error),
    #[error("cannot start a worker thread: {0}")]
    Thread(#[source] io::Error),
}

// === impl State ===

impl State {
    fn new(config: &Config, connector: &Connector) -> Result<Self, StartError> {
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
    fn cache_for(&self, config: &Config) -> Option<Arc<cache::CacheStore>> {
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

// === impl Parts ===

impl Parts {
    /// `before`: the allowances in force, so that a reload refills nobody's.
    fn new(config: Arc<Config>, state: &State, before: Option<&quota::Quotas>) -> Self {
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
}

impl Parts {
    /// How far apps have come with their quotas.
    pub fn quota_views(&self) -> Vec<quota::QuotaView> {
        self.quotas.views()
    }

    /// The apps' day counts, for the next run.
    fn saved_quotas(&self) -> serde_json::Value {
        serde_json::to_value(self.quotas.saved()).unwrap_or_default()
    }

    /// What [`saved_quotas`](Self::saved_quotas) of the last run gave.
    fn restore_quotas(&self, kept: serde_json::Value) {
        if let Ok(kept) = serde_json::from_value(kept) {
            self.quotas.restore(&kept);
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

fn quota_waits(metrics: &Arc<Metrics>) -> quota::WaitHook {
    let metrics = Arc::clone(metrics);
    Arc::new(move |app: &App, time: Duration| {
        let waits = metrics.quota_wait.with_label_values(&[&*app.name]);
        waits.observe(time.as_secs_f64());
    })
}

// === impl Gateway ===

impl Gateway {
    /// Binds, starts the workers, and serves.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let https = config
            .upstreams
            .iter()
            .map(|upstream| &upstream.base_url)
            .chain(config.alerts.as_ref().map(|to| to.webhook.expose()))
            .any(|url| url.scheme() == Some(&http::uri::Scheme::HTTPS));
        let connector = Connector::new(https)?;
        let count = usize::try_from(config.server.workers.get()).unwrap_or(1);
        let listeners = Listeners::bind(&config.listen, count)?;
        let address = listeners.address();
        let state = Arc::new(State::new(&config, &connector)?);
        let config = Arc::new(config);
        let (store, kept) = remembered(&config.limits.remember);
        state.limits.restore(kept.limits);
        let first = Parts::new(Arc::clone(&config), &state, None);
        first.restore_quotas(kept.quotas);
        let (parts, _) = watch::channel(Arc::new(first));
        let (phase, _) = watch::channel(Phase::Serving);
        let connections = Arc::new(Semaphore::new(
            // Each worker holds a place while it waits for its next connection.
            (config.server.max_connections as usize).max(count),
        ));
        let mut workers = Vec::with_capacity(count);
        for (index, source) in listeners.into_sources().into_iter().enumerate() {
            let worker = worker::Worker {
                source,
                connector: connector.clone(),
                parts: parts.subscribe(),
                phase: phase.subscribe(),
                connections: Arc::clone(&connections),
                gate: Arc::clone(&state.gate),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            workers.push(
                thread
                    .spawn(move || worker.run())
                    .map_err(StartError::Thread)?,
            );
        }
        let sources = sources(&state, parts.subscribe());
        let keeper = Keeper::start(sources, store, config.limits.foreign_alert);
        Ok(Self {
            state,
            parts,
            phase,
            workers,
            keeper,
            address,
        })
    }

    /// Where apps connect; `None` on a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.parts.borrow().config)
    }

    /// Everything in force.
    pub fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.parts.borrow())
    }

    /// Follows what is in force.
    pub fn watch_parts(&self) -> watch::Receiver<Arc<Parts>> {
        self.parts.subscribe()
    }

    /// Takes a new configuration for all calls that begin from now on. What needs a restart is returned by name:
    /// it keeps its old value.
    pub fn reload(&self, config: Config) -> Vec<&'static str> {
        let old = self.config();
        let mut fixed = Vec::new();
        if config.listen != old.listen {
            fixed.push("listen");
        }
        if config.admin != old.admin {
            fixed.push("admin.listen");
        }
        if config.server.workers != old.server.workers {
            fixed.push("server.workers");
        }
        if config.server.max_connections != old.server.max_connections {
            fixed.push("server.max_connections");
        }
        if config.server.header_timeout != old.server.header_timeout {
            fixed.push("server.header_timeout");
        }
        if config.server.max_header_bytes != old.server.max_header_bytes {
            fixed.push("server.max_header_bytes");
        }
        if config.log.access != old.log.access {
            fixed.push("log.access");
        }
        if config.log.level != old.log.level {
            fixed.push("log.level");
        }
        if config.limits.remember != old.limits.remember {
            fixed.push("limits.remember");
        }
        self.keeper.configure(config.limits.foreign_alert);
        let parts = Parts::new(Arc::new(config), &self.state, Some(&self.parts().quotas));
        let parts = Arc::new(parts);
        self.parts.send_replace(Arc::clone(&parts));
        self.state.limits.only(&parts.config.upstreams);
        self.state.limits.configure(&parts.config.upstreams);
        fixed
    }

    /// Says that new calls should go elsewhere; keeps serving.
    pub fn drain(&self) {
        self.state.draining.store(true, Ordering::Relaxed);
    }

    /// Stops accepting and finishes what runs, for `timeout` at most. Returns whether all of it was finished. The
    /// access log is complete afterwards, what was learnt of limits is kept, and alerts have had a last chance. Blocks.
    pub fn stop(mut self, timeout: Duration) -> bool {
        self.drain();
        self.phase.send_replace(Phase::Draining);
        let until = std::time::SystemTime::now() + timeout;
        let mut whole = true;
        for worker in std::mem::take(&mut self.workers) {
            while !worker.is_finished() {
                if std::time::SystemTime::now() >= until {
                    whole = false;
                    self.phase.send_replace(Phase::Stopped);
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = worker.join();
        }
        self.keeper.close();
        let left = until
            .duration_since(std::time::SystemTime::now())
            .unwrap_or_default();
        self.state
            .alerts
            .close(left.clamp(LAST_ALERTS / 4, LAST_ALERTS));
        self.state.recorder.close();
        whole
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// What the last run kept, and where this one keeps it. `Auto` is nowhere: `weir serve` has made a file of it, and whoever
/// starts a gateway by other means has not asked for files.
fn remembered(remember: &Remember) -> (Option<Store>, Kept) {
    let Remember::File(path) = remember else {
        return (None, Kept::default());
    };
    let unix = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let (store, kept) = Store::open(path.clone(), unix.map_or(0, |time| time.as_secs()));
    if store.keeps() {
        tracing::info!(
            path = %store.path().display(),
            pools = kept.limits.pools.len(),
            "What is learnt of limits is kept for the next run."
        );
    }
    (Some(store), kept)
}

fn sources(state: &State, parts: watch::Receiver<Arc<Parts>>) -> Sources {
    let (views, saved) = (Arc::clone(&state.limits), Arc::clone(&state.limits));
    let page = Arc::clone(&state.alerts);
    Sources {
        views: Box::new(move || views.views()),
        saved: Box::new(move || saved.saved()),
        quotas: Box::new(move || parts.borrow().saved_quotas()),
        tell: Box::new(move |change| page.tell(alerts::Event::foreign(change))),
    }
}
