//! Config → parts → stack → listeners → drain.
//!
//! [`State`] lives as long as the process: circuits, buckets, the cache and the metrics survive a reload.
//! [`Parts`] are made anew for each configuration and swapped in whole: a call sees one configuration.

mod listen;
mod parts;
mod state;
mod worker;

use std::{io, net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::sync::{Semaphore, watch};

pub(crate) use self::listen::unix as unix_listener;
pub use self::{parts::Parts, state::State};

use self::listen::Listeners;
use crate::{
    alerts,
    config::{Config, Remember},
    limits::{Keeper, Kept, Sources, Store},
    upstream::{Connector, TlsError},
};

/// How long the end waits for alerts that are not delivered yet; a quarter of it when `drain_timeout` has passed.
const LAST_ALERTS: Duration = Duration::from_secs(2);

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
        self.state.drain();
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
