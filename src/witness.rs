//! Sees how every attempt ends, and tells those who draw conclusions from it: metrics, the book of failures, outage
//! detection.
//!
//! One place, so that they cannot differ in what they have seen. Called by `stage::dispatch`, at the head of an answer and
//! once more where a stream breaks later. Cheap for what went well.

use std::{sync::Arc, time::Duration};

use crate::{
    call::{Attempt, End, How, Reply, Watch},
    error::{Error, Failure},
    failures::Failures,
    outage::Outages,
    telemetry::Metrics,
    triage::{Class, Confidence},
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Witness {
    metrics: Arc<Metrics>,
    failures: Arc<Failures>,
    outages: Arc<Outages>,
}

/// Rides in a stream.
#[derive(Debug)]
struct Following {
    witness: Arc<Witness>,
    attempt: Attempt,
}

// === impl Witness ===

impl Witness {
    /// Tells these.
    pub fn new(metrics: Arc<Metrics>, failures: Arc<Failures>, outages: Arc<Outages>) -> Self {
        Self {
            metrics,
            failures,
            outages,
        }
    }

    /// The attempt was answered, its head (and a stream's first content) came after `time`.
    pub fn answered(self: &Arc<Self>, attempt: &Attempt, reply: &mut Reply, time: Duration) {
        self.metrics.attempt(&attempt.target, "ok");
        let stream = reply.body.is_stream();
        self.outages.answered(
            &attempt.target,
            (stream && attempt.call.envelope.stream).then_some(time),
        );
        if stream {
            let following = Following {
                witness: Arc::clone(self),
                attempt: attempt.clone(),
            };
            reply.body.on_end(following, None);
        }
    }

    /// The attempt failed.
    pub fn failed(&self, attempt: &Attempt, error: &Error) {
        self.metrics.attempt(&attempt.target, error.class());
        let failure = match error {
            Error::Upstream(failure) => failure,
            Error::Deadline(passed) => match &passed.silence {
                Some(silence) => silence,
                None => return,
            },
            _ => return,
        };
        if failure.verdict.confidence == Confidence::Guess {
            self.unrecognized(attempt, failure);
        }
        self.failures.failed(attempt, failure);
        self.outages.failed(&attempt.target, failure.verdict.class);
    }

    /// No rule knew it: the rules want a look.
    fn unrecognized(&self, attempt: &Attempt, failure: &Failure) {
        let upstream = &*attempt.target.upstream.name;
        let class = failure.verdict.class.as_str();
        let labels = [upstream, class];
        self.metrics.unrecognized.with_label_values(&labels).inc();
        tracing::debug!(
            upstream,
            class,
            id = %attempt.call.id,
            status = failure.seen.status.map(|status| status.as_u16()),
            "No rule knows this failure; it was judged by its status."
        );
    }

    fn broke(&self, attempt: &Attempt, class: Class) {
        self.outages.failed(&attempt.target, class);
    }
}

// === impl Following ===

impl Watch for Following {
    fn end(&mut self, end: &End) {
        if let How::Broken(class) = end.how {
            self.witness.broke(&self.attempt, class);
        }
    }
}
