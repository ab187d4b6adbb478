//! A thread that looks after what was learnt: every ten seconds it keeps it for the next run and watches for foreign use.
//!
//! Stands beside the chain: calls neither wait for it nor wake it. A disk that hangs holds up this thread and nothing else.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    PoolView, Saved,
    foreign::{Foreign, Watch},
    store::Store,
};

/// How often it looks.
const TICK: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the last write.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Where the keeper looks, and whom it tells. None of them may block for long.
pub struct Sources {
    pub views: Box<dyn Fn() -> Vec<PoolView> + Send>,
    pub saved: Box<dyn Fn() -> Saved + Send>,
    /// The apps' day counts.
    pub quotas: Box<dyn Fn() -> Value + Send>,
    pub tell: Box<dyn Fn(&Foreign) + Send>,
}

/// See the module's documentation. Ends when dropped, after a last write.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    wanted: Mutex<Wanted>,
    /// Something of it has changed.
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    end: bool,
    foreign_alert: Option<f32>,
}

/// What the thread holds.
struct Work {
    sources: Sources,
    store: Option<Store>,
    watch: Watch,
}

// === impl Keeper ===

impl Keeper {
    /// Starts the thread. `store`: `None` keeps nothing.
    pub fn start(sources: Sources, store: Option<Store>, foreign_alert: Option<f32>) -> Self {
        Self::every(TICK, sources, store, foreign_alert)
    }

    fn every(
        tick: Duration,
        sources: Sources,
        store: Option<Store>,
        foreign_alert: Option<f32>,
    ) -> Self {
        let shared = Arc::new(Shared {
            wanted: Mutex::new(Wanted {
                end: false,
                foreign_alert,
            }),
            changed: Condvar::new(),
        });
        let work = Work {
            sources,
            store,
            watch: Watch::default(),
        };
        let theirs = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("limits".to_owned())
            .spawn(move || work.run(&theirs, tick));
        if let Err(error) = &spawned {
            tracing::error!(%error, "No thread for limits: what is learnt is not kept, and foreign use not told.");
        }
        Self {
            shared,
            thread: spawned.ok(),
        }
    }

    /// The share from which on foreign use is told, from now on.
    pub fn configure(&self, foreign_alert: Option<f32>) {
        self.shared.wanted().foreign_alert = foreign_alert;
    }

    /// Keeps what is there and ends. Blocks, though not for long.
    pub fn close(&mut self) {
        self.shared.wanted().end = true;
        self.shared.changed.notify_all();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let until = SystemTime::now() + LAST_WRITE;
        while !thread.is_finished() {
            if SystemTime::now() >= until {
                tracing::warn!("What was learnt of limits could not be written in time.");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = thread.join();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Shared ===

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After `tick`, or at the end.
    fn next(&self, tick: Duration) -> Wanted {
        let wait = self
            .changed
            .wait_timeout_while(self.wanted(), tick, |wanted| !wanted.end);
        *wait.unwrap_or_else(PoisonError::into_inner).0
    }
}

// === impl Work ===

impl Work {
    fn run(mut self, shared: &Shared, tick: Duration) {
        loop {
            let wanted = shared.next(tick);
            if !wanted.end {
                let threshold = wanted.foreign_alert.map(f64::from);
                self.look(threshold, Instant::now(), SystemTime::now());
            }
            self.keep();
            if wanted.end {
                return;
            }
        }
    }

    fn look(&mut self, threshold: Option<f64>, now: Instant, wall: SystemTime) {
        let views = if threshold.is_some() {
            (self.sources.views)()
        } else {
            Vec::new()
        };
        for change in self.watch.look(&views, threshold, now, wall) {
            say(&change);
            (self.sources.tell)(&change);
        }
    }

    fn keep(&mut self) {
        if let Some(store) = &mut self.store {
            let unix = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_secs());
            store.keep((self.sources.saved)(), (self.sources.quotas)(), unix);
        }
    }
}

// === impl Sources ===

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

fn say(change: &Foreign) {
    let (upstream, pool, kind) = (&*change.upstream, &*change.pool, change.kind.as_str());
    let (capacity, share) = (change.capacity, (change.share * 100.0).round() / 100.0);
    match change.ended {
        None => tracing::warn!(
            upstream,
            pool,
            kind,
            capacity,
            share,
            "Another program uses the same account: this share of its limit goes elsewhere, and calls get what is left."
        ),
        Some(ended) => tracing::info!(
            upstream,
            pool,
            kind,
            most = share,
            lasted = ended.lasted.as_secs(),
            unseen = ended.unseen,
            "Foreign use of an account is over, as far as is known."
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::limits::{
        Kind, SavedPool,
        made_up::{bucket, pool},
    };

    fn sources(tell: mpsc::Sender<Foreign>) -> Sources {
        let saved = Saved {
            pools: vec![SavedPool {
                upstream: "openai".to_owned(),
                base_url: "https://api.openai.com/v1".to_owned(),
                account: "00".to_owned(),
                pool: "gpt-4o".to_owned(),
                buckets: Vec::new(),
                concurrency: Some(3),
                calibration: crate::limits::Calibration::default(),
            }],
        };
        Sources {
            views: Box::new(|| {
                let mut view = pool("openai", "gpt-4o");
                let mut tokens = bucket(Kind::Tokens, 1_000, 500);
                tokens.foreign_share = Some(0.5);
                view.buckets.push(tokens);
                vec![view]
            }),
            saved: Box::new(move || saved.clone()),
            quotas: Box::new(|| Value::Null),
            tell: Box::new(move |change| {
                let _ = tell.send(change.clone());
            }),
        }
    }

    fn file() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("weir-keeper-{:016x}.json", fastrand::u64(..)))
    }

    #[test]
    fn the_end_keeps_what_the_last_tick_did_not() {
        let (tell, _told) = mpsc::channel();
        let path = file();
        let (store, _) = Store::open(path.clone(), 0);
        let mut keeper = Keeper::start(sources(tell), Some(store), None);
        assert!(!path.exists(), "the first tick is ten seconds away");
        keeper.close();
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let (_, kept) = Store::open(path.clone(), unix);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(kept.limits.pools.len(), 1);
    }

    #[test]
    fn it_keeps_while_the_process_runs() {
        let (tell, _told) = mpsc::channel();
        let path = file();
        let (store, _) = Store::open(path.clone(), 0);
        let keeper = Keeper::every(Duration::from_millis(1), sources(tell), Some(store), None);
        let until = Instant::now() + Duration::from_secs(20);
        while !path.exists() {
            assert!(Instant::now() < until, "it was never written");
            std::thread::yield_now();
        }
        drop(keeper);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn foreign_use_is_told_once_it_has_lasted() {
        let (tell, told) = mpsc::channel();
        let mut work = Work {
            sources: sources(tell),
            store: None,
            watch: Watch::default(),
        };
        let (now, wall) = (Instant::now(), SystemTime::now());
        for tick in 0..20 {
            let after = TICK * tick;
            work.look(Some(0.2), now + after, wall + after);
        }
        drop(work);
        let told: Vec<_> = told.iter().collect();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].share, told[0].since), (0.5, wall));
    }
}
