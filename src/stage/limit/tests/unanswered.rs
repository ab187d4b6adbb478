//! A provider that has answered nobody yet.

use super::*;
use crate::stage::breaker::tests::support::RATE;

#[tokio::test(start_paused = true)]
async fn before_the_first_answer_only_some_are_sent() {
    let (limiter, provider, _) = limiter(Act::Hang);
    let gpt = to(config::Limits::default());
    let began = Instant::now();
    let most = || 20.0 * 2_f64.powf(began.elapsed().as_secs_f64() / 0.1);
    let tasks: Vec<_> = (0..200)
        .map(|_| spawn(&limiter, attempt(&gpt, 1, 0)))
        .collect();
    let mut sent = 0;
    for _ in 0..10 {
        settled().await;
        sent += provider.asked();
        assert!(
            sent >= 19 && sent as f64 <= most() + 1.0,
            "{sent} of {}",
            most()
        );
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    settled().await;
    sent += provider.asked();
    assert!(
        sent >= 38 && sent as f64 <= most() + 1.0,
        "{sent} of {}",
        most()
    );
    // The first answer opens the way for all.
    provider.now_does(Act::Answer);
    tokio::time::sleep(Duration::from_millis(20)).await;
    settled().await;
    sent += provider.asked();
    assert_eq!(sent, 200);
    assert!(most() < 100.0, "it was the answer, not the time");
    tasks.iter().for_each(JoinHandle::abort);
}

/// Calls that can go nowhere else.
fn spawn_last(
    limiter: &Limiter<Provider>,
    target: &Arc<Target>,
    n: usize,
) -> Vec<JoinHandle<Result<Instant, Error>>> {
    let one = || {
        let limiter = limiter.clone();
        let attempt = last(target);
        tokio::spawn(async move { go(&limiter, attempt).await.map(|_| Instant::now()) })
    };
    (0..n).map(|_| one()).collect()
}

fn last(target: &Arc<Target>) -> Attempt {
    Attempt {
        max_wait: Duration::from_secs(30),
        last: true,
        ..attempt(target, 1, 0)
    }
}

/// Went wrong: each time when the wait ended that a provider tells to everybody, twenty calls went at once to be refused.
#[tokio::test(start_paused = true)]
async fn who_refuses_everybody_is_asked_by_few_at_a_time() {
    // Each refusal tells to wait a second.
    let (limiter, provider, _) = limiter(Act::Fail(429, RATE, ""));
    let gpt = to(config::Limits::default());
    let tasks = spawn_last(&limiter, &gpt, 100);
    settled().await;
    let first = provider.asked();
    assert!((1..=20).contains(&first), "{first}");
    for second in 1..=8 {
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        settled().await;
        let asked = provider.asked();
        assert!((1..=2).contains(&asked), "{asked} in second {second}");
    }
    // As soon as one is let in, all are.
    provider.now_does(Act::Answer);
    let began = Instant::now();
    let mut answered = 0;
    for task in tasks {
        answered += usize::from(task.await.unwrap().is_ok_and(|at| at >= began));
    }
    assert!(answered >= 60, "{answered}");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

/// Went wrong: behind a line that was refused one by one, callers waited to the end of their time, and were then told the time of
/// a line that would never move.
#[tokio::test(start_paused = true)]
async fn behind_a_line_at_who_refuses_everybody_a_call_is_sent_away_with_the_told_time() {
    let (limiter, provider, _) = limiter(Act::Fail(429, RATE, ""));
    let gpt = to(config::Limits::default());
    let tasks = spawn_last(&limiter, &gpt, 100);
    tokio::time::sleep(Duration::from_millis(500)).await;
    // As yet it may be one crowd that was too many.
    let patient = spawn_last(&limiter, &gpt, 1).remove(0);
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert!(!patient.is_finished());
    let began = Instant::now();
    let told = refused(go(&limiter, last(&gpt)).await);
    assert_eq!(told.class, Class::RateLimitedRequests);
    let wait = told.retry_after.unwrap();
    assert!(
        wait <= Duration::from_millis(1_001) && !wait.is_zero(),
        "{wait:?}"
    );
    assert!(began.elapsed().is_zero());
    // The line itself is not given up, and who comes when it is served is served.
    provider.now_does(Act::Answer);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(patient.await.unwrap().is_ok());
    assert!(go(&limiter, last(&gpt)).await.is_ok());
    tasks.iter().for_each(JoinHandle::abort);
}
