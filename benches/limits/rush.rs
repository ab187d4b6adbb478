//! A minute's worth of calls that come at once, at an account where little was going on: the provider would take them all.

use weir::sim::{Algorithm, Limits};

use crate::{
    demand::Rush,
    scenario::{Goal, Scenario, requests, tokens},
};

/// What is left over of the limit by the few calls that go on beside it.
const LOAD: f64 = 0.05;
/// Seconds after the start.
const AT: f64 = 120.0;

pub(crate) fn all() -> Vec<Scenario> {
    let counted = |algorithm| Limits {
        algorithm: Some(algorithm),
        ..requests(600)
    };
    vec![
        rush(
            "crowd-at-once",
            "600 requests a minute; after two quiet minutes 570 calls at once",
            requests(600),
            570,
        ),
        rush(
            "crowd-large",
            "3,500 requests a minute; after two quiet minutes 3,300 calls at once",
            requests(3_500),
            3_300,
        ),
        rush(
            "crowd-tokens",
            "300,000 tokens a minute; after two quiet minutes 440 calls of 600 at once",
            tokens(300_000),
            440,
        ),
        rush(
            "crowd-sliding",
            "600 requests in any minute; after two quiet minutes 550 calls at once",
            counted(Algorithm::Sliding),
            550,
        ),
        rush(
            "crowd-fixed",
            "600 requests in each minute of the clock; after two quiet minutes 550 calls at once",
            counted(Algorithm::Fixed),
            550,
        ),
        rush(
            "crowd-ten-seconds",
            "600 requests a minute, counted over ten seconds; after two quiet minutes 550 calls at once",
            Limits {
                window_ms: Some(10_000),
                ..requests(600)
            },
            550,
        ),
    ]
}

/// No throughput to be reached: what counts is who is refused.
fn rush(name: &'static str, about: &'static str, limits: Limits, calls: u32) -> Scenario {
    let mut scenario = Scenario::new(name, about, limits).demand(|demand| {
        demand.load = LOAD;
        demand.rush = Some(Rush { at: AT, calls });
    });
    scenario.minutes = 4.0;
    // That a provider counts over ten seconds has to be met once.
    let met = if scenario.hidden.limits.window_ms.is_some() {
        0.03
    } else {
        0.005
    };
    scenario.goal = Some(Goal { used: 0.0, met });
    scenario
}
