//! What a meter lets in, and when.

mod properties;
mod told;

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::*;
use crate::sim::Time;

const MINUTE: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

fn per_minute(requests: u32) -> Limits {
    Limits {
        requests_per_minute: Some(requests),
        ..Limits::default()
    }
}

fn tokens_per_minute(tokens: u32) -> Limits {
    Limits {
        tokens_per_minute: Some(tokens),
        ..Limits::default()
    }
}

/// Lets a call in that is over at once.
fn call(meter: &mut Meter, now: Instant, model: &str, tokens: u64) -> Result<(), Box<Refusal>> {
    let admitted = meter.admit(now, model, Ask::text(tokens, 0))?;
    meter.cancel(now, admitted);
    Ok(())
}

/// How many calls pass at that moment.
fn passing(meter: &mut Meter, now: Instant) -> usize {
    (0..100_000)
        .take_while(|_| call(meter, now, "m", 0).is_ok())
        .count()
}

fn header(headers: &[(&'static str, String)], name: &str) -> String {
    headers
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no {name} in {headers:?}"))
        .1
        .clone()
}

#[test]
fn fixed_windows_let_twice_the_limit_pass_around_their_border_and_a_log_does_not() {
    let start = Instant::now();
    let both_sides = |algorithm| {
        let limits = Limits {
            algorithm: Some(algorithm),
            ..per_minute(10)
        };
        let mut meter = Meter::new(limits, 1, start);
        let before = passing(&mut meter, start + MINUTE - Duration::from_secs(1));
        before + passing(&mut meter, start + MINUTE)
    };
    assert_eq!(both_sides(Algorithm::Fixed), 20);
    assert_eq!(both_sides(Algorithm::Sliding), 10);
    assert_eq!(both_sides(Algorithm::Refill), 10);
}

#[test]
fn windows_of_a_second_refuse_a_minutes_burst_by_every_algorithm() {
    for algorithm in [Algorithm::Refill, Algorithm::Fixed, Algorithm::Sliding] {
        let start = Instant::now();
        let limits = Limits {
            algorithm: Some(algorithm),
            window_ms: Some(1_000),
            ..per_minute(600)
        };
        let mut meter = Meter::new(limits, 1, start);
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(passing(&mut meter, now), 10, "{algorithm:?} {second}");
        }
    }
}

#[test]
fn day_limits_refill_steadily_or_are_full_again_at_the_told_time() {
    let start = Instant::now();
    let hour = Duration::from_secs(3_600);
    let steady = Limits {
        requests_per_day: Some(24),
        ..Limits::default()
    };
    let midnight = Limits {
        day_resets_in: Some(seconds(7 * 3_600)),
        ..steady.clone()
    };
    let mut meter = Meter::new(steady, 1, start);
    assert_eq!(passing(&mut meter, start), 24);
    assert_eq!(passing(&mut meter, start + hour * 7), 7);
    let mut meter = Meter::new(midnight, 1, start);
    assert_eq!(passing(&mut meter, start), 24);
    let refusal = meter.admit(start + hour, "m", Ask::default()).unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.wait),
        (LimitKind::RequestsPerDay, Some(hour * 6))
    );
    assert_eq!(passing(&mut meter, start + hour * 7), 24);
    assert_eq!(passing(&mut meter, start + hour * 30), 0);
    assert_eq!(passing(&mut meter, start + hour * 31), 24);
}

#[test]
fn models_of_a_pool_share_its_limits_and_others_have_their_own() {
    let start = Instant::now();
    let shared = Pool {
        models: vec!["gpt-4o*".into()],
        shared: true,
        limits: per_minute(3),
    };
    let apart = Pool {
        models: vec!["o?".into()],
        shared: false,
        limits: per_minute(1),
    };
    let limits = Limits {
        pools: vec![shared, apart],
        ..per_minute(2)
    };
    let mut meter = Meter::new(limits, 1, start);
    let mut passing = |model| {
        (0..10)
            .filter(|_| call(&mut meter, start, model, 1).is_ok())
            .count()
    };
    assert_eq!(passing("gpt-4o"), 3);
    assert_eq!(passing("gpt-4o-mini"), 0);
    assert_eq!((passing("o1"), passing("o3")), (1, 1));
    assert_eq!((passing("m"), passing("n")), (2, 2));
}

#[test]
fn calls_under_way_are_refused_beyond_their_number_until_one_ends() {
    let now = Instant::now();
    let limits = Limits {
        concurrency: Some(2),
        ..Limits::default()
    };
    let mut meter = Meter::new(limits, 1, now);
    let first = meter.admit(now, "a", Ask::default()).unwrap();
    let _second = meter.admit(now, "b", Ask::default()).unwrap();
    let refusal = meter.admit(now, "c", Ask::default()).unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.wait, refusal.too_large),
        (LimitKind::Concurrency, None, false)
    );
    assert!(!refusal.body().contains("Limit"), "{}", refusal.body());
    meter.settle(now, first, Used::default());
    assert!(meter.admit(now, "c", Ask::default()).is_ok());
}

#[test]
fn what_was_not_used_comes_back_only_where_usage_is_charged() {
    let now = Instant::now();
    let left_after = |charge| {
        let limits = Limits {
            charge: Some(charge),
            ..tokens_per_minute(1_000)
        };
        let mut meter = Meter::new(limits, 1, now);
        let admitted = meter.admit(now, "m", Ask::text(100, 600)).unwrap();
        let used = Used {
            input: 100,
            output: 50,
        };
        let during = header(
            &admitted.headers(SystemTime::UNIX_EPOCH),
            "x-ratelimit-remaining-tokens",
        );
        meter.settle(now, admitted, used);
        let after = header(
            &meter.headers(now, SystemTime::UNIX_EPOCH, "m"),
            "x-ratelimit-remaining-tokens",
        );
        (during, after)
    };
    let told = |during: &str, after: &str| (during.to_owned(), after.to_owned());
    assert_eq!(left_after(Charge::Admission), told("300", "300"));
    assert_eq!(left_after(Charge::Usage), told("300", "850"));
    assert_eq!(left_after(Charge::Produced), told("900", "850"));
}

#[test]
fn output_that_is_charged_when_produced_stops_the_next_call_and_not_its_own() {
    let now = Instant::now();
    let limits = Limits {
        input_tokens_per_minute: Some(10_000),
        output_tokens_per_minute: Some(600),
        charge: Some(Charge::Produced),
        headers: Some(HeaderStyle::Anthropic),
        ..Limits::default()
    };
    let mut meter = Meter::new(limits, 1, now);
    let admitted = meter.admit(now, "m", Ask::text(100, 4_000)).unwrap();
    meter.settle(
        now,
        admitted,
        Used {
            input: 100,
            output: 700,
        },
    );
    let refusal = meter.admit(now, "m", Ask::text(100, 1)).unwrap_err();
    assert_eq!(refusal.kind, LimitKind::OutputTokens);
    let wait = refusal.wait.unwrap();
    assert!(wait >= Duration::from_secs(10), "{wait:?}");
    assert!(meter.admit(now + wait, "m", Ask::text(100, 1)).is_ok());
}

#[test]
fn a_providers_estimate_may_differ_from_four_bytes_a_token() {
    let now = Instant::now();
    let limits = Limits {
        estimate_factor: Some(1.5),
        ..tokens_per_minute(1_000)
    };
    let mut meter = Meter::new(limits, 1, now);
    let admitted = meter.admit(now, "m", Ask::text(101, 10)).unwrap();
    assert_eq!(admitted.charged(), 152 + 10);
    let refusal = meter.admit(now, "m", Ask::text(667, 0)).unwrap_err();
    assert!(refusal.too_large && refusal.wait.is_none());
}

#[test]
fn changes_come_at_their_time_and_keep_what_is_used() {
    let start = Instant::now();
    let change = |at, requests| Change {
        at: seconds(at),
        limits: per_minute(requests),
    };
    let mut meter =
        Meter::new(per_minute(60), 1, start).with_changes(vec![change(20, 30), change(10, 600)]);
    assert_eq!(passing(&mut meter, start), 60);
    // Ten seconds of one a second, then room for 540 more.
    assert_eq!(passing(&mut meter, start + Duration::from_secs(10)), 550);
    assert_eq!(meter.limits().requests_per_minute, Some(600));
    // Ten seconds of ten a second have come back, and less fits now than is used.
    assert_eq!(passing(&mut meter, start + Duration::from_secs(20)), 0);
    assert_eq!(passing(&mut meter, start + Duration::from_secs(22)), 1);
}

#[test]
fn a_change_without_a_word_of_the_rest_leaves_the_rest() {
    let start = Instant::now();
    let limits = Limits {
        headers: Some(HeaderStyle::None),
        ..per_minute(60)
    };
    let mut meter = Meter::new(limits, 1, start);
    meter.change(start, tokens_per_minute(1_000));
    assert_eq!(meter.limits().requests_per_minute, Some(60));
    assert!(meter.headers(start, SystemTime::UNIX_EPOCH, "m").is_empty());
    assert!(call(&mut meter, start, "m", 1_001).is_err());
}

#[test]
fn other_consumers_take_their_share_and_no_more() {
    let start = Instant::now();
    for steady in [false, true] {
        let limits = Limits {
            tokens_per_minute: Some(100_000),
            foreign: Some(Foreign {
                share: Some(0.3),
                steady,
                from: Some(seconds(60)),
                until: Some(seconds(660)),
                ..Foreign::default()
            }),
            ..per_minute(600)
        };
        let mut meter = Meter::new(limits, 7, start);
        assert!(call(&mut meter, start + MINUTE, "m", 0).is_ok());
        assert_eq!(meter.tally(start + MINUTE).foreign_admitted, 0);
        let tally = meter.tally(start + MINUTE * 20);
        let (calls, tokens) = (tally.foreign_admitted as f64, tally.foreign_tokens as f64);
        let within = if steady { 0.01 } else { 0.1 };
        assert!((calls / 1_800.0 - 1.0).abs() < within, "{calls}");
        assert!((tokens / 300_000.0 - 1.0).abs() < within, "{tokens}");
        assert_eq!(tally.foreign_refused, 0);
    }
}

#[test]
fn other_consumers_are_refused_like_others_and_are_the_same_for_the_same_seed() {
    let start = Instant::now();
    let run = |seed| {
        let limits = Limits {
            foreign: Some(Foreign {
                requests_per_minute: Some(100.0),
                ..Foreign::default()
            }),
            ..per_minute(60)
        };
        let mut meter = Meter::new(limits, seed, start);
        // More than there is, and not in step with what comes back.
        for at in 0..400 {
            let now = start + Duration::from_millis(730 * at);
            let _ = call(&mut meter, now, "m", 1);
        }
        meter.tally(start + MINUTE * 5)
    };
    let tally = run(1);
    assert!(
        tally.foreign_refused > 100 && tally.refusals() > 100,
        "{tally:?}"
    );
    let all = tally.admitted + tally.foreign_admitted;
    assert!((340..=360).contains(&all), "{all}");
    assert_eq!(tally, run(1));
    assert_ne!(tally, run(2));
}

#[test]
fn the_peak_is_the_most_within_any_minute() {
    let start = Instant::now();
    let limits = Limits {
        algorithm: Some(Algorithm::Fixed),
        ..per_minute(10)
    };
    let mut meter = Meter::new(limits, 1, start);
    passing(&mut meter, start + MINUTE - Duration::from_secs(1));
    passing(&mut meter, start + MINUTE);
    let tally = meter.tally(start + MINUTE);
    assert_eq!(
        (tally.admitted, tally.peak_requests, tally.refusals()),
        (20, 20, 2)
    );
    assert_eq!(tally.refused[&LimitKind::Requests], 2);
}

#[test]
fn settings_read_from_toml_with_all_there_is() {
    let limits: Limits = toml::from_str(
        "requests_per_minute = 60\nday_resets_in = \"5h\"\nalgorithm = \"sliding\"\ncharge = \"produced\"\n\
         headers = \"minus-one\"\nwords = \"plain\"\nretry_after = false\nforeign = { share = 0.3, from = \"1m\" }\n\
         [[pool]]\nmodels = [\"gpt-4o*\"]\nlimits = { concurrency = 2 }\n",
    )
    .unwrap();
    assert_eq!(limits.pools[0].limits.concurrency, Some(2));
    assert!(limits.pools[0].shared);
    let again: Limits = serde_json::from_str(&serde_json::to_string(&limits).unwrap()).unwrap();
    assert_eq!(again, limits);
    assert!(toml::from_str::<Limits>("request_per_minute = 60").is_err());
}
