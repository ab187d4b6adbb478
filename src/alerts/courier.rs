//! The thread that delivers: one alert at a time, in order.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Phase, Shared,
    attempt::{self, Next},
    event::Event,
    incidents::Moment,
    send::{self, Answered, Unanswered},
};
use crate::{
    config::Alerts,
    upstream::{Connector, Pool},
};

/// How often recoveries are looked after while a circuit is open.
const TICK: Duration = Duration::from_secs(1);

struct Courier {
    shared: Arc<Shared>,
    settings: watch::Receiver<Option<Arc<Alerts>>>,
    phase: watch::Receiver<Phase>,
    connector: Connector,
    pool: Pool,
}

/// What became of an alert.
enum Delivery {
    Sent,
    /// Given up, and the log says why.
    Failed,
    /// There is no webhook any more, or no time.
    Dropped,
}

/// Delivers until told to stop.
pub(super) fn run(shared: Arc<Shared>, connector: Connector) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "The thread for alerts has no runtime: nobody will be told.");
            return;
        }
    };
    let mut courier = Courier {
        settings: shared.settings.subscribe(),
        phase: shared.phase.subscribe(),
        pool: Pool::new(connector.clone()),
        connector,
        shared,
    };
    runtime.block_on(courier.work());
    // A name that is being looked up would hold up the end of the process.
    runtime.shutdown_background();
}

// === impl Courier ===

impl Courier {
    async fn work(&mut self) {
        // The one that it had in hand when the end came.
        let mut in_hand = 0;
        loop {
            let phase = *self.phase.borrow_and_update();
            let event = match phase {
                Phase::Stop => break,
                Phase::Running => self.shared.next_event(),
                Phase::Flush(_) => self.shared.last_event(),
            };
            let Some(event) = event else {
                if phase != Phase::Running {
                    break;
                }
                self.idle().await;
                continue;
            };
            match self.deliver(&event).await {
                Delivery::Sent => self.shared.count("sent", 1),
                Delivery::Failed => self.shared.lost(&event, "failed"),
                Delivery::Dropped => {
                    self.shared.lost(&event, "dropped");
                    if phase != Phase::Running || self.is_ending() {
                        in_hand = 1;
                        break;
                    }
                }
            }
        }
        let left = self.shared.desk().outbox.clear();
        if left > 0 {
            self.shared.count("dropped", left);
        }
        let left = left + in_hand;
        if left > 0 {
            tracing::warn!(left, "Alerts were not delivered before the end.");
        }
    }

    /// Until there may be something to do.
    async fn idle(&mut self) {
        // Alerts are rare: no connection is kept for the next one.
        self.pool = Pool::new(self.connector.clone());
        let hold = self.shared.hold();
        let (due, open) = {
            let desk = self.shared.desk();
            (desk.incidents.next(hold), desk.incidents.any_open())
        };
        let tick = open.then(|| Instant::now() + TICK);
        let until = due.into_iter().chain(tick).min();
        tokio::select! {
            () = self.shared.wake.notified() => {}
            () = sleep_until(until) => {}
            _ = self.settings.changed() => {}
            _ = self.phase.changed() => {}
        }
        if open && let Some(circuits) = self.shared.circuits.get().and_then(|c| c.upgrade()) {
            circuits.refresh(Instant::now());
        }
    }

    /// Tries until it is taken, cannot be, or has taken too long.
    async fn deliver(&mut self, event: &Event) -> Delivery {
        let (mut began, mut failed) = (Instant::now(), 0);
        loop {
            let Some(to) = self.settings.borrow_and_update().clone() else {
                return Delivery::Dropped;
            };
            let Some(answer) = self.attempt(&to, event).await else {
                return Delivery::Dropped;
            };
            let (next, why) = judge(answer);
            let told = match next {
                Next::Done => return Delivery::Sent,
                Next::Again(told) => told,
                Next::Never(advice) => {
                    tracing::warn!(
                        host = to.webhook.host(),
                        id = event.id,
                        why,
                        advice,
                        "An alert was not taken."
                    );
                    return Delivery::Failed;
                }
            };
            failed += 1;
            let pause = attempt::pause(failed, told, fastrand::f64());
            if self.is_ending() {
                return Delivery::Dropped;
            }
            if began.elapsed() + pause > to.give_up_after {
                tracing::warn!(
                    host = to.webhook.host(),
                    id = event.id,
                    why,
                    tries = failed,
                    "An alert was given up: the receiver did not take it in time."
                );
                return Delivery::Failed;
            }
            self.shared.count("retried", 1);
            tracing::debug!(
                host = to.webhook.host(),
                id = event.id,
                why,
                ?pause,
                "An alert is sent again."
            );
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Another receiver, another chance.
                _ = self.settings.changed() => (began, failed) = (Instant::now(), 0),
                _ = self.phase.changed() => {}
            }
        }
    }

    /// One try; `None`: the end came first.
    async fn attempt(&self, to: &Alerts, event: &Event) -> Option<Result<Answered, Unanswered>> {
        let mut phase = self.phase.clone();
        let time = match *phase.borrow() {
            Phase::Running => to.timeout,
            Phase::Flush(until) => to
                .timeout
                .min(until.saturating_duration_since(Instant::now())),
            Phase::Stop => return None,
        };
        tokio::select! {
            answer = send::post(&self.pool, to, event, time) => Some(answer),
            _ = phase.wait_for(|phase| *phase == Phase::Stop) => None,
        }
    }

    fn is_ending(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }
}

fn judge(answer: Result<Answered, Unanswered>) -> (Next, String) {
    match answer {
        Ok(answer) => {
            let why = format!("it answered {}", answer.status.as_u16());
            (attempt::next(answer.status, answer.told), why)
        }
        Err(error) => (Next::Again(None), error.to_string()),
    }
}

/// Never, without a time.
async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

// === impl Shared ===

impl Shared {
    /// The next event to deliver, after what is due has been added.
    fn next_event(&self) -> Option<Event> {
        let hold = self.hold();
        let mut desk = self.desk();
        let ended = desk.incidents.settle(Moment::now(), hold);
        if ended.is_empty() {
            return desk.outbox.take();
        }
        self.queue(desk, ended);
        self.desk().outbox.take()
    }

    /// The same at the end of the process: nothing is held any longer.
    fn last_event(&self) -> Option<Event> {
        let mut desk = self.desk();
        let ended = desk.incidents.flush();
        if ended.is_empty() {
            return desk.outbox.take();
        }
        self.queue(desk, ended);
        self.desk().outbox.take()
    }

    /// An alert did not arrive.
    fn lost(&self, event: &Event, result: &str) {
        self.desk().outbox.lost(event);
        self.count(result, 1);
    }
}
