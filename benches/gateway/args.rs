//! The bench's command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::role::Role;

/// Measures weir beside a bare proxy in one run.
#[derive(Debug, Parser)]
#[command(name = "gateway", max_term_width = 100)]
pub(crate) struct Args {
    /// Short rounds: under a minute in all, for a first impression
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure only these
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Group>,

    /// Leave these gateways out (`weir`, `nginx`; `bare` is what the others are compared with)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) skip: Vec<String>,

    /// Measure the bare proxy a second time, as `twin`: how far its multiples are from 1 is how
    /// much this machine's noise can do to the others
    #[arg(long)]
    pub(crate) twin: bool,

    /// The weir binary to measure instead of the one built with this bench
    #[arg(long, value_name = "FILE")]
    pub(crate) weir: Option<PathBuf>,

    /// Measure one more gateway: a shell command, in which `{port}`, `{admin_port}`, `{upstream}`
    /// (host:port), `{config}` (weir's generated config), `{dir}` (scratch) and `{bench}` (this
    /// binary) are filled in; `exec` is put before it, so variables need `env`
    #[arg(long = "gateway", value_name = "NAME=CMD")]
    pub(crate) gateways: Vec<String>,

    /// Where the gateway given by the `--gateway` at the same place answers [default:
    /// http://127.0.0.1:{port}]; only its host and port are used
    #[arg(long = "url", value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Number of slow streams held at once in `memory`
    #[arg(long, default_value_t = 5000)]
    pub(crate) streams: usize,

    /// Write everything measured, round by round, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) goals: Goals,

    /// Set by cargo
    #[arg(long, hide = true)]
    pub(crate) bench: bool,

    /// Set by test runners that look for tests here: there are none
    #[arg(long, hide = true)]
    pub(crate) list: bool,

    /// As `--list`
    #[arg(long, hide = true)]
    pub(crate) format: Option<String>,

    /// As `--list`
    #[arg(long, hide = true)]
    pub(crate) ignored: bool,

    /// Run as one of the bench's helpers
    #[arg(long, hide = true)]
    pub(crate) role: Option<Role>,

    /// The helper's task, as JSON
    #[arg(long, hide = true, default_value = "{}")]
    pub(crate) spec: String,
}

/// Bounds; when weir (or a `--gateway`) is past a given one, the exit code is 1.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Goals (exit code 1 when missed)")]
pub(crate) struct Goals {
    /// All of the project's own goals, which other options here then replace one by one
    #[arg(long)]
    pub(crate) check: bool,

    /// CPU per call, as a multiple of the bare proxy's [--check: 2.0]
    #[arg(long, value_name = "RATIO")]
    pub(crate) max_ratio_call: Option<f64>,

    /// CPU per SSE event, at either pace, as a multiple of the bare proxy's [--check: 2.0]
    #[arg(long, value_name = "RATIO")]
    pub(crate) max_ratio_stream: Option<f64>,

    /// CPU per cache hit, as a multiple of the bare proxy's same call [--check: 1.2]
    #[arg(long, value_name = "RATIO")]
    pub(crate) max_ratio_hit: Option<f64>,

    /// Resident memory of the idle process, MB [--check: 20]
    #[arg(long, value_name = "MB")]
    pub(crate) max_idle_mb: Option<f64>,

    /// Resident memory per slow stream, KB [--check: 60]
    #[arg(long, value_name = "KB")]
    pub(crate) max_stream_kb: Option<f64>,

    /// From spawn to the first answered /healthz, ms [--check: 50]
    #[arg(long, value_name = "MS")]
    pub(crate) max_start_ms: Option<f64>,
}

/// What is measured together, and can be left out together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Group {
    /// Small calls, as many as go
    Call,
    /// Streams: events one by one, and as many as go
    Stream,
    /// Cacheable calls: always the same, and never the same
    Cache,
    /// Idle process, and slow streams all at once
    Memory,
    /// From spawn to the first answer
    Startup,
    /// Time added to a call at a fixed rate
    Latency,
}

impl Goals {
    /// `given`, or with `--check` the project's `own`.
    pub(crate) fn bound(&self, given: Option<f64>, own: f64) -> Option<f64> {
        given.or(self.check.then_some(own))
    }
}

impl Args {
    /// Whether `group` was asked for.
    pub(crate) fn wants(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }
}
