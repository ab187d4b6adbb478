//! Models that share a limit.

use std::borrow::Cow;

use crate::triage::Provider;

/// The name of the pool that a model's calls are counted in: the model itself where nothing is shared.
pub fn family<'a>(provider: &Provider, model: &'a str) -> Cow<'a, str> {
    let _ = provider;
    Cow::Borrowed(model)
}
