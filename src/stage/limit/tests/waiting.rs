//! Who waits, in which order, and what is left behind: nothing.

use std::{collections::VecDeque, num::NonZeroU32};

use proptest::prelude::*;
use tokio::task::yield_now;

use super::*;
use crate::{
    call::{Call, End},
    config::{App, AppId},
    dialect::openai::Usage,
    stage::breaker::tests::support::call,
    triage::preset,
};

fn app(name: &str, weight: u32) -> Arc<App> {
    Arc::new(App {
        id: AppId(1),
        name: name.into(),
        weight: NonZeroU32::new(weight).unwrap(),
        ..App::anyone()
    })
}

fn by(app: &Arc<App>, target: &Arc<Target>, tokens: u64, batch: bool) -> Attempt {
    let mut call: Call = Arc::try_unwrap(call(app, 1, tokens)).unwrap();
    call.directives.priority = batch.then_some(config::Priority::Batch);
    Attempt {
        call: Arc::new(call),
        target: Arc::clone(target),
        max_wait: Duration::from_secs(30),
        last: false,
    }
}

/// Reserved, under way and waiting, in all.
fn left(limits: &Limits) -> (u64, u32, u32) {
    let views = limits.views();
    (
        views
            .iter()
            .flat_map(|pool| &pool.buckets)
            .map(|bucket| bucket.reserved)
            .sum(),
        views.iter().map(|pool| pool.concurrency.inflight).sum(),
        views
            .iter()
            .map(|pool| pool.queue.interactive + pool.queue.batch)
            .sum(),
    )
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_past_the_end_of_his_patience_for_a_place() {
    let (limiter, provider, all) = limiter(Act::Hang);
    let gpt = to(limits(60, 0, 1));
    let hangs = spawn(&limiter, attempt(&gpt, 1, 0));
    settled().await;
    let began = Instant::now();
    let mut patient = attempt(&gpt, 1, 0);
    patient.max_wait = Duration::from_secs(3);
    let told = refused(go(&limiter, patient).await);
    assert_eq!(told.class, Class::RateLimitedConcurrency);
    assert!(told.retry_after.is_some_and(|wait| !wait.is_zero()));
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(3) && waited < Duration::from_millis(3_010),
        "{waited:?}"
    );
    assert_eq!(left(&all), (1, 1, 0));
    // Who holds the place leaves: the next goes at once.
    provider.now_does(Act::Answer);
    let next = spawn(&limiter, attempt(&gpt, 1, 0));
    settled().await;
    let at = Instant::now();
    hangs.abort();
    assert_eq!(next.await.unwrap().unwrap(), at);
    assert_eq!(left(&all), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_leaves_at_once_and_hands_its_duty_on() {
    let (limiter, _, all) = limiter(Act::Answer);
    let gpt = to(limits(60, 0, 0));
    drain(&limiter, &gpt).await;
    let began = Instant::now();
    // The first is the one that sleeps for all.
    let first = spawn(&limiter, attempt(&gpt, 1, 0));
    settled().await;
    let second = spawn(&limiter, attempt(&gpt, 1, 0));
    settled().await;
    assert_eq!(left(&all).2, 2);
    first.abort();
    settled().await;
    assert_eq!(left(&all).2, 1);
    let took = second.await.unwrap().unwrap() - began;
    assert!(took < Duration::from_millis(1_050), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn interactive_calls_go_before_a_batch_that_came_first() {
    let (limiter, _, _) = limiter(Act::Answer);
    let gpt = to(limits(60, 0, 0));
    drain(&limiter, &gpt).await;
    let (bulk, chat) = (app("bulk", 1), app("chat", 1));
    let batch: Vec<_> = (0..3)
        .map(|_| spawn(&limiter, by(&bulk, &gpt, 0, true)))
        .collect();
    settled().await;
    let began = Instant::now();
    let talk = spawn(&limiter, by(&chat, &gpt, 0, false)).await.unwrap();
    let waited = talk.unwrap() - began;
    assert!(waited < Duration::from_millis(1_050), "{waited:?}");
    for task in batch {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_gives_an_interactive_call_the_place_of_the_newest_batch_call() {
    let (limiter, _, all) = limiter(Act::Hang);
    let gpt = to(limits(0, 0, 1));
    let (bulk, chat) = (app("bulk", 1), app("chat", 1));
    let _hangs = spawn(&limiter, by(&chat, &gpt, 0, false));
    settled().await;
    let mut batch: Vec<_> = (0..8_192)
        .map(|_| spawn(&limiter, by(&bulk, &gpt, 0, true)))
        .collect();
    for _ in 0..30 {
        settled().await;
    }
    assert_eq!(left(&all).2, 8_192);
    // One more batch call has no place; an interactive one has.
    let told = spawn(&limiter, by(&bulk, &gpt, 0, true)).await.unwrap();
    assert_eq!(told.unwrap_err().class, Class::RateLimitedConcurrency);
    let _talk = spawn(&limiter, by(&chat, &gpt, 0, false));
    let newest = batch.pop().unwrap().await.unwrap();
    assert!(newest.unwrap_err().retry_after.is_some());
    let pool = &all.views()[0];
    assert_eq!((pool.queue.interactive, pool.queue.batch), (1, 8_191));
    assert_eq!(pool.queue.apps, 2);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_is_expected_is_the_wait_that_comes() {
    let (limiter, _, all) = limiter(Act::Answer);
    let gpt = to(limits(60, 0, 0));
    let one = attempt(&gpt, 1, 0);
    assert_eq!(all.expected_wait(&one.call, &gpt), Some(Duration::ZERO));
    drain(&limiter, &gpt).await;
    let waiting: Vec<_> = (0..4)
        .map(|_| spawn(&limiter, attempt(&gpt, 1, 0)))
        .collect();
    settled().await;
    let expected = all.expected_wait(&one.call, &gpt).unwrap();
    let began = Instant::now();
    go(&limiter, one).await.unwrap();
    let took = began.elapsed();
    assert!(
        took.abs_diff(expected) < Duration::from_millis(10),
        "{took:?} {expected:?}"
    );
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    let large = attempt(&to(limits(60, 600, 0)), 1, 601);
    assert_eq!(all.expected_wait(&large.call, &large.target), None);
}

#[tokio::test(start_paused = true)]
async fn refused_tokens_are_given_back_and_the_request_is_not() {
    let (limiter, provider, all) = limiter(Act::Fail(
        400,
        crate::stage::breaker::tests::support::BAD_REQUEST,
        "",
    ));
    let gpt = to(limits(100, 600, 0));
    for _ in 0..5 {
        assert!(go(&limiter, attempt(&gpt, 1, 600)).await.is_err());
    }
    assert_eq!(provider.asked(), 5, "none had to wait for tokens");
    let view = &all.views()[0];
    let remaining: Vec<_> = view.buckets.iter().map(|b| b.remaining).collect();
    assert_eq!(remaining, [95, 600]);
    provider.now_does(Act::Fail(500, "{}", ""));
    assert!(go(&limiter, attempt(&gpt, 1, 600)).await.is_err());
    assert_eq!(
        all.views()[0].buckets[1].remaining,
        0,
        "it may have been worked on"
    );
    assert_eq!(left(&all), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_found_by_trying_where_a_refusal_tells_nothing() {
    let busy =
        r#"{"error":{"message":"Too many concurrent requests","code":"rate_limit_exceeded"}}"#;
    let (limiter, provider, all) = limiter(Act::Hang);
    let gpt = to(config::Limits::default());
    provider.now_does(Act::Answer);
    go(&limiter, attempt(&gpt, 1, 0)).await.unwrap();
    provider.now_does(Act::Hang);
    let tasks: Vec<_> = (0..9)
        .map(|_| spawn(&limiter, attempt(&gpt, 1, 0)))
        .collect();
    settled().await;
    assert_eq!(all.views()[0].concurrency.limit, None);
    provider.now_does(Act::Fail(429, busy, ""));
    assert!(go(&limiter, attempt(&gpt, 1, 0)).await.is_err());
    let view = all.views()[0].clone();
    assert_eq!(
        (view.concurrency.limit, view.concurrency.learned),
        (Some(9), true)
    );
    assert!(view.last_refusal.is_some());
    tasks.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn callers_with_keys_of_their_own_have_limits_of_their_own_and_pools_are_bounded() {
    let (limiter, _, all) = limiter(Act::Answer);
    let pass = target(
        0,
        "gpt-4o",
        &upstream("openai", None, config::Limits::default()),
    );
    for caller in 0..10_500 {
        go(&limiter, attempt(&pass, caller, 10)).await.unwrap();
    }
    let known = all.views().len();
    assert!((5_000..=10_001).contains(&known), "{known}");
    assert_eq!(left(&all), (0, 0, 0));
    assert!(all.views().iter().all(|pool| pool.account.is_some()));
}

/// One key may serve several organisations and projects: each has limits of its own, at whoever names them in headers.
#[tokio::test(start_paused = true)]
async fn one_key_has_limits_of_its_own_in_each_organization_and_project() {
    let accounts = async |provider: &str| {
        let (limiter, _, all) = limiter(Act::Answer);
        let mut upstream = upstream("any", None, config::Limits::default());
        Arc::get_mut(&mut upstream).unwrap().provider = preset(provider).unwrap();
        let gpt = target(0, "gpt-4o", &upstream);
        let headers: [&[(&str, &str)]; 4] = [
            &[],
            &[("openai-organization", "org-a")],
            &[("openai-organization", "org-b")],
            &[
                ("openai-organization", "org-a"),
                ("openai-project", "proj-1"),
            ],
        ];
        for headers in headers.iter().chain(&headers) {
            let mut attempt = attempt(&gpt, 1, 10);
            let call = Arc::get_mut(&mut attempt.call).unwrap();
            for (name, value) in *headers {
                call.headers.insert(*name, value.parse().unwrap());
            }
            go(&limiter, attempt).await.unwrap();
        }
        let mut known: Vec<_> = all.views().into_iter().map(|pool| pool.account).collect();
        known.dedup();
        known.len()
    };
    assert_eq!(accounts("openai").await, 4);
    assert_eq!(accounts("groq").await, 1, "what is no header of theirs");
}

/// Went wrong: what calls under way had reserved counted as used, and who could have gone a second later was refused.
#[tokio::test(start_paused = true)]
async fn who_may_get_what_others_give_back_is_not_refused() {
    let facts = Arc::new(Facts::default());
    let (limiter, provider, all) = limiter(Act::Stream(Arc::clone(&facts)));
    let gpt = to(limits(0, 600, 0));
    let stream = go(&limiter, attempt(&gpt, 1, 500)).await.unwrap();
    provider.now_does(Act::Answer);
    let began = Instant::now();
    // One at the front, and one behind it.
    let waiting = [500, 50].map(|tokens| spawn(&limiter, attempt(&gpt, 1, tokens)));
    settled().await;
    assert_eq!(left(&all).2, 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    facts.set(End {
        how: How::Complete,
        usage: Some(Usage {
            output: 20,
            exact: true,
            ..Usage::default()
        }),
    });
    drop(stream);
    for task in waiting {
        let took = task.await.unwrap().unwrap() - began;
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    assert_eq!(left(&all), (0, 0, 0));
}

/// Went wrong: who came to a line a little longer than his patience was refused although some of it always leaves before.
#[tokio::test(start_paused = true)]
async fn who_can_go_nowhere_else_waits_in_a_line_of_which_half_may_leave() {
    let (limiter, _, all) = limiter(Act::Answer);
    let gpt = to(limits(60, 0, 0));
    drain(&limiter, &gpt).await;
    let of = |patience: u64, last: bool| Attempt {
        max_wait: Duration::from_secs(patience),
        last,
        ..attempt(&gpt, 1, 0)
    };
    // One a second goes, so that the line is passed in 40 seconds.
    let mut before: Vec<_> = (0..40).map(|_| spawn(&limiter, of(600, true))).collect();
    settled().await;
    // The next target is free at once.
    let began = Instant::now();
    let told = refused(go(&limiter, of(30, false)).await);
    assert_eq!(told.class, Class::RateLimitedRequests);
    let wait = told.retry_after.unwrap().as_secs();
    assert!(
        (39..=44).contains(&wait) && began.elapsed().is_zero(),
        "{wait}"
    );
    let nowhere = spawn(&limiter, of(30, true));
    settled().await;
    assert_eq!(left(&all).2, 41);
    before.drain(20..).for_each(|leaves| leaves.abort());
    let took = nowhere.await.unwrap().unwrap() - began;
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_of_more_than_twice_his_time_is_hopeless_for_anybody() {
    let (limiter, _, all) = limiter(Act::Answer);
    let gpt = to(limits(60, 0, 0));
    drain(&limiter, &gpt).await;
    let of = |patience: u64| Attempt {
        max_wait: Duration::from_secs(patience),
        last: true,
        ..attempt(&gpt, 1, 0)
    };
    let before: Vec<_> = (0..70).map(|_| spawn(&limiter, of(600))).collect();
    for _ in 0..5 {
        settled().await;
    }
    let began = Instant::now();
    let told = refused(go(&limiter, of(30)).await);
    assert!(
        told.retry_after
            .is_some_and(|wait| wait > Duration::from_secs(65))
    );
    assert!(began.elapsed().is_zero());
    // And who stays to the end of his time is told then.
    let patient = spawn(&limiter, of(40));
    settled().await;
    assert_eq!(left(&all).2, 71);
    assert!(patient.await.unwrap().is_err());
    assert!(began.elapsed() <= Duration::from_millis(40_010));
    before.iter().for_each(JoinHandle::abort);
}

#[derive(Clone, Debug)]
struct Arrival {
    after: u64,
    app: usize,
    tokens: u64,
    batch: bool,
    patience: u64,
    gives_up: Option<u64>,
    act: u8,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (
        0..400_u64,
        0..4_usize,
        0..400_u64,
        any::<bool>(),
        0..30_000_u64,
        prop::option::weighted(0.3, 0..3_000_u64),
        0..5_u8,
    )
        .prop_map(
            |(after, app, tokens, batch, patience, gives_up, act)| Arrival {
                after,
                app,
                tokens,
                batch,
                patience,
                gives_up,
                act,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever comes, gives up or fails: nobody waits longer than he may, and in the end nothing is reserved, under way or
    /// waiting.
    #[test]
    fn nothing_leaks_and_nobody_waits_too_long(
        arrivals in prop::collection::vec(arrival(), 1..80), places in 0_u32..4, requests in 0_u32..200,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (limiter, provider, all) = limiter(Act::Answer);
            let gpt = to(limits(requests, 1_000, places));
            let apps: Vec<_> = (0..4).map(|n| app(&format!("app-{n}"), n + 1)).collect();
            let mut tasks = Vec::new();
            for arrival in arrivals {
                tokio::time::sleep(Duration::from_millis(arrival.after)).await;
                provider.now_does(match arrival.act {
                    0 => Act::Fail(400, "{}", ""),
                    1 => Act::Fail(500, "{}", ""),
                    2 => Act::Stream(Arc::default()),
                    3 => Act::Hang,
                    _ => Act::Answer,
                });
                let mut attempt = by(&apps[arrival.app], &gpt, arrival.tokens, arrival.batch);
                attempt.max_wait = Duration::from_millis(arrival.patience);
                let (limiter, began) = (limiter.clone(), Instant::now());
                tasks.push(tokio::spawn(async move {
                    let meter = Arc::clone(&attempt.call);
                    let ends = Duration::from_millis(arrival.gives_up.unwrap_or(60_000));
                    let _ = timeout(ends, async {
                        let reply = go(&limiter, attempt).await;
                        // A stream lasts a while.
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        reply
                    }).await;
                    (meter.meter.waited(), Duration::from_millis(arrival.patience), began)
                }));
            }
            for task in tasks {
                let (waited, patience, _) = task.await.unwrap();
                prop_assert!(waited <= patience + Duration::from_millis(2), "{waited:?} of {patience:?}");
            }
            prop_assert_eq!(left(&all), (0, 0, 0));
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever leaves, and at whichever moment, the sleeper's duty is handed on: all others go as soon as the rate lets them,
    /// and nobody sleeps to the end of his patience.
    #[test]
    fn no_departure_lets_anybody_oversleep(
        steps in prop::collection::vec((0_usize..4, 0_u64..300, 0_usize..6, any::<bool>()), 5..60), places in 0_u32..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (limiter, _, all) = limiter(Act::Answer);
            let gpt = to(limits(600, 0, places));
            let apps: Vec<_> = (0..4).map(|n| app(&format!("app-{n}"), n + 1)).collect();
            for _ in 0..30 {
                let _ = spawn(&limiter, attempt(&gpt, 1, 0)).await;
            }
            let (began, mut tasks, mut came) = (Instant::now(), VecDeque::new(), 0);
            let mut gone: Vec<JoinHandle<_>> = Vec::new();
            for (who, pause, polls, leaves) in steps {
                let mut attempt = by(&apps[who], &gpt, 0, who == 3);
                attempt.max_wait = Duration::from_secs(600);
                let cancelled = leaves.then(|| tasks.pop_front()).flatten();
                tasks.push_back(spawn(&limiter, attempt));
                came += 1;
                for _ in 0..polls {
                    yield_now().await;
                }
                // Somewhere between being woken and looking.
                if let Some(task) = cancelled {
                    task.abort();
                    gone.push(task);
                }
                if pause > 150 {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }
            // Those who were told to leave have left when they had a moment to.
            for task in gone {
                let _ = task.await;
            }
            let mut last = began;
            for task in tasks {
                match task.await {
                    Ok(went) => last = last.max(went.map_err(|refused| TestCaseError::fail(refused.to_string()))?),
                    Err(left) => prop_assert!(left.is_cancelled()),
                }
            }
            // Ten a second, and what a reserve for others holds back meanwhile.
            let took = (last - began).as_secs_f64();
            prop_assert!(took <= 12.0 + f64::from(came) * 0.15 + 10.0, "{took} for {came}");
            prop_assert_eq!(left(&all), (0, 0, 0));
            Ok(())
        })?;
    }
}
