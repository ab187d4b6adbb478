//! Callers that leave, and the end of the gateway.

use std::time::Duration;

use weir::{config::hash_key, sim::{Fault, Kind}};

use crate::support::{Weir, chat, eventually, gateway::upstream, in_time, post, sim};

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_killed_mid_stream_leave_nothing_behind() {
    in_time(async {
        let first = sim().await;
        let app = format!(
            "[[app]]\nname = \"crowd\"\nkey = \"blake3:{}\"\nconcurrency = 200\n",
            hex(hash_key("wk-crowd"))
        );
        let more = format!("limits = {{ concurrency = 200 }}\n[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n{app}");
        let weir = Weir::start(&upstream("first", &first.base_url(), &more));
        let ask = chat("for ever [sim:tokens=5000][sim:event-ms=50]", true).header("authorization", "Bearer wk-crowd");
        for _ in 0..2 {
            let mut streams = Vec::new();
            for call in (0..200).map(|_| {
                let (ask, addr) = (ask.clone(), weir.addr);
                tokio::spawn(async move {
                    let mut live = ask.live(addr).await.unwrap();
                    assert_eq!(live.status, 200);
                    live.next().await.unwrap().unwrap();
                    live
                })
            }).collect::<Vec<_>>() {
                streams.push(call.await.unwrap());
            }
            assert_eq!(first.control().stats().in_flight, 200);
            assert_eq!(weir.inflight(), 200);
            drop(streams);
            eventually("no upstream call runs", || first.control().stats().in_flight == 0).await;
            eventually("every permit is back", || weir.inflight() == 0).await;
        }
        // The allowance of calls at once is whole again, too.
        let answer = chat("hi", false).header("authorization", "Bearer wk-crowd").send(weir.addr).await;
        assert_eq!(answer.status, 200);
        assert_eq!(weir.metric("weir_inflight", &[]), 0.0);
        assert_eq!(weir.metric("weir_requests_total", &["outcome=\"cancelled\""]), 400.0);
        assert_eq!(weir.metric("weir_breaker_state", &[]), 0.0, "who leaves says nothing about the provider");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_before_the_head_ends_the_upstream_call() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::of(Kind::Hang)).unwrap();
        let weir = Weir::over(&first.base_url(), "");
        for stream in [false, true] {
            let addr = weir.addr;
            let call = tokio::spawn(async move { chat("hi", stream).send(addr).await });
            eventually("the call is under way", || first.control().stats().in_flight == 1).await;
            call.abort();
            eventually("it has ended upstream", || first.control().stats().in_flight == 0).await;
            eventually("and here", || weir.inflight() == 0).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_during_a_backoff_is_not_called_for() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::status(500)).unwrap();
        let weir = Weir::over(&first.base_url(), "[retry]\nbase = \"700ms\"\n");
        let addr = weir.addr;
        let call = tokio::spawn(async move { chat("hi", false).send(addr).await });
        eventually("the first attempt has failed", || first.control().stats().by_status.contains_key(&500)).await;
        call.abort();
        eventually("nothing runs", || weir.inflight() == 0).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(first.control().stats().requests, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_during_fifty_streams_loses_none_of_them() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), "");
        let addr = weir.addr;
        let mut streams = Vec::new();
        for index in 0..50 {
            let mut live = chat(&format!("stream {index} [sim:tokens=40][sim:event-ms=25]"), true).live(addr).await.unwrap();
            assert!(live.next().await.unwrap().is_ok());
            streams.push(live);
        }
        let stopping = tokio::spawn(weir.stop(Duration::from_secs(20)));
        for live in streams {
            let answer = live.whole().await;
            assert!(!answer.broken && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        }
        assert!(stopping.await.unwrap(), "all was finished");
        assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_does_not_wait_for_ever() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::of(Kind::Hang)).unwrap();
        let weir = Weir::over(&first.base_url(), "");
        let addr = weir.addr;
        let call = tokio::spawn(async move { post("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"x"}"#).live(addr).await.is_err() });
        eventually("the call is under way", || first.control().stats().in_flight == 1).await;
        assert!(!weir.stop(Duration::from_millis(300)).await, "it says that a call was cut");
        assert!(call.await.unwrap());
        eventually("the upstream call has ended", || first.control().stats().in_flight == 0).await;
    })
    .await;
}
