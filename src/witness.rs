//! Sees how every attempt ends, and tells those who draw conclusions from it: metrics, the book of failures, outage
//! detection.
//!
//! One place, so that they cannot differ in what they have seen. Called by `stage::dispatch`, at the head of an answer and
//! once more where a stream breaks later. Cheap for what went well.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};

use crate::{
    call::{Attempt, End, How, Reply, Watch},
    error::{Error, Failure},
    failures::Failures,
    outage::Outages,
    telemetry::Metrics,
    triage::{Class, Confidence, Evidence, Transport, Verdict, judge},
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
    /// The provider's, from the stream's head.
    request_id: Option<HeaderValue>,
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
        self.failures.answered(attempt);
        let stream = reply.body.is_stream();
        self.outages.answered(
            &attempt.target,
            (stream && attempt.call.envelope.stream).then_some(time),
        );
        if stream {
            let following = Following {
                witness: Arc::clone(self),
                attempt: attempt.clone(),
                request_id: reply.learnt.provider_request_id.clone(),
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
        self.outage(attempt, failure.verdict.class);
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

    fn broke(&self, attempt: &Attempt, class: Class, request_id: Option<&HeaderValue>) {
        let verdict = verdict(attempt, class);
        let request_id = request_id.and_then(|id| id.to_str().ok());
        self.failures.broke(attempt, &verdict, request_id);
        self.outage(attempt, class);
    }

    fn outage(&self, attempt: &Attempt, class: Class) {
        let call = &attempt.call;
        let repeated = call.sdk.retry_count > 0;
        self.outages
            .failed(&attempt.target, class, call.id, repeated);
    }
}

/// The verdict on a stream that broke after its first content. What its source made of it was the class.
fn verdict(attempt: &Attempt, class: Class) -> Verdict {
    let evidence = Evidence {
        status: 200,
        headers: &HeaderMap::new(),
        body: b"",
        transport: Transport::StreamEvent,
        endpoint: attempt.call.path.path(),
    };
    let mut verdict = judge(&attempt.target.upstream.provider, &evidence);
    if verdict.class != class {
        verdict.class = class;
        verdict.advice = "The provider ended its stream with an error, or said nothing more, after the first content. What was received is not complete.".into();
    }
    verdict
}

// === impl Following ===

impl Watch for Following {
    fn end(&mut self, end: &End) {
        if let How::Broken(class) = end.how {
            let request_id = self.request_id.as_ref();
            self.witness.broke(&self.attempt, class, request_id);
        }
    }
}
