//! Outage detection: is it our network, our key, one model of theirs, or their whole API?
//!
//! Hears how every attempt ended, from [`Witness`](crate::witness::Witness). It tells; it decides nothing: circuits do.

use std::time::Duration;

use crate::{call::Target, triage::Class};

/// What is known of how the targets do.
#[derive(Debug, Default)]
pub struct Outages {}

// === impl Outages ===

impl Outages {
    /// An attempt was answered; `first`: time to the first token of a stream.
    pub fn answered(&self, target: &Target, first: Option<Duration>) {
        let _ = (self, target, first);
    }

    /// An attempt failed.
    pub fn failed(&self, target: &Target, class: Class) {
        let _ = (self, target, class);
    }
}
