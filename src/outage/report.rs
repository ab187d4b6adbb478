//! What is told: ongoing outages, their beginnings and ends, and how each target does.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::attribute::{Finding, Seen};

/// Called when an outage begins and when it ends, outside all locks. Must not block.
pub type Hook = Arc<dyn Fn(&Change) + Send + Sync>;

/// Whose outage it is. The words are a contract: `/status`, metrics and alerts use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Fine,
    /// First tokens come much later than usual.
    Slow,
    /// Nothing out there can be reached.
    OurNetwork,
    /// The key, its account, or what it may do.
    OurKey,
    /// One model; others at the same upstream work.
    TheirModel,
    /// Everything that was asked there.
    TheirApi,
    /// Something fails, and the traffic does not tell whose fault it is.
    Unclear,
    /// Of a target: nothing was asked of late that could tell.
    Unknown,
}

/// What an outage is; [`Verdict::Fine`] and [`Verdict::Unknown`] are none.
pub(super) use Verdict as Kind;

/// How sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    Low,
    Medium,
    High,
}

/// Why an outage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The reversed test says so.
    Recovered,
    /// First tokens have been late for so long that this is the usual now.
    NewUsual,
    /// Nobody asked for so long that nothing is known any more.
    NoTraffic,
    /// It goes on, and is told as another one now.
    Reattributed,
}

/// An ongoing outage.
#[derive(Clone, Debug, Serialize)]
pub struct Outage {
    pub what: Verdict,
    /// One, except for `our_network`, and for `their_api` where several are accounts at the same host.
    pub upstreams: Vec<Arc<str>>,
    /// The target's label; none when it is about more than one.
    pub model: Option<Arc<str>>,
    /// Its first sign.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    pub certainty: Certainty,
    /// In words: counts, names and classes.
    pub evidence: String,
    /// Of late; of first tokens, the share that is late.
    pub failing_share: f64,
    #[serde(rename = "usual_first_token_ms", serialize_with = "millis")]
    pub usual_first_token: Option<Duration>,
    #[serde(rename = "first_token_ms", serialize_with = "millis")]
    pub first_token: Option<Duration>,
    /// When the latest attempt was seen: what is older than that is not known.
    #[serde(serialize_with = "rfc3339")]
    pub last_attempt: SystemTime,
}

/// An outage has begun or ended.
#[derive(Clone, Debug)]
pub struct Change {
    pub outage: Outage,
    /// `None`: it has begun.
    pub ended: Option<Ending>,
}

/// How a target does.
#[derive(Clone, Debug, Serialize)]
pub struct TargetHealth {
    pub upstream: Arc<str>,
    /// The target's label.
    pub model: Arc<str>,
    pub verdict: Verdict,
    /// Attempts of the last four minutes that say something about the provider, and how many of them failed.
    pub attempts: u64,
    pub failed: u64,
    pub usual_failing_share: f64,
    #[serde(rename = "usual_first_token_ms", serialize_with = "millis")]
    pub usual_first_token: Option<Duration>,
    #[serde(rename = "first_token_ms", serialize_with = "millis")]
    pub first_token: Option<Duration>,
    pub last_attempt_seconds: u64,
}

// === impl Verdict ===

impl Verdict {
    /// All kinds of outages.
    pub const OUTAGES: [Self; 6] = [
        Self::Slow,
        Self::OurNetwork,
        Self::OurKey,
        Self::TheirModel,
        Self::TheirApi,
        Self::Unclear,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Slow => "slow",
            Self::OurNetwork => "our_network",
            Self::OurKey => "our_key",
            Self::TheirModel => "their_model",
            Self::TheirApi => "their_api",
            Self::Unclear => "unclear",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Ending ===

impl Ending {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NewUsual => "new_usual",
            Self::NoTraffic => "no_traffic",
            Self::Reattributed => "reattributed",
        }
    }
}

// === impl Outage ===

impl Outage {
    /// `now` and `clock` are the same moment.
    pub(super) fn of(finding: &Finding, now: Instant, clock: SystemTime) -> Self {
        let at = |then: Instant| {
            let past = now.saturating_duration_since(then);
            clock.checked_sub(past).unwrap_or(clock)
        };
        Self {
            what: finding.kind,
            upstreams: finding.upstreams.clone(),
            model: finding.model.clone(),
            since: at(finding.onset),
            certainty: finding.certainty,
            evidence: finding.evidence.clone(),
            failing_share: rounded(finding.share),
            usual_first_token: finding.first_token.map(|(usual, _)| usual),
            first_token: finding.first_token.map(|(_, present)| present),
            last_attempt: at(finding.last),
        }
    }
}

// === impl TargetHealth ===

impl TargetHealth {
    pub(super) fn of(seen: &Seen, findings: &[Finding], now: Instant) -> Self {
        let verdict = findings
            .iter()
            .find(|finding| finding.covers(seen))
            .map_or_else(|| without_finding(seen), |finding| finding.kind);
        let view = &seen.view;
        Self {
            upstream: Arc::clone(&seen.place.upstream),
            model: Arc::clone(&seen.model),
            verdict,
            attempts: view.recent.all(),
            failed: view.recent.bad,
            usual_failing_share: rounded(view.usual_share),
            usual_first_token: view.first_token.map(|(usual, _)| usual),
            first_token: view.first_token.map(|(_, present)| present),
            last_attempt_seconds: now.saturating_duration_since(view.last).as_secs(),
        }
    }
}

impl Finding {
    /// Whether it is about this target.
    fn covers(&self, seen: &Seen) -> bool {
        if !self.upstreams.contains(&seen.place.upstream) {
            return false;
        }
        match &self.model {
            Some(model) => *model == seen.model,
            // A key is everybody's; else only who shows it.
            None => match self.kind {
                Verdict::OurKey => true,
                Verdict::Slow => seen.view.late.is_some(),
                _ => seen.view.failing.is_some(),
            },
        }
    }

    /// The same outage as that one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.about == other.about && self.model == other.model
    }
}

/// A target that no outage is known of: too little has failed for an alarm, or too little was asked.
fn without_finding(seen: &Seen) -> Verdict {
    let recent = seen.view.recent;
    match recent.all() {
        _ if seen.refused => Verdict::Unclear,
        0 => Verdict::Unknown,
        all if recent.bad * 2 > all => Verdict::Unclear,
        _ => Verdict::Fine,
    }
}

fn rounded(share: f64) -> f64 {
    (share * 1_000.0).round() / 1_000.0
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_some(&(time.as_micros() as f64 / 1_000.0).round()),
        None => serializer.serialize_none(),
    }
}
