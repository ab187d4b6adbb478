//! Bodies on the provider's side.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{Lease, StreamPlace};
use crate::call::{Payload, Upload};

/// What an attempt sends.
#[derive(Debug)]
pub struct RequestBody(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    Upload(crate::call::UploadBody),
}

/// What a provider sends; returns the connection to the pool at its end.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
    /// On an HTTP/2 connection.
    place: Option<StreamPlace>,
}

// === impl RequestBody ===

impl RequestBody {
    /// Bytes that are here.
    pub fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    /// A body that streams through.
    pub fn upload(upload: &Upload) -> Self {
        Self(Kind::Upload(upload.body()))
    }

    /// The upload that it streams, if it does.
    pub(super) fn as_upload(&self) -> Option<Upload> {
        match &self.0 {
            Kind::Whole(_) => None,
            Kind::Upload(body) => Some(body.upload().clone()),
        }
    }

    /// The body of `payload`.
    pub fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Whole(bytes) => Self::whole(bytes.clone()),
            Payload::Upload(upload) => Self::upload(upload),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Upload(upload) => Pin::new(upload).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Upload(upload) => upload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Kind::Upload(upload) => upload.size_hint(),
        }
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, lease: Option<Lease>) -> Self {
        let mut body = Self {
            incoming,
            lease,
            place: None,
        };
        body.give_back_at_end();
        body
    }

    pub(super) fn multiplexed(incoming: Incoming, place: StreamPlace) -> Self {
        Self {
            incoming,
            lease: None,
            place: Some(place),
        }
    }

    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.give_back_at_end(),
            Some(Err(_)) => self.lease = None,
            None => {
                self.place = None;
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
