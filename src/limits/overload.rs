//! Whether a provider's overload is of our making.
//!
//! A provider that has more to do than it can refuses a few of everybody's calls, however many are ours. To send fewer helps
//! nobody then: each refusal would take a third off what goes at once, faster than answers give it back, and calls would wait for
//! places that stand empty. So a refusal counts against the number of calls only where as many were not answered lately, or where a good
//! part of all calls is refused. Plain data; the time comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How long outcomes count: twice this at most.
const RECENT: Duration = Duration::from_secs(10);
/// Refusals of no more than one call in so many are others' doing.
const FEW: u32 = 10;

/// Outcomes of this time and the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overloads {
    began: Option<Instant>,
    spans: [Span; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    answered: u32,
    refused: u32,
    /// The most with which a call was answered.
    most: u32,
}

// === impl Overloads ===

impl Overloads {
    /// A call was answered that was sent as one of `among`.
    pub(super) fn answered(&mut self, among: u32, now: Instant) {
        let span = self.turn(now);
        span.answered = span.answered.saturating_add(1);
        span.most = span.most.max(among);
    }

    /// A call was refused that was sent as one of `among`. Whether the number of our calls has nothing to do with it.
    pub(super) fn refused(&mut self, among: u32, now: Instant) -> bool {
        let span = self.turn(now);
        span.refused = span.refused.saturating_add(1);
        let [this, last] = self.spans;
        let refused = this.refused.saturating_add(last.refused);
        let all = this
            .answered
            .saturating_add(last.answered)
            .saturating_add(refused);
        let few = refused.saturating_mul(FEW) <= all;
        few && among <= this.most.max(last.most)
    }

    fn turn(&mut self, now: Instant) -> &mut Span {
        let began = *self.began.get_or_insert(now);
        if now >= began + RECENT {
            let gone = now >= began + RECENT * 2;
            let last = if gone { Span::default() } else { self.spans[0] };
            self.spans = [Span::default(), last];
            self.began = Some(now);
        }
        &mut self.spans[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a hundred calls with 40 at once, those that were refused for our doing when every `nth` is refused.
    fn ours(nth: u32) -> usize {
        let (mut seen, now) = (Overloads::default(), Instant::now());
        for _ in 0..40 {
            seen.answered(40, now);
        }
        let refused = (1..=100).filter(|n| match n % nth {
            0 => !seen.refused(40, now),
            _ => {
                seen.answered(40, now);
                false
            }
        });
        refused.count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_refusals_of_as_many_as_are_answered_are_not_for_their_number() {
        assert_eq!(ours(20), 0);
        assert!(ours(2) > 30, "half of all is an overload to mind");
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_were_answered_lately_may_be_too_many() {
        let (mut seen, now) = (Overloads::default(), Instant::now());
        for _ in 0..100 {
            seen.answered(20, now);
        }
        assert!(!seen.refused(21, now));
        assert!(seen.refused(20, now));
        let later = now + RECENT * 2;
        assert!(!seen.refused(20, later), "that is long ago");
    }
}
