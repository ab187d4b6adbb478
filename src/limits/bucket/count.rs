//! The provider's own count, as far as replies tell it: what is left there, and by which law it comes back.
//!
//! A reply's `remaining` is what was left when its call was admitted there, which is about when it was sent. Since then the provider
//! has refilled, and we have taken more; both are known here, so a figure that is seconds old says what is left now.
//!
//! Three laws are told apart by `reset`: the time to refill what is used (a bucket), the time to an end that stays where it is (a fixed
//! window), or one that recedes with every call (a log of the last minute: what was taken comes back when it is a minute old).

use std::time::Duration;

use tokio::time::Instant;

use super::Mark;
use crate::limits::heard::Reading;

/// Replies in a row that must agree on the law.
const PROOF: i16 = 3;
const MOST_PROOF: i16 = 8;
const CLEAR: u8 = 2;
/// In the middle of a fixed window a reply looks as if it refilled: what was learnt in a whole window outweighs that.
const LEAST_PROOF: i16 = -120;
/// Ends of windows that lie no further apart are the same one's.
const SAME_END: Duration = Duration::from_secs(2);
/// Of what a reply says is less than was thought, so much is believed.
const BELIEF: f64 = 0.05;
/// Replies that come closer together are one.
const APART: Duration = Duration::from_millis(200);

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Count {
    /// What is left at `at`, our reservations since taken off. Negative: we have reserved more than there was.
    level: f64,
    at: Instant,
    /// The latest call whose reply was heard, by the time it was sent.
    heard: Instant,
    /// Above zero: `reset` is the time to refill what is used; below: the end of a fixed window.
    proof: i16,
    /// Replies that told the time to refill, where that is shorter than to leave a log.
    clear: u8,
    proved: Option<Instant>,
    /// Headers tell it, and not only refusals.
    by_headers: bool,
    /// In a fixed window: when all comes back.
    resets: Option<Instant>,
    /// Where that is not told: it is over by then.
    latest: Option<Instant>,
    /// The first end that was told, while it is not over.
    end: Option<Instant>,
    /// That end has receded.
    slides: bool,
    /// Taken within the window beyond what we reserved, as of `heard`.
    others: f64,
}

/// The provider's own figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Law {
    pub(super) limit: f64,
    /// Per second, in a bucket that refills.
    pub(super) rate: f64,
    /// It comes back at one point in time, whatever the replies say.
    pub(super) fixed: bool,
}

// === impl Law ===

impl Law {
    fn window(&self) -> Duration {
        Duration::from_secs_f64((self.limit / self.rate.max(1e-9)).clamp(1.0, 1e8))
    }
}

// === impl Count ===

impl Count {
    /// `remaining`, as the reply to the call of `mark` told it. `taken`: our reservations since the beginning.
    pub(super) fn new(
        law: Law,
        mark: Mark,
        reading: &Reading,
        taken: u64,
        now: Instant,
    ) -> Option<Self> {
        let remaining = reading.remaining?;
        let mut count = Self {
            by_headers: true,
            ..Self::restored(law.limit, mark.at)
        };
        count.learn_law(law, reading, remaining as f64, mark.at);
        count.sync(law, mark, remaining as f64, reading.reset, taken, now);
        Some(count)
    }

    /// From the last run.
    pub(super) fn restored(level: f64, now: Instant) -> Self {
        Self {
            level,
            at: now,
            heard: now,
            proof: 0,
            clear: 0,
            proved: None,
            by_headers: false,
            resets: None,
            latest: None,
            end: None,
            slides: false,
            others: 0.0,
        }
    }

    pub(super) fn hear(
        &mut self,
        law: Law,
        mark: Mark,
        reading: &Reading,
        taken: u64,
        now: Instant,
    ) {
        let Some(remaining) = reading.remaining else {
            return;
        };
        // Of a call that was sent before one that was heard already: older news.
        if mark.at < self.heard {
            return;
        }
        let remaining = remaining as f64;
        self.by_headers = true;
        self.learn_law(law, reading, remaining, mark.at);
        let rounding = f64::from(reading.rounding.max(1));
        let before = self.level(law, now);
        self.sync(law, mark, remaining, reading.reset, taken, now);
        // A rounded figure says where the count lies, and ours says where in there.
        if rounding > 1.0 {
            let half = rounding / 2.0;
            self.level = before.clamp(self.level - half, self.level + half);
        }
    }

    /// A refusal's text: so much was used of the limit, the refused call not counted. `told`: what that asked, and the wait.
    pub(super) fn refused(
        &mut self,
        law: Law,
        mark: Mark,
        used: f64,
        told: Option<(f64, Duration)>,
        taken: u64,
        now: Instant,
    ) {
        if let Some((asked, wait)) = told {
            // The wait of a bucket that refills is the time until what is missing has come back, which no window's end tells.
            let refill = (used + asked - law.limit) / law.rate.max(1e-9);
            // `used` may be rounded down, and the wait up to seconds.
            let unit = if asked <= 1.0 {
                1.0 / law.rate.max(1e-3)
            } else {
                0.0
            };
            let wait = wait.as_secs_f64();
            let near = wait >= 0.9 * refill - 0.1 && wait <= 1.1 * refill + 1.0 + unit;
            if refill >= 0.0 && near {
                self.proof = self.proof.max(PROOF);
            } else if !self.by_headers {
                self.proof = self.proof.min(0);
            }
        }
        if mark.at < self.heard {
            return;
        }
        self.sync(law, mark, law.limit - used, None, taken, now);
        self.others = beyond(used, mark, 0);
    }

    fn sync(
        &mut self,
        law: Law,
        mark: Mark,
        remaining: f64,
        reset: Option<Duration>,
        taken: u64,
        now: Instant,
    ) {
        self.heard = self.heard.max(mark.at);
        let beyond = beyond(law.limit - remaining, mark, mark.amount);
        // Calls overtake one another on the way, and are missing there: less is believed by and by, more at once.
        self.others = beyond.max(self.others + BELIEF * (beyond - self.others));
        let since = taken.saturating_sub(mark.after) as f64;
        if self.is_fixed(law) {
            self.resets = reset.map_or(self.resets, |reset| Some(self.end(mark.at + reset, now)));
            let over = self.resets.is_some_and(|resets| resets <= now);
            self.level = if over { law.limit } else { remaining } - since;
        } else {
            let refilled = now.saturating_duration_since(mark.at).as_secs_f64() * law.rate;
            self.level = (remaining + refilled).min(law.limit) - since;
        }
        self.at = now;
    }

    /// When the window ends, if this reply says `told`. Its call was on the way for a while, so that the window ends that much later;
    /// of several replies the latest end is the nearest to the truth.
    fn end(&self, told: Instant, now: Instant) -> Instant {
        let same = |end: &Instant| *end > now && *end >= told && *end <= told + SAME_END;
        self.resets.filter(same).unwrap_or(told)
    }

    /// A bucket that refills tells the time to refill what is used; a fixed window the time to its end.
    fn learn_law(&mut self, law: Law, reading: &Reading, remaining: f64, at: Instant) {
        let Some(reset) = reading.reset else { return };
        let known = self.proof.abs() >= PROOF;
        if known && self.proved.is_some_and(|proved| at < proved + APART) {
            return;
        }
        self.proved = Some(at);
        let refill = (law.limit - remaining).max(0.0) / law.rate.max(1e-9);
        self.look_at_end(at, at + reset);
        let off = (reset.as_secs_f64() - refill).abs();
        let slack =
            0.1 * refill + 0.3 + f64::from(reading.rounding.saturating_sub(1)) / law.rate.max(1e-9);
        // What is nearly used up takes a whole window to refill, and to leave a log: it says nothing.
        let agrees = off <= slack;
        let full = refill > 0.8 * law.window().as_secs_f64();
        let step = match agrees {
            // Unless replies before it have told a bucket from a log: of three requests a minute the third one uses up all.
            true if self.slides && full && self.clear < CLEAR => 0,
            true => 1,
            false => -1,
        };
        self.clear = match (agrees, full) {
            (true, false) => self.clear.saturating_add(1),
            (true, true) => self.clear,
            (false, _) => 0,
        };
        self.proof = (self.proof + step).clamp(LEAST_PROOF, MOST_PROOF);
    }

    fn look_at_end(&mut self, at: Instant, told: Instant) {
        match self.end {
            // Sent shortly before the end, a call arrives behind it: the next window's end is not this one's.
            Some(end) if at + SAME_END < end && told > end + SAME_END => {
                (self.slides, self.end) = (true, Some(told));
            }
            Some(end) if at < end => {}
            over => {
                // It has stayed where it was, if calls were heard all the while.
                self.slides &= over.is_none_or(|end| at > end + SAME_END);
                self.end = Some(told);
            }
        }
    }

    /// Whether what was taken comes back when it is as old as the window: what is ours of it is known best by ourselves.
    pub(super) fn slides(&self, law: Law) -> bool {
        !law.fixed && self.slides && self.proof <= -PROOF
    }

    /// In a log: what was taken beyond what we reserved, as far as it can still be in there.
    pub(super) fn others(&self, law: Law, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.heard).as_secs_f64();
        self.others * (1.0 - passed / law.window().as_secs_f64()).max(0.0)
    }

    /// Whether replies have shown that it refills steadily.
    pub(super) fn refills(&self) -> bool {
        self.proof >= PROOF
    }

    /// Whether replies have shown by which law it comes back.
    pub(super) fn is_proved(&self, law: Law) -> bool {
        self.by_headers && (self.refills() || self.slides(law) || self.is_fixed(law))
    }

    /// The latest call whose reply was heard, by the time it was sent.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard
    }

    /// Whether a reply to this call or to a later one was heard.
    pub(super) fn has_heard(&self, mark: Mark) -> bool {
        self.heard >= mark.at
    }

    /// Nothing is left, until `wait` is over.
    pub(super) fn empty(&mut self, law: Law, now: Instant, wait: Option<Duration>) {
        self.level = self.level.min(0.0);
        self.at = now;
        if law.fixed {
            self.resets = wait.map(|wait| now + wait);
        }
    }

    pub(super) fn is_fixed(&self, law: Law) -> bool {
        law.fixed || (self.proof <= -PROOF && !self.slides)
    }

    /// What is left now.
    pub(super) fn level(&mut self, law: Law, now: Instant) -> f64 {
        if now <= self.at && !self.is_fixed(law) {
            return self.level.min(law.limit);
        }
        if self.is_fixed(law) {
            while let Some(resets) = self.resets.filter(|resets| *resets <= now) {
                self.level = self.level.max(law.limit);
                // A day's end is followed by the next one; of other windows nobody knows when they begin.
                self.resets = law.fixed.then(|| resets + law.window());
            }
            // Nobody knows its end either: no window is longer than it is.
            if self.resets.is_some() {
                self.latest = None;
            } else if *self.latest.get_or_insert(now + law.window()) <= now {
                self.level = self.level.max(law.limit);
                self.latest = Some(now + law.window());
            }
        } else {
            let passed = now.saturating_duration_since(self.at).as_secs_f64();
            self.level = (self.level + passed * law.rate).min(law.limit);
        }
        self.at = self.at.max(now);
        self.level
    }

    /// Whether headers tell it: then they tell too what the provider charged in the end.
    pub(super) fn is_by_headers(&self) -> bool {
        self.by_headers
    }

    pub(super) fn take(&mut self, amount: f64) {
        self.level -= amount;
    }

    /// A reservation that never reached the provider.
    pub(super) fn give_back(&mut self, amount: f64) {
        self.level += amount;
    }

    /// How long until `amount` is left there, `floor` being left for others.
    pub(super) fn wait(&mut self, amount: f64, floor: f64, law: Law, now: Instant) -> Duration {
        let level = self.level(law, now);
        let need = (amount + floor).min(law.limit);
        if level >= need - 1e-6 {
            return Duration::ZERO;
        }
        let refill = Duration::from_secs_f64(((need - level) / law.rate.max(1e-9)).min(1e8));
        match (self.resets, self.latest) {
            _ if !self.is_fixed(law) => refill,
            (Some(resets), _) => resets.saturating_duration_since(now),
            (None, Some(latest)) => refill.min(latest.saturating_duration_since(now)),
            (None, None) => refill,
        }
        .max(Duration::from_nanos(1))
    }

    /// Until it is full.
    pub(super) fn full_in(&mut self, law: Law, now: Instant) -> Duration {
        self.wait(law.limit, 0.0, law, now)
    }
}

/// How much more than what we reserved is in a log that has `used`; `own`: the call itself, where it is in there.
fn beyond(used: f64, mark: Mark, own: u64) -> f64 {
    let ours = (mark.before + own) as f64;
    // Between the two nobody knows.
    (used - ours).max(0.0) + (used - ours + mark.leaving as f64).min(0.0)
}
