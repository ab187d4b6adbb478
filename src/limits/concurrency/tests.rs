use proptest::prelude::*;

use super::*;

/// A provider that takes `most` calls at once; each lasts a second. Returns refusals and calls of the last minute.
fn run(most: u32, wanted: u32, seconds: u32) -> (u32, u32, Concurrency) {
    let mut learnt = Concurrency::default();
    let mut now = Instant::now();
    let (mut refused, mut answered) = (0, 0);
    for second in 0..seconds {
        let sent = now;
        let under_way = learnt.limit(now).unwrap_or(wanted).min(wanted);
        now += Duration::from_secs(1);
        for n in 0..under_way {
            let late = second + 60 >= seconds;
            if n < most {
                learnt.answered(sent, under_way, now);
                answered += u32::from(late);
            } else {
                learnt.refused(sent, (under_way, most), Why::Limit, now);
                refused += u32::from(late);
            }
        }
    }
    (refused, answered, learnt)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_bounded_before_a_refusal() {
    let (refused, answered, learnt) = run(100, 50, 120);
    assert_eq!((refused, answered), (0, 3_000));
    assert_eq!(learnt.limit(Instant::now()), None);
}

#[tokio::test(start_paused = true)]
async fn most_of_what_the_provider_takes_is_used_and_little_is_refused() {
    for most in [1, 4, 20, 200] {
        let (refused, answered, _) = run(most, most * 3, 3_600);
        assert!(
            f64::from(answered) >= 0.85 * f64::from(most * 60),
            "{most}: {answered}"
        );
        assert!(
            f64::from(refused) <= 0.02 * f64::from(answered) + 2.0,
            "{most}: {refused}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_wave_of_refusals_cuts_once() {
    let (mut learnt, sent) = (Concurrency::default(), Instant::now());
    let now = sent + Duration::from_secs(1);
    for _ in 0..50 {
        learnt.refused(sent, (100, 99), Why::Overload, now);
    }
    assert_eq!(learnt.limit(now), Some(70));
    learnt.refused(now, (60, 59), Why::SlowDown, now + Duration::from_secs(1));
    assert_eq!(learnt.limit(now), Some(30));
}

#[tokio::test(start_paused = true)]
async fn a_try_that_fails_returns_to_what_held() {
    let (mut learnt, mut now) = (Concurrency::default(), Instant::now());
    learnt.refused(now, (21, 20), Why::Limit, now);
    while learnt.limit(now) == Some(20) {
        let sent = now;
        now += Duration::from_secs(1);
        (0..20).for_each(|_| learnt.answered(sent, 20, now));
    }
    assert_eq!(learnt.limit(now), Some(22));
    let later = now + Duration::from_millis(5);
    learnt.refused(now, (21, 21), Why::Limit, later);
    learnt.refused(now, (22, 20), Why::Limit, later);
    assert_eq!(learnt.limit(later), Some(20));
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_in_doubt_is_tried_soon() {
    let tried_after = |certain: bool| {
        let (mut learnt, mut now) = (Concurrency::default(), Instant::now());
        if certain {
            learnt.refused(now, (12, 11), Why::Limit, now);
        } else {
            assert!(!learnt.doubtful(now, (12, 11), now));
        }
        let start = now;
        while learnt.limit(now) == Some(11) {
            let sent = now;
            now += Duration::from_secs(1);
            (0..11).for_each(|_| learnt.answered(sent, 11, now));
        }
        (now - start).as_secs()
    };
    assert!(tried_after(false) <= 6 && tried_after(true) >= 30);
}

/// A bound of `most` that was tried for good, after which nothing holds anybody back. Seconds until `wanted` may go at once.
fn recovery(learnt: &mut Concurrency, wanted: u32, mut now: Instant) -> u32 {
    for second in 0..3_600 {
        let under_way = learnt.limit(now).unwrap_or(wanted).min(wanted);
        if under_way >= wanted {
            return second;
        }
        let sent = now;
        now += Duration::from_secs(1);
        for _ in 0..under_way {
            learnt.answered(sent, under_way, now);
        }
    }
    u32::MAX
}

/// Went wrong: the lone probes of an open circuit taught that one call at once was too many, and a quarter of an hour
/// after the outage most calls still waited.
#[tokio::test(start_paused = true)]
async fn an_outage_is_no_bound_on_what_goes_at_once_after_it() {
    let (mut learnt, mut now) = (Concurrency::default(), Instant::now());
    for _ in 0..50 {
        learnt.refused(now, (200, 199), Why::Overload, now + Duration::from_secs(1));
    }
    for _ in 0..10 {
        now += Duration::from_secs(30);
        learnt.refused(now, (1, 0), Why::Overload, now + Duration::from_secs(1));
    }
    let seconds = recovery(&mut learnt, 185, now + Duration::from_secs(2));
    assert!(seconds <= 10, "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn an_overload_makes_no_queue_of_a_few_calls() {
    let (mut learnt, now) = (Concurrency::default(), Instant::now());
    learnt.refused(now, (1, 0), Why::Overload, now);
    assert_eq!(learnt.limit(now), None, "a lone call was not one too many");
    learnt.refused(now, (2, 1), Why::Overload, now);
    assert_eq!(learnt.limit(now), Some(4));
}

/// Every wave was refused, down to the last call: what was tried and held is tried further, and faster.
#[tokio::test(start_paused = true)]
async fn from_the_lowest_bound_it_is_not_long_to_a_high_one() {
    let (mut learnt, mut now) = (Concurrency::default(), Instant::now());
    let mut under_way = 200;
    for _ in 0..40 {
        learnt.refused(
            now,
            (under_way.max(2), 0),
            Why::Limit,
            now + Duration::from_millis(10),
        );
        now += Duration::from_secs(1);
        under_way = learnt.limit(now).unwrap();
    }
    assert_eq!(under_way, 1);
    let seconds = recovery(&mut learnt, 200, now);
    assert!(seconds <= 180, "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_nobody_needs_is_forgotten() {
    let (mut learnt, now) = (Concurrency::default(), Instant::now());
    learnt.refused(now, (10, 9), Why::Limit, now);
    let mut at = now;
    for _ in 0..599 {
        at += Duration::from_secs(1);
        learnt.answered(at, 1, at);
    }
    assert!(learnt.limit(at).is_some());
    assert_eq!(learnt.limit(at + Duration::from_secs(1)), None);
}

/// A minute's rate was once taken for a number of calls, and held back what the provider would have taken.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_fewer_than_were_answered_is_not_for_their_number() {
    let (mut learnt, now) = (Concurrency::default(), Instant::now());
    learnt.took(30, now);
    assert!(!learnt.doubtful(now, (20, 19), now + Duration::from_secs(1)));
    assert_eq!(learnt.limit(now), None);
    // More than were answered, though, may be too many; the answer to more than that says that it was not.
    let later = now + Duration::from_secs(2);
    learnt.doubtful(later, (40, 39), later);
    assert_eq!(learnt.limit(later), Some(39));
    learnt.took(60, later);
    learnt.doubtful(later, (41, 40), later + Duration::from_secs(1));
    assert_eq!(learnt.limit(later), None);
}

#[tokio::test(start_paused = true)]
async fn what_only_more_calls_than_ever_explain_is_their_number() {
    let (mut learnt, mut now) = (Concurrency::default(), Instant::now());
    for round in 1..=3 {
        learnt.took(20, now);
        let sent = now;
        now += Duration::from_secs(5);
        assert_eq!(learnt.doubtful(sent, (21, 20), now), round == 3, "{round}");
    }
    assert_eq!(learnt.limit(now), Some(20));
}

proptest! {
    /// In whatever order they arrive there, and however many they are.
    #[test]
    fn of_a_refused_wave_those_who_were_let_in_are_the_number(
        most in 1_u32..50, more in 1_u32..100, dice in prop::collection::vec(any::<u32>(), 150)
    ) {
        let mut learnt = Concurrency::default();
        let sent = Instant::now();
        let now = sent + Duration::from_millis(5);
        // Who was sent as one of how many: those who arrive first are let in.
        let mut wave: Vec<u32> = (1..=most + more).collect();
        wave.sort_by_key(|among| dice[*among as usize % dice.len()]);
        let mut left = most + more;
        for among in &wave[most as usize..] {
            left -= 1;
            learnt.refused(sent, (*among, left), Why::Limit, now);
        }
        let limit = learnt.limit(now);
        // One that was sent alone was not one too many.
        let alone = wave[most as usize..].contains(&1);
        prop_assert!(limit == Some(most) || alone, "{limit:?}");
    }

    /// Somebody may always go, and never more than once were refused, until it is time to try.
    #[test]
    fn the_bound_is_at_least_one_and_below_the_refusal(
        steps in prop::collection::vec((0_u64..2_000, 2_u32..500, 0_u8..3), 1..200)
    ) {
        let mut learnt = Concurrency::default();
        let mut now = Instant::now();
        for (ms, under_way, what) in steps {
            let sent = now;
            now += Duration::from_millis(ms);
            let before = learnt.limit(now);
            match what {
                0 => learnt.refused(sent, (under_way, under_way - 1), Why::Limit, now),
                1 => learnt.refused(sent, (under_way, under_way - 1), Why::SlowDown, now),
                _ => learnt.answered(sent, under_way, now),
            }
            let after = learnt.limit(now);
            prop_assert!(after != Some(0));
            if what < 2 {
                prop_assert!(after.is_some());
                prop_assert!(before.is_none_or(|before| after <= Some(before)), "{before:?} {after:?}");
            }
        }
    }
}

/// A number that three refusals explain, of calls that were sent as one more than were ever answered.
fn certain(most: u32, mut now: Instant) -> (Concurrency, Instant) {
    let mut learnt = Concurrency::default();
    for _ in 0..CERTAIN {
        learnt.took(most, now);
        now += Duration::from_secs(1);
        learnt.doubtful(now, (most + 1, most), now + Duration::from_millis(1));
        now += Duration::from_secs(1);
    }
    assert!(learnt.doubtful(now, (most + 1, most), now));
    (learnt, now)
}

/// Went wrong: what was once taken for a number was believed however many were refused with no more under way than had been answered.
#[tokio::test(start_paused = true)]
async fn refusals_that_the_number_does_not_explain_end_the_belief_in_it() {
    let (mut learnt, mut now) = certain(10, Instant::now());
    learnt.took(10, now);
    for left in (0..CERTAIN).rev() {
        now += Duration::from_secs(1);
        // Those who were sent before the last one was heard of are of the same wave.
        for _ in 0..5 {
            assert_eq!(learnt.doubtful(now, (10, 9), now), left > 0);
        }
        now += Duration::from_millis(1);
    }
    assert_eq!(learnt.limit(now), None);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_free_yet_now_and_then_is_no_reason_to_doubt() {
    let (mut learnt, mut now) = certain(10, Instant::now());
    for _ in 0..20 {
        now += Duration::from_secs(11);
        learnt.took(10, now);
        assert!(learnt.doubtful(now, (10, 9), now));
    }
    assert!(learnt.limit(now).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_first_refusal_is_in_doubt_for_a_while() {
    let (mut learnt, now) = (Concurrency::default(), Instant::now());
    assert!(!learnt.is_doubted(now));
    learnt.took(10, now);
    learnt.doubtful(now, (11, 10), now);
    assert!(learnt.is_doubted(now) && learnt.is_doubted(now + RECENT));
    assert!(!learnt.is_doubted(now + RECENT * 2));
    assert!(!certain(10, now).0.is_doubted(now));
}
