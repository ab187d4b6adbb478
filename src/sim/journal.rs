//! What was received and what became of it: the log and the counters.
//!
//! An [`Entry`] is a guard: it travels with the call into its response body and settles when that ends. Dropped
//! before the end, the client has gone, and that is what the log says.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Serialize;
use tokio::time::Instant;

use super::{account::Ticket, limits::Tally};

/// Bodies up to this size are in the log as text; larger ones only as hash and length.
const BODY_TEXT_MAX: usize = 64 * 1024;

/// All kept bodies together; beyond it the log has hash and length only.
const BODIES_MAX: u64 = 64 * 1024 * 1024;

/// One received request, as `GET /_sim/log` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// Counts from 1.
    pub id: u64,
    /// Since the simulator started.
    pub arrival_ms: u64,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case; `authorization` shows the key's fingerprint only.
    pub headers: BTreeMap<String, String>,
    /// Fingerprint of the key; empty without one.
    pub key: String,
    /// The model asked for.
    pub model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Length of the body.
    pub body_bytes: usize,
    /// BLAKE3 of the body, in hex.
    pub body_blake3: String,
    /// The body, when it is UTF-8 and not longer than 64 KiB.
    pub body: Option<String>,
    /// HTTP status, 0 when none was sent.
    pub status: u16,
    /// `ok`, `refused` (an API error), `fault:KIND`, or empty while it is decided.
    pub outcome: String,
    /// Body bytes handed to the connection.
    pub bytes_sent: u64,
    /// Whether the answer is over, one way or another.
    pub finished: bool,
    /// The client left before the end.
    pub client_disconnected: bool,
}

/// Counters, as `GET /_sim/stats` shows them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Received since the start or the last reset.
    pub requests: u64,
    /// Being served now.
    pub in_flight: u64,
    /// Most at once.
    pub max_in_flight: u64,
    /// Event streams open now.
    pub open_streams: u64,
    /// Calls whose client left before the end.
    pub disconnects: u64,
    /// Calls hit by a fault.
    pub faults_hit: u64,
    /// TCP connections accepted.
    pub connections: u64,
    /// TCP connections open now.
    pub open_connections: u64,
    /// Body bytes sent.
    pub bytes_sent: u64,
    /// Answers by status; 0 = none was sent.
    pub by_status: BTreeMap<u16, u64>,
    /// What the limits let in and refused since they were set, by organization and pool of models (`org-… gpt-4o`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Tally>,
}

/// The log and the counters.
#[derive(Debug)]
pub(crate) struct Journal {
    start: Instant,
    capacity: usize,
    kept_bytes: Arc<AtomicU64>,
    log: Mutex<VecDeque<Arc<Record>>>,
    requests: AtomicU64,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
    open_streams: AtomicU64,
    disconnects: AtomicU64,
    faults_hit: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) open_connections: AtomicU64,
    bytes_sent: AtomicU64,
    by_status: Box<[AtomicU64]>,
}

#[derive(Debug)]
struct Record {
    id: u64,
    arrival_ms: u64,
    method: Method,
    path: String,
    headers: HeaderMap,
    key: String,
    asked: OnceLock<Asked>,
    outcome: OnceLock<String>,
    status: AtomicU16,
    bytes_sent: AtomicU64,
    finished: AtomicBool,
    client_disconnected: AtomicBool,
}

#[derive(Debug)]
struct Asked {
    model: Option<String>,
    stream: bool,
    body: Option<Kept>,
    body_bytes: usize,
    hash: blake3::Hash,
}

/// A body in the log; gives its bytes back to the common allowance when it leaves.
#[derive(Debug)]
struct Kept {
    bytes: Bytes,
    total: Arc<AtomicU64>,
}

/// A call in flight.
#[derive(Debug)]
pub(crate) struct Entry {
    journal: Arc<Journal>,
    record: Arc<Record>,
    settled: bool,
    streaming: bool,
    ticket: Option<Ticket>,
}

// === impl Journal ===

impl Journal {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            capacity,
            kept_bytes: Arc::default(),
            log: Mutex::default(),
            requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            max_in_flight: AtomicU64::new(0),
            open_streams: AtomicU64::new(0),
            disconnects: AtomicU64::new(0),
            faults_hit: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            by_status: (0..600).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// A request whose head has arrived.
    pub(crate) fn enter(self: &Arc<Self>, parts: &http::request::Parts, key: String) -> Entry {
        let id = self.requests.fetch_add(1, Relaxed) + 1;
        let now = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.max_in_flight.fetch_max(now, Relaxed);
        let record = Arc::new(Record {
            id,
            arrival_ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            method: parts.method.clone(),
            path: parts
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: if self.capacity == 0 {
                HeaderMap::new()
            } else {
                parts.headers.clone()
            },
            key,
            asked: OnceLock::new(),
            outcome: OnceLock::new(),
            status: AtomicU16::new(0),
            bytes_sent: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            client_disconnected: AtomicBool::new(false),
        });
        if self.capacity > 0 {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == self.capacity {
                log.pop_front();
            }
            log.push_back(Arc::clone(&record));
        }
        Entry {
            journal: Arc::clone(self),
            record,
            settled: false,
            streaming: false,
            ticket: None,
        }
    }

    pub(crate) fn log(&self) -> Vec<Received> {
        let records: Vec<_> = self
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect();
        records.iter().map(|record| record.view()).collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        let counted = |(status, count): (usize, &AtomicU64)| {
            let count = count.load(Relaxed);
            (count > 0).then(|| (u16::try_from(status).unwrap_or(0), count))
        };
        Stats {
            requests: self.requests.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            max_in_flight: self.max_in_flight.load(Relaxed),
            open_streams: self.open_streams.load(Relaxed),
            disconnects: self.disconnects.load(Relaxed),
            faults_hit: self.faults_hit.load(Relaxed),
            connections: self.connections.load(Relaxed),
            open_connections: self.open_connections.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            by_status: self
                .by_status
                .iter()
                .enumerate()
                .filter_map(counted)
                .collect(),
            limits: BTreeMap::new(),
        }
    }

    /// Empties the log and zeroes what only grows; what is open stays counted.
    pub(crate) fn reset(&self) {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        for counter in [
            &self.requests,
            &self.disconnects,
            &self.faults_hit,
            &self.connections,
            &self.bytes_sent,
        ] {
            counter.store(0, Relaxed);
        }
        self.max_in_flight
            .store(self.in_flight.load(Relaxed), Relaxed);
        for counter in &self.by_status {
            counter.store(0, Relaxed);
        }
    }
}

// === impl Entry ===

impl Entry {
    /// The body has arrived whole.
    pub(crate) fn asked(
        &self,
        model: Option<&str>,
        stream: bool,
        body: &Bytes,
        hash: blake3::Hash,
    ) {
        let keep = self.journal.capacity > 0 && body.len() <= BODY_TEXT_MAX;
        let asked = Asked {
            model: model.map(str::to_owned),
            stream,
            body: keep
                .then(|| Kept::new(body, &self.journal.kept_bytes))
                .flatten(),
            body_bytes: body.len(),
            hash,
        };
        let _ = self.record.asked.set(asked);
    }

    pub(crate) fn fault(&self, name: &str) {
        self.journal.faults_hit.fetch_add(1, Relaxed);
        let _ = self.record.outcome.set(format!("fault:{name}"));
    }

    /// The head of the answer is on its way.
    pub(crate) fn answered(&mut self, status: u16, streaming: bool) {
        self.record.status.store(status, Relaxed);
        let _ = self
            .record
            .outcome
            .set(if status < 400 { "ok" } else { "refused" }.to_owned());
        if streaming && !self.streaming {
            self.streaming = true;
            self.journal.open_streams.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.record.bytes_sent.fetch_add(bytes as u64, Relaxed);
        self.journal.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    /// The call is under way for its limits as long as its answer is.
    pub(crate) fn hold(&mut self, ticket: Option<Ticket>) {
        self.ticket = ticket;
    }

    /// The answer is over as it was meant to be.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
        // Before the client can have read the end, or its next call would meet this one.
        self.ticket = None;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.settled {
            if let Some(ticket) = &mut self.ticket {
                ticket.abandoned();
            }
            self.record.client_disconnected.store(true, Relaxed);
            self.journal.disconnects.fetch_add(1, Relaxed);
        }
        self.record.finished.store(true, Relaxed);
        if let Some(counter) = self
            .journal
            .by_status
            .get(usize::from(self.record.status.load(Relaxed)))
        {
            counter.fetch_add(1, Relaxed);
        }
        self.journal.in_flight.fetch_sub(1, Relaxed);
        if self.streaming {
            self.journal.open_streams.fetch_sub(1, Relaxed);
        }
    }
}

// === impl Kept ===

impl Kept {
    fn new(body: &Bytes, total: &Arc<AtomicU64>) -> Option<Self> {
        let before = total.fetch_add(body.len() as u64, Relaxed);
        // A copy: a slice would keep the connection's whole read buffer alive.
        let kept = Self {
            bytes: Bytes::copy_from_slice(body),
            total: Arc::clone(total),
        };
        (before < BODIES_MAX).then_some(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes.len() as u64, Relaxed);
    }
}

// === impl Record ===

impl Record {
    fn view(&self) -> Received {
        let mut headers = BTreeMap::new();
        for (name, value) in &self.headers {
            let value = match name.as_str() {
                "authorization" => format!("Bearer ***{}", self.key),
                _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            headers
                .entry(name.as_str().to_owned())
                .and_modify(|all: &mut String| {
                    all.push_str(", ");
                    all.push_str(&value);
                })
                .or_insert(value.clone());
        }
        let asked = self.asked.get();
        let text = |body: &Kept| std::str::from_utf8(&body.bytes).ok().map(str::to_owned);
        Received {
            id: self.id,
            arrival_ms: self.arrival_ms,
            method: self.method.to_string(),
            path: self.path.clone(),
            headers,
            key: self.key.clone(),
            model: asked.and_then(|asked| asked.model.clone()),
            stream: asked.is_some_and(|asked| asked.stream),
            body_bytes: asked.map_or(0, |asked| asked.body_bytes),
            body_blake3: asked.map_or_else(String::new, |asked| asked.hash.to_hex().to_string()),
            body: asked.and_then(|asked| asked.body.as_ref()).and_then(text),
            status: self.status.load(Relaxed),
            outcome: self.outcome.get().cloned().unwrap_or_default(),
            bytes_sent: self.bytes_sent.load(Relaxed),
            finished: self.finished.load(Relaxed),
            client_disconnected: self.client_disconnected.load(Relaxed),
        }
    }
}
