//! Streams as they should be.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::raw::{chat, chat_body, plain, post, until};
use crate::sim::{Fault, Kind};

#[tokio::test]
async fn a_chat_stream_says_what_the_whole_answer_says_and_ends_in_done() {
    let sim = plain().await;
    let answer = chat(&sim, "[sim:say=word for word \"quoted\"\nä]", true).await;
    assert_eq!(
        answer.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(answer.content(), "word for word \"quoted\"\nä");
    assert!(answer.whole && answer.text().ends_with("data: [DONE]\n\n"));
    let events = answer.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(
        events.last().unwrap()["choices"][0]["finish_reason"],
        "stop"
    );
}

#[tokio::test]
async fn usage_comes_last_and_only_when_asked_for() {
    let sim = plain().await;
    let body = chat_body("[sim:tokens=9]", true).replacen(
        '{',
        "{\"stream_options\":{\"include_usage\":true},\"max_tokens\":4,",
        1,
    );
    let events = post(&sim, "/v1/chat/completions", &body).await.events();
    let last = events.last().unwrap();
    assert_eq!(last["choices"].as_array().unwrap().len(), 0);
    assert_eq!(last["usage"]["completion_tokens"], 4);
    assert_eq!(
        events[events.len() - 2]["choices"][0]["finish_reason"],
        "length"
    );
    assert!(
        chat(&sim, "a", true)
            .await
            .events()
            .iter()
            .all(|event| event.get("usage").is_none())
    );
}

#[tokio::test]
async fn a_responses_stream_has_the_official_sequence() {
    let sim = plain().await;
    let body = "{\"model\":\"gpt-4o\",\"stream\":true,\"input\":\"[sim:tokens=3]\"}";
    let answer = post(&sim, "/v1/responses", body).await;
    let events = answer.events();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
    }
    for (line, kind) in answer
        .text()
        .lines()
        .filter(|line| line.starts_with("event: "))
        .zip(kinds)
    {
        assert_eq!(line, format!("event: {kind}"));
    }
    let deltas: String = events
        .iter()
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(
        events.last().unwrap()["response"]["output"][0]["content"][0]["text"],
        deltas
    );
}

#[tokio::test]
async fn a_gap_is_kept_between_events() {
    let sim = plain().await;
    let start = Instant::now();
    let answer = chat(&sim, "[sim:tokens=10][sim:event-ms=10]", true).await;
    // Role, ten tokens, finish, [DONE].
    assert!(start.elapsed().as_millis() >= 130, "{:?}", start.elapsed());
    assert!(answer.whole);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_and_frees_its_stream() {
    let sim = plain().await;
    let body = chat_body("[sim:tokens=10000][sim:event-ms=20]", true);
    let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer sk-one\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    let mut first = [0; 64];
    socket.read_exact(&mut first).await.unwrap();
    until(|| sim.control().stats().bytes_sent > 0).await;
    assert_eq!(sim.control().stats().open_streams, 1);
    drop(socket);
    until(|| sim.control().stats().open_streams == 0).await;
    let (stats, log) = (sim.control().stats(), sim.control().log());
    assert_eq!((stats.in_flight, stats.disconnects), (0, 1));
    assert!(log[0].client_disconnected && log[0].finished && log[0].bytes_sent > 0);
}

#[tokio::test]
async fn pace_holds_back_the_first_token_and_spreads_the_rest() {
    let sim = plain().await;
    let pace = Fault {
        first_token: Some(Duration::from_millis(60).into()),
        tokens_per_second: Some(100.0),
        ..Fault::of(Kind::Pace)
    };
    sim.control().inject(pace).unwrap();
    let start = Instant::now();
    let answer = chat(&sim, "[sim:tokens=10]", true).await;
    // 60 ms, then twelve more events 10 ms apart.
    assert!(
        start.elapsed() >= Duration::from_millis(180),
        "{:?}",
        start.elapsed()
    );
    assert!(answer.whole && answer.text().ends_with("[DONE]\n\n"));
}

#[tokio::test]
async fn realtime_switches_protocols_and_opens_a_session() {
    let sim = plain().await;
    let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
    let ask = "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer sk-one\r\n\
               connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
               sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    socket.write_all(ask.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while memchr::memmem::find(&seen, b"\"session.created\"").is_none() {
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.unwrap();
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&buffer[..count]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"));
}
