//! The typed handle on a running simulator.

use std::sync::Arc;

use super::{
    Fault, FaultError, FaultView, Limits, Received, Scenario, Stats, account::DEFAULT_ORGANIZATION,
    world::World,
};

/// Injects faults, sets the account, reads what was received. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control(Arc<World>);

// === impl Control ===

impl Control {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self(world)
    }

    /// Puts a fault in force from now on, until it is spent, over, or removed by the returned id.
    ///
    /// # Errors
    /// When the fault makes no sense; nothing is in force then.
    pub fn inject(&self, fault: Fault) -> Result<u64, FaultError> {
        self.0.faults.inject(fault)
    }

    /// Removes one fault; whether there was one.
    pub fn remove(&self, id: u64) -> bool {
        self.0.faults.remove(id)
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.0.faults.clear();
    }

    /// The faults in force, with how often they hit.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultView> {
        self.0.faults.views()
    }

    /// Starts a scenario now; its faults are added to those in force.
    ///
    /// # Errors
    /// At the first fault that makes no sense; those before it stay in force.
    pub fn play(&self, scenario: &Scenario) -> Result<(), FaultError> {
        if let Some(balance) = scenario.balance_usd {
            self.0.account.set_balance(Some(balance));
        }
        if scenario.limits.is_some() || !scenario.change.is_empty() {
            let limits = scenario.limits.clone().unwrap_or_default();
            self.0.account.set_limits(limits, scenario.change.clone());
        }
        for fault in &scenario.fault {
            self.inject(fault.clone())?;
        }
        Ok(())
    }

    /// Sets every organization's balance in USD; `None`: money is no matter.
    pub fn set_balance(&self, usd: Option<f64>) {
        self.0.account.set_balance(usd);
    }

    /// What the default organization has left.
    #[must_use]
    pub fn balance(&self) -> Option<f64> {
        self.balance_of(DEFAULT_ORGANIZATION)
    }

    /// What that organization has left.
    #[must_use]
    pub fn balance_of(&self, organization: &str) -> Option<f64> {
        self.0.account.balance(organization)
    }

    /// Sets the limits; all buckets are full again, and the times of the settings count from now.
    pub fn set_limits(&self, limits: Limits) {
        self.0.account.set_limits(limits, Vec::new());
    }

    /// Changes the limits, as a tier upgrade does: what is not told stays, and what is used stays used.
    pub fn change_limits(&self, limits: Limits) {
        self.0.account.change_limits(limits);
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.account.limits()
    }

    /// The requests received, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<Received> {
        self.0.journal.log()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            limits: self.0.account.tallies(),
            ..self.0.journal.stats()
        }
    }

    /// Removes faults, log, counters and stored objects; account and limits stay as they are.
    pub fn reset(&self) {
        self.clear();
        self.0.journal.reset();
        self.0.stores.responses.clear();
        self.0.stores.files.clear();
        self.0.stores.batches.clear();
    }
}
