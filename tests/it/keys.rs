//! Whose key goes where, and that none goes anywhere else.

use std::time::Duration;

use weir::{config::hash_key, sim::Fault};

use crate::support::{
    FIRST_KEY, SECOND_KEY, Step, Upstream, Weir, chat, client,
    gateway::upstream,
    get, in_time, named,
    upstream::{CHAT, json},
};

fn app(name: &str, key: &str, more: &str) -> String {
    let hash: String = hash_key(key).iter().map(|b| format!("{b:02x}")).collect();
    format!("[[app]]\nname = \"{name}\"\nkey = \"blake3:{hash}\"\n{more}\n")
}

const ROUTE: &str = "[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_refused_before_any_upstream() {
    in_time(async {
        let first = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}{}",
            upstream("first", &first.base_url(), ""),
            app("shop", "wk-shop", "")
        ));
        for key in [
            "Bearer wk-else",
            "Bearer ",
            "Bearer wk-shop2",
            "Basic d2stc2hvcA==",
        ] {
            let answer = chat("hi", false)
                .header("authorization", key)
                .send(weir.addr)
                .await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "invalid_api_key"),
                "{key}"
            );
            assert_eq!(answer.json()["error"]["type"], "weir_error");
            assert!(!answer.text().contains("wk-else"));
        }
        let answer = get("/v1/models").send(weir.addr).await;
        assert_eq!(answer.status, 401);
        assert_eq!(first.connections(), 0);
        let answer = chat("hi", false)
            .header("authorization", "bearer  wk-shop")
            .send(weir.addr)
            .await;
        assert_eq!(answer.status, 200);
        assert!(weir.metric("weir_requests_total", &["app=\"shop\""]) >= 1.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_key_goes_only_to_the_upstream_it_is_meant_for() {
    in_time(async {
        let own = Upstream::saying(json(503, "", "{\"error\":{\"message\":\"down\",\"type\":\"server_error\"}}")).await;
        let held = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::start(&format!(
            "[[upstream]]\nname = \"own\"\nprovider = \"openai\"\nbase_url = \"{}\"\napi_key = \"passthrough\"\n{}[[route]]\nmodels = [\"*\"]\ntargets = [\"own\", \"second\"]\n[retry]\nbase = \"10ms\"\n",
            own.base_url(),
            upstream("second", &held.base_url(), "")
        ));
        let answer = chat("hi", false)
            .header("authorization", "Bearer sk-mine")
            .header("openai-organization", "org-mine")
            .header("openai-project", "proj_mine")
            .header("cookie", "session=mine")
            .send(weir.addr)
            .await;
        assert_eq!(answer.status, 200);
        for seen in own.seen() {
            assert_eq!(seen.header("authorization"), Some("Bearer sk-mine"));
            assert_eq!((seen.header("openai-organization"), seen.header("openai-project")), (Some("org-mine"), Some("proj_mine")));
        }
        let seen = held.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].header("authorization"), Some(&*format!("Bearer {SECOND_KEY}")));
        for (name, value) in &seen[0].headers {
            assert!(!value.contains("mine"), "{name}: {value} is the caller's own");
        }
        assert!(own.seen().iter().all(|seen| seen.headers.iter().all(|(_, value)| !value.contains(SECOND_KEY))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_key_goes_to_its_own_upstream_only_and_an_apps_key_to_none() {
    in_time(async {
        let first = Upstream::saying(json(503, "", "{}")).await;
        let second = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::start(&format!(
            "{}{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\", \"second\"]\n[retry]\nbase = \"10ms\"\n{}",
            upstream("first", &first.base_url(), "organization = \"org-first\""),
            upstream("second", &second.base_url(), ""),
            app("shop", "wk-shop-secret", "")
        ));
        let answer = chat("hi", false).header("authorization", "Bearer wk-shop-secret").send(weir.addr).await;
        assert_eq!(answer.status, 200);
        for (upstream, own, other) in [(&first, FIRST_KEY, SECOND_KEY), (&second, SECOND_KEY, FIRST_KEY)] {
            assert!(!upstream.seen().is_empty());
            for seen in upstream.seen() {
                let all = format!("{:?}{}", seen.headers, String::from_utf8_lossy(&seen.body));
                assert!(all.contains(own) && !all.contains(other) && !all.contains("wk-shop-secret"), "{all}");
            }
        }
        assert_eq!(first.seen()[0].header("openai-organization"), Some("org-first"));
        assert_eq!(second.seen()[0].header("openai-organization"), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_the_gateways_opens_no_circuit_and_goes_back_to_its_owner() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::start(&format!(
            "[[upstream]]\nname = \"own\"\nprovider = \"openai\"\nbase_url = \"{}\"\napi_key = \"passthrough\"\n{}[[route]]\nmodels = [\"*\"]\ntargets = [\"own\", \"second\"]\n",
            first.base_url(),
            upstream("second", &second.base_url(), "")
        ));
        for _ in 0..8 {
            let answer = chat("hi", false).header("authorization", "Bearer sk-invalid-1").send(weir.addr).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_api_key"));
        }
        let answer = chat("hi", false).header("authorization", "Bearer sk-good").send(weir.addr).await;
        assert_eq!((answer.status, answer.header("x-sim-name")), (200, "first"));
        assert_eq!(second.control().stats().requests, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_key_that_the_provider_refuses_fails_over_and_is_not_tried_again() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        first.control().inject(Fault::error("openai-key-invalid-401")).or_else(|_| {
            first.control().inject(Fault {
                body: Some(r#"{"error":{"message":"Incorrect API key provided: sk-first*****6789. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#.to_owned()),
                ..Fault::status(401)
            })
        }).unwrap();
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
        for _ in 0..5 {
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!((answer.status, answer.header("x-sim-name")), (200, "second"));
        }
        assert_eq!(first.control().stats().requests, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hop_by_hop_headers_end_here() {
    in_time(async {
        let first = Upstream::saying(json(200, "proxy-authenticate: Basic\r\ntrailer: x-a\r\nconnection: x-private\r\nx-private: 1\r\n", CHAT)).await;
        let weir = Weir::over(&first.base_url(), "");
        let body = r#"{"model":"gpt-4o","messages":[]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: evil.example\r\nconnection: keep-alive, x-drop-me\r\nx-drop-me: 1\r\nkeep-alive: timeout=9\r\nte: trailers\r\nproxy-authorization: Basic abc\r\nproxy-connection: keep-alive\r\nx-keep-me: 1\r\nx-weir-tag-team: blue\r\nx-weir-of-tomorrow: 1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = client::raw_until(weir.addr, request.as_bytes(), |text| text.ends_with(CHAT)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for name in ["proxy-authenticate", "trailer", "x-private"] {
            assert!(!answer.to_ascii_lowercase().contains(&format!("\r\n{name}:")), "{answer}");
        }
        let seen = &first.seen()[0];
        for name in ["x-drop-me", "keep-alive", "te", "proxy-authorization", "proxy-connection", "x-weir-tag-team", "x-weir-of-tomorrow"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
        assert_eq!(seen.header("x-keep-me"), Some("1"));
        assert_eq!(seen.header("host"), Some(&*first.addr.to_string()), "no request chooses the provider's host");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_could_be_read_two_ways_is_refused() {
    in_time(async {
        let first = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&first.base_url(), "");
        let smuggled = "GET /v1/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
        let cases = [
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: {}\r\n\r\nhello{smuggled}", 5 + smuggled.len()),
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: identity, xchunked\r\ncontent-length: 5\r\n\r\nhello{smuggled}"),
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: +5\r\n\r\nhello{smuggled}"),
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n".to_owned(),
            "GET /v1/models\r\nhost: x HTTP/1.1\r\n\r\n".to_owned(),
            "GET /v1/models HTTP/1.1\r\nhost: x\r\nx y: 1\r\n\r\n".to_owned(),
        ];
        for case in cases {
            let answer = client::raw(weir.addr, case.as_bytes(), Duration::from_millis(400)).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{case:?}: {answer}");
            assert!(!first.seen().iter().any(|seen| seen.line.contains("smuggled")), "{case:?}");
        }
        // Both lengths: chunked wins and the length is dropped, so that nobody further on reads it otherwise.
        let both = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{smuggled}");
        let before = first.seen().len();
        client::raw_until(weir.addr, both.as_bytes(), |text| text.contains("\r\n\r\n")).await;
        if let Some(seen) = first.seen().get(before) {
            assert_eq!((seen.body.as_ref(), seen.header("transfer-encoding")), (&b"{}"[..], None));
            assert_eq!(seen.header("content-length"), Some("2"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leaves_the_upstreams_prefix() {
    in_time(async {
        let first = Upstream::saying(json(200, "", "{}")).await;
        let weir = Weir::over(&first.base_url(), "");
        for path in ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/files/.%2E/.%2e/x", "/v1/..", "/..//x", "/v1/./../x", "/v2/models", "/", "/v1", "/admin", "/metrics", "/v1/files/%2e%2e%2fadmin", "/v1/..%2fadmin", "/v1/..\\admin"] {
            let answer = client::raw(weir.addr, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(), Duration::from_secs(2)).await;
            assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{path}: {answer}");
        }
        let answer = client::raw(weir.addr, b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n", Duration::from_secs(2)).await;
        assert!(answer.starts_with("HTTP/1.1"), "{answer}");
        for seen in first.seen() {
            assert_eq!((seen.path(), seen.header("host")), ("/v1/models", Some(&*first.addr.to_string())));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_told_in_any_answer_metric_status_or_log() {
    in_time(async {
        let directory = std::env::temp_dir().join(format!("weir-it-keys-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let log = directory.join("access.log");
        let first = Upstream::start(|seen, _| match seen.body.windows(4).any(|w| w == b"fail") {
            true => vec![Step::Send(json(401, "", r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#))],
            false => vec![Step::Send(json(200, "", CHAT))],
        })
        .await;
        let weir = Weir::start(&format!(
            "admin = {{ listen = \"127.0.0.1:0\" }}\n{}{ROUTE}{}[log]\naccess = \"{}\"\n",
            upstream("first", &first.base_url(), ""),
            app("shop", "wk-shop-secret", ""),
            log.display()
        ));
        let admin = weir::admin::serve(weir.gateway(), &weir::config::Listen::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
        let admin_at = admin.address().unwrap();
        let mut told = String::new();
        for (words, key) in [("secret-prompt", "wk-shop-secret"), ("secret-prompt fail", "wk-shop-secret"), ("secret-prompt", "sk-caller-secret")] {
            let answer = chat(words, false).header("authorization", &format!("Bearer {key}")).send(weir.addr).await;
            told.push_str(&format!("{:?} {}\n", answer.headers, answer.text()));
        }
        for page in ["/metrics", "/status", "/readyz", "/healthz", "/"] {
            let answer = get(page).send(admin_at).await;
            assert!(matches!(answer.status, 200 | 503), "{page}: {}", answer.status);
            told.push_str(&answer.text());
        }
        told.push_str(&format!("{:?}", weir.gateway()));
        assert!(weir.stop(Duration::from_secs(5)).await);
        let lines = std::fs::read_to_string(&log).unwrap();
        assert!(lines.lines().count() >= 2, "{lines}");
        told.push_str(&lines);
        for secret in [FIRST_KEY, "wk-shop-secret", "sk-caller-secret", "secret-prompt"] {
            assert!(!told.contains(secret), "{secret} is told in {told}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    })
    .await;
}
