//! One call that met failures.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    call::{Attempt, Call},
    error::{Error, Failure},
    redact::redact,
};

/// Longer texts of a provider's (codes, ids, names) are cut.
const LONGEST: usize = 256;

/// One call that met failures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// weir's id of the call.
    pub id: String,
    /// When its first failure was seen.
    #[serde(with = "time")]
    pub at: SystemTime,
    pub app: String,
    /// Path without its query.
    pub path: String,
    /// The model asked for.
    pub model: Option<String>,
    pub stream: bool,
    /// The SDK's count of its own repeats.
    pub sdk_retry: u32,
    /// One for each failed attempt, in order.
    pub failures: Vec<Failed>,
    /// `None`: the call is still under way.
    pub conclusion: Option<Conclusion>,
}

/// One failed attempt: its verdict and the evidence for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    #[serde(with = "time")]
    pub at: SystemTime,
    pub upstream: String,
    pub provider: String,
    /// The target's label.
    pub model: String,
    /// The status on the wire; `None`: no HTTP answer.
    pub status: Option<u16>,
    pub class: String,
    pub scope: String,
    pub confidence: String,
    /// As `file/id`.
    pub rule: String,
    pub code: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub waiting_helps: String,
    pub retry_same: String,
    pub fallback_helps: String,
    pub wait_seconds: Option<f64>,
    pub advice: String,
    /// What happened, in weir's words.
    pub what: String,
    pub organization: Option<String>,
    pub project: Option<String>,
    pub provider_request_id: Option<String>,
    /// Headers of the answer that say who answered and which limits hold.
    pub headers: Vec<(String, String)>,
    /// The key was weir's own, not the caller's.
    pub own_key: bool,
    /// It broke after its first content had gone to the caller.
    pub after_content: bool,
}

/// How the call ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conclusion {
    /// The word of `weir_requests_total{outcome}`.
    pub outcome: String,
    /// The status that the caller got.
    pub status: u16,
    /// `x-weir-class`
    pub class: Option<String>,
    /// Who answered in the end.
    pub answered_by: Option<String>,
    pub attempts: u32,
    pub duration_seconds: f64,
    /// The call met an open circuit: what had opened it.
    pub circuit: Option<Box<Failed>>,
}

// === impl Case ===

impl Case {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            id: call.id.to_string(),
            at: SystemTime::now(),
            app: call.app.name.to_string(),
            path: text(call.path.path()),
            model: call.envelope.model.as_deref().map(text),
            stream: call.envelope.stream,
            sdk_retry: call.sdk.retry_count,
            failures: Vec::new(),
            conclusion: None,
        }
    }
}

// === impl Failed ===

impl Failed {
    pub(super) fn of(attempt: &Attempt, failure: &Failure) -> Self {
        let mut failed = Self::told(failure);
        failed.model = attempt.target.label.to_string();
        failed
    }

    /// Of a failure that may be another call's.
    pub fn told(failure: &Failure) -> Self {
        let (verdict, upstream) = (&failure.verdict, &failure.target.upstream);
        Self {
            at: SystemTime::now(),
            upstream: upstream.name.to_string(),
            provider: upstream.provider.name.to_string(),
            model: failure.target.label.to_string(),
            status: failure.seen.status.map(|status| status.as_u16()),
            class: verdict.class.to_string(),
            scope: verdict.scope.to_string(),
            confidence: format!("{:?}", verdict.confidence).to_ascii_lowercase(),
            rule: verdict.rule.to_string(),
            code: verdict.code.as_deref().map(text),
            kind: verdict.kind.as_deref().map(text),
            waiting_helps: verdict.waiting_helps.to_string(),
            retry_same: verdict.retry_same.to_string(),
            fallback_helps: verdict.fallback_helps.to_string(),
            wait_seconds: verdict.wait.as_ref().map(Duration::as_secs_f64),
            advice: verdict.advice.to_string(),
            what: failure.what.clone(),
            organization: verdict.organization.as_deref().map(text),
            project: verdict.project.as_deref().map(text),
            provider_request_id: verdict.request_id.as_deref().map(text),
            headers: failure.seen.texts(),
            own_key: failure.own_key,
            after_content: failure.after_content,
        }
    }
}

// === impl Conclusion ===

impl Conclusion {
    /// What had opened the circuit that refused the call, if one did.
    pub fn circuit(error: &Error) -> Option<Box<Failed>> {
        match error {
            Error::CircuitOpen(open) => open.last.as_ref().map(|f| Box::new(Failed::told(f))),
            Error::Retry(gave_up) => Self::circuit(&gave_up.last),
            _ => None,
        }
    }
}

/// A text that came from outside: bounded, and without anything that looks like a key.
fn text(from: &str) -> String {
    let cut = from
        .char_indices()
        .nth(LONGEST)
        .map_or(from, |(at, _)| &from[..at]);
    redact(cut).into_owned()
}

/// RFC 3339, UTC.
mod time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        at: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}
