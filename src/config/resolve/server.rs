//! The sections that are plain values: `[server]`, `[retry]`, `[breaker]`, `[cache]`, `[limits]`, `[log]`.

use std::{path::PathBuf, time::Duration};

use crate::config::{
    AccessLog, Breaker, Cache, CachePolicy, CacheScope, Learning, Listen, Log, Remember, Retry,
    Server,
    effective::Origin,
    reader::Reader,
    units::{format_duration, format_size},
};

/// Long enough for a balancer that looks every few seconds to notice.
const DRAIN_DELAY: Duration = Duration::from_secs(5);

pub(super) fn server(reader: &Reader<'_>, listen: &Listen) -> Server {
    let bytes = |key| usize::try_from(reader.size(key)).unwrap_or(usize::MAX);
    // Nobody balances over a loopback address.
    let drain_delay = if listen.is_local() {
        Duration::ZERO
    } else {
        DRAIN_DELAY
    };
    Server {
        workers: reader.count_opt("workers").unwrap_or_else(|| {
            reader.note("workers", reader.walk.cores.to_string(), Origin::Default);
            reader.walk.cores
        }),
        max_connections: reader.count("max_connections").get(),
        max_inflight: reader.count("max_inflight").get(),
        max_body_bytes: bytes("max_body_bytes"),
        max_header_bytes: bytes("max_header_bytes"),
        header_timeout: reader.duration("header_timeout"),
        body_timeout: reader.duration("body_timeout"),
        timeout: reader.duration("timeout"),
        drain_delay: reader.duration_opt("drain_delay").unwrap_or_else(|| {
            reader.note(
                "drain_delay",
                format!("{:?}", format_duration(drain_delay)),
                Origin::Default,
            );
            drain_delay
        }),
        drain_timeout: reader.duration("drain_timeout"),
    }
}

pub(super) fn retry(reader: &Reader<'_>) -> Retry {
    let retry = Retry {
        max_attempts: reader.count("max_attempts"),
        base: reader.duration("base"),
        max: reader.duration("max"),
        budget: reader.share("budget"),
        max_wait: reader.duration("max_wait"),
    };
    ordered(reader, ("base", retry.base), ("max", retry.max));
    retry
}

pub(super) fn breaker(reader: &Reader<'_>) -> Breaker {
    let breaker = Breaker {
        window: reader.duration("window"),
        failure_ratio: reader.share("failure_ratio"),
        min_calls: reader.count("min_calls"),
        consecutive: reader.count("consecutive"),
        open_for: reader.duration("open_for"),
        open_for_max: reader.duration("open_for_max"),
        billing_probe: reader.duration("billing_probe"),
        billing_probe_max: reader.duration("billing_probe_max"),
    };
    ordered(
        reader,
        ("open_for", breaker.open_for),
        ("open_for_max", breaker.open_for_max),
    );
    ordered(
        reader,
        ("billing_probe", breaker.billing_probe),
        ("billing_probe_max", breaker.billing_probe_max),
    );
    breaker
}

/// `Some` even with policy `off`: a route may say otherwise.
pub(super) fn cache(reader: &Reader<'_>) -> Option<Cache> {
    let mut cache = Cache {
        policy: policy(reader, "policy").unwrap_or(CachePolicy::Off),
        ttl: reader.duration("ttl"),
        stale_if_error: reader.duration("stale_if_error"),
        max_bytes: reader.size("max_bytes"),
        max_entry_bytes: usize::try_from(reader.size("max_entry_bytes")).unwrap_or(usize::MAX),
        scope: match reader.word("scope") {
            Some("app") => CacheScope::App,
            Some("shared") => CacheScope::Shared,
            _ => CacheScope::Credential,
        },
    };
    if !reader.has("max_entry_bytes") {
        // The default gives way to a small store.
        let all = usize::try_from(cache.max_bytes).unwrap_or(usize::MAX);
        cache.max_entry_bytes = cache.max_entry_bytes.min(all);
    }
    if cache.max_entry_bytes as u64 > cache.max_bytes {
        let (entry, all) = (
            format_size(cache.max_entry_bytes as u64),
            format_size(cache.max_bytes),
        );
        let draft = reader.draft(
            "max_entry_bytes",
            "one entry may be larger than the whole store",
        );
        reader.walk.mistake(
            draft
                .found(entry)
                .accepted(format!("at most max_bytes, {all}")),
        );
    }
    Some(cache)
}

/// The cache policy under a key; `None`: absent.
pub(super) fn policy(reader: &Reader<'_>, key: &str) -> Option<CachePolicy> {
    reader.word(key).map(|word| match word {
        "identical" => CachePolicy::Identical,
        "off" => CachePolicy::Off,
        _ => CachePolicy::Deterministic,
    })
}

pub(super) fn log(reader: &Reader<'_>) -> Log {
    let level = reader.text_or_default("level");
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&level.value) {
        reader.refuse(
            "level",
            &level,
            &format!("`level` is no filter: {error}"),
            |draft| draft,
        );
    }
    Log {
        level: level.value,
        access: match place(reader, "access", "a log", ["stdout", "stderr", "off"]) {
            Err("stdout") => AccessLog::Stdout,
            Err("stderr") => AccessLog::Stderr,
            Err(_) => AccessLog::Off,
            Ok(path) => AccessLog::File(path),
        },
    }
}

pub(super) fn learning(reader: &Reader<'_>) -> Learning {
    Learning {
        remember: match place(reader, "remember", "what is learnt", ["auto", "off"]) {
            Err("auto") => Remember::Auto,
            Err(_) => Remember::Off,
            Ok(path) => Remember::File(path),
        },
        foreign_alert: Some(reader.share("foreign_alert")).filter(|share| *share > 0.0),
    }
}

/// A file's path, or (as the error) one of `words`. A path that looks like neither is a mistake.
fn place<const N: usize>(
    reader: &Reader<'_>,
    key: &str,
    what: &str,
    words: [&'static str; N],
) -> Result<PathBuf, &'static str> {
    let text = reader.text_or_default(key);
    let path = text.value.as_str();
    if let Some(word) = words.into_iter().find(|word| *word == path) {
        return Err(word);
    }
    if !path.contains(['/', '.']) {
        let near = crate::config::near::nearest(path, words);
        let message = format!(
            "`{key}` is no place for {what}: a file in this directory is written \"./{}\"",
            crate::config::source::scrub(path)
        );
        reader.refuse(key, &text, &message, |draft| draft.suggestion(near));
    }
    Ok(PathBuf::from(path))
}

/// Notes a mistake when the first is longer than the second.
fn ordered(reader: &Reader<'_>, (low, from): (&str, Duration), (high, to): (&str, Duration)) {
    if from > to {
        let draft = reader.draft(low, format!("`{low}` is longer than `{high}`"));
        let accepted = format!("at most `{high}`, {}", format_duration(to));
        reader
            .walk
            .mistake(draft.found(format_duration(from)).accepted(accepted));
    }
}
