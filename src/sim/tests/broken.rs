//! Faults on the wire.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::raw::{chat, chat_body, plain, post, until};
use crate::sim::{Fault, Kind};

#[tokio::test]
async fn a_reset_before_the_headers_is_a_reset_and_not_an_end() {
    let sim = plain().await;
    sim.control()
        .inject(Fault::of(Kind::Reset).times(1))
        .unwrap();
    let answer = chat(&sim, "a", false).await;
    assert_eq!(
        (answer.status, answer.error),
        (0, Some(ErrorKind::ConnectionReset))
    );
    assert_eq!(chat(&sim, "a", false).await.status, 200);
    assert_eq!(
        sim.control().stats().disconnects,
        0,
        "it was not the client who left"
    );
}

#[tokio::test]
async fn a_stream_can_be_reset_dropped_or_cut_after_the_events_it_says() {
    let sim = plain().await;
    for (kind, whole, error) in [
        (Kind::Cut, true, None),
        (Kind::Drop, false, None),
        (Kind::Reset, false, Some(ErrorKind::ConnectionReset)),
    ] {
        sim.control()
            .inject(Fault::of(kind).times(1).after_events(5))
            .unwrap();
        let answer = chat(&sim, "a", true).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.events().len(), 5, "{kind:?}");
        assert_eq!((answer.whole, answer.error), (whole, error), "{kind:?}");
        assert!(!answer.text().contains("[DONE]"));
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_of_an_event_leaves_half_of_it() {
    let sim = plain().await;
    let fault = Fault {
        mid_event: true,
        ..Fault::of(Kind::Cut).after_events(2)
    };
    sim.control().inject(fault).unwrap();
    let text = chat(&sim, "a", true).await.text();
    let last = text.rsplit("\n\n").next().unwrap();
    assert!(
        last.starts_with("data: {\"id\":") && !last.ends_with('}'),
        "{last}"
    );
}

#[tokio::test]
async fn a_stall_sends_its_events_and_then_nothing() {
    let sim = plain().await;
    sim.control()
        .inject(Fault::of(Kind::Stall).after_events(3))
        .unwrap();
    assert!(
        timeout(Duration::from_millis(200), chat(&sim, "a", true))
            .await
            .is_err()
    );
    until(|| sim.control().stats().open_streams == 0).await;
    assert_eq!(sim.control().stats().disconnects, 1);
}

#[tokio::test]
async fn a_hang_ends_when_the_client_has_had_enough() {
    let sim = plain().await;
    sim.control().inject(Fault::of(Kind::Hang)).unwrap();
    assert!(
        timeout(Duration::from_millis(100), chat(&sim, "a", false))
            .await
            .is_err()
    );
    until(|| sim.control().stats().in_flight == 0).await;
    let log = sim.control().log();
    assert_eq!(
        (&*log[0].outcome, log[0].status, log[0].client_disconnected),
        ("fault:hang", 0, true)
    );
}

#[tokio::test]
async fn an_error_event_has_the_shape_of_its_stream() {
    let sim = plain().await;
    sim.control()
        .inject(Fault {
            code: Some("boom".into()),
            ..Fault::of(Kind::ErrorEvent).after_events(4)
        })
        .unwrap();
    let events = chat(&sim, "a", true).await.events();
    assert_eq!(
        (events.len(), &events[4]["error"]["code"]),
        (5, &"boom".into())
    );
    let answer = post(
        &sim,
        "/v1/responses",
        "{\"model\":\"gpt-4o\",\"stream\":true,\"input\":\"a\"}",
    )
    .await;
    assert!(
        answer
            .text()
            .contains("\n\nevent: error\ndata: {\"type\":\"error\",\"code\":\"boom\"")
    );
}

#[tokio::test]
async fn strange_200s_are_what_they_say() {
    let sim = plain().await;
    let ask = async |kind: Kind, stream| {
        sim.control().inject(Fault::of(kind).times(1)).unwrap();
        chat(&sim, "a", stream).await
    };
    let page = ask(Kind::Html200, false).await;
    assert_eq!(
        (page.status, &*page.headers["content-type"]),
        (200, "text/html; charset=UTF-8")
    );
    assert_eq!(ask(Kind::Empty, false).await.body.len(), 0);
    let half = ask(Kind::Truncate, false).await;
    assert!(half.whole && serde_json::from_slice::<serde_json::Value>(&half.body).is_err());
    let nothing = ask(Kind::EmptyStream, true).await;
    assert!(nothing.whole && nothing.body.is_empty());
    assert_eq!(
        nothing.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let role = ask(Kind::RoleOnly, true).await;
    assert_eq!((role.events().len(), role.content()), (1, String::new()));
    let malformed = ask(Kind::Malformed, true).await.text();
    assert!(malformed.contains(",,}\n\n") && malformed.ends_with("[DONE]\n\n"));
    let edge = ask(Kind::Html, false).await;
    assert_eq!(edge.status, 502);
    assert!(
        !edge.headers.contains_key("x-request-id"),
        "the edge knows of no request id"
    );
}

#[tokio::test]
async fn an_idle_connection_dies_without_a_word() {
    let sim = plain().await;
    sim.control()
        .inject(Fault::of(Kind::Close).times(1))
        .unwrap();
    let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
    let body = chat_body("a", false);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer sk-one\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(
        text.starts_with("http/1.1 200") && !text.contains("connection: close"),
        "{text}"
    );
}

#[tokio::test]
async fn shutdown_ends_open_streams_and_frees_the_port() {
    let sim = plain().await;
    let addr = sim.addr();
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let body = chat_body("[sim:tokens=1000][sim:event-ms=50]", true);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer sk-one\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    until(|| sim.control().stats().open_streams == 1).await;
    timeout(Duration::from_secs(5), sim.shutdown())
        .await
        .expect("a stream held the shutdown up");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn comments_alone_keep_a_stream_open_without_an_event() {
    let sim = plain().await;
    let gap = Some(Duration::from_millis(5).into());
    sim.control()
        .inject(Fault {
            gap,
            ..Fault::of(Kind::CommentsOnly)
        })
        .unwrap();
    assert!(
        timeout(Duration::from_millis(150), chat(&sim, "a", true))
            .await
            .is_err()
    );
    until(|| sim.control().stats().open_streams == 0).await;
    let sent = sim.control().log()[0].bytes_sent;
    assert!(sent >= 5 * 14 && sent.is_multiple_of(14), "{sent}");
}

#[tokio::test]
async fn a_whole_answer_can_break_off_too() {
    let sim = plain().await;
    sim.control()
        .inject(Fault::of(Kind::Drop).times(1))
        .unwrap();
    let answer = chat(&sim, "a", false).await;
    assert_eq!((answer.status, answer.whole), (200, false));
    assert!(!answer.body.is_empty());
    sim.control()
        .inject(Fault::of(Kind::Stall).times(1))
        .unwrap();
    assert!(
        timeout(Duration::from_millis(100), chat(&sim, "a", false))
            .await
            .is_err()
    );
}
