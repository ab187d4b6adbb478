//! The load generator: raw sockets and prepared bytes, so that it leaves the CPU to the rest.
//!
//! `closed` keeps a number of connections busy and counts what the gateway's process used
//! meanwhile; `rate` sends at fixed times and takes the latency; `hold` keeps many slow streams
//! open and takes the gateway's memory.

mod closed;
mod hold;
mod rate;
mod reply;
mod request;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::request::Ask;
use crate::Result;

/// What to send, where, and whose resources to watch meanwhile.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Spec {
    pub(crate) target: SocketAddr,
    /// The gateway's process; none when the upstream is called directly.
    pub(crate) pid: Option<u32>,
    /// Sent as the bearer credential.
    pub(crate) key: String,
    pub(crate) ask: Ask,
    pub(crate) shape: Shape,
}

/// How the calls come.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Shape {
    /// The next call as soon as the last is answered, on each of `connections`.
    Closed {
        connections: usize,
        warm_up: Duration,
        measured: Duration,
    },
    /// Calls at fixed times, whatever became of those before.
    Rate {
        threads: u32,
        per_second: u32,
        warm_up: Duration,
        measured: Duration,
    },
    /// One stream on each of `connections`, opened at `per_second`, then held.
    Hold {
        connections: usize,
        per_second: u32,
        held: Duration,
    },
}

/// What came back in the measured time.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    /// CPU time of the gateway's process.
    pub(crate) cpu_seconds: f64,
    /// Calls answered well, to their end.
    pub(crate) calls: u64,
    /// SSE events received.
    pub(crate) events: u64,
    /// Calls that failed in any way, warm-up included, and why the first one did.
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    /// Sorted; `Rate` only.
    #[serde(skip)]
    latencies_us: Vec<f64>,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// `Hold` only: streams open at the end, and the gateway's resident memory then.
    pub(crate) open: u64,
    pub(crate) resident_bytes: u64,
}

/// Sends, measures, prints the report.
pub(crate) fn run(spec: &Spec) -> Result<()> {
    let report = match spec.shape {
        Shape::Closed {
            connections,
            warm_up,
            measured,
        } => closed::run(spec, connections, warm_up, measured)?,
        Shape::Rate {
            threads,
            per_second,
            warm_up,
            measured,
        } => rate::run(spec, threads, per_second, warm_up, measured)?,
        Shape::Hold {
            connections,
            per_second,
            held,
        } => hold::run(spec, connections, per_second, held)?,
    };
    serde_json::to_writer(std::io::stdout(), &report)?;
    Ok(())
}

// === impl Report ===

impl Report {
    fn fail(&mut self, why: &dyn std::fmt::Display) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| why.to_string());
    }
}
