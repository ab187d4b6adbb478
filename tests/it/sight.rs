//! Limits as operators see them: `weir limits`, `/limits`, and where what was learnt is kept.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Output, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use weir::config::Listen;

use crate::support::{
    FIRST_KEY, Step, Upstream, Weir, chat, get, in_time,
    process::{Directory, Process, toml},
    sim, upstream,
};

/// What a gateway could tell.
fn page() -> Value {
    json!({
        "version": "9.9.9",
        "at": "2026-07-01T12:00:00.000Z",
        "pools": [{
            "upstream": "openai",
            "pool": "gpt-4o",
            "models": ["gpt-4o"],
            "buckets": [{
                "kind": "tokens_per_minute", "capacity": 2_000_000, "remaining": 1_204_000, "source": "headers",
                "burst": 166_000, "foreign_share": 0.38, "reserved": 900, "full_in_seconds": 24.0,
            }],
            "concurrency": {"inflight": 12, "limit": null, "learned": false},
            "queue": {"interactive": 3, "batch": 0, "oldest_seconds": 1.5, "apps": 2},
        }],
        "pools_left_out": 0,
        "quotas": [],
        "quotas_left_out": 0,
    })
}

/// An admin listener that tells this.
async fn telling(status: u16, body: String) -> Upstream {
    let answer = upstream::json(status, "", &body);
    Upstream::start(move |_, _| vec![Step::Send(answer.clone()), Step::Close]).await
}

fn command(directory: &Directory, admin: std::net::SocketAddr, more: &[&str]) -> Command {
    let text = toml("http://127.0.0.1:9/v1", "").replace(
        "admin = { listen = \"127.0.0.1:0\" }",
        &format!("admin = {{ listen = \"{admin}\" }}"),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args(["limits", "--config"])
        .arg(directory.write("weir.toml", &text))
        .args(more)
        .env_clear()
        .env("FIRST_KEY", FIRST_KEY)
        .kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_what_the_gateway_tells_as_a_table_or_as_it_is() {
    in_time(async {
        let gateway = telling(200, page().to_string()).await;
        let directory = Directory::new("sight-table");
        let (code, said, _) = run(&mut command(&directory, gateway.addr, &[])).await;
        assert_eq!(code, 0);
        for words in [
            "openai · gpt-4o",
            "1,204,000",
            "38 %",
            "3 wait of 2 apps, the longest for 1.5s",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains('\u{1b}'), "no colours where no terminal is");
        let (code, said, _) = run(&mut command(&directory, gateway.addr, &["--json"])).await;
        assert_eq!(code, 0);
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), page());
        assert!(gateway.seen().iter().all(|seen| seen.path() == "/limits"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_prints_again_until_it_is_interrupted() {
    in_time(async {
        let gateway = telling(200, page().to_string()).await;
        let directory = Directory::new("sight-watch");
        let mut child = command(&directory, gateway.addr, &["--watch", "0.1", "--json"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..3 {
            let line = lines.next_line().await.unwrap().unwrap();
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), page());
        }
        let id = child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().await;
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().await.unwrap().code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_answer_as_a_gateway_is_named_with_what_to_do() {
    in_time(async {
        let directory = Directory::new("sight-nobody");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = free.local_addr().unwrap();
        drop(free);
        for more in [&[][..], &["--watch"]] {
            let (code, _, said) = run(&mut command(&directory, nobody, more)).await;
            assert_eq!(code, 1);
            assert!(said.contains("no gateway answers at"), "{said}");
            assert!(said.contains("weir serve"), "{said}");
        }
        let older = telling(404, String::new()).await;
        let (code, _, said) = run(&mut command(&directory, older.addr, &[])).await;
        assert!(code == 1 && said.contains("knows no /limits"), "{said}");
        let strange = telling(200, "{}".to_owned()).await;
        let (code, _, said) = run(&mut command(&directory, strange.addr, &[])).await;
        assert!(code == 1 && said.contains("answers strangely"), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_is_told_where_no_gateway_answers() {
    in_time(async {
        let directory = Directory::new("sight-wrong");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = free.local_addr().unwrap();
        drop(free);
        let with = |admin, more: &str| {
            let mut command = command(&directory, admin, &[]);
            let text = toml("http://127.0.0.1:9/v1", "").replace(
                "admin = { listen = \"127.0.0.1:0\" }",
                &format!("admin = {{ listen = \"{admin}\" }}"),
            );
            directory.write("weir.toml", &format!("{text}\n{more}"));
            command.env_remove("FIRST_KEY");
            command
        };
        let unknown = "[[app]]\nname = \"a\"\nkey = \"${APP_KEY}\"\nrequests_per_minuet = 5\n";
        let (code, _, said) = run(&mut with(nobody, unknown)).await;
        assert_eq!(code, 64, "{said}");
        assert!(said.contains("no gateway answers at"), "{said}");
        assert!(said.contains("requests_per_minuet"), "{said}");
        assert!(
            !said.contains("is not set"),
            "keys may be elsewhere: {said}"
        );
        let (code, _, said) = run(&mut with(nobody, "")).await;
        assert_eq!(code, 1, "only the key is not known here: {said}");
        let gateway = telling(200, page().to_string()).await;
        let (code, _, said) = run(&mut with(gateway.addr, unknown)).await;
        assert_eq!(code, 0, "it runs with the file as it was: {said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_status_tell_the_same() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), "");
        let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let admin = weir::admin::serve(weir.gateway(), &listen).await.unwrap();
        let address = admin.address().unwrap();
        assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        let ask = async |path: &str| -> Value {
            serde_json::from_str(&get(path).send(address).await.text()).unwrap()
        };
        let (limits, status) = (ask("/limits").await, ask("/status").await);
        assert!(limits["pools"].is_array() && limits["quotas"].is_array());
        let pools = |of: &Value| -> Vec<Value> {
            let pool = |pool: &Value| pool["pool"].clone();
            of.as_array().unwrap().iter().map(pool).collect()
        };
        assert_eq!(pools(&limits["pools"]), pools(&status["limits"]));
        assert_eq!(limits["quotas"], status["quotas"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_place_says_that_nothing_is_kept_and_serves() {
    in_time(async {
        let first = sim().await;
        let process = Process::start("sight-homeless", &toml(&first.base_url(), ""), &[]).await;
        let said = process.said();
        assert!(said.contains("is not kept for the next run"), "{said}");
        assert!(said.contains("$XDG_STATE_HOME"), "{said}");
        assert_eq!(chat("hi", false).send(process.apps()).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_is_made_for_its_owner_alone() {
    in_time(async {
        let first = sim().await;
        let home = Directory::new("sight-home");
        let state = home.write("marker", "").with_file_name("state");
        let environment: &[(&str, &Path)] = &[("XDG_STATE_HOME", &state)];
        let text = toml(&first.base_url(), "");
        let mut process = Process::start("sight-home-of", &text, environment).await;
        let said = process.said();
        assert!(!said.contains("is not kept for the next run"), "{said}");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.join("weir")), 0o700);
        process.signal("TERM").await;
        assert_eq!(process.exit().await, 0);
        for file in std::fs::read_dir(state.join("weir")).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains(FIRST_KEY), "{text}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_use_reaches_the_webhook_that_wants_limits() {
    in_time(async {
        let (first, receiver) = (sim().await, telling(200, "{}".to_owned()).await);
        let alerts = format!(
            "[alerts]\nwebhook = \"http://{}/hook\"\non = [\"limits\"]\n",
            receiver.addr
        );
        let weir = Weir::over(&first.base_url(), &alerts);
        let change = weir::limits::Foreign {
            upstream: "first".to_owned(),
            pool: "gpt-4o".to_owned(),
            kind: weir::limits::Kind::Tokens,
            capacity: 30_000,
            share: 0.3,
            since: std::time::SystemTime::now(),
            ended: None,
        };
        let event = weir::alerts::Event::foreign(&change);
        weir.gateway().state.alerts.tell(event);
        crate::support::eventually("it is told", || receiver.seen().len() == 1).await;
        let told: Value = serde_json::from_slice(&receiver.seen()[0].body).unwrap();
        assert_eq!(told["type"], "foreign_use.began");
        assert!(weir.stop(Duration::from_secs(5)).await);
    })
    .await;
}
