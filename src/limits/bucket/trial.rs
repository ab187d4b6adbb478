//! A provider that has refused without telling for how long: nobody goes until one call has been let in.
//!
//! What follows a refusal at once is refused as well. So the next call goes after a pause, alone; refused, the next one goes after three
//! times the pause. Refusals come quickly and answers may take long: when a call has been there for much longer than a refusal takes, it
//! has been let in. How long the provider was shut says how long its window is.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause is that of two calls, within these.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(8);
/// A told wait longer than this is another limit's.
const BELIEVED: Duration = Duration::from_secs(66);
const GROWS: u32 = 3;
/// After so many times what a refusal took, none comes any more.
const PATIENT: u32 = 3;
const PATIENCE: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trial(Option<Shut>);

#[derive(Clone, Copy, Debug)]
struct Shut {
    /// When the refused call was sent that shut it.
    since: Instant,
    /// When the last refused one was.
    last: Instant,
    /// When `past` was looked at.
    at: Instant,
    pause: Duration,
    due: Instant,
    patience: Duration,
    past: Past,
    /// The call that is there to see, by what had been taken in all with it, and when it went.
    sent: Option<(u64, Instant)>,
}

/// What had passed before a moment, by age.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past([f32; AGES.len()]);

/// Seconds.
pub(super) const AGES: [f32; 14] = [
    0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
];
/// Lengths of windows that are in use, in seconds.
const USUAL: [f32; 7] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0];

/// It is open again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reopened {
    /// As far as is known it was shut for so long.
    pub(super) lasted: Duration,
    pub(super) since: Instant,
    pub(super) past: Past,
}

/// Whether a call may go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look {
    Open,
    Reopened(Reopened),
    /// After this time one may; zero: now.
    Wait(Duration),
}

// === impl Trial ===

impl Trial {
    /// A call that was sent at `sent` was refused. `told`: the wait; `per`: in which time one call goes, by all that is known;
    /// `past`: what had passed by then.
    pub(super) fn shut(
        &mut self,
        (after, amount, sent): (u64, u64, Instant),
        told: Option<Duration>,
        (per, past): (Duration, Past),
        now: Instant,
    ) {
        let took = now.saturating_duration_since(sent) * PATIENT;
        let patience = took.clamp(PATIENCE.start, PATIENCE.end);
        let Some(shut) = &mut self.0 else {
            let pause = (per * 2).clamp(LEAST, MOST);
            self.0 = Some(Shut {
                since: sent,
                last: sent,
                at: now,
                pause,
                due: now + told.unwrap_or(pause).min(BELIEVED),
                patience,
                past,
                sent: None,
            });
            return;
        };
        // Others of the same wave: it was not known yet that they would not pass.
        if shut.sent.is_none_or(|(ours, _)| ours != after) {
            if let Some(age) = shut.at.checked_duration_since(sent) {
                shut.past.forget(amount, age);
            }
            return;
        }
        (shut.last, shut.sent) = (sent, None);
        shut.pause = (shut.pause * GROWS).min(LONGEST);
        shut.due = now + told.unwrap_or(shut.pause).min(BELIEVED);
    }

    /// Whether it is the call that went to see.
    pub(super) fn is_there(&self, after: u64) -> bool {
        let sent = self.0.and_then(|shut| shut.sent);
        sent.is_some_and(|(ours, _)| ours == after)
    }

    pub(super) fn look(&mut self, now: Instant) -> Look {
        let Some(shut) = &self.0 else {
            return Look::Open;
        };
        match shut.sent {
            None => Look::Wait(shut.due.saturating_duration_since(now)),
            Some((_, sent)) if now >= sent + shut.patience => {
                self.0.take().map_or(Look::Open, Shut::reopened)
            }
            Some((_, sent)) => Look::Wait(sent + shut.patience - now),
        }
    }

    /// A call goes, the one that was due or one that nothing held back.
    pub(super) fn goes(&mut self, after: u64, now: Instant) {
        if let Some(shut) = &mut self.0
            && shut.sent.is_none()
            && shut.due <= now
        {
            shut.sent = Some((after, now));
        }
    }

    /// A call was answered: whether it is the one that went to see.
    pub(super) fn answered(&mut self, after: u64) -> Look {
        match self
            .0
            .filter(|shut| shut.sent.is_some_and(|(ours, _)| ours == after))
        {
            Some(shut) => {
                self.0 = None;
                shut.reopened()
            }
            None => Look::Open,
        }
    }

    /// The call is over, whatever became of it.
    pub(super) fn over(&mut self, after: u64) {
        if let Some(shut) = &mut self.0
            && shut.sent.is_some_and(|(ours, _)| ours == after)
        {
            shut.sent = None;
        }
    }

    /// There is no limit to be found.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

// === impl Shut ===

impl Shut {
    fn reopened(self) -> Look {
        Look::Reopened(Reopened {
            past: self.past,
            lasted: self.last.saturating_duration_since(self.since),
            since: self.since,
        })
    }
}

// === impl Past ===

impl Past {
    /// `within`: what passed within so many seconds.
    pub(super) fn new(mut within: impl FnMut(f32) -> f64) -> Self {
        Self(AGES.map(|age| within(age) as f32))
    }

    /// So much of that age did not pass.
    fn forget(&mut self, amount: u64, age: Duration) {
        let older = AGES.iter().zip(&mut self.0);
        for (_, sum) in older.filter(|(at, _)| age.as_secs_f32() <= **at) {
            *sum = (*sum - amount as f32).max(0.0);
        }
    }

    /// All that is known of: of the last minute.
    pub(super) fn all(&self) -> f64 {
        f64::from(self.0[AGES.len() - 1])
    }

    /// What it shut at that moment, its window is longer than `lasted` and ended then: the most a second that passed in a window of a
    /// usual length. `None`: it was shut for longer than any lasts.
    pub(super) fn most(&self, lasted: Duration) -> Option<f64> {
        let lasted = lasted.as_secs_f32();
        let longer = USUAL.into_iter().filter(|length| *length > lasted);
        let rates = longer.map(|length| f64::from(self.within(length - lasted) / length));
        rates.max_by(f64::total_cmp)
    }

    fn within(&self, age: f32) -> f32 {
        let (mut before, mut passed) = (0.0, 0.0);
        for (at, sum) in AGES.into_iter().zip(self.0) {
            if age <= at {
                return passed + (sum - passed) * (age - before) / (at - before);
            }
            (before, passed) = (at, sum);
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(now: Instant, told: Option<Duration>) -> Trial {
        let mut trial = Trial::default();
        let past = Past::new(|age| f64::from(age) * 10.0);
        trial.shut((1, 1, now), told, (Duration::from_millis(100), past), now);
        trial
    }

    fn pause(trial: &mut Trial, now: Instant) -> Duration {
        match trial.look(now) {
            Look::Wait(wait) => wait,
            Look::Open | Look::Reopened(_) => panic!("it is open"),
        }
    }

    #[test]
    fn one_at_a_time_goes_to_see_and_seldomer_each_time() {
        let mut now = Instant::now();
        let mut trial = shut(now, None);
        let mut pauses = Vec::new();
        for after in 2..6 {
            let wait = pause(&mut trial, now);
            pauses.push(wait.as_millis());
            now += wait;
            assert_eq!(pause(&mut trial, now), Duration::ZERO);
            trial.goes(after, now);
            assert!(pause(&mut trial, now) > Duration::ZERO, "another went");
            let past = Past::new(|_| 0.0);
            trial.shut((after, 1, now), None, (Duration::ZERO, past), now);
        }
        assert_eq!(pauses, [200, 600, 1_800, 5_400]);
    }

    #[test]
    fn a_told_wait_is_the_first_pause() {
        let now = Instant::now();
        let mut trial = shut(now, Some(Duration::from_secs(7)));
        assert_eq!(pause(&mut trial, now), Duration::from_secs(7));
    }

    #[test]
    fn who_is_there_for_much_longer_than_a_refusal_takes_has_been_let_in() {
        let start = Instant::now();
        let mut trial = shut(start, None);
        let gone = start + Duration::from_millis(200);
        trial.goes(2, gone);
        assert!(matches!(
            trial.look(gone + Duration::from_millis(50)),
            Look::Reopened(_)
        ));
        assert!(matches!(trial.look(gone), Look::Open));
    }

    /// Sixty at once, of which fifty were refused, the first of them before anything was known of the others.
    #[test]
    fn of_a_wave_only_who_passed_counts() {
        let start = Instant::now();
        let now = start + Duration::from_millis(5);
        let mut trial = Trial::default();
        let past = Past::new(|_| 60.0);
        for after in 1..=50 {
            trial.shut((after, 1, start), None, (Duration::ZERO, past), now);
        }
        let gone = now + pause(&mut trial, now);
        trial.goes(61, gone);
        let Look::Reopened(reopened) = trial.answered(61) else {
            panic!("it was let in");
        };
        // The first was never counted.
        let most = reopened.past.most(reopened.lasted).unwrap();
        assert!((most - 11.0).abs() < 0.1, "{most}");
    }

    #[test]
    fn how_long_it_was_shut_tells_the_window() {
        // Ten a second for forty seconds, then refused for nineteen: 400 in a window of a minute, or 110 in one of thirty seconds.
        let past = Past::new(|age| f64::from(age).min(40.0) * 10.0);
        let most = past.most(Duration::from_secs(19)).unwrap();
        assert!((most - 400.0 / 60.0).abs() < 0.3, "{most}");
        assert!(past.most(Duration::from_secs(61)).is_none());
    }
}
