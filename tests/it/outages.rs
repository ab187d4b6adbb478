//! Whose outage it is, as operators see it on `/status`.

use std::time::Duration;

use serde_json::{Value, json};
use weir::{
    admin::AdminServer,
    config::Listen,
    sim::{Fault, Kind, Running},
};

use crate::support::{Weir, gateway::upstream, get, in_time, named, post};

/// One attempt per call, circuits that never open: each test says itself what is asked when.
const PLAIN: &str = "[retry]\nmax_attempts = 1\n[breaker]\nconsecutive = 1000000\nmin_calls = 1000000\nbilling_probe = \"1s\"\nbilling_probe_max = \"1s\"\n";

/// A gateway and its admin port.
struct Watched {
    weir: Weir,
    admin: AdminServer,
}

impl Watched {
    /// In front of upstreams with these names and addresses; a model `NAME/…` goes to the upstream of that name.
    async fn over(upstreams: &[(&str, String)]) -> Self {
        let mut text = String::new();
        for (name, url) in upstreams {
            text.push_str(&upstream(name, url, "connect_timeout = \"500ms\""));
        }
        for (name, _) in upstreams {
            text.push_str(&format!(
                "[[route]]\nmodels = [\"{name}-*\"]\ntargets = [\"{name}\"]\n"
            ));
        }
        let weir = Weir::start(&format!("{text}{PLAIN}"));
        let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let admin = weir::admin::serve(weir.gateway(), &listen)
            .await
            .expect("a free port");
        Self { weir, admin }
    }

    async fn call(&self, model: &str, stream: bool) {
        let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "[sim:tokens=2]"}]});
        post("/v1/chat/completions", body.to_string())
            .send(self.weir.addr)
            .await;
    }

    async fn admin(&self, path: &str) -> String {
        let address = self.admin.address().expect("it is a TCP listener");
        get(path).send(address).await.text()
    }

    async fn status(&self) -> Value {
        serde_json::from_str(&self.admin("/status").await).expect("JSON")
    }

    /// Calls these models in turn until `/status` shows what is wanted; returns its `outages`.
    async fn calling(
        &self,
        what: &str,
        models: &[&str],
        stream: bool,
        holds: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        for _ in 0..400 {
            for model in models {
                self.call(model, stream).await;
            }
            let status = self.status().await;
            let outages = status["outages"].as_array().expect("a list").clone();
            if holds(&outages) {
                return outages;
            }
            // The pace of the traffic: evidence is counted by the second.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {what}: {:#}", self.status().await);
    }

    /// Until this is the only outage.
    async fn until(&self, kind: &str, models: &[&str], stream: bool) -> Value {
        let only = |outages: &[Value]| outages.len() == 1 && outages[0]["what"] == kind;
        let outages = self.calling(kind, models, stream, only).await;
        outages[0].clone()
    }

    async fn until_well(&self, models: &[&str], stream: bool) {
        self.calling("all is well", models, stream, <[_]>::is_empty)
            .await;
        let metrics = self.admin("/metrics").await;
        let raised = metrics
            .lines()
            .find(|line| line.starts_with("weir_outage{") && line.ends_with(" 1"));
        assert_eq!(raised, None);
    }

    async fn assert_metric(&self, upstream: &str, kind: &str) {
        let metrics = self.admin("/metrics").await;
        let line = format!("weir_outage{{kind=\"{kind}\",upstream=\"{upstream}\"}} 1");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

async fn ready(sim: &Running, watched: &Watched, models: &[&str]) {
    for _ in 0..5 {
        for model in models {
            watched.call(model, false).await;
        }
    }
    assert!(sim.control().stats().requests >= 5);
    assert_eq!(watched.status().await["outages"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_model_out_is_their_model() {
    in_time(async {
        let sim = named("first").await;
        let watched = Watched::over(&[("first", sim.base_url())]).await;
        let models = ["first-large", "first-small"];
        ready(&sim, &watched, &models).await;
        let fault = Fault::status(503).models(&["first-large"]);
        sim.control().inject(fault).unwrap();
        let outage = watched.until("their_model", &models, false).await;
        assert_eq!(outage["model"], "first-large");
        assert_eq!(outage["upstreams"], json!(["first"]));
        let evidence = outage["evidence"].as_str().unwrap();
        assert!(
            evidence.contains("first-small at the same upstream is fine"),
            "{evidence}"
        );
        watched.assert_metric("first", "their_model").await;
        let status = watched.status().await;
        let verdicts: Vec<_> = status["health"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| (h["model"].as_str().unwrap(), h["verdict"].as_str().unwrap()))
            .collect();
        assert_eq!(
            verdicts,
            [("first-large", "their_model"), ("first-small", "fine")]
        );
        sim.control().clear();
        watched.until_well(&models, false).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_models_out_are_their_api() {
    in_time(async {
        let sim = named("first").await;
        let watched = Watched::over(&[("first", sim.base_url())]).await;
        let models = ["first-large", "first-small"];
        ready(&sim, &watched, &models).await;
        sim.control().inject(Fault::status(503)).unwrap();
        let outage = watched.until("their_api", &models, false).await;
        assert_eq!(outage["model"], Value::Null);
        watched.assert_metric("first", "their_api").await;
        sim.control().clear();
        watched.until_well(&models, false).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_is_our_key() {
    in_time(async {
        let sim = named("first").await;
        let watched = Watched::over(&[("first", sim.base_url())]).await;
        let models = ["first-large"];
        ready(&sim, &watched, &models).await;
        let body = r#"{"error":{"message":"Incorrect API key provided: sk-first-held*****6789.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
        let fault = Fault {
            body: Some(body.to_owned()),
            ..Fault::status(401)
        };
        sim.control().inject(fault).unwrap();
        let outage = watched.until("our_key", &models, false).await;
        let evidence = outage["evidence"].as_str().unwrap();
        assert!(evidence.contains("(auth_invalid)"), "{evidence}");
        let told = watched.status().await.to_string();
        assert!(!told.contains("sk-first"), "{told}");
        watched.assert_metric("first", "our_key").await;
        sim.control().clear();
        watched.until_well(&models, false).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_all_refuse_are_our_network() {
    in_time(async {
        let ports = [free_port(), free_port()];
        let url = |port: u16| format!("http://127.0.0.1:{port}/v1");
        let upstreams = [("first", url(ports[0])), ("second", url(ports[1]))];
        let watched = Watched::over(&upstreams).await;
        let models = ["first-large", "second-large"];
        let outage = watched.until("our_network", &models, false).await;
        assert_eq!(outage["upstreams"], json!(["first", "second"]));
        watched.assert_metric("second", "our_network").await;
        let back = ports.map(answering);
        watched.until_well(&models, false).await;
        for server in back {
            server.abort();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_first_tokens_are_slow() {
    in_time(async {
        let sim = named("first").await;
        let watched = Watched::over(&[("first", sim.base_url())]).await;
        let models = ["first-large"];
        let known = |health: &Value| health[0]["usual_first_token_ms"].is_number();
        while !known(&watched.status().await["health"]) {
            watched.call("first-large", true).await;
        }
        let late = Fault {
            first_token: Some(Duration::from_millis(700).into()),
            ..Fault::of(Kind::Pace)
        };
        sim.control().inject(late).unwrap();
        let outage = watched.until("slow", &models, true).await;
        assert!(
            outage["first_token_ms"].as_f64().unwrap() >= 700.0,
            "{outage}"
        );
        watched.assert_metric("first", "slow").await;
        sim.control().clear();
        watched.until_well(&models, true).await;
    })
    .await;
}

/// A port that refuses, until somebody listens on it.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A server on that port that answers every call.
fn answering(port: u16) -> tokio::task::JoinHandle<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let answer = crate::support::upstream::json(
        200,
        "connection: close\r\n",
        crate::support::upstream::CHAT,
    );
    tokio::spawn(async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("nobody took it");
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    })
}
