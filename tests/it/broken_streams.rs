//! A stream that breaks after its first content reaches the caller as an error, never as a whole answer.

use std::time::Duration;

use weir::sim::{Fault, Kind};

use crate::support::{
    Answer, Step, Upstream, Weir, chat, eventually, in_time, named, post, sim,
    upstream::{chunk, content, finish, role, sse_chunked, sse_head},
};

fn responses(words: &str) -> crate::support::Ask {
    post("/v1/responses", serde_json::json!({"model": "gpt-4o", "stream": true, "input": words}).to_string())
}

#[track_caller]
fn assert_told(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    assert!(!answer.looks_complete(), "{what} looks whole: {}", answer.text());
    assert!(!answer.broken, "{what}: told in the stream, not by a cut connection");
    let error = answer.stream_error().unwrap_or_else(|| panic!("{what}: no error event in {}", answer.text()));
    let message = error["error"]["message"].as_str().or(error["message"].as_str()).or(error["response"]["error"]["message"].as_str());
    assert!(message.is_some_and(|m| !m.is_empty()), "{what}: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_stream_that_breaks_after_content_ends_with_an_error_event() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two_with(&first.base_url(), &second.base_url(), "idle_timeout = \"400ms\"", "[breaker]\nconsecutive = 1000\nmin_calls = 1000\n");
        for kind in [Kind::Cut, Kind::Drop, Kind::Reset, Kind::Stall, Kind::ErrorEvent] {
            for mid_event in [false, true] {
                if mid_event && kind == Kind::ErrorEvent {
                    continue;
                }
                first.control().clear();
                first.control().inject(Fault { mid_event, ..Fault::of(kind).after_events(6) }).unwrap();
                let answer = chat("go on [sim:tokens=30]", true).send(weir.addr).await;
                assert_told(&answer, &format!("chat {kind:?} mid_event {mid_event}"));
                let after = if kind == Kind::ErrorEvent { 7 } else { 8 };
                first.control().clear();
                first.control().inject(Fault { mid_event, ..Fault::of(kind).after_events(after) }).unwrap();
                let answer = responses("go on [sim:tokens=30]").send(weir.addr).await;
                assert_told(&answer, &format!("responses {kind:?} mid_event {mid_event}"));
            }
        }
        assert_eq!(second.control().stats().requests, 0, "what has begun is not begun again elsewhere");
        assert!(weir.metric("weir_streams_truncated_total", &["upstream=\"first\""]) >= 18.0);
        assert!(weir.metric("weir_requests_total", &["outcome=\"truncated\""]) >= 18.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whole_events_pass_before_the_error() {
    in_time(async {
        let half = &content("never seen whole")[..40];
        let parts = format!("{}{}{half}", role(), content("first"));
        let upstream = Upstream::start(move |_, _| vec![Step::Send(sse_head()), Step::Send(parts.clone().into()), Step::Close]).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let answer = chat("hi", true).send(weir.addr).await;
        assert_told(&answer, "cut mid-event");
        for event in answer.events() {
            assert!(serde_json::from_str::<serde_json::Value>(&event).is_ok(), "{event}");
        }
        assert!(answer.text().starts_with(&format!("{}{}", role(), content("first"))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_without_a_finish_reason_is_no_end_and_one_without_done_is() {
    in_time(async {
        let whole = format!("{}{}", content("a"), finish().replace("data: [DONE]\n\n", ""));
        let upstream = Upstream::start(move |seen, _| {
            let body = if seen.body.windows(5).any(|w| w == b"whole") { whole.clone() } else { content("a") };
            vec![Step::Send(sse_chunked()), Step::Send(chunk(&body)), Step::Send("0\r\n\r\n".into())]
        })
        .await;
        let weir = Weir::over(&upstream.base_url(), "");
        assert_told(&chat("half", true).send(weir.addr).await, "no finish reason");
        let answer = chat("whole", true).send(weir.addr).await;
        assert!(answer.stream_error().is_none() && !answer.broken, "vendors without [DONE] are whole at their finish reason");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_after_done_is_a_whole_answer() {
    in_time(async {
        let body = format!("{}{}", content("a"), finish());
        let upstream = Upstream::start(move |_, _| vec![Step::Send(sse_chunked()), Step::Send(chunk(&body)), Step::Pause(Duration::from_millis(30)), Step::Reset]).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let answer = chat("hi", true).send(weir.addr).await;
        assert!(answer.looks_complete() && answer.stream_error().is_none(), "{}", answer.text());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_event_is_passed_on() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::of(Kind::Malformed).after_events(4)).unwrap();
        let weir = Weir::over(&first.base_url(), "");
        let through = chat("hi [sim:tokens=12]", true).send(weir.addr).await;
        first.control().clear();
        first.control().inject(Fault::of(Kind::Malformed).after_events(4)).unwrap();
        let direct = chat("hi [sim:tokens=12]", true).send(first.addr()).await;
        assert_eq!(through.body, direct.body);
        assert!(through.looks_complete());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_stream_that_speaks_within_the_idle_timeout_is_left_alone() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!("{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n", crate::support::gateway::upstream("first", &first.base_url(), "idle_timeout = \"300ms\"\n")));
        let answer = chat("slowly [sim:tokens=10][sim:event-ms=100]", true).send(weir.addr).await;
        assert!(answer.looks_complete() && answer.stream_error().is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_answer_that_breaks_off_is_made_anew() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
        for kind in [Kind::Truncate, Kind::Reset, Kind::Empty, Kind::Html200, Kind::Html] {
            first.control().clear();
            first.control().inject(Fault::of(kind)).unwrap();
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!((answer.status, answer.header("x-sim-name")), (200, "second"), "{kind:?}: {}", answer.text());
            answer.json();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_that_breaks_off_is_a_broken_connection_not_a_short_file() {
    in_time(async {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n";
        let upstream = Upstream::start(move |_, _| vec![Step::Send(head.into()), Step::Send(chunk("some sound")), Step::Pause(Duration::from_millis(50)), Step::Close]).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let answer = post("/v1/audio/speech", r#"{"model":"tts-1","input":"x","voice":"alloy"}"#).send(weir.addr).await;
        assert!(answer.broken, "{}", answer.text());
        eventually("all is over", || weir.inflight() == 0).await;
    })
    .await;
}
