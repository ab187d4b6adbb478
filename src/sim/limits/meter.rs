//! One account's limits, and the calls it lets in.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use globset::{Glob, GlobSet, GlobSetBuilder};
use tokio::time::Instant;

use super::{
    MOST_POOLS,
    bucket::Refused,
    foreign::Arrivals,
    headers::Gauge,
    pool::{Amounts, Full, Pool},
    refusal::Refusal,
    settings::{Change, LimitKind, Limits},
    tally::Tally,
};

/// The models that come when there are too many.
const OTHERS: &str = "others";

/// The limits of one account. Time never goes back: each `now` is the last one or a later one.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    rules: Vec<Rule>,
    seed: u64,
    start: Instant,
    /// Not yet in force, the next one last.
    changes: Vec<Change>,
    pools: HashMap<String, Pool>,
    under_way: u64,
    most_under_way: u64,
}

/// Models with limits of their own.
#[derive(Debug)]
struct Rule {
    models: GlobSet,
    name: Option<Arc<str>>,
    limits: Limits,
}

/// What a call is going to take, before anybody's estimate is applied to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Tokens of the input: its bytes by four.
    pub input: u64,
    /// The most that it may be answered with, times the number of answers; 0 where the caller told nothing.
    pub output: u64,
    /// Images asked for.
    pub images: u64,
}

/// What a call has taken, as its `usage` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens of the input.
    pub input: u64,
    /// Tokens of the output.
    pub output: u64,
}

/// A call that was let in. It is under way until it is settled or cancelled.
#[derive(Debug)]
#[must_use = "a call that is neither settled nor cancelled is under way for ever"]
pub struct Admitted {
    pool: Arc<str>,
    at: Instant,
    taken: Amounts,
    gauge: Gauge,
}

// === impl Meter ===

impl Meter {
    /// Buckets are full at `now`, and the times of settings count from there. Globs that are none match nothing.
    #[must_use]
    pub fn new(limits: Limits, seed: u64, now: Instant) -> Self {
        Self {
            rules: rules(&limits),
            limits,
            seed,
            start: now,
            changes: Vec::new(),
            pools: HashMap::new(),
            under_way: 0,
            most_under_way: 0,
        }
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes that come by themselves, at their times after the start.
    #[must_use]
    pub fn with_changes(mut self, mut changes: Vec<Change>) -> Self {
        // Of one moment, the last one told stays in force.
        changes.reverse();
        changes.sort_by_key(|change| std::cmp::Reverse(change.at.0));
        self.changes = changes;
        self
    }

    /// Changes the limits; what is not told stays, and what is used stays used as far as the new limit goes.
    pub fn change(&mut self, now: Instant, limits: Limits) {
        self.catch_up(now);
        self.put_in_force(now, limits);
    }

    /// Lets a call in, or refuses it; a refusal takes nothing.
    ///
    /// # Errors
    /// When a limit has no room. The refusal tells after which time the same call would pass if nobody else took any.
    pub fn admit(&mut self, now: Instant, model: &str, ask: Ask) -> Result<Admitted, Refusal> {
        self.catch_up(now);
        let name = self.pool_name(model);
        let amounts = estimated(ask, &self.pool(&name).limits);
        let full = self.full(&name, amounts, now);
        let pool = self.pool(&name);
        if let Some(full) = full {
            *pool.tally.refused.entry(full.kind).or_default() += 1;
            pool.tally.too_large += u64::from(full.how == Refused::TooLarge);
            let gauge = pool.gauge(0, now);
            return Err(Refusal::new(full, model, &pool.limits, gauge));
        }
        let tokens = pool.take(amounts, now);
        pool.tally.admitted += 1;
        pool.tally.tokens_charged += tokens;
        pool.tally.under_way += 1;
        pool.tally.most_under_way = pool.tally.most_under_way.max(pool.tally.under_way);
        let gauge = pool.gauge(tokens, now);
        self.under_way += 1;
        self.most_under_way = self.most_under_way.max(self.under_way);
        Ok(Admitted {
            pool: name,
            at: now,
            taken: amounts,
            gauge,
        })
    }

    /// Whether it would let that call in, which changes nothing.
    ///
    /// # Errors
    /// As of [`admit`](Self::admit).
    pub fn would_admit(&mut self, now: Instant, model: &str, ask: Ask) -> Result<(), Refusal> {
        self.catch_up(now);
        let name = self.pool_name(model);
        let amounts = estimated(ask, &self.pool(&name).limits);
        let Some(full) = self.full(&name, amounts, now) else {
            return Ok(());
        };
        let pool = self.pool(&name);
        let gauge = pool.gauge(0, now);
        Err(Refusal::new(full, model, &pool.limits, gauge))
    }

    /// The limit that keeps a call away, if one does.
    fn full(&mut self, name: &str, amounts: Amounts, now: Instant) -> Option<Full> {
        let account_limit = self.limits.concurrency;
        let pool = self.pool(name);
        let own_limit = pool.limits.concurrency;
        let crowded = |limit: Option<u32>, under_way: u64| {
            limit.filter(|limit| under_way >= u64::from(*limit))
        };
        let pool_limit = crowded(own_limit, pool.tally.under_way);
        match pool_limit.or(crowded(account_limit, self.under_way)) {
            Some(limit) => Some(Full {
                kind: LimitKind::Concurrency,
                limit,
                requested: 1,
                how: Refused::Wait {
                    used: f64::from(limit),
                    wait: Duration::ZERO,
                },
            }),
            None => self.pool(name).full(amounts, now),
        }
    }

    /// The call is over and has used that much.
    pub fn settle(&mut self, now: Instant, call: Admitted, used: Used) {
        self.catch_up(now);
        self.ended();
        let Some(pool) = self.pools.get_mut(&*call.pool) else {
            return;
        };
        let factor = pool.limits.output_factor.unwrap_or(1.0);
        let actual = Amounts {
            input: used.input,
            output: scaled(used.output, factor),
            images: call.taken.images,
        };
        pool.correct(call.at, call.taken, actual, now);
        pool.tally.under_way = pool.tally.under_way.saturating_sub(1);
        pool.tally.tokens_used += used.input + used.output;
    }

    /// The caller left, or the call failed within: what it took at admission is charged.
    pub fn cancel(&mut self, now: Instant, call: Admitted) {
        self.catch_up(now);
        self.ended();
        if let Some(pool) = self.pools.get_mut(&*call.pool) {
            pool.tally.under_way = pool.tally.under_way.saturating_sub(1);
            pool.tally.tokens_used += call.taken.input + call.taken.output;
        }
    }

    /// What an answer about that model would tell of the limits at `now`. `wall`: the time of day then.
    pub fn headers(
        &mut self,
        now: Instant,
        wall: SystemTime,
        model: &str,
    ) -> Vec<(&'static str, String)> {
        self.catch_up(now);
        let name = self.pool_name(model);
        self.pool(&name).gauge(0, now).headers(wall)
    }

    /// What happened up to `now`, by pool.
    pub fn tallies(&mut self, now: Instant) -> BTreeMap<String, Tally> {
        self.catch_up(now);
        let tally = |(name, pool): (&String, &Pool)| (name.clone(), pool.tally.clone());
        self.pools.iter().map(tally).collect()
    }

    /// What happened up to `now`, all together.
    pub fn tally(&mut self, now: Instant) -> Tally {
        self.catch_up(now);
        let mut all = Tally::default();
        for pool in self.pools.values() {
            all.merge(&pool.tally);
        }
        all.most_under_way = self.most_under_way;
        all
    }

    fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// What happens by itself until `now`: changes, and other consumers' calls, each at its time.
    fn catch_up(&mut self, now: Instant) {
        while let Some(change) = self
            .changes
            .pop_if(|change| self.start + change.at.0 <= now)
        {
            let at = self.start + change.at.0;
            for pool in self.pools.values_mut() {
                pool.catch_up(at);
            }
            self.put_in_force(at, change.limits);
        }
        for pool in self.pools.values_mut() {
            pool.catch_up(now);
        }
    }

    fn put_in_force(&mut self, now: Instant, limits: Limits) {
        self.limits = limits.over(&self.limits);
        self.rules = rules(&self.limits);
        let (own, rules) = (&self.limits, &self.rules);
        for (name, pool) in &mut self.pools {
            pool.change(limits_of(rules, own, name), now);
        }
    }

    fn pool_name(&self, model: &str) -> Arc<str> {
        let shared = self.rule(model).and_then(|rule| rule.name.clone());
        let name = shared.unwrap_or_else(|| model.into());
        if self.pools.len() >= MOST_POOLS && !self.pools.contains_key(&*name) {
            OTHERS.into()
        } else {
            name
        }
    }

    fn rule(&self, model: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.models.is_match(model))
    }

    fn pool(&mut self, name: &str) -> &mut Pool {
        if !self.pools.contains_key(name) {
            let limits = limits_of(&self.rules, &self.limits, name);
            let arrivals = Arrivals::new(self.seed, salt(name));
            let pool = Pool::new(limits, self.start, arrivals);
            self.pools.insert(name.to_owned(), pool);
        }
        self.pools
            .get_mut(name)
            .expect("it was put there if it was not")
    }
}

/// The account's limits as a pool has them: how many are under way is the account's matter.
fn alone(limits: &Limits) -> Limits {
    Limits {
        concurrency: None,
        pools: Vec::new(),
        ..limits.clone()
    }
}

/// The limits of the pool of that name, which is a model's or a rule's.
fn limits_of(rules: &[Rule], own: &Limits, name: &str) -> Limits {
    let by_name = |rule: &&Rule| rule.name.as_deref() == Some(name);
    let by_model = |rule: &&Rule| rule.name.is_none() && rule.models.is_match(name);
    let rule = rules
        .iter()
        .find(by_name)
        .or_else(|| rules.iter().find(by_model));
    rule.map_or_else(|| alone(own), |rule| rule.limits.clone())
}

fn rules(limits: &Limits) -> Vec<Rule> {
    let base = alone(limits);
    let rule = |pool: &super::settings::Pool| {
        let mut globs = GlobSetBuilder::new();
        for glob in pool.models.iter().filter_map(|model| Glob::new(model).ok()) {
            globs.add(glob);
        }
        Rule {
            models: globs.build().unwrap_or_default(),
            name: pool.shared.then(|| pool.models.join(" ").into()),
            limits: pool.limits.clone().over(&base),
        }
    };
    limits.pools.iter().map(rule).collect()
}

fn estimated(ask: Ask, limits: &Limits) -> Amounts {
    Amounts {
        input: scaled(ask.input, limits.estimate_factor.unwrap_or(1.0)),
        output: ask.output,
        images: ask.images,
    }
}

fn scaled(tokens: u64, factor: f64) -> u64 {
    // Exact for whole factors; a part of a token is a token.
    (tokens as f64 * factor).ceil() as u64
}

/// FNV-1a: the same pool draws the same calls, whatever other pools there are.
fn salt(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

// === impl Ask ===

impl Ask {
    /// A call for text.
    #[must_use]
    pub fn text(input: u64, output: u64) -> Self {
        Self {
            input,
            output,
            images: 0,
        }
    }
}

// === impl Admitted ===

impl Admitted {
    /// The rate-limit headers of its answer. `wall`: the time of day when it was let in.
    #[must_use]
    pub fn headers(&self, wall: SystemTime) -> Vec<(&'static str, String)> {
        self.gauge.headers(wall)
    }

    /// Tokens charged at admission, by the provider's estimate.
    #[must_use]
    pub fn charged(&self) -> u64 {
        self.taken.input + self.taken.output
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }
}
