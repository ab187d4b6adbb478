//! The allowances of all apps.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Exceeded, Kind, QuotaView};
use crate::{
    config::{App, AppId},
    stage::limit::Bucket,
};

/// What was taken for a call; dropped, the app may make another at the same time.
pub(super) type Taken = Option<OwnedSemaphorePermit>;

/// The allowances of the apps of one configuration.
#[derive(Debug, Default)]
pub struct Quotas(HashMap<AppId, Arc<Allowance>>);

/// One app's.
#[derive(Debug)]
pub(super) struct Allowance {
    app: Arc<App>,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    places: Option<Arc<Semaphore>>,
}

// === impl Quotas ===

impl Quotas {
    /// Full ones, for those `apps` that have a quota.
    pub fn new(apps: &[Arc<App>]) -> Self {
        Self::default().renewed(apps)
    }

    /// Those of a new configuration. Apps whose numbers did not change go on where they are.
    #[must_use]
    pub fn renewed(&self, apps: &[Arc<App>]) -> Self {
        let kept = |app: &Arc<App>| {
            let old = self
                .0
                .values()
                .find(|old| old.app.key_hash == app.key_hash && old.app.name == app.name)?;
            old.serves(app).then(|| Arc::clone(old))
        };
        let limited = apps.iter().filter(|app| numbers(app) != (None, None, None));
        Self(
            limited
                .map(|app| {
                    (
                        app.id,
                        kept(app).unwrap_or_else(|| Arc::new(Allowance::new(app))),
                    )
                })
                .collect(),
        )
    }

    /// For people: every app with a quota, in the order of the configuration.
    pub fn views(&self) -> Vec<QuotaView> {
        Vec::new()
    }

    pub(super) fn of(&self, app: &App) -> Option<&Arc<Allowance>> {
        if self.0.is_empty() {
            None
        } else {
            self.0.get(&app.id)
        }
    }
}

// === impl Allowance ===

impl Allowance {
    fn new(app: &Arc<App>) -> Self {
        // Ten seconds' worth of requests at once: an app may start with some, but not spend its minute in one second
        // and then again. Tokens: one request may need the whole minute.
        let burst = |limit: NonZeroU32| NonZeroU32::new(limit.get() / 6).unwrap_or(NonZeroU32::MIN);
        Self {
            app: Arc::clone(app),
            requests: app
                .requests_per_minute
                .map(|limit| Bucket::per_minute(limit, burst(limit))),
            tokens: app
                .tokens_per_minute
                .map(|limit| Bucket::per_minute(limit, limit)),
            places: app
                .concurrency
                .map(|limit| Arc::new(Semaphore::new(limit.get() as usize))),
        }
    }

    fn serves(&self, app: &App) -> bool {
        numbers(&self.app) == numbers(app)
    }

    /// Takes what a call of `tokens` needs, or nothing. (Two calls of one app at the very same moment on two threads may
    /// both see the last tokens; then one is refused and has spent a request.)
    pub(super) fn take(&self, tokens: u64) -> Result<Taken, Exceeded> {
        let place = match (&self.places, self.app.concurrency) {
            (Some(places), Some(limit)) => {
                let place = Arc::clone(places).try_acquire_owned();
                Some(place.map_err(|_| self.exceeded(Kind::Concurrency, limit, None))?)
            }
            _ => None,
        };
        let asks = [
            (Kind::RequestsPerMinute, &self.requests, 1),
            (Kind::TokensPerMinute, &self.tokens, tokens),
        ];
        for taking in [false, true] {
            for (kind, bucket, n) in asks {
                let Some(bucket) = bucket else { continue };
                let wait = if taking {
                    bucket.take(n)
                } else {
                    bucket.wait_for(n)
                };
                match wait {
                    Ok(wait) if wait.is_zero() => {}
                    wait => return Err(self.exceeded(kind, bucket.limit(), wait.ok())),
                }
            }
        }
        Ok(place)
    }

    fn exceeded(
        &self,
        kind: Kind,
        limit: NonZeroU32,
        retry_after: Option<std::time::Duration>,
    ) -> Exceeded {
        Exceeded {
            app: Arc::clone(&self.app.name),
            kind,
            limit,
            retry_after,
        }
    }
}

fn numbers(app: &App) -> (Option<NonZeroU32>, Option<NonZeroU32>, Option<NonZeroU32>) {
    (
        app.requests_per_minute,
        app.tokens_per_minute,
        app.concurrency,
    )
}
