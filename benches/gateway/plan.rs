//! How long and how often each thing is measured.

use std::time::Duration;

use crate::role::load::{Ask, Shape};

/// Busy connections in a closed loop: enough to keep two cores full, few enough that calls are
/// not mostly spent waiting in line.
const CONNECTIONS: usize = 32;

/// Streams at once whose events come one by one. At this pace two cores are about half used:
/// events must not pile up and be sent together, or it would not be their cost one by one.
const PACED: usize = 100;

/// New slow streams per second: what the upstream and the load generator can stand too.
const OPENED_PER_SECOND: u32 = 1500;

/// Durations and counts of one run. Many short rounds rather than few long ones: what disturbs
/// a shared machine lasts for seconds, and should hit both sides of a comparison, or one round
/// that the median then leaves out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Turns that each gateway gets.
    pub(crate) rounds: usize,
    warm_up: Duration,
    measured: Duration,
    /// Starts of each gateway.
    pub(crate) starts: usize,
    held: Duration,
}

// === impl Plan ===

impl Plan {
    /// The whole run takes under a minute with two gateways.
    pub(crate) fn quick() -> Self {
        Self {
            rounds: 5,
            warm_up: Duration::from_millis(150),
            measured: Duration::from_millis(480),
            starts: 7,
            held: Duration::from_millis(1500),
        }
    }

    /// The whole run takes under six minutes with three gateways.
    pub(crate) fn full() -> Self {
        Self {
            rounds: 11,
            warm_up: Duration::from_millis(300),
            measured: Duration::from_millis(1050),
            starts: 21,
            held: Duration::from_secs(5),
        }
    }

    pub(crate) fn busy(&self) -> Shape {
        let (warm_up, measured) = (self.warm_up, self.measured);
        Shape::Closed {
            connections: CONNECTIONS,
            warm_up,
            measured,
        }
    }

    pub(crate) fn paced(&self) -> Shape {
        let (warm_up, measured) = (self.warm_up, self.measured);
        Shape::Closed {
            connections: PACED,
            warm_up,
            measured,
        }
    }

    /// 600 a second: far from where any gateway has to queue.
    pub(crate) fn fixed_rate(&self) -> Shape {
        let (warm_up, measured) = (self.warm_up, self.measured);
        Shape::Rate {
            threads: 6,
            per_second: 600,
            warm_up,
            measured,
        }
    }

    pub(crate) fn slow_streams(&self, connections: usize) -> Shape {
        Shape::Hold {
            connections,
            per_second: OPENED_PER_SECOND,
            held: self.held,
        }
    }

    /// A stream that ends only when the load generator does.
    pub(crate) const SLOW: Ask = Ask::Stream {
        events: 1_000_000,
        gap_ms: 1000,
    };

    /// 200 tokens at 100 a second, as the faster models send them.
    pub(crate) const ONE_BY_ONE: Ask = Ask::Stream {
        events: 200,
        gap_ms: 10,
    };

    /// The same, all at once.
    pub(crate) const AT_ONCE: Ask = Ask::Stream {
        events: 200,
        gap_ms: 0,
    };
}
