//! Reading a request body: whole, bounded and timed, or as an upload that streams through.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::Refused;
use crate::call::{Payload, Upload};

/// Bytes of an upload that are looked at to find the form's `model`. The official Python SDK sends
/// fields before files; what comes later than this is routed by the default route.
const PEEK: usize = 64 * 1024;

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max_bytes: usize,
    /// Longest silence.
    pub(super) timeout: Duration,
}

/// Whether a body of this kind is read whole. Forms and raw bytes stream through.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.as_bytes();
    let starts = |prefix: &[u8]| {
        kind.get(..prefix.len())
            .is_some_and(|k| k.eq_ignore_ascii_case(prefix))
    };
    !(starts(b"multipart/")
        || starts(b"application/octet-stream")
        || starts(b"audio/")
        || starts(b"image/"))
}

/// Reads `body` as its headers ask; undoes the content encoding of a whole body and removes the header.
pub(super) async fn read(
    headers: &mut HeaderMap,
    body: Incoming,
    bounds: Bounds,
) -> Result<Payload, Refused> {
    if body.is_end_stream() {
        return Ok(Payload::Whole(Bytes::new()));
    }
    if !is_json(headers) {
        return peek(headers, body, bounds).await;
    }
    let declared = body.size_hint().lower();
    if declared > bounds.max_bytes as u64 {
        return Err(Refused::BodyTooLarge {
            limit: bounds.max_bytes,
        });
    }
    let bytes = whole(body, bounds, declared).await?;
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(Payload::Whole(bytes));
    };
    let encoding = encoding
        .to_str()
        .map_err(|_| Refused::Encoding("not a word".to_owned()))?
        .to_owned();
    let decoded = crate::codec::decode_all(&encoding, bytes, bounds.max_bytes).map_err(
        |error| match error {
            crate::codec::DecodeError::TooLarge { .. } => Refused::BodyTooLarge {
                limit: bounds.max_bytes,
            },
            other => Refused::Encoding(other.to_string()),
        },
    )?;
    headers.remove(header::CONTENT_ENCODING);
    Ok(Payload::Whole(decoded))
}

async fn whole(mut body: Incoming, bounds: Bounds, declared: u64) -> Result<Bytes, Refused> {
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    let mut length = 0;
    while let Some(data) = next(&mut body, bounds).await? {
        length += data.len();
        if length > bounds.max_bytes {
            return Err(Refused::BodyTooLarge {
                limit: bounds.max_bytes,
            });
        }
        // Most bodies are one chunk, which is kept as it came.
        match (&first, &mut rest) {
            (None, _) => first = Some(data),
            (Some(start), None) => {
                // A peer's word reserves no more than this; larger bodies grow as they come.
                let room = usize::try_from(declared)
                    .unwrap_or(0)
                    .clamp(length, 1024 * 1024);
                let mut all = BytesMut::with_capacity(room.max(length));
                all.extend_from_slice(start);
                all.extend_from_slice(&data);
                rest = Some(all);
            }
            (Some(_), Some(all)) => all.extend_from_slice(&data),
        }
    }
    Ok(rest.map(BytesMut::freeze).or(first).unwrap_or_default())
}

/// The next data of `body`, in time.
async fn next(body: &mut Incoming, bounds: Bounds) -> Result<Option<Bytes>, Refused> {
    loop {
        let frame = tokio::time::timeout(bounds.timeout, body.frame()).await;
        let frame = frame.map_err(|_| Refused::BodyTimeout(bounds.timeout))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Refused::BodyBroken(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn peek(headers: &HeaderMap, mut body: Incoming, bounds: Bounds) -> Result<Payload, Refused> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|l| l.to_str().ok()?.parse().ok());
    let mut prefix = BytesMut::new();
    while prefix.len() < PEEK {
        match next(&mut body, bounds).await? {
            Some(data) => prefix.extend_from_slice(&data),
            None => break,
        }
    }
    let rest = Timed {
        body,
        timeout: bounds.timeout,
        sleep: None,
    };
    Ok(Payload::Upload(Upload::new(prefix.freeze(), rest, length)))
}

/// The rest of an upload; a silent client ends it.
struct Timed {
    body: Incoming,
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Body for Timed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.sleep = None;
            return Poll::Ready(frame.map(|f| f.map_err(io::Error::other)));
        }
        let timeout = this.timeout;
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + timeout)));
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client stopped sending its upload",
            )))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
