//! The configuration after resolution: names are references, numbers are checked,
//! secrets are a type that does not print. Everything the program runs on is built from this.

mod alerts;

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use globset::GlobSet;
use http::{HeaderName, HeaderValue, Uri};

pub use self::alerts::{AlertFormat, AlertKey, AlertTopic, Alerts, Webhook};

use crate::{limits::Kind, triage::Provider};

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8484`
    Tcp(SocketAddr),
    /// `unix:/run/weir.sock`
    Unix(PathBuf),
}

/// Where a gateway listens.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// For apps.
    pub listen: Listen,
    /// For operators; `None`: no admin listener.
    pub admin: Option<Listen>,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None`: built-in defaults.
    pub source: Option<PathBuf>,
    /// For apps.
    pub listen: Listen,
    /// For operators; `None`: no admin listener (`admin = { listen = "off" }`).
    pub admin: Option<Listen>,
    pub server: Server,
    /// At least one; the index is the upstream's `UpstreamId`.
    pub upstreams: Vec<Arc<Upstream>>,
    /// In the order of the file, first match wins; at least one (an implicit `*` → first upstream).
    pub routes: Vec<Arc<Route>>,
    pub retry: Retry,
    pub breaker: Breaker,
    /// `None`: policy `off` everywhere.
    pub cache: Option<Cache>,
    pub limits: Learning,
    pub apps: Vec<Arc<App>>,
    /// `None`: nobody is told.
    pub alerts: Option<Alerts>,
    pub log: Log,
}

/// `[server]`: the bounds of the app listener.
#[derive(Clone, Debug)]
pub struct Server {
    /// Worker threads, each with its own listener and pool. Default: one per core.
    pub workers: NonZeroU32,
    /// Open client connections over all workers; more wait in the kernel's backlog. Default 20,000.
    pub max_connections: u32,
    /// Calls in flight over all workers; more are refused with 503. Default 10,000.
    pub max_inflight: u32,
    /// Largest JSON request body, after content decoding, in bytes. Default 128 MiB. Uploads stream through unbounded by it.
    pub max_body_bytes: usize,
    /// Largest request head in bytes. Default 64 KiB.
    pub max_header_bytes: usize,
    /// Time for a client to send a request head, also the longest idle keep-alive. Default 75 s.
    pub header_timeout: Duration,
    /// Longest silence while a client sends its body. Default 60 s.
    pub body_timeout: Duration,
    /// A call's time to the first byte of its answer when the client names none. Default 10 min (that of the official SDKs).
    pub timeout: Duration,
    /// After SIGTERM: keep accepting, not ready, for this long. Default 0 on loopback and unix sockets, else 5 s.
    pub drain_delay: Duration,
    /// After that: time for running calls to end. Default 120 s.
    pub drain_timeout: Duration,
}

/// A key that weir holds. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// Where an upstream's credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamKey {
    /// The caller's own `Authorization` goes through.
    Passthrough,
    /// weir's own.
    Held(Secret),
    /// The provider needs none (a local server).
    None,
}

/// One account at one provider.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Index in `Config::upstreams`.
    pub id: UpstreamId,
    pub name: Arc<str>,
    /// The preset with the user's own rules in front.
    pub provider: Arc<Provider>,
    /// Scheme, authority and path prefix (such as `https://api.openai.com/v1`), no trailing slash.
    pub base_url: Uri,
    pub key: UpstreamKey,
    /// An admin key of the account, with which `weir doctor` reads limits and costs. No call carries it.
    pub admin_key: Option<Secret>,
    /// Sent as `OpenAI-Organization`, in place of the caller's.
    pub organization: Option<HeaderValue>,
    /// Sent as `OpenAI-Project`, in place of the caller's.
    pub project: Option<HeaderValue>,
    /// Extra request headers, replacing equal ones.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// TCP and TLS together. Default 5 s.
    pub connect_timeout: Duration,
    /// From sending to the first semantic event, or to the whole head of a plain answer. Default 5 min.
    pub first_token_timeout: Duration,
    /// Longest silence after that. Default 2 min.
    pub idle_timeout: Duration,
    pub limits: Limits,
}

/// Index of an upstream in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub u16);

/// The provider's limits, per upstream × model (concurrency: per upstream).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    pub requests_per_minute: Limit,
    pub tokens_per_minute: Limit,
    pub input_tokens_per_minute: Limit,
    pub output_tokens_per_minute: Limit,
    pub images_per_minute: Limit,
    pub requests_per_day: Limit,
    pub tokens_per_day: Limit,
    pub concurrency: Limit,
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Limit {
    /// Nothing is known beforehand.
    #[default]
    Auto,
    /// Never more than this.
    Fixed(NonZeroU32),
}

/// Model names → ordered targets.
#[derive(Clone, Debug)]
pub struct Route {
    /// Index in `Config::routes`.
    pub id: RouteId,
    /// Metric label and log name: `name`, else the first pattern.
    pub name: Arc<str>,
    /// The patterns as written.
    pub models: Vec<String>,
    pub matcher: GlobSet,
    /// At least one.
    pub targets: Vec<RouteTarget>,
    /// Overrides `[cache] policy`.
    pub cache_policy: Option<CachePolicy>,
    /// Overrides `[server] timeout`.
    pub timeout: Option<Duration>,
    /// Whom a call goes to when the first target's limit makes it wait.
    pub prefer: Prefer,
}

/// Order of targets while limits are waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// As written: a wait that fits is waited.
    #[default]
    Order,
    /// The target that is free soonest.
    Soonest,
}

/// Index of a route in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// `upstream[:model]` of a route.
#[derive(Clone, Debug)]
pub struct RouteTarget {
    pub upstream: Arc<Upstream>,
    /// Sent in place of the model asked for; `None`: the model goes as it came.
    pub model: Option<Arc<str>>,
}

/// `[retry]`
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts over all targets together. Default 5.
    pub max_attempts: NonZeroU32,
    /// First backoff. Default 1 s.
    pub base: Duration,
    /// Longest backoff. Default 60 s.
    pub max: Duration,
    /// Retries as a share of calls, 0 to 1. Default 0.2 (with a floor of some retries per second).
    pub budget: f32,
    /// Longest wait inside weir for a limit or a told time, in all. Default 30 s.
    pub max_wait: Duration,
}

/// `[breaker]`
#[derive(Clone, Debug)]
pub struct Breaker {
    /// Over which failures are counted. Default 30 s.
    pub window: Duration,
    /// Share of failures in the window that opens, above `min_calls`. Default 0.5.
    pub failure_ratio: f32,
    /// Default 20.
    pub min_calls: NonZeroU32,
    /// Failures in a row that open, whatever the ratio. Default 5.
    pub consecutive: NonZeroU32,
    /// From opening to the first probe. Default 5 s.
    pub open_for: Duration,
    /// The growing interval between probes ends here. Default 60 s.
    pub open_for_max: Duration,
    /// The same for a circuit opened by a billing failure. Default 30 s.
    pub billing_probe: Duration,
    /// Default 5 min.
    pub billing_probe_max: Duration,
}

/// What is answered from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// Embeddings, moderations, temperature 0, a seed.
    Deterministic,
    /// Every identical call.
    Identical,
    /// Nothing.
    Off,
}

/// Who shares cached answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheScope {
    /// Callers with the same credential (default).
    Credential,
    /// Callers of the same app.
    App,
    /// Everybody.
    Shared,
}

/// `[cache]`
#[derive(Clone, Debug)]
pub struct Cache {
    pub policy: CachePolicy,
    /// Fresh for this long. Default 1 h.
    pub ttl: Duration,
    /// Kept this long after the TTL for when every target fails. Default 24 h; 0: never stale.
    pub stale_if_error: Duration,
    /// Bound of the whole store. Default 128 MiB.
    pub max_bytes: u64,
    /// Larger answers are not stored. Default 8 MiB.
    pub max_entry_bytes: usize,
    pub scope: CacheScope,
}

/// Order of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    #[default]
    Interactive,
    Batch,
}

/// `[[app]]`: a program that calls us.
#[derive(Clone, Debug)]
pub struct App {
    /// Index in `Config::apps` + 1; 0 is the unnamed app of an open listener.
    pub id: AppId,
    pub name: Arc<str>,
    /// BLAKE3 of the key, as `weir keys create` prints it (`blake3:<64 hex>`).
    pub key_hash: [u8; 32],
    pub requests_per_minute: Option<NonZeroU32>,
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Of a UTC day.
    pub tokens_per_day: Option<NonZeroU64>,
    pub concurrency: Option<NonZeroU32>,
    pub priority: Priority,
    /// Its share of a limit that several apps wait for, in relation to theirs. Default 1.
    pub weight: NonZeroU32,
    pub on_limit: OnLimit,
}

/// What a call does that exceeds its app's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// Waits, as long as `[retry] max_wait` and its deadline allow.
    #[default]
    Wait,
    /// Is refused at once.
    Reject,
}

/// `[limits]`: what is learnt of the providers' limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    /// Where it is kept for the next run.
    pub remember: Remember,
    /// Share of a limit used elsewhere with the same account from which on it is told. Default 0.2; `None`: never.
    pub foreign_alert: Option<f32>,
}

/// Where something is kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Remember {
    /// In the user's state directory, when there is one.
    #[default]
    Auto,
    Off,
    /// In this file.
    File(PathBuf),
}

/// Index of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub u32);

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Stderr,
    File(PathBuf),
    Off,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// A tracing filter, such as `info` or `weir=debug`. `RUST_LOG` wins. Default `info`.
    pub level: String,
    /// One JSON line per call. Default `stdout`.
    pub access: AccessLog,
}

// === impl App ===

impl App {
    /// The unnamed app, without any quota.
    pub fn anyone() -> Self {
        Self {
            id: AppId(0),
            name: Arc::from("default"),
            key_hash: [0; 32],
            requests_per_minute: None,
            tokens_per_minute: None,
            tokens_per_day: None,
            concurrency: None,
            priority: Priority::Interactive,
            weight: NonZeroU32::MIN,
            on_limit: OnLimit::Wait,
        }
    }
}

// === impl Learning ===

impl Default for Learning {
    fn default() -> Self {
        Self {
            remember: Remember::Auto,
            foreign_alert: Some(0.2),
        }
    }
}

// === impl Limits ===

impl Limits {
    /// What is set for a kind.
    pub fn of(&self, kind: Kind) -> Limit {
        match kind {
            Kind::Requests => self.requests_per_minute,
            Kind::Tokens => self.tokens_per_minute,
            Kind::InputTokens => self.input_tokens_per_minute,
            Kind::OutputTokens => self.output_tokens_per_minute,
            Kind::Images => self.images_per_minute,
            Kind::RequestsPerDay => self.requests_per_day,
            Kind::TokensPerDay => self.tokens_per_day,
            Kind::Concurrency => self.concurrency,
            Kind::ProjectRequests | Kind::ProjectTokens | Kind::TokensPerMonth => Limit::Auto,
        }
    }
}

// === impl Secret ===

impl Secret {
    /// Takes the key as it is sent.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// The key itself; only for the request to its own upstream.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Listen ===

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(addr) => addr.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "{addr}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
