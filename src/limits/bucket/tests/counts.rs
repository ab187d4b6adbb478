//! The three laws told apart.

use super::*;
use crate::limits::bucket::count::*;

const LAW: Law = Law {
    limit: 600.0,
    rate: 10.0,
    fixed: false,
};

fn reading(remaining: u64, reset: f64) -> Reading {
    Reading {
        kind: Kind::Requests,
        limit: Some(600),
        remaining: Some(remaining),
        reset: Some(Duration::from_secs_f64(reset)),
        window: None,
        rounding: 1,
    }
}

fn mark(at: Instant, after: u64) -> Mark {
    Mark {
        at,
        amount: 1,
        after,
        before: 0,
        leaving: 0,
        corrected: 0.0,
        under_way: 0,
    }
}

#[test]
fn what_was_told_is_brought_up_to_date() {
    let start = Instant::now();
    let now = start + Duration::from_secs(4);
    // The reply is four seconds old; since it was sent 25 more went.
    let mut count = Count::new(LAW, mark(start, 100), &reading(300, 30.0), 125, now).unwrap();
    assert!((count.level(LAW, now) - 315.0).abs() < 1e-6);
    assert!((count.level(LAW, now + Duration::from_secs(1)) - 325.0).abs() < 1e-6);
    let wait = count.wait(600.0, 0.0, LAW, now + Duration::from_secs(1));
    assert!((wait.as_secs_f64() - 27.5).abs() < 1e-6);
}

#[test]
fn older_news_change_nothing() {
    let start = Instant::now();
    let later = start + Duration::from_secs(2);
    let mut count = Count::new(LAW, mark(later, 10), &reading(500, 10.0), 10, later).unwrap();
    count.hear(LAW, mark(start, 1), &reading(100, 50.0), 10, later);
    assert!((count.level(LAW, later) - 500.0).abs() < 1e-6);
}

#[test]
fn three_replies_prove_that_it_refills() {
    let start = Instant::now();
    let mut count = Count::new(LAW, mark(start, 1), &reading(599, 0.1), 1, start).unwrap();
    assert!(!count.refills());
    for n in 2..=3 {
        count.hear(
            LAW,
            mark(start, n),
            &reading(600 - n, n as f64 / 10.0),
            n,
            start,
        );
    }
    assert!(count.refills());
}

#[test]
fn an_end_that_recedes_is_a_log_and_one_that_stays_is_a_window() {
    for (recedes, stays) in [(true, false), (false, true)] {
        let start = Instant::now();
        let mut count = Count::restored(600.0, start);
        let mut used = 0;
        for second in 0..50_u32 {
            let now = start + Duration::from_secs(second.into());
            used += 5;
            let reset = if recedes {
                60.0
            } else {
                60.0 - f64::from(second)
            };
            let told = reading(600 - used, reset);
            count.hear(LAW, mark(now, used), &told, used, now);
        }
        assert_eq!((count.slides(LAW), count.is_fixed(LAW)), (recedes, stays));
        assert!(!count.refills());
    }
}

#[test]
fn a_call_that_arrives_behind_the_end_of_a_window_makes_no_log_of_it() {
    let start = Instant::now();
    let mut count = Count::restored(600.0, start);
    for (n, (sent, reset)) in [(0.0, 60.0), (20.0, 40.0), (40.0, 20.0), (59.98, 60.0)]
        .into_iter()
        .enumerate()
    {
        let now = start + Duration::from_secs_f64(sent);
        let n = n as u64 + 1;
        count.hear(LAW, mark(now, n), &reading(600 - n, reset), n, now);
    }
    assert!(count.is_fixed(LAW) && !count.slides(LAW));
}

#[test]
fn of_several_ends_of_one_window_the_latest_counts() {
    let start = Instant::now();
    let mut count = Count::new(LAW, mark(start, 1), &reading(599, 39.95), 1, start).unwrap();
    // Ways of different lengths: each reply tells what was left when its call arrived.
    for (n, way) in [(2, 0.02), (3, 0.005), (4, 0.08), (5, 0.03)] {
        let told = reading(10, 40.0 - way);
        count.hear(LAW, mark(start, n), &told, n, start);
    }
    let wait = count.wait(11.0, 0.0, LAW, start).as_secs_f64();
    assert!((wait - 39.995).abs() < 1e-3, "{wait}");
    // Another window is another end.
    let later = start + Duration::from_secs(41);
    count.hear(LAW, mark(later, 6), &reading(500, 58.0), 6, later);
    assert_eq!(count.wait(501.0, 0.0, LAW, later), Duration::from_secs(58));
}

#[test]
fn a_fixed_window_gives_all_back_at_its_end_and_nothing_before() {
    let start = Instant::now();
    let mut count = Count::new(LAW, mark(start, 1), &reading(599, 40.0), 1, start).unwrap();
    for n in 2..=3 {
        count.hear(LAW, mark(start, n), &reading(10, 40.0), n, start);
    }
    let later = start + Duration::from_secs(39);
    assert!((count.level(LAW, later) - 10.0).abs() < 1e-6);
    assert_eq!(count.wait(11.0, 0.0, LAW, later), Duration::from_secs(1));
    assert!((count.level(LAW, start + Duration::from_secs(40)) - 600.0).abs() < 1e-6);
}

#[test]
fn a_fixed_window_of_unknown_end_ends_after_its_length() {
    let start = Instant::now();
    let mut count = Count::new(LAW, mark(start, 1), &reading(599, 40.0), 1, start).unwrap();
    for n in 2..=3 {
        count.hear(LAW, mark(start, n), &reading(10, 40.0), n, start);
    }
    // After its end nothing was told but that nothing is left.
    let later = start + Duration::from_secs(50);
    count.level(LAW, later);
    let silent = Reading {
        reset: None,
        ..reading(0, 0.0)
    };
    count.hear(LAW, mark(later, 4), &silent, 4, later);
    assert!(count.wait(1.0, 0.0, LAW, later) > Duration::ZERO);
    let mut now = later;
    // And so it does when nobody tells anything any more.
    for _ in 0..3 {
        now += Duration::from_secs(61);
        assert_eq!(count.wait(1.0, 0.0, LAW, now), Duration::ZERO);
        count.take(600.0);
        assert!(count.wait(1.0, 0.0, LAW, now) > Duration::ZERO);
    }
}

#[test]
fn a_refusals_wait_tells_a_bucket_that_refills_from_a_window() {
    let start = Instant::now();
    let mut count = Count::restored(600.0, start);
    let one = |wait| Some((1.0, Duration::from_secs(wait)));
    count.refused(LAW, mark(start, 1), 600.0, one(41), 1, start);
    assert!(!count.refills());
    count.refused(
        LAW,
        mark(start, 2),
        600.0,
        Some((1.0, Duration::from_millis(100))),
        2,
        start,
    );
    assert!(count.refills());
    count.refused(LAW, mark(start, 3), 600.0, one(23), 3, start);
    assert!(!count.refills(), "that was chance");
}
