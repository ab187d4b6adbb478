//! Identical calls at the same time are one upstream call.

use weir::sim::{Fault, Kind};

use crate::support::{Weir, chat, eventually, in_time, post, sim};

const IDENTICAL: &str = "[cache]\npolicy = \"identical\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_identical_calls_make_one_upstream_call() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        let ask = chat("the same [sim:delay-ms=1500]", false);
        let calls: Vec<_> = (0..500)
            .map(|_| {
                let (ask, addr) = (ask.clone(), weir.addr);
                tokio::spawn(async move { ask.send(addr).await })
            })
            .collect();
        let mut bodies = std::collections::HashSet::new();
        let mut words = std::collections::BTreeMap::new();
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!(answer.status, 200);
            *words.entry(answer.header("x-weir-cache").to_owned()).or_insert(0) += 1;
            bodies.insert(answer.body);
        }
        assert_eq!(first.control().stats().requests, 1);
        assert_eq!(bodies.len(), 1);
        assert_eq!(words.get("miss"), Some(&1), "{words:?}");
        assert_eq!(words.values().sum::<i32>(), 500);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_hanging_up_changes_nothing_for_the_others() {
    in_time(async {
        for stream in [false, true] {
            let first = sim().await;
            let weir = Weir::over(&first.base_url(), "[cache]\n");
            // Temperature 0 is deterministic enough for the default policy.
            let body = format!(
                r#"{{"model":"gpt-4o","temperature":0,"stream":{stream},"messages":[{{"role":"user","content":"same [sim:delay-ms=1200][sim:tokens=20][sim:event-ms=10]"}}]}}"#
            );
            let ask = post("/v1/chat/completions", body);
            let leader = {
                let (ask, addr) = (ask.clone(), weir.addr);
                tokio::spawn(async move { ask.send(addr).await })
            };
            eventually("the leader's call is under way", || first.control().stats().in_flight == 1).await;
            let followers: Vec<_> = (0..20)
                .map(|_| {
                    let (ask, addr) = (ask.clone(), weir.addr);
                    tokio::spawn(async move { ask.send(addr).await })
                })
                .collect();
            eventually("all are here", || weir.inflight() == 21).await;
            leader.abort();
            let mut bodies = std::collections::HashSet::new();
            for follower in followers {
                let answer = follower.await.unwrap();
                assert_eq!(answer.status, 200);
                assert!(!answer.broken && (!stream || answer.looks_complete()));
                bodies.insert(answer.body);
            }
            assert_eq!(bodies.len(), 1);
            assert_eq!(first.control().stats().requests, 1, "stream: {stream}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_who_share_a_call_have_left_it_ends_upstream() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault::of(Kind::Hang)).unwrap();
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        let calls: Vec<_> = (0..5)
            .map(|_| {
                let addr = weir.addr;
                tokio::spawn(async move { chat("same", false).send(addr).await })
            })
            .collect();
        eventually("the call is under way", || first.control().stats().in_flight == 1 && weir.inflight() == 5).await;
        for call in calls {
            call.abort();
        }
        eventually("nothing runs upstream", || first.control().stats().in_flight == 0).await;
        eventually("nothing runs here", || weir.inflight() == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_differ_or_come_from_other_credentials_share_nothing() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::over(&first.base_url(), IDENTICAL);
        let asks = [
            chat("a [sim:delay-ms=300]", false),
            chat("b [sim:delay-ms=300]", false),
            chat("a [sim:delay-ms=300]", false).header("authorization", "Bearer sk-another-caller"),
        ];
        let calls: Vec<_> = asks
            .into_iter()
            .map(|ask| {
                let addr = weir.addr;
                tokio::spawn(async move { ask.send(addr).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().header("x-weir-cache"), "miss");
        }
        assert_eq!(first.control().stats().requests, 3);
    })
    .await;
}
