//! What a bucket knows of its limit, and what follows from that.

use tokio::time::Instant;

use super::{
    Bucket, Count, ESTIMATE, FEW_REQUESTS, FEW_TOKENS, Guess, SPARE, count::Law, pace::Shape,
};
use crate::{limits::Source, triage::DayReset};

/// Above this share of a limit, what is left is no sign of strangers.
const PLENTY: f64 = 0.6;

impl Bucket {
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

    pub(super) fn source(&self) -> Source {
        match (self.learnt(), self.set) {
            (None, _) => Source::Set,
            (Some((learnt, _)), Some(set)) if set < learnt => Source::Set,
            _ if self.remembered => Source::Remembered,
            (Some((_, source)), _) => source,
        }
    }

    /// The lower of what is set and what is learnt.
    pub(super) fn most(&self) -> Option<f64> {
        let learnt = self.learnt().map(|(limit, _)| limit);
        match (self.set, learnt) {
            (Some(set), Some(learnt)) => Some(set.min(learnt)),
            (set, learnt) => set.or(learnt),
        }
    }

    /// The provider's law; none where only a number of ours is known.
    pub(super) fn law(&self) -> Option<Law> {
        let (limit, _) = self.learnt()?;
        Some(Law {
            limit,
            rate: limit / self.window.as_secs_f64().max(1e-3),
            fixed: self.kind.is_long() && self.reset != DayReset::Refill,
        })
    }

    /// What is ours of the limit, and what of it is set by us.
    pub(super) fn ours(&self) -> Option<(f64, bool)> {
        let free = self
            .foreign_share()
            .map_or(1.0, |share| (1.0 - share).max(0.05));
        let learnt = self.learnt().map(|(limit, _)| limit * free);
        match (self.set, learnt) {
            (Some(set), Some(learnt)) => Some((set.min(learnt), set < learnt)),
            (Some(set), None) => Some((set, true)),
            (None, learnt) => learnt.map(|learnt| (learnt, false)),
        }
    }

    pub(super) fn refills(&self) -> bool {
        self.count.as_ref().is_some_and(Count::refills)
    }

    /// Whether any window is held to the limit: not where the provider has shown a law that allows more.
    pub(super) fn strict(&self) -> bool {
        let set = self.ours().is_some_and(|(_, set)| set);
        !self.kind.is_long() && (set || !self.refills())
    }

    /// Asked for several times at one instant, worked out once.
    pub(super) fn shape(&mut self, now: Instant) -> Option<Shape> {
        if let Some((at, shape)) = self.shaped
            && at == now
        {
            return shape;
        }
        let shape = self.shape_at(now);
        self.shaped = Some((now, shape));
        shape
    }

    fn shape_at(&mut self, now: Instant) -> Option<Shape> {
        if self.kind.is_long() {
            return None;
        }
        let (ours, _) = self.ours()?;
        let mut whole = ours / self.window.as_secs_f64().max(1e-3);
        let share = if self.is_felt() {
            // A guess is less than what was measured already.
            1.0
        } else if self.strict() {
            SPARE
        } else {
            // The provider's count is known: all is used while there is plenty, and less than all when it runs out.
            let law = self.law()?;
            let left = self
                .count
                .as_mut()
                .map_or(0.0, |count| count.level(law, now))
                / law.limit.max(1.0);
            // What is left there is there for us too: nobody takes as much any more as we thought. Refused in spite of that, there is
            // a shorter window that it says nothing of.
            let surprised = self
                .pace
                .as_ref()
                .is_some_and(|pace| pace.learnt().is_some());
            if self.set.is_none() && !surprised {
                whole += (law.rate - whole).max(0.0) * ((left - PLENTY) / (1.0 - PLENTY)).max(0.0);
            }
            (0.9 + 0.5 * left).clamp(0.9, 1.0)
        };
        Some(Shape {
            rate: whole * share,
            limit: ours,
            few: if self.kind.counts_tokens() {
                FEW_TOKENS
            } else {
                FEW_REQUESTS
            },
        })
    }

    /// The amount that is waited for, or none when it never fits.
    pub(super) fn fitting(&self, amount: u64, limit: f64) -> Option<f64> {
        let amount = amount as f64;
        if amount <= limit {
            return Some(amount);
        }
        let certain = match self.source() {
            Source::Set | Source::Headers | Source::Refusal => true,
            Source::Tried | Source::Remembered => false,
        };
        let learnt = self.source() != Source::Set;
        let estimated = learnt && self.kind.counts_tokens() && amount * ESTIMATE <= limit;
        (!certain || estimated).then_some(limit)
    }
}
