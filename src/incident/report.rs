//! The report as data: what Markdown and JSON show.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{
    Circuit, Covered, Facts, Finding, KeySource, Timeline, UpstreamFacts, Window, findings,
    group::{Classed, Group},
    window::utc,
};
use crate::failures::{Change, Effects, Id, Minute};

/// A failure this close to the end of the window may not be the last one.
const STILL: u64 = 120;
/// Apps named at most, when they are asked for.
const APPS: usize = 50;

/// See the module's documentation. All times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What failed, where, since when.
    pub title: String,
    /// Whether there is anything to report.
    pub empty: bool,
    /// Version of the gateway that writes it.
    pub weir: String,
    pub written: String,
    pub window: Covered,
    /// With failures first.
    pub upstreams: Vec<UpstreamReport>,
    pub ruled_out: Vec<Finding>,
    /// What the data does not rule out.
    pub open: Vec<Finding>,
    /// Over all upstreams.
    pub effects: Effects,
    /// What the gateway did about it.
    pub did: Vec<String>,
    /// Circuits that are not closed now.
    pub circuits: Vec<Circuit>,
    /// Changes of circuits in the window, oldest first.
    pub changes: Vec<Change>,
    pub timeline: Timeline,
    /// Apps whose calls met failures; only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apps: Option<Vec<AppCount>>,
}

/// One upstream in the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamReport {
    pub name: String,
    /// The vendor.
    pub provider: String,
    pub host: String,
    pub key: KeySource,
    /// Named by the provider's own headers, else as configured.
    pub organizations: Vec<String>,
    pub projects: Vec<String>,
    pub attempts: u64,
    /// Answered to the end.
    pub answered: u64,
    /// Without callers' own mistakes.
    pub failures: u64,
    pub callers_mistakes: u64,
    /// `failures` of `attempts`.
    pub failure_share: f64,
    pub classes: Vec<ClassReport>,
}

/// One class of failure at one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    pub class: String,
    pub callers_mistake: bool,
    /// Streams that broke after their first content had gone to the caller.
    pub after_content: bool,
    pub count: u64,
    /// How many carried a request id of the provider's.
    pub with_request_id: u64,
    pub first: String,
    pub last: String,
    pub first_request_id: Option<RequestRef>,
    pub last_request_id: Option<RequestRef>,
    /// The most frequent first.
    pub models: Vec<(String, u64)>,
    /// Of the latest failure, as are all of the following.
    pub status: Option<u16>,
    pub code: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub what: String,
    pub rule: String,
    /// Those that say who answered and which limits hold.
    pub headers: Vec<(String, String)>,
}

/// A provider's request id, and when its answer came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRef {
    pub id: String,
    pub at: String,
}

/// Calls of an app that met failures, among the calls still in the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCount {
    pub app: String,
    pub calls: u64,
}

// === impl Report ===

impl Report {
    /// What `facts` say about `window`; `only`: about this upstream.
    pub fn of(facts: &Facts, window: &Window, only: Option<&str>, now: SystemTime) -> Self {
        let (from, to, covered) = window.covered(facts.started, facts.book.whole_from, now);
        let groups = Group::all(facts);
        let is_meant = |name: &str| only.is_none_or(|only| only == name);
        let (ruled_out, open) = findings::of(facts, &groups, to, only);
        let meant: Vec<_> = groups
            .into_iter()
            .filter(|group| is_meant(group.upstream))
            .collect();
        let mut upstreams: Vec<_> = meant.iter().map(|group| upstream(facts, group)).collect();
        upstreams.sort_by_key(|upstream| {
            std::cmp::Reverse((upstream.failures, upstream.callers_mistakes))
        });
        let circuits = facts
            .circuits
            .iter()
            .filter(|c| is_meant(&c.upstream))
            .cloned()
            .collect();
        let changes: Vec<_> = facts
            .book
            .changes
            .iter()
            .filter(|c| is_meant(&c.upstream))
            .cloned()
            .collect();
        let effects = facts.book.effects;
        Self {
            title: title(&upstreams, &meant, &covered, to),
            empty: meant.iter().all(|group| group.bad.is_empty()),
            weir: env!("CARGO_PKG_VERSION").to_owned(),
            written: utc(now),
            timeline: Timeline::of(&meant, from, to),
            window: covered,
            upstreams,
            ruled_out,
            open,
            did: did(&effects, &changes),
            effects,
            circuits,
            changes,
            apps: None,
        }
    }

    /// With the names of the apps.
    #[must_use]
    pub fn with_apps(mut self, facts: &Facts) -> Self {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for case in facts
            .book
            .cases
            .iter()
            .filter(|case| !case.failures.is_empty())
        {
            *counts.entry(&case.app).or_default() += 1;
        }
        let mut apps: Vec<_> = counts
            .into_iter()
            .map(|(app, calls)| AppCount {
                app: app.to_owned(),
                calls,
            })
            .collect();
        apps.sort_by_key(|app| std::cmp::Reverse(app.calls));
        apps.truncate(APPS);
        self.apps = Some(apps);
        self
    }
}

fn title(
    reports: &[UpstreamReport],
    groups: &[Group<'_>],
    covered: &Covered,
    end: Minute,
) -> String {
    let Some(worst) = reports.first().filter(|report| report.failures > 0) else {
        let mistakes: u64 = reports.iter().map(|report| report.callers_mistakes).sum();
        let asked = format!("between {} and {}", covered.from, covered.to);
        return match mistakes {
            0 => format!("No failures {asked}"),
            n => format!(
                "No provider failed {asked}; {} refused as callers' own mistakes",
                calls(n)
            ),
        };
    };
    let class = &worst.classes[0];
    let status = class
        .status
        .filter(|_| !class.after_content)
        .map_or_else(String::new, |status| format!(", status {status}"));
    let mostly = if worst.classes.iter().filter(|c| !c.callers_mistake).count() > 1 {
        "mostly "
    } else {
        ""
    };
    let group = groups.iter().find(|group| group.upstream == worst.name);
    let when = group
        .and_then(Group::span)
        .map_or_else(String::new, |(first, last)| {
            let still = end.start() + std::time::Duration::from_secs(60);
            match still.duration_since(last) {
                Ok(quiet) if quiet.as_secs() > STILL => {
                    format!("from {} to {}", utc(first), utc(last))
                }
                _ => format!("since {}, the latest at {}", utc(first), utc(last)),
            }
        });
    let others = reports
        .iter()
        .skip(1)
        .filter(|report| report.failures > 0)
        .count();
    let more = match others {
        0 => String::new(),
        n => format!(" ({n} more with failures)"),
    };
    format!(
        "`{}` ({}): {} of {} failed ({mostly}{}{status}) {when}{more}",
        worst.name,
        worst.host,
        worst.failures,
        count(worst.attempts, "attempt"),
        class.class,
    )
}

fn upstream(facts: &Facts, group: &Group<'_>) -> UpstreamReport {
    let configured = facts
        .upstreams
        .iter()
        .find(|upstream| upstream.name == group.upstream);
    let seen = |of: fn(&Classed<'_>) -> Option<String>, or: Option<String>| -> Vec<String> {
        let seen: BTreeSet<_> = group.classes().iter().filter_map(of).collect();
        if seen.is_empty() {
            or.into_iter().collect()
        } else {
            seen.into_iter().collect()
        }
    };
    let unknown = || "no longer configured".to_owned();
    let word = |of: fn(&UpstreamFacts) -> String| configured.map_or_else(unknown, of);
    let (attempts, failures) = (group.attempts(), group.fault_count());
    let broken: u64 = group
        .bad
        .iter()
        .filter(|bad| bad.after_content)
        .map(|bad| bad.count())
        .sum();
    UpstreamReport {
        name: group.upstream.to_owned(),
        provider: word(|upstream| upstream.provider.clone()),
        host: word(|upstream| upstream.host.clone()),
        key: configured.map_or_else(
            || KeySource {
                source: unknown(),
                kind: None,
                fingerprint: None,
            },
            |upstream| upstream.key.clone(),
        ),
        organizations: seen(
            |c| c.last.organization.clone(),
            configured.and_then(|u| u.organization.clone()),
        ),
        projects: seen(
            |c| c.last.project.clone(),
            configured.and_then(|u| u.project.clone()),
        ),
        attempts,
        answered: group.heads().saturating_sub(broken),
        failures,
        callers_mistakes: group.mistake_count(),
        failure_share: share(failures, attempts),
        classes: group.classes().iter().map(class).collect(),
    }
}

fn class(classed: &Classed<'_>) -> ClassReport {
    let (slots, last) = (&classed.slots, classed.last);
    let reference = |id: &Id| RequestRef {
        id: id.id.to_string(),
        at: utc(id.at),
    };
    let first_id = slots
        .iter()
        .filter_map(|slot| slot.first_id.as_ref())
        .min_by_key(|id| id.at);
    let last_id = slots
        .iter()
        .filter_map(|slot| slot.last_id.as_ref())
        .max_by_key(|id| id.at);
    let first = slots.iter().map(|slot| slot.first).min();
    let latest = slots.iter().map(|slot| slot.last).max();
    ClassReport {
        class: classed.class.to_string(),
        callers_mistake: classed.class.is_callers_mistake(),
        after_content: classed.after_content,
        count: classed.count(),
        with_request_id: classed.named(),
        first: first.map_or_else(String::new, utc),
        last: latest.map_or_else(String::new, utc),
        first_request_id: first_id.map(reference),
        last_request_id: last_id.map(reference),
        models: models(classed),
        status: last.status,
        code: last.code.clone(),
        kind: last.kind.clone(),
        what: last.what.clone(),
        rule: last.rule.clone(),
        headers: last.headers.clone(),
    }
}

fn models(classed: &Classed<'_>) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = Vec::new();
    for (model, count) in &classed.models {
        match all.iter_mut().find(|(name, _)| name == *model) {
            Some((_, sum)) => *sum += count,
            None => all.push(((*model).clone(), *count)),
        }
    }
    all.truncate(20);
    all
}

fn did(effects: &Effects, changes: &[Change]) -> Vec<String> {
    let mut did = Vec::new();
    if effects.more_attempts > 0 {
        did.push(format!(
            "Made {} beyond the first of a call: repeats and other targets.",
            count(effects.more_attempts, "attempt")
        ));
    }
    if effects.answered_by_fallback > 0 {
        did.push(format!(
            "Had {} answered by another target than the first.",
            calls(effects.answered_by_fallback)
        ));
    }
    let mut opened: BTreeMap<(&str, &str, &str, &str), u64> = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| change.from == "closed" && change.to != "closed")
    {
        let circuit = (
            change.upstream.as_str(),
            change.scope.as_str(),
            change.key.as_str(),
            change.class.as_str(),
        );
        *opened.entry(circuit).or_default() += 1;
    }
    for ((upstream, scope, key, class), n) in opened {
        let times = if n == 1 {
            "once".to_owned()
        } else {
            format!("{n} times")
        };
        did.push(format!("Opened the circuit of `{upstream}` ({scope} {key}) {times} because of {class}: while it was open, calls were kept from it but for probes."));
    }
    did
}

/// `part` of `whole`, to four digits.
fn share(part: u64, whole: u64) -> f64 {
    let share = part as f64 / whole.max(1) as f64;
    (share * 10_000.0).round() / 10_000.0
}

/// `1 call`, `2 calls`
pub(super) fn calls(n: u64) -> String {
    count(n, "call")
}

/// `1 thing`, `2 things`
pub(super) fn count(n: u64, thing: &str) -> String {
    if n == 1 {
        format!("1 {thing}")
    } else {
        format!("{n} {thing}s")
    }
}
