//! The binary: its exit codes, signals, admin port, and TLS to the provider.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::Instant,
};
use weir::sim::{Fault, Kind};

use crate::support::{FIRST_KEY, chat, eventually, get, in_time, sim, upstream::CHAT, within};

/// A process with a directory of its own; both are gone when dropped.
struct Process {
    child: Child,
    directory: Directory,
    said: Arc<Mutex<String>>,
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-it-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("serve").arg("--config").arg(config);
    command.env_clear().env("FIRST_KEY", FIRST_KEY).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn toml(base_url: &str, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n[[upstream]]\nname = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"${{FIRST_KEY}}\"\n{more}\n"
    )
}

impl Process {
    /// Runs with this configuration; returns when it serves.
    async fn start(name: &str, text: &str, environment: &[(&str, &Path)]) -> Self {
        let directory = Directory::new(name);
        let config = directory.write("weir.toml", text);
        let mut child = command(&config).envs(environment.iter().copied()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (hears, stderr) = (Arc::clone(&said), child.stderr.take().unwrap());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                hears.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let process = Self { child, directory, said };
        eventually("it serves", || process.said().contains("OPENAI_BASE_URL=")).await;
        process
    }

    /// What it has written to stderr, without colours.
    fn said(&self) -> String {
        let said = self.said.lock().unwrap();
        let mut plain = String::new();
        let mut escaped = false;
        for c in said.chars() {
            match c {
                '\u{1b}' => escaped = true,
                'm' if escaped => escaped = false,
                _ if escaped => {}
                _ => plain.push(c),
            }
        }
        plain
    }

    fn after(&self, word: &str) -> std::net::SocketAddr {
        let said = self.said();
        let at = said.find(word).unwrap_or_else(|| panic!("no {word} in {said}")) + word.len();
        let address: String = said[at..].trim_start_matches('"').chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        address.parse().unwrap_or_else(|error| panic!("{error}: {address} in {said}"))
    }

    fn apps(&self) -> std::net::SocketAddr {
        self.after("OPENAI_BASE_URL=http://")
    }

    fn admin(&self) -> std::net::SocketAddr {
        self.after("admin=")
    }

    /// Sends it a signal, by its id.
    async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    async fn exit(&mut self) -> i32 {
        let status = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await.expect("it ends").unwrap();
        status.code().expect("it ends by itself")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_exits_64_and_tells_every_mistake_with_its_line() {
    in_time(async {
        let directory = Directory::new("mistakes");
        let config = directory.write(
            "weir.toml",
            "listne = \"127.0.0.1:0\"\n[retry]\nmax_attempts = 0\nbase = \"soon\"\n[[upstream]]\nname = \"openai\"\nprovider = \"opnai\"\n[[route]]\nmodels = [\"*\"]\ntargets = [\"opanai\"]\n",
        );
        let output = command(&config).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        for (line, word) in [(1, "listne"), (3, "max_attempts"), (4, "soon"), (7, "opnai"), (10, "opanai")] {
            assert!(said.contains(word), "{word} is not told in {said}");
            assert!(said.contains(&format!("weir.toml:{line}")) || said.contains(&format!("line {line}")), "line {line} is not told in {said}");
        }
        for hint in ["`listen`", "`openai`"] {
            assert!(said.contains(hint), "{hint} is not suggested in {said}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_keys_are_not_served_to_strangers_on_an_open_listener() {
    in_time(async {
        let directory = Directory::new("open");
        let text = toml("http://127.0.0.1:9/v1", "").replace("listen = \"127.0.0.1:0\"\nadmin", "listen = \"0.0.0.0:0\"\nadmin");
        let output = command(&directory.write("weir.toml", &text)).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("[[app]]"), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_an_exit_with_a_reason() {
    in_time(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let directory = Directory::new("taken");
        let text = toml("http://127.0.0.1:9/v1", "").replacen("127.0.0.1:0", &address.to_string(), 1);
        let output = command(&directory.write("weir.toml", &text)).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address.to_string()), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_during_fifty_streams_loses_none_and_exits_0() {
    in_time(async {
        let first = sim().await;
        let mut process = Process::start("sigterm", &toml(&first.base_url(), ""), &[]).await;
        let apps = process.apps();
        let mut streams = Vec::new();
        for index in 0..50 {
            let mut live = chat(&format!("stream {index} [sim:tokens=30][sim:event-ms=30]"), true).live(apps).await.unwrap();
            live.next().await.unwrap().unwrap();
            streams.push(live);
        }
        process.signal("TERM").await;
        for live in streams {
            let answer = live.whole().await;
            assert!(!answer.broken && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        }
        assert_eq!(process.exit().await, 0, "{}", process.said());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_the_drain_is_cut_and_told_by_the_exit_code() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::of(Kind::Hang)).unwrap();
        let mut process = Process::start("cut", &toml(&first.base_url(), "[server]\ndrain_timeout = \"300ms\"\n"), &[]).await;
        let apps = process.apps();
        let call = tokio::spawn(async move { chat("hi", false).live(apps).await.is_err() });
        eventually("the call is under way", || first.control().stats().in_flight == 1).await;
        process.signal("TERM").await;
        assert_eq!(process.exit().await, 3);
        assert!(call.await.unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::of(Kind::Hang)).unwrap();
        let mut process = Process::start("second", &toml(&first.base_url(), ""), &[]).await;
        let apps = process.apps();
        let call = tokio::spawn(async move { chat("hi", false).live(apps).await.is_err() });
        eventually("the call is under way", || first.control().stats().in_flight == 1).await;
        process.signal("TERM").await;
        eventually("it drains", || process.said().contains("Draining")).await;
        let asked = Instant::now();
        process.signal("INT").await;
        assert_eq!(process.exit().await, 3);
        assert!(asked.elapsed() < Duration::from_secs(2));
        assert!(call.await.unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_drains_it_is_alive_and_not_ready() {
    in_time(async {
        let first = sim().await;
        let mut process = Process::start("ready", &toml(&first.base_url(), "[server]\ndrain_delay = \"2s\"\n"), &[]).await;
        let (apps, admin) = (process.apps(), process.admin());
        assert_eq!(get("/readyz").send(admin).await.status, 200);
        process.signal("TERM").await;
        eventually("it drains", || process.said().contains("Draining")).await;
        assert_eq!(get("/readyz").send(admin).await.status, 503);
        assert_eq!(get("/healthz").send(admin).await.status, 200);
        assert_eq!(chat("hi", false).send(apps).await.status, 200, "it still serves who comes");
        assert_eq!(process.exit().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_a_good_file_and_leaves_all_as_it_is_for_a_bad_one() {
    in_time(async {
        let (first, second) = (crate::support::named("first").await, crate::support::named("second").await);
        let process = Process::start("reload", &toml(&first.base_url(), ""), &[]).await;
        let (apps, admin) = (process.apps(), process.admin());
        process.directory.write("weir.toml", "this is no configuration");
        process.signal("HUP").await;
        eventually("it says what is wrong", || process.said().contains("the old one stays in force")).await;
        assert_eq!(chat("hi", false).send(apps).await.header("x-sim-name"), "first");
        assert!(get("/metrics").send(admin).await.text().contains("weir_config_reloads_total{result=\"refused\"}"));
        process.directory.write("weir.toml", &toml(&second.base_url(), ""));
        // Without a signal: the file is watched.
        within(Duration::from_secs(10), "the new file is taken", || process.said().contains("The configuration was reloaded")).await;
        let until = Instant::now() + Duration::from_secs(5);
        while chat("hi", false).send(apps).await.header("x-sim-name") != "second" {
            assert!(Instant::now() < until, "{}", process.said());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_tells_the_state_and_nothing_secret() {
    in_time(async {
        let first = sim().await;
        let process = Process::start("admin", &toml(&first.base_url(), ""), &[]).await;
        let (apps, admin) = (process.apps(), process.admin());
        assert_eq!(chat("hi", false).send(apps).await.status, 200);
        let metrics = get("/metrics").send(admin).await;
        assert!(metrics.header("content-type").starts_with("text/plain"));
        assert!(metrics.text().contains("weir_requests_total{"), "{}", metrics.text());
        let status = get("/status").send(admin).await;
        assert!(status.json().is_object());
        assert_eq!(get("/nothing").send(admin).await.status, 404);
        let told = format!("{}{}{}", metrics.text(), status.text(), process.said());
        assert!(!told.contains(FIRST_KEY));
        assert_eq!(get("/metrics").send(apps).await.status, 404, "not for apps");
    })
    .await;
}

/// An HTTPS server that speaks what the client prefers; counts its connections.
async fn https(directory: &Directory) -> (u16, PathBuf, Arc<AtomicUsize>) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = directory.write("ca.pem", &signed.cert.pem());
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut tls = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
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
                let Ok(stream) = acceptor.accept(stream).await else { return };
                counted.fetch_add(1, SeqCst);
                let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    // Long enough for calls to overlap.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
                    http::Response::builder()
                        .header("content-type", "application/json")
                        .header("x-spoken", format!("{:?}", request.version()))
                        .header("x-authority", authority)
                        .body(Full::new(bytes::Bytes::from_static(CHAT.as_bytes())))
                });
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, path, connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_behind_tls_is_spoken_to_in_http2_over_one_connection() {
    in_time(async {
        let certificates = Directory::new("tls-ca");
        let (port, authority, connections) = https(&certificates).await;
        let text = toml(&format!("https://localhost:{port}/v1"), "[server]\nworkers = 1\n[cache]\npolicy = \"off\"\n");
        let process = Process::start("tls", &text, &[("SSL_CERT_FILE", &authority)]).await;
        let apps = process.apps();
        assert_eq!(chat("first", false).send(apps).await.status, 200, "{}", process.said());
        let calls: Vec<_> = (0..20).map(|i| tokio::spawn(async move { chat(&format!("call {i}"), false).send(apps).await })).collect();
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
async fn a_certificate_that_nobody_vouches_for_is_not_accepted() {
    in_time(async {
        let certificates = Directory::new("tls-stranger");
        let (port, _, connections) = https(&certificates).await;
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = certificates.write("other.pem", &other.cert.pem());
        let text = toml(&format!("https://localhost:{port}/v1"), "[retry]\nmax_attempts = 1\n");
        let process = Process::start("stranger", &text, &[("SSL_CERT_FILE", &other)]).await;
        let answer = chat("hi", false).send(process.apps()).await;
        assert!(matches!(answer.status, 502..=504), "{}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "weir_error");
        assert!(!answer.text().contains(&port.to_string()), "no upstream's address in an answer: {}", answer.text());
        assert_eq!(connections.load(SeqCst), 0);
    })
    .await;
}
