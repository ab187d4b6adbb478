//! Answers that flow: event streams up to their commit point and beyond it, and plain bytes.

mod events;
mod flow;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::header;
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use self::{
    events::Events,
    flow::{Flow, Source},
};
use super::{
    fail::{self, Head},
    leaf::{content_type, reply},
};
use crate::{
    call::{Attempt, BodyError, Facts, Reply, ReplyBody},
    codec,
    error::Error,
    triage::{self, Transport},
    upstream::ResponseBody,
};

/// An event stream, held back until its first semantic event.
pub(super) async fn open(
    attempt: &Attempt,
    mut head: Head,
    body: ResponseBody,
) -> Result<Reply, Error> {
    // An error event of ours may be added.
    head.headers.remove(header::CONTENT_LENGTH);
    let mut source = plain(attempt, &mut head, body)?;
    let mut events = Events::new(&attempt.call);
    let mut held = VecDeque::new();
    loop {
        match source.frame().await {
            Some(Ok(frame)) => {
                let Ok(chunk) = frame.into_data() else {
                    continue;
                };
                let fed = events.feed(chunk, &mut held);
                if let Some(error) = events.early_error() {
                    return Err(fail::event(attempt, &head, &error.data, error.range));
                }
                if fed.is_err() {
                    return Err(fail::broken_stream(
                        attempt,
                        &head,
                        "an event of the stream is too large".to_owned(),
                    ));
                }
                if events.committed() {
                    break;
                }
            }
            Some(Err(error)) => {
                tracing::debug!(upstream = %attempt.target.upstream.name, %error, "A stream broke before its first content.");
                return Err(fail::broken_stream(
                    attempt,
                    &head,
                    "the stream broke before its first content".to_owned(),
                ));
            }
            None => {
                events.finish(&mut held);
                if let Some(error) = events.early_error() {
                    return Err(fail::event(attempt, &head, &error.data, error.range));
                }
                if events.whole() {
                    break;
                }
                return Err(fail::broken_stream(
                    attempt,
                    &head,
                    "the stream ended before its first content".to_owned(),
                ));
            }
        }
    }
    Ok(flowing(
        attempt,
        head,
        Flow::events(source, held, events, attempt),
    ))
}

/// Bytes of another kind (sound, images, files). Its first chunk must be there: until then it may fail unseen.
pub(super) async fn flow(
    attempt: &Attempt,
    head: Head,
    mut body: ResponseBody,
) -> Result<Reply, Error> {
    let mut held = VecDeque::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                let Ok(chunk) = frame.into_data() else {
                    continue;
                };
                if chunk.is_empty() {
                    continue;
                }
                if attempt.call.endpoint.has_model()
                    && triage::looks_like_html(content_type(&head.headers), &chunk)
                {
                    let what = "the answer is a page under a 200";
                    return Err(fail::not_an_answer(
                        attempt,
                        head,
                        &chunk,
                        Transport::ObjectIn200,
                        what,
                    ));
                }
                held.push_back(chunk);
                break;
            }
            Some(Err(error)) => return Err(fail::broken_body(attempt, &head, &error)),
            None if attempt.call.endpoint.has_model() => {
                let what = "the answer is empty";
                return Err(fail::not_an_answer(
                    attempt,
                    head,
                    &Bytes::new(),
                    Transport::ObjectIn200,
                    what,
                ));
            }
            None => return Ok(reply(attempt, head, ReplyBody::whole(Bytes::new()))),
        }
    }
    Ok(flowing(
        attempt,
        head,
        Flow::bytes(Source::Plain(body), held, attempt),
    ))
}

/// A large answer of which `start` has been read.
pub(super) fn rest(attempt: &Attempt, head: Head, start: Bytes, body: ResponseBody) -> Reply {
    flowing(
        attempt,
        head,
        Flow::bytes(Source::Plain(body), VecDeque::from([start]), attempt),
    )
}

fn flowing(attempt: &Attempt, head: Head, flow: Flow) -> Reply {
    let facts: Arc<Facts> = flow.facts();
    reply(attempt, head, ReplyBody::stream(Box::pin(flow), facts))
}

/// The stream's bytes in the clear: events in a compressed stream are read, and passed on decoded. We asked for
/// `identity`; this is for providers that do not listen.
fn plain(attempt: &Attempt, head: &mut Head, body: ResponseBody) -> Result<Source, Error> {
    let encoding = head
        .headers
        .get(header::CONTENT_ENCODING)
        .and_then(|e| e.to_str().ok())
        .unwrap_or_default();
    if codec::is_identity(encoding) {
        return Ok(Source::Plain(body));
    }
    match codec::decode_stream(encoding, body) {
        Ok(decoded) => {
            head.headers.remove(header::CONTENT_ENCODING);
            Ok(Source::Decoded(Box::pin(decoded)))
        }
        Err(_) => Err(fail::broken_stream(
            attempt,
            head,
            "the stream's encoding is unknown".to_owned(),
        )),
    }
}

/// The body of a tunnel's head: never a byte, never an end.
#[derive(Debug)]
pub(super) struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Pending
    }
}
