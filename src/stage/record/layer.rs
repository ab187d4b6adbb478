//! The layer.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use tower::{Layer, Service};

use super::Recorder;
use crate::{
    call::{Call, Learnt, Reply},
    error::Error,
    stage::Answering,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-weir-request-id");
const UPSTREAM: HeaderName = HeaderName::from_static("x-weir-upstream");
const MODEL: HeaderName = HeaderName::from_static("x-weir-model");
const CACHE: HeaderName = HeaderName::from_static("x-weir-cache");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-weir-attempts");
const WAIT_MS: HeaderName = HeaderName::from_static("x-weir-wait-ms");
const OVERHEAD_US: HeaderName = HeaderName::from_static("x-weir-overhead-us");
const WARNING: HeaderName = HeaderName::from_static("x-weir-warning");
const CLASS: HeaderName = HeaderName::from_static("x-weir-class");
const ADVICE: HeaderName = HeaderName::from_static("x-weir-advice");

#[derive(Clone, Debug)]
pub struct RecordLayer(Arc<Recorder>);

#[derive(Clone, Debug)]
pub struct Record<S> {
    inner: S,
    recorder: Arc<Recorder>,
}

// === impl RecordLayer ===

impl RecordLayer {
    pub fn new(recorder: Arc<Recorder>) -> Self {
        Self(recorder)
    }
}

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Record<S> {
        Record {
            inner,
            recorder: Arc::clone(&self.0),
        }
    }
}

// === impl Record ===

impl<S> Service<Arc<Call>> for Record<S>
where
    S: Service<Arc<Call>, Response = Reply, Error = Error, Future: Send + 'static>,
{
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Arc<Call>) -> Answering {
        let mut entry = self.recorder.begin(&call);
        let answering = self.inner.call(Arc::clone(&call));
        Box::pin(async move {
            match answering.await {
                Ok(mut reply) => {
                    let stream = reply.body.is_stream() && call.envelope.stream;
                    let overhead = entry.head(reply.status, &reply.learnt, None, stream);
                    headers(&mut reply.headers, &call, &reply.learnt, overhead);
                    let usage = reply.learnt.usage;
                    reply.body.on_end(entry, usage);
                    Ok(reply)
                }
                Err(error) => {
                    let mut reply = error.reply();
                    let overhead =
                        entry.head(reply.status, &reply.learnt, Some(error.class()), false);
                    headers(&mut reply.headers, &call, &reply.learnt, overhead);
                    reply
                        .headers
                        .insert(CLASS, HeaderValue::from_static(error.class()));
                    if let Some(advice) = error
                        .advice()
                        .and_then(|advice| HeaderValue::from_str(advice).ok())
                    {
                        reply.headers.insert(ADVICE, advice);
                    }
                    entry.failed(&error);
                    Ok(reply)
                }
            }
        })
    }
}

fn headers(headers: &mut HeaderMap, call: &Call, learnt: &Learnt, overhead: Duration) {
    headers.reserve(8);
    headers.insert(REQUEST_ID, call.id.header());
    if let Some(target) = &learnt.target {
        for (name, value) in [UPSTREAM, MODEL].into_iter().zip(&target.named) {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
    headers.insert(CACHE, HeaderValue::from_static(learnt.cache.as_str()));
    headers.insert(ATTEMPTS, HeaderValue::from(call.meter.attempts()));
    headers.insert(WAIT_MS, number(call.meter.waited().as_millis()));
    headers.insert(OVERHEAD_US, number(overhead.as_micros()));
    for warning in &learnt.warnings {
        if let Ok(warning) = HeaderValue::from_str(warning) {
            headers.append(WARNING, warning);
        }
    }
}

fn number(value: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(value).unwrap_or(u64::MAX))
}
