//! Limiters against a simulated provider whose limits nobody was told, in simulated time.
//!
//! ```text
//! demand ──► retry ──► none | fixed | weir ──► world (way, account, latency)
//! ```
//!
//! The chain is weir's own from `retry` inwards; only what holds calls back differs. The clock is tokio's paused one, so ten
//! minutes pass in seconds and a seed gives the same run again. `cargo bench --bench limits`; see `docs/limits.md`.

mod account;
mod args;
mod baseline;
mod calls;
mod contender;
mod demand;
mod dice;
mod driver;
mod figures;
mod hidden;
mod report;
mod scenario;
mod world;

use std::{path::Path, process::ExitCode};

use clap::Parser;

use crate::{args::Args, figures::Figures, report::Report};

/// What any step may fail with; the message is all that is done with it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where `--write` writes.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md");

fn main() -> ExitCode {
    // As `benches/gateway`: test runners start benches too, without any argument.
    if std::env::args().len() == 1 {
        eprintln!("nothing measured: run `cargo bench --bench limits`, or give an option");
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    if args.list {
        return ExitCode::SUCCESS;
    }
    run(&args).unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::from(2)
    })
}

#[expect(clippy::print_stdout, reason = "the table is what this is for")]
fn run(args: &Args) -> Result<ExitCode> {
    let scenarios = scenario::all();
    let chosen: Vec<_> = scenarios.iter().filter(|scenario| args.wants(scenario.name)).collect();
    if chosen.is_empty() {
        return Err("no scenario has such a name; see --names".into());
    }
    if args.names {
        chosen.iter().for_each(|scenario| println!("{:<20} {}", scenario.name, scenario.about));
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    println!("{}", Report::heading());
    for scenario in chosen {
        for contender in args.contenders() {
            let figures = (args.seed..args.seed + args.seeds)
                .map(|seed| Ok(Figures::of(scenario, &driver::run(scenario, contender, seed)?)))
                .collect::<Result<Vec<_>>>()?;
            println!("{}", report.add(scenario, contender, figures));
        }
    }
    if args.write {
        report.write(Path::new(PAGE))?;
    }
    let short = report.short();
    if !short.is_empty() {
        println!("\nshort of the goal: {}", short.join(", "));
    }
    Ok(ExitCode::from(u8::from(args.check && !short.is_empty())))
}
