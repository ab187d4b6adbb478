//! One run: a scenario, a contender, a seed. The clock stands still while anything computes and jumps when all wait, so that
//! ten minutes take a second, and the same seed gives the same run.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt;
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, interval, sleep_until, timeout},
};
use tower::Service;
use weir::{error::Error, limits::PoolView, stage::limit::Limits};

use crate::{
    Result,
    calls::{Gateway, Standing},
    contender::{Chain, Contender},
    demand::{Arrivals, Script},
    scenario::Scenario,
    world::{Record, World},
};

/// Between two looks at what weir thinks.
const LOOK: Duration = Duration::from_secs(1);

/// The limits of the process that serves now.
type Present = Arc<Mutex<Arc<Limits>>>;

/// All that came of a run.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) seed: u64,
    pub(crate) ended: Vec<Ended>,
    pub(crate) record: Record,
    /// What weir thought, second by second.
    pub(crate) looks: Vec<Look>,
}

/// A call's end, as its caller saw it. Times are seconds since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) call: u64,
    pub(crate) app: u64,
    pub(crate) script: Script,
    pub(crate) arrived: f64,
    pub(crate) at: f64,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    Answered,
    /// By the limiter.
    HeldBack,
    /// By the provider, after all repeats.
    Refused,
    /// The caller hung up.
    Left,
}

#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) at: f64,
    pub(crate) pools: Vec<PoolView>,
}

/// Runs it to the end of the last call.
pub(crate) fn run(scenario: &Scenario, contender: Contender, seed: u64) -> Result<Trial> {
    simulate(seed, trial(scenario, contender, seed))?
}

/// Runs `work` by a clock that jumps.
pub(crate) fn simulate<T>(seed: u64, work: impl Future<Output = T>) -> Result<T> {
    // The chain's own draws, such as the jitter of repeats.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(work))
}

async fn trial(scenario: &Scenario, contender: Contender, seed: u64) -> Result<Trial> {
    let (hidden, demand) = (&scenario.hidden, &scenario.demand);
    let gateway = Gateway::new(
        scenario.provider,
        &vec![Standing::EQUAL; demand.apps as usize],
    )?;
    let world = World::new(hidden, seed);
    let mut limits = Arc::<Limits>::default();
    let mut chain = contender.chain(&gateway, &world, hidden, &limits);
    let present: Present = Arc::new(Mutex::new(Arc::clone(&limits)));
    let looks = look(Arc::clone(&present), world.clone(), scenario.seconds());
    let looks = tokio::spawn(looks);
    let mut restart = scenario.restart;
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for (after, script) in Arrivals::new(demand, hidden, scenario.seconds(), seed) {
        if after.as_secs_f64() >= scenario.seconds() {
            break;
        }
        sleep_until(began + after).await;
        if restart.take_if(|at| *at <= after.as_secs_f64()).is_some() {
            limits = reborn(&limits)?;
            chain = contender.chain(&gateway, &world, hidden, &limits);
            *present.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&limits);
        }
        let plan = gateway.plan(&script);
        calls.spawn(call(chain.clone(), plan, script, world.clone()));
    }
    let mut ended = calls.join_all().await;
    ended.sort_by_key(|ended| ended.call);
    Ok(Trial {
        seed,
        ended,
        looks: looks.await?,
        record: world.record(),
    })
}

/// Another process, which knows what this one has written down.
fn reborn(limits: &Limits) -> Result<Arc<Limits>> {
    let written = serde_json::to_string(&limits.saved())?;
    let next = Arc::<Limits>::default();
    next.restore(serde_json::from_str(&written)?);
    Ok(next)
}

/// Makes one call, as its caller does.
pub(crate) async fn call(
    mut chain: Chain,
    plan: weir::call::Plan,
    script: Script,
    world: World,
) -> Ended {
    let arrived = world.now();
    let whole = async {
        let reply = chain.call(plan).await?;
        // A body that ends early is none of this bench's.
        let _ = reply.body.collect().await;
        Ok(())
    };
    let how = match script.leaves_ms {
        0 => how(whole.await),
        after => timeout(Duration::from_millis(after), whole)
            .await
            .map_or(How::Left, how),
    };
    Ended {
        call: script.number,
        app: script.app,
        script,
        arrived,
        at: world.now(),
        how,
    }
}

fn how(answer: std::result::Result<(), Error>) -> How {
    let last = match &answer {
        Ok(()) => return How::Answered,
        Err(Error::Retry(gave_up)) => &gave_up.last,
        Err(error) => error,
    };
    match last {
        Error::Upstream(_) => How::Refused,
        _ => How::HeldBack,
    }
}

async fn look(limits: Present, world: World, until: f64) -> Vec<Look> {
    let (mut looks, mut ticks) = (Vec::new(), interval(LOOK));
    while world.now() < until {
        ticks.tick().await;
        let present = Arc::clone(&limits.lock().unwrap_or_else(PoisonError::into_inner));
        looks.push(Look {
            at: world.now(),
            pools: present.views(),
        });
    }
    looks
}
