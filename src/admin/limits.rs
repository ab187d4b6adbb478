//! `/limits`: what is known of the providers' limits, who waits for them, and how far apps have come with their quotas.

use std::{cmp::Reverse, time::SystemTime};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::serve::Admin;
use crate::{app, limits::PoolView, redact, stage::quota::QuotaView};

/// Pools told of; callers' own keys may make thousands.
const MOST_POOLS: usize = 500;
/// Apps told of.
const MOST_APPS: usize = 500;

/// What `/limits` tells, and `weir limits` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitsPage {
    pub version: String,
    /// RFC 3339, UTC.
    pub at: String,
    /// In the order of their names. Those in use when there are too many.
    pub pools: Vec<PoolView>,
    pub pools_left_out: usize,
    pub quotas: Vec<QuotaView>,
    pub quotas_left_out: usize,
}

// === impl LimitsPage ===

impl LimitsPage {
    /// Of now.
    pub fn of(state: &app::State, parts: &app::Parts) -> Self {
        let mut pools = state.limits.views();
        pools.extend(state.limits.remembered(&parts.config.upstreams));
        pools.retain(says_something);
        Self::with(pools, parts.quota_views(), SystemTime::now())
    }

    fn with(pools: Vec<PoolView>, mut quotas: Vec<QuotaView>, now: SystemTime) -> Self {
        let (pools, pools_left_out) = bounded(pools);
        let quotas_left_out = quotas.len().saturating_sub(MOST_APPS);
        if quotas_left_out > 0 {
            // Stable: in the order of the configuration otherwise.
            quotas.sort_by_key(|quota| (Reverse(quota.waiting), quota.is_untouched()));
            quotas.truncate(MOST_APPS);
        }
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: humantime::format_rfc3339_millis(now).to_string(),
            pools,
            pools_left_out,
            quotas,
            quotas_left_out,
        }
    }
}

/// Calls without a model (`/v1/models`, a path that does not exist) make a pool too; where nothing is known of it, nobody asks for it.
fn says_something(pool: &PoolView) -> bool {
    let known = !pool.buckets.is_empty() || pool.last_refusal.is_some();
    let used = pool.concurrency.inflight > 0 || pool.queue != Default::default();
    pool.pool != "*" || known || used || pool.concurrency.limit.is_some()
}

/// Named as they may be shown, in order, at most [`MOST_POOLS`]; and how many there are beyond.
fn bounded(mut pools: Vec<PoolView>) -> (Vec<PoolView>, usize) {
    let left_out = pools.len().saturating_sub(MOST_POOLS);
    if left_out > 0 {
        pools.sort_by_key(|pool| {
            Reverse((
                pool.queue.interactive.saturating_add(pool.queue.batch),
                pool.concurrency.inflight,
                pool.last_refusal.as_ref().map(|refusal| refusal.at.clone()),
            ))
        });
        pools.truncate(MOST_POOLS);
    }
    for pool in &mut pools {
        // What a caller calls a model may be a key in the wrong place.
        pool.pool = redact::name(&pool.pool).into_owned();
    }
    pools.sort_by(|a, b| {
        (&a.upstream, &a.pool, &a.account).cmp(&(&b.upstream, &b.pool, &b.account))
    });
    (pools, left_out)
}

pub(super) async fn limits(State(admin): State<Admin>) -> Json<LimitsPage> {
    let parts = std::sync::Arc::clone(&admin.parts.borrow());
    Json(LimitsPage::of(&admin.state, &parts))
}

// === impl QuotaView ===

impl QuotaView {
    /// Nothing of it is used.
    fn is_untouched(&self) -> bool {
        self.allowances.iter().all(|allowance| allowance.used == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        Kind,
        made_up::{bucket, pool},
    };

    #[test]
    fn pools_are_in_order_and_those_in_use_come_first_when_there_are_too_many() {
        let mut pools: Vec<_> = (0..MOST_POOLS + 7)
            .rev()
            .map(|n| pool("openai", &format!("m-{n:05}")))
            .collect();
        let last = MOST_POOLS + 6;
        pools[0].queue.interactive = 1;
        let page = LimitsPage::with(pools, Vec::new(), SystemTime::now());
        assert_eq!((page.pools.len(), page.pools_left_out), (MOST_POOLS, 7));
        assert!(page.pools.iter().any(|p| p.pool == format!("m-{last:05}")));
        assert!(page.pools.is_sorted_by_key(|pool| pool.pool.clone()));
    }

    #[test]
    fn calls_without_a_model_are_listed_when_there_is_something_to_say() {
        let quiet = pool("openai", "*");
        assert!(!says_something(&quiet));
        assert!(says_something(&pool("openai", "gpt-4o")));
        let mut known = quiet.clone();
        known.buckets = vec![bucket(Kind::Requests, 60, 59)];
        let mut waiting = quiet;
        waiting.queue.interactive = 1;
        assert!(says_something(&known) && says_something(&waiting));
    }

    #[test]
    fn a_key_in_the_place_of_a_model_is_not_shown() {
        let key = format!("sk-proj-{}", "Zx9Kq2".repeat(8));
        let page = LimitsPage::with(vec![pool("openai", &key)], Vec::new(), SystemTime::now());
        let text = serde_json::to_string(&page.pools[0].pool).unwrap();
        assert!(!text.contains("Zx9Kq2"), "{text}");
    }
}
