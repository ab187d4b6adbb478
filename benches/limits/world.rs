//! The provider as the chain's innermost service: on the way, at the door, at work.
//!
//! A call takes a while to get there, is judged in the order of arrival, and is told of the limits as they stood then: when the
//! answer begins, seconds later, what it says of what is left is as old as that. Everything is written down for the judges.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;
use weir::{
    call::{Attempt, BodyError, End, Facts, How, Learnt, Payload, Reply, ReplyBody},
    dialect::openai::Usage,
    error::{Answer, Error, Failure},
    failures::Seen,
    stage::Answering,
    triage::{Evidence, Transport, judge},
};

use crate::{
    account::{Account, Refusal},
    demand::Script,
    hidden::Hidden,
};

/// From the door to the refused caller.
const REFUSAL_WAY: Duration = Duration::from_millis(30);

/// The provider; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    account: Account,
    hidden: Hidden,
    log: Vec<Arrived>,
    replies: Vec<f64>,
}

/// A request at the provider's door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// The call's place among the calls of the run.
    pub(crate) call: u64,
    /// Seconds after the start.
    pub(crate) at: f64,
    pub(crate) admitted: bool,
    /// Tokens taken off: in the end, of those admitted.
    pub(crate) tokens: f64,
}

/// What a run has left behind.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) log: Vec<Arrived>,
    /// When each reply began or refusal came, in order.
    pub(crate) replies: Vec<f64>,
    /// Others' calls that were let in, and all of them.
    pub(crate) others: [u64; 2],
}

/// An admitted request; left to itself, its caller has gone and the estimate stays.
struct Ticket {
    world: World,
    script: Script,
    place: usize,
}

/// A stream: one chunk at once, the end when it is time.
struct Flow {
    chunk: Option<Bytes>,
    ends: Pin<Box<Sleep>>,
    facts: Arc<Facts>,
    ticket: Option<Ticket>,
}

// === impl World ===

impl World {
    /// Begins now.
    pub(crate) fn new(hidden: &Hidden, seed: u64) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            state: Mutex::new(State {
                account: Account::new(hidden, seed),
                hidden: hidden.clone(),
                log: Vec::new(),
                replies: Vec::new(),
            }),
        }))
    }

    /// Seconds since the start.
    pub(crate) fn now(&self) -> f64 {
        self.0.began.elapsed().as_secs_f64()
    }

    pub(crate) fn record(&self) -> Record {
        let mut state = self.state();
        Record {
            log: std::mem::take(&mut state.log),
            replies: std::mem::take(&mut state.replies),
            others: state.account.others,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrives(&self, script: Script) -> (HeaderMap, Result<Ticket, Refusal>) {
        let now = self.now();
        let mut state = self.state();
        let answer = state.account.admit(now, &script);
        state.log.push(Arrived {
            call: script.number,
            at: now,
            admitted: answer.refusal.is_none(),
            tokens: script.estimate() as f64,
        });
        let place = state.log.len() - 1;
        drop(state);
        let ticket = Ticket {
            world: self.clone(),
            script,
            place,
        };
        (answer.headers, answer.refusal.map_or(Ok(ticket), Err))
    }

    fn replies(&self) {
        let now = self.now();
        self.state().replies.push(now);
    }
}

impl Service<Attempt> for World {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Answering {
        let world = self.clone();
        Box::pin(async move { serve(&world, attempt).await })
    }
}

async fn serve(world: &World, attempt: Attempt) -> Result<Reply, Error> {
    attempt.call.meter.attempt();
    let script = match &attempt.call.payload {
        Payload::Whole(body) => Script::of(body),
        Payload::Upload(_) => Script::default(),
    };
    sleep(Duration::from_millis(script.way_ms)).await;
    let (headers, ticket) = world.arrives(script);
    let ticket = match ticket {
        Ok(ticket) => ticket,
        Err(refusal) => {
            sleep(REFUSAL_WAY).await;
            world.replies();
            return Err(failure(&attempt, headers, refusal));
        }
    };
    sleep(Duration::from_millis(script.head_ms)).await;
    world.replies();
    Ok(reply(headers, ticket))
}

fn reply(headers: HeaderMap, ticket: Ticket) -> Reply {
    let script = ticket.script;
    let mut learnt = Learnt::default();
    let body = if script.body_ms == 0 {
        learnt.usage = Some(ticket.over());
        ReplyBody::whole("{}")
    } else {
        let facts = Arc::<Facts>::default();
        let flow = Flow {
            chunk: Some(Bytes::from_static(b"data")),
            ends: Box::pin(sleep(Duration::from_millis(script.body_ms))),
            facts: Arc::clone(&facts),
            ticket: Some(ticket),
        };
        ReplyBody::stream(Box::pin(flow), facts)
    };
    Reply {
        status: StatusCode::OK,
        headers,
        body,
        learnt,
        upgrade: None,
    }
}

/// As `stage::dispatch` makes it of a refusal.
fn failure(attempt: &Attempt, headers: HeaderMap, refusal: Refusal) -> Error {
    let verdict = judge(
        &attempt.target.upstream.provider,
        &Evidence {
            status: refusal.status.as_u16(),
            headers: &headers,
            body: refusal.body.as_bytes(),
            transport: Transport::Http,
            endpoint: attempt.call.path.path(),
        },
    );
    Error::Upstream(Arc::new(Failure {
        verdict,
        target: Arc::clone(&attempt.target),
        seen: Seen::of(refusal.status, &headers),
        answer: Some(Answer {
            status: refusal.status,
            headers,
            body: refusal.body.into(),
        }),
        what: "refused".to_owned(),
        own_key: true,
        begun: false,
        unsent: false,
        after_content: false,
    }))
}

// === impl Ticket ===

impl Ticket {
    /// The answer is whole: what it took.
    fn over(self) -> Usage {
        let now = self.world.now();
        let mut state = self.world.state();
        state.account.settle(now, &self.script);
        let charge = state.hidden.charge;
        state.log[self.place].tokens = self.script.charged(charge) as f64;
        Usage {
            input: self.script.input,
            output: self.script.output,
            exact: true,
            ..Usage::default()
        }
    }
}

// === impl Flow ===

impl Body for Flow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(chunk) = self.chunk.take() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        ready!(self.ends.as_mut().poll(cx));
        if let Some(ticket) = self.ticket.take() {
            self.facts.set(End::complete(Some(ticket.over())));
        }
        Poll::Ready(None)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let Some(ticket) = &self.ticket else { return };
        // Nobody has told what it used: half of the answer, say.
        let usage = Usage {
            input: ticket.script.input,
            output: ticket.script.output / 2,
            ..Usage::default()
        };
        self.facts.set(End {
            how: How::CallerLeft,
            usage: Some(usage),
        });
    }
}
