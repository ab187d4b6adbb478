//! What the limiter costs a call that need not wait, in CPU: the thread's own time over many calls, whatever else runs.
//!
//! Only of a release build a figure worth reading.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{runtime::Builder, time::Instant};
use tower::{Layer, Service};
use weir::{
    call::{Attempt, Call, Learnt, Reply, ReplyBody, Target},
    dialect::openai::Usage,
    error::Error,
    stage::{
        Answering,
        limit::{LimitLayer, Limits},
    },
};

use crate::{
    Result,
    calls::{Gateway, Standing},
    demand::Script,
};

pub(crate) const NAME: &str = "cost";
pub(crate) const ABOUT: &str = "CPU time of a call that need not wait; of a release build";

/// The goal, in nanoseconds a call.
pub(crate) const MOST: f64 = 1_000.0;

/// Calls admitted together: so many are usually under way. Thousands more would measure fresh memory.
const BATCH: u32 = 200;

/// Nanoseconds each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Admission alone: a reservation is had, of limits that are known.
    pub(crate) admit: f64,
    /// Admission, settling and the tower layer around them, less what is below it.
    pub(crate) layer: f64,
    /// Reading a reply's head and learning from it, which is no part of the admission.
    pub(crate) heard: f64,
}

/// Answers at once, with a head full of limits that nobody reaches, or with one that tells none.
#[derive(Clone, Debug)]
pub(crate) struct Instantly {
    heads: Arc<[HeaderMap; 2]>,
    telling: Arc<AtomicBool>,
}

// === impl Costs ===

impl Costs {
    pub(crate) fn measure(calls: u32) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(measure(calls))
    }
}

async fn measure(calls: u32) -> Result<Costs> {
    let gateway = Gateway::new("openai", &[Standing::EQUAL])?;
    let script = Script {
        input: 300,
        max_output: 300,
        output: 150,
        ..Script::default()
    };
    let plan = gateway.plan(&script);
    let attempt = Attempt {
        call: Arc::clone(&plan.call),
        target: Arc::clone(&plan.targets()[0]),
        max_wait: Duration::from_secs(30),
        last: true,
    };
    let below = Instantly::new();
    let above = LimitLayer::new(Arc::<Limits>::default()).layer(below.clone());
    // The limits are told, so that there is something to hold to.
    each(above.clone(), &attempt, 10).await?;
    let waited = Arc::<AtomicBool>::default();
    let told = Arc::clone(&waited);
    let hook = Arc::new(move |_: &Target, _| told.store(true, Ordering::Relaxed));
    let limits = Arc::new(Limits::default().with_hook(hook));
    let known = LimitLayer::new(Arc::clone(&limits)).layer(below.clone());
    each(known, &attempt, 10).await?;
    let mut admit = Duration::ZERO;
    // In batches, so that what is dropped is dropped outside of the time.
    for _ in 0..calls / BATCH {
        let mut reservations = Vec::with_capacity(BATCH as usize);
        let until = Instant::now() + Duration::from_secs(30);
        let began = cpu()?;
        for _ in 0..BATCH {
            let admitted = limits
                .admit(&attempt.call, &attempt.target, until, true)
                .await;
            reservations.push(black_box(admitted).map_err(|denied| format!("{denied:?}"))?);
        }
        admit += cpu()?.saturating_sub(began);
    }
    if waited.load(Ordering::Relaxed) {
        return Err("a call had to wait: what it cost is not what this measures".into());
    }
    // One after the other, twice: what is warm then is warm for both.
    let mut layer = [Duration::ZERO; 2];
    for _ in 0..2 {
        for (at, telling) in [true, false].into_iter().enumerate() {
            below.telling.store(telling, Ordering::Relaxed);
            let without = each(below.clone(), &attempt, calls).await?;
            layer[at] = each(above.clone(), &attempt, calls)
                .await?
                .saturating_sub(without);
        }
    }
    let nanoseconds = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(calls);
    Ok(Costs {
        admit: nanoseconds(admit) * f64::from(calls) / f64::from((calls / BATCH * BATCH).max(1)),
        layer: nanoseconds(layer[1]),
        heard: nanoseconds(layer[0].saturating_sub(layer[1])),
    })
}

async fn each<S>(mut service: S, attempt: &Attempt, calls: u32) -> Result<Duration>
where
    S: Service<Attempt, Response = Reply, Error = Error>,
{
    let began = cpu()?;
    for _ in 0..calls {
        drop(black_box(service.call(attempt.clone()).await?));
    }
    Ok(cpu()?.saturating_sub(began))
}

/// What this thread has had of the processor.
pub(crate) fn cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_ascii_whitespace().next().ok_or("no figures")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

// === impl Instantly ===

impl Instantly {
    pub(crate) fn new() -> Self {
        let mut silent = heads();
        for name in ["limit", "remaining", "reset"] {
            for kind in ["requests", "tokens"] {
                silent.remove(format!("x-ratelimit-{name}-{kind}"));
            }
        }
        Self {
            heads: Arc::new([silent, heads()]),
            telling: Arc::new(AtomicBool::new(true)),
        }
    }
}

fn heads() -> HeaderMap {
    let named = [
        ("x-ratelimit-limit-requests", "100000000000"),
        ("x-ratelimit-remaining-requests", "99999999999"),
        ("x-ratelimit-reset-requests", "1ms"),
        ("x-ratelimit-limit-tokens", "40000000000000"),
        ("x-ratelimit-remaining-tokens", "39999999999000"),
        ("x-ratelimit-reset-tokens", "1ms"),
        ("content-type", "application/json"),
        ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
        ("openai-processing-ms", "420"),
    ];
    let pairs = named.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    HeaderMap::from_iter(pairs)
}

impl Instantly {
    fn answer(&self) -> Answering {
        let telling = usize::from(self.telling.load(Ordering::Relaxed));
        let headers = self.heads[telling].clone();
        Box::pin(async move {
            Ok(Reply {
                status: StatusCode::OK,
                headers,
                body: ReplyBody::whole("{}"),
                learnt: Learnt {
                    usage: Some(Usage {
                        input: 300,
                        output: 150,
                        exact: true,
                        ..Usage::default()
                    }),
                    ..Learnt::default()
                },
                upgrade: None,
            })
        })
    }
}

impl Service<Attempt> for Instantly {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Attempt) -> Answering {
        self.answer()
    }
}

impl Service<Arc<Call>> for Instantly {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Arc<Call>) -> Answering {
        self.answer()
    }
}
