//! An upstream's concurrent calls.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::line::Denied;
use crate::triage::Class;

/// What a caller is told: how long others take, nobody knows.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// Places for calls at one upstream; waiting for one is fair.
#[derive(Debug)]
pub(super) struct Places {
    limit: NonZeroU32,
    free: Arc<Semaphore>,
}

// === impl Places ===

impl Places {
    pub(super) fn new(limit: NonZeroU32) -> Self {
        Self {
            limit,
            free: Arc::new(Semaphore::new(limit.get() as usize)),
        }
    }

    pub(super) fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// A place, at the latest at `until`.
    pub(super) async fn take(&self, until: Instant) -> Result<OwnedSemaphorePermit, Denied> {
        let denied = Denied {
            class: Class::RateLimitedConcurrency,
            retry_after: Some(UNKNOWN_WAIT),
        };
        match timeout_at(until, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(denied),
        }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }
}
