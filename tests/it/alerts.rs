//! Alerts: once per change, signed, delivered in the end, and nobody's calls pay for it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use weir::sim::Fault;

use crate::support::{
    FIRST_KEY, Step, Upstream, Weir, chat, eventually,
    gateway::{config, upstream},
    in_time, named, post,
    process::Directory,
    sim,
    upstream::{Seen, json},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PROMPT: &str = "the-prompt-that-nobody-may-see";
const QUICK: &str = "hold = \"50ms\"\ntimeout = \"400ms\"";

/// A receiver that takes everything.
async fn receiver() -> Upstream {
    answering(|_| 200).await
}

/// A receiver that answers the n-th request with this status; 0: never.
async fn answering(status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |_, before| match status(before) {
        0 => vec![Step::Hang],
        status => vec![Step::Send(json(status, "", "{}"))],
    })
    .await
}

fn alerts(to: &Upstream, more: &str) -> String {
    format!(
        "[alerts]\nwebhook = \"http://{}/hooks/T000/path-is-secret\"\n{more}\n",
        to.addr
    )
}

fn event(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).expect("an event is JSON")
}

fn kinds(to: &Upstream) -> Vec<String> {
    let kind = |seen: &Seen| event(seen)["type"].as_str().expect("a type").to_owned();
    to.seen().iter().map(kind).collect()
}

/// HMAC-SHA256 by its definition (RFC 2104), from nothing but the digest.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<_>>();
    let inner = digest(&SHA256, &[&pad(0x36), message].concat());
    digest(&SHA256, &[&pad(0x5c), inner.as_ref()].concat())
        .as_ref()
        .to_vec()
}

fn assert_signed(seen: &Seen) {
    let (id, stamp) = (
        seen.header("webhook-id").unwrap(),
        seen.header("webhook-timestamp").unwrap(),
    );
    assert_eq!(event(seen)["id"], id);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.as_secs().abs_diff(stamp.parse().unwrap());
    assert!(age < 300, "{age} s");
    let message = [format!("{id}.{stamp}.").as_bytes(), &seen.body].concat();
    let expected = hmac(&BASE64_STANDARD.decode(KEY).unwrap(), &message);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(expected));
    assert_eq!(
        seen.header("webhook-signature"),
        Some(expected.as_str()),
        "{id}"
    );
}

/// Calls until the receiver has `count` requests.
async fn call_until(weir: &Weir, to: &Upstream, count: usize) {
    while to.seen().len() < count {
        chat("probe", false).send(weir.addr).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_out_of_credit_is_told_once_and_so_is_its_end() {
    in_time(async {
        let (first, to) = (sim().await, receiver().await);
        first.control().set_balance(Some(0.0));
        let weir = Weir::over(
            &first.base_url(),
            &alerts(&to, &format!("{QUICK}\nsecret = \"{SECRET}\"")),
        );
        let calls = (0..20).map(|n| {
            let body = format!(
                r#"{{"model":"gpt-4o-{n}","messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
            );
            let (ask, addr) = (post("/v1/chat/completions", body), weir.addr);
            tokio::spawn(async move { ask.send(addr).await.status })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), 429);
        }
        eventually("the opening is told", || to.seen().len() == 1).await;
        let opened = event(&to.seen()[0]);
        for (field, value) in [
            ("type", "circuit.opened"),
            ("upstream", "first"),
            ("provider", "openai"),
            ("scope", "organization"),
            ("key", weir::sim::DEFAULT_ORGANIZATION),
            ("class", "quota_exhausted"),
        ] {
            assert_eq!(opened[field], value, "{field} in {opened}");
        }
        assert_eq!(opened["since"], opened["time"]);
        assert!(opened["advice"].as_str().unwrap().len() > 20, "{opened}");
        let told = opened["first_request_id"].as_str().unwrap();
        assert!(told.starts_with("req_"), "{told}");

        first.control().set_balance(Some(1_000.0));
        weir.gateway().state.circuits.probe_now(None);
        call_until(&weir, &to, 2).await;
        let closed = event(&to.seen()[1]);
        assert_eq!(closed["type"], "circuit.closed", "{closed}");
        for field in ["scope", "key", "class", "since", "first_request_id"] {
            assert_eq!(closed[field], opened[field], "{field}");
        }
        assert_ne!(closed["id"], opened["id"]);
        assert!(closed["duration_seconds"].as_f64().unwrap() > 0.0);
        assert!(opened["calls_affected"].is_null() && closed["calls_affected"].is_u64());
        // Order is kept: whatever was told twice would have come before.
        assert_eq!(weir.metric("weir_alerts_total", &[]), 2.0);
        for seen in to.seen() {
            assert_signed(&seen);
            assert_eq!(seen.line, "POST /hooks/T000/path-is-secret HTTP/1.1");
            let whole = format!("{:?} {}", seen.headers, String::from_utf8_lossy(&seen.body));
            for mark in [PROMPT, FIRST_KEY, "sk-", "path-is-secret"] {
                assert!(!whole.contains(mark), "{mark} in {whole}");
            }
        }
        assert!(!weir.metrics().contains("path-is-secret"));
        assert!(weir.stop(Duration::from_secs(5)).await);
        assert_eq!(to.seen().len(), 2, "the end has nothing more to tell");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_twice_gets_the_same_event_a_third_time() {
    in_time(async {
        let first = sim().await;
        let to = answering(|before| if before < 2 { 500 } else { 204 }).await;
        first.control().set_balance(Some(0.0));
        let weir = Weir::over(&first.base_url(), &alerts(&to, QUICK));
        chat("hi", false).send(weir.addr).await;
        eventually("it is taken", || {
            weir.metric("weir_alerts_total", &["result=\"sent\""]) == 1.0
        })
        .await;
        let seen = to.seen();
        assert_eq!(seen.len(), 3);
        for again in &seen {
            assert_eq!(again.header("webhook-id"), seen[0].header("webhook-id"));
            assert_eq!(again.body, seen[0].body);
            assert_eq!(
                again.header("webhook-signature"),
                None,
                "there is no secret"
            );
        }
        assert_eq!(
            weir.metric("weir_alerts_total", &["result=\"retried\""]),
            2.0
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_not_sent_again_and_the_next_one_says_so() {
    in_time(async {
        let first = sim().await;
        let to = answering(|before| if before == 0 { 302 } else { 200 }).await;
        first.control().set_balance(Some(0.0));
        let weir = Weir::over(&first.base_url(), &alerts(&to, QUICK));
        chat("hi", false).send(weir.addr).await;
        eventually("it is refused", || {
            weir.metric("weir_alerts_total", &["result=\"failed\""]) == 1.0
        })
        .await;
        first.control().set_balance(None);
        weir.gateway().state.circuits.probe_now(None);
        call_until(&weir, &to, 2).await;
        let closed = event(&to.seen()[1]);
        assert_eq!(
            (&closed["type"], &closed["missed_events"]),
            (&"circuit.closed".into(), &1.into())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_stays_down_is_given_up_and_its_pauses_are_obeyed() {
    in_time(async {
        let first = sim().await;
        let to =
            Upstream::start(|_, _| vec![Step::Send(json(503, "retry-after: 1\r\n", "{}"))]).await;
        first.control().set_balance(Some(0.0));
        let weir = Weir::over(
            &first.base_url(),
            &alerts(&to, "give_up_after = \"1500ms\""),
        );
        chat("hi", false).send(weir.addr).await;
        eventually("it is given up", || {
            weir.metric("weir_alerts_total", &["result=\"failed\""]) == 1.0
        })
        .await;
        let seen = to.seen();
        assert_eq!(seen.len(), 2);
        assert!(seen[1].at - seen[0].at >= Duration::from_millis(990));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_or_is_gone_costs_no_call_anything() {
    in_time(async {
        let gone = receiver().await.addr;
        let hangs = answering(|_| 0).await;
        for addr in [gone, hangs.addr] {
            let (first, second) = (named("first").await, named("second").await);
            first.control().set_balance(Some(0.0));
            let weir = Weir::over_two(
                &first.base_url(),
                &second.base_url(),
                &format!("[alerts]\nwebhook = \"http://{addr}/\"\ntimeout = \"10m\"\n"),
            );
            for turn in 0..100 {
                let answer = chat("hi", turn % 2 == 0).send(weir.addr).await;
                assert_eq!(answer.status, 200);
            }
            assert_eq!(weir.metric("weir_alerts_total", &["result=\"sent\""]), 0.0);
            // The end does not wait for it longer than for a drain.
            assert!(weir.stop(Duration::from_secs(10)).await);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_sends_what_is_queued_to_the_new_place() {
    in_time(async {
        let (first, to) = (sim().await, receiver().await);
        let old = answering(|_| 503).await;
        first.control().set_balance(Some(0.0));
        let text = |to: &Upstream| {
            format!(
                "{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n{}",
                upstream("first", &first.base_url(), ""),
                alerts(to, QUICK)
            )
        };
        let weir = Weir::start(&text(&old));
        chat("hi", false).send(weir.addr).await;
        eventually("the old one is tried", || !old.seen().is_empty()).await;
        weir.gateway().reload(config(&text(&to)));
        eventually("the new one is told", || to.seen().len() == 1).await;
        assert_eq!(
            to.seen()[0].header("webhook-id"),
            old.seen()[0].header("webhook-id")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_circuits_at_once_are_bounded_and_what_was_lost_is_told() {
    in_time(async {
        let first = sim().await;
        let up = Arc::new(AtomicBool::new(false));
        let is_up = Arc::clone(&up);
        let to = answering(move |_| if is_up.load(SeqCst) { 200 } else { 0 }).await;
        first.control().inject(Fault::status(503)).unwrap();
        let weir = Weir::over(
            &first.base_url(),
            &format!(
                "[retry]\nmax_attempts = 1\n[breaker]\nconsecutive = 1\n{}",
                alerts(&to, QUICK)
            ),
        );
        let circuits = 300;
        for n in 0..circuits {
            let body = format!(r#"{{"model":"model-{n}","messages":[]}}"#);
            let body = body.replace("[]", r#"[{"role":"user","content":"x"}]"#);
            post("/v1/chat/completions", body).send(weir.addr).await;
        }
        eventually("the queue is full", || {
            weir.metric("weir_alerts_total", &["result=\"dropped\""]) >= 40.0
        })
        .await;
        up.store(true, SeqCst);
        eventually("what is left arrives", || {
            let result = |word: &str| weir.metric("weir_alerts_total", &[word]);
            result("result=\"sent\"") + result("result=\"dropped\"") == f64::from(circuits)
        })
        .await;
        let taken: Vec<_> = to.seen().iter().map(event).collect();
        let missed: u64 = taken
            .iter()
            .map(|event| event["missed_events"].as_u64().unwrap())
            .max()
            .unwrap();
        let dropped = weir.metric("weir_alerts_total", &["result=\"dropped\""]);
        assert_eq!(missed as f64, dropped);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_wanted_causes_are_told() {
    in_time(async {
        let (first, to) = (sim().await, receiver().await);
        let more = format!("{QUICK}\non = [\"models\", \"billing\"]");
        let weir = Weir::over(
            &first.base_url(),
            &format!(
                "[retry]\nmax_attempts = 1\n[breaker]\nconsecutive = 1\n{}",
                alerts(&to, &more)
            ),
        );
        let trouble = first.control().inject(Fault::status(503)).unwrap();
        chat("hi", false).send(weir.addr).await;
        eventually("a circuit opens", || {
            weir.metric("weir_breaker_state", &[]) == 1.0
        })
        .await;
        first.control().remove(trouble);
        first
            .control()
            .inject(Fault::error("openai-model-not-found"))
            .unwrap();
        let body = r#"{"model":"gone","messages":[{"role":"user","content":"x"}]}"#;
        let answer = post("/v1/chat/completions", body).send(weir.addr).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        eventually("a missing model is told", || !to.seen().is_empty()).await;
        let told = event(&to.seen()[0]);
        assert_eq!(
            (&told["class"], &told["scope"], &told["key"]),
            (&"model_not_found".into(), &"model".into(), &"gone".into())
        );
        assert_eq!(kinds(&to), ["circuit.opened"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flapping_is_told_once_and_the_end_of_the_process_sends_what_is_held() {
    in_time(async {
        let (first, to) = (sim().await, receiver().await);
        let weir = Weir::over(&first.base_url(), &alerts(&to, "hold = \"1h\""));
        for _ in 0..3 {
            first.control().set_balance(Some(0.0));
            chat("hi", false).send(weir.addr).await;
            assert_eq!(weir.metric("weir_breaker_state", &[]), 1.0);
            first.control().set_balance(None);
            weir.gateway().state.circuits.probe_now(None);
            while weir.metric("weir_breaker_state", &[]) > 0.0 {
                chat("hi", false).send(weir.addr).await;
            }
        }
        assert!(weir.stop(Duration::from_secs(5)).await);
        assert_eq!(kinds(&to), ["circuit.opened", "circuit.closed"]);
        assert_eq!(event(&to.seen()[1])["flaps"], 2);
    })
    .await;
}

/// Runs `weir alerts test`; its exit code, and what it said on both outputs.
async fn alerts_test(name: &str, text: &str, more: &[&str]) -> (Option<i32>, String) {
    alerts_test_trusting(name, text, more, None).await
}

/// The same, with these certificates and no others.
async fn alerts_test_trusting(
    name: &str,
    text: &str,
    more: &[&str],
    certificates: Option<&Path>,
) -> (Option<i32>, String) {
    let directory = Directory::new(name);
    let file = directory.write("weir.toml", text);
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .env_clear()
        .args(["alerts", "test", "--config"])
        .arg(file)
        .args(more)
        .envs(certificates.map(|file| ("SSL_CERT_FILE", file)))
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_can_be_tried_by_hand_and_slack_gets_its_shape() {
    in_time(async {
        let to = receiver().await;
        let text = alerts(&to, "format = \"slack\"");
        let (code, said) = alerts_test("alerts-taken", &text, &[]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("127.0.0.1 took the alert evt_"), "{said}");
        let message = event(&to.seen()[0]);
        assert_eq!(message["text"], "A test alert of weir");
        assert_eq!(message["blocks"][0]["type"], "section");

        let refuses = answering(|_| 404).await;
        let (code, said) = alerts_test("alerts-refused", &alerts(&refuses, ""), &["--json"]).await;
        let told: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(
            (code, &told["ok"], &told["status"]),
            (Some(1), &false.into(), &404.into())
        );
        assert_eq!(event(&refuses.seen()[0])["type"], "test");
        for said in [said, alerts_test("alerts-none", "", &[]).await.1] {
            assert!(!said.contains("path-is-secret"), "{said}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_behind_tls_is_believed_only_with_a_known_certificate() {
    in_time(async {
        let (certificates, others) = (
            Directory::new("alerts-ca"),
            Directory::new("alerts-other-ca"),
        );
        let (port, known, connections) = crate::tls::https(&certificates).await;
        let (_, unknown, _) = crate::tls::https(&others).await;
        let text = format!("[alerts]\nwebhook = \"https://localhost:{port}/path-is-secret\"\n");
        let (code, said) = alerts_test_trusting("alerts-tls", &text, &[], Some(&known)).await;
        assert_eq!(code, Some(0), "{said}");
        let (code, said) =
            alerts_test_trusting("alerts-tls-other", &text, &[], Some(&unknown)).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("certificate"), "{said}");
        assert!(!said.contains("path-is-secret"), "{said}");
        assert_eq!(connections.load(SeqCst), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_when_it_is_asked_for() {
    let (sim, to) = (sim().await, receiver().await);
    sim.control().inject(Fault::status(503)).unwrap();
    let text = [
        upstream("first", &sim.base_url(), ""),
        "[retry]\nmax_attempts = 1\n[breaker]\nconsecutive = 1000000\nmin_calls = 1000000\n".into(),
        alerts(&to, "hold = \"50ms\"\non = [\"outages\"]"),
    ];
    let weir = Weir::start(&text.concat());
    let call = async || {
        for model in ["gpt-4o", "gpt-4o-mini"] {
            let body = format!(
                r#"{{"model":"{model}","messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
            );
            post("/v1/chat/completions", body).send(weir.addr).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    in_time(async {
        while to.seen().is_empty() {
            call().await;
        }
        sim.control().clear();
        while !kinds(&to).contains(&"outage.ended".to_owned()) {
            call().await;
        }
    })
    .await;
    let told: Vec<_> = to.seen().iter().map(event).collect();
    assert_eq!(told[0]["type"], "outage.began");
    assert_eq!(told[0]["upstream"], "first");
    assert!(
        ["their_api", "their_model"].contains(&told[0]["class"].as_str().unwrap()),
        "{}",
        told[0]
    );
    assert!(
        told[0]["text"].as_str().unwrap().contains("failed"),
        "{}",
        told[0]
    );
    assert!(told.iter().all(|event| !event.to_string().contains(PROMPT)));
}
