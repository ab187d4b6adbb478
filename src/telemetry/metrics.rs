//! Every metric of weir, by name.
//!
//! Base units; labels from closed sets only: apps and routes of the configuration, models once a route has
//! matched them (bounded, then `other`), upstreams, classes.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use crate::{
    call::Target,
    dialect::openai::Usage,
    outage::{Outage, Verdict},
};

/// A provider's answers: 10 ms to 10 min.
const SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0,
];
/// Our own share of a call: 10 µs to 100 ms.
const OVERHEAD: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.1,
];
/// The bounds that OpenTelemetry's semantic conventions give for token counts.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// The same for durations.
const OTEL_SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub requests: IntCounterVec,
    pub duration: HistogramVec,
    pub overhead: Histogram,
    pub first_token: HistogramVec,
    pub attempts: IntCounterVec,
    pub fallbacks: IntCounterVec,
    pub sdk_retries: IntCounter,
    pub limit_wait: HistogramVec,
    pub limit_refusals: IntCounterVec,
    pub quota_wait: HistogramVec,
    pub cache_requests: IntCounterVec,
    pub cache_bytes: IntGauge,
    pub breaker_state: IntGaugeVec,
    outage: IntGaugeVec,
    pub streams_truncated: IntCounterVec,
    pub tokens: IntCounterVec,
    pub inflight: IntGauge,
    pub refused: IntCounterVec,
    pub unrecognized: IntCounterVec,
    pub log_dropped: IntCounter,
    pub reloads: IntCounterVec,
    pub alerts: IntCounterVec,
    otel_tokens: HistogramVec,
    otel_duration: HistogramVec,
}

/// What is counted for one operation (endpoint) at one target.
#[derive(Debug)]
pub struct OperationHandles {
    pub duration: Histogram,
    input: IntCounter,
    output: IntCounter,
    cached_input: IntCounter,
    reasoning: IntCounter,
    otel_input: Histogram,
    otel_output: Histogram,
}

/// Registers a collector and gives it back.
macro_rules! register {
    ($registry:expr, $make:expr) => {{
        let metric = $make.expect("metric names and labels are constants");
        $registry
            .register(Box::new(metric.clone()))
            .expect("every name is registered once");
        metric
    }};
}

// === impl Metrics ===

impl Metrics {
    /// All of them, at zero.
    pub fn new() -> Self {
        let r = Registry::new();
        let counter =
            |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let gauge = |name, help, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let histogram = |name, help, bounds: &[f64], labels: &[&str]| {
            HistogramVec::new(
                HistogramOpts::new(name, help).buckets(bounds.to_vec()),
                labels,
            )
        };
        let build = register!(
            r,
            gauge("weir_build_info", "The running version.", &["version"])
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            requests: register!(r, counter("weir_requests_total", "Calls by outcome.", &["app", "route", "model", "upstream", "outcome"])),
            duration: register!(r, histogram("weir_request_duration_seconds", "From the request's head to the end of the answer.", SECONDS, &["route", "upstream", "outcome"])),
            overhead: register!(r, Histogram::with_opts(HistogramOpts::new("weir_overhead_seconds", "Time spent in weir itself up to the answer's head, without deliberate waits.").buckets(OVERHEAD.to_vec()))),
            first_token: register!(r, histogram("weir_time_to_first_token_seconds", "From the request's head to the first content of a stream.", SECONDS, &["upstream", "model"])),
            attempts: register!(r, counter("weir_attempts_total", "Upstream calls by what became of them (`ok` or the failure's class).", &["upstream", "model", "class"])),
            fallbacks: register!(r, counter("weir_fallbacks_total", "Calls that moved on to the next target.", &["from", "to", "class"])),
            sdk_retries: register!(r, IntCounter::new("weir_sdk_retries_total", "Calls that an SDK above weir sent again.")),
            limit_wait: register!(r, histogram("weir_limit_wait_seconds", "Waits for a provider's limit.", SECONDS, &["upstream"])),
            limit_refusals: register!(r, counter("weir_limit_refusals_total", "Calls that a provider refused for a limit; a surprise: although there was room, as far as was known.", &["upstream", "class", "surprise"])),
            quota_wait: register!(r, histogram("weir_quota_wait_seconds", "Waits for an app's own quota.", SECONDS, &["app"])),
            cache_requests: register!(r, counter("weir_cache_requests_total", "Calls by what the cache did.", &["result"])),
            cache_bytes: register!(r, IntGauge::new("weir_cache_bytes", "Bytes held by the cache.")),
            breaker_state: register!(r, gauge("weir_breaker_state", "Circuits that are not closed; 0: all are.", &["upstream", "scope"])),
            outage: register!(r, gauge("weir_outage", "Whether an outage is going on, by whose it is.", &["upstream", "kind"])),
            streams_truncated: register!(r, counter("weir_streams_truncated_total", "Streams that broke after their first content.", &["upstream", "class"])),
            tokens: register!(r, counter("weir_tokens_total", "Tokens used, as told by the provider, else estimated.", &["kind", "upstream", "model"])),
            inflight: register!(r, IntGauge::new("weir_inflight", "Calls in flight.")),
            refused: register!(r, counter("weir_refused_total", "Requests that weir itself refused before any upstream.", &["code"])),
            unrecognized: register!(r, counter("weir_unrecognized_failures_total", "Upstream failures that no rule knew; judged by their status alone.", &["upstream", "class"])),
            log_dropped: register!(r, IntCounter::new("weir_access_log_dropped_total", "Access log lines dropped because their reader was too slow.")),
            reloads: register!(r, counter("weir_config_reloads_total", "Reloads of the configuration.", &["result"])),
            alerts: register!(r, counter("weir_alerts_total", "Alerts by what became of them; `retried` counts further tries.", &["result"])),
            otel_tokens: register!(r, histogram("gen_ai_client_token_usage", "Tokens of one call (OpenTelemetry).", TOKENS, &["gen_ai_operation_name", "gen_ai_request_model", "gen_ai_token_type", "gen_ai_provider_name"])),
            otel_duration: register!(r, histogram("gen_ai_client_operation_duration_seconds", "Duration of one call (OpenTelemetry).", OTEL_SECONDS, &["gen_ai_operation_name", "gen_ai_request_model", "gen_ai_provider_name"])),
            registry: r,
        }
    }

    /// What is read at each scrape, beside what is counted here.
    ///
    /// # Panics
    /// When one of its names is taken.
    pub(super) fn add(&self, collector: Box<dyn Collector>) {
        self.registry
            .register(collector)
            .expect("every name is registered once");
    }

    /// The exposition text.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }

    /// A call moves on.
    pub fn fallback(&self, from: &Target, to: &Target, class: &str) {
        self.fallbacks
            .with_label_values(&[&*from.upstream.name, &*to.upstream.name, class])
            .inc();
    }

    /// An upstream call has ended at its head; `class`: `ok` or the failure's.
    pub fn attempt(&self, target: &Target, class: &str) {
        let find = |class| {
            self.attempts
                .with_label_values(&[&*target.upstream.name, &*target.label, class])
        };
        match class {
            "ok" => target.answered.get_or_init(|| find(class)).inc(),
            _ => find(class).inc(),
        }
    }

    /// The ongoing outages, at these upstreams.
    pub fn outages<'a>(&self, upstreams: impl Iterator<Item = &'a str>, ongoing: &[Outage]) {
        self.outage.reset();
        for upstream in upstreams {
            for kind in Verdict::OUTAGES {
                let at = |o: &&Outage| o.upstreams.iter().any(|name| **name == *upstream);
                let on = ongoing.iter().filter(at).any(|o| o.what == kind);
                let labels = [upstream, kind.as_str()];
                self.outage.with_label_values(&labels).set(on.into());
            }
        }
    }

    /// The handles for calls of `operation` at `target`.
    pub fn operation_of(&self, target: &Target, operation: &str) -> OperationHandles {
        let (upstream, model) = (&*target.upstream.name, &*target.label);
        let tokens = |kind| self.tokens.with_label_values(&[kind, upstream, model]);
        let otel = |kind| {
            self.otel_tokens
                .with_label_values(&[operation, model, kind, upstream])
        };
        OperationHandles {
            duration: self
                .otel_duration
                .with_label_values(&[operation, model, upstream]),
            input: tokens("input"),
            output: tokens("output"),
            cached_input: tokens("cached_input"),
            reasoning: tokens("reasoning"),
            otel_input: otel("input"),
            otel_output: otel("output"),
        }
    }
}

impl OperationHandles {
    /// Tokens of a call.
    pub fn usage(&self, usage: &Usage) {
        self.input.inc_by(usage.input);
        self.output.inc_by(usage.output);
        if usage.cached_input > 0 {
            self.cached_input.inc_by(usage.cached_input);
        }
        if usage.reasoning > 0 {
            self.reasoning.inc_by(usage.reasoning);
        }
        self.otel_input.observe(usage.input as f64);
        self.otel_output.observe(usage.output as f64);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_named() {
        let text = Metrics::new().text();
        assert!(
            text.contains(&format!(
                "weir_build_info{{version=\"{}\"}} 1",
                env!("CARGO_PKG_VERSION")
            )),
            "{text}"
        );
    }
}
