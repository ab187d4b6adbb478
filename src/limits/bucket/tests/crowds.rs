//! Crowds at an idle account, which the provider has room for.

use super::*;

/// Forty quiet seconds at a provider of `limit` a minute that says so; `slides`: it keeps a log of the last minute.
fn quiet(kind: Kind, limit: u64, one: u64, slides: bool, start: Instant) -> Bucket {
    let mut bucket = bucket(kind, start);
    for second in 0..5 {
        let now = start + Duration::from_secs(second * 10);
        let mark = bucket.take(one, now);
        let (left, reset) = match slides {
            true => (limit - one * (second + 1), 60.0),
            false => (limit - one, 60.0 * one as f64 / limit as f64),
        };
        bucket.heard(mark, &told(kind, limit, left, reset), now);
        bucket.answered(mark, now);
        bucket.settle(mark, one, now);
    }
    bucket
}

/// How many of `calls` calls of `one` that come at once have gone within half a minute; answers take a second.
fn crowd(bucket: &mut Bucket, calls: u64, one: u64, start: Instant) -> u64 {
    let (mut gone, mut under_way) = (0, Vec::new());
    for tick in 0..300 {
        let now = start + Duration::from_millis(tick * 100);
        for mark in under_way.extract_if(.., |mark: &mut Mark| {
            mark.at + Duration::from_secs(1) <= now
        }) {
            bucket.answered(mark, now);
            bucket.settle(mark, one, now);
        }
        while gone < calls && bucket.ask(one, Standing::First, now) == Room::Now {
            under_way.push(bucket.take(one, now));
            gone += 1;
        }
        if tick == 5 && gone < calls {
            let mut hopeful = bucket.given_back(now).expect("a burst is under way");
            let most = (calls - gone) * one * 6 / 10;
            assert_eq!(
                hopeful.ask(most, Standing::First, now),
                Room::Now,
                "the rest is expected to go"
            );
        }
    }
    gone
}

/// Went wrong: 600 calls at once at 600 a minute, and a burst of five seconds' worth: 240 were refused that the provider had room for.
#[test]
fn a_whole_minutes_worth_goes_within_half_a_minute() {
    for (kind, limit, calls, one, slides) in [
        (Kind::Requests, 600, 590, 1, false),
        (Kind::Requests, 3_500, 3_400, 1, false),
        (Kind::Tokens, 300_000, 480, 600, false),
        (Kind::Requests, 600, 580, 1, true),
    ] {
        let start = Instant::now();
        let mut bucket = quiet(kind, limit, one, slides, start);
        let gone = crowd(&mut bucket, calls, one, start + Duration::from_secs(120));
        assert_eq!(gone, calls, "{kind:?} {limit} {slides}");
    }
}

#[test]
fn after_a_surprise_a_crowd_goes_at_the_rate() {
    let start = Instant::now();
    let mut bucket = quiet(Kind::Requests, 600, 1, false, start);
    let now = start + Duration::from_secs(60);
    let mark = bucket.take(1, now);
    bucket.heard(mark, &told(Kind::Requests, 600, 590, 1.0), now);
    assert!(bucket.refused(mark, &Refusal::default(), now));
    bucket.settle(mark, 0, now);
    let gone = crowd_at_the_rate(&mut bucket, start + Duration::from_secs(120));
    assert!(gone <= 300 + 50, "{gone}");
}

/// The same, without a look at what is hoped for.
fn crowd_at_the_rate(bucket: &mut Bucket, start: Instant) -> u64 {
    let mut gone = 0;
    for tick in 0..300 {
        let now = start + Duration::from_millis(tick * 100);
        while gone < 600 && bucket.ask(1, Standing::First, now) == Room::Now {
            let mark = bucket.take(1, now);
            bucket.answered(mark, now);
            bucket.settle(mark, 1, now);
            gone += 1;
        }
    }
    gone
}

#[test]
fn a_set_number_earns_no_larger_burst() {
    let start = Instant::now();
    let mut bucket = quiet(Kind::Requests, 6_000, 1, false, start);
    bucket.set(NonZeroU64::new(600));
    let now = start + Duration::from_secs(120);
    for round in 0..40_u64 {
        let now = now + Duration::from_millis(round * 10);
        let mut marks = Vec::new();
        while bucket.ask(1, Standing::First, now) == Room::Now {
            marks.push(bucket.take(1, now));
        }
        for mark in marks {
            bucket.answered(mark, now);
            bucket.settle(mark, 1, now);
        }
    }
    let burst = bucket.view(now).unwrap().burst;
    assert!(burst <= 50, "{burst}");
}

/// Went wrong: of three a minute the third reply said nothing, as what is used up takes a whole minute to leave a log, too.
#[test]
fn of_three_a_minute_the_fourth_is_told_twenty_seconds() {
    let start = Instant::now();
    let mut bucket = bucket(Kind::Requests, start);
    for n in 1..=3_u64 {
        let mark = bucket.take(1, start);
        bucket.heard(
            mark,
            &told(Kind::Requests, 3, 3 - n, 20.0 * n as f64),
            start,
        );
        bucket.answered(mark, start);
        bucket.settle(mark, 1, start);
    }
    let Room::In(wait) = bucket.ask(1, Standing::First, start) else {
        panic!("none is left")
    };
    assert!((20.0..=23.0).contains(&wait.as_secs_f64()), "{wait:?}");
}

/// Went wrong: two of two hundred a day were never used.
#[test]
fn of_a_day_nothing_is_left_over() {
    let now = Instant::now();
    let mut bucket = bucket(Kind::RequestsPerDay, now);
    let mark = bucket.take(1, now);
    bucket.heard(mark, &told(Kind::RequestsPerDay, 200, 2, 86_400.0), now);
    for _ in 0..2 {
        assert_eq!(bucket.ask(1, Standing::First, now), Room::Now);
        bucket.take(1, now);
    }
    assert!(matches!(bucket.ask(1, Standing::First, now), Room::In(_)));
}

/// Went wrong: a quarter of the whole was taken for slack, so that what was declared waited for a full bucket and was refused then.
#[test]
fn what_is_declared_is_no_estimate() {
    let now = Instant::now();
    let mut bucket = bucket(Kind::Tokens, now);
    let mark = bucket.take(10, now);
    bucket.heard(mark, &told(Kind::Tokens, 30_000, 29_990, 0.02), now);
    for (amount, certain, never) in [
        (30_000, 0, false),
        (37_000, 0, false),
        (38_000, 0, true),
        (32_010, 32_000, true),
        (33_000, 5_000, false),
        (30_001, 30_001, true),
    ] {
        let limit = never.then_some(30_000);
        assert_eq!(bucket.never(amount, certain), limit, "{amount} {certain}");
    }
}
