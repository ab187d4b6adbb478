//! Limits that nobody typed in, as those who run a gateway meet them: learnt, shown, waited for, remembered.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};
use weir::{
    config::Listen,
    sim::{Charge, Limits, Running, Settings},
};

use crate::support::{
    Answer, Ask, Step, Upstream, Weir, chat, eventually,
    gateway::{config, upstream},
    get, in_time, post,
    process::{Directory, Process, toml},
    simulator,
    upstream::{CHAT, json},
    within,
};

const ROUTE: &str = "[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n";

/// A provider with limits that only its answers tell.
async fn hidden(limits: Limits) -> Running {
    simulator(Settings {
        any_model: true,
        limits: Limits {
            charge: Some(Charge::Usage),
            ..limits
        },
        ..Settings::default()
    })
    .await
}

fn requests(per_minute: u32) -> Limits {
    Limits {
        requests_per_minute: Some(per_minute),
        ..Limits::default()
    }
}

/// In front of one upstream; `each` are lines of it, `more` what follows the route.
fn text(base_url: &str, each: &str, more: &str) -> String {
    format!("{}{ROUTE}{more}", upstream("first", base_url, each))
}

fn at_once(
    count: usize,
    addr: std::net::SocketAddr,
    ask: impl Fn(usize) -> Ask,
) -> Vec<JoinHandle<Answer>> {
    (0..count)
        .map(|index| {
            let ask = ask(index);
            tokio::spawn(async move { ask.send(addr).await })
        })
        .collect()
}

async fn all(calls: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

fn refusals(sim: &Running) -> u64 {
    let stats = sim.control().stats();
    stats.by_status.get(&429).copied().unwrap_or(0)
}

/// Interactive calls that wait.
fn waiting(weir: &Weir) -> u32 {
    let views = weir.gateway().state.limits.views();
    views.iter().map(|pool| pool.queue.interactive).sum()
}

fn wait_ms(answer: &Answer) -> u64 {
    answer.header("x-weir-wait-ms").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nothing_configured_a_limit_is_learnt_held_and_shown() {
    in_time(async {
        // A minute's worth may go at once there, and 20 each second.
        let first = hidden(requests(1_200)).await;
        let weir = Weir::start(&text(&first.base_url(), "", ""));
        let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let admin = weir::admin::serve(weir.gateway(), &listen).await.unwrap();
        let admin = admin.address().unwrap();
        let calls = at_once(260, weir.addr, |n| chat(&format!("call {n}"), n % 3 == 0));
        eventually("some have been answered and the others wait", || {
            let views = weir.gateway().state.limits.views();
            !views.is_empty() && !views[0].buckets.is_empty() && waiting(&weir) > 50
        })
        .await;
        let limits: Value = get("/limits").send(admin).await.json();
        let pool = &limits["pools"][0];
        assert_eq!(
            (&pool["upstream"], &pool["pool"]),
            (&"first".into(), &"gpt-4o".into())
        );
        assert_eq!(pool["buckets"][0]["kind"], "requests_per_minute");
        assert_eq!(pool["buckets"][0]["capacity"], 1_200);
        assert_eq!(pool["buckets"][0]["source"], "headers");
        assert!(pool["queue"]["interactive"].as_u64() > Some(0), "{pool}");
        let status: Value = get("/status").send(admin).await.json();
        assert_eq!(status["limits"][0]["buckets"][0]["capacity"], 1_200);
        let answers = all(calls).await;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-weir-attempts"), "1");
        }
        assert!(answers.iter().any(|answer| wait_ms(answer) > 0));
        assert_eq!(refusals(&first), 0);
        let labels = &[
            "kind=\"requests_per_minute\"",
            "model=\"gpt-4o\"",
            "upstream=\"first\"",
        ];
        assert_eq!(weir.metric("weir_limit_capacity", labels), 1_200.0);
        assert!(weir.metric("weir_limit_available", labels) > 0.0);
        assert!(weir.metric("weir_limit_burst", labels) >= 10.0);
        assert_eq!(waiting(&weir), 0);
    })
    .await;
}

/// A call that declares so many tokens of output.
fn large(max: u32, stream: bool) -> Ask {
    let body = format!(
        r#"{{"model":"gpt-4o","stream":{stream},"max_tokens":{max},"messages":[{{"role":"user","content":"[sim:tokens=5]"}}]}}"#
    );
    post("/v1/chat/completions", body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_larger_than_a_learnt_limit_is_refused_at_once_or_goes_where_it_fits() {
    in_time(async {
        let small = Limits {
            tokens_per_minute: Some(1_000),
            ..Limits::default()
        };
        let (first, second) = (hidden(small).await, hidden(Limits::default()).await);
        let alone = Weir::start(&text(&first.base_url(), "", ""));
        assert_eq!(large(50, false).send(alone.addr).await.status, 200);
        for stream in [false, true] {
            let answer = large(5_000, stream).send(alone.addr).await;
            assert_eq!(
                (answer.status, answer.header("x-weir-class")),
                (429, "request_too_large_for_limit")
            );
            assert_eq!(answer.json()["error"]["type"], "weir_error");
            let advice = answer.header("x-weir-advice");
            for words in [
                "estimated at 50",
                "limit of 1000 tokens per minute",
                "Shrink",
            ] {
                assert!(advice.contains(words), "{advice}");
            }
            assert_eq!(
                (
                    answer.header("x-should-retry"),
                    answer.header("retry-after")
                ),
                ("false", "")
            );
            assert_eq!(answer.header("x-weir-wait-ms"), "0");
        }
        assert_eq!(first.control().stats().requests, 1, "nobody was asked");
        let two = Weir::over_two(&first.base_url(), &second.base_url(), "");
        assert_eq!(
            large(50, false)
                .send(two.addr)
                .await
                .header("x-weir-upstream"),
            "first"
        );
        let answer = large(5_000, false).send(two.addr).await;
        assert_eq!(
            (answer.status, answer.header("x-weir-upstream")),
            (200, "second")
        );
        assert_eq!(
            large(50, false)
                .send(two.addr)
                .await
                .header("x-weir-upstream"),
            "first"
        );
        assert_eq!(first.control().stats().requests, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_learnt_is_shown_after_a_restart_and_no_burst_is_refused_again() {
    in_time(async {
        // Ten each second, and no burst: headers alone do not tell that.
        let first = hidden(Limits {
            window_ms: Some(1_000),
            ..requests(600)
        })
        .await;
        let home = Directory::new("limits-restart");
        let state = home.write("marker", "").with_file_name("state");
        let environment: &[(&str, &Path)] = &[("XDG_STATE_HOME", &state)];
        let text = toml(&first.base_url(), "");
        let mut before = Process::start("limits-restart-of", &text, environment).await;
        let apps = before.apps();
        all(at_once(60, apps, |n| chat(&format!("call {n}"), false))).await;
        let learnt = refusals(&first);
        assert!(learnt > 0, "nobody could know of the short window");
        before.signal("TERM").await;
        assert_eq!(before.exit().await, 0);
        // Its name depends on where the configuration is.
        let mut files = std::fs::read_dir(state.join("weir")).unwrap();
        let file = files.next().unwrap().unwrap().path();
        let kept = std::fs::read_to_string(&file).unwrap();
        let remember = format!("[limits]\nremember = \"{}\"\n", file.display());
        let after = Process::start("limits-restart-again", &(text + &remember), &[]).await;
        let limits: Value = get("/limits").send(after.admin()).await.json();
        let bucket = &limits["pools"][0]["buckets"][0];
        assert_eq!(
            (&bucket["source"], &bucket["capacity"]),
            (&"remembered".into(), &600.into())
        );
        let (apps, passed) = (after.apps(), first.control().stats().requests);
        let answers = all(at_once(60, apps, |n| chat(&format!("again {n}"), false))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let again = refusals(&first) - learnt;
        assert!(again <= 2, "{learnt} before, {again} after, by {kept}");
        assert!(first.control().stats().requests - passed <= 62);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_broken_or_of_a_newer_weir_costs_what_was_learnt_and_nothing_else() {
    in_time(async {
        let first = hidden(requests(600)).await;
        for (content, words) in [
            ("{ this is", "cannot be read"),
            ("{\"version\": 99}", "newer weir"),
        ] {
            let home = Directory::new("limits-broken");
            let file = home.write("limits.json", content);
            let remember = format!("[limits]\nremember = \"{}\"\n", file.display());
            let text = toml(&first.base_url(), &remember);
            let mut process = Process::start("limits-broken-of", &text, &[]).await;
            let said = process.said();
            assert!(said.contains(words), "{said}");
            let keeps = said.contains("is kept for the next run");
            assert_eq!(keeps, words == "cannot be read", "{said}");
            assert_eq!(chat("hi", false).send(process.apps()).await.status, 200);
            process.signal("TERM").await;
            assert_eq!(process.exit().await, 0);
            let written = std::fs::read_to_string(&file).unwrap();
            assert_eq!(written.contains("\"limit\":600"), keeps, "{written}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_that_a_limit_holds_back_tells_when_it_could_go_and_not_what_was_told_before() {
    in_time(async {
        // No header tells of the limit, and the refusal tells a wait that is over when the answer goes out.
        let refusal = r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-a on requests per min (RPM): Limit 30, Used 30, Requested 1. Please try again in 300ms.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
        let first = Upstream::start(move |_, before| {
            vec![Step::Send(match before {
                0..30 => json(200, "", CHAT),
                _ => json(429, "retry-after-ms: 300\r\nretry-after: 1\r\n", refusal),
            })]
        })
        .await;
        let weir = Weir::start(&text(&first.base_url(), "", ""));
        for _ in 0..30 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        }
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!((answer.status, answer.text().as_str()), (429, refusal));
        assert_eq!(first.seen().len(), 31, "the repeat would have been refused");
        assert_eq!(answer.header("x-should-retry"), "true");
        let told: u64 = answer.header("retry-after").parse().unwrap();
        assert!((31..=61).contains(&told), "when the first leave their minute: {told}");
        assert!(answer.header("retry-after-ms").parse::<u64>().unwrap() > 30_000);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_the_queue_of_a_learnt_limit_is_out_of_it_at_once() {
    in_time(async {
        let first = hidden(requests(60)).await;
        let weir = Weir::start(&text(&first.base_url(), "", ""));
        assert_eq!(chat("learns", false).send(weir.addr).await.status, 200);
        // Most of a minute's worth goes at once there, and one each second.
        let calls = at_once(90, weir.addr, |n| chat(&format!("call {n}"), n % 2 == 0));
        eventually("they wait", || waiting(&weir) >= 15).await;
        calls.iter().for_each(JoinHandle::abort);
        eventually("they have left", || {
            waiting(&weir) == 0 && weir.inflight() == 0
        })
        .await;
        let asked = first.control().stats().requests;
        // Whoever comes now stands behind nobody: one call each second.
        let answer = chat("next", false).send(weir.addr).await;
        assert_eq!(answer.status, 200);
        assert!(wait_ms(&answer) < 5_000, "{}", wait_ms(&answer));
        assert!(first.control().stats().requests <= asked + 1);
        let views = weir.gateway().state.limits.views();
        assert!(views[0].buckets.iter().all(|bucket| bucket.reserved == 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_past_the_deadline_and_who_cannot_be_served_in_time_is_told_at_once() {
    in_time(async {
        // One each second, after ten.
        let first = hidden(Limits::default()).await;
        let set = "limits = { requests_per_minute = 60 }";
        let weir = Weir::start(&text(&first.base_url(), set, ""));
        let began = Instant::now();
        let calls: Vec<_> = (0..40)
            .map(|n| {
                let addr = weir.addr;
                tokio::spawn(async move {
                    let header = ["x-weir-timeout", "x-stainless-read-timeout"][n % 2];
                    let value = ["4s", "4"][n % 2];
                    let ask = chat(&format!("call {n}"), false).header(header, value);
                    (ask.send(addr).await, began.elapsed())
                })
            })
            .collect();
        let (mut served, mut told, mut at_once) = (0, Vec::new(), 0);
        for call in calls {
            let (answer, took) = call.await.unwrap();
            assert!(took < Duration::from_millis(4_500), "{took:?}");
            if answer.status == 200 {
                served += 1;
                continue;
            }
            assert_eq!(
                (answer.status, answer.header("x-weir-class")),
                (429, "rate_limited_requests")
            );
            assert_eq!(answer.header("x-should-retry"), "true");
            told.push(answer.header("retry-after").parse::<u64>().unwrap());
            at_once += u32::from(took < Duration::from_secs(2));
        }
        // Those behind a line of twice their time; the others wait for somebody to leave.
        assert!(at_once >= 18, "{at_once}");
        assert!((11..=15).contains(&served), "{served}");
        assert!(told.iter().all(|told| (1..=60).contains(told)), "{told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interactive_calls_go_before_a_flood_of_batch_calls() {
    in_time(async {
        // Five each second, and the first fifty at once.
        let first = hidden(Limits::default()).await;
        let set = "limits = { requests_per_minute = 300 }";
        let weir = Weir::start(&text(&first.base_url(), set, ""));
        let batch = at_once(75, weir.addr, |n| {
            chat(&format!("batch {n}"), false).header("x-weir-priority", "batch")
        });
        let lane = || {
            let views = weir.gateway().state.limits.views();
            views.iter().map(|pool| pool.queue.batch).sum::<u32>()
        };
        eventually("a queue of batch calls", || lane() > 15).await;
        let answers = all(at_once(10, weir.addr, |n| chat(&format!("now {n}"), false))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        batch.iter().for_each(JoinHandle::abort);
        let order: Vec<bool> = first
            .control()
            .log()
            .iter()
            .map(|seen| {
                seen.body
                    .as_deref()
                    .is_some_and(|body| body.contains("now "))
            })
            .collect();
        let from = order.iter().position(|now| *now).unwrap();
        let until = order.iter().rposition(|now| *now).unwrap();
        let between = order[from..until].iter().filter(|now| !**now).count();
        assert!(
            between <= 3,
            "only what has aged goes in between: {order:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_with_the_same_key_is_measured_and_left_room() {
    in_time(async {
        let first = hidden(Limits {
            foreign: Some(weir::sim::Foreign {
                share: Some(0.3),
                ..Default::default()
            }),
            ..requests(1_200)
        })
        .await;
        let weir = Weir::start(&text(&first.base_url(), "", ""));
        let addr = weir.addr;
        let callers: Vec<_> = (0..40)
            .map(|caller| {
                tokio::spawn(async move {
                    for turn in 0.. {
                        let answer = chat(&format!("{caller} {turn}"), false).send(addr).await;
                        assert_eq!(answer.status, 200);
                    }
                })
            })
            .collect();
        let share = || {
            let views = weir.gateway().state.limits.views();
            views.first().and_then(|pool| pool.foreign_share)
        };
        within(Duration::from_secs(30), "the share is found", || {
            share().is_some_and(|share| (0.2..0.4).contains(&share))
        })
        .await;
        assert!(
            weir.metric(
                "weir_limit_foreign_share",
                &["kind=\"requests_per_minute\""]
            ) >= 0.2
        );
        callers.iter().for_each(JoinHandle::abort);
        let stats = first.control().stats();
        assert!(refusals(&first) * 200 <= stats.requests, "{stats:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_at_a_hidden_limit_are_all_answered_while_limits_change() {
    in_time(async {
        let first = hidden(requests(1_800)).await;
        let base_url = first.base_url();
        let weir = Weir::start(&text(&base_url, "", ""));
        let calls = at_once(300, weir.addr, |n| {
            chat(&format!("call {n} [sim:tokens=8]"), n % 2 == 0)
        });
        for set in ["600", "1500", "\"auto\""] {
            eventually("they wait", || waiting(&weir) > 20).await;
            let each = format!("limits = {{ requests_per_minute = {set} }}");
            weir.gateway().reload(config(&text(&base_url, &each, "")));
            let passed = first.control().stats().requests;
            eventually("it goes on", || {
                first.control().stats().requests > passed + 5
            })
            .await;
        }
        for answer in all(calls).await {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(!answer.broken);
        }
        assert_eq!(refusals(&first), 0);
        let stats = first.control().stats();
        assert_eq!(stats.requests, 300, "none lost, none twice");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_raised_by_a_reload_holds_for_those_who_wait_too() {
    in_time(async {
        let first = hidden(Limits::default()).await;
        let limited = |number: u32| {
            let each = format!("limits = {{ requests_per_minute = {number} }}");
            text(&first.base_url(), &each, "[retry]\nmax_wait = \"1h\"\n")
        };
        // One each second, after ten.
        let weir = Weir::start(&limited(60));
        let began = Instant::now();
        let calls = at_once(60, weir.addr, |n| chat(&format!("call {n}"), false));
        eventually("they wait", || waiting(&weir) > 40).await;
        weir.gateway().reload(config(&limited(6_000)));
        for answer in all(calls).await {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
    })
    .await;
}
