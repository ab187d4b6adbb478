//! A reply's body and the guards that ride in it.
//!
//! A stream is not finished at its head. Whatever must be settled at its end (permits, circuit verdict,
//! usage, the access log) is a [`Watch`] in the one list of the body, so that a chunk passes a single
//! `poll_frame` however many stages are interested. Dropped early, the body says so to every watcher.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{dialect::openai::Usage, triage::Class};

/// A boxed body under a reply.
pub type Stream = Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>;

/// The body cannot go on, and the framing cannot say so: the connection is cut, so that it does not
/// look complete.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the upstream's body ended early: {0}")]
pub struct BodyError(pub Arc<str>);

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Whole.
    Complete,
    /// Cut, silent, or ended by an error of the provider's.
    Broken(Class),
    /// The caller hung up.
    CallerLeft,
}

/// The end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub how: How,
    /// What was used; estimated when the provider did not tell.
    pub usage: Option<Usage>,
}

/// Set by a stream's source when it knows how it ended.
#[derive(Debug, Default)]
pub struct Facts(OnceLock<End>);

/// Something that is settled when the body ends.
pub trait Watch: Send {
    /// A chunk passes. Cheap: this is the path of every chunk.
    fn frame(&mut self, data: &Bytes) {
        let _ = data;
    }

    /// The body has ended. Called exactly once.
    fn end(&mut self, end: &End);
}

/// The body of a [`Reply`](super::Reply).
pub struct ReplyBody {
    source: Source,
    watchers: Vec<Box<dyn Watch>>,
    /// Watchers that want to see chunks; most only want the end.
    watching: bool,
}

enum Source {
    Whole(Option<Bytes>),
    Stream { body: Stream, facts: Arc<Facts> },
    Ended,
}

// === impl Facts ===

impl Facts {
    /// Says how the body ended; the first word counts.
    pub fn set(&self, end: End) {
        let _ = self.0.set(end);
    }

    /// What was said.
    pub fn get(&self) -> Option<End> {
        self.0.get().copied()
    }
}

// === impl End ===

impl End {
    /// Whole, with this usage.
    pub fn complete(usage: Option<Usage>) -> Self {
        Self {
            how: How::Complete,
            usage,
        }
    }
}

// === impl ReplyBody ===

impl ReplyBody {
    /// A body that is here whole.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            source: Source::Whole(Some(bytes.into())),
            watchers: Vec::new(),
            watching: false,
        }
    }

    /// A body that flows. `facts` is told by `body` how it ended, before it ends or is dropped.
    pub fn stream(body: Stream, facts: Arc<Facts>) -> Self {
        Self {
            source: Source::Stream { body, facts },
            watchers: Vec::new(),
            watching: false,
        }
    }

    /// The bytes, if they are all here.
    pub fn as_whole(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref(),
            Source::Stream { .. } | Source::Ended => None,
        }
    }

    /// Whether it flows.
    pub fn is_stream(&self) -> bool {
        matches!(self.source, Source::Stream { .. })
    }

    /// Replaces a whole body; watchers stay.
    pub fn set_whole(&mut self, bytes: Bytes) {
        self.source = Source::Whole(Some(bytes));
    }

    /// `watch` hears of the end. A whole body has ended already as far as the provider is
    /// concerned, so `watch` hears of it at once, with `usage`.
    pub fn on_end(&mut self, mut watch: impl Watch + 'static, usage: Option<Usage>) {
        if self.is_stream() {
            self.watchers.push(Box::new(watch));
        } else {
            watch.end(&End::complete(usage));
        }
    }

    /// Like [`on_end`](Self::on_end), and hears of every chunk. A whole body's chunk too.
    pub fn on_frames(&mut self, mut watch: impl Watch + 'static, usage: Option<Usage>) {
        if self.is_stream() {
            self.watching = true;
            self.watchers.push(Box::new(watch));
        } else {
            if let Some(bytes) = self.as_whole() {
                watch.frame(bytes);
            }
            watch.end(&End::complete(usage));
        }
    }

    /// Drops the source first, so that the upstream call ends and says what was used, then tells the watchers.
    fn finish(&mut self, default: How) {
        let Source::Stream { body, facts } = std::mem::replace(&mut self.source, Source::Ended)
        else {
            return;
        };
        drop(body);
        let end = facts.get().unwrap_or(End {
            how: default,
            usage: None,
        });
        for watch in &mut self.watchers {
            watch.end(&end);
        }
        self.watchers = Vec::new();
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match &mut this.source {
            Source::Whole(bytes) => {
                let frame = bytes.take().filter(|b| !b.is_empty());
                this.source = Source::Ended;
                Poll::Ready(frame.map(|b| Ok(Frame::data(b))))
            }
            Source::Ended => Poll::Ready(None),
            Source::Stream { body, .. } => match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if this.watching
                        && let Some(data) = frame.data_ref()
                    {
                        for watch in &mut this.watchers {
                            watch.frame(data);
                        }
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(error)) => {
                    this.finish(How::Broken(Class::StreamError));
                    Poll::Ready(Some(Err(error)))
                }
                None => {
                    this.finish(How::Complete);
                    Poll::Ready(None)
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::Stream { .. } => false,
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Source::Stream { body, .. } => body.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.finish(How::CallerLeft);
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.source {
            Source::Whole(_) => "whole",
            Source::Stream { .. } => "stream",
            Source::Ended => "ended",
        };
        f.debug_struct("ReplyBody")
            .field("kind", &kind)
            .field("watchers", &self.watchers.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http_body_util::{BodyExt, Full};

    use super::*;

    struct Heard(Arc<Mutex<Vec<How>>>);

    impl Watch for Heard {
        fn end(&mut self, end: &End) {
            self.0.lock().unwrap().push(end.how);
        }
    }

    fn stream(text: &'static str, facts: &Arc<Facts>) -> ReplyBody {
        let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {});
        ReplyBody::stream(Box::pin(body), Arc::clone(facts))
    }

    #[tokio::test]
    async fn the_end_is_told_once_and_as_the_source_says() {
        let (heard, facts) = (Arc::default(), Arc::new(Facts::default()));
        let mut body = stream("x", &facts);
        body.on_end(Heard(Arc::clone(&heard)), None);
        facts.set(End {
            how: How::Broken(Class::StreamError),
            usage: None,
        });
        assert_eq!(body.collect().await.unwrap().to_bytes(), "x");
        assert_eq!(*heard.lock().unwrap(), [How::Broken(Class::StreamError)]);
    }

    #[test]
    fn a_dropped_stream_tells_that_the_caller_left() {
        let (heard, facts) = (Arc::default(), Arc::new(Facts::default()));
        let mut body = stream("x", &facts);
        body.on_end(Heard(Arc::clone(&heard)), None);
        drop(body);
        assert_eq!(*heard.lock().unwrap(), [How::CallerLeft]);
    }

    #[test]
    fn a_whole_body_has_ended_already() {
        let heard = Arc::default();
        let mut body = ReplyBody::whole("x");
        body.on_end(Heard(Arc::clone(&heard)), None);
        drop(body);
        assert_eq!(*heard.lock().unwrap(), [How::Complete]);
    }
}
