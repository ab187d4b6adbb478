//! Who is under way, who waits and who was refused, in words; and words in lines.

use std::time::{Duration, SystemTime};

use super::{
    numbers::{time, whole},
    table::Paint,
};
use crate::{
    limits::{ConcurrencyView, QueueView, RefusalView},
    stage::quota::{AllowanceView, QuotaView},
};

pub(super) fn in_flight(concurrency: ConcurrencyView) -> (Paint, String) {
    let text = match concurrency.limit {
        None => format!("{} in flight", concurrency.inflight),
        Some(limit) => {
            let from = if concurrency.learned { "tried" } else { "set" };
            format!("{} of {limit} in flight ({from})", concurrency.inflight)
        }
    };
    let idle = concurrency.inflight == 0;
    (if idle { Paint::Dim } else { Paint::Plain }, text)
}

pub(super) fn queue(queue: &QueueView) -> Option<(Paint, String)> {
    let all = u64::from(queue.interactive) + u64::from(queue.batch);
    if all == 0 {
        return None;
    }
    let lanes = match (queue.interactive, queue.batch) {
        (_, 0) => String::new(),
        (0, _) => " (batch)".to_owned(),
        (interactive, batch) => format!(" ({interactive} interactive, {batch} batch)"),
    };
    let (verb, apps) = match (all, queue.apps) {
        (1, _) => ("waits", String::new()),
        (_, 1) => ("wait", " of one app".to_owned()),
        (_, apps) => ("wait", format!(" of {apps} apps")),
    };
    let longest = time(queue.oldest_seconds);
    let text = format!(
        "{} {verb}{lanes}{apps}, the longest for {longest}",
        whole(all)
    );
    Some((Paint::Yellow, text))
}

pub(super) fn refused(refusal: &RefusalView, now: Option<SystemTime>) -> (Paint, String) {
    let at = humantime::parse_rfc3339(&refusal.at).ok();
    let ago = now
        .zip(at)
        .and_then(|(now, at)| now.duration_since(at).ok());
    let when = ago.as_ref().map(Duration::as_secs_f64).map_or_else(
        || format!("at {}", refusal.at),
        |ago| format!("{} ago", time(ago)),
    );
    let told = refusal
        .told_wait_seconds
        .map_or_else(String::new, |told| format!(", wait {} told", time(told)));
    let surprise = if refusal.surprise {
        ", though there was room"
    } else {
        ""
    };
    let fresh = ago.is_some_and(|ago| ago < Duration::from_secs(60));
    let paint = if fresh { Paint::Red } else { Paint::Dim };
    let text = format!("refused {when}: {}{told}{surprise}", refusal.class);
    (paint, text)
}

/// Who waits for an app's own quota.
pub(super) fn quota_waits(quota: &QuotaView) -> Option<(Paint, String)> {
    let longest = time(quota.oldest_wait_seconds);
    let verb = if quota.waiting == 1 { "waits" } else { "wait" };
    let text = format!("{} {verb}, the longest for {longest}", quota.waiting);
    (quota.waiting > 0).then_some((Paint::Yellow, text))
}

/// When the next call finds room. What is left of a minute does not say it: turns are spread, and others are in the line.
pub(super) fn quota_next(quota: &QuotaView) -> Option<(Paint, String)> {
    let soonest = |allowance: &&AllowanceView| allowance.next_in_seconds.unwrap_or_default();
    let binds = quota
        .allowances
        .iter()
        .max_by(|a, b| soonest(a).total_cmp(&soonest(b)))?;
    let kind = binds.kind.replace('_', " ");
    let text = match (time(soonest(&binds)), &*quota.on_limit) {
        (next, "wait") => format!("the next call would wait {next} ({kind})"),
        (next, _) => format!("refused for {next} more ({kind})"),
    };
    (soonest(&binds) > 0.0).then_some((Paint::Yellow, text))
}

/// Some of the names, and how many more there are.
pub(super) fn join(names: &[&String]) -> String {
    const SHOWN: usize = 4;
    let some = names.iter().take(SHOWN).map(|name| name.as_str());
    let text = some.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// In lines of this width, as far as its words allow.
pub(super) fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("it begins with one");
        if line.is_empty() {
            *line = cut(word, width);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(cut(word, width));
        }
    }
    lines
}

pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}
