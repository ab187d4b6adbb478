//! The layer over a scripted provider, clock paused.

mod told;
mod unanswered;
mod waiting;

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, timeout},
};
use tower::{Layer, Service};

use super::{LimitLayer, Limiter, Limits, Refused};
use crate::{
    call::{Attempt, Facts, How, Reply, Target},
    config::{self, Limit},
    error::Error,
    stage::breaker::tests::support::{Act, Provider, attempt, ends, target, upstream},
    triage::Class,
};

fn limits(requests: u32, tokens: u32, concurrency: u32) -> config::Limits {
    let limit = |n| NonZeroU32::new(n).map_or(Limit::Auto, Limit::Fixed);
    config::Limits {
        requests_per_minute: limit(requests),
        tokens_per_minute: limit(tokens),
        concurrency: limit(concurrency),
        ..config::Limits::default()
    }
}

fn to(limits: config::Limits) -> Arc<Target> {
    target(0, "gpt-4o", &upstream("openai", Some("k"), limits))
}

fn limiter(act: Act) -> (Limiter<Provider>, Provider, Arc<Limits>) {
    let (provider, all) = (Provider::new(act), Arc::new(Limits::default()));
    (
        LimitLayer::new(Arc::clone(&all)).layer(provider.clone()),
        provider,
        all,
    )
}

async fn go(limiter: &Limiter<Provider>, attempt: Attempt) -> Result<Reply, Error> {
    limiter.clone().call(attempt).await
}

fn refused(answer: Result<Reply, Error>) -> Refused {
    match answer {
        Err(Error::Limit(refused)) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

fn spawn(limiter: &Limiter<Provider>, attempt: Attempt) -> JoinHandle<Result<Instant, Refused>> {
    let limiter = limiter.clone();
    tokio::spawn(async move {
        match go(&limiter, attempt).await {
            Ok(_) => Ok(Instant::now()),
            Err(Error::Limit(refused)) => Err(refused),
            Err(other) => panic!("{other}"),
        }
    })
}

async fn settled() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Takes the ten requests that go at once at 60 a minute.
async fn drain(limiter: &Limiter<Provider>, target: &Arc<Target>) {
    let began = Instant::now();
    for _ in 0..10 {
        go(limiter, attempt(target, 1, 0)).await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Calls that hold a place.
fn under_way(limits: &Limits) -> u32 {
    limits
        .views()
        .iter()
        .map(|pool| pool.concurrency.inflight)
        .sum()
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_rate_and_the_wait_is_booked() {
    let heard = Arc::new(Mutex::new(Duration::ZERO));
    let hears = Arc::clone(&heard);
    let hook = move |_: &Target, time: Duration| *hears.lock().unwrap() += time;
    let provider = Provider::new(Act::Answer);
    let limiter =
        LimitLayer::new(Arc::new(Limits::default().with_hook(Arc::new(hook)))).layer(provider);
    let (gpt, began) = (to(limits(60, 0, 0)), Instant::now());
    let mut waited = Duration::ZERO;
    for _ in 0..15 {
        let attempt = attempt(&gpt, 1, 0);
        let call = Arc::clone(&attempt.call);
        go(&limiter, attempt).await.unwrap();
        waited += call.meter.waited();
    }
    // Ten at once, then one a second.
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_millis(5_150),
        "{took:?}"
    );
    assert_eq!(waited.as_millis(), took.as_millis());
    assert_eq!(heard.lock().unwrap().as_millis(), took.as_millis());
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_wait_is_refused_at_once_with_the_true_time() {
    let (limiter, provider, _) = limiter(Act::Answer);
    let gpt = to(limits(0, 600, 0));
    go(&limiter, attempt(&gpt, 1, 600)).await.unwrap();
    let began = Instant::now();
    let told = refused(go(&limiter, attempt(&gpt, 1, 400)).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(told.class, Class::RateLimitedTokens);
    // In every window of a minute the limit holds: only when the first call has left it the second may go.
    let wait = told.retry_after.unwrap();
    assert!((60.0..61.0).contains(&wait.as_secs_f64()), "{wait:?}");
    assert_eq!(provider.asked(), 1);
    let words = told.to_string();
    assert!(
        words.contains("weir holds this call back")
            && words.contains("the set limit of 600 tokens per minute"),
        "{words}"
    );
    tokio::time::sleep(wait).await;
    go(&limiter, attempt(&gpt, 1, 400)).await.unwrap();
    assert!(
        began.elapsed() - wait < Duration::from_millis(2),
        "the told time is enough"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_limit_is_told_that_waiting_never_helps() {
    let (limiter, provider, _) = limiter(Act::Answer);
    let told = refused(go(&limiter, attempt(&to(limits(60, 600, 0)), 1, 601)).await);
    assert_eq!(
        (told.class, told.retry_after),
        (Class::RequestTooLargeForLimit, None)
    );
    assert!(
        told.advice().contains("601")
            && told
                .advice()
                .contains("the set limit of 600 tokens per minute")
    );
    assert_eq!(provider.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_nothing_from_either_bucket() {
    let (limiter, _, _) = limiter(Act::Answer);
    let gpt = to(limits(60, 600, 0));
    drain(&limiter, &gpt).await;
    // No request for a second: with less patience it is refused, and its tokens stay.
    let mut hasty = attempt(&gpt, 1, 600);
    hasty.max_wait = Duration::from_millis(500);
    assert_eq!(
        refused(go(&limiter, hasty).await).class,
        Class::RateLimitedRequests
    );
    let began = Instant::now();
    go(&limiter, attempt(&gpt, 1, 600)).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served_and_who_leaves_takes_nothing() {
    let (limiter, _, _) = limiter(Act::Answer);
    let gpt = to(limits(60, 600, 0));
    drain(&limiter, &gpt).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (n, tokens) in [(0, 250), (1, 200), (2, 100)] {
        let (limiter, attempt, order) = (
            limiter.clone(),
            attempt(&gpt, 1, tokens),
            Arc::clone(&order),
        );
        tasks.push(tokio::spawn(async move {
            // The first gives up after half a second; the second is the head then.
            let patience = Duration::from_millis(if n == 0 { 500 } else { 60_000 });
            if timeout(patience, go(&limiter, attempt))
                .await
                .is_ok_and(|went| went.is_ok())
            {
                order.lock().unwrap().push((n, Instant::now()));
            }
        }));
        yield_now().await;
    }
    let began = Instant::now();
    for task in tasks {
        task.await.unwrap();
    }
    let order: Vec<_> = order
        .lock()
        .unwrap()
        .iter()
        .map(|(n, at)| (*n, (*at - began).as_secs()))
        .collect();
    assert_eq!(order, [(1, 1), (2, 2)], "one request each second");
    // 600 tokens a minute: those of the first are there.
    go(&limiter, attempt(&gpt, 1, 300)).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn those_in_line_count_in_the_wait_of_the_next() {
    let (limiter, _, _) = limiter(Act::Answer);
    let gpt = to(limits(60, 0, 0));
    drain(&limiter, &gpt).await;
    // They go at 1.02, 2.04, .. 29.6 s: the next would go at 30.6 s, and that does not fit.
    let tasks: Vec<_> = (0..29)
        .map(|_| {
            let (limiter, attempt) = (limiter.clone(), attempt(&gpt, 1, 0));
            tokio::spawn(async move { go(&limiter, attempt).await.is_ok() })
        })
        .collect();
    for _ in 0..40 {
        yield_now().await;
    }
    let began = Instant::now();
    let told = refused(go(&limiter, attempt(&gpt, 1, 0)).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let wait = told.retry_after.unwrap().as_secs_f64();
    assert!((30.5..30.7).contains(&wait), "{wait}");
    for task in tasks {
        assert!(task.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_held_to_the_end_of_the_stream() {
    let facts = Arc::new(Facts::default());
    let (limiter, _, all) = limiter(Act::Stream(Arc::clone(&facts)));
    let gpt = to(limits(0, 0, 1));
    let stream = go(&limiter, attempt(&gpt, 1, 0)).await.unwrap();
    assert_eq!(under_way(&all), 1);
    let told = refused(go(&limiter, attempt(&gpt, 1, 0)).await);
    assert_eq!(told.class, Class::RateLimitedConcurrency);
    ends(&facts, How::CallerLeft);
    drop(stream);
    assert_eq!(under_way(&all), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_gives_its_place_back() {
    let (limiter, provider, all) = limiter(Act::Hang);
    let gpt = to(limits(60, 0, 1));
    assert!(
        timeout(Duration::from_secs(1), go(&limiter, attempt(&gpt, 1, 0)))
            .await
            .is_err()
    );
    assert_eq!(under_way(&all), 0);
    provider.now_does(Act::Answer);
    go(&limiter, attempt(&gpt, 1, 0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn new_numbers_count_what_was_used_and_equal_ones_go_on() {
    let (limiter, _, _) = limiter(Act::Answer);
    go(&limiter, attempt(&to(limits(0, 600, 0)), 1, 600))
        .await
        .unwrap();
    let at_once = |limits, tokens| {
        let mut attempt = attempt(&to(limits), 1, tokens);
        attempt.max_wait = Duration::ZERO;
        go(&limiter, attempt)
    };
    assert!(
        at_once(limits(0, 600, 0), 1).await.is_err(),
        "an equal configuration has the same bucket"
    );
    let raised = limits(0, 700, 0);
    assert!(
        at_once(raised, 101).await.is_err(),
        "what was used stays used"
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    at_once(raised, 100).await.unwrap();
}
