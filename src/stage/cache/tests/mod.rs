//! The stage over a hand-written inner service: clock paused, every upstream call counted.

mod asks;
mod flights;
mod properties;
mod replays;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::{sync::mpsc, time::Instant};
use tower::{Layer, Service, ServiceExt};

use super::{CacheLayer, CacheStore, Params};
use crate::{
    call::{
        BodyError, CacheDirectives, CacheStatus, Call, Credential, Deadline, Directives, End,
        Facts, Fingerprint, How, Learnt, Meter, Payload, Reply, ReplyBody, RequestId, Sdk, Target,
        TargetId,
    },
    config::{
        self, App, AppId, CachePolicy, CacheScope, Limits, Upstream, UpstreamId, UpstreamKey,
    },
    dialect::{
        Endpoint,
        openai::{Envelope, Usage},
    },
    error::Error,
    stage::{Answering, breaker::CircuitOpen},
    triage::{Class, Scope, preset},
};

const CHAT: &str =
    r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"hi"}]}"#;
const CHAT_STREAM: &str = r#"{"model":"gpt-4o","temperature":0,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
const EVENTS: [&str; 4] = [
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];
const USAGE: Usage = Usage {
    input: 1,
    cached_input: 0,
    cache_write: 0,
    output: 2,
    reasoning: 0,
    exact: true,
};

type Handler = Arc<dyn Fn(Arc<Call>) -> Answering + Send + Sync>;

/// The provider's side.
#[derive(Clone)]
struct Inner {
    calls: Arc<AtomicUsize>,
    handler: Handler,
}

/// What a test holds.
struct Bench {
    cache: super::Cache<Inner>,
    store: Arc<CacheStore>,
    calls: Arc<AtomicUsize>,
}

/// Says that a future or body was dropped.
struct Dropped(Arc<AtomicUsize>);

/// An upstream stream fed by the test.
struct Fed {
    chunks: mpsc::UnboundedReceiver<Result<Bytes, BodyError>>,
    facts: Arc<Facts>,
    _dropped: Dropped,
}

type Feed = mpsc::UnboundedSender<Result<Bytes, BodyError>>;

// === impl Inner ===

impl Service<Arc<Call>> for Inner {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Arc<Call>) -> Answering {
        self.calls.fetch_add(1, SeqCst);
        (self.handler)(call)
    }
}

// === impl Dropped ===

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

// === impl Fed ===

impl Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = std::task::ready!(self.chunks.poll_recv(cx));
        if next.is_none() {
            self.facts.set(End::complete(Some(USAGE)));
        }
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.facts.set(End {
            how: How::CallerLeft,
            usage: Some(Usage {
                exact: false,
                ..USAGE
            }),
        });
    }
}

// === impl Bench ===

impl Bench {
    fn with(
        config: config::Cache,
        handler: impl Fn(Arc<Call>) -> Answering + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let store = Arc::new(CacheStore::new(&config));
        let inner = Inner {
            calls: Arc::clone(&calls),
            handler: Arc::new(handler),
        };
        let policy = config.policy;
        let params = Params {
            config,
            policy_for: Arc::new(move |_| policy),
        };
        Self {
            cache: CacheLayer::new(Arc::clone(&store), params).layer(inner),
            store,
            calls,
        }
    }

    fn new(handler: impl Fn(Arc<Call>) -> Answering + Send + Sync + 'static) -> Self {
        Self::with(config(), handler)
    }

    fn send(&self, call: Call) -> impl Future<Output = Result<Reply, Error>> + Send + 'static {
        let cache = self.cache.clone();
        async move { cache.oneshot(Arc::new(call)).await }
    }

    async fn get(&self, call: Call) -> (CacheStatus, Bytes) {
        let reply = self.send(call).await.unwrap();
        (reply.learnt.cache, text(reply).await)
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

async fn text(reply: Reply) -> Bytes {
    reply.body.collect().await.unwrap().to_bytes()
}

fn config() -> config::Cache {
    config::Cache {
        policy: CachePolicy::Deterministic,
        ttl: Duration::from_secs(60),
        stale_if_error: Duration::from_secs(600),
        max_bytes: 1 << 20,
        max_entry_bytes: 64 << 10,
        scope: CacheScope::Credential,
    }
}

fn app(id: u32) -> Arc<App> {
    Arc::new(App {
        id: AppId(id),
        name: "app".into(),
        ..App::anyone()
    })
}

fn call(body: &str) -> Call {
    call_to(Endpoint::ChatCompletions, body)
}

fn call_to(endpoint: Endpoint, body: &str) -> Call {
    let now = Instant::now();
    let envelope =
        Envelope::scan(endpoint, body.as_bytes()).unwrap_or_else(|_| Envelope::empty(endpoint));
    Call {
        id: RequestId::new(),
        arrived: now,
        ready: now,
        app: app(0),
        credential: Credential {
            fingerprint: Fingerprint(1),
            forward: None,
            may_use_held: true,
        },
        endpoint,
        method: Method::POST,
        path: "/v1/x".parse().unwrap(),
        headers: HeaderMap::new(),
        payload: Payload::Whole(Bytes::copy_from_slice(body.as_bytes())),
        envelope,
        deadline: Deadline::at(now + Duration::from_secs(30)),
        directives: Directives::default(),
        sdk: Sdk::default(),
        upgrade: None,
        meter: Meter::default(),
    }
}

fn asking(body: &str, cache: CacheDirectives) -> Call {
    Call {
        directives: Directives {
            cache,
            ..Directives::default()
        },
        ..call(body)
    }
}

fn by(fingerprint: u64, body: &str) -> Call {
    let credential = Credential {
        fingerprint: Fingerprint(fingerprint),
        forward: None,
        may_use_held: true,
    };
    Call {
        credential,
        ..call(body)
    }
}

fn whole(body: impl Into<Bytes>) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert("x-request-id", HeaderValue::from_static("req_1"));
    headers.insert(
        "x-ratelimit-remaining-requests",
        HeaderValue::from_static("9"),
    );
    headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=b"));
    let learnt = Learnt {
        usage: Some(USAGE),
        ..Learnt::default()
    };
    Reply {
        status: StatusCode::OK,
        headers,
        body: ReplyBody::whole(body),
        learnt,
        upgrade: None,
    }
}

fn fed(dropped: &Arc<AtomicUsize>) -> (Feed, Reply) {
    let (feed, chunks) = mpsc::unbounded_channel();
    let facts = Arc::new(Facts::default());
    let body = Fed {
        chunks,
        facts: Arc::clone(&facts),
        _dropped: Dropped(Arc::clone(dropped)),
    };
    let mut reply = whole("");
    reply.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    reply.learnt.usage = None;
    reply.body = ReplyBody::stream(Box::pin(body), facts);
    (feed, reply)
}

/// The whole stream at once.
fn events() -> Reply {
    let (feed, reply) = fed(&Arc::default());
    for event in EVENTS {
        feed.send(Ok(Bytes::from_static(event.as_bytes()))).unwrap();
    }
    reply
}

fn now(answer: Result<Reply, Error>) -> Answering {
    Box::pin(std::future::ready(answer))
}

fn slow(answer: impl FnOnce() -> Result<Reply, Error> + Send + 'static) -> Answering {
    Box::pin(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer()
    })
}

/// Plain answers.
fn plain(_: Arc<Call>) -> Answering {
    now(Ok(whole(ANSWER)))
}

fn failure(class: Class) -> Error {
    let upstream = Upstream {
        id: UpstreamId(0),
        name: "openai".into(),
        provider: preset("openai").unwrap(),
        base_url: "https://example.com/v1".parse().unwrap(),
        key: UpstreamKey::None,
        admin_key: None,
        organization: None,
        project: None,
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        first_token_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        limits: Limits::default(),
    };
    let target = Target::new(
        TargetId(0),
        Arc::new(upstream),
        "gpt-4o".into(),
        false,
        "gpt-4o".into(),
    );
    CircuitOpen {
        target: Arc::new(target),
        scope: Scope::Model,
        class,
        retry_after: Duration::from_secs(1),
        hold: None,
        last: None,
    }
    .into()
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}
