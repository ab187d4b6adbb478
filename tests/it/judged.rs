//! The judge of the limiters' bench: whom it calls refused unjustly.

use std::time::Duration;

use tokio::time::Instant;
use weir::sim::{Algorithm, Ask, Limits, Meter, Time, Used};

#[path = "../../benches/limits/oracle.rs"]
mod oracle;

use self::oracle::{Held, Provider, Went, replay};

fn went(app: u64, came: f64, left: f64) -> Went {
    Went {
        app,
        came: Some(came),
        left,
        door: left + 0.02,
        ask: Ask::text(100, 0),
        over: left + 1.0,
        used: Some(Used {
            input: 100,
            output: 0,
        }),
        admitted: true,
    }
}

fn held(app: u64, came: f64, tokens: u64) -> Held {
    Held {
        app,
        came,
        until: came + 30.0,
        ask: Ask::text(tokens, 0),
    }
}

fn judged(limits: Limits, went: &[Went], held: &[Held]) -> Vec<Option<f64>> {
    let began = Instant::now();
    let meter = Meter::new(limits, 1, began);
    let provider = Provider {
        meter,
        began,
        model: "gpt-4o",
    };
    replay(provider, went, held)
}

fn tokens(limit: u32) -> Limits {
    Limits {
        tokens_per_minute: Some(limit),
        ..Limits::default()
    }
}

#[test]
fn who_would_have_had_the_turn_of_a_later_call_was_refused_unjustly() {
    // Its app's next call came later and went in time.
    let log = [went(1, 0.0, 0.0), went(1, 5.0, 20.0)];
    let could = judged(tokens(60_000), &log, &[held(1, 2.0, 100)]);
    assert_eq!(could, [Some(20.0)]);
}

#[test]
fn whose_turn_comes_too_late_was_refused_justly() {
    let log = [went(1, 0.0, 0.0), went(1, 5.0, 32.1)];
    assert_eq!(judged(tokens(60_000), &log, &[held(1, 2.0, 100)]), [None]);
}

#[test]
fn those_before_it_go_first_and_another_apps_turn_is_not_its() {
    // The earlier call of its app went at 31, so that no turn of its app was free before.
    let log = [went(1, 0.0, 31.0), went(2, 3.0, 4.0), went(1, 2.5, 33.0)];
    assert_eq!(judged(tokens(60_000), &log, &[held(1, 2.0, 100)]), [None]);
    // Without any later one of its app: after its own, and after those of others that came before.
    let log = [went(1, 0.0, 10.0), went(2, 3.0, 4.0)];
    let could = judged(tokens(60_000), &log, &[held(1, 2.0, 100)]);
    assert_eq!(could, [Some(10.0)]);
    assert_eq!(judged(tokens(60_000), &[], &[held(1, 2.0, 100)]), [None]);
}

#[test]
fn a_larger_call_than_the_one_whose_turn_it_takes_needs_room_at_the_provider() {
    // 600 tokens, 10 a second: 100 are used at 20 s, and come back in ten.
    let log = [went(1, 0.0, 0.0), went(2, 1.0, 19.9), went(1, 5.0, 20.0)];
    let could = judged(tokens(600), &log, &[held(1, 2.0, 550), held(1, 2.0, 601)]);
    let left = could[0].expect("there is room soon");
    // At 20.02 s 100 of 600 are used, less what came back in a tenth of a second: 49 are missing.
    assert!((left - 24.9).abs() < 0.1, "{left}");
    assert_eq!(could[1], None, "larger than the limit");
    // Too long for one whose time ends earlier.
    let mut hasty = held(1, 2.0, 550);
    hasty.until = 24.0;
    assert_eq!(judged(tokens(600), &log, &[hasty]), [None]);
}

#[test]
fn what_was_given_back_by_then_counts() {
    let limits = Limits {
        algorithm: Some(Algorithm::Fixed),
        charge: Some(weir::sim::Charge::Usage),
        ..tokens(600)
    };
    let mut first = went(2, 0.0, 0.0);
    first.ask = Ask::text(100, 450);
    let log = [first, went(1, 5.0, 20.0)];
    // Its estimate was 550, and it used 100.
    let could = judged(limits.clone(), &log, &[held(1, 2.0, 400)]);
    assert_eq!(could, [Some(20.0)]);
    // Still under way, it has given nothing back: the window ends at 60.
    let mut slow = log;
    slow[0].over = f64::INFINITY;
    assert_eq!(judged(limits, &slow, &[held(1, 2.0, 400)]), [None]);
}

#[test]
fn a_repeat_has_no_turn_of_its_own() {
    let mut repeat = went(1, 0.0, 20.0);
    repeat.came = None;
    let log = [went(1, 0.0, 0.0), repeat];
    assert_eq!(judged(tokens(60_000), &log, &[held(1, 2.0, 100)]), [None]);
}

/// Asking changes nothing, whatever was asked.
#[test]
fn the_meter_says_what_it_would_do_and_does_not_do_it() {
    let now = Instant::now();
    let limits = Limits {
        day_resets_in: Some(Time(Duration::from_secs(600))),
        ..tokens(600)
    };
    let mut meter = Meter::new(limits, 1, now);
    for _ in 0..10 {
        assert!(meter.would_admit(now, "m", Ask::text(600, 0)).is_ok());
        assert!(meter.would_admit(now, "m", Ask::text(601, 0)).is_err());
    }
    assert_eq!(meter.tally(now).refusals(), 0);
    assert!(meter.admit(now, "m", Ask::text(600, 0)).is_ok());
    assert!(meter.would_admit(now, "m", Ask::text(1, 0)).is_err());
}
