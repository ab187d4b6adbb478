//! Out of credit is known at the first failure; a caller's own mistake is nobody's outage.

use std::time::Duration;

use weir::sim::{Fault, Kind};

use crate::support::{Weir, chat, eventually, in_time, named, post, sim, within};

/// Out of credit as providers say it: the old code, the new one, and the 400 that is a matter of money.
const OUT_OF_CREDIT: [(u16, &str, &str); 4] = [
    (
        429,
        "insufficient_quota",
        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
    ),
    (
        429,
        "credits_exhausted",
        r#"{"error":{"message":"Your organization has run out of credits.","type":"insufficient_quota","param":null,"code":"credits_exhausted"}}"#,
    ),
    (
        400,
        "billing_hard_limit_reached",
        r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#,
    ),
    (
        400,
        "null",
        r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":null}}"#,
    ),
];

fn said(status: u16, body: &str) -> Fault {
    Fault {
        body: Some(body.to_owned()),
        ..Fault::status(status)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_credit_fails_over_at_the_first_one_and_is_not_asked_again() {
    in_time(async {
        for (status, code, body) in OUT_OF_CREDIT {
            let (first, second) = (named("first").await, named("second").await);
            first.control().inject(said(status, body)).unwrap();
            let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
            for turn in 0..5 {
                let answer = chat("hi", turn % 2 == 1).send(weir.addr).await;
                assert_eq!(
                    (answer.status, answer.header("x-sim-name")),
                    (200, "second"),
                    "{code}"
                );
            }
            assert_eq!(
                first.control().stats().requests,
                1,
                "{code}: once is enough to know"
            );
            assert_eq!(second.control().stats().requests, 5);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fallback_out_of_credit_costs_the_provider_one_call_and_reaches_the_caller_verbatim()
 {
    in_time(async {
        for (status, code, body) in OUT_OF_CREDIT {
            let first = sim().await;
            first.control().inject(said(status, body)).unwrap();
            let weir = Weir::over(&first.base_url(), "");
            for turn in 0..4 {
                // As the SDK repeats: it says so in a header.
                let answer = chat("hi", false)
                    .header("x-stainless-retry-count", &turn.to_string())
                    .send(weir.addr)
                    .await;
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (status, body),
                    "{code}"
                );
                assert_eq!(answer.header("x-should-retry"), "false", "{code}");
                assert!(
                    !answer.header("x-weir-advice").is_empty(),
                    "{code} comes with advice"
                );
            }
            assert_eq!(first.control().stats().requests, 1, "{code}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_own_account_out_of_credit_is_no_matter_of_other_callers() {
    in_time(async {
        let first = sim().await;
        first
            .control()
            .inject(Fault {
                keys: vec!["sk-poor".to_owned()],
                ..said(429, OUT_OF_CREDIT[0].2)
            })
            .unwrap();
        let weir = Weir::passing(&first.base_url(), "");
        for _ in 0..3 {
            let answer = chat("hi", false)
                .header("authorization", "Bearer sk-poor")
                .send(weir.addr)
                .await;
            assert_eq!(answer.status, 429);
        }
        let answer = chat("hi", false)
            .header("authorization", "Bearer sk-rich")
            .send(weir.addr)
            .await;
        assert_eq!(answer.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_never_fails_over() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
        let cases = [
            post("/v1/chat/completions", r#"{"model":"gpt-4o"}"#),
            post(
                "/v1/chat/completions",
                r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"temperature":9}"#,
            ),
            post("/v1/chat/completions", "{ this is no JSON"),
        ];
        for case in cases {
            let answer = case.send(weir.addr).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            assert_eq!(answer.header("x-sim-name"), "first");
            assert_eq!(answer.header("x-should-retry"), "false");
            assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        }
        assert_eq!(
            (
                first.control().stats().requests,
                second.control().stats().requests
            ),
            (3, 0)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_all_calls_being_bad_requests_opens_no_circuit() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(
            &first.base_url(),
            &second.base_url(),
            "[breaker]\nconsecutive = 3\nmin_calls = 10\n",
        );
        for turn in 0..60 {
            // Also ten in a row.
            let bad = turn % 2 == 0 || (20..30).contains(&turn);
            let case = if bad {
                post("/v1/chat/completions", r#"{"model":"gpt-4o"}"#)
            } else {
                chat("hi", turn % 3 == 0)
            };
            let answer = case.send(weir.addr).await;
            assert_eq!(answer.status, if bad { 400 } else { 200 });
            assert_eq!(answer.header("x-sim-name"), "first");
        }
        assert_eq!(weir.metric("weir_breaker_state", &[]), 0.0);
        assert_eq!(second.control().stats().requests, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_do_not_hide_an_outage() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(
            &first.base_url(),
            &second.base_url(),
            "[breaker]\nconsecutive = 4\n",
        );
        first
            .control()
            .inject(Fault {
                every: Some(2),
                ..Fault::status(400)
            })
            .unwrap();
        first.control().inject(Fault::status(503)).unwrap();
        for _ in 0..24 {
            chat("hi", false).send(weir.addr).await;
        }
        assert!(
            weir.metric("weir_breaker_state", &["upstream=\"first\""]) >= 1.0,
            "503 after 503, only bad requests between"
        );
    })
    .await;
}

/// A gateway before a provider that is out of credit, and knows it.
async fn out_of_credit(first: &weir::sim::Running, more: &str) -> Weir {
    let (status, _, body) = OUT_OF_CREDIT[0];
    first.control().inject(said(status, body)).unwrap();
    let weir = Weir::over(&first.base_url(), more);
    assert_eq!(chat("hi", false).send(weir.addr).await.status, 429);
    weir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_top_up_calls_are_let_through_by_degrees_and_none_is_told_of_an_empty_account() {
    in_time(async {
        let first = sim().await;
        let weir = out_of_credit(&first, "").await;
        first.control().clear();
        first.control().reset();
        let slow = Fault {
            delay: Some(Duration::from_millis(200).into()),
            ..Fault::of(Kind::Delay)
        };
        first.control().inject(slow).unwrap();
        assert_eq!(weir.gateway().state.circuits.probe_now(None), 1);
        let calls: Vec<_> = (0..50)
            .map(|n| {
                let addr = weir.addr;
                tokio::spawn(async move { chat(&format!("call {n}"), n % 2 == 0).send(addr).await })
            })
            .collect();
        let mut waited = 0;
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-weir-attempts"), "1");
            waited += u32::from(answer.header("x-weir-wait-ms").parse::<u64>().unwrap() > 0);
        }
        let arrivals: Vec<u64> = first.control().log().iter().map(|r| r.arrival_ms).collect();
        assert_eq!(arrivals.len(), 50, "one upstream call each");
        let within = |ms| arrivals.iter().filter(|at| **at < arrivals[0] + ms).count();
        assert_eq!(within(150), 1, "the probe goes alone: {arrivals:?}");
        assert!(within(1_000) <= 25, "a slam: {arrivals:?}");
        assert!(waited >= 40, "{waited} calls waited for their turn");
        eventually("all is well again", || {
            weir.gateway()
                .state
                .circuits
                .snapshot(tokio::time::Instant::now())
                .is_empty()
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_a_probe_is_awaited_is_gone_at_once_and_never_called_for() {
    in_time(async {
        let first = sim().await;
        let weir = out_of_credit(&first, "").await;
        first.control().clear();
        first.control().inject(Fault::of(Kind::Hang)).unwrap();
        weir.gateway().state.circuits.probe_now(None);
        let addr = weir.addr;
        let probe = tokio::spawn(async move { chat("probe", false).send(addr).await });
        eventually("it probes", || first.control().stats().in_flight == 1).await;
        let asked = first.control().stats().requests;
        let held: Vec<_> = (0..20)
            .map(|n| {
                tokio::spawn(async move { chat(&format!("held {n}"), false).send(addr).await })
            })
            .collect();
        eventually("all are held", || weir.inflight() == 21).await;
        for call in &held {
            call.abort();
        }
        within(Duration::from_secs(2), "they are gone", || {
            weir.inflight() == 1
        })
        .await;
        probe.abort();
        eventually("the probe, too", || weir.inflight() == 0).await;
        assert_eq!(first.control().stats().requests, asked);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_a_probe_are_told_as_soon_as_it_fails() {
    in_time(async {
        let first = sim().await;
        let weir = out_of_credit(&first, "").await;
        let (status, _, body) = OUT_OF_CREDIT[0];
        first.control().clear();
        let slow = Fault {
            delay: Some(Duration::from_millis(400).into()),
            ..said(status, body)
        };
        first.control().inject(slow).unwrap();
        let asked = first.control().stats().requests;
        weir.gateway().state.circuits.probe_now(None);
        let started = tokio::time::Instant::now();
        let calls: Vec<_> = (0..20)
            .map(|n| {
                let addr = weir.addr;
                tokio::spawn(async move { chat(&format!("call {n}"), false).send(addr).await })
            })
            .collect();
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (429, body));
            assert_eq!(answer.header("x-should-retry"), "false");
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(
            first.control().stats().requests,
            asked + 1,
            "the probe alone"
        );
        // Plainly open: nobody waits.
        let answer = chat("late", false).send(weir.addr).await;
        assert_eq!((answer.status, answer.header("x-weir-wait-ms")), (429, "0"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impatient_call_after_a_top_up_is_served_and_not_refused() {
    in_time(async {
        let first = sim().await;
        let weir = out_of_credit(&first, "[retry]\nmax_wait = \"100ms\"\n").await;
        first.control().clear();
        weir.gateway().state.circuits.probe_now(None);
        assert_eq!(chat("probe", false).send(weir.addr).await.status, 200);
        for n in 0..30 {
            let answer = chat(&format!("call {n}"), false).send(weir.addr).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    })
    .await;
}
