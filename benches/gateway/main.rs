//! Whole-process bench: weir with every layer on beside a bare proxy, in one run.
//!
//! ```text
//! load ──► gateway under test ──► upstream        each a process of its own
//! ```
//!
//! The binary starts itself again for the roles it needs (`role/`), so that the CPU a gateway
//! used is what the kernel booked for that process alone. Machines are noisy and shared:
//! gateways take turns round by round, figures are medians, and what counts is the ratio to
//! the bare proxy of the same run, never an absolute time.
//!
//! `cargo bench --bench gateway -- --quick`; see `docs/performance.md`.

mod args;
mod child;
mod gateway;
mod http;
mod measure;
mod plan;
mod procfs;
mod report;
mod role;
mod stats;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

/// What any step of the bench may fail with; the message is all that is done with it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    // `cargo test --all-targets` and test runners that list tests start benches too, without
    // `--bench`: a measurement nobody asked for would hold them up for minutes.
    if std::env::args().len() == 1 {
        eprintln!("nothing measured: run `cargo bench --bench gateway`, or give an option");
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    if args.list {
        return ExitCode::SUCCESS;
    }
    let done = match args.role {
        Some(role) => role::run(role, &args.spec).map(|()| ExitCode::SUCCESS),
        None => measure::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::from(2)
    })
}
