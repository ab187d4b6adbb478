//! A request body that streams through: multipart forms, files, anything that is not JSON.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A request body that can be sent once.
///
/// Its first bytes may have been looked at (for the form's `model`); they are sent first. An attempt
/// that ends before the body was asked for leaves it whole for the next one: until then nothing has begun.
#[derive(Clone)]
pub struct Upload(Arc<Mutex<State>>);

struct State {
    source: Option<Source>,
    begun: bool,
    sent: u64,
    /// Nothing more comes from the client.
    ended: bool,
    /// The client broke it off, or fell silent.
    broken: Option<String>,
    /// Of the whole body, when the client told.
    length: Option<u64>,
}

struct Source {
    prefix: Option<Bytes>,
    rest: Option<Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>>,
}

/// The body of one attempt; gives the upload back when dropped unread.
#[derive(Debug)]
pub struct UploadBody {
    upload: Upload,
}

// === impl Upload ===

impl Upload {
    /// `prefix` has been read from `rest` already. `length` is the whole body's, if known.
    pub fn new(
        prefix: Bytes,
        rest: impl Body<Data = Bytes, Error = io::Error> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        let source = Source {
            prefix: (!prefix.is_empty()).then_some(prefix),
            rest: Some(Box::pin(rest)),
        };
        Self(Arc::new(Mutex::new(State {
            source: Some(source),
            begun: false,
            sent: 0,
            ended: false,
            broken: None,
            length,
        })))
    }

    /// The bytes that were looked at.
    pub fn prefix(&self) -> Bytes {
        self.state()
            .source
            .as_ref()
            .and_then(|s| s.prefix.clone())
            .unwrap_or_default()
    }

    /// Replaces the bytes that were looked at, adjusting the length.
    pub fn with_prefix(&self, new: Bytes) {
        let mut state = self.state();
        if state.begun {
            return;
        }
        let State { source, length, .. } = &mut *state;
        if let Some(source) = source {
            let old = source.prefix.as_ref().map_or(0, Bytes::len);
            *length = length.map(|l| (l + new.len() as u64).saturating_sub(old as u64));
            source.prefix = Some(new);
        }
    }

    /// Bytes in all, if the client told.
    pub fn length(&self) -> Option<u64> {
        self.state().length
    }

    /// Whether a part of it went to a provider: then it cannot be sent again.
    pub fn begun(&self) -> bool {
        self.state().begun
    }

    /// Whether all of it was handed to a provider's connection, or no more will come.
    pub fn ended(&self) -> bool {
        let state = self.state();
        state.ended || state.length.is_some_and(|length| state.sent >= length)
    }

    /// Why the client did not send all of it: then what follows is no fault of the provider's.
    pub fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    /// The body for one attempt.
    pub fn body(&self) -> UploadBody {
        UploadBody {
            upload: self.clone(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("length", &self.length())
            .field("begun", &self.begun())
            .finish()
    }
}

// === impl UploadBody ===

impl UploadBody {
    /// What it is the body of.
    pub fn upload(&self) -> &Upload {
        &self.upload
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.upload.state();
        state.begun = true;
        let Some(source) = &mut state.source else {
            return Poll::Ready(Some(Err(io::Error::other("the upload was sent already"))));
        };
        if let Some(prefix) = source.prefix.take() {
            state.sent += prefix.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(prefix))));
        }
        let Some(rest) = &mut source.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(rest.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                state.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(Err(error)) => {
                state.ended = true;
                state.broken = Some(error.to_string());
            }
            None => state.ended = true,
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload
            .length()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty, Full};

    use super::*;

    fn upload(prefix: &'static str, rest: &'static str) -> Upload {
        let body = Full::new(Bytes::from_static(rest.as_bytes())).map_err(|never| match never {});
        Upload::new(
            Bytes::from_static(prefix.as_bytes()),
            body,
            Some((prefix.len() + rest.len()) as u64),
        )
    }

    #[tokio::test]
    async fn prefix_and_rest_make_the_whole_body() {
        let upload = upload("ab", "cd");
        assert_eq!(upload.body().collect().await.unwrap().to_bytes(), "abcd");
        assert!(upload.begun());
    }

    #[tokio::test]
    async fn an_unread_body_leaves_the_upload_whole() {
        let upload = upload("ab", "cd");
        drop(upload.body());
        assert!(!upload.begun());
        assert_eq!(upload.body().collect().await.unwrap().to_bytes(), "abcd");
    }

    #[test]
    fn a_new_prefix_changes_the_length() {
        let upload = upload("ab", "cd");
        upload.with_prefix(Bytes::from_static(b"longer"));
        assert_eq!(upload.length(), Some(8));
        let none = Upload::new(
            Bytes::new(),
            Empty::new().map_err(|never| match never {}),
            None,
        );
        none.with_prefix(Bytes::from_static(b"x"));
        assert_eq!(none.length(), None);
    }
}
