//! `weir check`: reads the configuration and says what it means, or all that is wrong with it.
//! Offline: no provider is asked.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use serde_json::json;

use crate::config::{
    App, CachePolicy, Config, Effective, LoadOptions, Loaded, Mistakes, OnLimit, Prefer,
    RouteTarget, Upstream, UpstreamKey,
};

/// Exit code of a bad configuration (`EX_USAGE` of sysexits.h).
pub const BAD_CONFIG: u8 = 64;

/// Apps named in the summary.
const MOST_APPS: usize = 50;

/// Checks the configuration without starting anything.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Answers in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Exit code 0, or 64 when the configuration is wrong. `config`: the global `--config`.
pub fn run(args: &Args, config: Option<PathBuf>) -> ExitCode {
    match Config::load_with_origins(&LoadOptions::of_process(config)) {
        Ok(loaded) if args.json => print(&format!("{:#}", to_json(&loaded))),
        Ok(loaded) => {
            for warning in &loaded.warnings {
                complain(&format!("{warning}\n"));
            }
            print(summary(&loaded).trim_end())
        }
        Err(mistakes) => fail(&mistakes, args.json),
    }
}

/// Shows what is wrong, on stderr (JSON: on stdout), and gives the exit code.
pub fn fail(mistakes: &Mistakes, as_json: bool) -> ExitCode {
    if as_json {
        print(&format!("{:#}", mistakes.to_json()));
    } else {
        complain(&mistakes.to_string());
    }
    ExitCode::from(BAD_CONFIG)
}

/// Writes a line to stdout. A reader that has left (`| head`) is no failure.
pub(crate) fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

pub(crate) fn complain(text: &str) {
    // Nobody is left to be told when stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn summary(loaded: &Loaded) -> String {
    use std::fmt::Write as _;
    let config = &loaded.config;
    let source = config.source.as_ref().map_or_else(
        || "built-in defaults".to_owned(),
        |path| path.display().to_string(),
    );
    let mut text = format!("ok: {source}\n");
    let admin = config
        .admin
        .as_ref()
        .map_or_else(|| "off".to_owned(), ToString::to_string);
    let _ = writeln!(
        text,
        "  apps connect to {}, operators to {admin}",
        config.listen
    );
    for upstream in &config.upstreams {
        let key = key_source(upstream, &loaded.effective);
        let _ = writeln!(
            text,
            "  upstream {} ({}) at {}, key: {key}",
            upstream.name, upstream.provider.name, upstream.base_url
        );
    }
    for route in &config.routes {
        let targets: Vec<_> = route.targets.iter().map(target).collect();
        let soonest = match route.prefer {
            Prefer::Order => "",
            Prefer::Soonest => ", whichever is free soonest",
        };
        let _ = writeln!(
            text,
            "  route {} -> {}{soonest}",
            route.models.join(", "),
            targets.join(", ")
        );
    }
    apps(&mut text, &config.apps);
    let cache = match config.cache.as_ref().map(|cache| cache.policy) {
        None => "off",
        Some(CachePolicy::Off) => "off, but for some routes",
        Some(CachePolicy::Deterministic) => "deterministic",
        Some(CachePolicy::Identical) => "identical",
    };
    let _ = writeln!(text, "  cache: {cache}");
    if let Some(to) = &config.alerts {
        let signed = if to.secret.is_some() { "" } else { "not " };
        let _ = writeln!(
            text,
            "  alerts go to {}, as {}, {signed}signed",
            to.webhook.host(),
            to.format.as_str()
        );
    }
    text
}

fn to_json(loaded: &Loaded) -> serde_json::Value {
    let config = &loaded.config;
    json!({
        "ok": true,
        "file": config.source,
        "listen": config.listen.to_string(),
        "admin": config.admin.as_ref().map(ToString::to_string),
        "upstreams": config.upstreams.iter().map(|upstream| json!({
            "name": &*upstream.name,
            "provider": &*upstream.provider.name,
            "base_url": upstream.base_url.to_string(),
            "key": key_source(upstream, &loaded.effective),
        })).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(|route| json!({
            "name": &*route.name,
            "models": route.models,
            "targets": route.targets.iter().map(target).collect::<Vec<_>>(),
            "prefer": match route.prefer {
                Prefer::Order => "order",
                Prefer::Soonest => "soonest",
            },
        })).collect::<Vec<_>>(),
        "apps": config.apps.iter().map(|app| &*app.name).collect::<Vec<_>>(),
        "quotas": config.apps.iter().filter(|app| quota(app).is_some()).map(|app| json!({
            "app": &*app.name,
            "requests_per_minute": app.requests_per_minute,
            "tokens_per_minute": app.tokens_per_minute,
            "tokens_per_day": app.tokens_per_day,
            "concurrency": app.concurrency,
            "on_limit": match app.on_limit {
                OnLimit::Wait => "wait",
                OnLimit::Reject => "reject",
            },
        })).collect::<Vec<_>>(),
        "alerts": config.alerts.as_ref().map(|to| json!({
            "host": to.webhook.host(),
            "format": to.format.as_str(),
            "signed": to.secret.is_some(),
        })),
        "warnings": loaded.warnings.iter().map(|warning| warning.0.to_json()).collect::<Vec<_>>(),
    })
}

fn apps(text: &mut String, apps: &[Arc<App>]) {
    use std::fmt::Write as _;
    let (shown, others) = apps.split_at(apps.len().min(MOST_APPS));
    let names: Vec<_> = shown.iter().map(|app| &*app.name).collect();
    let more = match others.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let _ = match names.as_slice() {
        [] => writeln!(text, "  apps: none named, every caller is let in"),
        names => writeln!(text, "  apps: {}{more}", names.join(", ")),
    };
    for app in shown {
        if let Some(quota) = quota(app) {
            let _ = writeln!(text, "  quota of {}: {quota}", app.name);
        }
    }
}

/// An app's numbers, and what becomes of calls beyond them; `None`: it has none.
fn quota(app: &App) -> Option<String> {
    let mut numbers: Vec<_> = [
        (app.requests_per_minute, "requests per minute"),
        (app.tokens_per_minute, "tokens per minute"),
        (app.concurrency, "calls at once"),
    ]
    .into_iter()
    .filter_map(|(number, of)| Some(format!("{} {of}", number?)))
    .collect();
    numbers.extend(
        app.tokens_per_day
            .map(|number| format!("{number} tokens per day")),
    );
    let then = match app.on_limit {
        OnLimit::Wait => "calls beyond it wait",
        OnLimit::Reject => "calls beyond it are refused",
    };
    (!numbers.is_empty()).then(|| format!("{}; {then}", numbers.join(", ")))
}

/// Where the key comes from; never the key.
fn key_source(upstream: &Upstream, effective: &Effective) -> String {
    match &upstream.key {
        UpstreamKey::Passthrough => "the caller's own".to_owned(),
        UpstreamKey::None => "none".to_owned(),
        UpstreamKey::Held(_) => effective
            .key_origin(usize::from(upstream.id.0))
            .map_or_else(|| "held".to_owned(), |origin| format!("from {origin}")),
    }
}

fn target(target: &RouteTarget) -> String {
    match &target.model {
        Some(model) => format!("{}:{model}", target.upstream.name),
        None => target.upstream.name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::Env;

    fn loaded(text: &str, env: &[(&str, &str)]) -> Loaded {
        let dir = std::env::temp_dir().join(format!("weir-check-{}", fastrand::u64(..)));
        std::fs::create_dir_all(&dir).expect("a directory");
        let file = dir.join("weir.toml");
        std::fs::write(&file, text).expect("a file");
        let options = LoadOptions {
            file: Some(file),
            search: Vec::new(),
            env: env.iter().copied().collect::<Env>(),
            cores: NonZeroU32::MIN,
        };
        let loaded = Config::load_with_origins(&options).expect("a sound file");
        std::fs::remove_dir_all(&dir).expect("the directory goes");
        loaded
    }

    #[test]
    fn the_summary_names_the_variable_of_a_key_and_never_the_key() {
        let text = "[[upstream]]\nname = \"openai\"\napi_key = \"${MY_KEY}\"\n[[upstream]]\nname = \"mistral\"\n\
                    [[route]]\nmodels = [\"gpt-*\"]\ntargets = [\"openai\", \"mistral:mistral-small\"]\n\
                    [alerts]\nwebhook = \"https://hooks.slack.com/services/secret\"\nsecret = \"secret\"\n";
        let loaded = loaded(
            text,
            &[
                ("MY_KEY", "sk-verysecret"),
                ("MISTRAL_API_KEY", "alsosecret"),
            ],
        );
        let (text, json) = (summary(&loaded), to_json(&loaded).to_string());
        assert!(text.contains("key: from $MY_KEY"), "{text}");
        assert!(text.contains("key: from $MISTRAL_API_KEY"), "{text}");
        assert!(
            text.contains("route gpt-* -> openai, mistral:mistral-small"),
            "{text}"
        );
        assert!(
            text.contains("alerts go to hooks.slack.com, as slack, signed"),
            "{text}"
        );
        for shown in [text, json] {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn the_summary_tells_quotas_and_how_targets_are_chosen() {
        let text = "[[upstream]]\nname = \"a\"\nprovider = \"ollama\"\n[[upstream]]\nname = \"b\"\nprovider = \"vllm\"\n\
                    [[route]]\nmodels = [\"*\"]\ntargets = [\"a\", \"b\"]\nprefer = \"soonest\"\n\
                    [[app]]\nname = \"search\"\nkey = \"blake3:92dad9443e4dd6d70a7f11872101ebff87e21798e4fbb26fa4bf590eb440e71b\"\n\
                    requests_per_minute = 600\ntokens_per_day = 5000\non_limit = \"reject\"\n";
        let loaded = loaded(text, &[]);
        let (text, json) = (summary(&loaded), to_json(&loaded));
        for words in [
            "route * -> a, b, whichever is free soonest",
            "quota of search: 600 requests per minute, 5000 tokens per day; calls beyond it are refused",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(json["routes"][0]["prefer"], "soonest");
        assert_eq!(json["quotas"][0]["requests_per_minute"], 600);
        assert_eq!(json["quotas"][0]["concurrency"], serde_json::Value::Null);
    }
}
