//! Models that share a limit.

use std::borrow::Cow;

use crate::triage::Provider;

/// The name of the pool that a model's calls are counted in: the model itself where nothing is shared. What shares is data of
/// the provider's file.
pub fn family<'a>(provider: &'a Provider, model: &'a str) -> Cow<'a, str> {
    Cow::Borrowed(provider.limiting.pool(model))
}
