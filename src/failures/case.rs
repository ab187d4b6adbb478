//! One call that met failures.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    call::{Attempt, Call, Fingerprint},
    config::UpstreamKey,
    error::{Error, Failure},
    redact::{name, redact},
    triage::Verdict,
};

/// Longer texts of a provider's (codes, ids, names) are cut.
const LONGEST: usize = 256;
/// What a case costs beside itself: its entry in the book's table (which is half empty) and in its order.
const BOOKED: usize = 180;

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
    /// Fingerprint of the key that was sent, where it is known.
    #[serde(default)]
    pub key: Option<String>,
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
            app: text(&call.app.name),
            path: name(call.path.path()).into_owned(),
            model: call
                .envelope
                .model
                .as_deref()
                .map(|model| name(model).into_owned()),
            stream: call.envelope.stream,
            sdk_retry: call.sdk.retry_count,
            failures: Vec::new(),
            conclusion: None,
        }
    }

    /// Bytes that it takes, with its place in the book.
    pub(super) fn weight(&self) -> usize {
        let texts = [&self.id, &self.app, &self.path];
        BOOKED
            + size_of::<Self>()
            + texts.iter().map(|text| text.len()).sum::<usize>()
            + self.model.as_ref().map_or(0, String::len)
            + self.failures.iter().map(Failed::weight).sum::<usize>()
            + self.conclusion.as_ref().map_or(0, Conclusion::weight)
    }
}

// === impl Failed ===

impl Failed {
    pub(super) fn of(attempt: &Attempt, failure: &Failure) -> Self {
        Self {
            model: text(&attempt.target.label),
            key: key(attempt).map(|key| key.to_string()),
            ..Self::told(failure)
        }
    }

    /// A stream that broke after its first content.
    pub(super) fn broken(attempt: &Attempt, verdict: &Verdict, request_id: Option<&str>) -> Self {
        let upstream = &attempt.target.upstream;
        Self {
            upstream: upstream.name.to_string(),
            provider: upstream.provider.name.to_string(),
            model: text(&attempt.target.label),
            // Its head was a good one.
            status: Some(200),
            what: "the stream broke after its first content".to_owned(),
            provider_request_id: request_id.map(text),
            own_key: upstream.key != UpstreamKey::Passthrough,
            key: key(attempt).map(|key| key.to_string()),
            after_content: true,
            ..Self::judged(verdict)
        }
    }

    /// Of a failure that may be another call's.
    pub fn told(failure: &Failure) -> Self {
        let upstream = &failure.target.upstream;
        Self {
            upstream: upstream.name.to_string(),
            provider: upstream.provider.name.to_string(),
            model: text(&failure.target.label),
            status: failure.seen.status.map(|status| status.as_u16()),
            what: failure.what.clone(),
            headers: failure.seen.texts(),
            own_key: failure.own_key,
            after_content: failure.after_content,
            ..Self::judged(&failure.verdict)
        }
    }

    /// What the verdict tells; the rest is empty.
    fn judged(verdict: &Verdict) -> Self {
        Self {
            at: SystemTime::now(),
            upstream: String::new(),
            provider: String::new(),
            model: String::new(),
            status: None,
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
            what: String::new(),
            organization: verdict.organization.as_deref().map(text),
            project: verdict.project.as_deref().map(text),
            provider_request_id: verdict.request_id.as_deref().map(text),
            headers: Vec::new(),
            own_key: false,
            key: None,
            after_content: false,
        }
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        let texts = [
            &self.upstream,
            &self.provider,
            &self.model,
            &self.class,
            &self.scope,
            &self.confidence,
            &self.rule,
            &self.waiting_helps,
            &self.retry_same,
            &self.fallback_helps,
            &self.advice,
            &self.what,
        ];
        let perhaps = [
            &self.code,
            &self.kind,
            &self.organization,
            &self.project,
            &self.provider_request_id,
            &self.key,
        ];
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len());
        size_of::<Self>()
            + texts.iter().map(|text| text.len()).sum::<usize>()
            + perhaps
                .into_iter()
                .flatten()
                .map(String::len)
                .sum::<usize>()
            + headers.sum::<usize>()
    }
}

/// The fingerprint of the key that an attempt sends.
fn key(attempt: &Attempt) -> Option<Fingerprint> {
    match &attempt.target.upstream.key {
        UpstreamKey::Held(secret) => Some(Fingerprint::of(secret.expose().as_bytes())),
        UpstreamKey::Passthrough => Some(attempt.call.credential.fingerprint),
        UpstreamKey::None => None,
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

impl Conclusion {
    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        let texts = [&self.class, &self.answered_by];
        size_of::<Self>()
            + self.outcome.len()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + self.circuit.as_ref().map_or(0, |failed| failed.weight())
    }
}

/// A text that came from outside: bounded, and without anything that looks like a key.
pub(super) fn text(from: &str) -> String {
    // Cut last: what is left of a key may not look like one. Bounded first, for who sends megabytes.
    let bounded = first(from, 4 * LONGEST);
    first(&redact(bounded), LONGEST).to_owned()
}

/// So many characters of it.
fn first(text: &str, count: usize) -> &str {
    let end = text.char_indices().nth(count).map(|(at, _)| at);
    end.map_or(text, |end| &text[..end])
}

/// RFC 3339, UTC.
pub(super) mod time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::failures) fn serialize<S: Serializer>(
        at: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*at))
    }

    pub(in crate::failures) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_after_its_keys_were_taken_out() {
        let key = format!("sk-proj-{}", "a1B2c3D4".repeat(8));
        for before in LONGEST - 24..LONGEST {
            let told = text(&format!("{} {key} and more", "x".repeat(before)));
            assert!(told.chars().count() <= LONGEST);
            assert!(!told.contains("a1B2"), "{before}: {told}");
        }
    }
}

#[cfg(test)]
mod examples {
    use super::*;

    impl Case {
        pub(crate) fn example() -> Self {
            Self {
                id: "wr_6a0000000123456789abcdef".into(),
                at: SystemTime::UNIX_EPOCH,
                app: "shop".into(),
                path: "/v1/chat/completions".into(),
                model: Some("gpt-4o".into()),
                stream: false,
                sdk_retry: 0,
                failures: Vec::new(),
                conclusion: None,
            }
        }
    }

    impl Failed {
        pub(crate) fn example() -> Self {
            let headers = [
                ("content-type", "application/json"),
                ("openai-organization", "org-acme"),
                ("server", "cloudflare"),
                ("cf-ray", "8f1f00000000abcd-FRA"),
                ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
                ("x-ratelimit-limit-requests", "500"),
                ("x-ratelimit-remaining-requests", "499"),
            ];
            Self {
                at: SystemTime::UNIX_EPOCH,
                upstream: "openai".into(),
                provider: "openai".into(),
                model: "gpt-4o".into(),
                status: Some(503),
                class: "overloaded".into(),
                scope: "model".into(),
                confidence: "certain".into(),
                rule: "openai/overloaded".into(),
                code: None,
                kind: Some("server_error".into()),
                waiting_helps: "partly".into(),
                retry_same: "partly".into(),
                fallback_helps: "yes".into(),
                wait_seconds: None,
                advice: "The provider is overloaded. It is not your limit: retry with backoff or use another model.".into(),
                what: "the provider answered 503 Service Unavailable".into(),
                organization: Some("org-acme".into()),
                project: Some("proj_shop".into()),
                provider_request_id: Some("req_0123456789abcdef0123456789abcdef".into()),
                headers: headers.map(|(n, v)| (n.into(), v.into())).into(),
                own_key: true,
                key: Some("00c0ffee00c0ffee".into()),
                after_content: false,
            }
        }
    }

    impl Conclusion {
        pub(crate) fn example() -> Self {
            Self {
                outcome: "ok".into(),
                status: 200,
                class: None,
                answered_by: Some("azure".into()),
                attempts: 2,
                duration_seconds: 1.5,
                circuit: None,
            }
        }
    }
}
