//! The binary: its exit codes, signals, reloads and admin port.

use std::time::Duration;

use tokio::time::Instant;
use weir::sim::{Fault, Kind};

use crate::support::{
    FIRST_KEY, chat, eventually, get, in_time, named,
    process::{Directory, Process, command, toml},
    sim, within,
};

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
        let text = toml("http://127.0.0.1:9/v1", "").replace(
            "listen = \"127.0.0.1:0\"\nadmin",
            "listen = \"0.0.0.0:0\"\nadmin",
        );
        let output = command(&directory.write("weir.toml", &text))
            .output()
            .await
            .unwrap();
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
        let text =
            toml("http://127.0.0.1:9/v1", "").replacen("127.0.0.1:0", &address.to_string(), 1);
        let output = command(&directory.write("weir.toml", &text))
            .output()
            .await
            .unwrap();
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
            let mut live = chat(
                &format!("stream {index} [sim:tokens=30][sim:event-ms=30]"),
                true,
            )
            .live(apps)
            .await
            .unwrap();
            live.next().await.unwrap().unwrap();
            streams.push(live);
        }
        process.signal("TERM").await;
        for live in streams {
            let answer = live.whole().await;
            assert!(
                !answer.broken && answer.text().ends_with("data: [DONE]\n\n"),
                "{}",
                answer.text()
            );
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
        let mut process = Process::start(
            "cut",
            &toml(&first.base_url(), "[server]\ndrain_timeout = \"300ms\"\n"),
            &[],
        )
        .await;
        let apps = process.apps();
        let call = tokio::spawn(async move { chat("hi", false).live(apps).await.is_err() });
        eventually("the call is under way", || {
            first.control().stats().in_flight == 1
        })
        .await;
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
        eventually("the call is under way", || {
            first.control().stats().in_flight == 1
        })
        .await;
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
        let mut process = Process::start(
            "ready",
            &toml(&first.base_url(), "[server]\ndrain_delay = \"2s\"\n"),
            &[],
        )
        .await;
        let (apps, admin) = (process.apps(), process.admin());
        assert_eq!(get("/readyz").send(admin).await.status, 200);
        process.signal("TERM").await;
        eventually("it drains", || process.said().contains("Draining")).await;
        assert_eq!(get("/readyz").send(admin).await.status, 503);
        assert_eq!(get("/healthz").send(admin).await.status, 200);
        assert_eq!(
            chat("hi", false).send(apps).await.status,
            200,
            "it still serves who comes"
        );
        assert_eq!(process.exit().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_a_good_file_and_leaves_all_as_it_is_for_a_bad_one() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let process = Process::start("reload", &toml(&first.base_url(), ""), &[]).await;
        let (apps, admin) = (process.apps(), process.admin());
        process
            .directory
            .write("weir.toml", "this is no configuration");
        process.signal("HUP").await;
        eventually("it says what is wrong", || {
            process.said().contains("the old one stays in force")
        })
        .await;
        assert_eq!(
            chat("hi", false).send(apps).await.header("x-sim-name"),
            "first"
        );
        assert!(
            get("/metrics")
                .send(admin)
                .await
                .text()
                .contains("weir_config_reloads_total{result=\"refused\"}")
        );
        process
            .directory
            .write("weir.toml", &toml(&second.base_url(), ""));
        // Without a signal: the file is watched.
        within(Duration::from_secs(10), "the new file is taken", || {
            process.said().contains("The configuration was reloaded")
        })
        .await;
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
        assert!(
            metrics.text().contains("weir_requests_total{"),
            "{}",
            metrics.text()
        );
        let status = get("/status").send(admin).await;
        assert!(status.json().is_object());
        assert_eq!(get("/nothing").send(admin).await.status, 404);
        let told = format!("{}{}{}", metrics.text(), status.text(), process.said());
        assert!(!told.contains(FIRST_KEY));
        assert_eq!(get("/metrics").send(apps).await.status, 404, "not for apps");
    })
    .await;
}
