//! One upstream, from its key to its limits: gathers facts, one request at a time, and hands them to the checks.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method};

use super::{
    Check, Finding, Options, base_url, call,
    key::{self, Source},
    limits,
    probe::{Answer, Exchange, Prober},
    report::{KeyReport, UpstreamReport},
    tls,
    vendor::{AZURE, Vendor},
};
use crate::config::{Env, Loaded, Upstream, UpstreamKey};

/// One upstream under examination.
pub(super) struct Exam<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) env: &'a Env,
    pub(super) options: &'a Options,
    pub(super) prober: &'a Prober,
    pub(super) upstream: &'a Upstream,
    pub(super) vendor: Option<Vendor>,
    /// Models that routes name for it.
    pub(super) routed: Vec<String>,
    source: Source,
    /// What calls are made with; `None`: nothing is there, or it must not be sent.
    pub(super) key: Option<String>,
    /// The free call was refused: a billed one would be, too.
    pub(super) refused: bool,
    pub(super) report: UpstreamReport,
}

// === impl Exam ===

impl<'a> Exam<'a> {
    pub(super) fn new(
        loaded: &'a Loaded,
        env: &'a Env,
        options: &'a Options,
        prober: &'a Prober,
        upstream: &'a Arc<Upstream>,
    ) -> Self {
        let (source, key) = key_of(loaded, env, options, upstream);
        let report = UpstreamReport {
            name: upstream.name.to_string(),
            provider: upstream.provider.name.to_string(),
            title: upstream.provider.title.clone(),
            base_url: upstream.base_url.to_string(),
            key: KeyReport::of(&source, key.as_deref()),
            organization: None,
            project: None,
            facts: super::Facts::default(),
            findings: Vec::new(),
        };
        Self {
            loaded,
            env,
            options,
            prober,
            upstream,
            vendor: Vendor::of(upstream),
            routed: routed(loaded, upstream),
            source,
            key,
            refused: false,
            report,
        }
    }

    /// The variable that the key comes from.
    pub(super) fn variable(&self) -> Option<&str> {
        match &self.source {
            Source::Variable(name) => Some(name),
            Source::Caller { examined } => examined.as_deref(),
            Source::File(_) | Source::None => None,
        }
    }

    /// Everything, within `deadline`; what was found until then is kept.
    pub(super) async fn run(mut self, deadline: Duration) -> UpstreamReport {
        if tokio::time::timeout(deadline, Box::pin(self.all()))
            .await
            .is_err()
        {
            self.report.findings.push(
                Finding::error(
                    Check::Network,
                    "gave-up",
                    format!(
                        "The examination took longer than {} and was ended.",
                        humantime::format_duration(deadline)
                    ),
                )
                .todo("Give it more time with --timeout."),
            );
        }
        self.report
    }

    async fn all(&mut self) {
        self.examine_key();
        let carries = self.key.is_some();
        let at = base_url::examine(&self.upstream.base_url, &self.upstream.provider, carries);
        self.find(at);
        let ask = self.ask(Method::GET, &self.free_path(), &self.configured());
        let exchange = self.prober.ask(&ask).await;
        let looped = self.loops(&exchange);
        self.wire(&exchange);
        if looped {
            return;
        }
        let Ok(answer) = exchange.outcome else { return };
        let listed = self.free_call(&answer).await;
        if self.key.is_some() || self.upstream.key == UpstreamKey::None {
            self.money(listed.as_deref(), &answer).await;
        }
    }

    pub(super) fn find(&mut self, found: impl IntoIterator<Item = Finding>) {
        self.report.findings.extend(found);
    }

    fn examine_key(&mut self) {
        let Some(key) = self.key.clone() else {
            let finding = match (&self.source, &self.upstream.provider.key_variable) {
                (Source::Caller { .. }, usual) => {
                    let usual = usual.as_deref().unwrap_or("a variable");
                    Finding::note(Check::Key, "key-of-callers", format!("Callers bring their own, and {usual} is not set here: nothing could be asked with a key."))
                        .todo(format!("Set {usual}, or name another variable with --key-from."))
                }
                _ => Finding::ok(Check::Key, "key-source", "The server needs none."),
            };
            return self.find([finding]);
        };
        let provider = &self.upstream.provider;
        let subject = key::Subject {
            key: &key,
            raw: self
                .variable()
                .and_then(|name| self.env.var(name))
                .filter(|raw| raw.trim() == key.trim()),
            source: &self.source,
            vendor: self.vendor,
            at_home: provider.is_at_home()
                || self
                    .vendor
                    .is_some_and(|vendor| provider.hosts.is_empty() && vendor != AZURE),
            local: provider.local,
        };
        let (found, foreign) = key::examine(&subject);
        self.find(found);
        if foreign || HeaderValue::from_str(key.trim()).is_err() {
            // The gateway would send it; we need not.
            self.key = None;
            let note = Finding::note(
                Check::Call,
                "key-not-sent",
                "The free call is made without that key, so as not to hand it out.",
            );
            self.find([note]);
        }
    }

    // === the connection ===

    fn loops(&mut self, exchange: &Exchange) -> bool {
        let config = &self.loaded.config;
        let listeners: Vec<_> = std::iter::once(&config.listen)
            .chain(config.admin.as_ref())
            .collect();
        // Only an address of this machine can be bound.
        let is_ours = |ip: IpAddr| std::net::UdpSocket::bind((ip, 0)).is_ok();
        let looped = base_url::loops(&exchange.wire.addresses, &listeners, is_ours);
        let found = looped.is_some();
        self.find(looped);
        found
    }

    fn wire(&mut self, exchange: &Exchange) {
        let wire = &exchange.wire;
        let facts = &mut self.report.facts;
        let ms = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        facts.address = wire.peer.map(|peer| peer.to_string());
        facts.resolve_ms = wire.resolve.map(ms);
        facts.connect_ms = wire.connect.map(ms);
        facts.tls_ms = wire.tls.as_ref().map(|tls| ms(tls.took));
        facts.tls_version = wire.tls.as_ref().map(|tls| tls.version);
        if let Some(certificate) = wire.tls.as_ref().and_then(|tls| tls.certificate.as_ref()) {
            facts.certificate_issuer = Some(certificate.issuer.clone());
            facts.certificate_until =
                Some(humantime::format_rfc3339_seconds(certificate.until).to_string());
        }
        let host = self.upstream.base_url.host().unwrap_or_default();
        let mut found = Vec::new();
        match &exchange.outcome {
            Err(trouble) => {
                let proxied = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
                    .iter()
                    .any(|name| self.env.var(name).is_some_and(|value| !value.is_empty()));
                found.push(call::unreachable(
                    trouble,
                    host,
                    &self.upstream.provider,
                    proxied,
                ));
            }
            Ok(answer) => {
                facts.http_version = Some(format!("{:?}", answer.version));
                facts.answer_ms = Some(ms(answer.took));
                facts.status = Some(answer.status.as_u16());
                found.push(reached(exchange, answer, self.upstream.connect_timeout));
            }
        }
        if let Some(tls) = &wire.tls {
            found.extend(tls::examine(
                tls,
                self.upstream.provider.is_at_home() && !self.upstream.provider.local,
                SystemTime::now(),
            ));
        }
        self.find(found);
    }

    /// Shows limits, and says where they are when there are none.
    pub(super) fn limits(&mut self, headers: &HeaderMap, spent: bool) {
        let seen = limits::read(headers);
        self.find(limits::examine(&seen, spent));
        self.report.facts.limits = seen;
    }
}

/// The connection as a whole.
fn reached(exchange: &Exchange, answer: &Answer, limit: Duration) -> Finding {
    let wire = &exchange.wire;
    let ms =
        |time: Option<Duration>| format!("{:.0} ms", time.unwrap_or_default().as_secs_f64() * 1e3);
    let tls = wire.tls.as_ref().map(|tls| tls.took);
    let together = wire.connect.unwrap_or_default() + tls.unwrap_or_default();
    let mut what = format!(
        "{:?}, name {}, connect {}",
        answer.version,
        ms(wire.resolve),
        ms(wire.connect)
    );
    if tls.is_some() {
        what.push_str(&format!(", TLS {}", ms(tls)));
    }
    what.push_str(&format!(", answer {}.", ms(Some(answer.took))));
    if together > limit {
        return Finding::warning(Check::Network, "slower-than-connect-timeout", what).todo(
            format!(
                "Connecting takes longer than connect_timeout ({}); raise it.",
                humantime::format_duration(limit)
            ),
        );
    }
    Finding::ok(Check::Network, "reached", what)
}

/// Where the key comes from, and the key.
fn key_of(
    loaded: &Loaded,
    env: &Env,
    options: &Options,
    upstream: &Upstream,
) -> (Source, Option<String>) {
    match &upstream.key {
        UpstreamKey::None => (Source::None, None),
        UpstreamKey::Held(secret) => {
            let origin = loaded
                .effective
                .origin_of(usize::from(upstream.id.0), "api_key")
                .unwrap_or("?");
            let source = match origin.strip_prefix('$') {
                // `${NAME:-default}` of a variable that is not set: the default stands in the file.
                Some(name) if env.var(name).is_some_and(|value| !value.is_empty()) => {
                    Source::Variable(name.to_owned())
                }
                Some(name) => Source::File(format!("the default of ${name}")),
                None => Source::File(origin.to_owned()),
            };
            (source, Some(secret.expose().to_owned()))
        }
        UpstreamKey::Passthrough => {
            let name = options
                .key_from
                .clone()
                .or_else(|| upstream.provider.key_variable.clone());
            let key = name
                .as_deref()
                .and_then(|name| env.var(name))
                .filter(|key| !key.trim().is_empty());
            let examined = key.is_some().then_some(name).flatten();
            (Source::Caller { examined }, key.map(str::to_owned))
        }
    }
}

/// Models that routes name for this upstream; globs name none.
fn routed(loaded: &Loaded, upstream: &Upstream) -> Vec<String> {
    let mut models: Vec<String> = Vec::new();
    for route in &loaded.config.routes {
        for target in route
            .targets
            .iter()
            .filter(|target| target.upstream.id == upstream.id)
        {
            let named: Vec<&str> = match &target.model {
                Some(model) => vec![model],
                None => route
                    .models
                    .iter()
                    .map(String::as_str)
                    .filter(|model| !model.contains(['*', '?', '[', '{']))
                    .collect(),
            };
            for model in named {
                if !models.iter().any(|known| known == model) {
                    models.push(model.to_owned());
                }
            }
        }
    }
    models
}

#[cfg(test)]
#[path = "examine_tests.rs"]
mod tests;
