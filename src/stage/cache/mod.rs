//! Identical calls: answered from the store, joined in flight, or let through.

/// `only-if-cached`, and it is not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no stored answer for this call, and `only-if-cached` forbids asking for one")]
pub struct NotCached;

// === impl NotCached ===

impl NotCached {
    /// The error code.
    pub fn code(&self) -> &'static str {
        "not_cached"
    }
}
