//! Faults: what goes wrong, when, and for whom.
//!
//! A [`Fault`] is plain data, the same in a scenario file, in `POST /_sim/faults` and in Rust. Several faults may hit
//! one call: their delays add up, and the first that does more than delay decides the rest.

mod live;
mod spread;

pub(crate) use live::{Ask, Effects, Faults};
pub use live::{FaultError, FaultView};
pub use spread::{Spread, Time};

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The recorded failure named by `error`, as it was on the wire.
    Error,
    /// `status` with `body`, or with an error object made from `message`, `error_type` and `code`.
    Status,
    /// Accepts the request and never answers.
    Hang,
    /// Only `delay`.
    Delay,
    /// TCP reset: before the headers, or after `after_events` events when that is told.
    Reset,
    /// Ends the stream after `after_events` events as if it were whole, with neither `[DONE]` nor a final event.
    Cut,
    /// Closes the connection after `after_events` events without the end of the body (no last chunk).
    Drop,
    /// Says nothing more after `after_events` events, connection open.
    Stall,
    /// `gap` before every event.
    Drip,
    /// One event that is no JSON, after `after_events` events; the rest follows.
    Malformed,
    /// An error event in the stream's own shape after `after_events` events, then the end.
    ErrorEvent,
    /// 200 and an event stream without a single byte.
    EmptyStream,
    /// What comes before the first content (role, lifecycle events), then the end.
    RoleOnly,
    /// Nothing but comments, one each `gap` (default 1 s), for ever.
    CommentsOnly,
    /// An edge's HTML page with `status` (default 502).
    Html,
    /// 200 without a body.
    Empty,
    /// 200 with an HTML page.
    #[serde(rename = "html-200")]
    Html200,
    /// 200 whose JSON ends in the middle.
    Truncate,
    /// Answers well and then closes the connection without saying so, after `delay_close` (default at once).
    Close,
    /// Only `first_token`, `tokens_per_second` and `delay`: a slow provider, not a broken one.
    Pace,
}

/// A fault: its kind, the arguments of the kind, and the calls it hits (all of them when nothing is told).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// May be left out where `error` or `status` tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Id of a recorded failure (`weir simulate --list-faults`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Body as it is to be sent; JSON in a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `content-type` of `body`; default JSON, or HTML when it starts with `<`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// More response headers (`retry-after` …).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `error.message` of a made error object or error event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `error.type` of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// `error.code` of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Events that pass before it happens; default 3, or the whole preface plus one for short streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_events: Option<usize>,
    /// Also send half of the next event (`cut`, `drop`, `stall`, `reset`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mid_event: bool,
    /// Before the headers.
    #[serde(
        deserialize_with = "spread::spread_or_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub delay: Option<Spread>,
    /// Between the headers and the first event.
    #[serde(
        deserialize_with = "spread::spread_or_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub first_token: Option<Spread>,
    /// Before every event.
    #[serde(
        deserialize_with = "spread::spread_or_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub gap: Option<Spread>,
    /// Pace of the events after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// For `close`: how long the idle connection lives on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_close: Option<Time>,

    /// Not before that time after the injection (within each period, if there is one).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// No longer from that time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// `from` and `until` repeat with this period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Time>,
    /// Spares the first calls that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// Hits every so many matching calls only (3 = the third, sixth …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Hits that many calls and is spent.
    #[serde(alias = "first", skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Hits this share of the matching calls (0 to 1), drawn by seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Globs on the model asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Globs on the path (`/v1/chat/*`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Keys, as secrets or fingerprints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Only streams, or only whole answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
}

// === impl Fault ===

impl Fault {
    /// A fault of that kind for every call.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            ..Self::default()
        }
    }

    /// The recorded failure of that id.
    #[must_use]
    pub fn error(id: &str) -> Self {
        Self {
            error: Some(id.to_owned()),
            ..Self::of(Kind::Error)
        }
    }

    /// A plain status with OpenAI's words for it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::of(Kind::Status)
        }
    }

    /// Hits so many calls only.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// Happens after so many events of a stream.
    #[must_use]
    pub fn after_events(self, events: usize) -> Self {
        Self {
            after_events: Some(events),
            ..self
        }
    }

    /// Hits calls for these models (globs) only.
    #[must_use]
    pub fn models(self, models: &[&str]) -> Self {
        Self {
            models: models.iter().map(|&model| model.to_owned()).collect(),
            ..self
        }
    }

    /// Hits these paths (globs) only.
    #[must_use]
    pub fn endpoints(self, endpoints: &[&str]) -> Self {
        Self {
            endpoints: endpoints.iter().map(|&path| path.to_owned()).collect(),
            ..self
        }
    }

    /// Hits within that time after the injection only.
    #[must_use]
    pub fn between(self, from: Duration, until: Duration) -> Self {
        Self {
            from: Some(Time(from)),
            until: Some(Time(until)),
            ..self
        }
    }

    /// Hits this share of the calls (0 to 1).
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self {
            share: Some(share),
            ..self
        }
    }

    /// Slows calls down by that before their headers.
    #[must_use]
    pub fn delayed(self, delay: impl Into<Spread>) -> Self {
        Self {
            delay: Some(delay.into()),
            ..self
        }
    }

    pub(crate) fn resolved_kind(&self) -> Option<Kind> {
        self.kind.or_else(|| {
            if self.error.is_some() {
                Some(Kind::Error)
            } else if self.status.is_some() {
                Some(Kind::Status)
            } else {
                let paced = self.delay.is_some()
                    || self.first_token.is_some()
                    || self.tokens_per_second.is_some();
                (paced || self.gap.is_some()).then_some(Kind::Pace)
            }
        })
    }
}
