//! Failure triage: one upstream failure → one class, one scope, a wait, advice, and the rule that said so.
//!
//! A pure engine over data. The rules are one TOML file per provider in `config/providers/`, embedded in the binary
//! and extendable from the user's configuration; adding a provider is adding a file. [`judge`] reads status, headers
//! and a bounded prefix of the body, and does no I/O. It runs on the failure path only, where a JSON tree is
//! affordable; successful replies see no more than [`unanswered`], which scans bytes.
//!
//! Called by `stage/dispatch` on every failed attempt. What a failure leads to is decided by [`Verdict::policy`], which
//! retry, breaker and alerts read: the class's row of one table, narrowed by what is known of this failure.
//!
//! At the edges: a body that is cut, is no JSON or is empty is judged by what is left (text, headers, status). A failure
//! that no rule knows gets the most careful class its status allows: an unknown 429 waits and opens no billing circuit.

mod advice;
mod class;
mod error;
mod facts;
mod hide;
mod judge;
mod limiting;
mod numbers;
mod page;
mod plain;
mod policy;
mod preset;
mod provider;
mod quoted;
mod rule;
mod told;
pub mod wait;
mod when;

#[cfg(test)]
mod tests;

pub use class::{Class, Helps, Scope, UnknownWord};
pub use error::PresetError;
pub use judge::{judge, judge_at, usual_of};
pub use limiting::{Charged, Family, LimitHeaders, Limiting};
pub use numbers::ToldLimit;
pub use page::{looks_like_html, unanswered};
pub use policy::{CircuitEffect, NextTarget, Policy, SameTarget};
pub use preset::{preset, presets};
pub use provider::{Auth, DayReset, Dialect, Provider};

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How the failure came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A plain HTTP answer with an error status.
    Http,
    /// Inside a stream that began with 200: an SSE event, an NDJSON line, a WebSocket message, or the stream's end.
    /// The body is the raw frame or only its data; without an error object in it, the stream broke.
    StreamEvent,
    /// A whole body under a 2xx status that is not an answer.
    ObjectIn200,
    /// No HTTP answer. The body may hold the error's text, which decides when the kind is [`NetworkKind::Other`].
    Network(NetworkKind),
}

/// What happened on the wire when there was no HTTP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// Nothing listens there.
    Refused,
    /// The connection broke.
    Reset,
    /// The name did not resolve.
    Dns,
    /// The handshake failed: certificate, protocol.
    Tls,
    /// No connection in time.
    ConnectTimeout,
    /// Connected, but no first byte or token in time; or silent for too long later.
    ReadTimeout,
    /// Only the text is known.
    Other,
}

/// What is known about one failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// HTTP status; 0 = no HTTP answer.
    pub status: u16,
    /// Response headers; empty when there was no answer.
    pub headers: &'a http::HeaderMap,
    /// The body's beginning (64 KiB are read at most), content encoding already undone.
    pub body: &'a [u8],
    /// How it came.
    pub transport: Transport,
    /// Path that was called, as in `/v1/chat/completions`.
    pub endpoint: &'a str,
}

/// How much to trust a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Only the status spoke.
    Guess,
    /// Wording, headers or the shape of the answer decided.
    Likely,
    /// A code or type of the provider's own decided, or the wire itself.
    Certain,
}

/// What the failure is and what helps.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What kind of failure.
    pub class: Class,
    /// What to mark as bad.
    pub scope: Scope,
    /// The told wait from now on: never shorter than any source said, at most [`wait::LONGEST`]. `None`: none was
    /// told, or waiting cannot help.
    pub wait: Option<Duration>,
    /// The numbers of the limit that refused, where the words tell them.
    pub told_limit: Option<ToldLimit>,
    /// When the limit ends, where a point in time was told (a spend limit's date, a day limit's reset). Not bounded.
    pub reset_at: Option<SystemTime>,
    /// May the gateway repeat by itself on this key (after the wait)?
    pub retry_same: Helps,
    /// Does the same request succeed within minutes without anybody acting?
    pub waiting_helps: Helps,
    /// Has another key, model or provider a chance?
    pub fallback_helps: Helps,
    /// One or two plain sentences for a human; ASCII on a single line, fit for a header.
    pub advice: Cow<'static, str>,
    /// The rule that fired, as `file/id`.
    pub rule: Arc<str>,
    /// How much to trust it.
    pub confidence: Confidence,
    /// The provider's own words, at most 2 KiB. May quote the caller's input: not for logs.
    pub provider_message: Option<String>,
    /// `error.code` as sent.
    pub code: Option<String>,
    /// `error.type` as sent (or Google's `status` word).
    pub kind: Option<String>,
    /// Organisation that the response headers name.
    pub organization: Option<String>,
    /// Project that the response headers name.
    pub project: Option<String>,
    /// The provider's request id.
    pub request_id: Option<String>,
}
