//! Limiters against a simulated provider whose limits nobody was told, in simulated time.
//!
//! ```text
//! demand ──► retry ──► none | fixed | weir ──► world (way, account, latency)
//! ```
//!
//! The chain is weir's own from `retry` inwards; only what holds calls back differs. The clock is tokio's paused one, so ten
//! minutes pass in seconds and a seed gives the same run again. `cargo bench --bench limits`; see `docs/limits.md`.

mod args;
mod baseline;
mod calls;
mod contended;
mod contender;
mod cost;
mod crowd;
mod crowds;
mod demand;
mod diary;
mod dice;
mod driver;
mod figures;
mod hidden;
mod memory;
mod oracle;
mod report;
mod rush;
mod scenario;
mod silent;
mod world;

use std::{path::Path, process::ExitCode};

use clap::Parser;

use crate::{args::Args, contender::Contender, figures::Figures, report::Report};

/// What any step may fail with; the message is all that is done with it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where `--write` writes.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md");

/// As in the product: what a call allocates is a part of what it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    if args.memory_child {
        println!("{}", memory::measure_here()?);
        return Ok(ExitCode::SUCCESS);
    }
    let whole = args.only.is_empty() && args.who.is_empty();
    if args.write && (!whole || cfg!(debug_assertions)) {
        return Err("--write needs the whole of it, of a release build: `cargo bench --bench limits -- --write`".into());
    }
    let scenarios: Vec<_> = scenario::all()
        .into_iter()
        .filter(|one| args.wants(one.name))
        .collect();
    let crowds: Vec<_> = crowds::all()
        .into_iter()
        .filter(|one| args.wants(one.name))
        .collect();
    let others = [
        (cost::NAME, cost::ABOUT),
        (memory::NAME, memory::ABOUT),
        (contended::NAME, contended::ABOUT),
    ];
    if scenarios.is_empty() && crowds.is_empty() && !others.iter().any(|(name, _)| args.wants(name))
    {
        return Err("nothing has such a name; see --names".into());
    }
    if args.names {
        scenarios
            .iter()
            .for_each(|one| println!("{:<20} {}", one.name, one.about));
        crowds
            .iter()
            .for_each(|one| println!("{:<20} {}", one.name, one.about));
        others
            .iter()
            .filter(|(name, _)| args.wants(name))
            .for_each(|(name, about)| println!("{name:<20} {about}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    for scenario in &scenarios {
        for contender in args.contenders() {
            let run = |seed| {
                let trial = driver::run(scenario, contender, seed)?;
                if let Some(step) = args.diary.filter(|_| contender == Contender::Weir) {
                    println!("{}", diary::diary(&trial, step));
                }
                Ok(Figures::of(scenario, &trial))
            };
            println!(
                "{}",
                report.alone(scenario, contender, &each_seed(args, run)?)
            );
        }
    }
    for crowd in &crowds {
        for contender in args.contenders() {
            let shares = each_seed(args, |seed| crowd.run(contender, seed))?;
            println!("{}", report.shared(crowd, contender, &shares));
        }
    }
    if args.wants(cost::NAME) {
        println!("{}", report.costs(&cost::Costs::measure(args.calls)?));
    }
    if args.wants(contended::NAME) {
        for apps in [1, 10, 1_000] {
            println!(
                "{:<20} {apps:>5} apps  {:.1} us a call",
                contended::NAME,
                contended::measure(apps)?
            );
        }
    }
    if args.wants(memory::NAME) {
        println!("{}", report.memory(memory::measure()?));
    }
    if args.write {
        report.write(Path::new(PAGE))?;
    }
    if !report.short.is_empty() {
        println!("\nshort of the goal: {}", report.short.join(", "));
    }
    Ok(ExitCode::from(u8::from(
        args.check && !report.short.is_empty(),
    )))
}

/// The seeds' runs, side by side: each has a thread, and so a clock, of its own.
fn each_seed<T: Send>(args: &Args, run: impl Fn(u64) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let seeds = args.seed..args.seed + args.seeds;
        let runs: Vec<_> = seeds
            .map(|seed| {
                scope.spawn({
                    let run = &run;
                    move || run(seed)
                })
            })
            .collect();
        let joined = runs
            .into_iter()
            .map(|run| run.join().map_err(|_| "a run panicked")?);
        joined.collect()
    })
}
