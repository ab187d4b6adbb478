//! What refusals and configurations tell, over time.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue};

use super::*;
use crate::{
    config::{App, Priority},
    limits::Refused as Told,
    stage::breaker::tests::support::{RATE, call},
};

const FOUR: &str = r#"{"error":{"message":"Rate limit reached for concurrent requests: 4. Please try again in 1s.","type":"requests","code":"rate_limit_exceeded"}}"#;

fn places(all: &Limits) -> Option<u32> {
    all.views()[0].concurrency.limit
}

/// Went wrong: a number that a refusal told once held for as long as the process lived.
#[tokio::test(start_paused = true)]
async fn a_told_number_of_calls_at_once_is_tried_higher_after_a_while() {
    let (limiter, provider, all) = limiter(Act::Fail(429, FOUR, ""));
    let gpt = to(limits(0, 0, 0));
    go(&limiter, attempt(&gpt, 1, 0)).await.unwrap_err();
    assert_eq!(places(&all), Some(4));
    let facts = Arc::new(Facts::default());
    ends(&facts, How::Complete);
    provider.now_does(Act::Stream(facts));
    let mut streams = VecDeque::new();
    for second in 0..120 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        streams.pop_front();
        loop {
            let mut hasty = attempt(&gpt, 1, 0);
            hasty.max_wait = Duration::ZERO;
            match go(&limiter, hasty).await {
                Ok(stream) if streams.len() < 20 => streams.push_back(stream),
                _ => break,
            }
        }
        assert!(second > 20 || streams.len() <= 4, "{second}");
    }
    assert!(streams.len() >= 10, "{}", streams.len());
}

#[tokio::test(start_paused = true)]
async fn who_is_told_of_refusals_hears_each_and_whether_it_surprised() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let hook = move |target: &Target, told: &Told| {
        hears
            .lock()
            .unwrap()
            .push((target.label.to_string(), *told));
    };
    let all = Arc::new(Limits::default().on_refusal(Arc::new(hook)));
    let limiter = LimitLayer::new(all).layer(Provider::new(Act::Fail(429, RATE, "")));
    let gpt = to(limits(600, 0, 0));
    go(&limiter, attempt(&gpt, 1, 0)).await.unwrap_err();
    let heard = heard.lock().unwrap();
    let told = Told {
        class: Class::RateLimitedRequests,
        surprise: true,
    };
    assert_eq!(*heard, [("gpt-4o".to_owned(), told)]);
}

/// Went wrong: the calls of a batch app could not be made urgent.
#[test]
fn a_call_says_its_priority_and_else_its_app_does() {
    let app = |priority| {
        Arc::new(App {
            priority,
            ..App::anyone()
        })
    };
    for (own, said, is) in [
        (Priority::Batch, None, Priority::Batch),
        (
            Priority::Batch,
            Some(Priority::Interactive),
            Priority::Interactive,
        ),
        (
            Priority::Interactive,
            Some(Priority::Batch),
            Priority::Batch,
        ),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let call = runtime.block_on(async { call(&app(own), 1, 0) });
        let mut call = Arc::try_unwrap(call).unwrap();
        call.directives.priority = said;
        assert_eq!(call.priority(), is);
    }
}

/// Went wrong: accounts of upstreams that a reload took away stayed in memory, and in what people are shown, for good.
#[tokio::test(start_paused = true)]
async fn upstreams_that_the_configuration_has_no_more_are_gone_when_their_last_call_is() {
    let facts = Arc::new(Facts::default());
    ends(&facts, How::Complete);
    let (limiter, provider, all) = limiter(Act::Fail(429, FOUR, ""));
    let (old, new) = (
        upstream("old", Some("k"), config::Limits::default()),
        upstream("new", None, config::Limits::default()),
    );
    let to = target(0, "gpt-4o", &old);
    go(&limiter, attempt(&to, 1, 0)).await.unwrap_err();
    provider.now_does(Act::Stream(facts));
    let stream = go(&limiter, attempt(&to, 1, 0)).await.unwrap();
    go(&limiter, attempt(&target(1, "gpt-4o", &new), 1, 0))
        .await
        .unwrap();
    let names = || -> Vec<String> { all.views().into_iter().map(|pool| pool.upstream).collect() };
    all.only(&[Arc::clone(&old), Arc::clone(&new)]);
    assert_eq!(names(), ["new", "old"]);
    all.only(&[Arc::clone(&new)]);
    assert_eq!(names(), ["new", "old"], "a call is under way there");
    drop(stream);
    assert_eq!(names(), ["new"]);
    // What was learnt is there when the upstream comes back.
    provider.now_does(Act::Answer);
    go(&limiter, attempt(&to, 1, 0)).await.unwrap();
    assert_eq!(names(), ["new", "old"]);
    assert_eq!(all.views()[1].concurrency.limit, Some(4));
}

/// Went wrong: what had been learnt with a key was believed of its other organisation.
#[tokio::test(start_paused = true)]
async fn what_is_learnt_of_a_key_is_not_learnt_of_its_other_organisation() {
    let (limiter, _, all) = limiter(Act::Fail(429, FOUR, ""));
    let held = upstream("a", Some("k"), config::Limits::default());
    let mut others: Vec<config::Upstream> = (0..5).map(|_| (*held).clone()).collect();
    others[1].organization = Some(HeaderValue::from_static("2"));
    others[2].project = Some(HeaderValue::from_static("2"));
    let name = HeaderName::from_static("openai-project");
    others[3].headers = vec![(name, HeaderValue::from_static("2"))];
    for (n, upstream) in (0..).zip(others) {
        let to = target(n, "gpt-4o", &Arc::new(upstream));
        go(&limiter, attempt(&to, 1, 0)).await.unwrap_err();
    }
    // The first and the last are the same one.
    assert_eq!(all.saved().pools.len(), 4);
}

/// Went wrong: a provider that refused one call in twenty, of everybody's, got a sixth of the calls that it would have answered.
#[tokio::test(start_paused = true)]
async fn an_overload_that_others_make_holds_nobody_back() {
    const OVERLOADED: &str =
        r#"{"error":{"message":"The server is overloaded","type":"server_error","code":null}}"#;
    let facts = Arc::new(Facts::default());
    ends(&facts, How::Complete);
    let (limiter, provider, all) = limiter(Act::Stream(Arc::clone(&facts)));
    let gpt = to(limits(0, 0, 0));
    let (mut streams, mut asked) = (VecDeque::new(), 0);
    for second in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Half of them end in a second.
        streams.drain(..streams.len() / 2);
        while streams.len() < 40 {
            asked += 1;
            let act = match asked % 20 {
                0 if asked > 40 => Act::Fail(503, OVERLOADED, ""),
                _ => Act::Stream(Arc::clone(&facts)),
            };
            provider.now_does(act);
            let mut hasty = attempt(&gpt, 1, 0);
            hasty.max_wait = Duration::ZERO;
            match go(&limiter, hasty).await {
                Ok(stream) => streams.push_back(stream),
                Err(Error::Limit(_)) => break,
                Err(_) => {}
            }
        }
        let open = streams.len();
        assert!(second < 3 || open >= 38, "{open} of {:?}", places(&all));
    }
    // Half of all is another matter.
    provider.now_does(Act::Fail(503, OVERLOADED, ""));
    for _ in 0..40 {
        streams.pop_front();
        let mut hasty = attempt(&gpt, 1, 0);
        hasty.max_wait = Duration::ZERO;
        let _ = go(&limiter, hasty).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        places(&all).is_some_and(|places| places < 30),
        "{:?}",
        places(&all)
    );
}

/// Takes eight calls at once, each for about half a second, and says nothing of it.
#[derive(Clone)]
struct Eight {
    under_way: Arc<AtomicU32>,
    answers: Provider,
    refuses: Provider,
}

impl Service<Attempt> for Eight {
    type Response = Reply;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            if this.under_way.load(Relaxed) >= 8 {
                return this.refuses.call(attempt).await;
            }
            let jitter = this.under_way.fetch_add(1, Relaxed) * 37 % 200;
            tokio::time::sleep(Duration::from_millis(400 + u64::from(jitter))).await;
            this.under_way.fetch_sub(1, Relaxed);
            this.answers.call(attempt).await
        })
    }
}

/// Went wrong: at a provider that takes so many short calls at once, those of the first second were taken for a rate, and half of what
/// it takes was used for minutes.
#[tokio::test(start_paused = true)]
async fn a_number_of_short_calls_is_not_taken_for_a_rate_for_long() {
    const BUSY: &str =
        r#"{"error":{"message":"Too many requests","type":"rate_limit","code":"429"}}"#;
    let eight = Eight {
        under_way: Arc::default(),
        answers: Provider::new(Act::Answer),
        refuses: Provider::new(Act::Fail(429, BUSY, "")),
    };
    let limiter = LimitLayer::new(Arc::new(Limits::default())).layer(eight.clone());
    let gpt = to(limits(0, 0, 0));
    let mut calls = Vec::new();
    // Some sixteen a second can go.
    for _ in 0..40 * 60 {
        let (mut limiter, attempt) = (limiter.clone(), attempt(&gpt, 1, 0));
        calls.push(tokio::spawn(async move { limiter.call(attempt).await }));
        tokio::time::sleep(Duration::from_millis(25)).await;
        if calls.len() == 40 * 30 {
            eight.answers.asked();
        }
    }
    let (answered, refused) = (eight.answers.asked(), eight.refuses.asked());
    assert!(answered >= 400, "{answered} of 480 in thirty seconds");
    assert!(refused <= 12, "{refused}");
    calls.iter().for_each(JoinHandle::abort);
}
