//! What makes two calls identical.
//!
//! A key is the BLAKE3 hash of everything that may change the answer or whose answer it is: isolation scope,
//! endpoint, query, the headers that choose an account or an API version, and the canonical body. The first
//! eight bytes of a hash are as good as random, so the key is its own hash-map hash.

use std::{
    cell::RefCell,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use http::header;

use crate::{
    call::{Call, Payload},
    config::CacheScope,
    json,
};

/// Top-level members that say who asks or how the answer is delivered, and do not change it. `store` is not
/// among them: it changes what stays behind at the provider.
const IGNORED: &[&str] = &[
    "user",
    "metadata",
    "stream",
    "stream_options",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

/// Headers that choose an account or change what the API does.
const HEADERS: &[&str] = &["openai-organization", "openai-project", "openai-beta"];

/// The scratch buffer of a worker is given back above this size.
const SCRATCH: usize = 256 * 1024;

/// What identical calls have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

/// Calls that may share one upstream call: identical, and the same in what shapes the exchange itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) key: Key,
    variant: u64,
}

/// The form in which an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// One JSON body.
    Whole = 0,
    /// Events.
    Stream = 1,
    /// Events, the last of which tells the usage.
    StreamWithUsage = 2,
}

/// Hashes nothing: takes the first eight bytes that a [`Key`] offers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefix(u64);

/// Builds [`Prefix`].
pub(super) type ByPrefix = BuildHasherDefault<Prefix>;

// === impl Key ===

impl Key {
    /// The key of `call`; `None` when its body is not one JSON value held whole.
    pub(super) fn of(call: &Call, scope: CacheScope) -> Option<Self> {
        thread_local!(static SCRATCH_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        let Payload::Whole(body) = &call.payload else {
            return None;
        };
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            scratch.clear();
            Self::prefix(call, scope, scratch);
            let written = json::canonical(body, IGNORED, scratch);
            let key = written
                .is_ok()
                .then(|| Self(*blake3::hash(scratch).as_bytes()));
            if scratch.capacity() > SCRATCH {
                *scratch = Vec::new();
            }
            key
        })
    }

    /// Everything but the body. Each part ends with a byte that it cannot hold.
    fn prefix(call: &Call, scope: CacheScope, out: &mut Vec<u8>) {
        match scope {
            CacheScope::Credential => {
                out.push(b'c');
                out.extend_from_slice(&call.credential.fingerprint.0.to_le_bytes());
                out.extend_from_slice(&call.app.id.0.to_le_bytes());
            }
            CacheScope::App => {
                out.push(b'a');
                out.extend_from_slice(&call.app.id.0.to_le_bytes());
            }
            CacheScope::Shared => out.push(b's'),
        }
        out.extend_from_slice(call.endpoint.as_str().as_bytes());
        out.push(b'\n');
        out.extend_from_slice(call.path.query().unwrap_or_default().as_bytes());
        out.push(b'\n');
        for name in HEADERS {
            for value in call.headers.get_all(*name) {
                out.extend_from_slice(name.as_bytes());
                out.push(b':');
                out.extend_from_slice(value.as_bytes());
                out.push(b'\n');
            }
        }
    }

    /// Which of `shards` (a power of two) it belongs to. Other bits than those that maps look at.
    pub(super) fn shard(&self, shards: usize) -> usize {
        usize::from(self.0[31]) & (shards - 1)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        state.write_u64(u64::from_le_bytes(first));
    }
}

// === impl FlightKey ===

impl FlightKey {
    /// Calls of another shape, with another wish about fallbacks or another place in the queue, or that take
    /// other content codings, must not get this call's exchange.
    pub(super) fn of(key: Key, call: &Call, shape: Shape) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        (shape, call.directives.no_fallback, call.priority()).hash(&mut hasher);
        call.headers
            .get(header::ACCEPT_ENCODING)
            .map(|v| v.as_bytes())
            .hash(&mut hasher);
        Self {
            key,
            variant: hasher.finish(),
        }
    }
}

// === impl Shape ===

impl Shape {
    /// What `call` asks for.
    pub(super) fn of(call: &Call) -> Self {
        match (call.envelope.stream, call.envelope.include_usage) {
            (false, _) => Self::Whole,
            (true, false) => Self::Stream,
            (true, true) => Self::StreamWithUsage,
        }
    }

    pub(super) const fn is_stream(self) -> bool {
        !matches!(self, Self::Whole)
    }
}

// === impl Prefix ===

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not the way of a `Key`; right all the same.
        let mut hasher = std::hash::DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.write(bytes);
        self.0 = hasher.finish();
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = self.0.rotate_left(1) ^ value;
    }
}
