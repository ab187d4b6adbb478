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

#[derive(Debug)] pub struct CacheStore;
impl CacheStore { pub fn new(_: &crate::config::Cache) -> Self { Self } pub fn serves(&self, _: &crate::config::Cache) -> bool { true } pub fn weighted_size(&self)->u64{0} pub fn entry_count(&self)->u64{0} }
#[derive(Clone)] pub struct Params; impl std::fmt::Debug for Params { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("x") } }
impl Params { pub fn new(_: crate::config::Cache, _: std::sync::Arc<dyn Fn(&str)->Option<crate::config::CachePolicy>+Send+Sync>) -> Self { Self } }
#[derive(Clone, Debug)] pub struct CacheLayer; impl CacheLayer { pub fn new(_: std::sync::Arc<CacheStore>, _: Params) -> Self { Self } }
impl<S> tower::Layer<S> for CacheLayer { type Service = S; fn layer(&self, s: S) -> S { s } }
