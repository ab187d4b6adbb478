//! What travels: `Inbound` → `Call` → `Plan` → `Attempt` down the chain, `Reply` back up.
//!
//! Each type tells how far a request has come. Nothing travels in `http::Extensions`.

mod body;
mod deadline;
mod id;
mod meter;
mod upload;

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, uri::PathAndQuery};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

pub use self::{
    body::{BodyError, End, Facts, How, ReplyBody, Stream, Watch},
    deadline::Deadline,
    id::{Fingerprint, RequestId},
    meter::Meter,
    upload::{Upload, UploadBody},
};
use crate::{
    config::{App, Priority, Route, Upstream},
    dialect::{
        Endpoint,
        openai::{Envelope, Usage},
    },
    redact,
    stage::retry::Fruitless,
};

/// A request as it came in: decoded, bounded, with an id; nothing is known about it yet.
#[derive(Debug)]
pub struct Inbound {
    pub id: RequestId,
    /// When its head was complete.
    pub arrived: Instant,
    /// When its body was complete (the head's time for uploads): overhead counts from here.
    pub ready: Instant,
    pub method: Method,
    /// Always starts with `/v1/`; the query as it came.
    pub path: PathAndQuery,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// The caller asks for another protocol (a WebSocket).
    pub upgrade: Option<Upgrade>,
}

/// A request body.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Read whole; can be sent as often as needed. Empty when there is none.
    Whole(Bytes),
    /// Streams through once.
    Upload(Upload),
}

/// The caller's side of a protocol upgrade, taken by whoever answers 101.
#[derive(Clone)]
pub struct Upgrade(Arc<std::sync::Mutex<Option<OnUpgrade>>>);

/// An admitted request: who calls and what is asked. Shared by every stage below.
#[derive(Debug)]
pub struct Call {
    pub id: RequestId,
    pub arrived: Instant,
    pub ready: Instant,
    pub app: Arc<App>,
    pub credential: Credential,
    pub endpoint: Endpoint,
    pub method: Method,
    pub path: PathAndQuery,
    /// Forwardable: no hop-by-hop headers, no `x-weir-*`, no credential.
    pub headers: HeaderMap,
    pub payload: Payload,
    pub envelope: Envelope,
    pub deadline: Deadline,
    pub directives: Directives,
    pub sdk: Sdk,
    pub upgrade: Option<Upgrade>,
    pub meter: Meter,
}

// === impl Call ===

impl Call {
    /// In which order it waits: as the call says, else as its app does.
    pub fn priority(&self) -> Priority {
        self.directives.priority.unwrap_or(self.app.priority)
    }
}

/// The caller's key.
#[derive(Clone)]
pub struct Credential {
    /// Tells callers apart without saying who they are.
    pub fingerprint: Fingerprint,
    /// The caller's own provider key, in the header in which it came; absent when it was an app's
    /// key of ours, which goes nowhere.
    pub forward: Option<(HeaderName, HeaderValue)>,
    /// Whether the keys that weir holds may serve this caller.
    pub may_use_held: bool,
}

/// What the caller asked of weir in `x-weir-*` and `Cache-Control`.
#[derive(Clone, Debug, Default)]
pub struct Directives {
    pub cache: CacheDirectives,
    /// `x-weir-fallback: off`
    pub no_fallback: bool,
    /// `x-weir-priority`; `None`: the app's own.
    pub priority: Option<Priority>,
    /// `x-weir-tag-NAME: VALUE`
    pub tags: Vec<(String, String)>,
}

/// RFC 9111 §5.2.1 request directives and `x-weir-cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheDirectives {
    /// `no-store`, or `x-weir-cache: off`
    pub no_store: bool,
    /// `no-cache`, `max-age=0`, or `x-weir-cache: refresh`
    pub no_cache: bool,
    /// `only-if-cached`: 504 instead of an upstream call.
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    /// `max-stale[=s]`: takes expired answers (bounded by `stale_if_error`).
    pub max_stale: Option<Duration>,
    /// `x-weir-cache: on`: cache this call whatever the policy says.
    pub force: bool,
}

/// What the official SDKs tell about themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sdk {
    /// `x-stainless-retry-count`: 0 on the first try.
    pub retry_count: u32,
}

/// An upstream and the model sent to it: a thing an attempt can go to.
#[derive(Debug)]
pub struct Target {
    pub id: TargetId,
    pub upstream: Arc<Upstream>,
    /// Empty for endpoints without one.
    pub model: Arc<str>,
    /// The model is not the one asked for: splice it in.
    pub rewrite: bool,
    /// `model`, or `other` once too many models were seen: the metrics label.
    pub label: Arc<str>,
    /// `x-weir-upstream` and `x-weir-model`, made once.
    pub named: [Option<HeaderValue>; 2],
    /// `attempts_total{class="ok"}`, found on first use.
    pub(crate) answered: std::sync::OnceLock<prometheus::IntCounter>,
    /// Repeats since its last success.
    pub(crate) fruitless: Arc<Fruitless>,
    /// Its answers in the book of failures, found on first use.
    pub(crate) tally: std::sync::OnceLock<Arc<crate::failures::Tally>>,
}

/// Dense number of a target, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// A route chosen for a call. Has at least one target.
#[derive(Clone, Debug)]
pub struct Plan {
    pub call: Arc<Call>,
    pub route: Arc<Route>,
    /// Never empty.
    targets: Arc<[Arc<Target>]>,
}

/// One try of a call against one target.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub call: Arc<Call>,
    pub target: Arc<Target>,
    /// How long it may still wait for a limit.
    pub max_wait: Duration,
    /// No usable target is left after this one: waiting beats refusing.
    pub last: bool,
}

/// An answer on its way back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: ReplyBody,
    pub learnt: Learnt,
    /// With status 101: the provider's side of the upgraded connection.
    pub upgrade: Option<OnUpgrade>,
}

/// What was learnt on the way.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    /// Who answered; for a cached answer, who answered then.
    pub target: Option<Arc<Target>>,
    /// The route's label.
    pub route: Option<Arc<str>>,
    pub cache: CacheStatus,
    /// Age of a cached answer.
    pub age: Option<Duration>,
    /// Of a whole answer; a stream tells at its end.
    pub usage: Option<Usage>,
    pub provider_request_id: Option<HeaderValue>,
    /// For `x-weir-warning`.
    pub warnings: Vec<Cow<'static, str>>,
}

/// `x-weir-cache`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheStatus {
    Hit,
    Miss,
    Stale,
    Coalesced,
    #[default]
    Bypass,
}

// === impl Target ===

impl Target {
    /// A target; `rewrite`: its model is not the one asked for.
    pub fn new(
        id: TargetId,
        upstream: Arc<Upstream>,
        model: Arc<str>,
        rewrite: bool,
        label: Arc<str>,
    ) -> Self {
        let value = |text: &str| {
            HeaderValue::from_str(&redact::name(text))
                .ok()
                // No model has such a name, and clients refuse heads that are too large.
                .filter(|_| !text.is_empty() && text.len() <= 256)
        };
        let named = [value(&upstream.name), value(&model)];
        Self {
            id,
            upstream,
            model,
            rewrite,
            label,
            named,
            answered: std::sync::OnceLock::new(),
            fruitless: Arc::default(),
            tally: std::sync::OnceLock::new(),
        }
    }
}

// === impl Plan ===

impl Plan {
    /// A plan over `targets`, in order; none when there is no target.
    pub fn new(call: Arc<Call>, route: Arc<Route>, targets: Arc<[Arc<Target>]>) -> Option<Self> {
        (!targets.is_empty()).then_some(Self {
            call,
            route,
            targets,
        })
    }

    /// The targets in order; at least one.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }
}

// === impl Upgrade ===

impl Upgrade {
    /// Keeps the caller's half until somebody answers 101.
    pub fn new(on: OnUpgrade) -> Self {
        Self(Arc::new(std::sync::Mutex::new(Some(on))))
    }

    /// The half, once.
    pub fn take(&self) -> Option<OnUpgrade> {
        self.0.lock().ok()?.take()
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgrade")
    }
}

// === impl Credential ===

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("fingerprint", &self.fingerprint)
            .field(
                "forward",
                &self.forward.as_ref().map(|(name, _)| (name, "***")),
            )
            .field("may_use_held", &self.may_use_held)
            .finish()
    }
}

// === impl CacheStatus ===

impl CacheStatus {
    /// The header's and the metric's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Coalesced => "coalesced",
            Self::Bypass => "bypass",
        }
    }
}
