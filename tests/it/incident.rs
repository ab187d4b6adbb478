//! The report for a support ticket: its numbers are the provider's own, and nothing secret is in it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::process::Command;
use weir::{
    admin::AdminServer,
    config::Listen,
    sim::{Fault, Kind},
};

use crate::support::{
    Answer, FIRST_KEY, SECOND_KEY, Weir, chat, eventually, get, in_time, named, post,
    process::{Directory, Process, toml},
    sim,
};

/// In every prompt, and quoted back by the provider.
const MARK: &str = "PROMPT-MARK-7731";
/// The key of the calls that `post` makes.
const CALLERS_KEY: &str = "sk-caller-own";

/// 503 with this request id, `times` times, with words that quote what must not be told.
fn overloaded(id: &str, times: u64) -> Fault {
    Fault {
        body: Some(format!(r#"{{"error":{{"message":"Overloaded: {MARK} {FIRST_KEY}","type":"server_error","param":null,"code":null}}}}"#)),
        headers: headers(&[("x-request-id", id), ("set-cookie", "session=COOKIE-MARK")]),
        ..Fault::status(503)
    }
    .times(times)
}

fn headers(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

async fn admin(weir: &Weir) -> (AdminServer, SocketAddr) {
    let listen = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = weir::admin::serve(weir.gateway(), &listen).await.unwrap();
    let address = server.address().unwrap();
    (server, address)
}

async fn fetch(at: SocketAddr, path: &str) -> Answer {
    let answer = get(path).send(at).await;
    assert_clean(&answer.text());
    answer
}

/// The whole report as JSON.
async fn report(at: SocketAddr) -> Value {
    let answer = fetch(at, "/incident?format=json&since=1h").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[track_caller]
fn assert_clean(text: &str) {
    for secret in [MARK, CALLERS_KEY, FIRST_KEY, SECOND_KEY, "COOKIE-MARK"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[track_caller]
fn upstream<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["upstreams"].as_array().unwrap();
    all.iter()
        .find(|u| u["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[track_caller]
fn class<'a>(report: &'a Value, name: &str, class: &str) -> &'a Value {
    let all = upstream(report, name)["classes"].as_array().unwrap();
    all.iter()
        .find(|c| c["class"] == class)
        .unwrap_or_else(|| panic!("no {class} in {report:#}"))
}

fn says(findings: &Value, cause: &str, words: &str) -> bool {
    findings
        .as_array()
        .unwrap()
        .iter()
        .any(|f| f["cause"] == cause && format!("{} {}", f["claim"], f["evidence"]).contains(words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_with_a_fallback_is_counted_as_the_provider_counts_it() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        for fault in [overloaded("req_aaa", 1), overloaded("req_mmm", 3), overloaded("req_zzz", 1)] {
            first.control().inject(fault).unwrap();
        }
        // No circuit and no repeat: what the provider sees is what the callers sent.
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "[breaker]\nconsecutive = 1000\nmin_calls = 1000\n[retry]\nbudget = 0.0\nbase = \"10ms\"\n");
        let (_admin, at) = admin(&weir).await;
        let calls: u64 = 12;
        for turn in 0..calls {
            let answer = chat(MARK, turn % 2 == 1).send(weir.addr).await;
            assert_eq!(answer.status, 200);
        }
        eventually("all calls are booked", || weir.metric("weir_requests_total", &["outcome=\"ok\""]) as u64 == calls).await;
        let report = report(at).await;
        let (sent, took) = (first.control().stats(), second.control().stats());
        let failing = upstream(&report, "first");
        assert_eq!(failing["attempts"], sent.requests, "{report:#}");
        assert_eq!(failing["failures"], sent.by_status[&503]);
        assert_eq!(failing["answered"], sent.by_status[&200]);
        assert_eq!(upstream(&report, "second")["answered"], took.by_status.get(&200).copied().unwrap_or(0));
        let overloaded = class(&report, "first", "overloaded");
        assert_eq!((&overloaded["count"], &overloaded["with_request_id"]), (&Value::from(5), &Value::from(5)), "{report:#}");
        assert_eq!((&overloaded["first_request_id"]["id"], &overloaded["last_request_id"]["id"]), (&Value::from("req_aaa"), &Value::from("req_zzz")));
        let effects = &report["effects"];
        assert_eq!(effects["failed"], 0);
        assert_eq!(
            effects["answered_by_fallback"].as_u64().unwrap() + effects["answered_by_repeat"].as_u64().unwrap(),
            effects["calls"].as_u64().unwrap()
        );
        assert_eq!(effects["more_attempts"], sent.by_status[&503], "each failure was followed by another attempt");
        assert!(says(&report["ruled_out"], "network", "5 of 5 failures carry a request id"), "{report:#}");
        assert!(says(&report["ruled_out"], "key", "The key is valid"), "{report:#}");
        assert!(report["title"].as_str().unwrap().contains("5 of"), "{report:#}");
        let text = fetch(at, "/incident?since=1h").await;
        assert_eq!(text.header("content-type"), "text/markdown; charset=utf-8");
        assert!(text.text().contains("`req_aaa`") && text.text().contains("`req_zzz`"), "{}", text.text());
        // The same in the small.
        let status = fetch(at, "/status").await.json();
        assert_eq!(status["failures"]["counts"][0]["count"], 5, "{status:#}");
        assert_eq!(status["failures"]["last"]["provider_request_id"], "req_zzz");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_out_of_credit_is_named_with_its_open_circuit() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        first
            .control()
            .inject(Fault {
                body: Some(r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#.to_owned()),
                headers: headers(&[("x-request-id", "req_broke"), ("openai-organization", "org-broke")]),
                ..Fault::status(429)
            })
            .unwrap();
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
        let (_admin, at) = admin(&weir).await;
        for _ in 0..6 {
            assert_eq!(chat(MARK, false).send(weir.addr).await.status, 200);
        }
        eventually("all calls are booked", || weir.metric("weir_requests_total", &["outcome=\"ok\""]) as u64 == 6).await;
        let report = report(at).await;
        let failing = upstream(&report, "first");
        assert_eq!((&failing["attempts"], &failing["failures"]), (&Value::from(1), &Value::from(1)), "{report:#}");
        assert_eq!(first.control().stats().requests, 1);
        assert_eq!(failing["organizations"], serde_json::json!(["org-broke"]));
        let quota = class(&report, "first", "quota_exhausted");
        assert_eq!((&quota["status"], &quota["code"]), (&Value::from(429), &Value::from("insufficient_quota")));
        assert_eq!((&report["circuits"][0]["scope"], &report["circuits"][0]["key"]), (&Value::from("organization"), &Value::from("org-broke")), "{report:#}");
        assert_eq!(report["changes"].as_array().unwrap().len(), 1);
        assert_eq!(report["effects"]["answered_by_fallback"], 6, "five of them went elsewhere without asking: {report:#}");
        assert!(says(&report["ruled_out"], "key", "org-broke"), "{report:#}");
        assert!(says(&report["ruled_out"], "network", "`second`"), "{report:#}");
        let only = fetch(at, "/incident?upstream=second&format=json").await.json();
        assert_eq!((&only["empty"], &only["circuits"]), (&Value::from(true), &serde_json::json!([])), "{only:#}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_streams_and_callers_mistakes_are_told_apart() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), "");
        let (_admin, at) = admin(&weir).await;
        for _ in 0..3 {
            let answer = post(
                "/v1/chat/completions",
                format!(r#"{{"model":"gpt-4o","user":"{MARK}"}}"#),
            )
            .send(weir.addr)
            .await;
            assert_eq!(answer.status, 400);
        }
        first
            .control()
            .inject(
                Fault {
                    stream: Some(true),
                    ..Fault::of(Kind::Drop)
                }
                .times(2),
            )
            .unwrap();
        let mut broken = String::new();
        for _ in 0..2 {
            let answer = chat(MARK, true).send(weir.addr).await;
            assert!(!answer.looks_complete());
            broken = answer.header("x-weir-request-id").to_owned();
        }
        assert_eq!(chat(MARK, true).send(weir.addr).await.status, 200);
        eventually("all calls are booked", || {
            weir.metric("weir_requests_total", &[]) as u64 == 6
        })
        .await;
        let report = report(at).await;
        let told = upstream(&report, "first");
        assert_eq!(
            (
                &told["attempts"],
                &told["failures"],
                &told["callers_mistakes"],
                &told["answered"]
            ),
            (
                &Value::from(first.control().stats().requests),
                &Value::from(2),
                &Value::from(3),
                &Value::from(1)
            ),
            "{report:#}"
        );
        let stream = class(&report, "first", "stream_error");
        assert_eq!(
            (&stream["after_content"], &stream["with_request_id"]),
            (&Value::from(true), &Value::from(2)),
            "{report:#}"
        );
        assert_eq!(
            (
                &report["effects"]["truncated"],
                &report["effects"]["callers_mistakes"]
            ),
            (&Value::from(2), &Value::from(3))
        );
        // One call, by weir's id and by the provider's.
        let case = fetch(at, &format!("/case?id={broken}")).await.json();
        assert_eq!(
            (
                &case["failures"][0]["class"],
                &case["failures"][0]["after_content"]
            ),
            (&Value::from("stream_error"), &Value::from(true)),
            "{case:#}"
        );
        assert_eq!(case["conclusion"]["outcome"], "truncated");
        let theirs = case["failures"][0]["provider_request_id"].as_str().unwrap();
        assert_eq!(stream["last_request_id"]["id"], theirs);
        assert_eq!(
            fetch(at, &format!("/case?id={theirs}")).await.json()["id"],
            broken
        );
        assert_eq!(get("/case?id=wr_nothing").send(at).await.status, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_own_key_is_known_to_work_by_its_own_calls_only() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::passing(
            &first.base_url(),
            "[breaker]\nconsecutive = 1000\nmin_calls = 1000\n[retry]\nmax_attempts = 1\n",
        );
        let (_admin, at) = admin(&weir).await;
        first
            .control()
            .inject(Fault {
                keys: vec!["sk-caller-one".to_owned()],
                ..overloaded("req_1", 1)
            })
            .unwrap();
        let ask = |key: &str| chat(MARK, false).header("authorization", &format!("Bearer {key}"));
        assert_eq!(ask("sk-caller-one").send(weir.addr).await.status, 503);
        assert_eq!(ask("sk-caller-two").send(weir.addr).await.status, 200);
        let before = report(at).await;
        assert!(
            !says(&before["ruled_out"], "key", "is valid"),
            "another's key proves nothing: {before:#}"
        );
        // Times of callers' keys are kept by the second, and only what came after the failure counts.
        let mut known = false;
        while !known {
            assert_eq!(ask("sk-caller-one").send(weir.addr).await.status, 200);
            known = says(
                &report(at).await["ruled_out"],
                "key",
                "the same caller's key",
            );
        }
        let text = fetch(at, "/incident").await.text();
        assert!(!text.contains("sk-caller"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_between_two_attempts_leaves_no_open_case() {
    in_time(async {
        let first = sim().await;
        first.control().inject(overloaded("req_1", 1)).unwrap();
        let weir = Weir::over(&first.base_url(), "[retry]\nbase = \"10s\"\n");
        let (_admin, at) = admin(&weir).await;
        let ask = chat(MARK, false);
        let addr = weir.addr;
        let caller = tokio::spawn(async move { ask.send(addr).await });
        eventually("it waits for its repeat", || {
            weir.metric("weir_attempts_total", &["class=\"overloaded\""]) as u64 == 1
        })
        .await;
        caller.abort();
        let state = &weir.gateway().state;
        eventually("its case is closed", || {
            let case = state.failures.find("req_1");
            case.is_some_and(|case| case.conclusion.is_some())
        })
        .await;
        let case = fetch(at, "/case?id=req_1").await.json();
        assert_eq!(case["conclusion"]["outcome"], "cancelled", "{case:#}");
        assert_eq!(report(at).await["effects"]["cancelled"], 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_questions_are_refused_with_what_would_do() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), "");
        let (_admin, at) = admin(&weir).await;
        for (query, words) in [
            ("since=soon", "`since` is `soon`"),
            ("since=1h&until=2h", "the window is empty"),
            ("format=pdf", "md or json"),
            ("upstream=nobody", "there are: first"),
            ("apps=perhaps", "apps=true|false"),
        ] {
            let answer = fetch(at, &format!("/incident?{query}")).await;
            assert_eq!(answer.status, 400, "{query}");
            assert!(answer.text().contains(words), "{query}: {}", answer.text());
        }
        let json = get("/incident")
            .header("accept", "application/json")
            .send(at)
            .await
            .json();
        assert_eq!(json["empty"], true);
        let text = fetch(at, "/incident").await.text();
        assert!(text.starts_with("# No failures between"), "{text}");
        assert!(text.contains("this gateway started at"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_asks_the_running_gateway() {
    in_time(async {
        let first = sim().await;
        first.control().inject(overloaded("req_cli", 1)).unwrap();
        let process = Process::start(
            "incident",
            &toml(&first.base_url(), "[retry]\nmax_attempts = 1\n"),
            &[],
        )
        .await;
        let same = toml(&first.base_url(), "").replace(
            "admin = { listen = \"127.0.0.1:0\" }",
            &format!("admin = {{ listen = \"{}\" }}", process.admin()),
        );
        let config = process.directory.write("ask.toml", &same);
        let run = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
            command
                .arg("incident")
                .arg("--config")
                .arg(&config)
                .args(more);
            command
                .env_clear()
                .env("FIRST_KEY", FIRST_KEY)
                .kill_on_drop(true);
            async move {
                let output = command.output().await.unwrap();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (
                    output.status.code().unwrap(),
                    text(&output.stdout),
                    text(&output.stderr),
                )
            }
        };
        let (code, said, _) = run(&[]).await;
        assert_eq!(code, 0);
        assert!(said.starts_with("# No failures between"), "{said}");
        assert_eq!(chat(MARK, false).send(process.apps()).await.status, 503);
        let (code, said, complained) = run(&["--since", "30m", "--upstream", "openai"]).await;
        assert_eq!(code, 0, "{complained}");
        assert!(
            said.contains("`req_cli`") && said.contains("1 of 1 attempt failed"),
            "{said}"
        );
        assert_clean(&said);
        let file = config.with_file_name("report.json");
        let (code, said, _) = run(&["--json", "-o", file.to_str().unwrap()]).await;
        assert_eq!((code, said.as_str()), (0, ""));
        let written: Value =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(written["upstreams"][0]["failures"], 1);
        assert_clean(&written.to_string());
        let (code, _, complained) = run(&["--since", "yesterday"]).await;
        assert!(
            code == 1 && complained.contains("`since` is `yesterday`"),
            "{complained}"
        );
        let (code, _, complained) = run(&["--upstream", "a&b"]).await;
        assert!(
            code == 1 && complained.contains("there is no upstream `a&b`"),
            "{complained}"
        );
        drop(process);
        let nobody = Directory::new("incident-nobody");
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = nobody.write(
            "weir.toml",
            &toml("http://127.0.0.1:9/v1", "").replace(
                "admin = { listen = \"127.0.0.1:0\" }",
                &format!("admin = {{ listen = \"{free}\" }}"),
            ),
        );
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("incident")
            .arg("--config")
            .arg(&config)
            .env_clear()
            .env("FIRST_KEY", FIRST_KEY)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(15), output)
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("no gateway answers at") && said.contains("weir serve"),
            "{said}"
        );
    })
    .await;
}
