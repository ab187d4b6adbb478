//! What a sound text becomes.

use std::{num::NonZeroU64, time::Duration};

use super::{read, sound};
use crate::{
    config::{
        CachePolicy, Config, Env, Learning, Limit, Listen, LoadOptions, OnLimit, Prefer, Priority,
        Remember, UpstreamKey, hash_key,
    },
    limits::Kind,
};

#[test]
fn no_file_proxies_to_openai_with_the_callers_key() {
    let config = sound("", &[]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8484");
    assert_eq!(
        config.admin.as_ref().map(ToString::to_string).as_deref(),
        Some("127.0.0.1:8485")
    );
    let [upstream] = config.upstreams.as_slice() else {
        panic!("one upstream")
    };
    assert_eq!(upstream.base_url, "https://api.openai.com/v1");
    assert_eq!(upstream.key, UpstreamKey::Passthrough);
    let [route] = config.routes.as_slice() else {
        panic!("one route")
    };
    assert!(route.matcher.is_match("org/any-model:latest"));
    assert_eq!(config.server.workers.get(), 2);
    assert_eq!(config.server.drain_delay, Duration::ZERO);
    assert!(config.cache.is_some() && config.apps.is_empty());
    assert_eq!(config.limits, Learning::default());
    assert_eq!(config.routes[0].prefer, Prefer::Order);
}

#[test]
fn openai_passes_the_callers_key_even_when_its_variable_is_set() {
    let config = sound("", &[("OPENAI_API_KEY", "sk-held")]);
    assert_eq!(config.upstreams[0].key, UpstreamKey::Passthrough);
}

#[test]
fn values_reach_their_places() {
    let config = sound(
        r#"
listen = "unix:/run/weir.sock"
admin = { listen = "off" }
[[upstream]]
name = "box"
provider = "openai-compatible"
base_url = "${SCHEME:-http}://box.local:9000/api/v1/"
api_key = "${BOX_KEY}"
organization = "org-1"
headers = { X-Team = "search" }
connect_timeout = "250ms"
limits = { requests_per_minute = 60, concurrency = "auto", input_tokens_per_minute = 61, output_tokens_per_minute = 62, images_per_minute = 63, requests_per_day = 64, tokens_per_day = 65 }
[[route]]
name = "all"
models = ["*"]
targets = ["box:qwen3:8b", "box"]
cache = "off"
timeout = "2m"
prefer = "soonest"
[limits]
remember = "./limits.json"
foreign_alert = 0
[[app]]
name = "jobs"
key = "blake3:92dad9443e4dd6d70a7f11872101ebff87e21798e4fbb26fa4bf590eb440e71b"
tokens_per_day = 5_000_000_000
priority = "batch"
weight = 3
on_limit = "reject"
[retry]
max_attempts = 1
budget = 0
[cache]
policy = "identical"
max_bytes = "64MB"
max_entry_bytes = 4096
[log]
access = "./weir.log"
"#,
        &[("BOX_KEY", " sk-box\n")],
    );
    assert_eq!(config.listen, Listen::Unix("/run/weir.sock".into()));
    assert_eq!(config.admin, None);
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.base_url, "http://box.local:9000/api/v1");
    assert_eq!(
        upstream.provider.base_url.as_deref(),
        Some("http://box.local:9000/api/v1")
    );
    let UpstreamKey::Held(key) = &upstream.key else {
        panic!("a key")
    };
    assert_eq!(key.expose(), "sk-box");
    assert_eq!(upstream.headers[0].0, "x-team");
    assert_eq!(upstream.connect_timeout, Duration::from_millis(250));
    assert_eq!(
        upstream.limits.requests_per_minute,
        Limit::Fixed(60.try_into().expect("60"))
    );
    assert_eq!(upstream.limits.concurrency, Limit::Auto);
    let others = [
        Kind::InputTokens,
        Kind::OutputTokens,
        Kind::Images,
        Kind::RequestsPerDay,
        Kind::TokensPerDay,
    ];
    for (kind, number) in others.into_iter().zip(61..) {
        let set = std::num::NonZeroU32::new(number).map(Limit::Fixed);
        assert_eq!(Some(upstream.limits.of(kind)), set, "{kind}");
    }
    assert_eq!(config.routes[0].prefer, Prefer::Soonest);
    let app = &config.apps[0];
    assert_eq!(
        (
            app.tokens_per_day.map(NonZeroU64::get),
            app.weight.get(),
            app.on_limit,
            app.priority
        ),
        (Some(5_000_000_000), 3, OnLimit::Reject, Priority::Batch)
    );
    assert_eq!(
        config.limits,
        Learning {
            remember: Remember::File("./limits.json".into()),
            foreign_alert: None
        }
    );
    let route = &config.routes[0];
    let models: Vec<_> = route
        .targets
        .iter()
        .map(|target| target.model.as_deref())
        .collect();
    assert_eq!(models, [Some("qwen3:8b"), None]);
    assert_eq!(
        (route.cache_policy, route.timeout),
        (Some(CachePolicy::Off), Some(Duration::from_secs(120)))
    );
    assert_eq!(
        (config.retry.max_attempts.get(), config.retry.budget),
        (1, 0.0)
    );
    let cache = config.cache.expect("a cache");
    assert_eq!((cache.max_bytes, cache.max_entry_bytes), (64_000_000, 4096));
}

#[test]
fn a_vendor_takes_its_usual_variable_and_a_local_server_needs_none() {
    let text = "[[upstream]]\nname = 'groq'\n[[upstream]]\nname = 'ollama'\n[[route]]\nmodels = ['*']\ntargets = ['groq', 'ollama']";
    let config = sound(text, &[("GROQ_API_KEY", "gsk_x")]);
    assert!(matches!(&config.upstreams[0].key, UpstreamKey::Held(key) if key.expose() == "gsk_x"));
    assert_eq!(config.upstreams[1].key, UpstreamKey::None);
}

#[test]
fn variables_of_the_environment_win_over_the_file() {
    let text = "[[upstream]]\nname = 'my-box'\nprovider = 'vllm'\nbase_url = 'http://a/v1'\n[retry]\nmax_attempts = 3";
    let config = sound(
        text,
        &[
            ("WEIR__LISTEN", "127.0.0.1:9000"),
            ("WEIR__ADMIN__LISTEN", "off"),
            ("WEIR__RETRY__MAX_ATTEMPTS", "7"),
            ("WEIR__CACHE__TTL", "5m"),
            ("WEIR__UPSTREAM__MY_BOX__BASE_URL", "http://b/v1"),
            ("WEIR__UPSTREAM__0__API_KEY", "sk-${literal}"),
            ("WEIR__UPSTREAM__MY_BOX__LIMITS__CONCURRENCY", "4"),
            ("WEIR__UPSTREAM__MY_BOX__HEADERS__X_TEAM", "search"),
        ],
    );
    assert_eq!(
        (config.listen.to_string().as_str(), config.admin),
        ("127.0.0.1:9000", None)
    );
    assert_eq!(config.retry.max_attempts.get(), 7);
    assert_eq!(
        config.cache.map(|cache| cache.ttl),
        Some(Duration::from_secs(300))
    );
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.base_url, "http://b/v1");
    assert!(matches!(&upstream.key, UpstreamKey::Held(key) if key.expose() == "sk-${literal}"));
    assert_eq!(
        upstream.limits.concurrency,
        Limit::Fixed(4.try_into().expect("4"))
    );
    assert_eq!(upstream.headers[0].0, "x-team");
}

#[test]
fn the_built_in_upstream_can_be_overridden_without_a_file() {
    let config = sound("", &[("WEIR__UPSTREAM__OPENAI__API_KEY", "sk-held")]);
    assert!(matches!(config.upstreams[0].key, UpstreamKey::Held(_)));
}

#[test]
fn lists_come_from_variables_with_commas_or_as_toml() {
    let text = "[[upstream]]\nname = 'openai'\n[[route]]\nmodels = ['x']\ntargets = ['openai']";
    for list in ["a, b-*", "[\"a\", 'b-*']"] {
        let config = sound(text, &[("WEIR__ROUTE__0__MODELS", list)]);
        assert_eq!(config.routes[0].models, ["a", "b-*"], "{list}");
    }
}

#[test]
fn the_cache_is_off_only_when_no_route_wants_it() {
    let route = "[[route]]\nmodels = ['*']\ntargets = ['openai']\n";
    assert!(
        sound(&format!("{route}[cache]\npolicy = 'off'"), &[])
            .cache
            .is_none()
    );
    let config = sound(
        &format!("{route}cache = 'identical'\n[cache]\npolicy = 'off'"),
        &[],
    );
    assert_eq!(
        config.cache.map(|cache| cache.policy),
        Some(CachePolicy::Off)
    );
}

#[test]
fn held_keys_on_an_open_listener_are_fine_with_apps() {
    let hash = blake3::Hash::from(hash_key("wk-1")).to_hex();
    let text = format!(
        "listen = '0.0.0.0:8484'\n[[upstream]]\nname = 'openai'\napi_key = 'sk-1'\n[[app]]\nname = 'a'\nkey = 'blake3:{hash}'"
    );
    let config = sound(&text, &[]);
    assert_eq!(config.apps[0].key_hash, hash_key("wk-1"));
    assert_eq!(
        (config.apps[0].id.0, config.server.drain_delay),
        (1, Duration::from_secs(5))
    );
}

#[test]
fn rules_of_the_user_reach_the_provider() {
    let text = "[[upstream]]\nname = 'openai'\n[[upstream.rule]]\nid = 'mine'\nclass = 'overloaded'\nwhen = { status = [418] }\n";
    let debug = format!("{:?}", read(text, &[]));
    assert!(debug.contains("mine"), "{debug}");
}

#[test]
fn a_named_file_wins_over_the_variable_and_that_over_the_search() {
    let options = |file: Option<&str>, env: &[(&str, &str)]| LoadOptions {
        file: file.map(Into::into),
        search: vec!["/nonexistent/weir.toml".into(), "/".into()],
        env: env.iter().copied().collect::<Env>(),
        cores: std::num::NonZeroU32::MIN,
    };
    let env = [("WEIR_CONFIG", "b.toml")];
    assert_eq!(
        options(Some("a.toml"), &env).chosen_file(),
        Some("a.toml".into())
    );
    assert_eq!(options(None, &env).chosen_file(), Some("b.toml".into()));
    assert_eq!(options(None, &[]).chosen_file(), Some("/".into()));
    let missing = Config::load(&options(Some("/nonexistent/x.toml"), &[])).expect_err("a mistake");
    assert!(
        missing.to_string().contains("there is no such file"),
        "{missing}"
    );
}
