//! A gateway in process, configured by TOML.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use weir::{
    app::Gateway,
    config::{Config, Env},
};

/// The keys that the gateway holds: `${FIRST_KEY}` and `${SECOND_KEY}` in a test's configuration.
pub(crate) const FIRST_KEY: &str = "sk-first-held-secret-0123456789";
pub(crate) const SECOND_KEY: &str = "sk-second-held-secret-9876543210";

/// A running gateway; stops when dropped.
#[derive(Debug)]
pub(crate) struct Weir {
    gateway: Option<Gateway>,
    pub(crate) addr: SocketAddr,
}

/// Reads `text` as a configuration file on any free port, without admin port and access log.
pub(crate) fn config(text: &str) -> Config {
    let mut whole = String::new();
    if !text.lines().any(|line| line.starts_with("listen")) {
        whole.push_str("listen = \"127.0.0.1:0\"\n");
    }
    // Top-level keys stand before tables, so the tables that a test does not mention come last.
    whole.push_str(text);
    for (table, body) in [
        ("[admin]", "listen = \"off\""),
        ("[log]", "access = \"off\""),
        ("[server]", "workers = 2"),
        // Most tests count upstream calls: two equal ones must be two.
        ("[cache]", "policy = \"off\""),
    ] {
        let inline = format!("{} =", table.trim_matches(['[', ']']));
        if !text.contains(table) && !text.lines().any(|line| line.starts_with(&inline)) {
            whole.push_str(&format!("\n{table}\n{body}\n"));
        }
    }
    let env: Env = [("FIRST_KEY", FIRST_KEY), ("SECOND_KEY", SECOND_KEY)]
        .into_iter()
        .collect();
    let cores = NonZeroU32::new(2).expect("two is not zero");
    match Config::from_text(&whole, &env, cores) {
        Ok((config, _)) => config,
        Err(mistakes) => panic!("{mistakes}\n{whole}"),
    }
}

/// An `[[upstream]]` with a held key; `more` are further lines of it.
pub(crate) fn upstream(name: &str, base_url: &str, more: &str) -> String {
    let key = if name == "second" {
        "SECOND_KEY"
    } else {
        "FIRST_KEY"
    };
    format!(
        "[[upstream]]\nname = \"{name}\"\nprovider = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"${{{key}}}\"\n{more}\n"
    )
}

/// Quick in everything, so that tests are; `[retry]` and `[breaker]` may be given instead.
fn quick(more: &str) -> String {
    let mut text = String::new();
    if !more.contains("[retry]") {
        text.push_str("[retry]\nbase = \"50ms\"\nmax = \"200ms\"\n");
    }
    text
}

impl Weir {
    /// A gateway with this configuration.
    pub(crate) fn start(text: &str) -> Self {
        let gateway = Gateway::start(config(text)).expect("the gateway starts");
        let addr = gateway
            .address()
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        Self {
            gateway: Some(gateway),
            addr,
        }
    }

    /// In front of one upstream that gets a held key.
    pub(crate) fn over(base_url: &str, more: &str) -> Self {
        Self::start(&format!(
            "{}\n[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n{}\n{more}",
            upstream("first", base_url, ""),
            quick(more)
        ))
    }

    /// In front of one upstream that gets the caller's own key.
    pub(crate) fn passing(base_url: &str, more: &str) -> Self {
        Self::start(&format!(
            "[[upstream]]\nname = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"passthrough\"\n{}\n{more}",
            quick(more)
        ))
    }

    /// In front of `first`, and of `second` when that fails.
    pub(crate) fn over_two(first: &str, second: &str, more: &str) -> Self {
        Self::over_two_with(first, second, "", more)
    }

    /// As [`Weir::over_two`], with more lines for both upstreams.
    pub(crate) fn over_two_with(first: &str, second: &str, each: &str, more: &str) -> Self {
        Self::start(&format!(
            "{}{}\n[[route]]\nmodels = [\"*\"]\ntargets = [\"first\", \"second\"]\n{}\n{more}",
            upstream("first", first, each),
            upstream("second", second, each),
            quick(more)
        ))
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("runs until it is stopped")
    }

    pub(crate) fn metrics(&self) -> String {
        self.gateway().state.metrics.text()
    }

    /// The sum of a metric's samples whose labels contain each of `labels` (`outcome="ok"`).
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Calls in flight.
    pub(crate) fn inflight(&self) -> u32 {
        self.gateway().state.gate.inflight()
    }

    /// Drains and stops; whether everything was finished in time.
    pub(crate) async fn stop(mut self, timeout: Duration) -> bool {
        let gateway = self.gateway.take().expect("stopped once");
        tokio::task::spawn_blocking(move || gateway.stop(timeout))
            .await
            .expect("the stop does not panic")
    }
}
