//! The edges of HTTP: what real clients, balancers and providers do now and then.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    Step, Upstream, Weir, ask, chat, eventually, in_time, post,
    upstream::{CHAT, json},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_of_http2_is_not_a_websocket() {
    in_time(async {
        let (first, second) = (
            Upstream::saying(json(503, "", "{}")).await,
            Upstream::saying(json(200, "", CHAT)).await,
        );
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
        // What Java's own client sends with its first request to any plain http address.
        let answer = chat("hi", false)
            .header("connection", "Upgrade, HTTP2-Settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA")
            .send(weir.addr)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for seen in first.seen().iter().chain(&second.seen()) {
            for name in ["upgrade", "connection", "http2-settings"] {
                assert_eq!(seen.header(name), None, "{name}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_of_a_told_length_that_came_whole_is_booked_as_whole() {
    in_time(async {
        let sound = "x".repeat(100_000);
        let reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: {}\r\n\r\n{sound}",
            sound.len()
        );
        let upstream = Upstream::saying(reply).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let body = r#"{"model":"tts-1","input":"hi","voice":"alloy"}"#;
        let answer = post("/v1/audio/speech", body).send(weir.addr).await;
        assert_eq!(answer.body.len(), sound.len());
        eventually("it is booked", || {
            weir.metric("weir_requests_total", &[]) >= 1.0
        })
        .await;
        assert_eq!(
            weir.metric("weir_requests_total", &["outcome=\"ok\""]),
            1.0,
            "{}",
            weir.metrics()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_without_a_body_says_so() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", "{}")).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let answer = ask("POST", "/v1/batches/b_1/cancel").send(weir.addr).await;
        assert_eq!(answer.status, 200);
        // Without it many servers and balancers answer 411.
        assert_eq!(upstream.seen()[0].header("content-length"), Some("0"));
        ask("GET", "/v1/batches/b_1").send(weir.addr).await;
        assert_eq!(upstream.seen()[1].header("content-length"), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_has_no_body_by_nature_keeps_its_headers() {
    in_time(async {
        for (method, status) in [("HEAD", 200), ("GET", 304), ("DELETE", 204)] {
            let length = if status == 204 { "" } else { "content-length: 77\r\n" };
            let upstream = Upstream::saying(format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\netag: \"a\"\r\n{length}\r\n"
            ))
            .await;
            let weir = Weir::over(&upstream.base_url(), "");
            let answer = ask(method, "/v1/files/f_1").send(weir.addr).await;
            assert_eq!(answer.status, status, "{method}: {}", answer.text());
            assert_eq!(answer.header("etag"), "\"a\"", "{method}");
            assert!(answer.body.is_empty() && !answer.broken);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_their_callers_break_off_are_no_failure_of_the_providers() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", "{}")).await;
        let weir = Weir::over(&upstream.base_url(), "");
        for _ in 0..6 {
            let mut stream = tokio::net::TcpStream::connect(weir.addr).await.unwrap();
            let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 300000\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&[b'x'; 150_000]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        }
        eventually("all are over", || weir.inflight() == 0).await;
        assert_eq!(
            weir.metric("weir_attempts_total", &["class=\"connection\""]),
            0.0,
            "{}",
            weir.metrics()
        );
        let answer = ask("GET", "/v1/files").send(weir.addr).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_does_not_wait_for_the_rest_of_somebody_elses_upload() {
    in_time(async {
        // Answers at the head, and reads on.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        let head = String::from_utf8_lossy(&buffer[..read.min(8)]).into_owned();
                        if head.starts_with("POST") || head.starts_with("GET") {
                            let _ = stream.write_all(&json(200, "", "{}")).await;
                        }
                    }
                });
            }
        });
        let weir = Weir::over(&base, "[server]\nworkers = 1\n");
        let mut upload = tokio::net::TcpStream::connect(weir.addr).await.unwrap();
        let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\ncontent-length: 300000\r\n\r\n";
        upload.write_all(head.as_bytes()).await.unwrap();
        upload.write_all(&[b'x'; 100_000]).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = upload.read(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 200"));
        let next = ask("GET", "/v1/files");
        let next = tokio::time::timeout(Duration::from_secs(3), next.send(weir.addr)).await;
        assert_eq!(next.expect("it has a connection of its own").status, 200);
        drop(upload);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_speak_of_another_host_or_another_weir_stay_behind() {
    in_time(async {
        let headers = "alt-svc: h3=\":443\"; ma=86400\r\nx-weir-class: overloaded\r\nx-weir-model: other\r\nx-weir-advice: pay\r\nx-weir-warning: this answer is stale\r\nconnection: keep-alive\r\nconnection: x-hop\r\nx-hop: 1\r\n";
        let upstream = Upstream::saying(json(200, headers, "{\"data\":[]}")).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let answer = ask("GET", "/v1/files").send(weir.addr).await;
        assert_eq!(answer.status, 200);
        for name in ["alt-svc", "x-weir-class", "x-weir-model", "x-weir-advice", "x-hop"] {
            assert_eq!(answer.headers.get(name), None, "{name}");
        }
        // An honest word from further up is not lost.
        assert_eq!(answer.header("x-weir-warning"), "this answer is stale");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_one_caller_in_headers_is_not_told_the_next_by_an_open_circuit() {
    in_time(async {
        let headers = "set-cookie: session=of-the-first\r\nopenai-organization: org-of-the-first\r\nretry-after: 7\r\n";
        let body = r#"{"error":{"message":"down","type":"server_error","code":null}}"#;
        let upstream = Upstream::saying(json(500, headers, body)).await;
        let weir = Weir::passing(&upstream.base_url(), "[retry]\nmax_attempts = 1\n");
        let own = chat("hi", false).send(weir.addr).await;
        assert_eq!(own.header("set-cookie"), "session=of-the-first");
        for _ in 0..20 {
            chat("hi", false).send(weir.addr).await;
        }
        let before = upstream.seen().len();
        let other = chat("hi", false)
            .header("authorization", "Bearer sk-another-callers")
            .send(weir.addr)
            .await;
        assert_eq!(upstream.seen().len(), before, "the circuit is open");
        assert_eq!((other.status, other.text().as_str()), (500, body));
        for name in ["set-cookie", "openai-organization"] {
            assert_eq!(other.headers.get(name), None, "{name}");
        }
        // The time to the next probe, and not what the provider told somebody earlier.
        let wait: u64 = other.header("retry-after-ms").parse().unwrap();
        assert_eq!(other.header("retry-after"), wait.div_ceil(1000).to_string());
        assert!((1..=5_500).contains(&wait), "{wait}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_names_of_any_length_cost_no_memory_and_no_label() {
    in_time(async {
        let upstream = Upstream::saying(json(
            404,
            "",
            r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
        ))
        .await;
        let weir = Weir::over(&upstream.base_url(), "");
        let name = "m".repeat(5_000);
        let answer = post(
            "/v1/chat/completions",
            format!(r#"{{"model":"{name}","messages":[]}}"#),
        )
        .send(weir.addr)
        .await;
        assert_eq!(answer.status, 404);
        assert!(answer.headers.get("x-weir-model").is_none());
        assert!(!weir.metrics().contains(&name));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_hangs_up_on_a_call_it_has_worked_on_is_not_asked_again_unseen() {
    in_time(async {
        let upstream = Upstream::start(|_, before| match before {
            0 => vec![Step::Send(json(200, "", CHAT))],
            _ => vec![Step::Pause(Duration::from_millis(1_500)), Step::Close],
        })
        .await;
        let weir = Weir::over(
            &upstream.base_url(),
            "[retry]\nmax_attempts = 1\n[server]\nworkers = 1\n",
        );
        assert_eq!(chat("first", false).send(weir.addr).await.status, 200);
        let answer = chat("second", false).send(weir.addr).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_eq!(upstream.seen().len(), 2);
        assert_eq!(answer.header("x-weir-attempts"), "1");
    })
    .await;
}
