//! A provider that is out for a while is not noticed by the apps, and not hammered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;
use weir::sim::Fault;

use crate::support::{Weir, chat, eventually, in_time, named, sim};

const INTERVAL: Duration = Duration::from_millis(600);
const BREAKER: &str =
    "[breaker]\nconsecutive = 3\nopen_for = \"600ms\"\nopen_for_max = \"600ms\"\n";

/// Callers that call one after another until told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn start(weir: &Weir, callers: usize) -> Self {
        let (stop, good, bad) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
        );
        let tasks = (0..callers)
            .map(|caller| {
                let (stop, good, bad, addr) = (
                    Arc::clone(&stop),
                    Arc::clone(&good),
                    Arc::clone(&bad),
                    weir.addr,
                );
                tokio::spawn(async move {
                    let mut turn = 0_u32;
                    while !stop.load(SeqCst) {
                        turn += 1;
                        let stream = turn.is_multiple_of(2);
                        let answer = chat(
                            &format!("caller {caller} turn {turn} [sim:tokens=5]"),
                            stream,
                        )
                        .send(addr)
                        .await;
                        let whole = answer.status == 200
                            && !answer.broken
                            && (!stream || answer.looks_complete());
                        if whole { &good } else { &bad }.fetch_add(1, SeqCst);
                        tokio::time::sleep(Duration::from_millis(15)).await;
                    }
                })
            })
            .collect();
        Self {
            stop,
            good,
            bad,
            tasks,
        }
    }

    /// Calls answered well, and not.
    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        (self.good.load(SeqCst), self.bad.load(SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_first_provider_is_answered_by_the_second_and_probed_once_per_interval() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), BREAKER);
        let traffic = Traffic::start(&weir, 12);
        eventually("traffic flows", || first.control().stats().requests > 50).await;
        first.control().inject(Fault::status(503)).unwrap();
        eventually("the circuit opens", || {
            weir.metric("weir_breaker_state", &["upstream=\"first\""]) >= 1.0
        })
        .await;
        // Calls that were under way when it opened are through after a moment.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = first.control().log().len();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let probes: Vec<u64> = first.control().log()[before..]
            .iter()
            .map(|r| r.arrival_ms)
            .collect();
        let most = 5_000 / u64::try_from(INTERVAL.as_millis()).unwrap() + 1;
        assert!(
            !probes.is_empty() && probes.len() as u64 <= most,
            "{probes:?}"
        );
        for pair in probes.windows(2) {
            assert!(
                u128::from(pair[1] - pair[0]) >= INTERVAL.as_millis() * 8 / 10,
                "{probes:?}"
            );
        }
        let back = first.control().log().len();
        let asked_second = second.control().stats().requests;
        first.control().clear();
        let cleared = Instant::now();
        eventually("the first is asked again", || {
            first.control().log().len() > back + 1
        })
        .await;
        assert!(
            cleared.elapsed() <= INTERVAL + Duration::from_millis(600),
            "{:?}",
            cleared.elapsed()
        );
        // Ramped: while the first comes back, the second still has a part of the traffic.
        eventually("traffic is back", || {
            first.control().log().len() > back + 40
        })
        .await;
        let meanwhile = second.control().stats().requests - asked_second;
        assert!(meanwhile > 0, "all of it came back at once");
        let (good, bad) = traffic.stop().await;
        assert!(good > 500, "only {good} calls");
        assert!(bad * 1_000 <= good, "{bad} of {good} calls failed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_comes_back_by_and_by() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), BREAKER);
        first.control().inject(Fault::status(503)).unwrap();
        let traffic = Traffic::start(&weir, 12);
        eventually("the circuit opens", || {
            weir.metric("weir_breaker_state", &["upstream=\"first\""]) >= 1.0
        })
        .await;
        first.control().clear();
        first.control().reset();
        second.control().reset();
        eventually("the first answers again", || {
            first
                .control()
                .stats()
                .by_status
                .get(&200)
                .is_some_and(|n| *n > 0)
        })
        .await;
        let shares = |first: u64, second: u64| first as f64 / (first + second).max(1) as f64;
        let from = (
            first.control().stats().requests,
            second.control().stats().requests,
        );
        let since = || {
            let (first, second) = (first.control().stats(), second.control().stats());
            (first.requests - from.0, second.requests - from.1)
        };
        eventually("some calls are made", || since().0 + since().1 >= 16).await;
        let early = since();
        assert!(
            shares(early.0, early.1) < 0.7,
            "{early:?} calls went to the first and the second right after the probe"
        );
        eventually("the first has all of it", || {
            weir.metric("weir_breaker_state", &["upstream=\"first\""]) == 0.0
        })
        .await;
        let asked = second.control().stats().requests;
        let came = first.control().stats().requests;
        eventually("calls go on", || {
            first.control().stats().requests > came + 50
        })
        .await;
        assert!(
            second.control().stats().requests <= asked + 12,
            "the second is still asked"
        );
        let (_, bad) = traffic.stop().await;
        assert_eq!(bad, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_only_provider_is_out_callers_get_its_own_last_error() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), &format!("{BREAKER}\n[retry]\nmax_attempts = 1\n"));
        let body = r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"server_error","param":null,"code":null}}"#;
        let fault = Fault { body: Some(body.to_owned()), ..Fault::status(503) };
        first.control().inject(fault).unwrap();
        for _ in 0..3 {
            chat("hi", false).send(weir.addr).await;
        }
        eventually("the circuit opens", || weir.metric("weir_breaker_state", &["upstream=\"first\""]) >= 1.0).await;
        let asked = first.control().stats().requests;
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!((answer.status, answer.text().as_str()), (503, body));
        assert_eq!(first.control().stats().requests, asked, "an open circuit lets nothing through");
        assert_eq!(answer.header("x-weir-attempts"), "0");
    })
    .await;
}
