//! One attempt, in time.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;
use tower::Service;

use super::{
    DeadlinePassed, Prepared,
    fail::{self, Head},
    request, stream, whole,
};
use crate::{
    call::{Attempt, End, Facts, Learnt, Payload, Reply, ReplyBody},
    config::Config,
    error::Error,
    redact::{self, Known},
    stage::{Answering, ingress},
    upstream::{Pool, ResponseBody},
    witness::Witness,
};

/// A caller's deadline that passes sooner than this says nothing about the provider; later, its silence is
/// a failure of the provider's. Long enough for a usual answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an attempt gets at least while others wait for their turn.
const SHORTEST_SHARE: Duration = Duration::from_millis(500);

/// The leaf of one worker.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pool: Pool,
    /// By upstream id.
    prepared: Arc<[Prepared]>,
    witness: Arc<Witness>,
}

// === impl Dispatch ===

impl Dispatch {
    /// Calls the upstreams of `config` through `pool`.
    pub fn new(config: &Config, pool: Pool, witness: Arc<Witness>) -> Self {
        Self {
            pool,
            prepared: config
                .upstreams
                .iter()
                .map(|upstream| Prepared::new(upstream))
                .collect(),
            witness,
        }
    }

    async fn attempt(self, attempt: Attempt) -> Result<Reply, Error> {
        let started = Instant::now();
        attempt.call.meter.attempt();
        let mut answer = self.in_time(&attempt, started).await;
        let time = started.elapsed();
        attempt.call.meter.upstream(time);
        match &mut answer {
            Ok(reply) => self.witness.answered(&attempt, reply, time),
            Err(error) => self.witness.failed(&attempt, error),
        }
        answer
    }

    /// The exchange, until the first-token timeout or the call's deadline, whichever comes first; while another usable
    /// target is left, half of the time to the deadline is all that one attempt gets, so that a provider that hangs
    /// leaves time for the next one. The deadline may move while we wait (see `stage::cache`). An upload's own time is
    /// the client's.
    async fn in_time(&self, attempt: &Attempt, started: Instant) -> Result<Reply, Error> {
        let upstream = &attempt.target.upstream;
        let uploading = matches!(attempt.call.payload, Payload::Upload(_));
        let first = (!uploading).then(|| started + upstream.first_token_timeout);
        let halved = !attempt.last && !uploading;
        let mut exchange = pin!(self.exchange(attempt));
        loop {
            let deadline = match halved {
                true => started + (attempt.call.deadline.left(started) / 2).max(SHORTEST_SHARE),
                false => attempt.call.deadline.instant(),
            };
            let until = first.map_or(deadline, |first| first.min(deadline));
            if let Ok(answer) = tokio::time::timeout_at(until, exchange.as_mut()).await {
                return answer;
            }
            let now = Instant::now();
            if first.is_some_and(|first| now >= first) {
                return Err(fail::silent(
                    attempt,
                    "no answer",
                    upstream.first_token_timeout,
                ));
            }
            if attempt.call.deadline.instant() > now && !halved {
                continue;
            }
            let waited = now.duration_since(started);
            // Who still sends cannot blame the other for saying nothing.
            let sent = match &attempt.call.payload {
                Payload::Upload(upload) => upload.ended(),
                Payload::Whole(_) => true,
            };
            let silence = (sent && waited >= PATIENCE).then(|| fail::silence(attempt, waited));
            let attempts = attempt.call.meter.attempts();
            return Err(DeadlinePassed {
                target: Arc::clone(&attempt.target),
                attempts,
                silence,
            }
            .into());
        }
    }

    async fn exchange(&self, attempt: &Attempt) -> Result<Reply, Error> {
        let upstream = &attempt.target.upstream;
        let prepared = &self.prepared[usize::from(upstream.id.0)];
        let payload = request::body(&attempt.call, &attempt.target);
        let repeatable = || match &payload {
            Payload::Whole(_) => true,
            Payload::Upload(upload) => !upload.begun(),
        };
        let build = |h2| prepared.request(attempt, &payload, h2);
        let sent = self
            .pool
            .send(
                &upstream.base_url,
                upstream.connect_timeout,
                attempt.call.upgrade.is_some(),
                repeatable,
                build,
            )
            .await;
        let mut response = match sent {
            Ok(sent) => sent.response,
            Err(error) => {
                if let Payload::Upload(upload) = &payload
                    && let Some(why) = upload.broken()
                {
                    return Err(ingress::Refused::BodyBroken(why).into());
                }
                return Err(fail::unsent(attempt, &error));
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = hyper::upgrade::on(&mut response);
            return Ok(switched(attempt, response.into_parts().0.headers, upgrade));
        }
        let (mut parts, body) = response.into_parts();
        request::strip_reply(&mut parts.headers);
        let head = Head {
            status: parts.status,
            headers: parts.headers,
        };
        read(attempt, head, body).await
    }
}

impl Service<Attempt> for Dispatch {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Answering {
        Box::pin(self.clone().attempt(attempt))
    }
}

/// By what it is: an error, an event stream, a whole answer, or bytes that flow.
async fn read(attempt: &Attempt, head: Head, body: ResponseBody) -> Result<Reply, Error> {
    if head.status.is_client_error() || head.status.is_server_error() {
        return Err(Box::pin(whole::error(attempt, head, body)).await);
    }
    let kind = content_type(&head.headers);
    if is(kind, "text/event-stream") {
        return stream::open(attempt, head, body).await;
    }
    if kind.is_empty() || is(kind, "application/json") || is(kind, "text/") {
        return whole::answer(attempt, head, body).await;
    }
    stream::flow(attempt, head, body).await
}

pub(super) fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
}

fn is(kind: &str, prefix: &str) -> bool {
    kind.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A reply with what every reply of an attempt tells.
pub(super) fn reply(attempt: &Attempt, head: Head, body: ReplyBody) -> Reply {
    let names = &attempt.target.upstream.provider.request_id_headers;
    let provider_request_id = names
        .iter()
        .find_map(|name| head.headers.get(name))
        // It goes into logs.
        .filter(|id| {
            id.to_str()
                .is_ok_and(|id| redact::id(id).is_some() && !Known::quick(attempt, id))
        })
        .cloned();
    let learnt = Learnt {
        target: Some(Arc::clone(&attempt.target)),
        provider_request_id,
        ..Learnt::default()
    };
    Reply {
        status: head.status,
        headers: head.headers,
        body,
        learnt,
        upgrade: None,
    }
}

/// 101: the body stands for the tunnel, so that what rides in it ends with it.
fn switched(
    attempt: &Attempt,
    mut headers: HeaderMap,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Reply {
    headers.remove(header::CONTENT_LENGTH);
    let facts = Arc::new(Facts::default());
    facts.set(End::complete(None));
    let body = ReplyBody::stream(Box::pin(stream::Never), facts);
    let head = Head {
        status: StatusCode::SWITCHING_PROTOCOLS,
        headers,
    };
    Reply {
        upgrade: Some(upgrade),
        ..reply(attempt, head, body)
    }
}
