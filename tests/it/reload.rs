//! A new configuration, the metrics, and the headers that tell what happened.

use std::time::Duration;

use weir::sim::Fault;

use crate::support::{
    Weir, chat, eventually,
    gateway::{config, upstream},
    in_time, named, post, sim,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_for_new_calls_and_breaks_none_of_the_old() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let route = "[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n";
        let weir = Weir::start(&format!("{}{route}", upstream("first", &first.base_url(), "")));
        let mut old = chat("long [sim:tokens=40][sim:event-ms=30]", true).live(weir.addr).await.unwrap();
        old.next().await.unwrap().unwrap();
        let fixed = weir.gateway().reload(config(&format!("{}{route}[server]\nworkers = 5\n", upstream("first", &second.base_url(), ""))));
        assert_eq!(fixed, ["server.workers"]);
        let until = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!(answer.status, 200);
            if answer.header("x-sim-name") == "second" {
                break;
            }
            assert!(tokio::time::Instant::now() < until, "the new configuration is not in force");
        }
        let answer = old.whole().await;
        assert!(!answer.broken && answer.text().ends_with("data: [DONE]\n\n"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_during_many_reloads_sees_none_of_them() {
    in_time(async {
        let first = sim().await;
        let text = format!("{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n", upstream("first", &first.base_url(), ""));
        let weir = Weir::start(&text);
        let addr = weir.addr;
        let callers: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn(async move {
                    for turn in 0..25 {
                        let answer = chat("hi", turn % 2 == 0).send(addr).await;
                        assert!(answer.status == 200 && !answer.broken);
                    }
                })
            })
            .collect();
        while callers.iter().any(|caller| !caller.is_finished()) {
            weir.gateway().reload(config(&text));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for caller in callers {
            caller.await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_of_the_contract_are_there_with_their_labels() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "[cache]\npolicy = \"identical\"\n");
        first.control().inject(Fault::status(503).times(2)).unwrap();
        chat("a", true).send(weir.addr).await;
        first.control().clear();
        chat("b", false).header("x-weir-app", "shop").send(weir.addr).await;
        chat("b", false).header("x-weir-app", "shop").send(weir.addr).await;
        first.control().inject(Fault::of(weir::sim::Kind::Cut).after_events(6)).unwrap();
        chat("c [sim:tokens=20]", true).header("x-stainless-retry-count", "1").send(weir.addr).await;
        eventually("all is booked", || weir.inflight() == 0).await;
        let text = weir.metrics();
        let expected = [
            "weir_requests_total{app=\"shop\",model=\"gpt-4o\",outcome=\"ok\",route=\"*\",upstream=\"first\"} 2",
            "weir_requests_total{app=\"default\",model=\"gpt-4o\",outcome=\"ok\",route=\"*\",upstream=\"second\"} 1",
            "weir_requests_total{app=\"default\",model=\"gpt-4o\",outcome=\"truncated\",route=\"*\",upstream=\"first\"} 1",
            "weir_attempts_total{class=\"ok\",model=\"gpt-4o\",upstream=\"first\"} 2",
            "weir_fallbacks_total{class=\"overloaded\",from=\"first\",to=\"second\"} 1",
            "weir_sdk_retries_total 1",
            "weir_cache_requests_total{result=\"hit\"} 1",
            "weir_streams_truncated_total{class=",
            "weir_tokens_total{kind=\"input\",model=\"gpt-4o\",upstream=\"first\"}",
            "weir_request_duration_seconds_bucket{",
            "weir_overhead_seconds_count 4",
            "weir_time_to_first_token_seconds_count{",
            "weir_cache_bytes ",
            "weir_inflight 0",
            "weir_build_info{version=",
            "gen_ai_client_token_usage_bucket{",
            "gen_ai_client_operation_duration_seconds_bucket{",
        ];
        for line in expected {
            assert!(text.lines().any(|l| l.starts_with(line)), "{line} is not in\n{text}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_come_from_closed_sets() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!("{}[[route]]\nmodels = [\"gpt-4o\"]\ntargets = [\"first\"]\n", upstream("first", &first.base_url(), "")));
        for model in ["made-up-by-a-client", "another\\\"}\\n"] {
            post("/v1/chat/completions", format!(r#"{{"model":"{model}","messages":[]}}"#)).send(weir.addr).await;
        }
        assert!(!weir.metrics().contains("made-up-by-a-client"));
        assert_eq!(weir.metric("weir_requests_total", &["model=\"other\"", "outcome=\"client_error\""]), 2.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_tells_what_was_done_for_it() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::start(&format!(
            "{}{}[[route]]\nmodels = [\"gpt-4o\"]\ntargets = [\"first\", \"second:gpt-4o-mini\"]\n[retry]\nbase = \"10ms\"\n",
            upstream("first", &first.base_url(), ""),
            upstream("second", &second.base_url(), "")
        ));
        first.control().inject(Fault::error("openai-insufficient-quota")).unwrap();
        for stream in [false, true] {
            let answer = chat("hi", stream).send(weir.addr).await;
            assert!(answer.header("x-weir-request-id").starts_with("wr_"));
            assert_eq!((answer.header("x-weir-upstream"), answer.header("x-weir-model")), ("second", "gpt-4o-mini"));
            assert_eq!(answer.header("x-weir-attempts"), if stream { "1" } else { "2" });
            assert!(!answer.header("x-weir-cache").is_empty() && answer.header("x-weir-wait-ms").parse::<u64>().is_ok());
            let overhead: u64 = answer.header("x-weir-overhead-us").parse().unwrap();
            assert!(overhead < 200_000, "{overhead}");
            assert_eq!((answer.header("x-weir-class"), answer.header("x-weir-advice")), ("", ""));
        }
        second.control().inject(Fault::error("openai-insufficient-quota")).unwrap();
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("x-weir-class"), "quota_exhausted");
        assert!(!answer.header("x-weir-advice").is_empty() && answer.header("x-weir-request-id").starts_with("wr_"));
    })
    .await;
}
