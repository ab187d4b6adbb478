//! Answers that are read whole: errors, and JSON.

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use http_body_util::BodyExt;

use super::{
    fail::{self, Head},
    leaf::{content_type, reply},
    stream,
};
use crate::{
    call::{Attempt, Reply, ReplyBody},
    codec,
    dialect::openai::{Facts, Usage},
    error::Error,
    json,
    triage::{self, Transport},
    upstream::ResponseBody,
};

/// Of an error body no more is kept, or given back.
const MAX_ERROR: usize = 1024 * 1024;
/// A larger answer flows instead of being held.
const MAX_WHOLE: usize = 32 * 1024 * 1024;

/// What could be read up to a bound.
pub(super) struct Collected {
    pub(super) bytes: Bytes,
    /// The bound was reached before the end.
    pub(super) rest: Option<ResponseBody>,
}

/// Reads up to `max` bytes.
async fn collect(mut body: ResponseBody, max: usize) -> Result<Collected, (Bytes, hyper::Error)> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    loop {
        let length = if all.is_empty() {
            first.as_ref().map_or(0, Bytes::len)
        } else {
            all.len()
        };
        if length > max {
            return Ok(Collected {
                bytes: done(first, all),
                rest: Some(body),
            });
        }
        match body.frame().await {
            None => {
                return Ok(Collected {
                    bytes: done(first, all),
                    rest: None,
                });
            }
            Some(Err(error)) => return Err((done(first, all), error)),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                // Most answers are one chunk, which is kept as it came.
                match &first {
                    None => first = Some(data),
                    Some(start) => {
                        if all.is_empty() {
                            all.extend_from_slice(start);
                        }
                        all.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn done(first: Option<Bytes>, all: BytesMut) -> Bytes {
    if all.is_empty() {
        first.unwrap_or_default()
    } else {
        all.freeze()
    }
}

/// An answer with an error status.
pub(super) async fn error(attempt: &Attempt, mut head: Head, body: ResponseBody) -> Error {
    let raw = match collect(body, MAX_ERROR).await {
        Ok(Collected { bytes, rest: None }) => bytes,
        // Cut, or longer than any error is: what came says enough, but its length is no longer true.
        Ok(Collected { bytes, .. }) | Err((bytes, _)) => {
            head.headers.remove(header::CONTENT_LENGTH);
            bytes
        }
    };
    let decoded = decoded(&head, &raw).unwrap_or_default();
    fail::status(attempt, head, raw, &decoded)
}

/// An answer that is not an error by its status.
pub(super) async fn answer(
    attempt: &Attempt,
    head: Head,
    body: ResponseBody,
) -> Result<Reply, Error> {
    let collected = match collect(body, MAX_WHOLE).await {
        Ok(collected) => collected,
        Err((_, error)) => return Err(fail::broken_body(attempt, &head, &error)),
    };
    if let Some(rest) = collected.rest {
        return Ok(stream::rest(attempt, head, collected.bytes, rest));
    }
    let raw = collected.bytes;
    let call = &attempt.call;
    let Some(decoded) = decoded(&head, &raw) else {
        if is_foreign(&head, &raw) {
            return Ok(reply(attempt, head, ReplyBody::whole(raw)));
        }
        return Err(fail::mangled(
            attempt,
            &head,
            "the answer's encoding is corrupt",
        ));
    };
    let kind = content_type(&head.headers);
    let due =
        call.endpoint.has_model() && head.status == StatusCode::OK && call.method != Method::HEAD;
    // What is fetched (a failed background response, a file) may well speak of errors; only what is made may not.
    let unanswered = if call.endpoint.has_model() {
        triage::unanswered(kind, &decoded, due)
    } else {
        triage::looks_like_html(kind, &decoded).then_some(Transport::ObjectIn200)
    };
    if let Some(transport) = unanswered {
        let what = if decoded.is_empty() {
            "the answer is empty"
        } else {
            "the answer is an error or a page under a 200"
        };
        return Err(fail::not_an_answer(
            attempt, head, &decoded, transport, what,
        ));
    }
    let mut usage = None;
    if call.endpoint.has_model() && !kind.starts_with("text/") {
        // Below, the end of a body whose usage is found is not looked at.
        let text = decoded.trim_ascii();
        if text.first() == Some(&b'{') && text.last() != Some(&b'}') {
            return Err(fail::mangled(
                attempt,
                &head,
                "the answer is not whole JSON",
            ));
        }
        // Where the usage stands as it does in nearly every answer, the rest need not be walked.
        usage = json::last_member(&decoded, "\"usage\"").and_then(Usage::of);
        match usage.map_or_else(
            || Facts::scan(call.endpoint, &decoded),
            |_| Ok(Facts::default()),
        ) {
            Ok(_) if usage.is_some() => {}
            Ok(facts) => usage = facts.usage,
            Err(_) if call.endpoint.has_json_body() => {
                return Err(fail::mangled(
                    attempt,
                    &head,
                    "the answer is not whole JSON",
                ));
            }
            Err(_) => {}
        }
    }
    let mut reply = reply(attempt, head, ReplyBody::whole(raw));
    reply.learnt.usage = usage;
    Ok(reply)
}

/// The body without its content encoding; `None`: it cannot be undone.
fn decoded(head: &Head, raw: &Bytes) -> Option<Bytes> {
    let Some(encoding) = head.headers.get(header::CONTENT_ENCODING) else {
        return Some(raw.clone());
    };
    codec::decode_all(encoding.to_str().ok()?, raw.clone(), 4 * MAX_WHOLE).ok()
}

/// An encoding that the caller may know and we do not: nothing can be said about the body, so it is passed on.
fn is_foreign(head: &Head, raw: &Bytes) -> bool {
    let encoding = head
        .headers
        .get(header::CONTENT_ENCODING)
        .and_then(|encoding| encoding.to_str().ok());
    encoding.is_some_and(|encoding| {
        matches!(
            codec::decode_all(encoding, raw.clone(), 4 * MAX_WHOLE),
            Err(codec::DecodeError::Unknown(_))
        )
    })
}
