//! `/status`: the state of things in one JSON object.

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;
use tokio::time::Instant;

use super::LimitsPage;
use crate::{
    app::{Parts, State},
    config::UpstreamKey,
    failures::{Failures, Minute},
    limits::PoolView,
    outage::{Outage, TargetHealth},
    stage::{breaker::CircuitStatus, quota::QuotaView},
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
    /// What is known of the providers' limits.
    limits: Vec<PoolView>,
    /// How far apps have come with theirs.
    quotas: Vec<QuotaView>,
    cache: Option<CacheState>,
    failures: FailuresStatus,
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

/// Failed attempts of the last ten minutes.
#[derive(Debug, Serialize)]
struct FailuresStatus {
    minutes: u32,
    counts: Vec<FailureCount>,
    /// The latest one.
    last: Option<LastFailure>,
}

#[derive(Debug, Serialize)]
struct FailureCount {
    upstream: String,
    class: &'static str,
    count: u64,
}

#[derive(Debug, Serialize)]
struct LastFailure {
    /// RFC 3339, UTC.
    at: String,
    upstream: String,
    class: String,
    provider_request_id: Option<String>,
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
        let limits = LimitsPage::of(state, parts);
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
            limits: limits.pools,
            quotas: limits.quotas,
            cache: state.cache().map(|cache| CacheState {
                entries: cache.entry_count(),
                bytes: cache.weighted_size(),
            }),
            failures: FailuresStatus::of(&state.failures, SystemTime::now()),
        }
    }
}

// === impl FailuresStatus ===

impl FailuresStatus {
    /// Minutes told of, the running one included.
    const MINUTES: u32 = 10;

    fn of(failures: &Failures, now: SystemTime) -> Self {
        let to = Minute::of(now);
        let from = Minute(to.0.saturating_sub(Self::MINUTES - 1));
        let bad = failures.within(from, to, false).bad;
        let mut counts: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
        for bad in &bad {
            *counts
                .entry((&bad.upstream, bad.class.as_str()))
                .or_default() += bad.count();
        }
        let last = bad
            .iter()
            .map(|bad| &bad.last)
            .max_by_key(|failed| failed.at);
        Self {
            minutes: Self::MINUTES,
            counts: counts
                .into_iter()
                .map(|((upstream, class), count)| FailureCount {
                    upstream: upstream.to_owned(),
                    class,
                    count,
                })
                .collect(),
            last: last.map(|failed| LastFailure {
                at: humantime::format_rfc3339_millis(failed.at).to_string(),
                upstream: failed.upstream.clone(),
                class: failed.class.clone(),
                provider_request_id: failed.provider_request_id.clone(),
            }),
        }
    }
}
