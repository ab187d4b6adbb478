//! The provider as the chain's innermost service: on the way, at the door, at work.
//!
//! A call takes a while to get there, is judged in the order of arrival, and is told of the limits as they stood then: when the
//! answer begins, seconds later, what it says of what is left is as old as that. Everything is written down for the judges.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;
use weir::{
    call::{Attempt, BodyError, End, Facts, How, Learnt, Payload, Reply, ReplyBody},
    dialect::openai::Usage,
    error::{Answer, Error, Failure},
    failures::Seen,
    sim::{Admitted, Ask, Charge, LimitKind, Meter, Refusal, Tally, Used},
    stage::Answering,
    triage::{Evidence, Transport, judge},
};

use crate::{calls::MODEL, demand::Script, hidden::Hidden};

/// From the door to the refused caller.
const REFUSAL_WAY: Duration = Duration::from_millis(30);

/// The provider; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    charge: Charge,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    meter: Meter,
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
    /// The limit that refused it, and how much of that was used.
    pub(crate) refused: Option<(LimitKind, u64)>,
    pub(crate) script: Script,
    charge: Charge,
    /// When its answer was whole, or its caller had gone.
    pub(crate) over: f64,
    /// It was answered, so that the provider knows what it used.
    pub(crate) settled: bool,
}

/// What a run has left behind.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) log: Vec<Arrived>,
    /// When each reply began or refusal came, in order.
    pub(crate) replies: Vec<f64>,
    /// The provider's own books.
    pub(crate) tally: Tally,
}

/// An admitted request; left to itself, its caller has gone and the estimate stays.
struct Ticket {
    world: World,
    script: Script,
    place: usize,
    /// `None`: settled.
    admitted: Option<Admitted>,
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
        let began = Instant::now();
        Self(Arc::new(Inner {
            began,
            charge: hidden.limits.charge.unwrap_or_default(),
            state: Mutex::new(State {
                meter: hidden.meter(seed, began),
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
            tally: state.meter.tally(Instant::now()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrives(&self, script: Script) -> Result<Ticket, Refusal> {
        let (now, at) = (Instant::now(), self.now());
        let ask = Ask::text(script.input, script.max_output);
        let mut state = self.state();
        let answer = state.meter.admit(now, MODEL, ask);
        state.log.push(Arrived {
            call: script.number,
            at,
            admitted: answer.is_ok(),
            refused: answer.as_ref().err().map(|full| (full.kind, full.used)),
            script,
            charge: self.0.charge,
            over: f64::INFINITY,
            settled: false,
        });
        let place = state.log.len() - 1;
        drop(state);
        answer.map(|admitted| Ticket {
            world: self.clone(),
            script,
            place,
            admitted: Some(admitted),
        })
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
    let ticket = match world.arrives(script) {
        Ok(ticket) => ticket,
        Err(refusal) => {
            sleep(REFUSAL_WAY).await;
            world.replies();
            let headers = heads(refusal.headers(before(REFUSAL_WAY)));
            return Err(failure(&attempt, headers, &refusal));
        }
    };
    let thinks = Duration::from_millis(script.head_ms);
    sleep(thinks).await;
    world.replies();
    let told = ticket.admitted.as_ref();
    let told = told.map(|admitted| admitted.headers(before(thinks)));
    Ok(reply(heads(told.unwrap_or_default()), ticket))
}

/// The time of day when it stood as told. The wall's clock does not jump with the simulated one.
fn before(passed: Duration) -> SystemTime {
    SystemTime::now() - passed
}

fn heads(pairs: Vec<(&'static str, String)>) -> HeaderMap {
    let value = |value: String| HeaderValue::try_from(value).expect("made of digits and letters");
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, told)| (HeaderName::from_static(name), value(told)))
        .collect()
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
fn failure(attempt: &Attempt, headers: HeaderMap, refusal: &Refusal) -> Error {
    let body = refusal.body();
    let status = StatusCode::from_u16(refusal.status()).unwrap_or_default();
    let verdict = judge(
        &attempt.target.upstream.provider,
        &Evidence {
            status: status.as_u16(),
            headers: &headers,
            body: body.as_bytes(),
            transport: Transport::Http,
            endpoint: attempt.call.path.path(),
        },
    );
    Error::Upstream(Arc::new(Failure {
        verdict,
        target: Arc::clone(&attempt.target),
        seen: Seen::of(status, &headers),
        answer: Some(Answer {
            status,
            headers,
            body: body.into(),
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
    fn over(mut self) -> Usage {
        let used = Used {
            input: self.script.input,
            output: self.script.output,
        };
        let (now, at) = (Instant::now(), self.world.now());
        let mut state = self.world.state();
        if let Some(admitted) = self.admitted.take() {
            state.meter.settle(now, admitted, used);
        }
        let arrived = &mut state.log[self.place];
        (arrived.over, arrived.settled) = (at, true);
        drop(state);
        Usage {
            input: self.script.input,
            output: self.script.output,
            exact: true,
            ..Usage::default()
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(admitted) = self.admitted.take() else {
            return;
        };
        let (now, at) = (Instant::now(), self.world.now());
        let mut state = self.world.state();
        state.meter.cancel(now, admitted);
        state.log[self.place].over = at;
    }
}

// === impl Arrived ===

impl Arrived {
    /// What it took of that limit, in the end; of calls under way: seconds.
    pub(crate) fn took(&self, kind: LimitKind) -> f64 {
        match (kind, self.settled) {
            (LimitKind::Concurrency, _) => self.over - self.at,
            (_, true) => self.script.charged(kind, self.charge),
            (_, false) => self.script.charged(kind, Charge::Admission),
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
