//! One limit of a provider, as far as it is known: how much there is, how much is left, and how much of it may go now.
//!
//! Plain data: the time comes in as an argument, and locks are the caller's. What may go is the least of four:
//!
//! | file | what it holds to |
//! | --- | --- |
//! | `pace` | a few seconds' burst, then the rate |
//! | `window` | at most the limit in any window, wherever it begins |
//! | `count` | what the provider says is left |
//! | `foreign` | not ours: what others take with the same account |
//!
//! `window` is left out where replies have proved that the provider's bucket refills steadily, and nobody set a lower number: such a
//! bucket allows more, and its own count is the better word. `guess` stands in for a limit that nobody tells, `span` finds windows that
//! are shorter than a minute.

mod count;
mod foreign;
mod guess;
mod kept;
mod known;
mod learn;
mod pace;
mod span;
mod terms;
mod trial;
mod window;

#[cfg(test)]
mod tests;

use std::{num::NonZeroU64, time::Duration};

use tokio::time::Instant;

pub use self::terms::{Mark, Refusal, Room, Standing};
use self::{
    count::Count,
    foreign::{Foreign, Look},
    guess::Guess,
    known::Facts,
    pace::Pace,
    span::Span,
    trial::{Look as Shutter, Past, Reopened, Trial},
    window::Window,
};
use super::{Kind, Source};
use crate::triage::DayReset;

/// Of a rate that is held to without the provider's count, so much is used: clocks and networks differ.
const SPARE: f64 = 0.98;
/// Our estimate of a request's tokens may be too high: what is larger than the limit by less than this may still fit.
const ESTIMATE: f64 = 0.8;
/// What must have passed in the window before a refusal, or nothing can be concluded from it.
const TELLING: f64 = 5.0;
/// A refusal's text says less than headers that have changed since, or after this time.
const TEXT_HOLDS: Duration = Duration::from_secs(600);
/// Who had to wait so short a time ago waits still, or another does.
const HELD: Duration = Duration::from_secs(2);
/// Calls answered whose replies do not tell a limit that the last run was told: it is not believed any longer.
const SILENT: u32 = 20;
/// Calls of a few tokens each that may always go at once.
const FEW_REQUESTS: f64 = 10.0;
/// So many where the provider keeps one bucket of the whole limit: at a small account that is idle nobody is refused for a burst of ours.
const MANY_REQUESTS: f64 = 60.0;
const FEW_TOKENS: f64 = 50_000.0;
/// How fast the share of reservations that is used is learnt.
const SHARE_LEARNS: f64 = 0.1;
/// A number of calls at once that would let so many times as many pass is another explanation than a rate.
const DOUBTFUL: f64 = 1.3;
/// No provider counts in larger numbers; what tells them is wrong.
const LARGEST: u64 = 1 << 50;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Bucket {
    kind: Kind,
    reset: DayReset,
    window: Duration,
    span: Span,
    set: Option<f64>,
    /// By headers.
    told: Option<f64>,
    /// By a refusal: the limit, what headers said then, and when.
    text: Option<(f64, Option<f64>, Instant)>,
    guess: Option<Guess>,
    trial: Trial,
    remembered: bool,
    /// Calls answered since a reply's head last told it.
    untold: u32,
    pace: Option<Pace>,
    ring: Option<Window>,
    count: Option<Count>,
    foreign: Foreign,
    /// Reserved since the beginning, and by how many calls.
    taken: u64,
    sent: u64,
    /// Used less reserved, of all that was settled.
    corrected: f64,
    reserved: u64,
    /// Of what is reserved, the share that is used in the end; `None`: nothing was settled yet.
    used_share: Option<f64>,
    blocked: Option<Instant>,
    /// When a limit was told for the first time, by a refusal: what was sent before could not know it.
    first_told: Option<Instant>,
    /// When that is over, the provider's window is, and another begins.
    renews: bool,
    renewed: Option<Instant>,
    /// It did not.
    no_end: bool,
    /// Of what was taken, what was refused: in all, and in a window.
    refused: u64,
    /// When a call was last answered well.
    answered: Option<Instant>,
    /// Nothing was answered since a guess proved wrong.
    only_refuses: bool,
    /// Something was answered since the guess was made, or shortly before.
    sure: bool,
    refused_lately: Option<Window>,
    /// When somebody last had to wait.
    wanted: Option<Instant>,
    /// What follows from all that; `None`: something was learnt since.
    facts: Option<Facts>,
    /// Charged when it is produced, so that the provider's count leaves out what is under way.
    produced: bool,
    /// The last shape, good for its instant as long as nothing is learnt.
    shaped: Option<(Instant, pace::Shape)>,
}

// === impl Bucket ===

impl Bucket {
    /// Nothing is known: everything passes.
    pub fn new(kind: Kind, reset: DayReset, now: Instant) -> Self {
        // A window of its own is made when there is a limit; until then what passes is counted for a guess.
        let ring = (!kind.is_long()).then(|| Window::new(kind.window(), now));
        Self {
            kind,
            reset,
            window: kind.window(),
            span: Span::default(),
            set: None,
            told: None,
            text: None,
            guess: None,
            trial: Trial::default(),
            remembered: false,
            untold: 0,
            pace: None,
            ring,
            count: None,
            foreign: Foreign::default(),
            taken: 0,
            sent: 0,
            corrected: 0.0,
            reserved: 0,
            used_share: None,
            blocked: None,
            first_told: None,
            renews: false,
            renewed: None,
            no_end: false,
            refused: 0,
            answered: None,
            only_refuses: false,
            sure: true,
            refused_lately: None,
            wanted: None,
            facts: None,
            produced: false,
            shaped: None,
        }
    }

    /// The provider charges it when it is produced, and not when a call is let in.
    pub fn charged_as_produced(mut self, produced: bool) -> Self {
        self.produced = produced;
        self
    }

    /// Never more than this, whatever is learnt; `None`: as learnt.
    pub fn set(&mut self, most: Option<NonZeroU64>) {
        self.set = most.map(|most| most.get() as f64);
        self.stale();
    }

    /// The capacity of a window, if it is known.
    pub fn limit(&self) -> Option<u64> {
        self.peek().most.map(|limit| limit as u64)
    }

    /// Whether `amount` may be taken.
    pub fn ask(&mut self, amount: u64, standing: Standing, now: Instant) -> Room {
        let facts = self.facts();
        let Some(limit) = facts.most else {
            return self.blocked_for(now).map_or(Room::Now, Room::In);
        };
        let amount = match self.fitting(amount, limit, facts.source) {
            Some(amount) => amount,
            None => return Room::Never(limit as u64),
        };
        if let Some(wait) = self.shut(now) {
            self.wanted = Some(now);
            return if wait.is_zero() {
                Room::Now
            } else {
                Room::In(wait)
            };
        }
        let wait = self.wait(amount, limit, standing, now);
        if wait.is_zero() {
            return Room::Now;
        }
        let told =
            facts.source == Source::Headers && !self.kind.is_long() && self.blocked.is_none();
        if told && !facts.refills && self.span.may_try(self.window, now) {
            self.span.tries();
            return Room::Now;
        }
        self.wanted = Some(now);
        Room::In(wait)
    }

    /// Takes it, whatever [`ask`](Self::ask) says.
    pub fn take(&mut self, amount: u64, now: Instant) -> Mark {
        let ring = self.ring.as_mut();
        let (before, leaving) = ring.map_or((0, 0), |ring| (ring.sum(now), ring.leaving()));
        let amount = amount.min(LARGEST);
        self.taken = self.taken.saturating_add(amount);
        self.sent = self.sent.saturating_add(1);
        self.reserved = self.reserved.saturating_add(amount);
        self.trial.goes(self.taken, now);
        let surcharge = self.facts().surcharge;
        if let Some(shape) = self.shape(now) {
            let pace = self.pace.get_or_insert_with(|| Pace::new(shape, now));
            pace.take(amount as f64 * (1.0 + surcharge), shape, now);
        }
        if let Some(ring) = &mut self.ring {
            ring.take(amount, now);
        }
        if let Some(count) = &mut self.count {
            count.take(amount as f64);
        }
        Mark {
            at: now,
            amount,
            after: self.taken,
            before,
            leaving,
            corrected: self.corrected,
            under_way: self.reserved,
        }
    }

    /// The call was answered well: its burst was none too many.
    pub fn answered(&mut self, mark: Mark, now: Instant) {
        (self.answered, self.only_refuses) = (Some(now), false);
        if !self.sure {
            self.sure = true;
            self.stale();
        }
        self.untold = self.untold.saturating_add(1);
        if self.remembered && self.untold >= SILENT {
            self.doubt(now);
        }
        let wanted = self.wanted.is_some_and(|wanted| wanted >= mark.at);
        if let Shutter::Reopened(reopened) = self.trial.answered(mark.after) {
            self.reopened(reopened, now);
        }
        let passed = (self.passed(), self.window.as_secs_f64());
        if let Some(guess) = &mut self.guess
            && self.told.is_none()
        {
            guess.answered(mark.at, wanted, passed, now);
            self.stale();
        }
        if let Some(shape) = self.shape(now)
            && let Some(pace) = &mut self.pace
        {
            pace.answered(mark.at, shape, now);
        }
    }

    /// A call was answered, and it is in doubt whether others were refused for their rate, or for their number, which would let `turns`
    /// of them go each second. Where that is much more, it is soon found out.
    pub(in crate::limits) fn doubted(&mut self, mark: Mark, turns: f64, now: Instant) {
        let wanted = self.wanted.is_some_and(|wanted| wanted >= mark.at);
        let passed = (self.passed(), self.window.as_secs_f64());
        let each = self.taken as f64 / self.sent.max(1) as f64;
        if self.told.is_none()
            && let Some(guess) = &mut self.guess
            && turns * each * passed.1 > guess.limit() * DOUBTFUL
        {
            guess.doubted(mark.at, wanted, passed, now);
            self.stale();
        }
    }

    /// The call is over and took `actual`; less or more than it had reserved. 0: the provider has not counted it.
    pub fn settle(&mut self, mark: Mark, actual: u64, now: Instant) {
        let actual = actual.min(LARGEST);
        self.reserved = self.reserved.saturating_sub(mark.amount);
        self.trial.over(mark.after);
        self.corrected += actual as f64 - mark.amount as f64;
        // Whether a log takes back what was not used it tells itself.
        let kept = actual > 0 && self.log(now).is_some();
        let least = if kept { mark.amount } else { 0 };
        if mark.amount > 0 {
            let share = (actual as f64 / mark.amount as f64).min(1.0);
            let before = self.used_share.unwrap_or(share);
            self.used_share = Some(before + SHARE_LEARNS * (share - before));
        }
        if let Some(ring) = &mut self.ring {
            ring.correct(mark.at, mark.amount, actual.max(least), now);
        }
        let surcharge = self.peek().surcharge;
        let counted = self.count.as_ref().is_some_and(Count::is_by_headers);
        if let Some(count) = &mut self.count {
            if !counted || self.produced {
                count.give_back(mark.amount as f64 - actual as f64);
            } else if actual == 0 && !count.has_heard(mark) {
                count.give_back(mark.amount as f64);
            } else if actual > mark.amount && surcharge > 0.0 {
                count.take((actual - mark.amount) as f64);
            }
        }
        let Some(pace) = &mut self.pace else { return };
        if actual < mark.amount {
            pace.give_back((mark.amount - actual) as f64);
        } else if (!counted || self.produced)
            && let Some(shape) = self.shape(now)
        {
            // Where the provider tells what is left, its word says what it charged.
            let more = (actual - mark.amount) as f64;
            if let Some(pace) = &mut self.pace {
                pace.take(more, shape, now);
            }
        }
    }

    /// Of what is reserved, so much is used in the end, as far as is known: 0 to 1.
    pub fn used_share(&self) -> f64 {
        // A request is one in the end as well; of tokens nothing is known before the first call is over.
        let unknown = if self.kind.counts_tokens() { 0.0 } else { 1.0 };
        self.used_share.unwrap_or(unknown)
    }

    /// As it will be when calls under way have given back what they usually do and were answered, whose bursts grow by that; `None`:
    /// not otherwise than now.
    pub fn given_back(&self, now: Instant) -> Option<Self> {
        let back = self.reserved as f64 * (1.0 - self.used_share());
        let grows = self.pace.as_ref().is_some_and(|pace| pace.grows(now));
        if back < 1.0 && !grows {
            return None;
        }
        let mut bucket = self.clone();
        if grows
            && let Some(shape) = bucket
                .shape(now)
                .filter(|shape| shape.many.is_some() || shape.earned.is_some())
            && let Some(pace) = &mut bucket.pace
        {
            pace.hope(shape);
        }
        if let Some(pace) = &mut bucket.pace {
            pace.give_back(back);
        }
        if let Some(ring) = &mut bucket.ring {
            ring.forgive(back as u64);
        }
        // Where the provider tells what is left, its word says what comes back.
        if let Some(count) = &mut bucket.count
            && !count.is_by_headers()
        {
            count.give_back(back);
        }
        Some(bucket)
    }

    /// Reserved and not settled.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    fn wait(&mut self, amount: f64, limit: f64, standing: Standing, now: Instant) -> Duration {
        let mut wait = self.blocked_for(now).unwrap_or_default();
        if self.renews {
            return wait;
        }
        let facts = self.facts();
        let surcharge = facts.surcharge;
        if let Some(shape) = self.shape(now) {
            let pace = self.pace.get_or_insert_with(|| Pace::new(shape, now));
            let whole = amount * (1.0 + surcharge);
            wait = wait.max(pace.wait(whole, standing.floor(), shape, now));
        }
        // Of a day nothing is left over: what is not used on it is lost, or comes back one at a time.
        let strangers = if self.kind.is_long() { 0.0 } else { 0.01 };
        let floor = (limit * (strangers + standing.spare())).floor();
        let log = self.log(now);
        let most = match log {
            Some((limit, others)) => Some(limit - others - floor),
            None => facts
                .ours
                .filter(|_| facts.strict && !facts.felt)
                .map(|ours| ours * (1.0 - standing.spare())),
        };
        if let (Some(most), Some(ring)) = (most, &mut self.ring) {
            wait = wait.max(ring.wait(amount as u64, most.max(amount) as u64, now));
        }
        if let (None, Some(law), Some(count)) = (log, facts.law, &mut self.count) {
            let others = self.foreign.rate() * 0.5;
            // Calls under way are going to take more than they have reserved, too.
            let coming = (self.reserved as f64 + amount) * surcharge;
            wait = wait.max(count.wait(amount, floor + others + coming, law, now));
        }
        wait
    }

    /// Where the provider keeps a log and no lower number is set: its limit, and what is in the log beyond what we reserved. That is
    /// less than nothing where it takes back what was not used.
    fn log(&self, now: Instant) -> Option<(f64, f64)> {
        let (facts, count) = (self.peek(), self.count.as_ref()?);
        let law = facts.law?;
        let log = !self.kind.is_long() && count.slides(law);
        (log && !facts.set).then(|| (law.limit, count.others(law, now)))
    }

    fn blocked_for(&mut self, now: Instant) -> Option<Duration> {
        let left = self.blocked?.saturating_duration_since(now);
        if left.is_zero() {
            self.blocked = None;
            if std::mem::take(&mut self.renews) {
                self.renew(now);
            }
            return None;
        }
        Some(left)
    }
}
