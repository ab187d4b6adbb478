//! What is answered from the store, and what is not.

use std::time::Duration;

use weir::sim::Fault;

use crate::support::{Answer, Ask, Weir, chat, eventually, in_time, post, sim};

const IDENTICAL: &str = "[cache]\npolicy = \"identical\"\n";
const SHORT: &str = "[cache]\npolicy = \"identical\"\nttl = \"1s\"\nstale_if_error = \"1h\"\n[retry]\nmax_attempts = 1\n";

fn word(answer: &Answer) -> &str {
    answer.header("x-weir-cache")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_identical_call_is_a_hit_and_says_so() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        let miss = chat("hi", false).send(weir.addr).await;
        assert_eq!((miss.status, word(&miss)), (200, "miss"));
        assert!(miss.header("cache-status").starts_with("weir; fwd="), "{}", miss.header("cache-status"));
        let hit = chat("hi", false).send(weir.addr).await;
        assert_eq!((hit.status, word(&hit), &hit.body), (200, "hit", &miss.body));
        assert!(hit.header("cache-status").starts_with("weir; hit"), "{}", hit.header("cache-status"));
        assert!(hit.header("age").parse::<u64>().unwrap() <= 5);
        assert_eq!((hit.header("x-weir-attempts"), hit.header("x-weir-upstream")), ("0", "first"));
        assert_ne!(hit.header("x-weir-request-id"), miss.header("x-weir-request-id"));
        assert_eq!(first.control().stats().requests, 1);
        assert_eq!(weir.metric("weir_cache_requests_total", &["result=\"hit\""]), 1.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_only_what_is_deterministic_is_stored() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), "[cache]\n");
        let cases = [
            (r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}"#, "/v1/chat/completions", "bypass"),
            (r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"x"}]}"#, "/v1/chat/completions", "hit"),
            (r#"{"model":"gpt-4o","seed":7,"messages":[{"role":"user","content":"x"}]}"#, "/v1/chat/completions", "hit"),
            (r#"{"model":"text-embedding-3-small","input":"x"}"#, "/v1/embeddings", "hit"),
            (r#"{"input":"x"}"#, "/v1/moderations", "hit"),
        ];
        for (body, path, expected) in cases {
            post(path, body).send(weir.addr).await;
            let again = post(path, body).send(weir.addr).await;
            assert_eq!((again.status, word(&again)), (200, expected), "{body}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_change_the_answer_does_not_change_the_key() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        post("/v1/chat/completions", r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"user":"a"}"#).send(weir.addr).await;
        let same = [
            r#"{ "messages" : [ {"content":"x","role":"user"} ], "model":"gpt-4o", "user":"b" }"#,
            r#"{"model":"gpt-4o","messages":[{"role":"user","content":"\u0078"}],"metadata":{"run":"7"}}"#,
        ];
        for body in same {
            assert_eq!(word(&post("/v1/chat/completions", body).send(weir.addr).await), "hit", "{body}");
        }
        let other = [
            r#"{"model":"gpt-4o","messages":[{"role":"user","content":"y"}]}"#,
            r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"max_tokens":5}"#,
            r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"},{"role":"user","content":"x"}]}"#,
        ];
        for body in other {
            assert_eq!(word(&post("/v1/chat/completions", body).send(weir.addr).await), "miss", "{body}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callers_answer_is_not_anothers() {
    in_time(async {
        let first = sim().await;
        let keyed = |key: &str| chat("hi", false).header("authorization", &format!("Bearer {key}"));
        let weir = Weir::passing(&first.base_url(), IDENTICAL);
        assert_eq!(word(&keyed("sk-a").send(weir.addr).await), "miss");
        assert_eq!(word(&keyed("sk-b").send(weir.addr).await), "miss");
        assert_eq!(word(&keyed("sk-a").send(weir.addr).await), "hit");
        // The account behind the key is part of who asks.
        let project = keyed("sk-a").header("openai-project", "proj_other").send(weir.addr).await;
        assert_ne!(word(&project), "hit");
        let shared = Weir::passing(&first.base_url(), "[cache]\npolicy = \"identical\"\nscope = \"shared\"\n");
        assert_eq!(word(&keyed("sk-a").send(shared.addr).await), "miss");
        assert_eq!(word(&keyed("sk-b").send(shared.addr).await), "hit");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_directives_are_obeyed() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        let with = |name: &str, value: &str| chat("hi", false).header(name, value);
        let answer = with("cache-control", "only-if-cached").send(weir.addr).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "not_cached"));
        assert_eq!(word(&with("cache-control", "no-store").send(weir.addr).await), "bypass");
        assert_eq!(word(&with("x-weir-cache", "off").send(weir.addr).await), "bypass");
        assert_eq!(word(&chat("hi", false).send(weir.addr).await), "miss", "nothing was stored");
        assert_eq!(word(&with("cache-control", "only-if-cached").send(weir.addr).await), "hit");
        let before = first.control().stats().requests;
        for (name, value) in [("cache-control", "no-cache"), ("cache-control", "max-age=0"), ("x-weir-cache", "refresh")] {
            assert_ne!(word(&with(name, value).send(weir.addr).await), "hit", "{value}");
        }
        assert_eq!(first.control().stats().requests, before + 3);
        assert_eq!(word(&chat("hi", false).send(weir.addr).await), "hit");
        assert_eq!(word(&with("cache-control", "min-fresh=7200").send(weir.addr).await), "miss");

        let weir = Weir::over(&first.base_url(), "[cache]\n");
        assert_eq!(word(&with("x-weir-cache", "on").send(weir.addr).await), "miss");
        assert_eq!(word(&with("x-weir-cache", "on").send(weir.addr).await), "hit");
        let answer = with("x-weir-cache", "perhaps").send(weir.addr).await;
        assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (400, Some("weir_error")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_comes_out_only_when_the_provider_fails_and_says_so() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), SHORT);
        let stored = chat("hi", false).send(weir.addr).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        first.control().inject(Fault::status(503)).unwrap();
        let stale = chat("hi", false).send(weir.addr).await;
        assert_eq!((stale.status, word(&stale), &stale.body), (200, "stale", &stored.body));
        assert!(stale.header("age").parse::<u64>().unwrap() >= 1);
        assert!(!stale.header("x-weir-warning").is_empty(), "{:?}", stale.headers);
        // The caller's own mistake is the caller's, whatever is in the store.
        first.control().clear();
        first.control().inject(Fault { body: Some(r#"{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":null}}"#.to_owned()), ..Fault::status(400) }).unwrap();
        assert_eq!(chat("hi", false).send(weir.addr).await.status, 400);
        first.control().clear();
        let fresh = chat("hi", false).send(weir.addr).await;
        assert_eq!((fresh.status, word(&fresh)), (200, "miss"));
        assert_eq!(word(&chat("never seen", false).send(weir.addr).await), "miss");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_broken_answers_are_not_stored() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), SHORT);
        let cut = || chat("cut [sim:tokens=20]", true);
        first.control().inject(Fault::of(weir::sim::Kind::Cut).after_events(6).times(1)).unwrap();
        assert!(!cut().send(weir.addr).await.looks_complete());
        let answer = cut().send(weir.addr).await;
        assert_eq!((word(&answer), answer.looks_complete()), ("miss", true));
        first.control().clear();
        first.control().inject(Fault::status(400).times(1)).unwrap();
        assert_eq!(chat("bad", false).send(weir.addr).await.status, 400);
        assert_eq!(word(&chat("bad", false).send(weir.addr).await), "miss");
    })
    .await;
}

/// The text of a chat answer, whole or streamed.
fn words(answer: &Answer) -> String {
    if !answer.header("content-type").starts_with("text/event-stream") {
        return answer.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned();
    }
    let events = answer.events();
    let parsed = events.iter().filter_map(|event| serde_json::from_str::<serde_json::Value>(event).ok());
    parsed.filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_entry_serves_stream_and_plain_asks() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        for stream_first in [false, true] {
            let ask = |stream: bool| -> Ask {
                let body = serde_json::json!({"model": "gpt-4o", "stream": stream, "messages": [{"role": "user", "content": format!("{stream_first} [sim:tokens=12]")}]});
                post("/v1/chat/completions", body.to_string())
            };
            let stored = ask(stream_first).send(weir.addr).await;
            let same = ask(stream_first).send(weir.addr).await;
            assert_eq!((word(&same), words(&same)), ("hit", words(&stored)));
            let other = ask(!stream_first).send(weir.addr).await;
            assert_eq!((other.status, word(&other)), (200, "hit"), "{}\n{}", stored.text(), other.text());
            assert_eq!(words(&other), words(&stored));
            assert!(!words(&stored).is_empty());
            if !stream_first {
                assert!(other.looks_complete(), "{}", other.text());
            } else {
                assert_eq!(other.json()["choices"][0]["finish_reason"], "stop");
            }
        }
        assert_eq!(first.control().stats().requests, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_in_a_replayed_stream_only_when_it_is_asked_for() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        let ask = |usage: bool| {
            let options = if usage { r#","stream_options":{"include_usage":true}"# } else { "" };
            post("/v1/chat/completions", format!(r#"{{"model":"gpt-4o","stream":true{options},"messages":[{{"role":"user","content":"x"}}]}}"#))
        };
        let with_usage = |answer: &Answer| answer.text().contains("\"total_tokens\"");
        assert!(with_usage(&ask(true).send(weir.addr).await));
        let without = ask(false).send(weir.addr).await;
        assert!(!with_usage(&without), "{} {}", word(&without), without.text());
        assert!(with_usage(&ask(true).send(weir.addr).await));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_of_a_shared_call_keeps_its_own_deadline() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        let slow = chat("slow [sim:delay-ms=1500]", false);
        let (patient, addr) = (slow.clone(), weir.addr);
        let impatient = slow.clone().header("x-weir-timeout", "500ms");
        // The leader is the impatient one; who joins it waits on.
        let leader = tokio::spawn(async move { impatient.send(addr).await });
        eventually("the call is under way", || first.control().stats().in_flight == 1).await;
        let follower = tokio::spawn(async move { patient.send(addr).await });
        let answer = leader.await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_exceeded"));
        let answer = follower.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(first.control().stats().requests, 1);
    })
    .await;
}
