//! What is stored, and in which forms it goes out.

use std::sync::atomic::AtomicBool;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_second_call_is_a_hit_and_says_so() {
    let bench = Bench::new(plain);
    let first = bench.send(call(CHAT)).await.unwrap();
    assert_eq!(
        (first.learnt.cache, first.learnt.usage),
        (CacheStatus::Miss, Some(USAGE))
    );
    assert_eq!(first.headers["cache-status"], "weir; fwd=uri-miss; stored");
    tokio::time::advance(Duration::from_secs(7)).await;
    let second = bench.send(call(CHAT)).await.unwrap();
    assert_eq!(
        (second.learnt.cache, second.learnt.usage),
        (CacheStatus::Hit, None),
        "nothing is booked twice"
    );
    assert_eq!(second.learnt.age, Some(Duration::from_secs(7)));
    assert_eq!(second.headers["age"], "7");
    assert_eq!(second.headers["cache-status"], "weir; hit; ttl=53");
    assert_eq!(second.headers["x-request-id"], "req_1");
    assert!(
        !second.headers.contains_key("set-cookie")
            && !second
                .headers
                .contains_key("x-ratelimit-remaining-requests")
    );
    assert_eq!(text(second).await, ANSWER);
    assert_eq!(bench.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn order_user_and_metadata_do_not_matter_and_the_rest_does() {
    let bench = Bench::new(plain);
    bench.get(call(CHAT)).await;
    let same = r#" {"user":"u","metadata":{"a":"b"},"messages":[{"content":"hi","role":"user"}],"temperature":0,"model":"gpt-4o","stream":false}"#;
    assert_eq!(bench.get(call(same)).await.0, CacheStatus::Hit);
    for other in [
        CHAT.replace("hi", "ho"),
        CHAT.replace("gpt-4o", "gpt-4"),
        CHAT.replace("\"temperature\":0", "\"temperature\":0,\"top_p\":1"),
    ] {
        assert_eq!(
            bench.get(call(&other)).await.0,
            CacheStatus::Miss,
            "{other}"
        );
    }
    let mut organization = call(CHAT);
    organization
        .headers
        .insert("openai-organization", HeaderValue::from_static("org-2"));
    assert_eq!(bench.get(organization).await.0, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_stored_stream_answers_both_asks_and_so_does_a_whole_answer() {
    let bench = Bench::new(|call| {
        now(Ok(if call.envelope.stream {
            events()
        } else {
            whole(ANSWER)
        }))
    });
    assert_eq!(
        bench.get(call(CHAT_STREAM)).await,
        (CacheStatus::Miss, EVENTS.concat().into())
    );
    assert_eq!(
        bench.get(call(CHAT_STREAM)).await,
        (CacheStatus::Hit, EVENTS.concat().into())
    );
    let reply = bench.send(call(CHAT)).await.unwrap();
    assert_eq!(
        (reply.learnt.cache, &reply.headers["content-type"]),
        (
            CacheStatus::Hit,
            &HeaderValue::from_static("application/json")
        )
    );
    let body: serde_json::Value = serde_json::from_slice(&text(reply).await).unwrap();
    assert_eq!(
        (
            &body["choices"][0]["message"]["content"],
            &body["usage"]["completion_tokens"]
        ),
        (&"Hello".into(), &2.into())
    );

    let other = |body: &str| call(&body.replace("hi", "ho"));
    bench.get(other(CHAT)).await;
    let reply = bench.send(other(CHAT_STREAM)).await.unwrap();
    assert_eq!(reply.learnt.cache, CacheStatus::Hit);
    assert!(
        reply.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    let stream = text(reply).await;
    assert!(stream.starts_with(b"data: {") && stream.ends_with(b"data: [DONE]\n\n"));
    let with_usage = CHAT_STREAM.replace(
        "\"stream\":true",
        "\"stream\":true,\"stream_options\":{\"include_usage\":true}",
    );
    let (cache, stream) = bench.get(other(&with_usage)).await;
    assert_eq!(cache, CacheStatus::Hit);
    assert!(memchr::memmem::find(&stream, b"\"completion_tokens\":2").is_some());
    assert_eq!(bench.calls(), 2);
    bench.store.settle();
    assert_eq!(bench.store.entry_count(), 2);
    assert!(bench.store.weighted_size() > 2 * 1024);
}

#[tokio::test(start_paused = true)]
async fn too_large_incomplete_and_unsuccessful_answers_are_not_kept() {
    let bench = Bench::with(
        config::Cache {
            max_entry_bytes: ANSWER.len() - 1,
            ..config()
        },
        plain,
    );
    bench.get(call(CHAT)).await;
    assert_eq!(
        bench.get(call(CHAT)).await.0,
        CacheStatus::Miss,
        "too large"
    );

    let bench = Bench::new(|_| {
        now(Ok(Reply {
            status: StatusCode::ACCEPTED,
            ..whole(ANSWER)
        }))
    });
    bench.get(call(CHAT)).await;
    assert_eq!(
        bench.get(call(CHAT)).await.0,
        CacheStatus::Miss,
        "not a 200"
    );

    let ask = || {
        call_to(
            Endpoint::Responses,
            r#"{"model":"gpt-4o","temperature":0,"input":"hi"}"#,
        )
    };
    for (status, second) in [
        ("incomplete", CacheStatus::Miss),
        ("failed", CacheStatus::Miss),
        ("completed", CacheStatus::Hit),
    ] {
        let bench = Bench::new(move |_| {
            now(Ok(whole(format!(
                r#"{{"id":"resp_1","status":"{status}","output":[]}}"#
            ))))
        });
        bench.get(ask()).await;
        assert_eq!(bench.get(ask()).await.0, second, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_coded_answer_is_kept_decoded() {
    const GZIPPED: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 171, 174, 5, 0, 67, 191, 166, 163, 2, 0, 0, 0,
    ];
    let bench = Bench::new(|_| {
        let mut reply = whole(GZIPPED);
        reply
            .headers
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        now(Ok(reply))
    });
    assert_eq!(
        bench.get(call(CHAT)).await,
        (CacheStatus::Miss, GZIPPED.into()),
        "the leader's bytes are the provider's"
    );
    let hit = bench.send(call(CHAT)).await.unwrap();
    assert!(!hit.headers.contains_key("content-encoding"));
    assert_eq!(text(hit).await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_is_not_kept() {
    let broken = Arc::new(AtomicBool::new(true));
    let bench = Bench::new(move |_| {
        let (feed, reply) = fed(&Arc::default());
        feed.send(Ok(Bytes::from_static(EVENTS[0].as_bytes())))
            .unwrap();
        if broken.swap(false, SeqCst) {
            feed.send(Err(BodyError("cut".into()))).unwrap();
        }
        now(Ok(reply))
    });
    let reply = bench.send(call(CHAT_STREAM)).await.unwrap();
    assert!(reply.body.collect().await.is_err());
    assert_eq!(bench.get(call(CHAT_STREAM)).await.0, CacheStatus::Miss);
    assert_eq!(bench.get(call(CHAT_STREAM)).await.0, CacheStatus::Hit);
}

/// Broken after the commit point: dispatch ends it with an error event, and the framing is sound.
#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_with_an_error_event_is_not_kept() {
    let bench = Bench::new(|_| {
        let facts = Arc::new(Facts::default());
        facts.set(End {
            how: How::Broken(Class::StreamError),
            usage: None,
        });
        let body = http_body_util::Full::new(Bytes::from_static(b"data: {\"error\":{}}\n\n"));
        let mut reply = events();
        reply.body = ReplyBody::stream(Box::pin(body.map_err(|never| match never {})), facts);
        now(Ok(reply))
    });
    bench.get(call(CHAT_STREAM)).await;
    assert_eq!(bench.get(call(CHAT_STREAM)).await.0, CacheStatus::Miss);
}
