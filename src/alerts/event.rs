//! What is told. The JSON of these fields is a contract (`docs/alerts.md`): fields are added, none changes its meaning.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

use super::{incidents::Incident, words};
use crate::{config::AlertTopic, redact::redact};

/// The version of the event's shape.
const VERSION: u32 = 1;
/// Longer texts of a provider's (ids, names) are cut.
pub(super) const LONGEST_NAME: usize = 256;
/// Longer advice is cut: a user's rule may hold a page.
pub(super) const LONGEST_TEXT: usize = 1_024;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Kind {
    #[serde(rename = "circuit.opened")]
    CircuitOpened,
    #[serde(rename = "circuit.closed")]
    CircuitClosed,
    #[serde(rename = "outage.began")]
    OutageBegan,
    #[serde(rename = "outage.ended")]
    OutageEnded,
    #[serde(rename = "foreign_use.began")]
    ForeignUseBegan,
    #[serde(rename = "foreign_use.ended")]
    ForeignUseEnded,
    /// Sent by hand.
    #[serde(rename = "test")]
    Test,
}

/// One alert. Holds names and ids, no key and no prompt.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub version: u32,
    /// The same on every delivery of this event, and of no other.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// One line.
    pub title: String,
    /// All of it in words: no markup, no link.
    pub text: String,
    pub upstream: Option<String>,
    pub provider: Option<String>,
    /// How far it reaches: `model`, `key`, `project`, `organization`.
    pub scope: Option<&'static str>,
    /// Which one of these.
    pub key: Option<String>,
    pub class: Option<&'static str>,
    /// What the class means.
    pub meaning: Option<&'static str>,
    /// What to do.
    pub advice: Option<String>,
    /// When it began.
    #[serde(serialize_with = "rfc3339_opt")]
    pub since: Option<SystemTime>,
    /// How long it lasted; known at its end.
    pub duration_seconds: Option<f64>,
    /// How often it closed and opened again meanwhile.
    pub flaps: u32,
    /// Attempts that it refused; known at its end.
    pub calls_affected: Option<u64>,
    /// The provider's id of the failure that began it.
    pub first_request_id: Option<String>,
    /// The provider's id of the latest failure.
    pub last_request_id: Option<String>,
    /// Events before this one that could not be delivered.
    pub missed_events: u64,
    /// The machine that tells.
    pub instance: &'static str,
    pub weir: &'static str,
    /// Whom it concerns; not told.
    #[serde(skip)]
    pub topic: AlertTopic,
}

// === impl Event ===

impl Event {
    /// An event of now with a title and nothing else; `text` begins as the title.
    pub fn new(kind: Kind, topic: AlertTopic, title: &str) -> Self {
        let title = clean(title, LONGEST_TEXT);
        Self {
            version: VERSION,
            id: format!("evt_{:016x}{:08x}", fastrand::u64(..), fastrand::u32(..)),
            kind,
            time: SystemTime::now(),
            text: title.clone(),
            title,
            upstream: None,
            provider: None,
            scope: None,
            key: None,
            class: None,
            meaning: None,
            advice: None,
            since: None,
            duration_seconds: None,
            flaps: 0,
            calls_affected: None,
            first_request_id: None,
            last_request_id: None,
            missed_events: 0,
            instance: instance(),
            weir: env!("CARGO_PKG_VERSION"),
            topic,
        }
    }

    /// What `weir alerts test` sends.
    pub fn test() -> Self {
        let mut event = Self::new(Kind::Test, AlertTopic::Outages, "A test alert of weir");
        event.text = "A test alert of weir. Nothing is wrong: alerts arrive here.".to_owned();
        event
    }

    /// A circuit opened, or has closed after `lasted`.
    pub(super) fn of(incident: &Incident, time: SystemTime, lasted: Option<Duration>) -> Self {
        let what = words::name(incident.scope, &incident.key);
        let (upstream, class) = (&*incident.upstream, incident.class.as_str());
        let meaning = words::meaning(incident.class);
        let (kind, title, text) = match lasted {
            None => {
                let title = format!("Circuit opened: {what} at {upstream} ({class})");
                let text = format!("{title}. {meaning} {}", incident.advice);
                (Kind::CircuitOpened, title, text)
            }
            Some(lasted) => {
                let time = words::duration(lasted);
                let title = format!("Circuit closed: {what} at {upstream}, after {time} ({class})");
                let flaps = match incident.flaps {
                    0 => String::new(),
                    1 => " It flapped once meanwhile.".to_owned(),
                    n => format!(" It flapped {n} times meanwhile."),
                };
                let text = format!("{title}. All calls are served again.{flaps}");
                (Kind::CircuitClosed, title, text)
            }
        };
        Self {
            time,
            text: text.trim_end().to_owned(),
            upstream: Some(incident.upstream.clone()),
            provider: Some(incident.provider.clone()),
            scope: Some(incident.scope.as_str()),
            key: Some(incident.key.clone()),
            class: Some(class),
            meaning: Some(meaning),
            advice: Some(incident.advice.clone()).filter(|advice| !advice.is_empty()),
            since: Some(incident.since.wall),
            duration_seconds: lasted.map(|lasted| (lasted.as_secs_f64() * 1e3).round() / 1e3),
            flaps: incident.flaps,
            calls_affected: lasted.map(|_| incident.refused),
            first_request_id: incident.first.clone(),
            last_request_id: incident.last.clone(),
            ..Self::new(kind, words::topic(incident.class), &title)
        }
    }

    /// The body as JSON.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are always JSON")
    }
}

/// A text that came from outside: bounded, on one line, without anything that looks like a key or works as a link.
pub(super) fn clean(text: &str, longest: usize) -> String {
    // The cut comes last: half a key may not look like one.
    let bounded: String = text.chars().take(longest.saturating_mul(2)).collect();
    let plain: String = redact(&bounded)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(longest)
        .collect();
    plain.replace("://", ": //")
}

/// The name of this machine.
fn instance() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let told = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| std::env::var("HOSTNAME").ok());
        let name = told.map(|name| clean(name.trim(), LONGEST_NAME));
        name.filter(|name| !name.is_empty())
            .unwrap_or_else(|| "unknown".to_owned())
    })
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*at))
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn rfc3339_opt<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}
