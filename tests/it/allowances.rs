//! An app's own allowance (refused at once), and the provider's limits (waited for).

use std::time::Duration;

use tokio::time::Instant;
use weir::{
    config::hash_key,
    sim::{Fault, Kind},
};

use crate::support::{
    Ask, Weir, chat, eventually, gateway::upstream, get, in_time, named, post, sim,
};

const ROUTE: &str = "[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n";

fn app(name: &str, more: &str) -> String {
    let hash: String = hash_key(&format!("wk-{name}"))
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("[[app]]\nname = \"{name}\"\nkey = \"blake3:{hash}\"\n{more}\n")
}

fn by(name: &str, words: &str) -> Ask {
    chat(words, false).header("authorization", &format!("Bearer wk-{name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_beyond_its_requests_is_refused_by_name_and_others_are_not() {
    in_time(async {
        let first = sim().await;
        let text = format!(
            "{}{ROUTE}{}{}",
            upstream("first", &first.base_url(), ""),
            app("greedy", "requests_per_minute = 30\non_limit = \"reject\""),
            app("modest", "")
        );
        let weir = Weir::start(&text);
        for nth in 0..30 {
            let answer = by("greedy", "hi").send(weir.addr).await;
            assert_eq!(answer.status, 200, "{nth} of the quota's 30 are no excess");
        }
        let answer = by("greedy", "hi").send(weir.addr).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (429, "app_quota_requests")
        );
        let error = answer.json()["error"].clone();
        assert_eq!(error["type"], "weir_error");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|m| m.contains("greedy") && m.contains("own quota in weir")),
            "{error}"
        );
        assert_eq!(answer.header("x-should-retry"), "true");
        let told: u64 = answer.header("retry-after-ms").parse().unwrap();
        assert!(
            (30_000..=60_000).contains(&told),
            "when the first leave their minute: {told}"
        );
        assert!(!answer.header("x-weir-advice").is_empty());
        assert_eq!(answer.header("x-weir-attempts"), "0");
        assert_eq!(by("modest", "hi").send(weir.addr).await.status, 200);
        let before = first.control().stats().requests;
        assert_eq!(by("greedy", "hi").send(weir.addr).await.status, 429);
        assert_eq!(
            first.control().stats().requests,
            before,
            "refused before any work"
        );
        assert!(
            weir.metric(
                "weir_requests_total",
                &["app=\"greedy\"", "outcome=\"refused\""]
            ) >= 2.0
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_costs_none_of_the_allowance() {
    in_time(async {
        let first = sim().await;
        let text = format!(
            "{}{ROUTE}{}[cache]\npolicy = \"identical\"\n",
            upstream("first", &first.base_url(), ""),
            app("shop", "requests_per_minute = 1\non_limit = \"reject\"")
        );
        let weir = Weir::start(&text);
        for _ in 0..20 {
            assert_eq!(by("shop", "same").send(weir.addr).await.status, 200);
        }
        assert_eq!(by("shop", "another").send(weir.addr).await.status, 429);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_are_bounded_to_the_end_of_their_bodies() {
    in_time(async {
        let first = sim().await;
        let text = format!(
            "{}{ROUTE}{}",
            upstream("first", &first.base_url(), ""),
            app("shop", "concurrency = 3\non_limit = \"reject\"")
        );
        let weir = Weir::start(&text);
        let stream = chat("long [sim:tokens=500][sim:event-ms=50]", true)
            .header("authorization", "Bearer wk-shop");
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut live = stream.live(weir.addr).await.unwrap();
            live.next().await.unwrap().unwrap();
            streams.push(live);
        }
        let answer = by("shop", "hi").send(weir.addr).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (429, "app_quota_concurrency")
        );
        streams.pop();
        eventually("a place is free", || weir.inflight() == 2).await;
        assert_eq!(by("shop", "hi").send(weir.addr).await.status, 200);
        drop(streams);
        eventually("all places are free", || weir.inflight() == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_failures_give_their_place_back() {
    in_time(async {
        let first = sim().await;
        let text = format!("{}{ROUTE}{}[retry]\nmax_attempts = 1\n[breaker]\nconsecutive = 1000\nmin_calls = 100000\n", upstream("first", &first.base_url(), "limits = { concurrency = 2 }"), app("shop", "concurrency = 2\non_limit = \"reject\""));
        let weir = Weir::start(&text);
        first.control().inject(Fault::status(500).times(6)).unwrap();
        for _ in 0..6 {
            assert_eq!(by("shop", "hi").send(weir.addr).await.status, 500);
        }
        let answer = post("/v1/chat/completions", "{}").header("authorization", "Bearer wk-shop").send(weir.addr).await;
        assert_eq!(answer.status, 400);
        for _ in 0..4 {
            assert_eq!(by("shop", "hi").send(weir.addr).await.status, 200);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_provider_is_waited_for_and_never_exceeded() {
    in_time(async {
        let first = sim().await;
        // Ten each second.
        let weir = Weir::start(&format!(
            "{}{ROUTE}",
            upstream(
                "first",
                &first.base_url(),
                "limits = { requests_per_minute = 600 }"
            )
        ));
        // The simulator's clock, just before the first call through the gateway.
        assert_eq!(chat("clock", false).send(first.addr()).await.status, 200);
        let calls: Vec<_> = (0..60)
            .map(|index| {
                let addr = weir.addr;
                tokio::spawn(async move { chat(&format!("call {index}"), false).send(addr).await })
            })
            .collect();
        let mut waited = 0_u64;
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            waited = waited.max(answer.header("x-weir-wait-ms").parse().unwrap());
        }
        let arrivals: Vec<u64> = first.control().log().iter().map(|r| r.arrival_ms).collect();
        let (began, arrivals) = (arrivals[0], &arrivals[1..]);
        assert_eq!(arrivals.len(), 60);
        // Five seconds' worth may go at once; then one each tenth of a second.
        for (index, at) in arrivals.iter().enumerate().skip(50) {
            let due = began + 100 * (index as u64 - 49);
            assert!(*at + 20 >= due, "call {index} came at {at}, due at {due}");
        }
        assert!(waited > 500, "{waited}");
        assert!(weir.metric("weir_limit_wait_seconds_count", &["upstream=\"first\""]) >= 1.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hopeless_wait_is_refused_at_once_with_the_true_time() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}[retry]\nmax_wait = \"1s\"\n",
            upstream(
                "first",
                &first.base_url(),
                "limits = { requests_per_minute = 2 }"
            )
        ));
        let began = Instant::now();
        let refused = loop {
            let answer = chat("hi", false).send(weir.addr).await;
            if answer.status != 200 {
                break answer;
            }
            assert!(began.elapsed() < Duration::from_secs(5));
        };
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(
            (refused.status, refused.header("x-weir-class")),
            (429, "rate_limited_requests")
        );
        let told: u64 = refused.header("retry-after").parse().unwrap();
        assert!(
            (25..=61).contains(&told),
            "when the first has left its minute: {told}"
        );
        assert_eq!(refused.header("x-should-retry"), "true");
        assert_eq!(refused.json()["error"]["type"], "weir_error");
        assert!(first.control().stats().requests <= 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_of_minutes_is_told_and_no_sdk_is_asked_to_sleep_through_it() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}[retry]\nmax_wait = \"1h\"\n",
            upstream(
                "first",
                &first.base_url(),
                "limits = { requests_per_minute = 2 }"
            )
        ));
        for _ in 0..2 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        }
        let addr = weir.addr;
        let waiting: Vec<_> = (0..6)
            .map(|_| {
                tokio::spawn(async move {
                    let ask = chat("waits", false).header("x-weir-timeout", "1h");
                    ask.send(addr).await
                })
            })
            .collect();
        eventually("they wait", || {
            let views = weir.gateway().state.limits.views();
            views.iter().any(|pool| pool.queue.interactive == 6)
        })
        .await;
        let refused = chat("hi", false)
            .header("x-weir-timeout", "2s")
            .send(addr)
            .await;
        assert_eq!(
            (refused.status, refused.header("x-weir-class")),
            (429, "rate_limited_requests")
        );
        let told: u64 = refused.header("retry-after").parse().unwrap();
        assert!((150..=300).contains(&told), "behind six: {told}");
        assert_eq!(
            (
                refused.header("x-should-retry"),
                refused.header("retry-after-ms")
            ),
            ("false", "")
        );
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_reached_fails_over() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::start(&format!(
            "{}{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\", \"second\"]\n[retry]\nmax_wait = \"1s\"\n",
            upstream("first", &first.base_url(), "limits = { requests_per_minute = 2 }"),
            upstream("second", &second.base_url(), "")
        ));
        for _ in 0..6 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        }
        assert!((1..=2).contains(&first.control().stats().requests));
        assert!(second.control().stats().requests >= 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_at_the_provider_are_bounded_over_all_workers() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}[server]\nworkers = 4\n",
            upstream("first", &first.base_url(), "limits = { concurrency = 4 }")
        ));
        let calls: Vec<_> = (0..40)
            .map(|index| {
                let addr = weir.addr;
                tokio::spawn(async move {
                    chat(
                        &format!("call {index} [sim:delay-ms=30][sim:tokens=4]"),
                        index % 2 == 0,
                    )
                    .send(addr)
                    .await
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().status, 200);
        }
        assert_eq!(first.control().stats().max_in_flight, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_waiting_gives_up_its_turn() {
    in_time(async {
        let first = sim().await;
        first
            .control()
            .inject(Fault::of(Kind::Hang).times(1))
            .unwrap();
        let weir = Weir::start(&format!(
            "{}{ROUTE}",
            upstream("first", &first.base_url(), "limits = { concurrency = 1 }")
        ));
        let addr = weir.addr;
        let holder = tokio::spawn(async move { chat("holds", false).send(addr).await });
        eventually("the place is taken", || {
            first.control().stats().in_flight == 1
        })
        .await;
        let waiting: Vec<_> = (0..10)
            .map(|_| tokio::spawn(async move { chat("waits", false).send(addr).await }))
            .collect();
        eventually("they wait", || weir.inflight() == 11).await;
        for call in waiting {
            call.abort();
        }
        eventually("they have left", || weir.inflight() == 1).await;
        let last = tokio::spawn(async move { chat("last", false).send(addr).await });
        holder.abort();
        assert_eq!(last.await.unwrap().status, 200);
        assert_eq!(
            first.control().stats().requests,
            2,
            "nobody was called for who had left"
        );
        assert_eq!(get("/healthz").send(addr).await.status, 200);
    })
    .await;
}
