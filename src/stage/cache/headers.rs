//! What of an answer's head is kept and replayed, and what weir adds (RFC 9111 `Age`, RFC 9211 `Cache-Status`).
//!
//! Kept are the headers that tell of the answer: its type, its id, model and API version. Not kept are those that tell
//! of the moment (rate limits, dates, timings), of the connection, or that are meant for one client (cookies).
//! The organisation's name is kept only where nobody but the same credential sees it.

use std::{fmt::Write, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::key::Shape;
use crate::config::CacheScope;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

const KEPT: &[&str] = &[
    "content-language",
    "x-request-id",
    "openai-version",
    "openai-model",
];
const KEPT_PRIVATELY: &[&str] = &["openai-organization", "openai-project"];

/// What goes into the store.
pub(super) fn kept(headers: &HeaderMap, scope: CacheScope) -> HeaderMap {
    let private = if scope == CacheScope::Credential {
        KEPT_PRIVATELY
    } else {
        &[]
    };
    // Room for what is added on the way out, so that a hit's copy never grows.
    let mut kept = HeaderMap::with_capacity(16);
    for name in KEPT.iter().chain(private) {
        if let Some(value) = headers.get(*name) {
            kept.insert(HeaderName::from_static(name), value.clone());
        }
    }
    kept
}

/// The content type of a converted answer.
pub(super) const fn content_type(shape: Shape) -> HeaderValue {
    if shape.is_stream() {
        HeaderValue::from_static("text/event-stream; charset=utf-8")
    } else {
        HeaderValue::from_static("application/json")
    }
}

/// A stored answer goes out. Past its time the TTL is negative: that is how RFC 9211 spells stale.
pub(super) fn hit(headers: &mut HeaderMap, age: Duration, ttl: Duration, detail: &str) {
    let (age, ttl) = (age.as_secs(), ttl.as_secs());
    headers.insert(header::AGE, HeaderValue::from(age));
    let sign = if ttl < age { "-" } else { "" };
    let mut text = String::with_capacity(48);
    let _ = write!(text, "weir; hit; ttl={sign}{}{detail}", ttl.abs_diff(age));
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(CACHE_STATUS, value);
    }
}

/// The call went on to the provider.
pub(super) fn forwarded(headers: &mut HeaderMap, status: &'static str) {
    headers.append(CACHE_STATUS, HeaderValue::from_static(status));
}
