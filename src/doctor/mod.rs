//! `weir doctor`: what is wrong with keys, organisations, addresses and connections, before a call finds it out.
//!
//! Each check is a function from facts to findings, without I/O ([`key`], [`base_url`], [`organization`], [`call`], …);
//! [`examine`] gathers the facts of one upstream with [`probe`], which makes one request at a time on a connection of its
//! own. Upstreams are examined side by side. What a refusal means is `triage`'s to say, as for every call.
//!
//! At the edges: every step has a deadline, and so has an upstream as a whole, so that a dead host hides no other one.
//! Calls are free ones, but for the single one of `--spend`. A key goes only where the gateway would send it, and one that
//! is plainly another vendor's goes nowhere. Every text leaves through [`scrub`], which knows all keys.

mod admin;
mod ask;
mod balance;
mod base_url;
mod call;
mod copied;
mod environment;
mod examine;
mod finding;
mod free;
mod handshake;
mod key;
mod kinds;
mod limits;
mod models;
mod money;
mod organization;
mod probe;
mod report;
mod scrub;
mod spend;
mod table;
mod tls;
mod vendor;

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::Value;

use self::{examine::Exam, probe::Prober, scrub::Scrubber};
pub use self::{
    finding::{Check, Finding, Severity},
    key::Source,
    limits::LimitSeen,
    report::{Facts, KeyReport, Report, UpstreamReport},
    table::to_text,
};
use crate::{
    config::{Config, Env, Loaded, Upstream, UpstreamKey},
    triage,
};

/// Upstreams that are examined at the same time.
const AT_ONCE: usize = 8;
/// An upstream as a whole has so many steps' time.
const STEPS: u32 = 6;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only these; empty: all.
    pub upstreams: Vec<String>,
    /// One smallest billed call each.
    pub spend: bool,
    /// For that call.
    pub model: Option<String>,
    /// Variable with the key to use where callers bring their own.
    pub key_from: Option<String>,
    /// Of each step.
    pub timeout: Duration,
}

/// Examines what was loaded. `status`: that of a gateway that runs on the admin address, if one does.
pub async fn examine(
    loaded: &Loaded,
    env: &Env,
    options: &Options,
    status: Option<&Value>,
) -> Report {
    let config = &loaded.config;
    let prober = Prober::new(options.timeout);
    let chosen: Vec<Arc<Upstream>> = config
        .upstreams
        .iter()
        .filter(|upstream| {
            options.upstreams.is_empty()
                || options
                    .upstreams
                    .iter()
                    .any(|name| **name == *upstream.name)
        })
        .cloned()
        .collect();
    let mut report = Report {
        config: config
            .source
            .as_ref()
            .map(|path| path.display().to_string()),
        ..Report::default()
    };
    report
        .findings
        .extend(loaded.warnings.iter().map(|warning| {
            Finding::warning(
                Check::Config,
                "config-warning",
                warning
                    .0
                    .to_string()
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        }));
    report.findings.extend(status.map(gateway));
    let exams = chosen
        .iter()
        .map(|upstream| Exam::new(loaded, env, options, &prober, upstream));
    let exams: Vec<Exam<'_>> = exams.collect();
    let examined: Vec<String> = exams
        .iter()
        .filter_map(Exam::variable)
        .map(str::to_owned)
        .collect();
    let https = chosen
        .iter()
        .any(|upstream| upstream.base_url.scheme_str() == Some("https"));
    report
        .findings
        .extend(environment::examine(&environment::Surroundings {
            env,
            dotenv: &environment::read_dotenv(Path::new(".env")),
            listen: &config.listen,
            examined: &examined,
            roots: https.then(|| prober.roots()),
            azure: chosen
                .iter()
                .any(|upstream| &*upstream.provider.name == "azure"),
        }));
    report.upstreams = stream::iter(exams)
        .map(|exam| Box::pin(exam.run(options.timeout * STEPS)))
        .buffered(AT_ONCE)
        .collect()
        .await;
    secrets(config, env).report(&mut report);
    report
}

/// Every secret there is, in the configuration and in the environment.
fn secrets(config: &Config, env: &Env) -> Scrubber {
    let mut scrubber = Scrubber::default();
    for upstream in &config.upstreams {
        if let UpstreamKey::Held(key) = &upstream.key {
            scrubber.add(key.expose());
        }
        if let Some(key) = &upstream.admin_key {
            scrubber.add(key.expose());
        }
        for (_, value) in upstream
            .headers
            .iter()
            .filter(|(_, value)| value.len() >= 12)
        {
            scrubber.add(value.to_str().unwrap_or_default());
        }
    }
    let usual: Vec<_> = triage::presets()
        .filter_map(triage::preset)
        .filter_map(|preset| preset.key_variable.clone())
        .collect();
    for (name, value) in env.iter() {
        let secret = ["KEY", "TOKEN", "SECRET", "PASSWORD"]
            .iter()
            .any(|end| name.ends_with(end));
        if secret || usual.iter().any(|usual| usual == name) {
            // Shorter ones are words, which would go from every sentence.
            scrubber.add(if value.trim().len() >= 12 { value } else { "" });
        }
    }
    scrubber
}

/// What a running gateway says of its circuits.
fn gateway(status: &Value) -> Finding {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let open: Vec<_> = status["circuits"]
        .as_array()
        .into_iter()
        .flatten()
        .take(8)
        .map(|circuit| {
            format!(
                "{} {} {}: {} since {:.0} s ({})",
                word(&circuit["upstream"]),
                word(&circuit["scope"]),
                word(&circuit["key"]),
                word(&circuit["state"]),
                circuit["since_seconds"].as_f64().unwrap_or_default(),
                word(&circuit["class"]),
            )
        })
        .collect();
    let version = word(&status["version"]);
    if open.is_empty() {
        return Finding::ok(
            Check::Gateway,
            "gateway",
            format!("A gateway runs here ({version}); no circuit is open."),
        );
    }
    let advice = status["circuits"][0]["advice"].as_str();
    Finding::warning(
        Check::Gateway,
        "circuits-open",
        format!(
            "A gateway runs here ({version}); circuits open: {}.",
            open.join("; ")
        ),
    )
    .todo(
        advice
            .unwrap_or("See /status on the admin port.")
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn open_circuits_of_a_running_gateway_are_told() {
        assert_eq!(
            gateway(&json!({"version": "1", "circuits": []})).id,
            "gateway"
        );
        let found = gateway(&json!({"version": "1", "circuits": [{
            "upstream": "openai", "scope": "organization", "key": "org-1", "state": "open", "class": "quota_exhausted",
            "since_seconds": 12.3, "advice": "Add credit."
        }]}));
        assert_eq!(found.id, "circuits-open");
        assert!(
            found
                .what
                .contains("openai organization org-1: open since 12 s (quota_exhausted)"),
            "{}",
            found.what
        );
        assert_eq!(found.todo.as_deref(), Some("Add credit."));
    }
}
