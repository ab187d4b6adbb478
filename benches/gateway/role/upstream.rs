//! The provider: chat completions as cheap as can be, so that what is measured is the gateway.
//!
//! The model's name says what comes back, since the body is what every gateway passes on:
//! `bench-json` a small answer, `bench-stream-EVENTS-GAPMS` a stream of that many content
//! events, each after that many milliseconds (0: all at once). `GET /served` tells how many
//! calls have come so far.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::time::{Interval, MissedTickBehavior};

use super::serve;
use crate::Result;

/// A small answer, ~600 bytes.
const ANSWER: &str = r#"{
  "id": "chatcmpl-BenchBenchBenchBenchBenchBen",
  "object": "chat.completion",
  "created": 1750000000,
  "model": "bench-json",
  "choices": [
    {
      "index": 0,
      "message": {
        "role": "assistant",
        "content": "A weir holds the water back.",
        "refusal": null
      },
      "logprobs": null,
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 12,
    "completion_tokens": 8,
    "total_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0}
  },
  "service_tier": "default"
}
"#;

/// One event of a stream, up to the part that differs, and after it: ~190 bytes with a delta.
macro_rules! event {
    ($choices:literal, $usage:literal) => {
        concat!(
            r#"data: {"id":"chatcmpl-BenchBenchBench","object":"chat.completion.chunk","#,
            r#""created":1750000000,"model":"bench-stream","choices":["#,
            $choices,
            r#"],"usage":"#,
            $usage,
            "}\n\n"
        )
    };
}

const FIRST: &str = event!(
    r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#,
    "null"
);
const CONTENT: &str = event!(
    r#"{"index":0,"delta":{"content":" water"},"finish_reason":null}"#,
    "null"
);
const FINISH: &str = event!(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, "null");
const USAGE: &str = event!(
    "",
    r#"{"prompt_tokens":12,"completion_tokens":200,"total_tokens":212}"#
);
const DONE: &str = "data: [DONE]\n\n";

/// Serves until standard input closes: one thread, one runtime.
pub(crate) fn run() -> Result<()> {
    serve::exit_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = serve::listen(([127, 0, 0, 1], 0).into())?;
        serve::announce(listener.local_addr()?)?;
        let served = Rc::new(Cell::new(0_u64));
        serve::accept(listener, |stream| {
            let served = Rc::clone(&served);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request| answer(request, &served));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        })
        .await;
        Ok(())
    })
}

async fn answer(
    request: Request<Incoming>,
    served: &Cell<u64>,
) -> std::result::Result<Response<Answer>, hyper::Error> {
    if request.uri().path() == "/served" {
        return Ok(Response::new(Answer::Whole(Some(
            served.get().to_string().into(),
        ))));
    }
    let body = request.into_body().collect().await?.to_bytes();
    served.set(served.get() + 1);
    let (content_type, answer) = match stream_asked(&body) {
        Some((events, gap)) => (
            "text/event-stream; charset=utf-8",
            Answer::stream(events, gap),
        ),
        None => (
            "application/json",
            Answer::Whole(Some(Bytes::from_static(ANSWER.as_bytes()))),
        ),
    };
    let mut response = Response::new(answer);
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, http::HeaderValue::from_static(value));
    set("content-type", content_type);
    // What a provider sends along, and a gateway that obeys limits has to read.
    set("x-request-id", "req_0123456789abcdef0123456789abcdef");
    set("openai-organization", "bench");
    set("openai-processing-ms", "1");
    set("openai-version", "2020-10-01");
    set("x-ratelimit-limit-requests", "100000000");
    set("x-ratelimit-limit-tokens", "1000000000");
    set("x-ratelimit-remaining-requests", "99999999");
    set("x-ratelimit-remaining-tokens", "999999980");
    set("x-ratelimit-reset-requests", "1ms");
    set("x-ratelimit-reset-tokens", "1ms");
    Ok(response)
}

/// Content events and gap that the model's name asks for.
fn stream_asked(body: &[u8]) -> Option<(u64, Duration)> {
    let name = b"bench-stream-";
    let asked = &body[memmem::find(body, name)? + name.len()..];
    let asked = std::str::from_utf8(&asked[..memchr::memchr(b'"', asked)?]).ok()?;
    let (events, gap) = asked.split_once('-')?;
    Some((
        events.parse().ok()?,
        Duration::from_millis(gap.parse().ok()?),
    ))
}

/// A reply's body.
enum Answer {
    Whole(Option<Bytes>),
    Stream {
        next: Step,
        left: u64,
        pace: Option<Interval>,
    },
}

/// What a stream sends next.
#[derive(Clone, Copy)]
enum Step {
    First,
    Content,
    Finish,
    Usage,
    Done,
    End,
}

// === impl Answer ===

impl Answer {
    fn stream(events: u64, gap: Duration) -> Self {
        let pace = (!gap.is_zero()).then(|| {
            let mut pace = tokio::time::interval(gap);
            // A late event must not make the next ones come in a burst: they are to be separate.
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        });
        Self::Stream {
            next: Step::First,
            left: events,
            pace,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let text = match self.get_mut() {
            Self::Whole(whole) => return Poll::Ready(whole.take().map(|all| Ok(Frame::data(all)))),
            Self::Stream { next, left, pace } => {
                // Only content is paced: the first tick is due at once, behind the role event.
                if let (Step::Content, Some(pace)) = (*next, pace) {
                    ready!(pace.poll_tick(cx));
                }
                let (text, then) = match *next {
                    Step::First => (FIRST, Step::Content),
                    Step::Content => {
                        *left = left.saturating_sub(1);
                        (
                            CONTENT,
                            if *left == 0 {
                                Step::Finish
                            } else {
                                Step::Content
                            },
                        )
                    }
                    Step::Finish => (FINISH, Step::Usage),
                    Step::Usage => (USAGE, Step::Done),
                    Step::Done => (DONE, Step::End),
                    Step::End => return Poll::Ready(None),
                };
                *next = then;
                text
            }
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(
            self,
            Self::Whole(None)
                | Self::Stream {
                    next: Step::End,
                    ..
                }
        )
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(whole) => {
                http_body::SizeHint::with_exact(whole.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Stream { .. } => http_body::SizeHint::default(),
        }
    }
}
