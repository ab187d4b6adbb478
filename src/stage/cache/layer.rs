//! The layer: answers, joins, or goes on.
//!
//! A call that cannot be answered from here costs one look at its envelope and is passed on unboxed. A hit is ready
//! at once. All else waits for a flight, each caller until its own deadline.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{
    Unanswered,
    caller::{Caller, replay},
    flight::Flight,
    headers,
    key::{FlightKey, Key, Shape},
    policy,
    share::Driver,
    store::{CacheStore, Entry},
};
use crate::{
    call::{CacheStatus, Call, Reply},
    config::{self, CachePolicy},
    error::Error,
    stage::Answering,
};

/// The policy for a model: its route's, or the general one. The route itself is not chosen yet.
pub type PolicyFor = Arc<dyn Fn(&str) -> CachePolicy + Send + Sync>;

/// Resolved from `[cache]` and the routes.
#[derive(Clone)]
pub struct Params {
    pub config: config::Cache,
    pub policy_for: PolicyFor,
}

#[derive(Clone, Debug)]
pub struct CacheLayer {
    store: Arc<CacheStore>,
    params: Arc<Params>,
}

#[derive(Clone, Debug)]
pub struct Cache<S> {
    inner: S,
    store: Arc<CacheStore>,
    params: Arc<Params>,
}

pin_project! {
    /// The future of [`Cache`].
    #[project = Projected]
    pub enum CacheFuture<F> {
        /// Not for the cache: the inner service's own.
        Bypass { #[pin] inner: F },
        /// Answered here; taken once.
        Ready { answer: Option<Result<Reply, Error>> },
        /// Waits for a flight.
        Waits { answering: Answering },
    }
}

/// What the store has for a call.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and a hit must not allocate for it"
)]
enum Found {
    /// To be sent.
    Answer(Reply),
    /// For when the provider fails.
    Emergency(Arc<Entry>),
    Nothing,
}

// === impl Params ===

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

// === impl CacheLayer ===

impl CacheLayer {
    /// `store` is shared by all workers and outlives reloads.
    pub fn new(store: Arc<CacheStore>, params: Params) -> Self {
        Self {
            store,
            params: Arc::new(params),
        }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache {
            inner,
            store: Arc::clone(&self.store),
            params: Arc::clone(&self.params),
        }
    }
}

// === impl Cache ===

impl<S> Service<Arc<Call>> for Cache<S>
where
    S: Service<Arc<Call>, Response = Reply, Error = Error, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Response = Reply;
    type Error = Error;
    type Future = CacheFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Arc<Call>) -> Self::Future {
        let asked = call.directives.cache;
        let Some(key) = self.key(&call) else {
            if asked.only_if_cached {
                return CacheFuture::ready(Err(Unanswered::NotCached.into()));
            }
            return CacheFuture::Bypass {
                inner: self.inner.call(call),
            };
        };
        let shape = Shape::of(&call);
        let emergency = match self.find(&key, shape, &call) {
            Found::Answer(reply) => return CacheFuture::ready(Ok(reply)),
            Found::Emergency(entry) => Some(entry),
            Found::Nothing => None,
        };
        if asked.only_if_cached {
            return CacheFuture::ready(Err(Unanswered::NotCached.into()));
        }
        // Read before others may extend it.
        let until = call.deadline.instant();
        let flight_key = FlightKey::of(key, &call, shape);
        let max_bytes = self.params.config.max_entry_bytes;
        // Who wants no stored answer wants none that was under way before it asked either.
        let seat = if asked.no_cache {
            Flight::led_by(&call, max_bytes)
        } else {
            let recheck = || match self.find(&key, shape, &call) {
                Found::Answer(reply) => Some(reply),
                Found::Emergency(_) | Found::Nothing => None,
            };
            match self
                .store
                .flights
                .board(flight_key, &call, max_bytes, recheck)
            {
                Ok(seat) => seat,
                Err(reply) => return CacheFuture::ready(Ok(reply)),
            }
        };
        if seat.is_leader() {
            let driver = Driver {
                flight: Arc::clone(seat.flight()),
                store: Arc::clone(&self.store),
                key: flight_key,
                shape,
                scope: self.params.config.scope,
                max_bytes,
            };
            driver.launch(self.inner.call(Arc::clone(&call)));
        }
        let caller = Caller {
            inner: self.inner.clone(),
            call,
            store: Arc::clone(&self.store),
            params: Arc::clone(&self.params),
            key,
            shape,
            until,
            emergency,
        };
        CacheFuture::Waits {
            answering: Box::pin(caller.answer(seat)),
        }
    }
}

impl<S> Cache<S> {
    /// The call's key, if it is one for the cache.
    fn key(&self, call: &Call) -> Option<Key> {
        if !policy::possible(call) {
            return None;
        }
        let policy = (self.params.policy_for)(call.envelope.model.as_deref().unwrap_or_default());
        policy::wanted(call, policy)
            .then(|| Key::of(call, self.params.config.scope))
            .flatten()
    }

    fn find(&self, key: &Key, shape: Shape, call: &Call) -> Found {
        let (asked, config) = (call.directives.cache, &self.params.config);
        if asked.no_cache {
            return Found::Nothing;
        }
        let Some(entry) = self.store.get(key) else {
            return Found::Nothing;
        };
        let age = entry.age(Instant::now());
        let (left, past) = (
            config.ttl.saturating_sub(age),
            age.saturating_sub(config.ttl),
        );
        if age >= config.ttl.saturating_add(config.stale_if_error) && left.is_zero() {
            return Found::Nothing;
        }
        let young = asked.max_age.is_none_or(|max| age <= max);
        let stays = asked.min_fresh.is_none_or(|min| left >= min);
        let cache = match asked.max_stale {
            _ if !left.is_zero() && young && stays => CacheStatus::Hit,
            Some(max) if past <= max && young && left.is_zero() => CacheStatus::Stale,
            _ => return Found::Emergency(entry),
        };
        replay(&self.store, &self.params, key, &entry, shape, cache, age)
            .map_or(Found::Nothing, Found::Answer)
    }
}

// === impl CacheFuture ===

impl<F> CacheFuture<F> {
    fn ready(answer: Result<Reply, Error>) -> Self {
        Self::Ready {
            answer: Some(answer),
        }
    }
}

impl<F> Future for CacheFuture<F>
where
    F: Future<Output = Result<Reply, Error>>,
{
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Bypass { inner } => {
                let mut answer = ready!(inner.poll(cx));
                if let Ok(reply) = &mut answer
                    && reply.status != StatusCode::SWITCHING_PROTOCOLS
                {
                    reply.learnt.cache = CacheStatus::Bypass;
                    headers::forwarded(&mut reply.headers, "weir; fwd=bypass");
                }
                Poll::Ready(answer)
            }
            Projected::Ready { answer } => {
                Poll::Ready(answer.take().expect("a future is not polled after its end"))
            }
            Projected::Waits { answering } => answering.as_mut().poll(cx),
        }
    }
}

impl<F> fmt::Debug for CacheFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bypass { .. } => "Bypass",
            Self::Ready { .. } => "Ready",
            Self::Waits { .. } => "Waits",
        })
    }
}
