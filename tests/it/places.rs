//! Providers that take only so many calls at once, and say nothing of it but by refusing.

use weir::sim::{HeaderStyle, Limits, Running, Settings, Words};

use crate::support::{Ask, Upstream, Weir, chat, in_time, simulator, upstream::json};

const BUSY: &str = r#"{"error":{"message":"Too many concurrent requests. Please try again later.","type":"rate_limit_error","param":null,"code":null}}"#;

/// So many places, of which nothing is told.
async fn places(count: u32) -> Running {
    silent(Limits {
        concurrency: Some(count),
        ..Limits::default()
    })
    .await
}

async fn silent(limits: Limits) -> Running {
    simulator(Settings {
        any_model: true,
        limits: Limits {
            headers: Some(HeaderStyle::None),
            words: Some(Words::Plain),
            retry_after: Some(false),
            ..limits
        },
        ..Settings::default()
    })
    .await
}

fn before(base_url: &str, provider: &str, max_wait: &str) -> Weir {
    Weir::start(&format!(
        "[[upstream]]\nname = \"first\"\nprovider = \"{provider}\"\nbase_url = \"{base_url}\"\napi_key = \"${{FIRST_KEY}}\"\n\
         [[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n\
         [retry]\nmax_wait = \"{max_wait}\"\n\
         [cache]\npolicy = \"off\"\n"
    ))
}

/// Answered after so many milliseconds.
fn lasting(ms: u64, n: usize) -> Ask {
    chat(&format!("call {n} [sim:delay-ms={ms}]"), false)
}

async fn at_once(
    count: usize,
    ask: impl Fn(usize) -> Ask,
    weir: &Weir,
) -> Vec<crate::support::Answer> {
    let calls: Vec<_> = (0..count)
        .map(|n| {
            let (ask, addr) = (ask(n), weir.addr);
            tokio::spawn(async move { ask.send(addr).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// Went wrong: the first calls were refused long before the first of those that were let in was answered, so that the provider seemed to
/// answer nobody, and most of the wave was handed back within 50 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_beyond_the_providers_places_is_answered_in_turn() {
    in_time(async {
        for provider in ["deepseek", "openai-compatible"] {
            let sim = places(4).await;
            let weir = before(&sim.base_url(), provider, "25s");
            let answers = at_once(40, |n| lasting(400, n), &weir).await;
            for answer in &answers {
                assert_eq!(answer.status, 200, "{provider}: {answer:?}");
            }
            let refused = sim.control().stats().by_status.get(&429).copied();
            let refused = refused.unwrap_or(0);
            assert!(refused <= 60, "{provider}: {refused} refusals of 40 calls");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_beyond_a_window_of_a_second_is_answered_in_turn() {
    in_time(async {
        let sim = silent(Limits {
            requests_per_minute: Some(600),
            window_ms: Some(1_000),
            ..Limits::default()
        })
        .await;
        let weir = before(&sim.base_url(), "openai-compatible", "30s");
        let answers = at_once(30, |n| lasting(200, n), &weir).await;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    })
    .await;
}

/// Nobody was let in: it is an outage, and repeats are what the budget allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_everybody_is_not_asked_again_and_again() {
    in_time(async {
        let first = Upstream::saying(json(429, "", BUSY)).await;
        let weir = before(&first.base_url(), "deepseek", "10s");
        let answers = at_once(40, |n| chat(&format!("call {n}"), false), &weir).await;
        for answer in &answers {
            assert_eq!((answer.status, answer.text().as_str()), (429, BUSY));
            assert_eq!(answer.header("x-should-retry"), "false");
        }
        // A fifth of the calls, or ten, and the budget's own floor.
        let asked = first.seen().len();
        assert!(asked <= 40 + 10 + 5, "{asked}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_handed_back_for_want_of_a_place_is_told_when_there_may_be_one() {
    in_time(async {
        let sim = places(1).await;
        let weir = before(&sim.base_url(), "deepseek", "600ms");
        assert_eq!(lasting(0, 0).send(weir.addr).await.status, 200);
        let answers = at_once(5, |n| lasting(3_000, n), &weir).await;
        let (passed, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((passed.len(), refused.len()), (1, 4));
        for answer in refused {
            assert_eq!(answer.status, 429);
            assert_eq!(answer.header("x-weir-class"), "rate_limited_concurrency");
            assert_eq!(answer.header("x-should-retry"), "true");
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=61).contains(&seconds), "{seconds}");
        }
    })
    .await;
}
