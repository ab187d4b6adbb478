//! One caller's wait for a flight, and what it takes home: the shared answer, an old one, or the error.

use std::{borrow::Cow, future::poll_fn, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

use super::{
    Params, Unanswered, body,
    flight::{Head, Landed, Seat},
    headers,
    key::{Key, Shape},
    policy,
    store::{CacheStore, Entry},
};
use crate::{
    call::{CacheStatus, Call, Learnt, Reply, ReplyBody},
    error::Error,
};

/// How long a caller waits past its deadline for the shared call, which may have the same one, to say what went
/// wrong: its error tells more than ours.
const GRACE: Duration = Duration::from_millis(20);

/// A caller on its way to an answer.
pub(super) struct Caller<S> {
    pub(super) inner: S,
    pub(super) call: Arc<Call>,
    pub(super) store: Arc<CacheStore>,
    pub(super) params: Arc<Params>,
    pub(super) key: Key,
    pub(super) shape: Shape,
    /// Its own deadline, as it came.
    pub(super) until: Instant,
    /// For when the provider fails.
    pub(super) emergency: Option<Arc<Entry>>,
}

// === impl Caller ===

impl<S> Caller<S>
where
    S: Service<Arc<Call>, Response = Reply, Error = Error, Future: Send + 'static> + Send + 'static,
{
    /// The flight's answer, an old one, or the error.
    ///
    /// # Cancel safety
    /// Dropped, it gives up its seat; the flight goes on for the others.
    pub(super) async fn answer(mut self, seat: Seat) -> Result<Reply, Error> {
        let emergency = self.emergency.take();
        let (store, params, key, shape) = (
            Arc::clone(&self.store),
            Arc::clone(&self.params),
            self.key,
            self.shape,
        );
        let error = match self.wait(seat).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let timed_out = matches!(error, Error::Cache(Unanswered::TimedOut));
        let entry = emergency.filter(|_| timed_out || policy::is_emergency(&error));
        let old = entry.and_then(|entry| {
            let age = entry.age(Instant::now());
            replay(
                &store,
                &params,
                &key,
                &entry,
                shape,
                CacheStatus::Stale,
                age,
            )
        });
        old.ok_or(error)
    }

    async fn wait(self, seat: Seat) -> Result<Reply, Error> {
        let landed =
            tokio::time::timeout_at(self.until + GRACE, poll_fn(|cx| seat.poll_landed(cx))).await;
        match landed {
            Err(_) => Err(Unanswered::TimedOut.into()),
            Ok(Landed::Answer(head)) => Ok(self.reply(seat, &head)),
            Ok(Landed::Failed(error)) => {
                let leader = &seat.flight().call;
                let same = leader.credential.fingerprint == self.call.credential.fingerprint
                    && leader.app.id == self.call.app.id;
                if seat.is_leader() || policy::is_shared(&error, same) {
                    return Err(error);
                }
                drop(seat);
                // It was the leader's own trouble.
                let mut reply = self.inner.oneshot(self.call).await?;
                reply.learnt.cache = CacheStatus::Miss;
                headers::forwarded(&mut reply.headers, "weir; fwd=uri-miss");
                Ok(reply)
            }
        }
    }

    fn reply(&self, seat: Seat, head: &Arc<Head>) -> Reply {
        let mut map = head.headers.clone();
        let mut learnt = head.learnt.clone();
        if seat.is_leader() {
            learnt.cache = CacheStatus::Miss;
        } else {
            learnt.cache = CacheStatus::Coalesced;
            // Meant for one client.
            map.remove(header::SET_COOKIE);
        }
        headers::forwarded(&mut map, self.status(seat.is_leader(), head.stored));
        let body = match &head.whole {
            Some(bytes) => {
                learnt.usage = learnt.usage.filter(|_| seat.pays());
                ReplyBody::whole(bytes.clone())
            }
            None => body::of(seat),
        };
        Reply {
            status: head.status,
            headers: map,
            body,
            learnt,
            upgrade: None,
        }
    }

    fn status(&self, leader: bool, stored: bool) -> &'static str {
        match (leader, stored) {
            (true, true) if self.call.directives.cache.no_cache => "weir; fwd=request; stored",
            (true, false) if self.call.directives.cache.no_cache => "weir; fwd=request",
            (true, true) => "weir; fwd=uri-miss; stored",
            (true, false) => "weir; fwd=uri-miss",
            (false, _) => "weir; fwd=uri-miss; collapsed",
        }
    }
}

/// A stored answer as a reply; `None` when it cannot be had in this shape.
pub(super) fn replay(
    store: &CacheStore,
    params: &Params,
    key: &Key,
    entry: &Arc<Entry>,
    shape: Shape,
    cache: CacheStatus,
    age: Duration,
) -> Option<Reply> {
    let bytes = store.body(key, entry, shape)?;
    let mut map: HeaderMap = entry.headers.clone();
    let kind = if entry.came_as(shape) {
        entry.content_type.clone()
    } else {
        headers::content_type(shape)
    };
    map.insert(header::CONTENT_TYPE, kind);
    let mut warnings = entry.warnings.clone();
    let detail = if cache == CacheStatus::Stale {
        warnings.push(Cow::Borrowed(
            "this answer is from the cache and past its time",
        ));
        "; detail=stale"
    } else {
        ""
    };
    headers::hit(&mut map, age, params.config.ttl, detail);
    let learnt = Learnt {
        target: entry.target.clone(),
        route: entry.route.clone(),
        cache,
        age: Some(age),
        // What was used then was booked then.
        usage: None,
        provider_request_id: entry.provider_request_id.clone(),
        warnings,
    };
    Some(Reply {
        status: StatusCode::OK,
        headers: map,
        body: ReplyBody::whole(bytes),
        learnt,
        upgrade: None,
    })
}
