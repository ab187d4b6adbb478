//! What every test needs: a gateway in process, a raw client, a scripted upstream, and waiting for conditions.

pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod upstream;

use std::{future::Future, time::Duration};

pub(crate) use self::{
    client::{Answer, Ask, ask, chat, get, post},
    gateway::{FIRST_KEY, SECOND_KEY, Weir},
    upstream::{Seen, Step, Upstream},
};
use weir::sim::{Running, Settings, Simulator};

/// No test runs longer: what waits for ever is a failure, with a name.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// Runs `test` within [`DEADLINE`].
pub(crate) async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, Box::pin(test)).await.expect("the test ends in time")
}

/// Waits until `holds` does.
#[track_caller]
pub(crate) fn eventually<'a>(what: &'a str, holds: impl FnMut() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    within(Duration::from_secs(15), what, holds)
}

/// Waits until `holds` does, for `time` at most.
pub(crate) async fn within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + time;
    while !holds() {
        assert!(tokio::time::Instant::now() < until, "not within {time:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A simulated provider with OpenAI's models.
pub(crate) async fn sim() -> Running {
    simulator(Settings { any_model: true, ..Settings::default() }).await
}

/// A simulated provider that says its name in `x-sim-name`.
pub(crate) async fn named(name: &str) -> Running {
    simulator(Settings { any_model: true, name: name.to_owned(), ..Settings::default() }).await
}

pub(crate) async fn simulator(settings: Settings) -> Running {
    Simulator::start(settings).await.expect("a free port on loopback")
}
