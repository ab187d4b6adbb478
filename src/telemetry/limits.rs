//! What is known of the providers' limits, and who waits for them: read at each scrape.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use prometheus::{
    GaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::Metrics;
use crate::{
    limits::{BucketView, PoolView},
    redact,
};

/// Pools of an upstream that have a name of their own; the rest is `other`.
const MOST_NAMES: usize = 200;
/// A longer name is none.
const LONGEST_NAME: usize = 128;
const OTHER: &str = "other";

const OF_BUCKET: &[&str] = &["upstream", "model", "kind"];
const OF_POOL: &[&str] = &["upstream", "model"];

/// Where the collector looks.
type Views = Box<dyn Fn() -> Vec<PoolView> + Send + Sync>;

/// Gauges that are made anew for every scrape: what nobody knows any more is gone.
struct Limits {
    views: Views,
    families: Families,
}

struct Families {
    capacity: GaugeVec,
    available: GaugeVec,
    foreign: GaugeVec,
    burst: GaugeVec,
    inflight: GaugeVec,
    queue: GaugeVec,
    oldest: GaugeVec,
}

/// One limit, of all accounts of an upstream together: the numbers of the one that has least left.
#[derive(Clone, Copy)]
struct Tightest {
    capacity: u64,
    remaining: u64,
    burst: Option<u64>,
    /// The largest.
    foreign: Option<f64>,
}

/// Who is under way and who waits, of all accounts together.
#[derive(Clone, Copy, Default)]
struct Waiting {
    inflight: u64,
    interactive: u64,
    batch: u64,
    oldest: f64,
}

/// From now on `metrics` tell what `limits` know.
pub fn watch(metrics: &Metrics, limits: &Arc<crate::stage::limit::Limits>) {
    // Weak, for their hook holds the metrics.
    let limits = Arc::downgrade(limits);
    let views = move || {
        limits
            .upgrade()
            .map_or_else(Vec::new, |limits| limits.views())
    };
    metrics.add(Box::new(Limits::new(Box::new(views))));
}

// === impl Families ===

impl Families {
    fn new() -> Self {
        let gauge = |name, help, labels| {
            GaugeVec::new(Opts::new(name, help), labels)
                .expect("metric names and labels are constants")
        };
        Self {
            capacity: gauge(
                "weir_limit_capacity",
                "A provider's limit as it is known or set, for its window (a minute, a day; concurrency: calls at once).",
                OF_BUCKET,
            ),
            available: gauge(
                "weir_limit_available",
                "What is left of a provider's limit in its window.",
                OF_BUCKET,
            ),
            foreign: gauge(
                "weir_limit_foreign_share",
                "Share of a provider's limit that others use with the same account, 0 to 1; absent while it is not known.",
                OF_BUCKET,
            ),
            burst: gauge(
                "weir_limit_burst",
                "What may go at once of a provider's limit.",
                OF_BUCKET,
            ),
            inflight: gauge(
                "weir_limit_inflight",
                "Upstream calls under way that count against a limit.",
                OF_POOL,
            ),
            queue: gauge(
                "weir_limit_queue",
                "Calls that wait for a provider's limit.",
                &["upstream", "model", "lane"],
            ),
            oldest: gauge(
                "weir_limit_queue_oldest_seconds",
                "How long the call has waited that waits longest for a provider's limit; 0: nobody waits.",
                OF_POOL,
            ),
        }
    }

    fn all(&self) -> [&GaugeVec; 7] {
        [
            &self.capacity,
            &self.available,
            &self.foreign,
            &self.burst,
            &self.inflight,
            &self.queue,
            &self.oldest,
        ]
    }

    fn limit(&self, labels: [&str; 3], limit: &Tightest) {
        let set = |gauge: &GaugeVec, value| gauge.with_label_values(&labels).set(value);
        set(&self.capacity, limit.capacity as f64);
        set(&self.available, limit.remaining as f64);
        if let Some(burst) = limit.burst {
            set(&self.burst, burst as f64);
        }
        if let Some(share) = limit.foreign {
            set(&self.foreign, share);
        }
    }

    fn waiting(&self, [upstream, model]: [&str; 2], waiting: &Waiting) {
        let of = [upstream, model];
        self.inflight
            .with_label_values(&of)
            .set(waiting.inflight as f64);
        self.oldest.with_label_values(&of).set(waiting.oldest);
        for (lane, count) in [
            ("interactive", waiting.interactive),
            ("batch", waiting.batch),
        ] {
            self.queue
                .with_label_values(&[upstream, model, lane])
                .set(count as f64);
        }
    }
}

// === impl Limits ===

impl Limits {
    fn new(views: Views) -> Self {
        Self {
            views,
            families: Families::new(),
        }
    }
}

impl Collector for Limits {
    fn desc(&self) -> Vec<&Desc> {
        self.families.all().iter().flat_map(|g| g.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let views = (self.views)();
        let names = Names::of(&views);
        let mut limits: BTreeMap<[&str; 3], Tightest> = BTreeMap::new();
        let mut pools: BTreeMap<[&str; 2], Waiting> = BTreeMap::new();
        for (view, model) in views.iter().zip(&names.0) {
            let upstream = &*view.upstream;
            for (kind, limit) in tightest(view) {
                limits
                    .entry([upstream, model, kind])
                    .and_modify(|known| known.add(&limit))
                    .or_insert(limit);
            }
            pools.entry([upstream, model]).or_default().add(view);
        }
        // Made anew, so that two scrapes at once do not empty each other's.
        let fresh = Families::new();
        for (labels, limit) in &limits {
            fresh.limit(*labels, limit);
        }
        for (labels, waiting) in &pools {
            fresh.waiting(*labels, waiting);
        }
        fresh.all().iter().flat_map(|g| g.collect()).collect()
    }
}

// === impl Tightest ===

impl Tightest {
    fn left(&self) -> f64 {
        self.remaining as f64 / (self.capacity as f64).max(1.0)
    }

    fn add(&mut self, other: &Self) {
        let foreign = match (self.foreign, other.foreign) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        if other.left() < self.left() {
            *self = *other;
        }
        self.foreign = foreign;
    }
}

impl From<&BucketView> for Tightest {
    fn from(bucket: &BucketView) -> Self {
        Self {
            capacity: bucket.capacity,
            remaining: bucket.remaining,
            burst: Some(bucket.burst),
            foreign: bucket.foreign_share,
        }
    }
}

// === impl Waiting ===

impl Waiting {
    fn add(&mut self, view: &PoolView) {
        self.inflight += u64::from(view.concurrency.inflight);
        self.interactive += u64::from(view.queue.interactive);
        self.batch += u64::from(view.queue.batch);
        self.oldest = self.oldest.max(view.queue.oldest_seconds);
    }
}

/// All limits of a pool, calls at once among them.
fn tightest(view: &PoolView) -> impl Iterator<Item = (&'static str, Tightest)> {
    let places = view.concurrency.limit.map(|limit| Tightest {
        capacity: limit.into(),
        remaining: limit.saturating_sub(view.concurrency.inflight).into(),
        burst: None,
        foreign: None,
    });
    let buckets = view
        .buckets
        .iter()
        .map(|bucket| (bucket.kind.as_str(), bucket.into()));
    buckets.chain(places.map(|places| ("concurrency", places)))
}

/// The label of each view's pool.
struct Names(Vec<String>);

// === impl Names ===

impl Names {
    fn of(views: &[PoolView]) -> Self {
        let mut known: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        let mut names = Vec::with_capacity(views.len());
        for view in views {
            let of_upstream = known.entry(&view.upstream).or_default();
            let pool = &*view.pool;
            // Where the router has no names left for its models, there is none for the pool.
            let models = &view.models;
            let unnamed = !models.is_empty() && models.iter().all(|model| model == OTHER);
            let full = !of_upstream.contains(pool) && of_upstream.len() >= MOST_NAMES;
            names.push(if unnamed || full || pool.len() > LONGEST_NAME {
                OTHER.to_owned()
            } else {
                of_upstream.insert(pool);
                redact::name(pool).into_owned()
            });
        }
        Self(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        Kind,
        made_up::{bucket, pool},
    };

    fn exposed(views: Vec<PoolView>) -> Vec<String> {
        let metrics = Metrics::new();
        metrics.add(Box::new(Limits::new(Box::new(move || views.clone()))));
        let text = metrics.text();
        let lines = text.lines().filter(|line| line.starts_with("weir_limit_"));
        lines
            .filter(|line| !line.starts_with("weir_limit_wait"))
            .map(str::to_owned)
            .collect()
    }

    fn busy() -> PoolView {
        let mut view = pool("openai", "gpt-4o");
        view.buckets = vec![
            bucket(Kind::Requests, 10_000, 9_000),
            bucket(Kind::Tokens, 2_000_000, 500_000),
        ];
        view.buckets[1].foreign_share = Some(0.25);
        view.concurrency.inflight = 12;
        view.concurrency.limit = Some(64);
        view.queue.interactive = 3;
        view.queue.batch = 2;
        view.queue.oldest_seconds = 1.5;
        view
    }

    #[test]
    fn all_that_is_known_is_told() {
        insta::assert_snapshot!(exposed(vec![busy()]).join("\n"));
    }

    #[test]
    fn nothing_known_is_nothing_told() {
        assert_eq!(exposed(Vec::new()), Vec::<String>::new());
    }

    #[test]
    fn of_many_accounts_the_tightest_is_told_and_queues_are_summed() {
        let (mut one, mut two) = (busy(), busy());
        one.account = Some("aaaa".to_owned());
        two.account = Some("bbbb".to_owned());
        two.buckets[1] = bucket(Kind::Tokens, 1_000_000, 100_000);
        two.queue.oldest_seconds = 4.0;
        let told = exposed(vec![one, two]);
        let has = |line: &str| assert!(told.iter().any(|told| told == line), "{line}: {told:#?}");
        let of = |name: &str| {
            format!(
                "weir_limit_{name}{{kind=\"tokens_per_minute\",model=\"gpt-4o\",upstream=\"openai\"}}"
            )
        };
        has(&format!("{} 1000000", of("capacity")));
        has(&format!("{} 100000", of("available")));
        has(&format!("{} 0.25", of("foreign_share")));
        has("weir_limit_queue{lane=\"interactive\",model=\"gpt-4o\",upstream=\"openai\"} 6");
        has("weir_limit_queue_oldest_seconds{model=\"gpt-4o\",upstream=\"openai\"} 4");
        assert!(
            !told
                .iter()
                .any(|told| told.contains("aaaa") || told.contains("bbbb"))
        );
    }

    #[test]
    fn names_are_bounded_and_hold_no_key() {
        let key = format!("sk-proj-{}", "Zx9Kq2".repeat(8));
        let mut views = vec![pool("openai", &key)];
        let mut unnamed = pool("openai", "made-up-by-a-caller");
        unnamed.models = vec![OTHER.to_owned()];
        views.push(unnamed);
        views.extend((0..1_000).map(|n| pool("openai", &format!("model-{n}"))));
        let told = exposed(views);
        assert!(
            !told
                .iter()
                .any(|line| line.contains("Zx9Kq2") || line.contains("made-up"))
        );
        let inflight = told
            .iter()
            .filter(|line| line.starts_with("weir_limit_inflight"));
        assert_eq!(inflight.count(), MOST_NAMES + 1);
    }
}
