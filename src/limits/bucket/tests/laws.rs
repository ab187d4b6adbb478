//! Against providers of several laws.

use super::*;

/// A provider's law.
#[derive(Clone, Copy, Debug)]
enum Kinds {
    /// A bucket of the whole limit, refilled steadily, and of `limit * burst` seconds beside it.
    Refill { burst: Option<f64> },
    /// Windows of so many seconds that all begin at multiples of it.
    Fixed(f64),
    /// At most the limit in the last so many seconds.
    Sliding(f64),
}

struct Provider {
    law: Kinds,
    limit: f64,
    headers: bool,
    numbers: bool,
    short_headers: bool,
    minute: (f64, f64),
    level: f64,
    short: f64,
    at: f64,
    log: std::collections::VecDeque<f64>,
}

/// A reply on its way: when it comes, to what, and what is left and when that is reset, or the told wait.
type Due = (f64, Mark, Result<(f64, f64), f64>);

struct Outcome {
    passed: f64,
    refused: f64,
    allowed: f64,
}

impl Provider {
    fn new(law: Kinds, limit: f64, headers: bool) -> Self {
        Self {
            law,
            limit,
            headers,
            numbers: false,
            short_headers: false,
            minute: (0.0, limit),
            level: limit,
            short: 1e9,
            at: 0.0,
            log: std::collections::VecDeque::new(),
        }
    }

    fn admit(&mut self, now: f64) -> Result<(f64, f64), f64> {
        let rate = self.limit / 60.0;
        let passed = now - self.at;
        self.at = now;
        match self.law {
            Kinds::Refill { burst } => {
                self.level = (self.level + passed * rate).min(self.limit);
                let most = burst.map_or(1e9, |seconds| (rate * seconds).max(1.0));
                self.short = (self.short + passed * rate).min(most);
                if self.level < 1.0 || self.short < 1.0 {
                    let wait = ((1.0 - self.level) / rate).max((1.0 - self.short) / rate);
                    return Err(wait);
                }
                self.level -= 1.0;
                self.short -= 1.0;
                Ok((self.level, (self.limit - self.level) / rate))
            }
            Kinds::Fixed(length) => {
                let begins = (now / length).floor() * length;
                while self.log.front().is_some_and(|at| *at < begins) {
                    self.log.pop_front();
                }
                let most = self.limit * length / 60.0;
                if self.log.len() as f64 + 1.0 > most {
                    return Err(begins + length - now);
                }
                self.log.push_back(now);
                Ok(self.tell(most, begins + length - now))
            }
            Kinds::Sliding(length) => {
                while self.log.front().is_some_and(|at| *at <= now - length) {
                    self.log.pop_front();
                }
                let most = self.limit * length / 60.0;
                if self.log.len() as f64 + 1.0 > most {
                    return Err(self.log[0] + length - now);
                }
                self.log.push_back(now);
                let reset = self.log[0] + length - now;
                Ok(self.tell(most, reset))
            }
        }
    }

    /// In the minute's counter, whatever the window that is enforced; or in that window's own.
    fn tell(&mut self, most: f64, reset: f64) -> (f64, f64) {
        if self.short_headers || most >= self.limit {
            return (most - self.log.len() as f64, reset);
        }
        let rate = self.limit / 60.0;
        let passed = self.at - self.minute.0;
        self.minute = (
            self.at,
            (self.minute.1 + passed * rate).min(self.limit) - 1.0,
        );
        (self.minute.1, (self.limit - self.minute.1) / rate)
    }

    fn told_limit(&self) -> u64 {
        match self.law {
            Kinds::Fixed(length) | Kinds::Sliding(length) if self.short_headers => {
                (self.limit * length / 60.0) as u64
            }
            _ => self.limit as u64,
        }
    }

    /// More demand than it allows, for `seconds`; `foreign` calls of others a second; calls take `latency`.
    fn drive(mut self, bucket: &mut Bucket, seconds: f64, latency: f64, foreign: f64) -> Outcome {
        let start = Instant::now();
        let at = |time: f64| start + Duration::from_secs_f64(time);
        let mut replies: std::collections::VecDeque<Due> = std::collections::VecDeque::new();
        let (mut now, mut next_foreign, mut outcome) = (
            0.0,
            0.0,
            Outcome {
                passed: 0.0,
                refused: 0.0,
                allowed: 0.0,
            },
        );
        let (mut sent, mut heard, mut answered) = (0_u32, 0_u32, 0_u32);
        // Where nobody tells anything, as many as there are callers go at once.
        let callers = if self.headers { 2_000 } else { 100 };
        let step = 0.004;
        while now < seconds {
            now += step;
            while foreign > 0.0 && next_foreign <= now {
                next_foreign += 1.0 / foreign;
                let _ = self.admit(now);
            }
            while replies.front().is_some_and(|(due, ..)| *due <= now) {
                let (_, mark, answer) = replies.pop_front().unwrap();
                heard += 1;
                match answer {
                    Ok((left, reset)) => {
                        answered += 1;
                        if self.headers {
                            bucket.heard(
                                mark,
                                &told(Kind::Requests, self.told_limit(), left as u64, reset),
                                at(now),
                            );
                        }
                        bucket.answered(mark, at(now));
                        bucket.settle(mark, 1, at(now));
                    }
                    Err(wait) => {
                        let mut refusal = Refusal {
                            wait: Some(Duration::from_secs_f64(wait)),
                            ..Refusal::default()
                        };
                        if self.numbers {
                            (refusal.limit, refusal.used, refusal.requested) = (
                                Some(self.limit as u64),
                                Some((self.limit - self.level) as u64),
                                Some(1),
                            );
                        }
                        bucket.refused(mark, &refusal, at(now));
                        bucket.settle(mark, 1, at(now));
                    }
                }
            }
            // As the cold start does it: few before anything is heard.
            while sent < 20_u32.saturating_add(answered.saturating_mul(1_000_000))
                && bucket.ask(1, Standing::First, at(now)) == Room::Now
                && replies.len() < callers
            {
                let mark = bucket.take(1, at(now));
                sent += 1;
                let answer = self.admit(now);
                // The first twenty replies are for learning.
                if heard >= 20 {
                    match answer {
                        Ok(_) => outcome.passed += 1.0,
                        Err(_) => outcome.refused += 1.0,
                    }
                }
                let delay = if answer.is_ok() {
                    latency
                } else {
                    latency.min(0.05)
                };
                let due = now + delay;
                let place = replies.partition_point(|(other, ..)| *other <= due);
                replies.insert(place, (due, mark, answer));
            }
        }
        outcome.allowed = self.limit / 60.0 * seconds - foreign * seconds;
        outcome
    }
}

/// What falls short of `least` used and at most 0.5 % refused, in words.
fn short(name: &str, least: f64, outcome: &Outcome) -> Option<String> {
    let used = outcome.passed / outcome.allowed;
    let refused = outcome.refused / (outcome.passed + outcome.refused);
    let line = format!(
        "{name}: used {:.1} %, refused {:.2} %",
        used * 100.0,
        refused * 100.0
    );
    println!("{line}");
    (used < least || refused > 0.005).then_some(line)
}

#[test]
fn hidden_limits_are_used_and_not_exceeded_whatever_the_law() {
    let laws = [
        ("refill", Kinds::Refill { burst: None }),
        ("refill, 1 s", Kinds::Refill { burst: Some(1.0) }),
        ("refill, 10 s", Kinds::Refill { burst: Some(10.0) }),
        ("fixed minute", Kinds::Fixed(60.0)),
        ("fixed second", Kinds::Fixed(1.0)),
        ("sliding minute", Kinds::Sliding(60.0)),
        ("sliding second", Kinds::Sliding(1.0)),
    ];
    let short_headers = [false, true];
    let mut failed = Vec::new();
    for limit in [600.0, 3_000.0] {
        for latency in [0.3, 4.0] {
            for ((name, law), short_headers) in laws
                .into_iter()
                .flat_map(|law| short_headers.map(|short| (law, short)))
            {
                let mut bucket = bucket(Kind::Requests, Instant::now());
                let mut provider = Provider::new(law, limit, true);
                provider.short_headers = short_headers;
                let outcome = provider.drive(&mut bucket, 400.0, latency, 0.0);
                // Where the window's length has to be found first, that takes its time.
                let least = if short_headers { 0.93 } else { 0.95 };
                failed.extend(short(
                    &format!("{name}, {short_headers}, {limit} a minute, {latency} s"),
                    least,
                    &outcome,
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_stranger_on_the_same_key_is_left_room() {
    for (limit, burst) in [(600.0, None), (6_000.0, None), (6_000.0, Some(10.0))] {
        let mut bucket = bucket(Kind::Requests, Instant::now());
        let foreign = limit / 60.0 * 0.3;
        let outcome = Provider::new(Kinds::Refill { burst }, limit, true).drive(
            &mut bucket,
            600.0,
            1.0,
            foreign,
        );
        let share = bucket.foreign_share().unwrap();
        assert!((share - 0.3).abs() < 0.05, "{share}");
        assert_eq!(
            short(&format!("foreign, {limit}, {burst:?}"), 0.95, &outcome),
            None
        );
    }
}

#[test]
fn limits_in_texts_only_are_held() {
    let mut bucket = bucket(Kind::Requests, Instant::now());
    let mut provider = Provider::new(Kinds::Refill { burst: None }, 600.0, false);
    provider.numbers = true;
    let outcome = provider.drive(&mut bucket, 1_200.0, 0.5, 0.0);
    // All that were under way when the first refusal came were refused as well.
    let refused = outcome.refused / (outcome.passed + outcome.refused);
    assert!(
        outcome.passed >= 0.95 * outcome.allowed && refused < 0.01,
        "{refused}"
    );
}

#[test]
fn limits_that_nobody_tells_are_found() {
    for (name, law) in [
        ("refill", Kinds::Refill { burst: None }),
        ("sliding minute", Kinds::Sliding(60.0)),
        ("fixed second", Kinds::Fixed(1.0)),
        ("fixed minute", Kinds::Fixed(60.0)),
    ] {
        let mut bucket = bucket(Kind::Requests, Instant::now());
        let outcome = Provider::new(law, 600.0, false).drive(&mut bucket, 1_200.0, 0.5, 0.0);
        let used = outcome.passed / outcome.allowed;
        let refused = outcome.refused / (outcome.passed + outcome.refused);
        println!(
            "silent, {name}: used {:.1} %, refused {:.2} %",
            used * 100.0,
            refused * 100.0
        );
        assert!(used > 0.9 && refused < 0.012, "{name}: {used} {refused}");
    }
}
