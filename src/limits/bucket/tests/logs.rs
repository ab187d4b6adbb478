//! Against a provider that keeps a log of the last minute.

use std::collections::VecDeque;

use super::*;
use crate::limits::heard::Reading;

const LIMIT: f64 = 60_000.0;
const MINUTE: Duration = Duration::from_secs(60);

/// More demand than it lets pass, for ten minutes: calls reserve 100 each and use `used`, told at once and settled three seconds later.
/// `corrects`: the provider takes the difference back. Share of the limit that passed, and of calls that were refused.
fn drive(used: u64, corrects: bool) -> (f64, f64) {
    let start = Instant::now();
    let mut bucket = Bucket::new(Kind::Tokens, DayReset::Refill, start);
    let mut log: VecDeque<(Instant, f64)> = VecDeque::new();
    let mut open: VecDeque<(Instant, Mark, u64)> = VecDeque::new();
    let (mut passed, mut calls, mut refusals) = (0.0, 0.0, 0.0);
    for tick in 0..60_000_u32 {
        let now = start + Duration::from_millis(10) * tick;
        while log.front().is_some_and(|(at, _)| *at + MINUTE <= now) {
            log.pop_front();
        }
        while let Some((_, mark, used)) = open.pop_front_if(|(due, ..)| *due <= now) {
            bucket.settle(mark, used, now);
            if let Some((_, amount)) = log.iter_mut().find(|(at, _)| *at == mark.at)
                && corrects
            {
                *amount = used as f64;
            }
        }
        // Up to one call each hundredth of a second.
        if bucket.ask(100, Standing::First, now) != Room::Now {
            continue;
        }
        let mark = bucket.take(100, now);
        let sum: f64 = log.iter().map(|(_, amount)| amount).sum();
        calls += 1.0;
        let fits = sum + 100.0 <= LIMIT;
        let left = LIMIT - sum - if fits { 100.0 } else { 0.0 };
        let reading = Reading {
            kind: Kind::Tokens,
            limit: Some(LIMIT as u64),
            remaining: Some(left as u64),
            reset: Some(MINUTE),
            window: None,
            rounding: 1,
        };
        bucket.heard(mark, &reading, now);
        if fits {
            log.push_back((now, 100.0));
            passed += if corrects { used as f64 } else { 100.0 };
            bucket.answered(mark, now);
            open.push_back((now + Duration::from_secs(3), mark, used));
        } else {
            refusals += 1.0;
            bucket.refused(mark, &Refusal::default(), now);
            bucket.settle(mark, 0, now);
        }
    }
    (passed / LIMIT / 10.0, refusals / calls)
}

#[test]
fn a_log_that_keeps_estimates_is_held_to_them() {
    let (used, refused) = drive(70, false);
    assert!(used > 0.95 && refused < 0.005, "{used} {refused}");
}

#[test]
fn a_log_that_takes_back_what_was_not_used_is_used_all_the_same() {
    let (used, refused) = drive(70, true);
    assert!(used > 0.85 && refused < 0.005, "{used} {refused}");
}

#[test]
fn a_log_that_counts_what_was_used_beyond_the_estimate_is_not_exceeded() {
    let (used, refused) = drive(130, true);
    assert!(used > 0.93 && refused < 0.02, "{used} {refused}");
}
