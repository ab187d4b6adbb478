//! Whose outage it is: from what each target and each key shows, to as few statements as explain it.
//!
//! Pure. The order is that of exclusion. A refused key explains its upstream. What cannot be reached at several
//! independent hosts at once, while nobody answers from elsewhere, is our network. Of what is left, a model is to blame
//! only when others at the same upstream are seen to work, and the whole API only when none is. Where the traffic does
//! not tell, neither do we: `unclear`, with what is missing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    cause::Cause,
    evidence as words,
    key::KeyView,
    place::Place,
    report::{Certainty, Kind},
    slow::slow,
    target::{Counts, Failing, View},
};

/// Answers of another model (or host) that make it a witness.
const WITNESS: u64 = 3;
/// So many make it a good one.
const GOOD_WITNESS: u64 = 10;
/// A target this far on the way to an alarm is no witness.
const SUSPECT: f64 = 0.5;
/// Statements told at most.
const MOST: usize = 64;

/// A target.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) place: Place,
    pub(super) model: Arc<str>,
    /// The latest answer to its upstream's key was a refusal of that key.
    pub(super) refused: bool,
    pub(super) view: View,
}

/// A key in alarm.
#[derive(Clone, Debug)]
pub(super) struct KeySeen {
    pub(super) place: Place,
    pub(super) view: KeyView,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) upstreams: Vec<Arc<str>>,
    pub(super) model: Option<Arc<str>>,
    /// What stays the same while the outage lasts: a host, an upstream.
    pub(super) about: Arc<str>,
    pub(super) onset: Instant,
    pub(super) certainty: Certainty,
    pub(super) evidence: String,
    pub(super) share: f64,
    pub(super) first_token: Option<(Duration, Duration)>,
    /// When the latest outcome was seen.
    pub(super) last: Instant,
}

/// A failing target.
#[derive(Clone, Copy, Debug)]
struct Bad<'a> {
    seen: &'a Seen,
    failing: Failing,
}

/// The whole picture.
struct Scene<'a> {
    targets: &'a [Seen],
    bad: Vec<Bad<'a>>,
    now: Instant,
}

/// What explains the state of all targets and keys at `now`.
pub(super) fn attribute(targets: &[Seen], keys: &[KeySeen], now: Instant) -> Vec<Finding> {
    let mut findings: Vec<Finding> = keys
        .iter()
        .map(|key| own_key(key, keys, targets, now))
        .collect();
    let mut scene = Scene {
        targets,
        bad: Vec::new(),
        now,
    };
    scene.bad = targets.iter().filter_map(|seen| scene.bad(seen)).collect();
    let (refused, failing): (Vec<_>, Vec<_>) = scene
        .bad
        .iter()
        .partition(|bad| bad.part(&[Cause::Key]) >= 0.5);
    findings.extend(refused.into_iter().map(|bad| scene.refused(bad)));
    let mut hosts: BTreeMap<&str, Vec<Bad<'_>>> = BTreeMap::new();
    for bad in failing {
        hosts.entry(&bad.seen.place.host).or_default().push(*bad);
    }
    if let Some(finding) = scene.our_network(&hosts) {
        hosts.retain(|_, bad| !unreachable(bad));
        findings.push(finding);
    }
    for bad in hosts.values() {
        findings.extend(scene.at_host(bad));
    }
    findings.extend(slow(targets, now));
    findings.sort_by_key(|finding| finding.onset);
    findings.truncate(MOST);
    findings
}

fn own_key(key: &KeySeen, keys: &[KeySeen], targets: &[Seen], now: Instant) -> Finding {
    let upstream = &key.place.upstream;
    let same_host = |place: &Place| place.host == key.place.host && place.upstream != *upstream;
    let other_works = targets.iter().find(|seen| {
        same_host(&seen.place) && seen.view.last_ok.is_some_and(|at| at >= key.view.onset)
    });
    let other_refused = keys.iter().find(|other| same_host(&other.place));
    let billing = key.view.class.is_some_and(|class| class.is_billing());
    let (kind, certainty, more) = match (other_works, other_refused) {
        (Some(other), _) => (
            Kind::OurKey,
            Certainty::High,
            format!("; the key of {} is accepted there", other.place.upstream),
        ),
        // All keys at once, and not for money: theirs may be broken as well as ours.
        (None, Some(other)) if !billing => (
            Kind::Unclear,
            Certainty::Low,
            format!(
                "; so is the key of {}: either both keys were withdrawn, or the provider refuses good ones",
                other.place.upstream
            ),
        ),
        (None, _) => (Kind::OurKey, Certainty::High, String::new()),
    };
    Finding {
        kind,
        upstreams: vec![Arc::clone(upstream)],
        model: None,
        about: Arc::clone(upstream),
        onset: key.view.onset,
        certainty,
        evidence: format!(
            "{}{more}",
            words::refused(key.view.counts, key.view.onset, key.view.class, now)
        ),
        share: key.view.share,
        first_token: None,
        last: key.view.last,
    }
}

// === impl Bad ===

impl Bad<'_> {
    /// The part of these causes among its failures.
    fn part(&self, causes: &[Cause]) -> f64 {
        let all: u32 = self.failing.causes.iter().sum();
        let these: u32 = causes.iter().map(|c| self.failing.causes[c.index()]).sum();
        f64::from(these) / f64::from(all.max(1))
    }
}

/// Nobody there has answered with anything, good or bad.
fn unreachable(bad: &[Bad<'_>]) -> bool {
    bad.iter()
        .all(|bad| bad.part(&[Cause::Network, Cause::Silent]) >= 0.7)
}

fn onset(bad: &[Bad<'_>]) -> Option<Instant> {
    bad.iter().map(|bad| bad.failing.onset).min()
}

fn sum(bad: &[Bad<'_>]) -> Counts {
    bad.iter()
        .fold(Counts::default(), |sum, bad| sum.plus(bad.failing.counts))
}

fn upstreams(bad: &[Bad<'_>]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = bad
        .iter()
        .map(|b| Arc::clone(&b.seen.place.upstream))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// It has answered since `onset`, several times, and nothing is wrong with it.
pub(super) fn is_fine(seen: &Seen, onset: Instant) -> bool {
    seen.view.failing.is_none()
        && seen.view.level < SUSPECT
        && seen.view.recent.ok >= WITNESS
        && seen.view.last_ok.is_some_and(|at| at >= onset)
}

// === impl Scene ===

impl<'a> Scene<'a> {
    /// The target's failure, unless it is old news: its upstream has been seen to recover since it was last asked.
    fn bad(&self, seen: &'a Seen) -> Option<Bad<'a>> {
        let failing = seen.view.failing?;
        let recovered = self.targets.iter().any(|other| {
            other.place.upstream == seen.place.upstream
                && other.view.failing.is_none()
                && other.view.cleared.is_some_and(|at| at > seen.view.last)
        });
        (!recovered).then_some(Bad { seen, failing })
    }

    /// Somebody at another host who has answered since `onset`; if the trouble is out there, somebody out there.
    fn elsewhere(&self, bad: &[Bad<'_>], onset: Instant) -> Option<&'a Seen> {
        let local = bad.iter().all(|bad| bad.seen.place.local);
        self.targets.iter().find(|seen| {
            bad.iter().all(|b| b.seen.place.host != seen.place.host)
                && (local || !seen.place.local)
                && seen.view.failing.is_none()
                && seen.view.last_ok.is_some_and(|at| at >= onset)
        })
    }

    /// Several independent hosts cannot be reached, and nobody else can.
    fn our_network(&self, hosts: &BTreeMap<&str, Vec<Bad<'a>>>) -> Option<Finding> {
        let lost: Vec<&Vec<Bad<'_>>> = hosts.values().filter(|bad| unreachable(bad)).collect();
        let bad: Vec<Bad<'_>> = lost.iter().copied().flatten().copied().collect();
        // From when on all of them were lost.
        let all_lost = lost.iter().filter_map(|bad| onset(bad)).max()?;
        if lost.len() < 2 || self.elsewhere(&bad, all_lost).is_some() {
            return None;
        }
        let plain = bad.iter().all(|bad| bad.part(&[Cause::Network]) >= 0.5);
        Some(Finding {
            kind: Kind::OurNetwork,
            model: None,
            about: "network".into(),
            certainty: if plain {
                Certainty::High
            } else {
                Certainty::Medium
            },
            evidence: format!(
                "{}; {} independent hosts cannot be reached, and no other answers",
                self.words(&bad),
                lost.len()
            ),
            ..self.finding(&bad)
        })
    }

    /// What is wrong at one host, where something is.
    fn at_host(&self, bad: &[Bad<'a>]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut whole = Vec::new();
        for upstream in upstreams(bad) {
            let here: Vec<Bad<'_>> = bad
                .iter()
                .filter(|b| b.seen.place.upstream == upstream)
                .copied()
                .collect();
            match self.models(&here) {
                Some(models) => findings.extend(models),
                None => whole.extend(here),
            }
        }
        if !whole.is_empty() {
            findings.push(self.whole_host(&whole));
        }
        findings
    }

    /// The failing models of one upstream, if others there are fine.
    fn models(&self, bad: &[Bad<'a>]) -> Option<Vec<Finding>> {
        let since = onset(bad)?;
        let upstream = &bad.first()?.seen.place.upstream;
        let fine = self
            .targets
            .iter()
            .filter(|seen| seen.place.upstream == *upstream && is_fine(seen, since))
            .max_by_key(|seen| seen.view.recent.ok)?;
        let finding = |bad: &Bad<'a>| Finding {
            kind: Kind::TheirModel,
            model: Some(Arc::clone(&bad.seen.model)),
            about: Arc::clone(upstream),
            certainty: if fine.view.recent.ok >= GOOD_WITNESS {
                Certainty::High
            } else {
                Certainty::Medium
            },
            evidence: format!(
                "{}; {} at the same upstream is fine: {}",
                self.words(&[*bad]),
                words::model(&fine.model),
                words::good(fine.view.recent)
            ),
            ..self.finding(&[*bad])
        };
        Some(bad.iter().map(finding).collect())
    }

    /// No model of these upstreams, all at one host, is seen to work.
    fn whole_host(&self, bad: &[Bad<'a>]) -> Finding {
        let since = onset(bad).unwrap_or(self.now);
        let names = upstreams(bad);
        let place = bad.first().map(|bad| &bad.seen.place);
        let at_host = |seen: &&Seen| place.is_some_and(|place| place.host == seen.place.host);
        let other_account = self
            .targets
            .iter()
            .filter(at_host)
            .find(|seen| !names.contains(&seen.place.upstream) && is_fine(seen, since));
        let unknown = self.targets.iter().filter(at_host).find(|seen| {
            names.contains(&seen.place.upstream)
                && seen.view.failing.is_none()
                && seen.view.recent.all() > 0
        });
        let blocked = bad.iter().all(|bad| bad.part(&[Cause::Blocked]) >= 0.5);
        let (kind, certainty, why) = match (other_account, unknown) {
            (Some(other), _) => (
                Kind::Unclear,
                Certainty::Medium,
                format!(
                    "the same host answers through {}: a matter of this account or of its settings",
                    other.place.upstream
                ),
            ),
            _ if blocked => (
                Kind::Unclear,
                Certainty::Medium,
                "an edge in front of the API refuses this address".to_owned(),
            ),
            _ if unreachable(bad) => self.lost(bad, since),
            (None, Some(other)) if bad.len() == 1 => (
                Kind::Unclear,
                Certainty::Low,
                format!(
                    "the model or the whole API: {} was not asked often enough since",
                    words::model(&other.model)
                ),
            ),
            (None, _) if bad.len() == 1 => (
                Kind::TheirApi,
                Certainty::Low,
                "no other model was asked there, so it may be this model alone".to_owned(),
            ),
            (None, unknown) => (
                Kind::TheirApi,
                if unknown.is_none() {
                    Certainty::High
                } else {
                    Certainty::Medium
                },
                format!("{} models fail there, and none is seen to work", bad.len()),
            ),
        };
        Finding {
            kind,
            certainty,
            evidence: format!("{}; {why}", self.words(bad)),
            ..self.finding(bad)
        }
    }

    /// One host that cannot be reached.
    fn lost(&self, bad: &[Bad<'a>], since: Instant) -> (Kind, Certainty, String) {
        match self.elsewhere(bad, since) {
            Some(other) => (
                Kind::TheirApi,
                Certainty::Medium,
                format!(
                    "{} answers, so the network here works: their API, or the way to it alone",
                    other.place.upstream
                ),
            ),
            None => (
                Kind::Unclear,
                Certainty::Low,
                "their API or the network towards it: no other host was asked".to_owned(),
            ),
        }
    }

    /// One model or endpoint that the key may not use.
    fn refused(&self, bad: &Bad<'a>) -> Finding {
        Finding {
            kind: Kind::OurKey,
            model: Some(Arc::clone(&bad.seen.model)),
            about: Arc::clone(&bad.seen.place.upstream),
            certainty: Certainty::High,
            evidence: words::refused(
                bad.failing.counts,
                bad.failing.onset,
                bad.failing.class,
                self.now,
            ),
            ..self.finding(&[*bad])
        }
    }

    fn words(&self, bad: &[Bad<'_>]) -> String {
        let class = bad
            .iter()
            .max_by_key(|bad| bad.failing.counts.bad)
            .and_then(|bad| bad.failing.class);
        words::failed(sum(bad), onset(bad).unwrap_or(self.now), class, self.now)
    }

    /// What is the same in all statements about these.
    fn finding(&self, bad: &[Bad<'_>]) -> Finding {
        let one = match bad {
            [one] => Some(one.seen),
            _ => None,
        };
        let weight = |bad: &Bad<'_>| bad.failing.counts.all().max(1) as f64;
        let all: f64 = bad.iter().map(weight).sum();
        let share: f64 = bad.iter().map(|b| b.failing.share * weight(b)).sum();
        Finding {
            kind: Kind::Unclear,
            upstreams: upstreams(bad),
            model: None,
            about: bad
                .first()
                .map_or_else(|| "".into(), |bad| Arc::clone(&bad.seen.place.host)),
            onset: onset(bad).unwrap_or(self.now),
            certainty: Certainty::Low,
            evidence: String::new(),
            share: share / all.max(1.0),
            first_token: one.and_then(|seen| seen.view.first_token),
            last: bad
                .iter()
                .map(|bad| bad.seen.view.last)
                .max()
                .unwrap_or(self.now),
        }
    }
}
