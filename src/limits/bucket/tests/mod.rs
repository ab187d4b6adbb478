//! Of the whole bucket.

mod counts;
mod crowds;
mod laws;
mod logs;
mod properties;

use super::*;
use crate::limits::SavedBucket;
use crate::limits::heard::Reading;

const MINUTE: Duration = Duration::from_secs(60);

fn bucket(kind: Kind, now: Instant) -> Bucket {
    Bucket::new(kind, DayReset::Refill, now)
}

fn told(kind: Kind, limit: u64, remaining: u64, reset: f64) -> Reading {
    Reading {
        kind,
        limit: Some(limit),
        remaining: Some(remaining),
        reset: Some(Duration::from_secs_f64(reset)),
        window: None,
        rounding: 1,
    }
}

fn set(limit: u64, now: Instant) -> Bucket {
    let mut bucket = bucket(Kind::Tokens, now);
    bucket.set(NonZeroU64::new(limit));
    bucket
}

#[test]
fn what_nobody_knows_holds_nobody_back() {
    let now = Instant::now();
    let mut bucket = bucket(Kind::Requests, now);
    for _ in 0..1_000 {
        assert_eq!(bucket.ask(1, Standing::Last, now), Room::Now);
        bucket.take(1, now);
    }
    assert_eq!(bucket.view(now), None);
    assert_eq!(bucket.saved(now, 0), None);
}

#[test]
fn headers_tell_the_limit_and_a_set_number_bounds_it() {
    let now = Instant::now();
    let mut bucket = bucket(Kind::Requests, now);
    let mark = bucket.take(1, now);
    bucket.heard(mark, &told(Kind::Requests, 600, 599, 0.1), now);
    let view = bucket.view(now).unwrap();
    assert_eq!(
        (view.capacity, view.remaining, view.source),
        (600, 599, Source::Headers)
    );
    bucket.set(NonZeroU64::new(60));
    let view = bucket.view(now).unwrap();
    assert_eq!((view.capacity, view.source), (60, Source::Set));
    bucket.set(NonZeroU64::new(6_000));
    assert_eq!(
        bucket.limit(),
        Some(600),
        "a number that is too high is not believed"
    );
}

#[test]
fn what_is_larger_than_the_limit_never_fits_and_nearly_so_may() {
    let now = Instant::now();
    let mut set = set(30_000, now);
    assert_eq!(set.ask(30_001, Standing::First, now), Room::Never(30_000));
    let mut learnt = bucket(Kind::Tokens, now);
    let mark = learnt.take(10, now);
    learnt.heard(mark, &told(Kind::Tokens, 30_000, 29_990, 0.02), now);
    assert_eq!(
        learnt.ask(50_000, Standing::First, now),
        Room::Never(30_000)
    );
    assert!(
        matches!(learnt.ask(33_000, Standing::First, now), Room::In(_)),
        "our estimate may be too high"
    );
}

#[test]
fn a_refusals_text_tells_the_limit_and_what_is_left() {
    let now = Instant::now();
    let mut bucket = bucket(Kind::Tokens, now);
    let mark = bucket.take(24_754, now);
    let refusal = Refusal {
        limit: Some(30_000),
        used: Some(14_567),
        requested: Some(24_754),
        wait: Some(Duration::from_millis(18_642)),
    };
    assert!(
        !bucket.refused(mark, &refusal, now),
        "the bucket was empty, as it says"
    );
    bucket.settle(mark, 0, now);
    assert_eq!(
        (bucket.limit(), bucket.view(now).unwrap().source),
        (Some(30_000), Source::Refusal)
    );
    assert_eq!(bucket.reserved(), 0);
}

#[test]
fn a_refusal_with_room_left_blocks_for_the_told_time_and_shrinks_the_burst() {
    let now = Instant::now();
    let mut bucket = bucket(Kind::Requests, now);
    let mark = bucket.take(1, now);
    bucket.heard(mark, &told(Kind::Requests, 6_000, 5_999, 0.01), now);
    let before = bucket.view(now).unwrap().burst;
    let later = now + Duration::from_secs(1);
    let mark = bucket.take(1, later);
    bucket.heard(mark, &told(Kind::Requests, 6_000, 5_990, 0.1), later);
    let refusal = Refusal {
        wait: Some(Duration::from_millis(700)),
        ..Refusal::default()
    };
    assert!(bucket.refused(mark, &refusal, later));
    let Room::In(wait) = bucket.ask(1, Standing::First, later) else {
        panic!("not blocked")
    };
    assert!(wait >= Duration::from_millis(700) && wait < Duration::from_secs(1));
    assert!(bucket.view(later).unwrap().burst < before);
}

/// No header, no number, and a bucket that was full at first: the minute after the first refusal is not spent waiting.
#[test]
fn after_a_refusal_without_numbers_one_goes_to_see_and_others_follow() {
    let start = Instant::now();
    let mut bucket = bucket(Kind::Requests, start);
    let (mut level, mut refused) = (600.0_f64, 0);
    let mut passed = [0; 12];
    for tick in 0..12_000_u32 {
        let now = start + Duration::from_millis(u64::from(tick) * 10);
        level = (level + 0.1).min(600.0);
        for _ in 0..2 {
            if bucket.ask(1, Standing::First, now) != Room::Now {
                break;
            }
            let mark = bucket.take(1, now);
            if level >= 1.0 {
                level -= 1.0;
                passed[tick as usize / 1_000] += 1;
                bucket.answered(mark, now);
                bucket.settle(mark, 1, now);
            } else {
                refused += 1;
                bucket.refused(mark, &Refusal::default(), now);
                bucket.settle(mark, 1, now);
            }
        }
    }
    assert!(passed[1..].iter().all(|passed| *passed >= 50), "{passed:?}");
    assert!(passed[6..].iter().sum::<i32>() >= 540, "{passed:?}");
    assert!(refused < 25, "{refused}");
}

/// Mistral's way: what is left is told, and never when it comes back.
#[test]
fn a_window_that_gives_nothing_back_until_its_end_is_no_stranger() {
    let start = Instant::now();
    let mut bucket = bucket(Kind::Requests, start);
    let mut used = 0;
    let mut passed = 0;
    for tick in 0..3_000_u32 {
        let now = start + Duration::from_millis(u64::from(tick) * 100);
        if tick % 600 == 0 {
            used = 0;
        }
        while bucket.ask(1, Standing::First, now) == Room::Now {
            let mark = bucket.take(1, now);
            assert!(used < 600, "refused at {tick}");
            used += 1;
            passed += 1;
            let mut reading = told(Kind::Requests, 600, 600 - used, 0.0);
            reading.reset = None;
            bucket.heard(mark, &reading, now);
            bucket.answered(mark, now);
            bucket.settle(mark, 1, now);
        }
    }
    assert!(passed > 600 * 5 * 95 / 100, "{passed}");
    assert!(bucket.foreign_share().unwrap_or_default() < 0.02);
}

/// A first call that was refused once set the limit to one a minute.
#[test]
fn who_refuses_from_the_beginning_tells_nothing_of_a_limit() {
    let start = Instant::now();
    let mut bucket = bucket(Kind::Requests, start);
    for second in 0..20 {
        let now = start + Duration::from_secs(second * 2);
        // Others are under way, and nobody knows what becomes of them.
        let _under_way = [(); 3].map(|()| bucket.take(1, now));
        let mark = bucket.take(1, now);
        let refusal = Refusal {
            wait: Some(Duration::from_secs(1)),
            ..Refusal::default()
        };
        bucket.refused(mark, &refusal, now);
        bucket.settle(mark, 1, now);
    }
    assert_eq!(bucket.limit(), None);
}

/// Gemini's and OpenRouter's way: no header, and a refusal that tells the limit and when the minute ends.
#[test]
fn a_told_wait_that_ends_a_window_ends_ours_as_well() {
    let told = Duration::from_secs(20);
    let gemini = Refusal {
        limit: Some(15),
        wait: Some(told),
        ..Refusal::default()
    };
    let openrouter = Refusal {
        used: Some(15),
        ..gemini
    };
    for refusal in [gemini, openrouter] {
        let start = Instant::now();
        let mut bucket = bucket(Kind::Requests, start);
        for _ in 0..15 {
            let mark = bucket.take(1, start);
            bucket.answered(mark, start);
            bucket.settle(mark, 1, start);
        }
        // A crowd was sent before any of it was refused.
        let crowd = [(); 5].map(|()| bucket.take(1, start));
        for mark in crowd {
            assert!(!bucket.refused(mark, &refusal, start), "no surprise");
            bucket.settle(mark, 1, start);
        }
        let Room::In(wait) = bucket.ask(1, Standing::First, start) else {
            panic!("not blocked")
        };
        assert!(
            wait >= told && wait <= told + Duration::from_millis(1),
            "{wait:?} of {refusal:?}"
        );
        let again = start + told;
        for nth in 0..10 {
            assert_eq!(
                bucket.ask(1, Standing::First, again),
                Room::Now,
                "{nth} of {refusal:?}"
            );
            bucket.take(1, again);
        }
        assert!(
            matches!(bucket.ask(10, Standing::First, again), Room::In(_)),
            "the new window is held to the limit"
        );
    }
}

#[test]
fn who_refuses_as_soon_as_the_told_wait_is_over_is_held_to_our_own_minute() {
    let start = Instant::now();
    let mut bucket = bucket(Kind::Requests, start);
    let refusal = Refusal {
        limit: Some(15),
        wait: Some(Duration::from_secs(1)),
        ..Refusal::default()
    };
    for _ in 0..15 {
        let mark = bucket.take(1, start);
        bucket.answered(mark, start);
        bucket.settle(mark, 1, start);
    }
    let mut asked = 0;
    for second in 0..60 {
        let now = start + Duration::from_secs(second);
        if bucket.ask(1, Standing::First, now) == Room::Now {
            asked += 1;
            let mark = bucket.take(1, now);
            bucket.refused(mark, &refusal, now);
            bucket.settle(mark, 1, now);
        }
    }
    assert!(asked <= 20, "{asked}");
}

/// A small account that is idle: 60 calls at once, which the provider would take, are not refused for a burst of our own.
#[test]
fn a_crowd_that_a_full_bucket_has_room_for_is_expected_to_go_with_the_first_answers() {
    let start = Instant::now();
    let mut bucket = bucket(Kind::Requests, start);
    for second in 0..4 {
        let now = start + Duration::from_secs(second * 10);
        let mark = bucket.take(1, now);
        bucket.heard(mark, &told(Kind::Requests, 60, 59, 1.0), now);
        bucket.answered(mark, now);
        bucket.settle(mark, 1, now);
    }
    let mut now = start + Duration::from_secs(100);
    let (mut gone, mut rounds) = (0, 0);
    while gone < 58 && rounds < 10 {
        let mut marks = Vec::new();
        while bucket.ask(1, Standing::First, now) == Room::Now && gone < 58 {
            marks.push(bucket.take(1, now));
            gone += 1;
        }
        if gone < 58 {
            let mut hopeful = bucket.given_back(now).unwrap();
            assert_eq!(hopeful.ask(58 - gone, Standing::First, now), Room::Now);
        }
        now += Duration::from_secs(3);
        for mark in marks {
            bucket.answered(mark, now);
            bucket.settle(mark, 1, now);
        }
        rounds += 1;
    }
    assert!(rounds <= 4, "{gone} in {rounds}");
}

#[test]
fn a_day_that_ends_at_midnight_gives_all_back_then() {
    let now = Instant::now();
    let mut bucket = Bucket::new(Kind::RequestsPerDay, DayReset::PacificMidnight, now);
    let mark = bucket.take(1, now);
    let refusal = Refusal {
        limit: Some(50),
        wait: Some(Duration::from_secs(3_600)),
        ..Refusal::default()
    };
    bucket.refused(mark, &refusal, now);
    bucket.settle(mark, 0, now);
    assert_eq!(
        bucket.ask(1, Standing::First, now),
        Room::In(Duration::from_secs(3_600))
    );
    let midnight = now + Duration::from_secs(3_600);
    for _ in 0..50 {
        assert_eq!(bucket.ask(1, Standing::First, midnight), Room::Now);
        bucket.take(1, midnight);
    }
    assert_eq!(
        bucket.ask(1, Standing::First, midnight),
        Room::In(Duration::from_secs(86_400))
    );
}

#[test]
fn a_day_that_refills_gives_one_back_at_a_time() {
    let now = Instant::now();
    let mut bucket = bucket(Kind::RequestsPerDay, now);
    let mark = bucket.take(1, now);
    bucket.heard(mark, &told(Kind::RequestsPerDay, 200, 0, 86_400.0), now);
    let Room::In(wait) = bucket.ask(1, Standing::First, now) else {
        panic!("none is left")
    };
    assert!((wait.as_secs_f64() - 2.0 * 432.0).abs() < 433.0, "{wait:?}");
}

#[test]
fn what_was_learnt_outlives_the_process() {
    let now = Instant::now();
    let mut first = bucket(Kind::Requests, now);
    let mark = first.take(1, now);
    first.heard(mark, &told(Kind::Requests, 600, 300, 30.0), now);
    let saved = first.saved(now, 1_000).unwrap();
    let mut second = bucket(Kind::Requests, now);
    second.restore(&saved, now, 1_010);
    let view = second.view(now).unwrap();
    assert_eq!(
        (view.capacity, view.remaining, view.source),
        (600, 400, Source::Remembered)
    );
    let mark = second.take(1, now);
    second.heard(mark, &told(Kind::Requests, 6_000, 5_999, 0.01), now);
    assert_eq!(
        (second.limit(), second.view(now).unwrap().source),
        (Some(6_000), Source::Headers)
    );
    let mut third = bucket(Kind::Requests, now);
    third.restore(&saved, now, 1_000 + 30 * 86_400);
    assert_eq!(third.limit(), None, "that was long ago");
}

/// Went wrong: what a last run had been told by headers held everybody to it for ever, at a provider that tells nothing now.
#[test]
fn a_remembered_limit_that_nobody_tells_any_more_is_tried_upwards() {
    let start = Instant::now();
    let mut before = bucket(Kind::Requests, start);
    let mark = before.take(1, start);
    before.heard(mark, &told(Kind::Requests, 60, 59, 1.0), start);
    let saved = before.saved(start, 0).unwrap();
    let mut bucket = bucket(Kind::Requests, start);
    bucket.restore(&saved, start, 0);
    assert_eq!(
        (bucket.limit(), bucket.source()),
        (Some(60), Source::Remembered)
    );
    let mut now = start;
    let mut under_way = std::collections::VecDeque::new();
    for _ in 0..10 * 60 * 20 {
        now += Duration::from_millis(50);
        while bucket.ask(1, Standing::First, now) == Room::Now {
            under_way.push_back(bucket.take(1, now));
        }
        while let Some(mark) =
            under_way.pop_front_if(|mark: &mut Mark| mark.at + Duration::from_secs(1) <= now)
        {
            bucket.answered(mark, now);
            bucket.settle(mark, 1, now);
        }
    }
    assert_eq!(bucket.source(), Source::Tried);
    assert!(bucket.limit() > Some(180), "{:?}", bucket.limit());
}

#[test]
fn a_remembered_limit_that_is_told_again_stays() {
    let start = Instant::now();
    let mut bucket = bucket(Kind::Requests, start);
    let saved = SavedBucket {
        kind: Kind::Requests,
        limit: 600,
        source: Source::Headers,
        burst: None,
        used: 0.0,
        foreign_share: None,
        heard_at: 0,
    };
    bucket.restore(&saved, start, 0);
    for n in 0..40_u64 {
        let mark = bucket.take(1, start);
        if n % 10 == 0 {
            bucket.heard(mark, &told(Kind::Requests, 600, 599 - n, 0.1), start);
        }
        bucket.answered(mark, start);
    }
    assert_eq!(
        (bucket.limit(), bucket.source()),
        (Some(600), Source::Headers)
    );
}

/// Went wrong: a reply tells what had been charged when its call was let in, and the calls under way then were charged later. Of what
/// is left they were not taken off, and one call in two hundred met an empty bucket.
#[test]
fn output_that_is_charged_when_produced_is_missing_in_what_replies_tell() {
    const STEP: u64 = 50;
    let start = Instant::now();
    let mut bucket = bucket(Kind::OutputTokens, start).charged_as_produced(true);
    // 1,000 a second; full at first, nearly used up after a while.
    let (mut level, mut refused, mut passed) = (60_000.0_f64, 0, 0_u64);
    let mut under_way: std::collections::VecDeque<(u64, Mark, u64, f64)> = Default::default();
    for tick in 0..(12 * 60_000 / STEP) {
        let now = start + Duration::from_millis(tick * STEP);
        level = (level + 1_000.0 * STEP as f64 / 1e3).min(60_000.0);
        // Three seconds later each is over, and has used a little more or less.
        while let Some((_, mark, actual, told)) = under_way.pop_front_if(|(over, ..)| *over <= tick)
        {
            level -= actual as f64;
            let reset = (60_000.0 - told) / 1_000.0;
            let reading = Reading {
                rounding: 1_000,
                ..told_of(told, reset)
            };
            bucket.heard(mark, &reading, now);
            bucket.answered(mark, now);
            bucket.settle(mark, actual, now);
            passed += actual;
        }
        // Three times what it gives.
        if bucket.ask(150, Standing::First, now) == Room::Now {
            let mark = bucket.take(150, now);
            if level < 1.0 {
                refused += 1;
                bucket.settle(mark, 0, now);
                continue;
            }
            let actual = 100 + tick * 37 % 103;
            under_way.push_back((tick + 3_000 / STEP, mark, actual, level.max(0.0)));
        }
    }
    assert_eq!(refused, 0);
    assert!(passed > 720_000 * 97 / 100, "{passed}");
    assert!(bucket.foreign_share().unwrap_or_default() < 0.05);
}

fn told_of(left: f64, reset: f64) -> Reading {
    let rounded = (left / 1_000.0).round() as u64 * 1_000;
    told(Kind::OutputTokens, 60_000, rounded, reset)
}
