//! Views for tests, with nothing known and nobody waiting until a test says otherwise.

use super::{BucketView, ConcurrencyView, Kind, PoolView, QueueView, RefusalView, Source};

pub(crate) fn pool(upstream: &str, name: &str) -> PoolView {
    PoolView {
        upstream: upstream.to_owned(),
        pool: name.to_owned(),
        models: vec![name.to_owned()],
        account: None,
        buckets: Vec::new(),
        concurrency: ConcurrencyView::default(),
        queue: QueueView::default(),
        foreign_share: None,
        last_refusal: None,
    }
}

pub(crate) fn bucket(kind: Kind, capacity: u64, remaining: u64) -> BucketView {
    BucketView {
        kind,
        capacity,
        remaining,
        source: Source::Headers,
        burst: capacity / 12,
        foreign_share: None,
        reserved: 0,
        full_in_seconds: 60.0 * (1.0 - remaining as f64 / capacity as f64),
    }
}

pub(crate) fn refusal(at: &str, class: &str) -> RefusalView {
    RefusalView {
        at: at.to_owned(),
        class: class.to_owned(),
        told_wait_seconds: None,
        surprise: false,
    }
}
