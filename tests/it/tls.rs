//! TLS to the provider, and HTTP/2 where it speaks it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{
    chat, get, in_time, post,
    process::{Directory, Process, toml},
    upstream::CHAT,
};

/// An HTTPS server that speaks what the client prefers; counts its connections.
pub(crate) async fn https(directory: &Directory) -> (u16, PathBuf, Arc<AtomicUsize>) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = directory.write("ca.pem", &signed.cert.pem());
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                counted.fetch_add(1, SeqCst);
                let service = hyper::service::service_fn(
                    |request: http::Request<hyper::body::Incoming>| async move {
                        // Long enough for calls to overlap.
                        let long = request.uri().path().ends_with("/responses");
                        let time = if long { 30_000 } else { 50 };
                        tokio::time::sleep(Duration::from_millis(time)).await;
                        let authority = request
                            .uri()
                            .authority()
                            .map(ToString::to_string)
                            .unwrap_or_default();
                        http::Response::builder()
                            .header("content-type", "application/json")
                            .header("x-spoken", format!("{:?}", request.version()))
                            .header("x-authority", authority)
                            .body(Full::new(bytes::Bytes::from_static(CHAT.as_bytes())))
                    },
                );
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (port, path, connections)
}

/// The port of such a server, and the certificate to trust it by.
pub(crate) async fn https_port(directory: &Directory) -> (u16, PathBuf) {
    let (port, authority, _) = https(directory).await;
    (port, authority)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_behind_tls_is_spoken_to_in_http2_over_one_connection() {
    in_time(async {
        let certificates = Directory::new("tls-ca");
        let (port, authority, connections) = https(&certificates).await;
        let text = toml(
            &format!("https://localhost:{port}/v1"),
            "[server]\nworkers = 1\n[cache]\npolicy = \"off\"\n",
        );
        let process = Process::start("tls", &text, &[("SSL_CERT_FILE", &authority)]).await;
        let apps = process.apps();
        assert_eq!(
            chat("first", false).send(apps).await.status,
            200,
            "{}",
            process.said()
        );
        let calls: Vec<_> = (0..20)
            .map(|i| {
                tokio::spawn(async move { chat(&format!("call {i}"), false).send(apps).await })
            })
            .collect();
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, CHAT));
            assert_eq!(answer.header("x-spoken"), "HTTP/2.0");
            assert_eq!(answer.header("x-authority"), format!("localhost:{port}"));
        }
        assert_eq!(connections.load(SeqCst), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_does_not_wait_for_a_place_on_a_connection_that_is_full() {
    in_time(async {
        let certificates = Directory::new("tls-full");
        let (port, authority, connections) = https(&certificates).await;
        let text = toml(
            &format!("https://localhost:{port}/v1"),
            "[server]\nworkers = 1\n[cache]\npolicy = \"off\"\n",
        );
        let process = Process::start("tls-full", &text, &[("SSL_CERT_FILE", &authority)]).await;
        let apps = process.apps();
        assert_eq!(chat("first", false).send(apps).await.status, 200);
        // hyper's server takes 200 streams of a connection.
        let long: Vec<_> = (0..200)
            .map(|i| {
                let ask = post(
                    "/v1/responses",
                    format!(r#"{{"model":"gpt-4o","input":"{i}"}}"#),
                );
                tokio::spawn(async move { ask.send(apps).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let next = chat("next", false);
        let answer = tokio::time::timeout(Duration::from_secs(5), next.send(apps)).await;
        assert_eq!(
            answer.expect("it has another connection").status,
            200,
            "{}",
            process.said()
        );
        assert_eq!(connections.load(SeqCst), 2);
        for call in long {
            call.abort();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_gets_a_connection_that_can_be_upgraded() {
    in_time(async {
        let certificates = Directory::new("tls-socket");
        let (port, authority, _) = https(&certificates).await;
        let text = toml(
            &format!("https://localhost:{port}/v1"),
            "[server]\nworkers = 1\n",
        );
        let process = Process::start("tls-socket", &text, &[("SSL_CERT_FILE", &authority)]).await;
        let apps = process.apps();
        assert_eq!(chat("first", false).send(apps).await.status, 200);
        let answer = get("/v1/realtime?model=gpt-realtime")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .send(apps)
            .await;
        assert_eq!(answer.header("x-spoken"), "HTTP/1.1", "{}", answer.text());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_vouches_for_is_not_accepted() {
    in_time(async {
        let certificates = Directory::new("tls-stranger");
        let (port, _, connections) = https(&certificates).await;
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = certificates.write("other.pem", &other.cert.pem());
        let text = toml(
            &format!("https://localhost:{port}/v1"),
            "[retry]\nmax_attempts = 1\n",
        );
        let process = Process::start("stranger", &text, &[("SSL_CERT_FILE", &other)]).await;
        let answer = chat("hi", false).send(process.apps()).await;
        assert!(matches!(answer.status, 502..=504), "{}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "weir_error");
        assert!(
            !answer.text().contains(&port.to_string()),
            "no upstream's address in an answer: {}",
            answer.text()
        );
        assert_eq!(connections.load(SeqCst), 0);
    })
    .await;
}
