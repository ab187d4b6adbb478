//! Alerts: a webhook is told when a circuit opens and when it closes, once per change; of outages, where it wants to be.
//!
//! Stands beside the chain, not in it. A change of a circuit is noted under one short lock, on whatever thread it happened;
//! everything else (waiting, signing, sending, trying again) is done by a thread of its own with a runtime of its own, so
//! that a receiver which is slow, or gone, costs calls nothing. Both the notes and the queue are bounded: what does not fit
//! is dropped, oldest first, counted, and the next alert that arrives says how many did not.
//!
//! An opening is told at once. A closing is held for a while, and when the circuit opens again meanwhile nothing is told
//! but counted: it has flapped. Probes and recoveries are nobody's business.
//!
//! | file | holds |
//! | --- | --- |
//! | `event`, `words` | what is told, in fields and in words; credentials are taken out here |
//! | `outages` | outages in the same form |
//! | `foreign` | foreign use of an account in the same form |
//! | `incidents` | the algorithm: which change is told, which is held, which has flapped |
//! | `outbox` | the bounded queue |
//! | `slack`, `sign` | the other body; the signature |
//! | `attempt` | what an answer means: done, again, or never |
//! | `send`, `courier` | one delivery; the thread that makes all of them |

mod attempt;
mod courier;
mod event;
mod foreign;
mod incidents;
mod outages;
mod outbox;
mod send;
mod sign;
mod slack;
mod words;

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub use self::{
    event::{Event, Kind},
    send::{Answered, Unanswered, try_once},
};
use self::{
    incidents::{Change, Incidents, Moment},
    outbox::Outbox,
};
use crate::{
    config::{self, AlertTopic},
    stage::breaker::{Circuits, Hook, State, Transition},
    telemetry::Metrics,
    upstream::Connector,
};

/// How long the end waits for a thread that was told to stop at once.
const LAST_JOIN: Duration = Duration::from_millis(500);

/// Takes what there is to tell, and sees to it that it is told.
#[derive(Debug)]
pub struct Alerts {
    shared: Arc<Shared>,
    connector: Connector,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the tellers and the thread share.
#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    /// Something was put on the desk.
    wake: Notify,
    settings: watch::Sender<Option<Arc<config::Alerts>>>,
    phase: watch::Sender<Phase>,
    metrics: Arc<Metrics>,
    /// Asked to end recoveries whose time is over while no call comes.
    circuits: OnceLock<Weak<Circuits>>,
}

#[derive(Debug, Default)]
struct Desk {
    incidents: Incidents,
    outbox: Outbox,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// What is there is sent, once, until then.
    Flush(Instant),
    Stop,
}

// === impl Alerts ===

impl Alerts {
    /// Tells nobody until it is configured.
    pub fn new(metrics: Arc<Metrics>, connector: Connector) -> Self {
        Self {
            shared: Arc::new(Shared {
                desk: Mutex::default(),
                wake: Notify::new(),
                settings: watch::Sender::new(None),
                phase: watch::Sender::new(Phase::Running),
                metrics,
                circuits: OnceLock::new(),
            }),
            connector,
            thread: Mutex::default(),
        }
    }

    /// New settings, from the next delivery on; what is queued stays queued and goes to the new place.
    pub fn configure(&self, settings: Option<&config::Alerts>) {
        let wanted = settings.is_some();
        let changed = self.shared.settings.send_if_modified(|now| {
            let changed = now.as_deref() != settings;
            if changed {
                *now = settings.cloned().map(Arc::new);
            }
            changed
        });
        if wanted {
            self.start();
        }
        if let Some(settings) = settings.filter(|_| changed) {
            tracing::info!(
                host = settings.webhook.host(),
                format = settings.format.as_str(),
                signed = settings.secret.is_some(),
                "Alerts are posted."
            );
        }
    }

    /// Hears of every change of a circuit.
    pub fn hook(&self) -> Hook {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |transition: &Transition| shared.hear(transition))
    }

    /// Those circuits whose recoveries end by time alone.
    pub fn follow(&self, circuits: &Arc<Circuits>) {
        // A second call would be a mistake without harm.
        let _ = self.shared.circuits.set(Arc::downgrade(circuits));
    }

    /// Tells an event of some other kind. Never blocks.
    pub fn tell(&self, event: Event) {
        if self.shared.wants(event.topic) {
            self.shared.queue(self.shared.desk(), [event]);
        }
    }

    /// Sends what is there, for `bound` at most, and ends. Blocks.
    pub fn close(&self, bound: Duration) {
        let until = Instant::now() + bound;
        self.shared.phase.send_replace(Phase::Flush(until));
        self.join(bound);
        self.shared.phase.send_replace(Phase::Stop);
        self.join(LAST_JOIN);
    }

    /// Starts the thread, if it does not run.
    fn start(&self) {
        let mut thread = lock(&self.thread);
        if thread.is_some() {
            return;
        }
        let (shared, connector) = (Arc::clone(&self.shared), self.connector.clone());
        let spawned = std::thread::Builder::new()
            .name("alerts".to_owned())
            .spawn(move || courier::run(shared, connector));
        match spawned {
            Ok(handle) => *thread = Some(handle),
            Err(error) => tracing::error!(%error, "No thread for alerts: nobody will be told."),
        }
    }

    /// Waits for the thread's end.
    fn join(&self, bound: Duration) {
        let mut thread = lock(&self.thread);
        let until = std::time::SystemTime::now() + bound;
        while thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if std::time::SystemTime::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Stop);
        self.join(LAST_JOIN);
    }
}

// === impl Shared ===

impl Shared {
    /// A circuit has changed its state.
    fn hear(&self, transition: &Transition) {
        let opened = match (transition.from, transition.to) {
            (State::Closed, State::Closed) => return,
            (State::Closed, _) => true,
            (_, State::Closed) => false,
            // Probes, and what becomes of them.
            _ => return,
        };
        let change = Change::of(transition, opened);
        let wanted = opened && self.wants(words::topic(transition.class));
        let (now, hold) = (Moment::now(), self.hold());
        let mut desk = self.desk();
        // In the order of time: what was held until before now comes first.
        let mut events = desk.incidents.settle(now, hold);
        events.extend(desk.incidents.changed(now, change, wanted));
        events.extend(desk.incidents.settle(now, hold));
        self.queue(desk, events);
    }

    /// Puts events into the outbox, and wakes the thread in any case: there may be something new to wait for.
    fn queue(&self, mut desk: MutexGuard<'_, Desk>, events: impl IntoIterator<Item = Event>) {
        let dropped = events
            .into_iter()
            .map(|event| u64::from(desk.outbox.push(event)))
            .sum();
        let first = desk.outbox.missed() == dropped;
        drop(desk);
        if dropped > 0 {
            self.count("dropped", dropped);
            if first {
                tracing::warn!(
                    "The queue of alerts is full: the oldest are dropped. Is the receiver up?"
                );
            }
        }
        self.wake.notify_one();
    }

    fn wants(&self, topic: AlertTopic) -> bool {
        self.settings
            .borrow()
            .as_ref()
            .is_some_and(|settings| settings.on.contains(&topic))
    }

    /// How long closings are held.
    fn hold(&self) -> Duration {
        self.settings
            .borrow()
            .as_ref()
            .map_or(Duration::ZERO, |settings| settings.hold)
    }

    fn count(&self, result: &str, by: u64) {
        self.metrics.alerts.with_label_values(&[result]).inc_by(by);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
