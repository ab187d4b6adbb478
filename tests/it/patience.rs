//! Again, elsewhere, or not at all: what a failed attempt leads to, and how many the provider sees.

use std::time::Duration;

use tokio::time::Instant;
use weir::sim::Fault;

use crate::support::{
    Step, Upstream, Weir, chat, eventually, in_time, named, post, sim,
    upstream::{CHAT, json},
};

const CALM: &str = "[breaker]\nconsecutive = 1000\nmin_calls = 100000\n";
const RATE: &str = r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-a on requests per min (RPM): Limit 180, Used 180, Requested 1.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;

fn limited(header: &str) -> bytes::Bytes {
    json(429, &format!("{header}\r\n"), RATE)
}

/// Fails with `bytes` until the `nth` call, then answers.
async fn after(nth: usize, bytes: bytes::Bytes) -> Upstream {
    Upstream::start(move |_, before| {
        vec![Step::Send(if before < nth {
            bytes.clone()
        } else {
            json(200, "", CHAT)
        })]
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_told_wait_is_obeyed_and_never_undercut() {
    in_time(async {
        for (header, told) in [("retry-after: 1", 1000), ("retry-after-ms: 350", 350)] {
            let upstream = after(1, limited(header)).await;
            let weir = Weir::over(&upstream.base_url(), CALM);
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let seen = upstream.seen();
            let gap = seen[1].at - seen[0].at;
            assert!(
                gap >= Duration::from_millis(told) && gap < Duration::from_millis(told + 4_000),
                "{header}: {gap:?}"
            );
            assert_eq!(answer.header("x-weir-attempts"), "2");
            let waited: u64 = answer.header("x-weir-wait-ms").parse().unwrap();
            assert!(waited >= told && waited < told + 800, "{waited}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_does_not_fit_fails_over_at_once() {
    in_time(async {
        let first = Upstream::saying(limited("retry-after: 50")).await;
        let second = named("second").await;
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), CALM);
        let started = Instant::now();
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!(
            (answer.status, answer.header("x-sim-name")),
            (200, "second")
        );
        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!(first.seen().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_does_not_fit_and_nobody_else_goes_back_to_the_caller_with_the_true_time() {
    in_time(async {
        let first = Upstream::saying(limited("retry-after: 50")).await;
        let weir = Weir::over(
            &first.base_url(),
            &format!("[retry]\nmax_wait = \"1s\"\n{CALM}"),
        );
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!((answer.status, answer.text().as_str()), (429, RATE));
        assert_eq!(
            (
                answer.header("x-should-retry"),
                answer.header("retry-after")
            ),
            ("true", "50")
        );
        assert_eq!(answer.header("x-weir-class"), "rate_limited_requests");
        assert_eq!(first.seen().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_capped_over_all_targets() {
    in_time(async {
        let (first, second) = (sim().await, sim().await);
        for sim in [&first, &second] {
            sim.control().inject(Fault::status(500)).unwrap();
        }
        let weir = Weir::over_two(
            &first.base_url(),
            &second.base_url(),
            &format!("[retry]\nmax_attempts = 3\nbase = \"10ms\"\n{CALM}"),
        );
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!(
            (answer.status, answer.header("x-weir-attempts")),
            (500, "3")
        );
        assert_eq!(
            first.control().stats().requests + second.control().stats().requests,
            3
        );
        assert!(second.control().stats().requests >= 1);
        assert_eq!(
            answer.header("x-should-retry"),
            "false",
            "weir has tried already"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_server_error_is_not_seen() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::status(500).times(1)).unwrap();
        let weir = Weir::over(&first.base_url(), CALM);
        for stream in [false, true] {
            first.control().clear();
            first.control().inject(Fault::status(500).times(1)).unwrap();
            let answer = chat("hi", stream).send(weir.addr).await;
            assert_eq!(
                (answer.status, answer.header("x-weir-attempts")),
                (200, "2")
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_of_the_caller_is_kept() {
    in_time(async {
        let silent = Upstream::start(|_, _| vec![Step::Hang]).await;
        let weir = Weir::over(&silent.base_url(), CALM);
        let calls = [
            ("x-weir-timeout", "4000ms"),
            ("x-stainless-read-timeout", "4.0"),
            ("x-stainless-timeout", "4"),
        ]
        .map(|(header, value)| {
            let addr = weir.addr;
            tokio::spawn(async move {
                let started = Instant::now();
                (
                    header,
                    chat("hi", true).header(header, value).send(addr).await,
                    started.elapsed(),
                )
            })
        });
        for call in calls {
            let (header, answer, took) = call.await.unwrap();
            assert_eq!(
                (answer.status, answer.header("x-weir-class")),
                (504, "deadline_exceeded"),
                "{header}"
            );
            assert!(took >= Duration::from_millis(3_700), "{header}: {took:?}");
            assert!(
                took < Duration::from_secs(4),
                "{header}: {took:?}: answered before the caller gives up"
            );
            // weir has tried once; the SDK's own repeat is as good as it would be without weir.
            assert_eq!(answer.header("x-should-retry"), "true");
        }
        eventually("no upstream call is left", || silent.open() == 0).await;
        assert!(
            silent
                .seen()
                .iter()
                .all(|seen| seen.header("x-weir-timeout").is_none())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backoff_that_would_pass_the_deadline_is_not_begun() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::status(500)).unwrap();
        let weir = Weir::over(
            &first.base_url(),
            &format!("[retry]\nbase = \"5s\"\n{CALM}"),
        );
        let started = Instant::now();
        let answer = chat("hi", false)
            .header("x-weir-timeout", "2s")
            .send(weir.addr)
            .await;
        assert_eq!(answer.status, 500);
        assert!(started.elapsed() < Duration::from_secs(1));
        assert_eq!(first.control().stats().requests, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_may_forbid_the_fallback() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        first
            .control()
            .inject(Fault::error("openai-insufficient-quota"))
            .unwrap();
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), CALM);
        let answer = chat("hi", false)
            .header("x-weir-fallback", "off")
            .send(weir.addr)
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (429, "insufficient_quota")
        );
        assert_eq!(second.control().stats().requests, 0);
        let answer = chat("hi", false)
            .header("x-weir-fallback", "on")
            .send(weir.addr)
            .await;
        assert_eq!(answer.header("x-sim-name"), "second");
        assert!(
            second
                .control()
                .log()
                .iter()
                .all(|r| r.headers.keys().all(|name| !name.starts_with("x-weir")))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdks_own_repeat_is_not_multiplied() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::status(500)).unwrap();
        let weir = Weir::over(&first.base_url(), CALM);
        let answer = chat("hi", false)
            .header("x-stainless-retry-count", "1")
            .send(weir.addr)
            .await;
        assert_eq!(
            (answer.status, answer.header("x-weir-attempts")),
            (500, "1")
        );
        assert_eq!(weir.metric("weir_sdk_retries_total", &[]), 1.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_total_outage_the_provider_gets_hardly_more_than_the_calls() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::status(500)).unwrap();
        let weir = Weir::over(
            &first.base_url(),
            &format!("[retry]\nbase = \"10ms\"\nmax = \"20ms\"\n{CALM}"),
        );
        let calls = 300;
        let all: Vec<_> = (0..calls)
            .map(|_| {
                let addr = weir.addr;
                tokio::spawn(async move { chat("hi", false).send(addr).await.status })
            })
            .collect();
        for call in all {
            assert_eq!(call.await.unwrap(), 500);
        }
        let received = first.control().stats().requests;
        // 20 % of the traffic, and a floor of one each second over the budget's ten.
        assert!(
            received > calls && received <= calls * 12 / 10 + 15,
            "{received} for {calls} calls"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_another_target_left_a_failure_is_repeated_once_at_most() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        first.control().inject(Fault::status(503)).unwrap();
        let weir = Weir::over_two(
            &first.base_url(),
            &second.base_url(),
            &format!("[retry]\nbase = \"3s\"\n{CALM}"),
        );
        let started = Instant::now();
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!(answer.header("x-sim-name"), "second");
        assert!(first.control().stats().requests <= 2);
        assert!(
            started.elapsed() < Duration::from_millis(1500),
            "in about the time of one attempt: {:?}",
            started.elapsed()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_died_idle_is_replaced_unseen() {
    in_time(async {
        // Answers, keeps the connection, and resets it a moment later without a word.
        let upstream = Upstream::start(|_, _| {
            vec![
                Step::Send(json(200, "", CHAT)),
                Step::Pause(Duration::from_millis(40)),
                Step::Reset,
            ]
        })
        .await;
        let weir = Weir::over(
            &upstream.base_url(),
            "[server]\nworkers = 1\n[retry]\nmax_attempts = 1\n",
        );
        for turn in 0..6 {
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!(
                (answer.status, answer.header("x-weir-attempts")),
                (200, "1"),
                "turn {turn}: {}",
                answer.text()
            );
            // Sometimes before, sometimes after it died.
            tokio::time::sleep(Duration::from_millis(if turn % 2 == 0 { 60 } else { 38 })).await;
        }
        assert_eq!(weir.metric("weir_attempts_total", &["class=\"ok\""]), 6.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_and_used_again() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&upstream.base_url(), "[server]\nworkers = 1\n");
        for _ in 0..10 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        }
        assert_eq!(upstream.connections(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_for_the_limit_is_not_repeated_but_tried_elsewhere() {
    in_time(async {
        let body = r#"{"error":{"message":"Request too large for gpt-4o in organization org-a on tokens per min (TPM): Limit 30000, Requested 60000. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
        let first = Upstream::saying(json(429, "", body)).await;
        let second = named("second").await;
        let weir = Weir::over(&first.base_url(), CALM);
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!((answer.status, answer.text().as_str(), answer.header("x-should-retry")), (429, body, "false"));
        assert_eq!(first.seen().len(), 1);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), CALM);
        assert_eq!(chat("hi", false).send(weir.addr).await.header("x-sim-name"), "second");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_has_begun_is_not_sent_twice() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        first.control().inject(Fault::status(500)).unwrap();
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), CALM);
        let form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n{}\r\n--b--\r\n",
            "x".repeat(300_000)
        );
        let answer = post("/v1/audio/transcriptions", form).header("content-type", "multipart/form-data; boundary=b").send(weir.addr).await;
        assert_eq!(answer.status, 500);
        assert_eq!((first.control().stats().requests, second.control().stats().requests), (1, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_hangs_leaves_time_for_the_next_one() {
    in_time(async {
        let silent = Upstream::start(|_, _| vec![Step::Hang]).await;
        let second = sim().await;
        let weir = Weir::over_two(&silent.base_url(), &second.base_url(), CALM);
        let started = Instant::now();
        let answer = chat("hi", false)
            .header("x-stainless-read-timeout", "4")
            .send(weir.addr)
            .await;
        assert_eq!(
            (answer.status, answer.header("x-weir-upstream")),
            (200, "second")
        );
        assert!(started.elapsed() < Duration::from_secs(4));
        eventually("the silent call has ended", || silent.open() == 0).await;
    })
    .await;
}
