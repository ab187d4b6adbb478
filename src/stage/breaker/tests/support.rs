//! Calls, targets and a scripted provider for the tests of the stages that judge and hold back attempts.

use std::{
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame};
use tokio::time::Instant;
use tower::Service;

use crate::{
    call::{
        Attempt, BodyError, Call, Credential, Deadline, Directives, End, Facts, Fingerprint, How,
        Learnt, Meter, Payload, Reply, ReplyBody, RequestId, Sdk, Target, TargetId,
    },
    config::{App, AppId, Breaker, Limits, OnLimit, Secret, Upstream, UpstreamId, UpstreamKey},
    dialect::{Endpoint, openai::Envelope},
    error::{Error, Failure},
    stage::{Answering, limit},
    triage::{Class, Evidence, Transport, judge, preset},
};

pub(in crate::stage) fn rules() -> Breaker {
    let n = |n| NonZeroU32::new(n).unwrap();
    Breaker {
        window: Duration::from_secs(30),
        failure_ratio: 0.5,
        min_calls: n(20),
        consecutive: n(5),
        open_for: Duration::from_secs(5),
        open_for_max: Duration::from_secs(60),
        billing_probe: Duration::from_secs(30),
        billing_probe_max: Duration::from_secs(300),
    }
}

/// An upstream at OpenAI's address; with a key of weir's own, or the callers'.
pub(in crate::stage) fn upstream(name: &str, key: Option<&str>, limits: Limits) -> Arc<Upstream> {
    Arc::new(Upstream {
        id: UpstreamId(0),
        name: name.into(),
        provider: preset("openai").unwrap(),
        base_url: "https://api.openai.com/v1".parse().unwrap(),
        key: key.map_or(UpstreamKey::Passthrough, |key| {
            UpstreamKey::Held(Secret::new(key))
        }),
        admin_key: None,
        organization: None,
        project: None,
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        first_token_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        limits,
    })
}

pub(in crate::stage) fn target(id: u32, model: &str, upstream: &Arc<Upstream>) -> Arc<Target> {
    let label = if model.is_empty() { "none" } else { model };
    Arc::new(Target::new(
        TargetId(id),
        Arc::clone(upstream),
        model.into(),
        false,
        label.into(),
    ))
}

pub(in crate::stage) fn app(id: u32, [requests, tokens, concurrency]: [u32; 3]) -> Arc<App> {
    Arc::new(App {
        id: AppId(id),
        name: format!("app-{id}").into(),
        key_hash: [u8::try_from(id).unwrap(); 32],
        requests_per_minute: NonZeroU32::new(requests),
        tokens_per_minute: NonZeroU32::new(tokens),
        concurrency: NonZeroU32::new(concurrency),
        on_limit: OnLimit::Reject,
        ..App::anyone()
    })
}

/// A call by the holder of key `caller` that counts `tokens`.
pub(in crate::stage) fn call(app: &Arc<App>, caller: u64, tokens: u64) -> Arc<Call> {
    let now = Instant::now();
    let endpoint = Endpoint::ChatCompletions;
    Arc::new(Call {
        id: RequestId::new(),
        arrived: now,
        ready: now,
        app: Arc::clone(app),
        credential: Credential {
            fingerprint: Fingerprint(caller),
            forward: None,
            may_use_held: true,
        },
        endpoint,
        method: Method::POST,
        path: "/v1/chat/completions".parse().unwrap(),
        headers: HeaderMap::new(),
        payload: Payload::Whole(Bytes::new()),
        envelope: Envelope {
            max_output_tokens: Some(tokens),
            ..Envelope::empty(endpoint)
        },
        deadline: Deadline::at(now + Duration::from_secs(600)),
        directives: Directives::default(),
        sdk: Sdk::default(),
        upgrade: None,
        meter: Meter::default(),
    })
}

pub(in crate::stage) fn attempt(target: &Arc<Target>, caller: u64, tokens: u64) -> Attempt {
    Attempt {
        call: call(&app(0, [0; 3]), caller, tokens),
        target: Arc::clone(target),
        max_wait: Duration::from_secs(30),
        last: false,
    }
}

/// What the scripted provider does.
#[derive(Clone, Debug)]
pub(in crate::stage) enum Act {
    Answer,
    /// A whole answer that names an organisation.
    AnswerAs(&'static str),
    /// An error status with this body, by an organisation.
    Fail(u16, &'static str, &'static str),
    /// A stream; it ends when its handle says so.
    Stream(Arc<Facts>),
    /// Refused by our own limit.
    Refuse,
    /// Never.
    Hang,
}

pub(in crate::stage) const QUOTA: &str = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
pub(in crate::stage) const BAD_REQUEST: &str = r#"{"error":{"message":"Invalid value","type":"invalid_request_error","param":"n","code":null}}"#;
pub(in crate::stage) const RATE: &str = r#"{"error":{"message":"Rate limit reached. Please try again in 1s.","type":"requests","code":"rate_limit_exceeded"}}"#;
pub(in crate::stage) const BAD_KEY: &str = r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#;
pub(in crate::stage) const NO_MODEL: &str = r#"{"error":{"message":"The model does not exist","type":"invalid_request_error","code":"model_not_found"}}"#;

/// A provider that does as told, and counts.
#[derive(Clone, Debug)]
pub(in crate::stage) struct Provider {
    act: Arc<Mutex<Act>>,
    asked: Arc<AtomicUsize>,
}

/// A stream's body that never yields by itself: it ends when dropped.
struct Silent;

impl Provider {
    pub(in crate::stage) fn new(act: Act) -> Self {
        Self {
            act: Arc::new(Mutex::new(act)),
            asked: Arc::default(),
        }
    }

    pub(in crate::stage) fn now_does(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    /// How often it was asked since the last time.
    pub(in crate::stage) fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    fn answer(&self, target: Option<Arc<Target>>) -> Answering {
        let act = self.act.lock().unwrap().clone();
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match act {
                Act::Answer => Ok(reply(ReplyBody::whole("{}"), None)),
                Act::AnswerAs(organization) => {
                    Ok(reply(ReplyBody::whole("{}"), Some(organization)))
                }
                Act::Stream(facts) => Ok(reply(ReplyBody::stream(Box::pin(Silent), facts), None)),
                Act::Fail(status, body, organization) => Err(failure(
                    &target.expect("an attempt has a target"),
                    status,
                    body,
                    organization,
                )),
                Act::Refuse => Err(limit::Refused::bare(
                    target.expect("an attempt has a target"),
                    Class::RateLimitedRequests,
                )
                .into()),
                Act::Hang => std::future::pending().await,
            }
        })
    }
}

impl Service<Attempt> for Provider {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Answering {
        self.answer(Some(attempt.target))
    }
}

impl Service<Arc<Call>> for Provider {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Arc<Call>) -> Answering {
        self.answer(None)
    }
}

impl Body for Silent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Pending
    }
}

/// A stream's end, to be said before its reply is dropped.
pub(in crate::stage) fn ends(facts: &Facts, how: How) {
    facts.set(End { how, usage: None });
}

/// A whole answer.
pub(in crate::stage) fn answer() -> Reply {
    reply(ReplyBody::whole("{}"), None)
}

/// The head of a stream; it ends as `facts` say when it is dropped.
pub(in crate::stage) fn streaming(facts: &Arc<Facts>) -> Reply {
    reply(ReplyBody::stream(Box::pin(Silent), Arc::clone(facts)), None)
}

fn reply(body: ReplyBody, organization: Option<&'static str>) -> Reply {
    let mut headers = HeaderMap::new();
    if let Some(name) = organization {
        headers.insert(
            HeaderName::from_static("openai-organization"),
            HeaderValue::from_static(name),
        );
    }
    Reply {
        status: StatusCode::OK,
        headers,
        body,
        learnt: Learnt::default(),
        upgrade: None,
    }
}

pub(in crate::stage) fn failure(
    target: &Arc<Target>,
    status: u16,
    body: &str,
    organization: &'static str,
) -> Error {
    let mut headers = HeaderMap::new();
    if !organization.is_empty() {
        headers.insert(
            HeaderName::from_static("openai-organization"),
            HeaderValue::from_static(organization),
        );
    }
    headers.insert(
        HeaderName::from_static("x-request-id"),
        HeaderValue::from_static("req_1"),
    );
    let evidence = Evidence {
        status,
        headers: &headers,
        body: body.as_bytes(),
        transport: Transport::Http,
        endpoint: "/v1/chat/completions",
    };
    Error::Upstream(Arc::new(Failure {
        seen: crate::failures::Seen::default(),
        after_content: false,
        verdict: judge(&target.upstream.provider, &evidence),
        target: Arc::clone(target),
        answer: None,
        what: "scripted".to_owned(),
        own_key: target.upstream.key != UpstreamKey::Passthrough,
        begun: false,
        unsent: false,
    }))
}
