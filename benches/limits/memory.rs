//! What limits and quotas keep in memory when many apps have called many targets: resident memory of a process that does nothing else.
//!
//! Of a child process, so that what earlier runs have left behind does not count.

use std::{
    fs,
    num::{NonZeroU32, NonZeroU64},
    process::Command,
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Builder;
use tower::{Layer as _, Service as _};
use weir::{
    call::{Attempt, Call, Target, TargetId},
    stage::{
        limit::{LimitLayer, Limits},
        quota::{QuotaLayer, Quotas},
    },
};

use crate::{
    Result,
    calls::{Gateway, MODEL, Standing},
    cost::Instantly,
    demand::Script,
};

pub(crate) const NAME: &str = "memory";
pub(crate) const ABOUT: &str = "resident memory that grows when each of 10,000 apps, each with a quota, calls each of 50 targets, all within a minute";

/// The goal, in MiB.
pub(crate) const MOST: f64 = 64.0;

const APPS: u64 = 10_000;
const TARGETS: u32 = 50;

/// MiB, as a child of this program tells it.
pub(crate) fn measure() -> Result<f64> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--bench", "--memory-child"])
        .output()?;
    if !child.status.success() {
        let why = String::from_utf8_lossy(&child.stderr).into_owned();
        return Err(format!("the child that measures memory failed: {why}").into());
    }
    Ok(String::from_utf8(child.stdout)?.trim().parse()?)
}

/// The child's side.
pub(crate) fn measure_here() -> Result<f64> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(grown())
}

async fn grown() -> Result<f64> {
    let mut gateway = Gateway::new("openai", &vec![Standing::EQUAL; APPS as usize])?;
    for app in &mut gateway.config.apps {
        let app = Arc::make_mut(app);
        app.requests_per_minute = NonZeroU32::new(600);
        app.tokens_per_minute = NonZeroU32::new(1_000_000);
        app.tokens_per_day = NonZeroU64::new(1_000_000_000);
    }
    let upstream = gateway.config.upstreams.first().ok_or("no upstream")?;
    let target = |number| {
        let model: Arc<str> = format!("{MODEL}-{number}").into();
        let (id, upstream) = (TargetId(number), Arc::clone(upstream));
        Arc::new(Target::new(id, upstream, Arc::clone(&model), false, model))
    };
    let targets: Vec<Arc<Target>> = (0..TARGETS).map(target).collect();
    let limits = Arc::<Limits>::default();
    let mut limited = LimitLayer::new(Arc::clone(&limits)).layer(Instantly::new());
    // What the runtime and the calls themselves need once is none of it.
    let call = |app| Arc::clone(&gateway.plan(&Script { app, ..SMALL }).call);
    drop(call(0));
    let before = resident()?;
    let quotas = Arc::new(Quotas::new(&gateway.config.apps, Duration::from_secs(30)));
    let mut allowed = QuotaLayer::new(Arc::clone(&quotas)).layer(Instantly::new());
    for app in 0..APPS {
        let call: Arc<Call> = call(app);
        drop(allowed.call(Arc::clone(&call)).await?);
        for target in &targets {
            let attempt = Attempt {
                call: Arc::clone(&call),
                target: Arc::clone(target),
                max_wait: Duration::from_secs(30),
                last: true,
            };
            drop(limited.call(attempt).await?);
        }
    }
    let after = resident()?;
    drop((limits, quotas));
    Ok(after - before)
}

const SMALL: Script = Script {
    number: 0,
    app: 0,
    input: 300,
    max_output: 300,
    output: 150,
    way_ms: 0,
    head_ms: 0,
    body_ms: 0,
    leaves_ms: 0,
};

/// MiB of this process.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: f64 = kilobytes.ok_or("no VmRSS in /proc/self/status")?.parse()?;
    Ok(kilobytes / 1_024.0)
}
