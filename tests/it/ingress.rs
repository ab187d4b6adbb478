//! How requests may come in, and which may not.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Step, Upstream, Weir, ask, chat, client, eventually, get, in_time, post, sim,
    upstream::{CHAT, json},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_answered_without_a_key_and_without_an_upstream() {
    in_time(async {
        let weir = Weir::over("http://127.0.0.1:9/v1", "");
        let answer = get("/healthz").send(weir.addr).await;
        assert_eq!(
            (answer.status, answer.json()["status"].as_str()),
            (200, Some("ok"))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_api_is_404_in_openais_shape() {
    in_time(async {
        let weir = Weir::over("http://127.0.0.1:9/v1", "");
        for path in ["/", "/favicon.ico", "/v2/chat/completions", "/metrics"] {
            let answer = get(path).send(weir.addr).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (404, "not_found"),
                "{path}"
            );
            let error = &answer.json()["error"];
            assert_eq!(error["type"], "weir_error");
            assert!(error["message"].is_string() && error.get("param").is_some());
            assert!(!answer.header("x-weir-request-id").is_empty());
            assert_eq!(answer.header("x-should-retry"), "false");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_in_the_path_is_optional_and_the_upstreams_prefix_its_own() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&format!("http://{}/deep/prefix/v1beta/", upstream.addr), "");
        for path in ["/v1/chat/completions", "/chat/completions"] {
            let body = r#"{"model":"gpt-4o","messages":[]}"#;
            assert_eq!(post(path, body).send(weir.addr).await.status, 200);
            assert_eq!(
                upstream.seen().pop().unwrap().path(),
                "/deep/prefix/v1beta/chat/completions"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_method_and_path_of_the_api_passes_through() {
    in_time(async {
        let upstream = Upstream::start(|seen, _| {
            let head = seen.line.starts_with("HEAD");
            let body = if head { "" } else { "{\"ok\":true}" };
            let length = if head { 11 } else { body.len() };
            vec![Step::Send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into())]
        })
        .await;
        let weir = Weir::passing(&upstream.base_url(), "");
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"] {
            let answer = ask(method, "/v1/tomorrow/things/42?x=1").header("authorization", "Bearer sk-a").send(weir.addr).await;
            assert_eq!(answer.status, 200, "{method}: {}", answer.text());
            assert_eq!(answer.text(), if method == "HEAD" { "" } else { "{\"ok\":true}" }, "{method}");
            if method == "HEAD" {
                assert_eq!(answer.header("content-length"), "11");
            }
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(seen.line, format!("{method} /v1/tomorrow/things/42?x=1 HTTP/1.1"));
            assert_eq!(seen.header("authorization"), Some("Bearer sk-a"));
        }
        // A 204 has no body, and needs none.
        let empty = Upstream::saying("HTTP/1.1 204 No Content\r\nx-own: 1\r\n\r\n").await;
        let weir = Weir::passing(&empty.base_url(), "");
        let answer = ask("DELETE", "/v1/files/a").send(weir.addr).await;
        assert_eq!((answer.status, answer.header("x-own"), answer.body.len()), (204, "1", 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_the_bound_is_413_whether_its_length_is_told_or_not() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&upstream.base_url(), "[server]\nworkers = 2\nmax_body_bytes = \"64KiB\"\n");
        let fits = format!(r#"{{"model":"gpt-4o","messages":[],"x":"{}"}}"#, "y".repeat(60_000));
        assert_eq!(post("/v1/chat/completions", fits).send(weir.addr).await.status, 200);
        let told = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 70000\r\n\r\n{";
        let answer = client::raw_until(weir.addr, told.as_bytes(), |text| text.contains("payload_too_large")).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");
        let mut untold = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n11170\r\n".to_vec();
        untold.extend(std::iter::repeat_n(b' ', 70_000));
        let answer = client::raw_until(weir.addr, &untold, |text| text.contains("payload_too_large")).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        // A small body that unpacks to a large one is a large one.
        let mut packed = Vec::new();
        let bomb = vec![b' '; 10_000_000];
        async_compression::tokio::bufread::GzipEncoder::new(&bomb[..]).read_to_end(&mut packed).await.unwrap();
        let answer = post("/v1/chat/completions", packed).header("content-encoding", "gzip").send(weir.addr).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "payload_too_large"));
        assert_eq!(upstream.seen().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_beyond_the_bound_is_431() {
    in_time(async {
        let weir = Weir::over(
            "http://127.0.0.1:9/v1",
            "[server]\nworkers = 1\nmax_header_bytes = \"8KiB\"\n",
        );
        let request = format!(
            "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n",
            "y".repeat(20_000)
        );
        let answer = client::raw_until(weir.addr, request.as_bytes(), |text| {
            text.contains("\r\n\r\n")
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_let_go() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&upstream.base_url(), "[server]\nworkers = 1\nbody_timeout = \"200ms\"\nheader_timeout = \"200ms\"\n");
        let half = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"model\"";
        let answer = client::raw_until(weir.addr, half.as_bytes(), |text| text.contains("body_timeout")).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
        let mut stream = TcpStream::connect(weir.addr).await.unwrap();
        stream.write_all(b"GET /v1/models HTT").await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut rest)).await.expect("the connection ends").ok();
        assert!(upstream.seen().is_empty());
        eventually("nothing is held", || weir.inflight() == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_expects_is_told_to_continue() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let body = r#"{"model":"gpt-4o","messages":[]}"#;
        let mut stream = TcpStream::connect(weir.addr).await.unwrap();
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 100"));
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("HTTP/1.1 200") && rest.ends_with(CHAT), "{rest}");
        assert_eq!(upstream.seen()[0].header("expect"), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_one_call_after_another() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let body = r#"{"model":"gpt-4o","messages":[]}"#;
        let one = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answers = client::raw_until(weir.addr, one.repeat(3).as_bytes(), |text| {
            text.matches(CHAT).count() == 3
        })
        .await;
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{answers}");
        assert_eq!(upstream.seen().len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_without_tls_is_spoken() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), "");
        let stream = TcpStream::connect(weir.addr).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let calls: Vec<_> = (0..20)
            .map(|index| {
                let mut sender = sender.clone();
                tokio::spawn(async move {
                    let body = format!(r#"{{"model":"gpt-4o","stream":true,"messages":[{{"role":"user","content":"call {index}"}}]}}"#);
                    let request = http::Request::post("http://weir.test/v1/chat/completions")
                        .header("content-type", "application/json")
                        .header("authorization", "Bearer sk-a")
                        .body(Full::from(body))
                        .unwrap();
                    sender.ready().await.unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    assert!(body.ends_with(b"data: [DONE]\n\n"));
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(first.control().stats().requests, 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_serves_and_is_gone_afterwards() {
    in_time(async {
        let directory = std::env::temp_dir().join(format!("weir-it-unix-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("weir.sock");
        let first = sim().await;
        let weir = Weir::start(&format!(
            "listen = \"unix:{}\"\n{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n",
            path.display(),
            crate::support::gateway::upstream("first", &first.base_url(), "")
        ));
        for stream in [false, true, false, true] {
            let answer = chat("hi", stream).send(path.as_path()).await;
            assert_eq!(answer.status, 200);
        }
        assert!(weir.stop(Duration::from_secs(5)).await);
        assert!(tokio::net::UnixStream::connect(&path).await.is_err());
        std::fs::remove_dir_all(directory).unwrap();
    })
    .await;
}

/// A masked text frame.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_passes_through_both_ways_and_ends_with_either_side() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), "");
        let mut stream = TcpStream::connect(weir.addr).await.unwrap();
        let request = "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer sk-a\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        let until = |got: &[u8], word: &str| got.windows(word.len()).any(|w| w == word.as_bytes());
        while !until(&got, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") || !until(&got, "\r\n\r\n") {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{}", String::from_utf8_lossy(&got));
        }
        assert!(got.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&got));
        let said = r#"{"type":"session.update","session":{}}"#;
        stream.write_all(&frame(said)).await.unwrap();
        while !until(&got, "session.") {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0);
        }
        assert_eq!(weir.inflight(), 1);
        drop(stream);
        eventually("the provider's side has ended", || first.control().stats().open_connections == 0).await;
        eventually("nothing is held", || weir.inflight() == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::passing(&first.base_url(), "");
        let request = "GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer sk-a\r\n\r\n";
        let answer = client::raw_until(weir.addr, request.as_bytes(), |text| text.contains("\"error\"")).await;
        assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("error"), "{answer}");
        eventually("nothing is held", || weir.inflight() == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_gateway_says_so_and_wants_the_caller_back() {
    in_time(async {
        let upstream = Upstream::start(|_, _| vec![Step::Hang]).await;
        let weir = Weir::over(
            &upstream.base_url(),
            "[server]\nworkers = 2\nmax_inflight = 2\n",
        );
        let addr = weir.addr;
        let held: Vec<_> = (0..2)
            .map(|_| tokio::spawn(async move { chat("hi", false).live(addr).await.is_ok() }))
            .collect();
        eventually("two are in", || upstream.seen().len() == 2).await;
        let answer = chat("hi", false).send(addr).await;
        assert_eq!(
            (
                answer.status,
                answer.header("x-should-retry"),
                answer.header("retry-after")
            ),
            (503, "true", "1")
        );
        for call in held {
            call.abort();
        }
        eventually("it has room again", || weir.inflight() == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_a_route_is_openais_404() {
    in_time(async {
        let weir = Weir::start(&format!(
            "{}[[route]]\nmodels = [\"gpt-4o\", \"gpt-4o-*\"]\ntargets = [\"first\"]\n",
            crate::support::gateway::upstream("first", "http://127.0.0.1:9/v1", "")
        ));
        let answer = post(
            "/v1/chat/completions",
            r#"{"model":"gpt-4p","messages":[]}"#,
        )
        .send(weir.addr)
        .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "model_not_found")
        );
        assert!(answer.text().contains("gpt-4o"), "{}", answer.text());
    })
    .await;
}
