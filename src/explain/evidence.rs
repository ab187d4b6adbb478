//! What a verdict rests on, as it may be shown: bounded, and without credentials.

use std::borrow::Cow;
use std::time::SystemTime;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{confidence, paste::Paste};
use crate::{
    redact::redact,
    triage::{NetworkKind, Verdict},
};

/// Of the provider's words no more is quoted.
const WORDS: usize = 400;
/// Of a header's value no more is quoted.
const VALUE: usize = 120;
/// Headers quoted at most.
const HEADERS: usize = 24;

/// Headers that tell something about a failure.
const TELLING: &[&str] = &[
    "anthropic-organization-id",
    "anthropic-ratelimit-",
    "apim-request-id",
    "cf-mitigated",
    "cf-ray",
    "openai-",
    "ratelimit",
    "request-id",
    "retry-after",
    "server",
    "x-groq-",
    "x-ms-region",
    "x-ratelimit",
    "x-request-id",
    "x-should-retry",
    "x-weir-",
];

/// What the verdict rests on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    pub status: Option<u16>,
    pub code: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The provider's words, shortened.
    pub message: Option<String>,
    /// `dns`, `tls`, `refused`, `reset`, `connect_timeout`, `read_timeout` or `other`: there was no answer.
    pub network: Option<Cow<'static, str>>,
    pub endpoint: Option<String>,
    /// The rule that fired, as `file/id`.
    pub rule: String,
    /// `certain`, `likely` or `guess`.
    pub confidence: Cow<'static, str>,
    pub provider_request_id: Option<String>,
    pub organization: Option<String>,
    pub project: Option<String>,
    pub wait_seconds: Option<f64>,
    /// Where the wait was told.
    pub wait_told_by: Option<Cow<'static, str>>,
    /// RFC 3339, UTC.
    pub reset_at: Option<String>,
    pub headers: Vec<Header>,
}

/// One header of the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

// === impl Shown ===

impl Shown {
    /// The part that every verdict has.
    pub(super) fn of_verdict(verdict: &Verdict) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(|text| short(text, VALUE));
        Self {
            code: text(&verdict.code),
            kind: text(&verdict.kind),
            message: verdict
                .provider_message
                .as_deref()
                .map(|words| short(words, WORDS)),
            rule: verdict.rule.to_string(),
            confidence: Cow::Borrowed(confidence(verdict.confidence)),
            provider_request_id: text(&verdict.request_id),
            organization: text(&verdict.organization),
            project: text(&verdict.project),
            wait_seconds: verdict
                .wait
                .map(|wait| (wait.as_secs_f64() * 1000.0).round() / 1000.0),
            reset_at: verdict.reset_at.map(time),
            ..Self::default()
        }
    }

    pub(super) fn of_paste(paste: &Paste, verdict: &Verdict) -> Self {
        let mut shown = Self::of_verdict(verdict);
        shown.status = paste.status;
        shown.network = paste
            .wire
            .filter(|_| paste.status.is_none())
            .map(|kind| Cow::Borrowed(network(kind)));
        shown.endpoint = Some(paste.endpoint().to_owned()).filter(|path| !path.is_empty());
        let telling = |name: &str| TELLING.iter().any(|known| name.starts_with(known));
        let headers = paste
            .headers
            .iter()
            .filter(|(name, _)| telling(name.as_str()));
        shown.headers = headers
            .take(HEADERS)
            .map(|(name, value)| Header {
                name: name.to_string(),
                value: short(&String::from_utf8_lossy(value.as_bytes()), VALUE),
            })
            .collect();
        shown.wait_told_by = verdict
            .wait
            .map(|_| Cow::Borrowed(told_by(&paste.headers, &paste.body)));
        let both = [paste.context.as_str(), paste.body.as_str()];
        let named = |prefix: &str| both.iter().find_map(|text| name_after(text, prefix));
        // The provider's own header first; a name in its words is as good.
        shown.organization = shown.organization.or_else(|| named("org-"));
        shown.project = shown.project.or_else(|| named("proj_"));
        shown.provider_request_id =
            shown
                .provider_request_id
                .or_else(|| named("req_"))
                .or_else(|| {
                    header(
                        &paste.headers,
                        &["x-request-id", "request-id", "apim-request-id"],
                    )
                });
        shown
    }
}

fn header(headers: &HeaderMap, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(|value| short(value, VALUE))
}

/// A name that begins so, and is long enough to be one.
fn name_after(text: &str, prefix: &str) -> Option<String> {
    text.match_indices(prefix).find_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return None;
        }
        let rest = &text[at + prefix.len()..];
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        (8..=80)
            .contains(&length)
            .then(|| short(&text[at..at + prefix.len() + length], VALUE))
    })
}

fn told_by(headers: &HeaderMap, body: &str) -> &'static str {
    for name in ["retry-after-ms", "x-ms-retry-after-ms", "retry-after"] {
        if headers.contains_key(name) {
            return match name {
                "retry-after" => "the header retry-after",
                _ => "the header retry-after-ms",
            };
        }
    }
    let words = body.to_ascii_lowercase();
    if [
        "retrydelay",
        "try again in",
        "retry in",
        "retry after",
        "retry_after",
    ]
    .iter()
    .any(|word| words.contains(word))
    {
        "the body"
    } else if headers.keys().any(|name| name.as_str().contains("reset")) {
        "the rate-limit reset headers"
    } else {
        "the answer"
    }
}

fn network(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Refused => "refused",
        NetworkKind::Reset => "reset",
        NetworkKind::Dns => "dns",
        NetworkKind::Tls => "tls",
        NetworkKind::ConnectTimeout => "connect_timeout",
        NetworkKind::ReadTimeout => "read_timeout",
        NetworkKind::Other => "other",
    }
}

pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// On one line, without credentials and control characters, at most `most` characters. Redacted before it is cut: half a key
/// is no longer recognised.
pub(super) fn short(text: &str, most: usize) -> String {
    let clean = redact(text);
    let mut out = String::new();
    for word in clean
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    if out.chars().count() > most {
        out = out.chars().take(most.saturating_sub(4)).collect();
        out.push_str(" ...");
    }
    out
}
