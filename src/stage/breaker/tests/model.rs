//! The circuits against a reference written from the rules and not from the code: one state for each circuit, no locks,
//! no windows, no ramps (where the code may do either, it is believed), whatever happens in whatever order.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, task::Poll};

use proptest::{prelude::*, sample::Index};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, service_fn};

use super::{
    super::{BreakerLayer, Circuits, Permit, State, circuit::Pace},
    Duration,
    reference::{May, Outcome, Phase, RAMP, Reference},
    support::{self, NO_MODEL, QUOTA, attempt, ends, target},
};
use crate::{
    call::{Attempt, Facts, How, Reply, Target},
    config::{self, Limits},
    error::Error,
    stage::limit,
    triage::{Class, Scope},
};

/// Longer than any interval between probes and what is added to it.
const LONGEST: Duration = Duration::from_secs(331);

/// An attempt under way, in both worlds.
struct Running {
    id: usize,
    at: usize,
    began: Instant,
    target_epoch: u64,
    /// Of a gate that was there.
    gate_epoch: Option<u64>,
    probes: bool,
    hold: Hold,
}

#[expect(clippy::large_enum_variant, reason = "few, and for a moment")]
enum Hold {
    Permit(Permit),
    Stream(
        #[expect(dead_code, reason = "its drop ends it")] Reply,
        Arc<Facts>,
    ),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Answer,
    Overloaded,
    OutOfCredit,
    NoModel,
    BadRequest,
    OwnLimit,
    Dropped,
    Stream,
}

#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    End(Index, End),
    /// Of a stream; `None`: it is dropped without a word.
    StreamEnd(Index, Option<How>),
    Wait(u64),
    ProbeNow,
    Reconfigure(u32, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = prop_oneof![
        4 => Just(End::Answer), 6 => Just(End::Overloaded), 2 => Just(End::OutOfCredit), 1 => Just(End::NoModel),
        1 => Just(End::BadRequest), 1 => Just(End::OwnLimit), 3 => Just(End::Dropped), 3 => Just(End::Stream),
    ];
    let hows = prop_oneof![
        Just(None),
        Just(Some(How::Complete)),
        Just(Some(How::Broken(Class::StreamError))),
        Just(Some(How::CallerLeft)),
    ];
    let waits = prop_oneof![0_u64..500, 0_u64..6_000, 4_000_u64..70_000, 0_u64..400_000];
    let step = prop_oneof![
        10 => (0_usize..2).prop_map(Step::Begin),
        10 => (any::<Index>(), ends).prop_map(|(which, end)| Step::End(which, end)),
        3 => (any::<Index>(), hows).prop_map(|(which, how)| Step::StreamEnd(which, how)),
        4 => waits.prop_map(Step::Wait),
        1 => Just(Step::ProbeNow),
        1 => (1_u32..7, 3_u64..9).prop_map(|(row, open)| Step::Reconfigure(row, open)),
    ];
    prop::collection::vec(step, 1..200)
}

/// Both worlds.
struct World {
    rules: config::Breaker,
    circuits: Arc<Circuits>,
    targets: [Arc<Target>; 2],
    /// Two targets, and the gate of the key that they share.
    references: [Reference; 3],
    epochs: u64,
    running: Vec<Running>,
    ids: usize,
}

const GATE: usize = 2;

impl World {
    fn new() -> Self {
        let rules = config::Breaker {
            // The ratio has a property of its own.
            min_calls: NonZeroU32::new(1_000_000).unwrap(),
            ..support::rules()
        };
        let upstream = support::upstream("openai", Some("k"), Limits::default());
        Self {
            circuits: Arc::new(Circuits::new(rules.clone())),
            targets: [
                target(0, "gpt-4o", &upstream),
                target(1, "gpt-4o-mini", &upstream),
            ],
            references: [Reference::new(&rules); 3],
            epochs: 0,
            running: Vec::new(),
            ids: 0,
            rules,
        }
    }

    fn tick(&mut self) -> Instant {
        let now = Instant::now();
        for reference in &mut self.references {
            reference.tick(now);
        }
        now
    }

    fn begin(&mut self, at: usize) -> Result<(), TestCaseError> {
        let now = self.tick();
        let may = [self.references[at].may(now), self.references[GATE].may(now)];
        let asked = attempt(&self.targets[at], 1, 0);
        let available = self.circuits.is_available(&asked.target, &asked.call);
        let admitted = self.circuits.admit(&asked);
        prop_assert_eq!(available, admitted.is_ok(), "is_available tells the truth");
        if may.contains(&May::No) {
            prop_assert!(admitted.is_err(), "{:?}", self.references);
        } else if may == [May::Yes; 2] {
            prop_assert!(admitted.is_ok(), "{:?}", self.references);
        }
        let Ok(permit) = admitted else { return Ok(()) };
        self.ids += 1;
        let gated = self.references[GATE].state() != State::Closed;
        let target_probes = self.references[at].pass(self.ids, now);
        let gate_probes = gated && self.references[GATE].pass(self.ids, now);
        prop_assert_eq!(permit.probes(), (target_probes, gate_probes));
        self.running.push(Running {
            id: self.ids,
            at,
            began: now,
            target_epoch: self.references[at].epoch,
            gate_epoch: gated.then_some(self.references[GATE].epoch),
            probes: target_probes,
            hold: Hold::Permit(permit),
        });
        Ok(())
    }

    /// An attempt has come to this, seen from its target and from the gate.
    fn judge(&mut self, running: &Running, of_target: Outcome, of_gate: Outcome) {
        let now = self.tick();
        let (rules, epochs) = (&self.rules, &mut self.epochs);
        let reference = &mut self.references[running.at];
        if reference.epoch == running.target_epoch {
            reference.end(now, running.id, of_target, rules, epochs);
        }
        let gate = &mut self.references[GATE];
        match (running.gate_epoch, of_gate, gate.phase) {
            // The first word of an empty account; who had passed an earlier gate knows it, too.
            (_, Outcome::Fatal(pace), Phase::Closed) => {
                // Another gate than any before.
                *gate = Reference::new(rules);
                gate.open(now, pace, epochs);
            }
            (Some(epoch), ..) if epoch == gate.epoch => {
                gate.end(now, running.id, of_gate, rules, epochs)
            }
            (None, Outcome::Fatal(pace), Phase::Recovering { since, .. })
                if running.began >= since =>
            {
                gate.open(now, pace, epochs);
            }
            _ => {}
        }
    }

    fn end(&mut self, which: &Index, end: End) {
        let permits: Vec<_> = (0..self.running.len())
            .filter(|n| matches!(self.running[*n].hold, Hold::Permit(_)))
            .collect();
        if permits.is_empty() {
            return;
        }
        let mut running = self
            .running
            .swap_remove(permits[which.index(permits.len())]);
        let facts = Arc::new(Facts::default());
        let spare = Hold::Stream(support::answer(), Arc::clone(&facts));
        let Hold::Permit(permit) = std::mem::replace(&mut running.hold, spare) else {
            unreachable!("only permits were chosen");
        };
        let human = Pace::human(&self.rules);
        let target = Arc::clone(&self.targets[running.at]);
        let said = |status, body| support::failure(&target, status, body, "");
        let (of_target, of_gate) = match end {
            End::Answer => {
                permit.answered(&mut support::answer());
                (Outcome::Good, Outcome::Good)
            }
            End::Overloaded => {
                permit.failed(&said(503, "{}"));
                (Outcome::Bad, Outcome::Nothing)
            }
            End::OutOfCredit => {
                permit.failed(&said(429, QUOTA));
                (Outcome::Nothing, Outcome::Fatal(human))
            }
            End::NoModel => {
                permit.failed(&said(404, NO_MODEL));
                (Outcome::Fatal(human), Outcome::Nothing)
            }
            End::BadRequest => {
                permit.failed(&said(400, support::BAD_REQUEST));
                (Outcome::Nothing, Outcome::Nothing)
            }
            End::OwnLimit => {
                permit.failed(&own_limit(&target));
                (Outcome::NotAsked, Outcome::NotAsked)
            }
            End::Dropped => {
                drop(permit);
                (Outcome::Nothing, Outcome::Nothing)
            }
            End::Stream => {
                let mut reply = support::streaming(&facts);
                permit.answered(&mut reply);
                // Only as a probe does a head count, and wherever there is a gate.
                if running.probes || running.gate_epoch.is_some() {
                    self.judge(&running, Outcome::Begun, Outcome::Begun);
                }
                running.hold = Hold::Stream(reply, facts);
                self.running.push(running);
                return;
            }
        };
        self.judge(&running, of_target, of_gate);
    }

    fn stream_end(&mut self, which: &Index, how: Option<How>) {
        let streams: Vec<_> = (0..self.running.len())
            .filter(|n| matches!(self.running[*n].hold, Hold::Stream(..)))
            .collect();
        if streams.is_empty() {
            return;
        }
        let running = self
            .running
            .swap_remove(streams[which.index(streams.len())]);
        let Hold::Stream(_, facts) = &running.hold else {
            unreachable!("only streams were chosen");
        };
        if let Some(how) = how {
            ends(facts, how);
        }
        let (of_target, of_gate) = match how {
            Some(How::Complete) => (Outcome::Good, Outcome::Good),
            Some(How::Broken(_)) => (Outcome::Bad, Outcome::Nothing),
            Some(How::CallerLeft) | None => (Outcome::Nothing, Outcome::Nothing),
        };
        self.judge(&running, of_target, of_gate);
        drop(running);
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Begin(at) => self.begin(*at)?,
            Step::End(which, end) => self.end(which, *end),
            Step::StreamEnd(which, how) => self.stream_end(which, *how),
            Step::Wait(ms) => advance(Duration::from_millis(*ms)).await,
            Step::ProbeNow => {
                let now = self.tick();
                self.circuits.probe_now(None);
                let gate = &mut self.references[GATE];
                if let Phase::Open(..) = gate.phase {
                    gate.phase = Phase::Open(now, now);
                    gate.interval = gate.pace.first;
                }
            }
            Step::Reconfigure(row, open_for) => {
                self.rules.consecutive = NonZeroU32::new(*row).unwrap();
                self.rules.open_for = Duration::from_secs(*open_for).max(Duration::from_secs(5));
                self.circuits.reconfigure(self.rules.clone());
            }
        }
        self.agree()
    }

    /// Both worlds are in the same states.
    fn agree(&mut self) -> Result<(), TestCaseError> {
        let now = self.tick();
        let seen: HashMap<_, _> = self
            .circuits
            .snapshot(now)
            .into_iter()
            .map(|status| ((status.scope, status.key.to_string()), status.state))
            .collect();
        let names = [
            (Scope::Model, "gpt-4o"),
            (Scope::Model, "gpt-4o-mini"),
            (Scope::Key, "own key"),
        ];
        for ((scope, name), reference) in names.into_iter().zip(&self.references) {
            let state = seen
                .get(&(scope, name.to_owned()))
                .copied()
                .unwrap_or(State::Closed);
            prop_assert_eq!(state, reference.state(), "{} {:?}", name, self.references);
        }
        prop_assert!(seen.len() <= 3);
        Ok(())
    }

    /// Whatever was left behind: time and successes lead back.
    async fn heal(&mut self) -> Result<(), TestCaseError> {
        self.running.clear();
        for at in [0, 1] {
            advance(LONGEST).await;
            let permit = self.circuits.admit(&attempt(&self.targets[at], 1, 0));
            prop_assert!(permit.is_ok(), "stuck");
            permit.unwrap().answered(&mut support::answer());
            advance(RAMP).await;
        }
        self.circuits.refresh(Instant::now());
        prop_assert!(self.circuits.snapshot(Instant::now()).is_empty());
        Ok(())
    }
}

fn own_limit(target: &Arc<Target>) -> Error {
    limit::Refused::bare(Arc::clone(target), Class::RateLimitedRequests).into()
}

fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_circuits_do_as_the_reference_does(steps in steps()) {
        paused(async {
            let mut world = World::new();
            for (n, step) in steps.iter().enumerate() {
                world.step(step).await.map_err(|error| TestCaseError::fail(format!("step {n}, {step:?}: {error}")))?;
            }
            world.heal().await
        })?;
    }

    /// The layer over a provider that takes `polls` polls to come to `end`; each attempt is dropped after some of them,
    /// its body at once. None of this loses the probe.
    #[test]
    fn an_attempt_dropped_at_any_await_loses_no_probe(
        attempts in prop::collection::vec((0_u32..4, 0_u32..6, 0_u8..5), 1..30),
        out_of_credit in any::<bool>(),
    ) {
        paused(async {
            let circuits = Arc::new(Circuits::new(support::rules()));
            let upstream = support::upstream("openai", Some("k"), Limits::default());
            let gpt = target(0, "gpt-4o", &upstream);
            let (status, body) = if out_of_credit { (429, QUOTA) } else { (503, "{}") };
            for _ in 0..5 {
                if let Ok(permit) = circuits.admit(&attempt(&gpt, 1, 0)) {
                    permit.failed(&support::failure(&gpt, status, body, ""));
                }
            }
            for (polls, dropped_after, end) in attempts {
                advance(LONGEST).await;
                prop_assert!(circuits.is_available(&gpt, &attempt(&gpt, 1, 0).call), "the probe is lost");
                let provider = service_fn(move |attempt: Attempt| slow(attempt, polls, end));
                let mut breaker = BreakerLayer::new(Arc::clone(&circuits)).layer(provider);
                let mut probe = Box::pin(breaker.call(attempt(&gpt, 1, 0)));
                let probing = circuits.snapshot(Instant::now())[0].state == State::HalfOpen;
                prop_assert!(probing, "one is under way");
                prop_assert!(!circuits.is_available(&gpt, &attempt(&gpt, 1, 0).call), "one at a time");
                for _ in 0..dropped_after {
                    let polled = std::future::poll_fn(|cx| Poll::Ready(probe.as_mut().poll(cx).is_ready()));
                    if polled.await { break }
                }
                drop(probe);
                let after = circuits.snapshot(Instant::now());
                prop_assert!(after.iter().all(|status| status.state != State::HalfOpen), "nobody probes");
                // Found well: down again, for the next one.
                if after.iter().any(|status| status.state == State::Recovering) {
                    let permit = circuits.admit(&attempt(&gpt, 1, 0)).unwrap();
                    permit.failed(&support::failure(&gpt, status, body, ""));
                }
            }
            Ok(())
        })?;
    }
}

async fn slow(attempt: Attempt, mut polls: u32, end: u8) -> Result<Reply, Error> {
    std::future::poll_fn(|_| {
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        Poll::Pending
    })
    .await;
    match end {
        0 => Ok(support::answer()),
        1 => Ok(support::streaming(&Arc::new(Facts::default()))),
        2 => Err(support::failure(&attempt.target, 503, "{}", "")),
        3 => Err(support::failure(
            &attempt.target,
            400,
            support::BAD_REQUEST,
            "",
        )),
        _ => Err(own_limit(&attempt.target)),
    }
}
