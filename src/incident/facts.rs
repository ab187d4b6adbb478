//! What a report is made of, gathered from the running gateway.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Window, window::utc};
use crate::{
    app::{Parts, State},
    call::Fingerprint,
    config::{Upstream, UpstreamKey},
    failures::{Extract, Minute},
    redact::redact,
};

/// What a report is made of.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the process began to serve.
    pub started: SystemTime,
    pub upstreams: Vec<UpstreamFacts>,
    /// Of the minutes of the window.
    pub book: Extract,
    /// Callers' keys among the failures that are known to work: upstream, fingerprint, last time.
    pub working_keys: Vec<(String, String, SystemTime)>,
    /// Not closed now.
    pub circuits: Vec<Circuit>,
}

/// One upstream of the configuration.
#[derive(Clone, Debug)]
pub struct UpstreamFacts {
    pub name: String,
    pub provider: String,
    /// Host, and port if it is told; never user and password.
    pub host: String,
    pub key: KeySource,
    /// As configured.
    pub organization: Option<String>,
    pub project: Option<String>,
}

/// Where an upstream's key comes from; never the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySource {
    /// `held`, `passthrough` or `none`, as in `/status`.
    pub source: String,
    /// Its sort, by its prefix.
    pub kind: Option<String>,
    pub fingerprint: Option<String>,
}

/// A circuit that is not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    pub upstream: String,
    pub scope: String,
    pub key: String,
    pub state: String,
    pub class: String,
    /// RFC 3339, UTC.
    pub since: String,
}

// === impl Facts ===

impl Facts {
    /// Of the gateway, for `window`.
    pub fn gather(state: &State, parts: &Parts, window: &Window, now: SystemTime) -> Self {
        let (from, to) = (Minute::of(window.from), Minute::of(window.to.min(now)));
        let book = state.failures.within(from, to, true);
        let mut working_keys: Vec<_> = book
            .bad
            .iter()
            .filter(|bad| !bad.last.own_key)
            .filter_map(|bad| {
                let key = bad.last.key.clone()?;
                let at = state.failures.worked(&bad.upstream, &key)?;
                Some((bad.upstream.clone(), key, at))
            })
            .collect();
        working_keys.sort();
        working_keys.dedup();
        let circuits = state.circuits.snapshot(Instant::now());
        Self {
            started: state.started(),
            upstreams: parts
                .config
                .upstreams
                .iter()
                .map(|u| UpstreamFacts::of(u))
                .collect(),
            book,
            working_keys,
            circuits: circuits
                .iter()
                .map(|circuit| Circuit {
                    upstream: circuit.upstream.to_string(),
                    scope: circuit.scope.to_string(),
                    key: redact(&circuit.key).into_owned(),
                    state: circuit.state.to_string(),
                    class: circuit.class.to_string(),
                    since: utc(now
                        .checked_sub(Duration::from_secs_f64(circuit.since_seconds.max(0.0)))
                        .unwrap_or(now)),
                })
                .collect(),
        }
    }
}

// === impl UpstreamFacts ===

impl UpstreamFacts {
    fn of(upstream: &Upstream) -> Self {
        let uri = &upstream.base_url;
        let host = uri.host().unwrap_or("unknown");
        let word = |value: &Option<http::HeaderValue>| {
            let text = value.as_ref()?.to_str().ok()?;
            Some(redact(text).into_owned())
        };
        let (source, key) = match &upstream.key {
            UpstreamKey::Held(secret) => ("held", Some(secret.expose())),
            UpstreamKey::Passthrough => ("passthrough", None),
            UpstreamKey::None => ("none", None),
        };
        Self {
            name: upstream.name.to_string(),
            provider: upstream.provider.title.clone(),
            host: uri
                .port_u16()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            key: KeySource {
                source: source.to_owned(),
                kind: key.and_then(kind_of).map(str::to_owned),
                fingerprint: key.map(|key| Fingerprint::of(key.as_bytes()).to_string()),
            },
            organization: word(&upstream.organization),
            project: word(&upstream.project),
        }
    }
}

/// The sort of a key, by the prefixes that providers document.
fn kind_of(key: &str) -> Option<&'static str> {
    let known = [
        ("sk-proj-", "project key"),
        ("sk-svcacct-", "service account key"),
        ("sk-admin-", "admin key"),
        ("sk-ant-", "Anthropic key"),
        ("sk-or-", "OpenRouter key"),
        ("gsk_", "Groq key"),
        ("AIza", "Google key"),
    ];
    known
        .iter()
        .find(|(prefix, _)| key.starts_with(prefix))
        .map(|(_, kind)| *kind)
}
