//! What was measured: kept round by round, shown as a table, written as JSON, held to the goals.

mod goals;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use crate::args::Group;
use crate::gateway::BARE;
use crate::stats::median;

pub(crate) use self::goals::missed;
pub(crate) use self::table::table;

/// One measured quantity.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    CallCpu,
    CallRate,
    EventCpu,
    EventCpuAtOnce,
    EventRate,
    HitCpu,
    HitRate,
    HitShare,
    MissCpu,
    Latency50,
    Latency99,
    Added50,
    Added99,
    IdleMemory,
    StreamMemory,
    StartUp,
}

/// Everything measured in one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Columns, in the order gateways were first seen.
    names: Vec<String>,
    values: BTreeMap<Metric, BTreeMap<String, Vec<f64>>>,
    /// What went wrong; figures it touches are left out.
    pub(crate) troubles: Vec<String>,
}

// === impl Metric ===

impl Metric {
    const ALL: [Self; 16] = [
        Self::CallCpu,
        Self::CallRate,
        Self::EventCpu,
        Self::EventCpuAtOnce,
        Self::EventRate,
        Self::HitCpu,
        Self::HitRate,
        Self::HitShare,
        Self::MissCpu,
        Self::Latency50,
        Self::Latency99,
        Self::Added50,
        Self::Added99,
        Self::IdleMemory,
        Self::StreamMemory,
        Self::StartUp,
    ];

    /// What it is called, unit included.
    fn label(self) -> &'static str {
        match self {
            Self::CallCpu => "CPU per 1,000 calls, ms",
            Self::CallRate => "calls per second",
            Self::EventCpu => "CPU per 1,000 SSE events, one by one, ms",
            Self::EventCpuAtOnce => "CPU per 1,000 SSE events, all at once, ms",
            Self::EventRate => "SSE events per second, all at once",
            Self::HitCpu => "CPU per 1,000 same cacheable calls, ms",
            Self::HitRate => "same cacheable calls per second",
            Self::HitShare => "  of which answered without the upstream, %",
            Self::MissCpu => "CPU per 1,000 new cacheable calls, ms",
            Self::Latency50 => "latency p50, us",
            Self::Latency99 => "latency p99, us",
            Self::Added50 => "added by the gateway, p50, us",
            Self::Added99 => "added by the gateway, p99, us",
            Self::IdleMemory => "memory idle, MB",
            Self::StreamMemory => "memory per slow stream, KB",
            Self::StartUp => "start-up to first answer, ms",
        }
    }

    /// Digits behind the point.
    fn decimals(self) -> usize {
        match self {
            Self::CallRate | Self::EventRate | Self::HitRate => 0,
            Self::Latency50 | Self::Latency99 | Self::Added50 | Self::Added99 => 0,
            Self::EventCpu | Self::EventCpuAtOnce => 2,
            _ => 1,
        }
    }

    /// Whether a multiple of the bare proxy's figure says anything.
    fn compares(self) -> bool {
        !matches!(self, Self::HitShare | Self::Added50 | Self::Added99)
    }
}

impl From<Metric> for Group {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::CallCpu | Metric::CallRate => Self::Call,
            Metric::EventCpu | Metric::EventCpuAtOnce | Metric::EventRate => Self::Stream,
            Metric::HitCpu | Metric::HitRate | Metric::HitShare | Metric::MissCpu => Self::Cache,
            Metric::Latency50 | Metric::Latency99 | Metric::Added50 | Metric::Added99 => {
                Self::Latency
            }
            Metric::IdleMemory | Metric::StreamMemory => Self::Memory,
            Metric::StartUp => Self::Startup,
        }
    }
}

// === impl Report ===

impl Report {
    /// A column for each, also for those that then fail.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            names: names.into_iter().collect(),
            ..Self::default()
        }
    }

    /// One round's value; `NaN` for a round that went wrong, so that rounds stay side by side.
    pub(crate) fn add(&mut self, metric: Metric, gateway: &str, value: f64) {
        let of_metric = self.values.entry(metric).or_default();
        of_metric.entry(gateway.to_owned()).or_default().push(value);
    }

    fn rounds(&self, metric: Metric, gateway: &str) -> &[f64] {
        let found = self
            .values
            .get(&metric)
            .and_then(|gateways| gateways.get(gateway));
        found.map_or(&[], Vec::as_slice)
    }

    /// Median of the rounds that went well.
    fn value(&self, metric: Metric, gateway: &str) -> Option<f64> {
        let good: Vec<f64> = self
            .rounds(metric, gateway)
            .iter()
            .copied()
            .filter(|value| !value.is_nan())
            .collect();
        (!good.is_empty()).then(|| median(&good))
    }

    /// Median of each round's multiple of what the bare proxy needed in that round: a machine
    /// that gets slower midway slows both.
    fn ratio(&self, metric: Metric, gateway: &str) -> Option<f64> {
        let (own, bare) = (self.rounds(metric, gateway), self.rounds(metric, BARE));
        let ratios = own.iter().zip(bare).map(|(own, bare)| own / bare);
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        (gateway != BARE && metric.compares() && !ratios.is_empty()).then(|| median(&ratios))
    }

    /// All of it, for machines.
    pub(crate) fn json(&self, mode: &str) -> serde_json::Value {
        let gateway = |metric: Metric, name: &String| {
            let figure = json!({
                "median": self.value(metric, name)?,
                "ratio_to_bare": self.ratio(metric, name),
                "rounds": self.rounds(metric, name),
            });
            Some((name.clone(), figure))
        };
        let measured = |metric: &Metric| self.values.contains_key(metric);
        let metrics: Vec<_> = Metric::ALL
            .into_iter()
            .filter(measured)
            .map(|metric| {
                let gateways: serde_json::Map<_, _> = self
                    .names
                    .iter()
                    .filter_map(|name| gateway(metric, name))
                    .collect();
                json!({ "metric": metric, "label": metric.label().trim(), "gateways": gateways })
            })
            .collect();
        json!({
            "mode": mode,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "metrics": metrics,
            "troubles": self.troubles,
        })
    }
}
