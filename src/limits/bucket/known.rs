//! What a bucket knows of its limit, and what follows from that.

use tokio::time::Instant;

use super::{
    Bucket, Count, ESTIMATE, FEW_REQUESTS, FEW_TOKENS, Guess, HELD, MANY_REQUESTS, Pace, SPARE,
    count::Law, pace::Shape,
};
use crate::{limits::Source, triage::DayReset};

/// Above this share of a limit, what is left is no sign of strangers.
const PLENTY: f64 = 0.6;

/// Of what is ours, so much may go at once. The rest follows at the rate, within half a minute: strangers that nobody has seen yet find
/// room in it, and of tokens estimates that were too low.
const EARNED_REQUESTS: f64 = 0.8;
const EARNED_TOKENS: f64 = 0.6;

/// What follows from what is known of a limit. Worked out when something is learnt, and not for each call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) source: Source,
    /// The lower of what is set and what is learnt.
    pub(super) most: Option<f64>,
    /// The provider's law; none where only a number of ours is known.
    pub(super) law: Option<Law>,
    /// What is ours of the limit.
    pub(super) ours: Option<f64>,
    /// That is a number of the configuration's.
    pub(super) set: bool,
    /// Replies have proved that the provider's bucket refills.
    pub(super) refills: bool,
    /// Any window is held to the limit: not where the provider has shown a law that allows more.
    pub(super) strict: bool,
    /// No number of it was ever told.
    pub(super) felt: bool,
    /// The provider tells what is left, and replies have proved by which law it comes back: larger bursts may be earned.
    pub(super) earns: bool,
    /// What the provider charges beyond the reserved: its share of that.
    pub(super) surcharge: f64,
    /// The pace without a look at what is left; `None`: it has none. Where any window is held to the limit a little is spared.
    pub(super) even: Option<Shape>,
}

// === impl Facts ===

impl Facts {
    fn of(bucket: &Bucket) -> Self {
        let (learnt, limit_set) = (bucket.learnt(), bucket.set);
        let window = bucket.window.as_secs_f64().max(1e-3);
        let law = learnt.map(|(limit, _)| Law {
            limit,
            rate: limit / window,
            fixed: bucket.kind.is_long() && bucket.reset != DayReset::Refill,
        });
        let share = law.and_then(|law| bucket.foreign.share(law.rate, law.limit));
        let free = share.map_or(1.0, |share| (1.0 - share).max(0.05));
        let learnt_limit = learnt.map(|(limit, _)| limit);
        let is_set = |learnt: Option<f64>| {
            limit_set.is_some_and(|set| learnt.is_none_or(|learnt| set < learnt))
        };
        let least = |learnt: Option<f64>| match (limit_set, learnt) {
            (Some(set), Some(learnt)) => Some(set.min(learnt)),
            (set, learnt) => set.or(learnt),
        };
        let ours = learnt_limit.map(|limit| limit * free);
        let refills = bucket.refills();
        let (ours, set) = (least(ours), is_set(ours));
        let strict = !bucket.kind.is_long() && (set || !refills);
        let (tokens, felt) = (bucket.kind.counts_tokens(), bucket.is_felt());
        let even = ours.filter(|_| !bucket.kind.is_long()).map(|ours| Shape {
            // A guess is less than what was measured already.
            rate: ours / window * if strict && !felt { SPARE } else { 1.0 },
            limit: ours,
            few: if tokens { FEW_TOKENS } else { FEW_REQUESTS },
            many: None,
            earned: None,
            rested: false,
        });
        let told = bucket.told.is_some() && !bucket.remembered;
        // What tells no longer time than that may count over seconds, and not have said so.
        let whole = refills || bucket.span.is_of(bucket.window);
        let proved = |law| {
            bucket
                .count
                .as_ref()
                .is_some_and(|count| count.is_proved(law))
        };
        Self {
            source: match learnt {
                None => Source::Set,
                Some(_) if is_set(learnt_limit) => Source::Set,
                Some(_) if bucket.remembered => Source::Remembered,
                Some((_, source)) => source,
            },
            most: least(learnt_limit),
            law,
            ours,
            set,
            refills,
            strict,
            felt,
            earns: told && !set && whole && law.is_some_and(proved),
            surcharge: bucket.foreign.surcharge(),
            even,
        }
    }
}

// === impl Bucket ===

impl Bucket {
    /// What is known now.
    #[inline]
    pub(super) fn facts(&mut self) -> Facts {
        match self.facts {
            Some(facts) => {
                debug_assert_eq!(facts, Facts::of(self), "something was learnt, and not said");
                facts
            }
            None => *self.facts.insert(Facts::of(self)),
        }
    }

    /// The same, not kept.
    #[inline]
    pub(super) fn peek(&self) -> Facts {
        self.facts.unwrap_or_else(|| Facts::of(self))
    }

    /// Something was learnt: what was worked out does not hold any more.
    pub(super) fn stale(&mut self) {
        (self.facts, self.shaped) = (None, None);
    }

    pub(super) fn law(&self) -> Option<Law> {
        self.peek().law
    }

    pub(super) fn refills(&self) -> bool {
        self.count.as_ref().is_some_and(Count::refills)
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> Source {
        self.peek().source
    }

    /// A limit is known.
    pub fn is_limited(&self) -> bool {
        self.set.is_some() || self.told.is_some() || self.text.is_some() || self.guess.is_some()
    }

    /// What was learnt, and from whom.
    pub(super) fn learnt(&self) -> Option<(f64, Source)> {
        match (self.told, self.text, &self.guess) {
            (Some(told), Some((text, then, _)), _) if text < told && then == Some(told) => {
                Some((text, Source::Refusal))
            }
            (Some(told), _, _) => Some((told, Source::Headers)),
            (None, Some((text, ..)), Some(guess)) if self.guessed(guess) <= text => {
                Some((text, Source::Refusal))
            }
            (None, _, Some(guess)) => Some((self.guessed(guess), Source::Tried)),
            (None, Some((text, ..)), None) => Some((text, Source::Refusal)),
            (None, None, None) => None,
        }
    }

    /// What a guess is good for: of who has answered nothing yet nobody knows whether it is about a rate at all, so that it may not
    /// hold back for long.
    fn guessed(&self, guess: &Guess) -> f64 {
        let usual = match self.kind.counts_tokens() {
            true => FEW_TOKENS,
            false => FEW_REQUESTS,
        };
        let least = if self.sure {
            0.0
        } else {
            usual * self.window.as_secs_f64()
        };
        guess.limit().max(least)
    }

    /// Found by trying, or of the last run: it may be another one.
    pub fn is_guessed(&self) -> bool {
        matches!(self.peek().source, Source::Tried | Source::Remembered)
    }

    /// The number is the configuration's: nothing else is known of it.
    pub fn is_set(&self) -> bool {
        self.peek().set
    }

    /// What the limit makes of the pace; `None`: it has none.
    pub(super) fn shape(&mut self, now: Instant) -> Option<Shape> {
        let facts = self.facts();
        if facts.strict || facts.felt || facts.law.is_none() {
            return facts.even.map(|even| self.earning(even, &facts, now));
        }
        // Asked for several times at one instant, worked out once.
        if let Some((at, shape)) = self.shaped
            && at == now
        {
            return Some(shape);
        }
        let shape = self.by_count(&facts, now)?;
        self.shaped = Some((now, shape));
        Some(shape)
    }

    /// The provider's count is known: all is used while there is plenty, and less than all when it runs out.
    fn by_count(&mut self, facts: &Facts, now: Instant) -> Option<Shape> {
        let (law, even) = (facts.law?, facts.even?);
        let mut whole = even.rate;
        let count = self.count.as_mut();
        let left = count.map_or(0.0, |count| count.level(law, now)) / law.limit.max(1.0);
        // What is left there is there for us too: nobody takes as much any more as we thought. Refused in spite of that, there is
        // a shorter window that it says nothing of.
        let surprised = self.pace.as_ref();
        let surprised = surprised.is_some_and(|pace| pace.learnt().is_some());
        if self.set.is_none() && !surprised {
            whole += (law.rate - whole).max(0.0) * ((left - PLENTY) / (1.0 - PLENTY)).max(0.0);
        }
        let share = (0.9 + 0.5 * left).clamp(0.9, 1.0);
        // Not of a number that is set: what is held to any minute stands still after a burst.
        let many = !(self.kind.counts_tokens() || surprised);
        let shape = Shape {
            rate: whole * share,
            many: many.then_some(MANY_REQUESTS),
            ..even
        };
        Some(self.earning(shape, facts, now))
    }

    /// With what may be earned: most of what is ours, as `count` and `window` hold to what is left of it.
    fn earning(&self, shape: Shape, facts: &Facts, now: Instant) -> Shape {
        let surprised = |pace: &Pace| pace.learnt().is_some();
        if !facts.earns || self.pace.as_ref().is_some_and(surprised) {
            return shape;
        }
        let held = |wanted| now.saturating_duration_since(wanted) < HELD;
        let most = match self.kind.counts_tokens() {
            true => EARNED_TOKENS,
            false => EARNED_REQUESTS,
        };
        Shape {
            earned: facts.ours.map(|ours| ours * most),
            rested: !self.wanted.is_some_and(held),
            ..shape
        }
    }

    /// The limit, where a call never fits into it: of its `amount` so much is `certain`, and the rest is our estimate, which may be too
    /// high.
    pub fn never(&self, amount: u64, certain: u64) -> Option<u64> {
        let facts = self.peek();
        let limit = facts.most.filter(|limit| amount as f64 > *limit)?;
        let certain = certain.min(amount) as f64;
        let least = certain + (amount as f64 - certain) * ESTIMATE;
        let known = !matches!(facts.source, Source::Tried | Source::Remembered);
        (known && least > limit).then_some(limit as u64)
    }

    /// The amount that is waited for, or none when it never fits.
    pub(super) fn fitting(&self, amount: u64, limit: f64, source: Source) -> Option<f64> {
        let amount = amount as f64;
        if amount <= limit {
            return Some(amount);
        }
        let certain = match source {
            Source::Set | Source::Headers | Source::Refusal => true,
            Source::Tried | Source::Remembered => false,
        };
        let learnt = source != Source::Set;
        let estimated = learnt && self.kind.counts_tokens() && amount * ESTIMATE <= limit;
        (!certain || estimated).then_some(limit)
    }
}
