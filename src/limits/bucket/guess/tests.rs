use super::*;

fn refused(sent: Instant, taken: f64, within: f64) -> Refused {
    Refused {
        sent,
        taken,
        within,
        wanted: true,
    }
}

/// Minutes of more demand than any limit, at a bucket that refills `limit` a minute and holds so many minutes' worth, full at first.
/// What passed, what was refused, and where the guess stood at the end.
fn drive(limit: f64, holds: f64, raised: f64, minutes: u32) -> (f64, u32, f64) {
    let start = Instant::now();
    let (mut level, mut capacity) = (limit * holds, limit);
    let (mut passed, mut refusals, mut due) = (0.0_f64, 0, 0.0);
    let mut guess: Option<Guess> = None;
    let step = 0.01;
    for tick in 0..minutes * 6_000 {
        let now = start + Duration::from_secs_f64(f64::from(tick) * step);
        if tick == minutes * 3_000 {
            capacity = limit * raised;
        }
        level = (level + capacity / 60.0 * step).min(capacity * holds);
        due = (due + guess.map_or(1.0, |guess: Guess| guess.limit() / 60.0 * step)).min(2.0);
        while due >= 1.0 {
            due -= 1.0;
            if level >= 1.0 {
                level -= 1.0;
                passed += 1.0;
                if let Some(guess) = &mut guess {
                    guess.answered(now, true, (passed, 60.0), now);
                }
            } else {
                refusals += 1;
                let refused = refused(now, passed, passed.min(limit));
                match &mut guess {
                    Some(guess) => guess.refused(refused, 60.0, now),
                    None => guess = Some(Guess::new(refused, refused.within / holds, now)),
                }
            }
        }
    }
    (passed, refusals, guess.map_or(0.0, |guess| guess.limit()))
}

#[test]
fn a_limit_that_nobody_tells_is_found_and_held() {
    let (passed, refusals, end) = drive(600.0, 1.0, 1.0, 20);
    assert!(end > 550.0 && end < 680.0, "{end}");
    assert!(passed > 600.0 * 20.0 * 0.93, "{passed}");
    assert!(
        f64::from(refusals) < passed * 0.01,
        "{refusals} of {passed}"
    );
}

#[test]
fn a_raised_limit_is_used_by_and_by() {
    let (_, _, end) = drive(600.0, 1.0, 3.0, 30);
    assert!(end > 1_500.0 && end < 2_000.0, "{end}");
}

#[test]
fn a_provider_that_stores_but_a_second_is_used_from_the_first_minute_on() {
    for (minutes, part) in [(1, 0.6), (5, 0.85), (20, 0.93)] {
        let (passed, refusals, _) = drive(600.0, 1.0 / 60.0, 1.0, minutes);
        let all = 600.0 * f64::from(minutes);
        assert!(passed > all * part, "{minutes}: {passed}");
        assert!(
            f64::from(refusals) < 10.0 + passed * 0.01,
            "{minutes}: {refusals} of {passed}"
        );
    }
}

/// Ten passed of a wave, then nobody for a moment: ten a second at most, one in that moment at least.
#[test]
fn where_it_was_shut_for_a_moment_it_begins_between_the_least_and_the_most() {
    let start = Instant::now();
    let now = start + Duration::from_millis(1_400);
    // As it looked when the rest of the wave was not refused yet.
    let mut guess = Guess::new(refused(start, 10.0, 10.0), 3_600.0, start);
    let shut = (Duration::from_millis(300), 43.0);
    guess.reopened(Some(600.0), shut, 10.0, now);
    assert!(guess.limit() > 140.0 && guess.limit() < 170.0);
    // It climbs to what may be the limit, and not further.
    let (mut at, mut passed, mut highest) = (now, 10.0, 0.0_f64);
    for _ in 0..80 {
        at += Duration::from_millis(100);
        passed += guess.limit() / 600.0;
        guess.answered(at, true, (passed, 60.0), at);
        highest = highest.max(guess.limit());
    }
    assert!((highest - 600.0 * BELOW).abs() < 1.0, "{highest}");
}

#[test]
fn a_window_that_was_shut_for_long_tells_the_rate() {
    let start = Instant::now();
    let mut guess = Guess::new(refused(start, 600.0, 600.0), 900.0, start);
    let now = start + Duration::from_secs(20);
    guess.reopened(Some(600.0), (Duration::from_secs(19), 600.0), 600.0, now);
    assert!((guess.limit() - 600.0 * BELOW).abs() < 0.1);
}

#[test]
fn what_was_sent_before_the_last_change_says_nothing_new() {
    let start = Instant::now();
    let mut guess = Guess::new(refused(start, 100.0, 100.0), 600.0, start);
    let before = guess.limit();
    let early = start - Duration::from_secs(1);
    for n in 0..20 {
        guess.refused(refused(early, 100.0 + f64::from(n), 100.0), 60.0, start);
    }
    assert!((guess.limit() - before).abs() < 1e-9);
}

#[test]
fn who_owes_refusals_tries_later() {
    let climbs_after = |owed: u32| {
        let start = Instant::now();
        let mut guess = Guess::restored(600.0, start);
        (0..owed).for_each(|_| guess.pays());
        let (before, mut passed) = (guess.limit(), 0.0);
        let after = (1..400).find(|second| {
            let now = start + Duration::from_secs(*second);
            passed += 10.0;
            guess.answered(now, true, (passed, 60.0), now);
            guess.limit() > before
        });
        after.expect("it is tried some time")
    };
    assert!(climbs_after(2) > climbs_after(0) * 3 / 2);
    // Nobody is ruined.
    assert_eq!(climbs_after(2), climbs_after(50));
}

#[test]
fn what_may_not_be_a_rate_at_all_is_tried_within_seconds() {
    let start = Instant::now();
    let raised = |passes: f64| {
        let mut guess = Guess::restored(600.0, start);
        let mut passed = 0.0;
        (1..60).find(|second| {
            let now = start + Duration::from_secs(*second);
            passed += passes;
            guess.doubted(now, true, (passed, 60.0), now);
            guess.limit() > 600.0 * 1.4
        })
    };
    assert_eq!(raised(10.0), Some(DOUBTED_EVERY.as_secs()));
    assert_eq!(raised(5.0), None, "what is not used is not too low");
}

#[test]
fn a_step_in_doubt_that_fails_leaves_all_as_it_was() {
    let start = Instant::now();
    let at = |second: u64| start + Duration::from_secs(second);
    let mut guess = Guess::restored(600.0, start);
    let known = (guess.limit, guess.ceiling);
    guess.doubted(at(4), true, (40.0, 60.0), at(4));
    assert!(guess.limit > known.0 * 1.4);
    guess.refused(refused(at(5), 55.0, 55.0), 60.0, at(5));
    assert!((guess.limit - known.0).abs() < 1e-9 && (guess.ceiling - known.1).abs() < 1e-9);
    // The next refusal is one like any other.
    guess.refused(refused(at(9), 80.0, 80.0), 60.0, at(9));
    assert!(guess.limit < known.0);
}
