//! What all connections share: settings, account, faults, journal, stored objects.

use std::sync::Arc;

use super::{
    account::Account, api::Stores, fault::Faults, journal::Journal, models, spending::Spending,
};

/// Shared by every connection of one simulator.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) name: String,
    pub(crate) any_model: bool,
    pub(crate) extra_models: Vec<String>,
    pub(crate) enforce_context: bool,
    pub(crate) account: Arc<Account>,
    pub(crate) spending: Spending,
    pub(crate) faults: Faults,
    pub(crate) journal: Arc<Journal>,
    pub(crate) stores: Stores,
}

// === impl World ===

impl World {
    pub(crate) fn knows_model(&self, name: &str) -> bool {
        self.any_model
            || models::find(name).is_some()
            || self.extra_models.iter().any(|extra| extra == name)
    }
}
