//! What was ruled out, each with its evidence, and what was not.
//!
//! Only what the counts show is claimed. A success proves something about a failure when it came after the failing began:
//! an account that worked an hour ago may be empty now.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    Facts,
    group::{Classed, Group},
    report::{calls, count},
    window::utc,
};
use crate::{
    failures::Minute,
    triage::{CircuitEffect, Class},
};

/// Another upstream with a larger share of failures is no proof that all is well on this side.
const FINE: f64 = 0.1;
/// Names listed in one sentence.
const LISTED: usize = 5;

/// A cause of the failures of one upstream, ruled out or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub upstream: String,
    /// `key`, `model`, `network`, `provider`, `rate_limit` or `request`.
    pub cause: String,
    /// A sentence.
    pub claim: String,
    pub evidence: String,
}

/// One failing upstream and what surrounds it.
struct Case<'a> {
    facts: &'a Facts,
    group: &'a Group<'a>,
    groups: &'a [Group<'a>],
    classes: Vec<Classed<'a>>,
    first: SystemTime,
    last: SystemTime,
    end: Minute,
    ruled_out: Vec<Finding>,
    open: Vec<Finding>,
}

/// Ruled out, and not.
pub(super) fn of(
    facts: &Facts,
    groups: &[Group<'_>],
    end: Minute,
    only: Option<&str>,
) -> (Vec<Finding>, Vec<Finding>) {
    let (mut ruled_out, mut open) = (Vec::new(), Vec::new());
    for group in groups
        .iter()
        .filter(|group| only.is_none_or(|only| only == group.upstream))
    {
        let Some((first, last)) = group.span() else {
            continue;
        };
        let mut classes = group.classes();
        classes.retain(|classed| !classed.class.is_callers_mistake());
        let mut case = Case {
            facts,
            group,
            groups,
            classes,
            first,
            last,
            end,
            ruled_out: Vec::new(),
            open: Vec::new(),
        };
        case.key();
        case.models();
        case.network();
        case.rate_limit();
        case.requests();
        ruled_out.append(&mut case.ruled_out);
        open.append(&mut case.open);
    }
    (ruled_out, open)
}

// === impl Case ===

impl Case<'_> {
    fn rule_out(&mut self, cause: &str, claim: impl Into<String>, evidence: String) {
        let finding = self.finding(cause, claim.into(), evidence);
        self.ruled_out.push(finding);
    }

    fn leave_open(&mut self, cause: &str, claim: impl Into<String>, evidence: String) {
        let finding = self.finding(cause, claim.into(), evidence);
        self.open.push(finding);
    }

    fn finding(&self, cause: &str, claim: String, evidence: String) -> Finding {
        Finding {
            upstream: self.group.upstream.to_owned(),
            cause: cause.to_owned(),
            claim,
            evidence,
        }
    }

    fn count_of(&self, is: impl Fn(Class) -> bool) -> u64 {
        self.classes
            .iter()
            .filter(|c| is(c.class))
            .map(Classed::count)
            .sum()
    }

    fn key(&mut self) {
        let refused = self.count_of(is_about_the_key);
        if refused > 0 {
            let classes: Vec<_> = self
                .classes
                .iter()
                .map(|c| c.class)
                .filter(|c| is_about_the_key(*c))
                .map(Class::as_str)
                .collect();
            let evidence = format!(
                "The provider refused {} as {}.",
                calls(refused),
                classes.join(", ")
            );
            return self.leave_open("key", "The key, or what it may do.", evidence);
        }
        let last = self
            .classes
            .iter()
            .map(|c| c.last)
            .max_by_key(|failed| failed.at);
        let Some(key) = last.and_then(|failed| failed.key.clone()) else {
            return;
        };
        let own = last.is_some_and(|failed| failed.own_key);
        let end = self.end;
        let worked = if own {
            self.group.last_good(end, Some(&key))
        } else {
            let known = self
                .facts
                .working_keys
                .iter()
                .find(|(u, k, _)| *u == self.group.upstream && *k == key);
            known
                .map(|(_, _, at)| *at)
                .filter(|at| Minute::of(*at) <= end)
        };
        let named = self
            .classes
            .iter()
            .find_map(|c| c.last.organization.clone());
        match worked {
            Some(at) if at >= self.first => {
                let evidence = if own {
                    let n = self.group.good_within(Minute(0), end, Some(&key));
                    format!(
                        "Calls with the same key (fingerprint {key}) answered in the window: {n}, the last at {}, after the failures had begun.",
                        utc(at)
                    )
                } else {
                    format!(
                        "A call with the same caller's key (fingerprint {key}) was answered at {}, after the failures had begun.",
                        utc(at)
                    )
                };
                self.rule_out("key", "The key is valid.", evidence);
            }
            _ if named.is_some() => {
                let evidence = format!(
                    "The failing answers name the organisation it belongs to: {}.",
                    named.unwrap_or_default()
                );
                self.rule_out("key", "The provider recognises the key.", evidence);
            }
            Some(at) => {
                let evidence = format!(
                    "The last call with it was answered at {}, before the failures began; none since.",
                    utc(at)
                );
                self.leave_open("key", "Whether the key is still valid.", evidence);
            }
            None => {
                let evidence = "No call with it was answered in the window.".to_owned();
                self.leave_open("key", "Whether the key is valid.", evidence);
            }
        }
    }

    /// Which models fail, and whether others of the same upstream do not.
    fn models(&mut self) {
        // Money and keys know no models.
        let wide = |class: Class| {
            matches!(
                class.policy().circuit,
                CircuitEffect::OpensScope { .. } | CircuitEffect::OpensKey
            )
        };
        if self.classes.iter().all(|classed| wide(classed.class)) {
            return;
        }
        let mut failing: BTreeMap<&str, u64> = BTreeMap::new();
        for bad in self.group.faults() {
            *failing.entry(&bad.model).or_default() += bad.count();
        }
        let (from, to) = (Minute::of(self.first), Minute::of(self.last));
        let mut fine: BTreeMap<&str, u64> = BTreeMap::new();
        for good in self
            .group
            .good
            .iter()
            .filter(|good| !failing.contains_key(good.model.as_str()))
        {
            let within = good.minutes.iter().filter(|(m, _)| (from..=to).contains(m));
            *fine.entry(&good.model).or_default() +=
                within.map(|(_, n)| u64::from(*n)).sum::<u64>();
        }
        fine.retain(|_, n| *n > 0);
        let names: Vec<_> = failing.keys().map(|model| format!("`{model}`")).collect();
        if fine.is_empty() {
            let evidence = format!(
                "Between the first failure and the last, no other model than {} was answered by it.",
                list(&names)
            );
            self.leave_open(
                "model",
                "Whether it is one model of theirs or their whole API.",
                evidence,
            );
        } else {
            let fine: Vec<_> = fine
                .iter()
                .map(|(model, n)| format!("`{model}`: {n} answered, none failed"))
                .collect();
            let evidence = format!("{}; failing: {}.", list(&fine), list(&names));
            self.rule_out(
                "model",
                "Not the whole API: other models of the same upstream are fine.",
                evidence,
            );
        }
    }

    fn network(&mut self) {
        let all = self.group.fault_count();
        let named: u64 = self.classes.iter().map(Classed::named).sum();
        let (from, to) = (Minute::of(self.first), Minute::of(self.last));
        let fine: Vec<_> = self
            .groups
            .iter()
            .filter(|other| other.upstream != self.group.upstream)
            .filter_map(|other| {
                let answered = other.good_within(from, to, None);
                let slots = other.faults().flat_map(|bad| &bad.slots);
                let failed: u64 = slots
                    .filter(|s| (from..=to).contains(&s.minute))
                    .map(|s| u64::from(s.count))
                    .sum();
                let fine = answered > 0 && (failed as f64) < FINE * (answered + failed) as f64;
                fine.then(|| format!("`{}`: {answered} answered, {failed} failed", other.upstream))
            })
            .collect();
        if !fine.is_empty() {
            let evidence = format!(
                "Between the first failure and the last, by the minute: {}.",
                list(&fine)
            );
            self.rule_out(
                "network",
                "Not this gateway or its network as a whole: other upstreams are fine.",
                evidence,
            );
        }
        if named > 0 {
            let evidence = format!(
                "{named} of {} carry a request id of the provider's.",
                count(all, "failure")
            );
            self.rule_out(
                "network",
                "Not the network on the way: these answers came from the provider.",
                evidence,
            );
        }
        let unreached = self.count_of(|class| matches!(class, Class::Connection | Class::Timeout));
        if unreached > 0 {
            let evidence = format!(
                "{} got no HTTP answer, or none in time.",
                count(unreached, "attempt")
            );
            self.leave_open(
                "network",
                "The network between this gateway and the provider.",
                evidence,
            );
        }
        let edge = self.count_of(|class| {
            matches!(
                class,
                Class::EdgeHtmlError | Class::EdgeBlocked | Class::IpBlocked
            )
        });
        if edge > 0 {
            let evidence = format!(
                "{} answered by an edge or proxy in front of the API.",
                count(edge, "attempt")
            );
            self.leave_open(
                "network",
                "A proxy or edge on the way, theirs or ours.",
                evidence,
            );
        }
    }

    fn rate_limit(&mut self) {
        let limited = self.count_of(|class| {
            class.is_rate_limit()
                || class == Class::RequestTooLargeForLimit
                || class == Class::BatchQueueFull
        });
        if limited > 0 {
            let evidence = format!("{} refused for a limit.", calls(limited));
            return self.leave_open("rate_limit", "Our own rate limits.", evidence);
        }
        let Some(last) = self
            .classes
            .iter()
            .map(|c| c.last)
            .max_by_key(|failed| failed.at)
        else {
            return;
        };
        let remaining: Vec<_> = last
            .headers
            .iter()
            .filter(|(name, _)| name.contains("ratelimit") && name.contains("remaining"))
            .collect();
        let left = |value: &str| value.trim().parse::<f64>().is_ok_and(|n| n > 0.0);
        if !remaining.is_empty() && remaining.iter().all(|(_, value)| left(value)) {
            let said: Vec<_> = remaining
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            let evidence = format!(
                "No failure was judged a rate limit, and the latest of them ({}) said {}.",
                utc(last.at),
                list(&said)
            );
            self.rule_out("rate_limit", "Not a rate limit.", evidence);
        }
    }

    /// The same calls, unchanged, answered after all.
    fn requests(&mut self) {
        let here = self.group.upstream;
        let (mut met, mut elsewhere, mut again) = (0, 0, 0);
        for case in &self.facts.book.cases {
            let is_fault = |class: &str| {
                class
                    .parse::<Class>()
                    .is_ok_and(|class| !class.is_callers_mistake())
            };
            if !case
                .failures
                .iter()
                .any(|f| f.upstream == here && !f.after_content && is_fault(&f.class))
            {
                continue;
            }
            met += 1;
            let Some(conclusion) = case.conclusion.as_ref().filter(|c| c.outcome == "ok") else {
                continue;
            };
            match conclusion.answered_by.as_deref() {
                Some(by) if by == here => again += 1,
                Some(_) => elsewhere += 1,
                None => {}
            }
        }
        let of = format!("of the {} in the book that failed here", calls(met));
        if elsewhere > 0 {
            let evidence = format!("Answered by another upstream: {elsewhere} {of}.");
            self.rule_out(
                "request",
                "Not the callers' requests: the same calls succeeded elsewhere.",
                evidence,
            );
        }
        if again > 0 {
            let evidence = format!("Answered here by a repeat: {again} {of}.");
            self.rule_out(
                "request",
                "Not the callers' requests: the same calls succeeded when repeated.",
                evidence,
            );
        }
        if elsewhere + again == 0 && met > 0 {
            let evidence = format!("Answered later or elsewhere: none {of}.");
            self.leave_open("request", "Something in the requests themselves.", evidence);
        }
    }
}

/// The provider spoke of the key or of what it may do.
fn is_about_the_key(class: Class) -> bool {
    matches!(
        class,
        Class::AuthInvalid
            | Class::AuthMissing
            | Class::AuthWrongOrg
            | Class::AuthProjectArchived
            | Class::AccountDeactivated
            | Class::Permission
            | Class::VerificationRequired
            | Class::ModelNotFound
    )
}

fn list(all: &[String]) -> String {
    let shown = &all[..all.len().min(LISTED)];
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}
