//! What goes wrong before the first content is answered by the next target, and nobody sees it.

use std::time::Duration;

use weir::sim::{Fault, Kind};

use crate::support::{
    Step, Upstream, Weir, chat, in_time, named, post,
    upstream::{json, role, sse_head},
};

const CALM: &str = "[breaker]\nconsecutive = 1000\nmin_calls = 100000\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fails_before_its_first_content_is_answered_by_the_next_target() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two_with(&first.base_url(), &second.base_url(), "first_token_timeout = \"500ms\"", CALM);
        let faults = [
            Fault::status(503),
            Fault::status(500),
            Fault::of(Kind::ErrorEvent).after_events(0),
            Fault::of(Kind::ErrorEvent).after_events(1),
            Fault::of(Kind::EmptyStream),
            Fault::of(Kind::RoleOnly),
            Fault { gap: Some(Duration::from_millis(50).into()), ..Fault::of(Kind::CommentsOnly) },
            Fault::of(Kind::Html200),
            Fault::of(Kind::Html),
            Fault::of(Kind::Empty),
            Fault::of(Kind::Reset),
            Fault::of(Kind::Reset).after_events(1),
            Fault::of(Kind::Cut).after_events(1),
            Fault::of(Kind::Drop).after_events(1),
            Fault::of(Kind::Stall).after_events(1),
            Fault::of(Kind::Hang),
        ];
        for fault in faults {
            for responses in [false, true] {
                first.control().clear();
                first.control().inject(fault.clone()).unwrap();
                let ask = if responses {
                    post("/v1/responses", r#"{"model":"gpt-4o","stream":true,"input":"hi [sim:tokens=6]"}"#)
                } else {
                    chat("hi [sim:tokens=6]", true)
                };
                let answer = ask.send(weir.addr).await;
                assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
                assert_eq!(answer.header("x-sim-name"), "second", "{fault:?}");
                assert_eq!(answer.header("x-weir-upstream"), "second", "{fault:?}");
                assert!(answer.looks_complete() && answer.stream_error().is_none(), "{fault:?}: {}", answer.text());
                let direct = ask.send(second.addr()).await;
                assert_eq!(answer.body, direct.body, "{fault:?}: nothing of the first is left in it");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_say_nothing_before_an_end_fails_over() {
    in_time(async {
        let ways: Vec<(&str, Vec<Step>)> = vec![
            ("end after the head", vec![Step::Send(sse_head()), Step::Close]),
            ("role and end", vec![Step::Send(sse_head()), Step::Send(role().into()), Step::Close]),
            ("role and reset", vec![Step::Send(sse_head()), Step::Send(role().into()), Step::Pause(Duration::from_millis(20)), Step::Reset]),
            ("comments and end", vec![Step::Send(sse_head()), Step::Send(": ping\n\n: ping\n\n".into()), Step::Close]),
            ("role, comments, silence", vec![Step::Send(sse_head()), Step::Send(role().into()), Step::Send(": x\n\n".into()), Step::Hang]),
            ("half an event", vec![Step::Send(sse_head()), Step::Send("data: {\"id\":\"c-1\",\"cho".into()), Step::Close]),
            ("only [DONE]", vec![Step::Send(sse_head()), Step::Send("data: [DONE]\n\n".into()), Step::Close]),
            ("error event", vec![Step::Send(sse_head()), Step::Send("data: {\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\",\"code\":null}}\n\n".into()), Step::Close]),
            ("error and [DONE]", vec![Step::Send(sse_head()), Step::Send("data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\ndata: [DONE]\n\n".into()), Step::Close]),
            ("a page as a stream", vec![Step::Send(sse_head()), Step::Send("<!DOCTYPE html><html><body>Bad gateway</body></html>".into()), Step::Close]),
            ("no head", vec![Step::Close]),
            ("reset", vec![Step::Reset]),
            ("half a head", vec![Step::Send("HTTP/1.1 200 OK\r\ncontent-ty".into()), Step::Close]),
            ("no HTTP", vec![Step::Send("SSH-2.0-OpenSSH_9.6\r\n".into()), Step::Close]),
            ("hang", vec![Step::Hang]),
            ("JSON error in a 200", vec![Step::Send(json(200, "", r#"{"error":{"message":"The server is overloaded","type":"server_error","code":503}}"#))]),
            ("an empty 200", vec![Step::Send(json(200, "", ""))]),
        ];
        for (what, steps) in ways {
            let first = Upstream::start(move |_, _| steps.clone()).await;
            let second = named("second").await;
            let weir = Weir::over_two_with(&first.base_url(), &second.base_url(), "first_token_timeout = \"400ms\"", CALM);
            let answer = chat("hi", true).send(weir.addr).await;
            assert_eq!((answer.status, answer.header("x-sim-name")), (200, "second"), "{what}: {}", answer.text());
            assert!(answer.looks_complete() && answer.stream_error().is_none(), "{what}: {}", answer.text());
            assert!(!first.seen().is_empty(), "{what}: the first was asked");
            assert!(first.seen().len() <= 2, "{what}: repeated once at most while another is left");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_fail_before_the_first_content_the_caller_gets_a_true_status() {
    in_time(async {
        let error = "data: {\"error\":{\"message\":\"You exceeded your current quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}\n\n";
        let first = Upstream::start(move |_, _| vec![Step::Send(sse_head()), Step::Send(error.into()), Step::Close]).await;
        let weir = Weir::over(&first.base_url(), "");
        let answer = chat("hi", true).send(weir.addr).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.code(), "insufficient_quota");
        assert!(answer.header("content-type").starts_with("application/json"));
        assert_eq!(answer.header("x-should-retry"), "false");

        let silent = Upstream::start(|_, _| vec![Step::Hang]).await;
        let weir = Weir::over_two_with(&silent.base_url(), &silent.base_url(), "first_token_timeout = \"200ms\"", "[retry]\nmax_attempts = 2\nbase = \"10ms\"\n");
        let answer = chat("hi", true).send(weir.addr).await;
        assert!(matches!(answer.status, 502..=504), "{} {}", answer.status, answer.text());
        assert_eq!(answer.json()["error"]["type"], "weir_error");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_goes_to_the_next_target() {
    in_time(async {
        // A port that was free a moment ago.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let second = named("second").await;
        let weir = Weir::over_two(&format!("http://{gone}/v1"), &second.base_url(), CALM);
        for stream in [false, true] {
            let answer = chat("hi", stream).send(weir.addr).await;
            assert_eq!((answer.status, answer.header("x-sim-name")), (200, "second"));
        }
        assert!(weir.metric("weir_fallbacks_total", &["from=\"first\"", "to=\"second\""]) >= 2.0);
    })
    .await;
}
