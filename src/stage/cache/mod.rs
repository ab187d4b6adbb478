//! Identical calls: answered from the store, joined in flight, or let through.
//!
//! Stands inside `record` (which sees hits too) and outside `quota`: a hit costs no upstream call and none of
//! the app's own allowance.
//!
//! - `key`: what makes two calls identical, and which calls may be answered from here at all.
//! - `store`: whole, successful answers, bounded in bytes; one entry serves stream and non-stream asks.
//! - `flight`: identical calls in flight share one upstream call, which ends with its last caller.
//! - `layer`: the decisions in the order in which they are made; `caller` waits and takes home the answer.
//!
//! At the edges: a body that is not JSON, an upload, an upgrade, a call with state at the provider
//! (`previous_response_id`, `background`) pass straight through. After its TTL an entry is emergency stock: it
//! goes out, marked, when the provider fails, never for the caller's own mistake. `no-cache` callers neither
//! get stored answers nor join others, but their answer is kept for the next one; `no-store` passes through.

mod body;
mod caller;
mod flight;
mod headers;
mod key;
mod layer;
mod policy;
mod share;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    layer::{Cache, CacheFuture, CacheLayer, Params, PolicyFor},
    store::CacheStore,
};

/// Why the cache stage itself has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// `only-if-cached`, and it is not.
    #[error("no stored answer for this call, and `only-if-cached` forbids asking for one")]
    NotCached,
    /// The caller's own deadline passed while the call it shares goes on for others.
    #[error("the call's deadline passed before the shared call was answered")]
    TimedOut,
    /// The shared call ended without a word: its worker is going away.
    #[error("the shared call was lost")]
    Lost,
}

// === impl Unanswered ===

impl Unanswered {
    /// The error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotCached => "not_cached",
            Self::TimedOut => "deadline_exceeded",
            Self::Lost => "server_error",
        }
    }
}
