//! The limits that one model, or several together, have in common.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    bucket::Refused,
    counter::Windowed,
    foreign::Arrivals,
    headers::{Gauge, Shown},
    settings::{Charge, HeaderStyle, LimitKind, Limits},
    tally::{Peak, Tally},
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// How old what `stale` headers tell may be.
const STALE: Duration = Duration::from_secs(30);

/// What a call takes of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) images: u64,
}

/// Which limit refused, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    pub(crate) kind: LimitKind,
    pub(crate) limit: u32,
    pub(crate) requested: u64,
    pub(crate) how: Refused,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) limits: Limits,
    start: Instant,
    counters: Vec<(LimitKind, Windowed)>,
    foreign: Arrivals,
    /// What `stale` headers tell, and since when.
    told: Option<(Instant, Gauge)>,
    pub(crate) tally: Tally,
    requests: Peak,
    tokens: Peak,
}

// === impl Pool ===

impl Pool {
    /// `start`: of the whole meter, from which times are counted.
    pub(crate) fn new(limits: Limits, start: Instant, foreign: Arrivals) -> Self {
        let mut pool = Self {
            limits,
            start,
            counters: Vec::new(),
            foreign,
            told: None,
            tally: Tally::default(),
            requests: Peak::default(),
            tokens: Peak::default(),
        };
        pool.counters = LimitKind::RATES
            .into_iter()
            .filter_map(|kind| Some((kind, pool.counter(kind, pool.limits.of(kind)?, start))))
            .collect();
        pool
    }

    fn counter(&self, kind: LimitKind, limit: u32, now: Instant) -> Windowed {
        let algorithm = self.limits.algorithm.unwrap_or_default();
        match (kind.is_per_day(), self.limits.day_resets_in) {
            (true, Some(first)) => {
                Windowed::resets(limit, DAY, self.until_day_reset(first.0, now), now)
            }
            (true, None) => Windowed::new(Default::default(), limit, DAY, None, now),
            (false, _) => {
                let shorter = self
                    .limits
                    .window_ms
                    .map(|ms| Duration::from_millis(ms.max(1)));
                Windowed::new(algorithm, limit, MINUTE, shorter, now)
            }
        }
    }

    fn until_day_reset(&self, first: Duration, now: Instant) -> Duration {
        let mut reset = self.start + first;
        while reset <= now {
            reset += DAY;
        }
        reset.duration_since(now)
    }

    /// Other limits; what is used of the present ones stays used where the way of counting stays.
    pub(crate) fn change(&mut self, limits: Limits, now: Instant) {
        let recounted = limits.algorithm != self.limits.algorithm
            || limits.window_ms != self.limits.window_ms
            || limits.day_resets_in != self.limits.day_resets_in;
        self.limits = limits;
        let mut old = std::mem::take(&mut self.counters);
        for kind in LimitKind::RATES {
            let Some(limit) = self.limits.of(kind) else {
                continue;
            };
            let kept = old.iter().position(|(held, _)| *held == kind);
            let counter = match kept.map(|at| old.swap_remove(at).1) {
                Some(mut counter) if !recounted => {
                    counter.resize(limit, now);
                    counter
                }
                Some(mut counter) => {
                    let used = u64::from(counter.limit) - counter.remaining(now);
                    let mut renewed = self.counter(kind, limit, now);
                    renewed.take(used as f64, now);
                    renewed
                }
                None => self.counter(kind, limit, now),
            };
            self.counters.push((kind, counter));
        }
    }

    /// Lets other consumers call, up to `now`.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        if self.limits.foreign.is_none() {
            return;
        }
        while let Some(arrival) = self.foreign.next(&self.limits, self.start, now) {
            let amounts = Amounts {
                input: arrival.input,
                output: arrival.output,
                images: 0,
            };
            if self.full(amounts, arrival.at).is_some() {
                self.tally.foreign_refused += 1;
                continue;
            }
            self.tally.foreign_admitted += 1;
            let charged = self.take(amounts, arrival.at);
            self.tally.foreign_tokens += charged;
            // Their answers are short: what is charged when produced is charged at once.
            if self.charge() == Charge::Produced {
                self.tally.foreign_tokens += amounts.output;
                self.correct(arrival.at, amounts, amounts, arrival.at);
            }
        }
    }

    /// The limit that keeps the call away longest, if one does.
    pub(crate) fn full(&mut self, amounts: Amounts, now: Instant) -> Option<Full> {
        let charge = self.charge();
        let mut worst: Option<Full> = None;
        for (kind, counter) in &mut self.counters {
            let taken = ahead(*kind, amounts, charge);
            // What is not charged ahead still needs some room.
            let unpaid = charge == Charge::Produced && *kind == LimitKind::OutputTokens;
            let asked = if unpaid { 1 } else { taken };
            let Err(how) = counter.check(asked as f64, now) else {
                continue;
            };
            let how = worst.map_or(how, |worst| worst.how.worse(how));
            if worst.is_none_or(|worst| worst.how != how) {
                worst = Some(Full {
                    kind: *kind,
                    limit: counter.limit,
                    requested: asked,
                    how,
                });
            }
        }
        worst
    }

    /// Takes it from every limit; the tokens charged.
    pub(crate) fn take(&mut self, amounts: Amounts, now: Instant) -> u64 {
        let charge = self.charge();
        for (kind, counter) in &mut self.counters {
            counter.take(ahead(*kind, amounts, charge) as f64, now);
        }
        let tokens = ahead(LimitKind::Tokens, amounts, charge);
        self.requests.add(1, now);
        self.tokens.add(tokens, now);
        self.tally.peak_requests = self.requests.most;
        self.tally.peak_tokens = self.tokens.most;
        tokens
    }

    /// The call that took `taken` at `at` used `actual`.
    pub(crate) fn correct(&mut self, at: Instant, taken: Amounts, actual: Amounts, now: Instant) {
        let charge = self.charge();
        if charge == Charge::Admission {
            return;
        }
        for (kind, counter) in &mut self.counters {
            let ahead = ahead(*kind, taken, charge);
            let actual = total(*kind, actual);
            counter.correct(at, ahead as f64, actual as f64, now);
        }
    }

    pub(crate) fn charge(&self) -> Charge {
        self.limits.charge.unwrap_or_default()
    }

    /// What the headers tell, `cost` tokens having just been taken.
    pub(crate) fn gauge(&mut self, cost: u64, now: Instant) -> Gauge {
        let style = self.limits.headers.unwrap_or_default();
        if let (HeaderStyle::Stale, Some((at, gauge))) = (style, &self.told)
            && now.saturating_duration_since(*at) < STALE
        {
            return gauge.clone();
        }
        let shown = |(kind, counter): &mut (LimitKind, Windowed)| Shown {
            kind: *kind,
            limit: counter.limit,
            remaining: counter.remaining(now),
            reset: counter.reset(now),
        };
        let gauge = Gauge::new(
            style,
            self.counters.iter_mut().map(shown).collect(),
            cost,
            self.limits.window_ms,
        );
        if style == HeaderStyle::Stale {
            self.told = Some((now, gauge.clone()));
        }
        gauge
    }
}

/// What a call takes of that kind when all is said.
fn total(kind: LimitKind, amounts: Amounts) -> u64 {
    match kind {
        LimitKind::Tokens | LimitKind::TokensPerDay => amounts.input + amounts.output,
        LimitKind::InputTokens => amounts.input,
        LimitKind::OutputTokens => amounts.output,
        LimitKind::Images => amounts.images,
        LimitKind::Requests | LimitKind::RequestsPerDay | LimitKind::Concurrency => 1,
    }
}

/// What of it is taken at admission.
fn ahead(kind: LimitKind, amounts: Amounts, charge: Charge) -> u64 {
    let output = if charge == Charge::Produced {
        0
    } else {
        amounts.output
    };
    total(kind, Amounts { output, ..amounts })
}
