//! Evidence, in words. Counts, classes and names of ours; nothing that a provider or a caller wrote.

use std::time::Duration;

use tokio::time::Instant;

use super::target::Counts;
use crate::triage::Class;

/// "12 of 14 attempts failed in the last 40s (server_error)"
pub(super) fn failed(counts: Counts, onset: Instant, class: Option<Class>, now: Instant) -> String {
    format!(
        "{} of {} attempts failed in the last {}{}",
        counts.bad,
        counts.all(),
        ago(onset, now),
        named(class)
    )
}

/// "2 of 2 attempts were refused in the last 31s (auth_invalid)"
pub(super) fn refused(
    counts: Counts,
    onset: Instant,
    class: Option<Class>,
    now: Instant,
) -> String {
    format!(
        "{} of {} attempts were refused in the last {}{}",
        counts.bad,
        counts.all(),
        ago(onset, now),
        named(class)
    )
}

/// "9 of 11 first tokens were late in the last 20s (usual 0.41s, now 2.1s)"
pub(super) fn late(
    counts: Counts,
    onset: Instant,
    first_token: Option<(Duration, Duration)>,
    now: Instant,
) -> String {
    let times = first_token.map_or_else(String::new, |(usual, present)| {
        format!(
            " (usual {:.2}s, now {:.2}s)",
            usual.as_secs_f64(),
            present.as_secs_f64()
        )
    });
    format!(
        "{} of {} first tokens were late in the last {}{times}",
        counts.bad,
        counts.all(),
        ago(onset, now)
    )
}

/// "30 of 30"
pub(super) fn good(counts: Counts) -> String {
    format!("{} of {}", counts.ok, counts.all())
}

/// A model's name; calls without one have a name too.
pub(super) fn model(name: &str) -> &str {
    if name.is_empty() { "(no model)" } else { name }
}

fn named(class: Option<Class>) -> String {
    class.map_or_else(String::new, |class| format!(" ({class})"))
}

fn ago(then: Instant, now: Instant) -> String {
    let seconds = now.saturating_duration_since(then).as_secs().max(1);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
