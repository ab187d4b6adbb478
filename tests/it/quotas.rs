//! An app's quota: waited for, settled to what was used, and told from the provider's limits.

use std::time::Duration;

use tokio::time::Instant;
use weir::config::hash_key;

use crate::support::{
    Answer, Ask, Weir, chat, eventually,
    gateway::{config, upstream},
    in_time, post, sim,
};

const ROUTE: &str = "[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n";

fn app(name: &str, more: &str) -> String {
    let hash = blake3::Hash::from(hash_key(&format!("wk-{name}"))).to_hex();
    format!("[[app]]\nname = \"{name}\"\nkey = \"blake3:{hash}\"\n{more}\n")
}

fn by(name: &str, words: &str) -> Ask {
    chat(words, false).header("authorization", &format!("Bearer wk-{name}"))
}

/// A call that declares `max` tokens of output and is answered with `tokens`.
fn declared(name: &str, max: u32, tokens: u32) -> Ask {
    let body = format!(
        r#"{{"model":"gpt-4o","max_tokens":{max},"messages":[{{"role":"user","content":"[sim:tokens={tokens}]"}}]}}"#
    );
    post("/v1/chat/completions", body).header("authorization", &format!("Bearer wk-{name}"))
}

/// What every refusal for a quota looks like to an SDK.
fn assert_own_quota(answer: &Answer, app: &str, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (429, code));
    let error = answer.json()["error"].clone();
    assert_eq!(error["type"], "weir_error");
    let message = error["message"].as_str().unwrap();
    for words in [app, "own quota in weir", "not a limit of the provider's"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(answer.header("x-weir-class"), code);
    assert!(answer.header("x-weir-advice").contains("[[app]]"));
    assert_eq!(answer.header("x-weir-attempts"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_beyond_the_quota_waits_and_says_so() {
    in_time(async {
        let first = sim().await;
        // Fifty at once, then five each second.
        let weir = Weir::start(&format!(
            "{}{ROUTE}{}",
            upstream("first", &first.base_url(), ""),
            app("shop", "requests_per_minute = 300")
        ));
        let calls: Vec<_> = (0..54)
            .map(|index| {
                let addr = weir.addr;
                tokio::spawn(async move { by("shop", &format!("call {index}")).send(addr).await })
            })
            .collect();
        let mut waits = Vec::new();
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            waits.push(answer.header("x-weir-wait-ms").parse::<u64>().unwrap());
        }
        assert!(waits.iter().max() > Some(&400), "{waits:?}");
        assert!(weir.metric("weir_quota_wait_seconds_count", &["app=\"shop\""]) >= 1.0);
        let view = weir.gateway().parts().quotas.views().remove(0);
        assert_eq!((view.app.as_str(), view.waiting), ("shop", 0));
        assert_eq!(
            (view.allowances[0].used, view.allowances[0].remaining),
            (54, 246)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_in_vain_is_not_begun() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}{}[retry]\nmax_wait = \"1s\"\n",
            upstream("first", &first.base_url(), ""),
            app("shop", "requests_per_minute = 2")
        ));
        assert_eq!(by("shop", "one").send(weir.addr).await.status, 200);
        let began = Instant::now();
        let refused = by("shop", "two").send(weir.addr).await;
        assert_own_quota(&refused, "shop", "app_quota_requests");
        assert!(began.elapsed() < Duration::from_secs(5));
        let told: u64 = refused.header("retry-after").parse().unwrap();
        assert!((25..=30).contains(&told), "one each thirty seconds: {told}");
        assert_eq!(refused.header("x-should-retry"), "true");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_declared_and_not_used_are_given_back() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}{}",
            upstream("first", &first.base_url(), ""),
            app("shop", "tokens_per_minute = 1200\non_limit = \"reject\"")
        ));
        // Each reserves nearly all of it and uses some twenty.
        for _ in 0..10 {
            let answer = declared("shop", 900, 10).send(weir.addr).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let used = || weir.gateway().parts().quotas.views()[0].allowances[0].used;
        assert!((100..300).contains(&used()), "{}", used());
        // A call that fails costs none.
        let before = used();
        assert_eq!(declared("shop", 0, 10).send(weir.addr).await.status, 400);
        assert_eq!(used(), before);
        // One that can never go is told so.
        let answer = declared("shop", 1_300, 10).send(weir.addr).await;
        assert_own_quota(&answer, "shop", "app_quota_tokens");
        assert_eq!(
            (
                answer.header("x-should-retry"),
                answer.header("retry-after")
            ),
            ("false", "")
        );
        assert!(answer.header("x-weir-advice").contains("larger"));
        // What is used beyond the declaration is owed.
        let answer = by("shop", "[sim:tokens=2000]").send(weir.addr).await;
        assert_eq!(answer.status, 200);
        let answer = by("shop", "hi").send(weir.addr).await;
        assert_own_quota(&answer, "shop", "app_quota_tokens");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_tokens_are_settled_when_it_ends() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}{}",
            upstream("first", &first.base_url(), ""),
            app("shop", "tokens_per_minute = 1000")
        ));
        let body = r#"{"model":"gpt-4o","stream":true,"max_tokens":900,"messages":[{"role":"user","content":"[sim:tokens=20][sim:event-ms=40]"}]}"#;
        let stream = post("/v1/chat/completions", body).header("authorization", "Bearer wk-shop");
        let mut live = stream.live(weir.addr).await.unwrap();
        live.next().await.unwrap().unwrap();
        let used = || weir.gateway().parts().quotas.views()[0].allowances[0].used;
        assert!(used() > 900);
        // It waits for the stream's end, not for a minute.
        let addr = weir.addr;
        let next = tokio::spawn(async move { declared("shop", 900, 5).send(addr).await });
        eventually("it waits", || weir.gateway().parts().quotas.views()[0].waiting == 1).await;
        assert!(!live.whole().await.broken);
        assert_eq!(next.await.unwrap().status, 200);
        eventually("all is settled", || used() < 200).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_is_used_up_is_told_and_no_reload_refills_it() {
    in_time(async {
        let first = sim().await;
        let text = |tokens: u32| {
            format!(
                "{}{ROUTE}{}",
                upstream("first", &first.base_url(), ""),
                app("shop", &format!("tokens_per_day = {tokens}"))
            )
        };
        let weir = Weir::start(&text(300));
        let answer = by("shop", "[sim:tokens=400]").send(weir.addr).await;
        assert_eq!(answer.status, 200);
        for tokens in [300, 301] {
            let answer = by("shop", "hi").send(weir.addr).await;
            // Unless midnight is near, nobody waits for it, and no SDK is asked to.
            if answer.status == 200 {
                return;
            }
            assert_own_quota(&answer, "shop", "app_quota_tokens_day");
            let told: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=86_400).contains(&told), "{told}");
            let soon = if told <= 61 { "true" } else { "false" };
            assert_eq!(answer.header("x-should-retry"), soon);
            weir.gateway().reload(config(&text(tokens)));
        }
        weir.gateway().reload(config(&text(1_000)));
        eventually("the new number is in force", || {
            weir.gateway().parts().quotas.views()[0].allowances[0].quota == 1_000
        })
        .await;
        let saved = weir.gateway().parts().quotas.saved();
        assert!(saved.apps[0].tokens >= 400, "{saved:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_waiting_for_the_quota_is_gone_at_once() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::start(&format!(
            "{}{ROUTE}{}",
            upstream("first", &first.base_url(), ""),
            app("shop", "concurrency = 1")
        ));
        let stream = chat("long [sim:tokens=5000][sim:event-ms=50]", true)
            .header("authorization", "Bearer wk-shop");
        let mut holder = stream.live(weir.addr).await.unwrap();
        holder.next().await.unwrap().unwrap();
        let waiting = || weir.gateway().parts().quotas.views()[0].waiting;
        let addr = weir.addr;
        let calls: Vec<_> = (0..10)
            .map(|_| tokio::spawn(async move { by("shop", "waits").send(addr).await }))
            .collect();
        eventually("they wait", || waiting() == 10).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        eventually("they have left", || waiting() == 0).await;
        let last = tokio::spawn(async move { by("shop", "last").send(addr).await });
        eventually("one waits", || waiting() == 1).await;
        drop(holder);
        assert_eq!(last.await.unwrap().status, 200);
        assert_eq!(
            first.control().stats().requests,
            2,
            "nobody was called for who had left"
        );
    })
    .await;
}
