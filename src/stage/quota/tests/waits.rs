//! Waiting, settling, days, reloads, and what is shown of them.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    call::{Call, End},
    config::OnLimit,
    dialect::openai::Usage,
    stage::breaker::tests::support::streaming,
    stage::quota::{SavedQuotas, allowance::Allowance},
};

const NOON: u64 = 20_000 * 86_400 + 43_200;

fn patient(id: u32, numbers: [u32; 3]) -> Arc<App> {
    Arc::new(App {
        on_limit: OnLimit::Wait,
        ..(*app(id, numbers)).clone()
    })
}

fn daily(id: u32, tokens: u64) -> Arc<App> {
    Arc::new(App {
        tokens_per_day: NonZeroU64::new(tokens),
        ..(*patient(id, [0; 3])).clone()
    })
}

/// Quotas whose day goes with the test's clock, from noon.
fn quotas(apps: &[&Arc<App>]) -> Quotas {
    let began = Instant::now();
    let apps: Vec<_> = apps.iter().map(|app| Arc::clone(app)).collect();
    Quotas::default()
        .with_wall(Box::new(move || NOON + began.elapsed().as_secs()))
        .renewed(&apps, MAX_WAIT)
}

/// A call on its own task, and how long it took.
fn spawn(
    quota: &Quota<Provider>,
    call: Arc<Call>,
) -> tokio::task::JoinHandle<(Result<Reply, Error>, Duration)> {
    let mut quota = quota.clone();
    let began = Instant::now();
    tokio::spawn(async move {
        let answer = quota.call(call).await;
        (answer, began.elapsed())
    })
}

fn used(output: u64) -> Option<Usage> {
    Some(Usage {
        output,
        exact: true,
        ..Usage::default()
    })
}

#[tokio::test(start_paused = true)]
async fn who_exceeds_the_quota_waits_in_order_and_the_wait_is_booked() {
    let app = patient(1, [60, 0, 0]);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let quotas = quotas(&[&app]).with_hook(Arc::new(move |app: &App, time| {
        hears.lock().unwrap().push((app.name.to_string(), time));
    }));
    let (quota, provider) = quota(quotas, Act::Answer);
    let calls: Vec<_> = (0..15).map(|_| call(&app, 1, 1)).collect();
    let mut tasks = Vec::new();
    for call in &calls {
        tasks.push(spawn(&quota, Arc::clone(call)));
        tokio::task::yield_now().await;
    }
    for (index, task) in tasks.into_iter().enumerate() {
        let (answer, took) = task.await.unwrap();
        answer.unwrap();
        // Ten at once, then one each second; tokio's timer is exact to a millisecond.
        let due = Duration::from_secs((index as u64).saturating_sub(9));
        assert!(
            took >= due && took < due + Duration::from_millis(5),
            "{index}: {took:?}"
        );
        let booked = calls[index].meter.waited();
        assert!(booked >= due && booked <= took, "{booked:?}");
    }
    assert_eq!(provider.asked(), 15);
    let heard = heard.lock().unwrap();
    assert_eq!((heard.len(), heard[0].0.as_str()), (5, "app-1"));
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_wait_is_refused_at_once_with_the_true_time() {
    let app = patient(1, [60, 0, 0]);
    let (quota, _) = quota(quotas(&[&app]), Act::Answer);
    let tasks: Vec<_> = (0..40).map(|_| spawn(&quota, call(&app, 1, 1))).collect();
    tokio::task::yield_now().await;
    // Thirty wait for as many seconds; the next would wait longer than is allowed.
    let (answer, took) = spawn(&quota, call(&app, 1, 1)).await.unwrap();
    let told = exceeded(answer);
    assert_eq!(
        (told.code(), told.retry_after, took),
        (
            "app_quota_requests",
            Some(Duration::from_secs(31)),
            Duration::ZERO
        )
    );
    for task in tasks {
        task.await.unwrap().0.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_past_his_deadline_or_longer_than_is_left_of_his_waits() {
    let app = patient(1, [0, 0, 1]);
    let (quota, provider) = quota(quotas(&[&app]), Act::Hang);
    let holder = spawn(&quota, call(&app, 1, 0));
    tokio::task::yield_now().await;
    provider.now_does(Act::Answer);
    let hurried = call(&app, 1, 0);
    let hurried = Arc::new(Call {
        deadline: crate::call::Deadline::at(Instant::now() + Duration::from_secs(2)),
        ..Arc::into_inner(hurried).unwrap()
    });
    let (answer, took) = spawn(&quota, hurried).await.unwrap();
    assert_eq!(exceeded(answer).code(), "app_quota_concurrency");
    assert!(
        took.abs_diff(Duration::from_secs(2)) < Duration::from_millis(5),
        "{took:?}"
    );
    let tired = call(&app, 1, 0);
    tired.meter.wait(Duration::from_secs(25));
    let (answer, took) = spawn(&quota, tired).await.unwrap();
    exceeded(answer);
    assert!(
        took.abs_diff(Duration::from_secs(5)) < Duration::from_millis(5),
        "{took:?}"
    );
    holder.abort();
}

#[tokio::test(start_paused = true)]
async fn interactive_calls_go_before_batch_and_who_leaves_is_gone_at_once() {
    let app = patient(1, [0, 0, 1]);
    let quotas = Arc::new(quotas(&[&app]));
    let provider = Provider::new(Act::Hang);
    let quota = QuotaLayer::new(Arc::clone(&quotas)).layer(provider.clone());
    let holder = spawn(&quota, call(&app, 1, 0));
    tokio::task::yield_now().await;
    provider.now_does(Act::Answer);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (index, batch) in [true, true, false, false].into_iter().enumerate() {
        let mut one = Arc::into_inner(call(&app, 1, 0)).unwrap();
        one.directives.priority = batch.then_some(crate::config::Priority::Batch);
        let (mut quota, order) = (quota.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let answer = quota.call(Arc::new(one)).await;
            order.lock().unwrap().push(index);
            drop(answer.unwrap());
        }));
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(3)).await;
    let view = &quotas.views()[0];
    assert_eq!((view.waiting, view.oldest_wait_seconds), (4, 3.0));
    let left = tasks.remove(1);
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(quotas.views()[0].waiting, 3);
    holder.abort();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [2, 3, 0]);
    let view = &quotas.views()[0];
    assert_eq!((view.waiting, view.allowances[0].used), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_settled_at_the_end_of_the_body() {
    let (app, facts) = (patient(1, [0, 1_000, 0]), Arc::new(Facts::default()));
    let quotas = Arc::new(quotas(&[&app]));
    let provider = Provider::new(Act::Stream(Arc::clone(&facts)));
    let mut quota = QuotaLayer::new(Arc::clone(&quotas)).layer(provider.clone());
    let tokens = || quotas.views()[0].allowances[0].used;
    let stream = quota.call(call(&app, 1, 1_000)).await.unwrap();
    assert_eq!(tokens(), 1_000);
    // It may be given back, so the next waits for it.
    provider.now_does(Act::Answer);
    let next = spawn(&quota, call(&app, 1, 600));
    tokio::time::sleep(Duration::from_secs(2)).await;
    facts.set(End::complete(used(300)));
    drop(stream);
    let (answer, took) = next.await.unwrap();
    answer.unwrap();
    assert!(took < Duration::from_millis(2_010), "{took:?}");
    // An answer that tells no usage is kept by estimate.
    assert_eq!(tokens(), 900);
    // What is used beyond the estimate is paid back before the next goes.
    let facts = Arc::new(Facts::default());
    provider.now_does(Act::Stream(Arc::clone(&facts)));
    let stream = quota.call(call(&app, 1, 100)).await.unwrap();
    facts.set(End::complete(used(1_100)));
    drop(stream);
    assert_eq!(tokens(), 2_000);
    let told = exceeded(quota.call(call(&app, 1, 1)).await);
    assert!(told.retry_after > Some(Duration::from_secs(60)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_answered_costs_no_tokens_and_what_the_caller_left_costs_its_estimate() {
    let app = patient(1, [0, 1_000, 0]);
    let quotas = Arc::new(quotas(&[&app]));
    let provider = Provider::new(Act::Hang);
    let mut quota = QuotaLayer::new(Arc::clone(&quotas)).layer(provider.clone());
    let tokens = || quotas.views()[0].allowances[0].used;
    // Left before anybody was asked.
    let left = tokio::time::timeout(Duration::from_secs(1), quota.call(call(&app, 1, 700)));
    assert!(left.await.is_err());
    assert_eq!(tokens(), 0);
    // Left while a provider worked on it.
    let asked = call(&app, 1, 400);
    asked.meter.attempt();
    let left = tokio::time::timeout(Duration::from_secs(1), quota.call(asked));
    assert!(left.await.is_err());
    assert_eq!(tokens(), 400);
    // Left in mid-stream, with what had come by then.
    let facts = Arc::new(Facts::default());
    ends(&facts, How::CallerLeft);
    drop(streaming(&facts));
    provider.now_does(Act::Stream(Arc::clone(&facts)));
    drop(quota.call(call(&app, 1, 100)).await.unwrap());
    assert_eq!(tokens(), 500);
}

#[tokio::test(start_paused = true)]
async fn an_error_gives_the_tokens_back() {
    let app = patient(1, [0, 1_000, 0]);
    let quotas = Arc::new(quotas(&[&app]));
    let failing = tower::service_fn(|call: Arc<Call>| async move {
        call.meter.attempt();
        Err::<Reply, Error>(crate::stage::route::NoTarget::NoModel.into())
    });
    let mut quota = QuotaLayer::new(Arc::clone(&quotas)).layer(failing);
    assert!(quota.call(call(&app, 1, 900)).await.is_err());
    assert_eq!(quotas.views()[0].allowances[0].used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_quota_itself_is_told_so() {
    let (minute, day) = (patient(1, [0, 500, 0]), daily(2, 500));
    let (mut quota, provider) = quota(quotas(&[&minute, &day]), Act::Answer);
    for (app, code) in [
        (&minute, "app_quota_tokens"),
        (&day, "app_quota_tokens_day"),
    ] {
        let told = exceeded(quota.call(call(app, 1, 501)).await);
        assert_eq!((told.code(), told.retry_after), (code, None));
        assert!(told.advice().contains("larger"), "{}", told.advice());
        assert!(
            told.to_string().contains("this request alone counts 501"),
            "{told}"
        );
        quota.call(call(app, 1, 500)).await.unwrap();
    }
    assert_eq!(provider.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_day_is_over_at_midnight_and_is_neither_forgotten_by_a_reload_nor_by_a_restart() {
    let app = daily(1, 1_000);
    let before = quotas(&[&app]);
    let (mut old, _) = quota(before.renewed(&[Arc::clone(&app)], MAX_WAIT), Act::Answer);
    old.call(call(&app, 1, 800)).await.unwrap();
    let more = daily(1, 1_500);
    let reloaded = old.quotas().renewed(&[Arc::clone(&more)], MAX_WAIT);
    let saved = reloaded.saved();
    let text = serde_json::to_string(&saved).unwrap();
    assert_eq!(
        text,
        r#"{"day":20000,"apps":[{"app":"app-1","tokens":800}]}"#
    );
    let restarted = quotas(&[&more]);
    restarted.restore(&serde_json::from_str::<SavedQuotas>(&text).unwrap());
    for quotas in [reloaded, restarted] {
        let (mut quota, _) = quota(quotas, Act::Answer);
        quota.call(call(&more, 1, 700)).await.unwrap();
        let told = exceeded(quota.call(call(&more, 1, 1)).await);
        assert_eq!(
            (told.code(), told.kind),
            ("app_quota_tokens_day", Kind::TokensPerDay)
        );
        let wait = told.retry_after.unwrap();
        assert!(
            wait.abs_diff(Duration::from_secs(43_200)) < Duration::from_secs(2),
            "{wait:?}"
        );
        assert!(told.to_string().contains("room in 1"), "{told}");
    }
    tokio::time::advance(Duration::from_secs(43_200)).await;
    old.call(call(&more, 1, 1_500)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_by_the_new_numbers_of_a_reload() {
    let app = patient(1, [0, 0, 1]);
    let (quota, provider) = quota(quotas(&[&app]), Act::Hang);
    let holder = spawn(&quota, call(&app, 1, 0));
    tokio::task::yield_now().await;
    provider.now_does(Act::Answer);
    let waits = spawn(&quota, call(&app, 1, 0));
    tokio::task::yield_now().await;
    let renewed = quota.quotas().renewed(&[patient(1, [0, 0, 2])], MAX_WAIT);
    let (answer, took) = waits.await.unwrap();
    answer.unwrap();
    assert_eq!(took, Duration::ZERO);
    assert_eq!(
        renewed.views()[0].allowances[0].used,
        1,
        "the holder still runs"
    );
    holder.abort();
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded() {
    let app = patient(1, [0, 0, 1]);
    let (quota, provider) = quota(quotas(&[&app]), Act::Hang);
    let tasks: Vec<_> = (0..1_001)
        .map(|_| spawn(&quota, call(&app, 1, 0)))
        .collect();
    tokio::task::yield_now().await;
    let (answer, took) = spawn(&quota, call(&app, 1, 0)).await.unwrap();
    exceeded(answer);
    assert_eq!((took, provider.asked()), (Duration::ZERO, 1));
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_view_names_every_number_that_is_set() {
    let full = Arc::new(App {
        weight: NonZeroU32::new(3).unwrap(),
        ..(*patient(2, [60, 6_000, 5])).clone()
    });
    let (daily, free) = (daily(1, 10), patient(3, [0; 3]));
    let (mut quota, _) = quota(quotas(&[&full, &daily, &free]), Act::Answer);
    let untouched = serde_json::to_value(quota.quotas().views()).unwrap();
    quota.call(call(&full, 1, 100)).await.unwrap();
    let views = quota.quotas().views();
    assert_eq!(
        views
            .iter()
            .map(|view| view.app.as_str())
            .collect::<Vec<_>>(),
        ["app-1", "app-2"]
    );
    let shown: Vec<_> = views[1]
        .allowances
        .iter()
        .map(|a| (a.kind.as_str(), a.quota, a.used, a.remaining))
        .collect();
    assert_eq!(
        shown,
        [
            ("requests_per_minute", 60, 1, 59),
            ("tokens_per_minute", 6_000, 100, 5_900),
            ("concurrency", 5, 0, 5)
        ]
    );
    assert_eq!(untouched[1]["allowances"][1]["remaining"], 6_000);
    assert_eq!(
        (&untouched[1]["weight"], &untouched[0]["on_limit"]),
        (&3.into(), &"wait".into())
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_app_is_small() {
    let apps: Vec<_> = (1..=1_000)
        .map(|id| patient(id % 200, [60, 6_000, 5]))
        .collect();
    let idle = quotas(&apps.iter().collect::<Vec<_>>());
    assert!(idle.views().iter().all(|view| view.waiting == 0));
    // What it is made of, with the two counts of each `Arc` and governor's state.
    let made = size_of::<Allowance>() + 16 + 24;
    assert!(made < 1_024, "{made}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever comes, is settled to whatever, or leaves: in no minute are more requests let through or more tokens reserved than the quota,
    /// nobody waits longer than is allowed, and nothing is left behind.
    #[test]
    fn in_no_minute_more_than_the_quota_and_nothing_leaks(
        calls in prop::collection::vec((0_u64..9_000, 1_u64..700, 0_u64..700, 0_u64..20_000, 0_u8..5), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let app = patient(1, [30, 1_000, 3]);
            let quotas = Arc::new(quotas(&[&app]));
            // When a call passed, and what it took of the minute in the end.
            let passed = Arc::new(Mutex::new(Vec::<(Instant, u64)>::new()));
            let most = Arc::new(AtomicU64::new(0));
            let running = Arc::new(AtomicU64::new(0));
            let mut tasks = Vec::new();
            for (pause, tokens, actual, length, fate) in calls {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let (passed, running, most) = (Arc::clone(&passed), Arc::clone(&running), Arc::clone(&most));
                let provider = tower::service_fn(move |call: Arc<Call>| {
                    call.meter.attempt();
                    let facts = Arc::new(Facts::default());
                    let at = { let mut passed = passed.lock().unwrap(); passed.push((Instant::now(), tokens)); passed.len() - 1 };
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let (passed, running) = (Arc::clone(&passed), Arc::clone(&running));
                    async move {
                        let _running = scopeguard(move || { running.fetch_sub(1, Ordering::SeqCst); });
                        tokio::time::sleep(Duration::from_millis(length)).await;
                        if fate == 0 {
                            passed.lock().unwrap()[at].1 = 0;
                            return Err(crate::stage::route::NoTarget::NoModel.into());
                        }
                        // Larger than the estimate is owed, and told apart in `window`.
                        let actual = actual.min(tokens);
                        passed.lock().unwrap()[at].1 = actual;
                        facts.set(End::complete(used(actual)));
                        Ok(streaming(&facts))
                    }
                });
                let mut quota = QuotaLayer::new(Arc::clone(&quotas)).layer(provider);
                let call = call(&app, 1, tokens);
                tasks.push(tokio::spawn(async move {
                    let began = Instant::now();
                    let patience = if fate == 1 { 5 } else { 600 };
                    let answer = tokio::time::timeout(Duration::from_secs(patience), quota.call(Arc::clone(&call))).await;
                    assert!(call.meter.waited() <= MAX_WAIT + Duration::from_millis(2));
                    if let Ok(Err(Error::Quota(told))) = &answer {
                        assert!(began.elapsed() <= MAX_WAIT + Duration::from_millis(2));
                        assert!(told.kind == Kind::Concurrency || told.retry_after.is_some());
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            prop_assert!(most.load(Ordering::SeqCst) <= 3);
            let passed = passed.lock().unwrap().clone();
            for (from, _) in passed.iter() {
                let minute = passed.iter().filter(|(at, _)| at >= from && *at < *from + Duration::from_secs(60));
                let (requests, tokens) = minute.fold((0, 0), |(n, sum), (_, tokens)| (n + 1, sum + tokens));
                prop_assert!(requests <= 30 && tokens <= 1_000, "{} requests, {} tokens", requests, tokens);
            }
            tokio::time::sleep(Duration::from_secs(120)).await;
            let view = &quotas.views()[0];
            prop_assert_eq!(view.waiting, 0);
            prop_assert!(view.allowances.iter().all(|allowance| allowance.used == 0), "{:?}", view);
            Ok(())
        })?;
    }
}

fn scopeguard(end: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(end)
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_minute_is_shown_with_when_the_next_call_may_go() {
    let app = patient(1, [30, 0, 0]);
    let quotas = quotas(&[&app]);
    let seen = |quotas: &Quotas| quotas.views()[0].allowances[0].clone();
    let fresh = seen(&quotas);
    assert_eq!((fresh.burst, fresh.next_in_seconds), (5, Some(0.0)));
    let made = Arc::clone(quotas.of(&app).unwrap());
    let (mut quota, _) = quota(quotas, Act::Answer);
    for _ in 0..5 {
        let answer = ask(&mut quota, &app, 10).await;
        assert!(answer.is_ok());
    }
    let used = made.views()[0].clone();
    assert_eq!((used.remaining, used.burst), (25, 5));
    let next = used.next_in_seconds.unwrap();
    assert!((1.9..=2.1).contains(&next), "one each two seconds: {next}");
    let waiting = spawn(&quota, call(&app, 1, 10));
    tokio::time::advance(Duration::from_millis(1)).await;
    let next = made.views()[0].next_in_seconds.unwrap();
    assert!(
        (3.9..=4.1).contains(&next),
        "behind the one that waits: {next}"
    );
    assert!(waiting.await.unwrap().0.is_ok());
}
