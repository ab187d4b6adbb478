//! Books one call: metrics and the log line.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{Outcome, handles};
use crate::{
    call::{CacheStatus, Call, End, How, Learnt, Watch},
    dialect::openai::Usage,
    error::Error,
    failures::{Conclusion, Ended, Failed, Failures},
    telemetry::{
        Metrics,
        access_log::{AccessLog, Line},
    },
    triage::Class,
};

/// Where calls are booked.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    log: Option<AccessLog>,
    failures: Arc<Failures>,
}

/// A call that is under way; booked once, at the latest when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    recorder: Arc<Recorder>,
    call: Arc<Call>,
    booked: bool,
    /// Known once there is a head.
    status: StatusCode,
    learnt: Learnt,
    class: Option<&'static str>,
    /// What had opened the circuit that refused it.
    circuit: Option<Box<Failed>>,
    overhead: Duration,
    first_token: Option<Duration>,
}

// === impl Recorder ===

impl Recorder {
    pub fn new(metrics: Arc<Metrics>, log: Option<AccessLog>, failures: Arc<Failures>) -> Self {
        Self {
            metrics,
            log,
            failures,
        }
    }

    /// A request that never became a call.
    pub fn refused(&self, error: &Error) {
        self.metrics
            .refused
            .with_label_values(&[error.class()])
            .inc();
    }

    /// The metrics it books into.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Writes the log out. For the end of the process.
    pub fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }

    /// Begins to book a call.
    pub(super) fn begin(self: &Arc<Self>, call: &Arc<Call>) -> Entry {
        self.metrics.inflight.inc();
        Entry {
            recorder: Arc::clone(self),
            call: Arc::clone(call),
            booked: false,
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            learnt: Learnt::default(),
            class: None,
            circuit: None,
            overhead: Duration::ZERO,
            first_token: None,
        }
    }
}

// === impl Entry ===

impl Entry {
    /// The answer's head is there. Returns weir's own share of the time so far.
    pub(super) fn head(
        &mut self,
        status: StatusCode,
        learnt: &Learnt,
        class: Option<&'static str>,
        stream: bool,
    ) -> Duration {
        let now = Instant::now();
        let meter = &self.call.meter;
        let elsewhere = meter.upstream_time() + meter.waited();
        // A coalesced call waits for another's upstream call.
        let own = match learnt.cache {
            CacheStatus::Coalesced => Duration::ZERO,
            _ => now
                .duration_since(self.call.ready)
                .saturating_sub(elsewhere),
        };
        self.overhead = own;
        self.status = status;
        self.learnt = learnt.clone();
        self.class = class;
        self.first_token = stream.then(|| now.duration_since(self.call.arrived));
        own
    }

    /// The call was not answered.
    pub(super) fn failed(&mut self, error: &Error) {
        self.circuit = Conclusion::circuit(error);
        self.book(Outcome::of(error), None);
    }

    /// Books an end.
    pub(super) fn book(&mut self, outcome: Outcome, usage: Option<Usage>) {
        if std::mem::replace(&mut self.booked, true) {
            return;
        }
        let time = self.call.arrived.elapsed();
        // First: who sees the call in the metrics finds it in the book.
        self.conclude(outcome, time);
        self.count(outcome, usage, time);
        if let Some(log) = &self.recorder.log {
            log.line(&self.line(outcome, usage, time));
        }
    }

    /// For the book of failures, when there was one or when the call could not go where it was meant to.
    fn conclude(&mut self, outcome: Outcome, time: Duration) {
        let ended = Ended {
            outcome,
            attempts: self.call.meter.attempts(),
            moved: self.call.meter.has_moved(),
            sdk_repeat: self.call.sdk.retry_count > 0,
        };
        // Who left may have left after a failure: the book knows.
        let went_well = outcome == Outcome::Ok && ended.attempts < 2 && !ended.moved;
        if went_well && self.class.is_none() {
            return;
        }
        let circuit = self.circuit.take();
        let conclusion = || Conclusion {
            outcome: outcome.as_str().to_owned(),
            status: self.status.as_u16(),
            class: self.class.map(str::to_owned),
            answered_by: self
                .learnt
                .target
                .as_ref()
                .map(|t| t.upstream.name.to_string()),
            attempts: ended.attempts,
            duration_seconds: time.as_secs_f64(),
            circuit,
        };
        self.recorder
            .failures
            .concluded(&self.call, self.class.is_some(), ended, conclusion);
    }

    fn count(&self, outcome: Outcome, usage: Option<Usage>, time: Duration) {
        let metrics = &self.recorder.metrics;
        metrics.inflight.dec();
        let handles = handles::of(metrics, &self.call, &self.learnt, outcome);
        handles.requests.inc();
        handles.duration.observe(time.as_secs_f64());
        handles.cache.inc();
        metrics.overhead.observe(self.overhead.as_secs_f64());
        let Some(target) = &handles.target else {
            return;
        };
        target.operation.duration.observe(time.as_secs_f64());
        if let Some(first) = self.first_token {
            target.first_token.observe(first.as_secs_f64());
        }
        // A stored or shared answer used no tokens.
        let fresh = matches!(self.learnt.cache, CacheStatus::Miss | CacheStatus::Bypass);
        if let Some(usage) = usage.filter(|_| fresh) {
            target.operation.usage(&usage);
        }
    }

    fn line(&self, outcome: Outcome, usage: Option<Usage>, time: Duration) -> Line<'_> {
        let (call, learnt) = (&*self.call, &self.learnt);
        Line {
            at: std::time::SystemTime::now(),
            id: call.id.as_str(),
            app: &call.app.name,
            route: learnt.route.as_deref(),
            method: call.method.as_str(),
            endpoint: call.endpoint.as_str(),
            path: call.path.path(),
            model: call.envelope.model.as_deref(),
            upstream: learnt.target.as_ref().map(|t| &*t.upstream.name),
            upstream_model: learnt
                .target
                .as_ref()
                .map(|t| &*t.model)
                .filter(|m| !m.is_empty()),
            status: self.status.as_u16(),
            outcome: outcome.as_str(),
            class: self.class,
            first_failure: call
                .meter
                .first_failure()
                .map(Class::as_str)
                .filter(|first| self.class != Some(first)),
            cache: learnt.cache.as_str(),
            stream: call.envelope.stream,
            attempts: call.meter.attempts(),
            duration: time,
            first_token: self.first_token,
            waited: call.meter.waited(),
            overhead: self.overhead,
            tokens: usage.map(|u| (u.input, u.output, !u.exact)),
            provider_request_id: learnt
                .provider_request_id
                .as_ref()
                .and_then(|id: &HeaderValue| id.to_str().ok()),
            sdk_retry: call.sdk.retry_count > 0,
            tags: &call.directives.tags,
        }
    }
}

/// Rides in the body.
impl Watch for Entry {
    fn end(&mut self, end: &End) {
        if let How::Broken(class) = end.how {
            self.class = Some(class.as_str());
            let upstream = self
                .learnt
                .target
                .as_ref()
                .map_or("none", |t| &*t.upstream.name);
            self.recorder
                .metrics
                .streams_truncated
                .with_label_values(&[upstream, class.as_str()])
                .inc();
        }
        // An answer whose head told an error keeps that outcome.
        let outcome = match (
            self.status.is_client_error() || self.status.is_server_error(),
            end.how,
        ) {
            (true, How::Complete) => Outcome::ClientError,
            (_, how) => Outcome::of_end(how),
        };
        self.book(outcome, end.usage);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.book(Outcome::Cancelled, None);
    }
}
