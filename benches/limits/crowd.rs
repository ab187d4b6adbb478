//! Apps that share one provider: who gets how much, and how long the others wait for it.
//!
//! Each crowd runs twice, with its intruder and without; what the others feel of it is the difference.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};
use weir::{sim::LimitKind, stage::limit::Limits};

use crate::{
    Result,
    calls::{Gateway, Standing},
    contender::{Chain, Contender},
    demand::{Demand, Size},
    dice::Dice,
    driver::{self, Ended, How},
    figures::{admissions, percentile},
    hidden::Hidden,
    world::World,
};

/// Seconds in which queues and estimates settle.
const WARM_UP: f64 = 60.0;
/// Mean time to the next call of a connection whose last call failed, in seconds: even eager apps take a breath then.
const BREATH: f64 = 2.0;

/// Apps at one provider.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) hidden: Hidden,
    pub(crate) members: Vec<Member>,
    /// Place of the one without whom the others are alone.
    pub(crate) intruder: Option<usize>,
    pub(crate) minutes: f64,
    pub(crate) goal: CrowdGoal,
}

/// An app.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) standing: Standing,
    /// Each sends its next call a while after the last has ended.
    pub(crate) connections: u32,
    /// Mean time to the next call, in seconds.
    pub(crate) pause: f64,
    pub(crate) size: Size,
}

/// What weir is held to, where a number is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CrowdGoal {
    /// Jain's index of tokens by weight.
    pub(crate) jain: Option<f64>,
    /// The others' p95 wait, times what it is without the intruder.
    pub(crate) wait: Option<f64>,
    /// The others' p95 time to the whole answer, times what it is without the intruder.
    pub(crate) time: Option<f64>,
}

/// Waits shorter than this are none: within it no multiple counts.
pub(crate) const NO_WAIT: f64 = 0.1;

/// Of one contender and seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    pub(crate) jain: f64,
    /// p95 of the others' waits: without the intruder, with it.
    pub(crate) wait: [f64; 2],
    /// p95 of the others' times to the whole answer.
    pub(crate) time: [f64; 2],
    /// The intruder's part of all tokens.
    pub(crate) intruder: f64,
}

/// One run.
struct Heap {
    /// By member.
    tokens: Vec<f64>,
    waits: Vec<f64>,
    times: Vec<f64>,
}

/// What all connections of a run share.
#[derive(Clone)]
struct Hall {
    chain: Chain,
    gateway: Arc<Gateway>,
    world: World,
    until: f64,
    seed: u64,
}

// === impl Crowd ===

impl Crowd {
    pub(crate) fn run(&self, contender: Contender, seed: u64) -> Result<Shares> {
        let with = driver::simulate(seed, self.heap(contender, seed, true))??;
        let without = match self.intruder {
            Some(_) => driver::simulate(seed, self.heap(contender, seed, false))??,
            None => Heap {
                waits: with.waits.clone(),
                times: with.times.clone(),
                tokens: Vec::new(),
            },
        };
        let by_weight = with.tokens.iter().zip(&self.members);
        let by_weight: Vec<f64> = by_weight
            .map(|(tokens, member)| tokens / f64::from(member.standing.weight.get()))
            .collect();
        let all: f64 = with.tokens.iter().sum();
        Ok(Shares {
            jain: jain(&by_weight),
            wait: [
                percentile(&without.waits, 0.95),
                percentile(&with.waits, 0.95),
            ],
            time: [
                percentile(&without.times, 0.95),
                percentile(&with.times, 0.95),
            ],
            intruder: self.intruder.map_or(0.0, |place| with.tokens[place] / all),
        })
    }

    async fn heap(&self, contender: Contender, seed: u64, intrudes: bool) -> Result<Heap> {
        let standings: Vec<_> = self.members.iter().map(|member| member.standing).collect();
        let gateway = Arc::new(Gateway::new("openai", &standings)?);
        let world = World::new(&self.hidden, seed);
        let chain = contender.chain(&gateway, &world, &self.hidden, &Arc::<Limits>::default());
        let until = self.minutes * 60.0;
        let hall = Hall {
            chain,
            gateway,
            world: world.clone(),
            until,
            seed,
        };
        let mut connections = JoinSet::new();
        let mut number = 0;
        for (place, member) in self.members.iter().enumerate() {
            if self.intruder == Some(place) && !intrudes {
                continue;
            }
            for _ in 0..member.connections {
                number += 1;
                connections.spawn(
                    hall.clone()
                        .connection(member.clone(), place as u64, number),
                );
            }
        }
        let ended: Vec<Ended> = connections.join_all().await.into_iter().flatten().collect();
        Ok(self.heap_of(&ended, &world))
    }

    fn heap_of(&self, ended: &[Ended], world: &World) -> Heap {
        let record = world.record();
        let admitted = admissions(&record);
        let apps: std::collections::HashMap<u64, u64> =
            ended.iter().map(|ended| (ended.call, ended.app)).collect();
        let mut tokens = vec![0.0; self.members.len()];
        let counts = |at: f64| (WARM_UP..self.minutes * 60.0).contains(&at);
        for arrived in record
            .log
            .iter()
            .filter(|arrived| arrived.admitted && counts(arrived.at))
        {
            if let Some(app) = apps.get(&arrived.call) {
                tokens[*app as usize] += arrived.took(LimitKind::Tokens);
            }
        }
        let others: Vec<&Ended> = ended
            .iter()
            .filter(|ended| ended.how == How::Answered && counts(ended.arrived))
            .filter(|ended| self.intruder != Some(ended.app as usize))
            .collect();
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let wait = |ended: &&Ended| Some(admitted.get(&ended.call)? - ended.arrived);
        Heap {
            tokens,
            waits: sorted(others.iter().filter_map(wait).collect()),
            times: sorted(
                others
                    .iter()
                    .map(|ended| ended.at - ended.arrived)
                    .collect(),
            ),
        }
    }
}

// === impl Hall ===

impl Hall {
    async fn connection(self, member: Member, app: u64, number: u64) -> Vec<Ended> {
        let mut dice = Dice::new(self.seed ^ number << 20, "connection");
        let demand = Demand {
            load: 0.0,
            sizes: vec![member.size],
            apps: 1,
            cold: 0,
            leaving: 0.0,
            swing: None,
            rush: None,
        };
        let mut ended = Vec::new();
        loop {
            let answered = ended
                .last()
                .is_none_or(|last: &Ended| last.how == How::Answered);
            let pause = if answered {
                member.pause
            } else {
                member.pause.max(BREATH)
            };
            sleep(Duration::from_secs_f64(dice.gap(1.0 / pause))).await;
            if self.world.now() >= self.until {
                return ended;
            }
            let mut script = demand.script(&mut dice, number << 32 | ended.len() as u64);
            script.app = app;
            let plan = self.gateway.plan(&script);
            ended.push(driver::call(self.chain.clone(), plan, script, self.world.clone()).await);
        }
    }
}

/// 1: all have the same; 1 / n: one has all.
fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| {
        (sum + share, squares + share * share)
    });
    sum * sum / (shares.len() as f64 * squares)
}
