//! `/status`: the state of things in one JSON object.

use serde::Serialize;
use tokio::time::Instant;

use crate::{
    app::{Parts, State},
    config::UpstreamKey,
    outage::{Outage, TargetHealth},
    stage::breaker::CircuitStatus,
};

/// What `/status` tells.
#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    /// RFC 3339, UTC.
    started: String,
    uptime_seconds: u64,
    draining: bool,
    config: Option<String>,
    inflight: u32,
    upstreams: Vec<UpstreamStatus>,
    routes: Vec<RouteStatus>,
    /// Circuits that are not closed.
    circuits: Vec<CircuitStatus>,
    /// Ongoing ones, the oldest first.
    outages: Vec<Outage>,
    /// Targets that were asked lately, those in trouble first.
    health: Vec<TargetHealth>,
    cache: Option<CacheState>,
}

#[derive(Debug, Serialize)]
struct UpstreamStatus {
    name: String,
    provider: String,
    /// Where its key comes from, never the key.
    key: &'static str,
}

#[derive(Debug, Serialize)]
struct RouteStatus {
    name: String,
    models: Vec<String>,
    targets: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CacheState {
    entries: u64,
    bytes: u64,
}

// === impl Status ===

impl Status {
    /// Of now.
    pub fn of(state: &State, parts: &Parts) -> Self {
        let config = &parts.config;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started: humantime::format_rfc3339_seconds(state.started()).to_string(),
            uptime_seconds: state.started().elapsed().map_or(0, |t| t.as_secs()),
            draining: state.is_draining(),
            config: config
                .source
                .as_ref()
                .map(|path| path.display().to_string()),
            inflight: state.gate.inflight(),
            upstreams: config
                .upstreams
                .iter()
                .map(|upstream| UpstreamStatus {
                    name: upstream.name.to_string(),
                    provider: upstream.provider.name.to_string(),
                    key: match upstream.key {
                        UpstreamKey::Held(_) => "held",
                        UpstreamKey::Passthrough => "passthrough",
                        UpstreamKey::None => "none",
                    },
                })
                .collect(),
            routes: config
                .routes
                .iter()
                .map(|route| RouteStatus {
                    name: route.name.to_string(),
                    models: route.models.clone(),
                    targets: route
                        .targets
                        .iter()
                        .map(|target| match &target.model {
                            Some(model) => format!("{}:{model}", target.upstream.name),
                            None => target.upstream.name.to_string(),
                        })
                        .collect(),
                })
                .collect(),
            circuits: state.circuits.snapshot(Instant::now()),
            outages: state.outages.ongoing(),
            health: state.outages.health(),
            cache: state.cache().map(|cache| CacheState {
                entries: cache.entry_count(),
                bytes: cache.weighted_size(),
            }),
        }
    }
}
