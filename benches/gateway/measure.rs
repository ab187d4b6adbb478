//! The run: gateways take turns, round by round, at each thing that is measured.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::Result;
use crate::args::{Args, Group};
use crate::child::{self, Process};
use crate::gateway::{self, APP_KEY, Gateway, Running, Scene};
use crate::http;
use crate::plan::Plan;
use crate::report::{self, Metric, Report};
use crate::role::load::{self, Ask, Shape};

/// The column for calls with no gateway between.
pub(crate) const DIRECT: &str = "direct";

/// A process is idle when nothing has happened to it for so long.
const SETTLED: Duration = Duration::from_millis(300);

/// A gateway that fails is fast: figures of a round with more failures than this are not kept.
const TOLERATED: f64 = 0.001;

/// One bench run.
struct Bench {
    scene: Scene,
    plan: Plan,
    report: Report,
    _upstream: Process,
}

/// A scratch folder that goes with the run.
struct Scratch(PathBuf);

/// Measures what `args` ask for and prints it; failure when a goal is missed (1) or something
/// could not be measured (2).
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mode = if args.quick { "quick" } else { "full" };
    let scratch = Scratch::new()?;
    let gateways = gateway::all(args)?;
    let (upstream, addr) = Process::upstream()?;
    let direct = args.wants(Group::Latency).then(|| DIRECT.to_owned());
    let names = direct
        .into_iter()
        .chain(gateways.iter().map(|gateway| gateway.name.clone()));
    let mut bench = Bench {
        scene: Scene {
            upstream: addr,
            dir: scratch.0.clone(),
        },
        plan: if args.quick {
            Plan::quick()
        } else {
            Plan::full()
        },
        report: Report::new(names),
        _upstream: upstream,
    };
    bench.all(args, &gateways)?;
    let report = bench.report;
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report.json(mode))?)?;
    }
    let missed = report::missed(&report, args);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "medians of a {mode} run, and multiples of the bare proxy's\n"
    )?;
    writeln!(out, "{}", report::table(&report))?;
    for trouble in &report.troubles {
        writeln!(out, "trouble: {trouble}")?;
    }
    for goal in &missed {
        writeln!(out, "missed: {goal}")?;
    }
    Ok(match (report.troubles.is_empty(), missed.is_empty()) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::from(1),
        (true, true) => ExitCode::SUCCESS,
    })
}

// === impl Bench ===

impl Bench {
    fn all(&mut self, args: &Args, gateways: &[Gateway]) -> Result<()> {
        // The ones that start processes of their own come first: nothing else runs beside them.
        if args.wants(Group::Startup) {
            self.start_up(gateways);
        }
        if args.wants(Group::Memory) {
            self.memory(gateways, args.streams)?;
        }
        let loads = [Group::Call, Group::Stream, Group::Cache, Group::Latency];
        if !loads.into_iter().any(|group| args.wants(group)) {
            return Ok(());
        }
        let mut running = Vec::new();
        for gateway in gateways {
            if let Some(started) = self.started(gateway) {
                running.push((gateway.name.as_str(), started));
            }
        }
        if args.wants(Group::Call) {
            self.busy(&running, Ask::Json, Self::calls)?;
        }
        if args.wants(Group::Stream) {
            self.busy(&running, Plan::ONE_BY_ONE, Self::events)?;
            self.busy(&running, Plan::AT_ONCE, Self::events_at_once)?;
        }
        if args.wants(Group::Cache) {
            self.busy(&running, Ask::Cacheable, Self::hits)?;
            self.busy(&running, Ask::Unique, Self::misses)?;
        }
        if args.wants(Group::Latency) {
            self.latency(&running)?;
        }
        Ok(())
    }

    fn started(&mut self, gateway: &Gateway) -> Option<Running> {
        let started = gateway.start(&self.scene);
        started
            .map_err(|error| self.trouble(&gateway.name, &error))
            .ok()
    }

    fn start_up(&mut self, gateways: &[Gateway]) {
        for _ in 0..self.plan.starts {
            for gateway in gateways {
                match gateway.start_bare(&self.scene) {
                    Ok(running) => {
                        let took = running.started_in.as_secs_f64() * 1e3;
                        self.report.add(Metric::StartUp, &gateway.name, took);
                    }
                    Err(error) => self.trouble(&gateway.name, &error),
                }
            }
        }
    }

    /// A new process each: what earlier load has left in the allocator is not the streams'.
    fn memory(&mut self, gateways: &[Gateway], streams: usize) -> Result<()> {
        for gateway in gateways {
            let Some(running) = self.started(gateway) else {
                continue;
            };
            std::thread::sleep(SETTLED);
            let idle = running.tree().resident_bytes();
            self.report
                .add(Metric::IdleMemory, &gateway.name, idle as f64 / 1e6);
            let shape = self.plan.slow_streams(streams);
            let load = self.load(&gateway.name, Some(&running), Plan::SLOW, shape)?;
            let grown = load.resident_bytes.saturating_sub(idle) as f64;
            let kilobytes = if load.failed == 0 && load.open > 0 {
                grown / load.open as f64 / 1e3
            } else {
                f64::NAN
            };
            self.report
                .add(Metric::StreamMemory, &gateway.name, kilobytes);
        }
        Ok(())
    }

    /// A closed loop of `ask` on each gateway in turn, as many rounds as planned.
    fn busy(
        &mut self,
        running: &[(&str, Running)],
        ask: Ask,
        keep: fn(&mut Self, &str, &load::Report, f64),
    ) -> Result<()> {
        let shape = match ask {
            Ask::Stream { gap_ms: 1.., .. } => self.plan.paced(),
            _ => self.plan.busy(),
        };
        for round in 0..self.plan.rounds {
            for (name, gateway) in turns(running, round) {
                let served = self.served()?;
                let mut load = self.load(name, Some(gateway), ask, shape)?;
                let reached_upstream = (self.served()? - served) as f64;
                if load.failed as f64 > load.calls as f64 * TOLERATED {
                    load = load::Report::default();
                }
                keep(self, name, &load, reached_upstream);
            }
        }
        Ok(())
    }

    fn calls(&mut self, name: &str, load: &load::Report, _: f64) {
        self.report
            .add(Metric::CallCpu, name, per_thousand(load, load.calls));
        self.report
            .add(Metric::CallRate, name, load.calls as f64 / load.seconds);
    }

    fn events(&mut self, name: &str, load: &load::Report, _: f64) {
        self.report
            .add(Metric::EventCpu, name, per_thousand(load, load.events));
    }

    fn events_at_once(&mut self, name: &str, load: &load::Report, _: f64) {
        self.report.add(
            Metric::EventCpuAtOnce,
            name,
            per_thousand(load, load.events),
        );
        self.report
            .add(Metric::EventRate, name, load.events as f64 / load.seconds);
    }

    fn hits(&mut self, name: &str, load: &load::Report, reached_upstream: f64) {
        // Calls of the warm-up have reached the upstream too, but are not among the counted:
        // a gateway without a cache shows 0, one with a cache very nearly 100.
        let share = (1.0 - reached_upstream / load.calls as f64).max(0.0);
        self.report
            .add(Metric::HitCpu, name, per_thousand(load, load.calls));
        self.report
            .add(Metric::HitRate, name, load.calls as f64 / load.seconds);
        self.report.add(Metric::HitShare, name, share * 100.0);
    }

    fn misses(&mut self, name: &str, load: &load::Report, _: f64) {
        self.report
            .add(Metric::MissCpu, name, per_thousand(load, load.calls));
    }

    fn latency(&mut self, running: &[(&str, Running)]) -> Result<()> {
        let shape = self.plan.fixed_rate();
        for round in 0..self.plan.rounds {
            let direct = self.load(DIRECT, None, Ask::Json, shape)?;
            self.report.add(Metric::Latency50, DIRECT, direct.p50_us);
            self.report.add(Metric::Latency99, DIRECT, direct.p99_us);
            for (name, gateway) in turns(running, round) {
                let load = self.load(name, Some(gateway), Ask::Json, shape)?;
                self.report.add(Metric::Latency50, name, load.p50_us);
                self.report.add(Metric::Latency99, name, load.p99_us);
                self.report
                    .add(Metric::Added50, name, load.p50_us - direct.p50_us);
                self.report
                    .add(Metric::Added99, name, load.p99_us - direct.p99_us);
            }
        }
        Ok(())
    }

    /// One go of the load generator at `gateway`, or at the upstream itself.
    fn load(
        &mut self,
        name: &str,
        gateway: Option<&Running>,
        ask: Ask,
        shape: Shape,
    ) -> Result<load::Report> {
        let report = child::load(&load::Spec {
            target: gateway.map_or(self.scene.upstream, |running| running.addr),
            pid: gateway.map(|running| running.process.id()),
            key: APP_KEY.to_owned(),
            ask,
            shape,
        })?;
        if let Some(why) = &report.first_failure {
            self.trouble(
                name,
                &format!("{ask:?}: {} calls failed: {why}", report.failed),
            );
        }
        Ok(report)
    }

    /// Calls that have reached the upstream so far.
    fn served(&self) -> Result<u64> {
        Ok(http::get(self.scene.upstream, "/served")?.trim().parse()?)
    }

    fn trouble(&mut self, gateway: &str, what: &dyn std::fmt::Display) {
        let trouble = format!("{gateway}: {what}");
        // A gateway that does not start does so each time.
        if !self.report.troubles.contains(&trouble) {
            self.report.troubles.push(trouble);
        }
    }
}

/// Who comes when: every other round the last is first, so that none always comes after the
/// same one.
fn turns<T>(running: &[T], round: usize) -> impl Iterator<Item = &T> {
    let count = running.len();
    (0..count)
        .map(move |turn| {
            if round.is_multiple_of(2) {
                turn
            } else {
                count - 1 - turn
            }
        })
        .map(|turn| &running[turn])
}

/// CPU milliseconds per 1,000 of what was counted, `NaN` when nothing was.
fn per_thousand(load: &load::Report, count: u64) -> f64 {
    if count == 0 {
        f64::NAN
    } else {
        load.cpu_seconds * 1e6 / count as f64
    }
}

// === impl Scratch ===

impl Scratch {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("weir-bench-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
