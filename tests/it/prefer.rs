//! Whom a call goes to while limits are waited for.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Weir, chat, gateway::upstream, in_time, named};

/// `first` lets two calls a minute through, `second` as many as `more` says.
async fn two(
    prefer: &str,
    second: &str,
    max_wait: &str,
) -> (Weir, weir::sim::Running, weir::sim::Running) {
    let (a, b) = (named("first").await, named("second").await);
    let weir = Weir::start(&format!(
        "{}{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\", \"second\"]\n{prefer}\n[retry]\nmax_wait = \"{max_wait}\"\n",
        upstream(
            "first",
            &a.base_url(),
            "limits = { requests_per_minute = 2 }"
        ),
        upstream("second", &b.base_url(), second),
    ));
    (weir, a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soonest_goes_to_the_target_that_is_free() {
    in_time(async {
        // The wait would fit; it is not waited.
        let (weir, first, second) = two("prefer = \"soonest\"", "", "10m").await;
        let began = Instant::now();
        for _ in 0..6 {
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!(
                (answer.status, answer.header("x-weir-attempts")),
                (200, "1")
            );
        }
        assert!(began.elapsed() < Duration::from_secs(10));
        // The route's order while both are free.
        let (one, other) = (
            first.control().stats().requests,
            second.control().stats().requests,
        );
        assert!((1..=2).contains(&one) && one + other == 6, "{one} {other}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_waits_at_the_first_when_the_wait_fits_and_moves_on_when_it_does_not() {
    in_time(async {
        let (weir, first, second) = two("prefer = \"order\"", "", "1s").await;
        for _ in 0..6 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        }
        assert!((1..=2).contains(&first.control().stats().requests));
        assert!(second.control().stats().requests >= 4);
        // One that fits: `first` lets a call through each half second once its burst is gone.
        let only = named("only").await;
        let weir = Weir::start(&format!(
            "{}{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\", \"second\"]\n",
            upstream(
                "first",
                &only.base_url(),
                "limits = { requests_per_minute = 120 }"
            ),
            upstream("second", &second.base_url(), ""),
        ));
        let before = second.control().stats().requests;
        for _ in 0..12 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        }
        assert_eq!(second.control().stats().requests, before);
        assert_eq!(only.control().stats().requests, 12);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_limits_refuse_the_soonest_is_told() {
    in_time(async {
        for prefer in ["prefer = \"order\"", "prefer = \"soonest\""] {
            // Two in a minute; one each two seconds.
            let (weir, _first, _second) =
                two(prefer, "limits = { requests_per_minute = 30 }", "1s").await;
            let refused = loop {
                let answer = chat("hi", false).send(weir.addr).await;
                if answer.status != 200 {
                    break answer;
                }
            };
            assert_eq!(
                (refused.status, refused.header("x-weir-class")),
                (429, "rate_limited_requests")
            );
            let told: u64 = refused.header("retry-after").parse().unwrap();
            assert!((1..=3).contains(&told), "{prefer}: {told}");
            assert_eq!(refused.header("x-weir-upstream"), "second");
            assert_eq!(refused.header("x-should-retry"), "true");
        }
    })
    .await;
}
