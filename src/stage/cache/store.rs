//! Whole, successful answers, bounded in bytes.
//!
//! An entry holds the answer as it came, with its content coding undone, and the other forms (a stream for a
//! whole answer and the other way round) once somebody asked for them. What cannot be carried over is refused
//! by the dialect, and the call goes to the provider.
//!
//! Freshness is judged at each look, by the clock of the caller; moka's own clock only frees memory.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::{
    flight::Flights,
    key::{ByPrefix, Key, Shape},
};
use crate::{
    call::Target,
    config,
    dialect::{
        Endpoint,
        openai::{Usage, replay},
    },
};

/// What an entry weighs beside its bodies: headers, key, and the map's own.
const OVERHEAD: usize = 1024;

/// The state of the stage that all workers share and that outlives a reload.
pub struct CacheStore {
    entries: moka::sync::Cache<Key, Arc<Entry>, ByPrefix>,
    pub(super) flights: Arc<Flights>,
}

/// A stored answer.
pub(super) struct Entry {
    endpoint: Endpoint,
    shape: Shape,
    /// One per [`Shape`]; `None` inside: it has been tried and cannot be had.
    forms: [OnceLock<Option<Bytes>>; 3],
    /// As kept by `headers::kept`, with the content type of the form as it came.
    pub(super) headers: HeaderMap,
    pub(super) content_type: HeaderValue,
    pub(super) usage: Option<Usage>,
    pub(super) target: Option<Arc<Target>>,
    pub(super) route: Option<Arc<str>>,
    pub(super) provider_request_id: Option<HeaderValue>,
    pub(super) warnings: Vec<Cow<'static, str>>,
    pub(super) stored_at: Instant,
}

/// What is known of an answer that is to be stored, beside its body.
pub(super) struct Facts {
    pub(super) endpoint: Endpoint,
    pub(super) shape: Shape,
    pub(super) headers: HeaderMap,
    pub(super) content_type: HeaderValue,
    pub(super) usage: Option<Usage>,
    pub(super) learnt: crate::call::Learnt,
}

// === impl CacheStore ===

impl CacheStore {
    /// An empty store, bounded as configured. Its bounds are those of the start: a reload changes them with
    /// the next start only (freshness and policy change at once).
    pub fn new(config: &config::Cache) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(config.max_bytes)
            .weigher(|_: &Key, entry: &Arc<Entry>| entry.weight())
            // Twice: a reload may lengthen the times, and a converted entry is put back in.
            .time_to_live(
                config
                    .ttl
                    .saturating_add(config.stale_if_error)
                    .saturating_mul(2)
                    .min(LONGEST),
            )
            .build_with_hasher(ByPrefix::default());
        Self {
            entries,
            flights: Arc::new(Flights::new()),
        }
    }

    /// Bytes held, as of moka's last housekeeping.
    pub fn weighted_size(&self) -> u64 {
        self.entries.weighted_size()
    }

    /// Answers held, as of moka's last housekeeping.
    pub fn entry_count(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Calls now shared in flight, single ones among them.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    pub(super) fn put(&self, key: Key, entry: Entry) {
        self.entries.insert(key, Arc::new(entry));
    }

    /// The body of `entry` in `shape`; converted on the first need.
    pub(super) fn body(&self, key: &Key, entry: &Arc<Entry>, shape: Shape) -> Option<Bytes> {
        if let Some(known) = entry.forms[shape as usize].get() {
            return known.clone();
        }
        let body = entry.form(shape);
        // It is heavier now, which moka only sees when it is put in anew.
        if body.is_some()
            && self
                .entries
                .get(key)
                .is_some_and(|now| Arc::ptr_eq(&now, entry))
        {
            self.entries.insert(*key, Arc::clone(entry));
        }
        body
    }

    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.entries.run_pending_tasks();
    }
}

/// moka refuses a time to live of more than 1,000 years.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl fmt::Debug for CacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheStore")
            .field("entries", &self.entry_count())
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

// === impl Entry ===

impl Entry {
    /// `body` is as it came, without content coding.
    pub(super) fn new(facts: Facts, body: Bytes, stored_at: Instant) -> Self {
        let forms = [const { OnceLock::new() }; 3];
        let _ = forms[facts.shape as usize].set(Some(body));
        Self {
            endpoint: facts.endpoint,
            shape: facts.shape,
            forms,
            headers: facts.headers,
            content_type: facts.content_type,
            usage: facts.usage,
            target: facts.learnt.target,
            route: facts.learnt.route,
            provider_request_id: facts.learnt.provider_request_id,
            warnings: facts.learnt.warnings,
            stored_at,
        }
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored_at)
    }

    /// Whether `shape` is the form in which it came.
    pub(super) fn came_as(&self, shape: Shape) -> bool {
        self.shape == shape
    }

    fn form(&self, shape: Shape) -> Option<Bytes> {
        self.forms[shape as usize]
            .get_or_init(|| self.convert(shape))
            .clone()
    }

    /// Streams are made from the whole answer, and that from the stream which came: there is one way for each.
    fn convert(&self, shape: Shape) -> Option<Bytes> {
        match shape {
            // Another form of this one does not exist: it is the one which came, and set from the start.
            _ if shape == self.shape => None,
            Shape::Whole => {
                let stream = self.form(self.shape)?;
                // An estimate must not pass for the provider's word.
                replay::to_reply(
                    self.endpoint,
                    [stream],
                    self.usage.filter(|usage| usage.exact),
                )
                .ok()
            }
            // Only chats and completions end with a usage when asked to; responses always do.
            _ if self.shape.is_stream() && self.endpoint == Endpoint::Responses => {
                self.form(self.shape)
            }
            Shape::Stream | Shape::StreamWithUsage => {
                let whole = self.form(Shape::Whole)?;
                let events =
                    replay::to_stream(self.endpoint, &whole, shape == Shape::StreamWithUsage)
                        .ok()?;
                Some(events.concat().into())
            }
        }
    }

    fn weight(&self) -> u32 {
        let bodies: usize = self
            .forms
            .iter()
            .filter_map(|form| form.get()?.as_ref())
            .map(Bytes::len)
            .sum();
        u32::try_from(bodies.saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
    }
}
