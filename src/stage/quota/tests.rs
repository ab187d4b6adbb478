//! The layer over a scripted inner service, clock paused.

use std::{sync::Arc, time::Duration};

use tower::{Layer, Service};

use super::{Exceeded, Kind, Quota, QuotaLayer, Quotas};
use crate::{
    call::{Facts, How, Reply},
    config::App,
    error::Error,
    stage::breaker::tests::support::{Act, Provider, app, call, ends},
};

mod waits;

/// Of a call, in all.
const MAX_WAIT: Duration = Duration::from_secs(30);

fn quota(quotas: Quotas, act: Act) -> (Quota<Provider>, Provider) {
    let provider = Provider::new(act);
    (
        QuotaLayer::new(Arc::new(quotas)).layer(provider.clone()),
        provider,
    )
}

async fn ask(quota: &mut Quota<Provider>, app: &Arc<App>, tokens: u64) -> Result<Reply, Error> {
    quota.call(call(app, 1, tokens)).await
}

fn exceeded(answer: Result<Reply, Error>) -> Exceeded {
    match answer {
        Err(Error::Quota(exceeded)) => exceeded,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_quota_are_refused_until_the_told_time_and_none_before() {
    let app = app(1, [60, 0, 0]);
    let (mut quota, provider) = quota(Quotas::new(&[Arc::clone(&app)], MAX_WAIT), Act::Answer);
    for _ in 0..60 {
        ask(&mut quota, &app, 0).await.unwrap();
    }
    let told = exceeded(ask(&mut quota, &app, 0).await);
    assert_eq!(
        (told.code(), told.retry_after),
        ("app_quota_requests", Some(Duration::from_secs(60)))
    );
    assert!(
        told.to_string().contains("`app-1`")
            && told.to_string().contains("requests per minute: 60")
    );
    assert_eq!(provider.asked(), 60, "a refused call reaches nobody");
    tokio::time::advance(Duration::from_secs(60)).await;
    ask(&mut quota, &app, 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tokens_refused_cost_no_request() {
    let app = app(1, [2, 600, 0]);
    let (mut quota, _) = quota(Quotas::new(&[Arc::clone(&app)], MAX_WAIT), Act::Answer);
    let told = exceeded(ask(&mut quota, &app, 601).await);
    assert_eq!((told.kind, told.retry_after), (Kind::TokensPerMinute, None));
    // Both requests are still there.
    ask(&mut quota, &app, 600).await.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    let told = exceeded(ask(&mut quota, &app, 400).await);
    assert_eq!(
        (told.code(), told.retry_after),
        ("app_quota_tokens", Some(Duration::from_secs(50)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_stream_holds_its_place() {
    let (app, facts) = (app(1, [0, 0, 1]), Arc::new(Facts::default()));
    let (mut quota, provider) = quota(
        Quotas::new(&[Arc::clone(&app)], MAX_WAIT),
        Act::Stream(Arc::clone(&facts)),
    );
    let stream = ask(&mut quota, &app, 0).await.unwrap();
    let told = exceeded(ask(&mut quota, &app, 0).await);
    assert_eq!(
        (told.code(), told.retry_after),
        ("app_quota_concurrency", None)
    );
    ends(&facts, How::CallerLeft);
    drop(stream);
    provider.now_does(Act::Hang);
    let gone = tokio::time::timeout(Duration::from_secs(1), ask(&mut quota, &app, 0)).await;
    assert!(gone.is_err());
    provider.now_does(Act::Answer);
    ask(&mut quota, &app, 0).await.unwrap();
    ask(&mut quota, &app, 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_apps_greed_is_not_anothers_and_no_quota_is_no_bound() {
    let (greedy, modest, free) = (app(1, [1, 0, 0]), app(2, [1, 0, 0]), app(3, [0; 3]));
    let apps = [&greedy, &modest, &free].map(Arc::clone);
    let (mut quota, _) = quota(Quotas::new(&apps, MAX_WAIT), Act::Answer);
    ask(&mut quota, &greedy, 0).await.unwrap();
    exceeded(ask(&mut quota, &greedy, 0).await);
    ask(&mut quota, &modest, 0).await.unwrap();
    for _ in 0..1_000 {
        ask(&mut quota, &free, 1_000_000).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_was_spent_and_takes_new_numbers() {
    let (same, more) = (app(1, [1, 0, 0]), app(2, [1, 0, 0]));
    let before = Arc::new(Quotas::new(
        &[Arc::clone(&same), Arc::clone(&more)],
        MAX_WAIT,
    ));
    let mut old = QuotaLayer::new(Arc::clone(&before)).layer(Provider::new(Act::Answer));
    for app in [&same, &more] {
        ask(&mut old, app, 0).await.unwrap();
    }
    // The order of the apps in the file, and with it their numbers, may change.
    let moved = Arc::new(App {
        id: crate::config::AppId(2),
        ..(*same).clone()
    });
    let raised = Arc::new(App {
        id: crate::config::AppId(1),
        ..(*app(2, [2, 0, 0])).clone()
    });
    let (mut new, _) = quota(
        before.renewed(&[Arc::clone(&raised), Arc::clone(&moved)], MAX_WAIT),
        Act::Answer,
    );
    exceeded(ask(&mut new, &moved, 0).await);
    ask(&mut new, &raised, 0).await.unwrap();
}
