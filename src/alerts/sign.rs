//! Signatures after Standard Webhooks (version `v1`): HMAC-SHA256 over id, time and body.
//!
//! The time is that of the delivery, not of the event, so that a receiver may refuse old messages and still take a late
//! repeat; the id is the event's, so that it can tell a repeat from a new one.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;

use crate::config::AlertKey;

/// Seconds of Unix time, as `webhook-timestamp` has it.
pub(super) fn timestamp(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs())
}

/// The value of `webhook-signature`.
pub(super) fn signature(key: &AlertKey, id: &str, timestamp: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
}
