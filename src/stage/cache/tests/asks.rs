//! Who gets a stored answer, when, and by whose wish.

use super::*;

const IF_CACHED: CacheDirectives = CacheDirectives {
    only_if_cached: true,
    no_store: false,
    no_cache: false,
    max_age: None,
    min_fresh: None,
    max_stale: None,
    force: false,
};

#[tokio::test(start_paused = true)]
async fn two_credentials_never_share_an_answer_unless_told_to() {
    for (scope, second) in [
        (CacheScope::Credential, CacheStatus::Miss),
        (CacheScope::App, CacheStatus::Hit),
        (CacheScope::Shared, CacheStatus::Hit),
    ] {
        let bench = Bench::with(config::Cache { scope, ..config() }, plain);
        bench.get(by(1, CHAT)).await;
        assert_eq!(bench.get(by(2, CHAT)).await.0, second, "{scope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn apps_share_only_under_the_shared_scope() {
    for (scope, second) in [
        (CacheScope::App, CacheStatus::Miss),
        (CacheScope::Shared, CacheStatus::Hit),
    ] {
        let bench = Bench::with(config::Cache { scope, ..config() }, plain);
        bench.get(call(CHAT)).await;
        assert_eq!(
            bench
                .get(Call {
                    app: app(1),
                    ..call(CHAT)
                })
                .await
                .0,
            second,
            "{scope:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_policy_does_not_want_passes_by() {
    let warm = CHAT.replace("\"temperature\":0", "\"temperature\":1");
    let bench = Bench::new(plain);
    let reply = bench.send(call(&warm)).await.unwrap();
    assert_eq!(
        (reply.learnt.cache, &reply.headers["cache-status"]),
        (
            CacheStatus::Bypass,
            &HeaderValue::from_static("weir; fwd=bypass")
        )
    );
    let stored = CHAT.replace("\"temperature\":0", "\"temperature\":0,\"store\":true");
    for body in [warm.as_str(), &stored, "not json"] {
        assert_eq!(bench.get(call(body)).await.0, CacheStatus::Bypass, "{body}");
    }
    let forced = CacheDirectives {
        force: true,
        ..CacheDirectives::default()
    };
    bench.get(asking(&warm, forced)).await;
    assert_eq!(
        bench.get(asking(&warm, forced)).await.0,
        CacheStatus::Hit,
        "the caller's wish goes before the policy"
    );

    let identical = Bench::with(
        config::Cache {
            policy: CachePolicy::Identical,
            ..config()
        },
        plain,
    );
    identical.get(call(&warm)).await;
    assert_eq!(identical.get(call(&warm)).await.0, CacheStatus::Hit);
    let stateful = r#"{"model":"gpt-4o","input":"hi","previous_response_id":"resp_1"}"#;
    assert_eq!(
        identical
            .get(call_to(Endpoint::Responses, stateful))
            .await
            .0,
        CacheStatus::Bypass
    );
}

#[tokio::test(start_paused = true)]
async fn request_directives_are_obeyed() {
    let bench = Bench::new(plain);
    let ask = |directives| asking(CHAT, directives);
    let none = CacheDirectives::default();
    let seconds = |s| Some(Duration::from_secs(s));
    let missing = bench.send(ask(IF_CACHED)).await.unwrap_err();
    assert_eq!(
        (missing.class(), missing.status(), bench.calls()),
        ("not_cached", StatusCode::GATEWAY_TIMEOUT, 0)
    );

    let no_store = CacheDirectives {
        no_store: true,
        no_cache: true,
        ..none
    };
    assert_eq!(bench.get(ask(no_store)).await.0, CacheStatus::Bypass);
    assert_eq!(
        bench.get(call(CHAT)).await.0,
        CacheStatus::Miss,
        "no-store has stored nothing"
    );
    assert_eq!(bench.get(ask(IF_CACHED)).await.0, CacheStatus::Hit);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(
        bench
            .get(ask(CacheDirectives {
                max_age: seconds(10),
                ..none
            }))
            .await
            .0,
        CacheStatus::Hit
    );
    assert_eq!(
        bench
            .get(ask(CacheDirectives {
                min_fresh: seconds(50),
                ..none
            }))
            .await
            .0,
        CacheStatus::Hit
    );
    assert_eq!(
        bench
            .get(ask(CacheDirectives {
                max_age: seconds(9),
                ..none
            }))
            .await
            .0,
        CacheStatus::Miss
    );
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(
        bench
            .get(ask(CacheDirectives {
                min_fresh: seconds(51),
                ..none
            }))
            .await
            .0,
        CacheStatus::Miss
    );
    tokio::time::advance(Duration::from_secs(10)).await;
    let refreshed = bench
        .send(ask(CacheDirectives {
            no_cache: true,
            ..none
        }))
        .await
        .unwrap();
    assert_eq!(
        refreshed.headers["cache-status"],
        "weir; fwd=request; stored"
    );
    let after = bench.send(call(CHAT)).await.unwrap();
    assert_eq!(
        (after.learnt.cache, after.learnt.age),
        (CacheStatus::Hit, Some(Duration::ZERO)),
        "a refresh is kept"
    );

    tokio::time::advance(Duration::from_secs(65)).await;
    assert_eq!(
        bench
            .get(ask(CacheDirectives {
                max_stale: seconds(5),
                ..none
            }))
            .await
            .0,
        CacheStatus::Stale
    );
    assert_eq!(
        bench
            .get(ask(CacheDirectives {
                max_stale: seconds(4),
                ..none
            }))
            .await
            .0,
        CacheStatus::Miss
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_goes_out_only_when_the_provider_fails() {
    let class = Arc::new(std::sync::Mutex::new(None));
    let inner = Arc::clone(&class);
    let bench = Bench::new(move |_| match *inner.lock().unwrap() {
        None => now(Ok(whole(ANSWER))),
        Some(class) => now(Err(failure(class))),
    });
    bench.get(call(CHAT)).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    *class.lock().unwrap() = Some(Class::InvalidRequest);
    assert_eq!(
        bench.send(call(CHAT)).await.unwrap_err().class(),
        "invalid_request"
    );
    *class.lock().unwrap() = Some(Class::ServerError);
    let stale = bench.send(call(CHAT)).await.unwrap();
    assert_eq!(
        (stale.learnt.cache, stale.learnt.warnings.len()),
        (CacheStatus::Stale, 1)
    );
    assert_eq!(stale.headers["age"], "61");
    assert_eq!(
        stale.headers["cache-status"],
        "weir; hit; ttl=-1; detail=stale"
    );
    let no_cache = CacheDirectives {
        no_cache: true,
        ..CacheDirectives::default()
    };
    assert!(
        bench.send(asking(CHAT, no_cache)).await.is_err(),
        "who refuses stored answers gets none"
    );
    tokio::time::advance(Duration::from_secs(600)).await;
    assert!(
        bench.send(call(CHAT)).await.is_err(),
        "emergency stock does not last for ever"
    );
    *class.lock().unwrap() = None;
    assert_eq!(
        bench.get(call(CHAT)).await.0,
        CacheStatus::Miss,
        "past its time it is no hit"
    );
}
