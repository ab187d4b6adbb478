use std::time::{Duration, SystemTime};

use proptest::prelude::*;
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
fn every_vendors_headers_have_their_own_names_and_forms() {
    let start = Instant::now();
    let told = |style| {
        let limits = Limits {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(6_000),
            input_tokens_per_minute: Some(60_000),
            requests_per_day: Some(1_000),
            headers: Some(style),
            ..Limits::default()
        };
        let mut meter = Meter::new(limits, 1, start);
        let admitted = meter.admit(start, "m", Ask::text(200, 50)).unwrap();
        admitted.headers(SystemTime::UNIX_EPOCH)
    };
    let openai = told(HeaderStyle::Openai);
    assert_eq!(header(&openai, "x-ratelimit-remaining-tokens"), "5750");
    assert_eq!(header(&openai, "x-ratelimit-reset-tokens"), "2.5s");
    let azure = told(HeaderStyle::Azure);
    assert_eq!(header(&azure, "x-ratelimit-reset-tokens"), "3");
    assert_eq!(header(&azure, "x-ratelimit-renewalperiod-requests"), "60");
    let anthropic = told(HeaderStyle::Anthropic);
    assert_eq!(
        header(&anthropic, "anthropic-ratelimit-requests-reset"),
        "1970-01-01T00:00:01Z"
    );
    assert_eq!(
        header(&anthropic, "anthropic-ratelimit-input-tokens-remaining"),
        "60000"
    );
    let groq = told(HeaderStyle::Groq);
    assert_eq!(header(&groq, "x-ratelimit-limit-requests"), "1000");
    assert_eq!(header(&groq, "x-ratelimit-reset-requests"), "1m26.4s");
    let mistral = told(HeaderStyle::Mistral);
    assert_eq!(header(&mistral, "x-ratelimit-remaining-req-minute"), "59");
    assert_eq!(header(&mistral, "x-ratelimit-tokens-query-cost"), "250");
    let cerebras = told(HeaderStyle::Cerebras);
    assert_eq!(
        header(&cerebras, "x-ratelimit-reset-tokens-minute"),
        "2.500"
    );
    assert_eq!(
        header(&told(HeaderStyle::MinusOne), "x-ratelimit-limit-requests"),
        "-1"
    );
    assert_eq!(
        header(&told(HeaderStyle::Zero), "x-ratelimit-remaining-tokens"),
        "0"
    );
    assert!(told(HeaderStyle::None).is_empty());
}

#[test]
fn stale_headers_repeat_what_they_told_half_a_minute_ago() {
    let start = Instant::now();
    let limits = Limits {
        headers: Some(HeaderStyle::Stale),
        ..per_minute(100)
    };
    let mut meter = Meter::new(limits, 1, start);
    let mut remaining = |at| {
        let admitted = meter
            .admit(start + Duration::from_secs(at), "m", Ask::default())
            .unwrap();
        header(
            &admitted.headers(SystemTime::UNIX_EPOCH),
            "x-ratelimit-remaining-requests",
        )
    };
    assert_eq!(
        (remaining(0), remaining(0), remaining(0)),
        ("99".into(), "99".into(), "99".into())
    );
    assert_eq!(remaining(30), "99");
    assert_eq!(remaining(31), "99");
}

#[test]
fn a_plain_refusal_tells_no_number_and_may_tell_no_wait() {
    let now = Instant::now();
    let refused = |retry_after| {
        let limits = Limits {
            words: Some(Words::Plain),
            headers: Some(HeaderStyle::None),
            retry_after,
            ..per_minute(1)
        };
        let mut meter = Meter::new(limits, 1, now);
        call(&mut meter, now, "m", 1).unwrap();
        meter.admit(now, "m", Ask::default()).unwrap_err()
    };
    let silent = refused(Some(false));
    assert!(
        !silent.body().contains(|c: char| c.is_ascii_digit()),
        "{}",
        silent.body()
    );
    assert!(silent.headers(SystemTime::UNIX_EPOCH).is_empty());
    assert_eq!(silent.wait, Some(MINUTE));
    assert_eq!(
        header(
            &refused(None).headers(SystemTime::UNIX_EPOCH),
            "retry-after"
        ),
        "60"
    );
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

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        Just(Algorithm::Refill),
        Just(Algorithm::Fixed),
        Just(Algorithm::Sliding)
    ]
}

/// Pauses and sizes of calls.
fn arrivals() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0_u64..4_000, 0_u64..400), 1..150)
}

proptest! {
    #[test]
    fn no_algorithm_admits_more_than_it_says(
        algorithm in algorithms(),
        window in prop_oneof![Just(None), Just(Some(1_000_u64)), Just(Some(10_000))],
        arrivals in arrivals(),
    ) {
        let start = Instant::now();
        let limits = Limits {
            requests_per_minute: Some(30),
            algorithm: Some(algorithm),
            window_ms: window,
            ..tokens_per_minute(1_000)
        };
        let mut meter = Meter::new(limits, 1, start);
        let (mut now, mut taken) = (start, Vec::new());
        for (pause, tokens) in arrivals {
            now += Duration::from_millis(pause);
            if call(&mut meter, now, "m", tokens).is_ok() {
                taken.push((now, tokens as f64));
            }
        }
        let sum = |from: Instant, to: Instant| {
            let inside = taken.iter().filter(|(at, _)| *at >= from && *at < to);
            inside.fold((0.0, 0.0), |(calls, tokens), (_, more)| (calls + 1.0, tokens + more))
        };
        for (at, _) in &taken {
            let times = match algorithm {
                Algorithm::Sliding => 1.0,
                // A full bucket and what refills meanwhile; two windows that touch.
                Algorithm::Refill | Algorithm::Fixed => 2.0,
            };
            let (calls, tokens) = sum(*at, *at + MINUTE);
            prop_assert!(calls <= 30.0 * times && tokens <= 1_000.0 * times + 1e-3, "{calls} {tokens}");
            if algorithm == Algorithm::Refill {
                let (calls, tokens) = sum(start, *at + Duration::from_nanos(1));
                let minutes = at.duration_since(start).as_secs_f64() / 60.0;
                prop_assert!(calls <= 30.0 * (1.0 + minutes) + 1e-3);
                prop_assert!(tokens <= 1_000.0 * (1.0 + minutes) + 1e-3);
            }
        }
        if algorithm == Algorithm::Fixed {
            for minute in 0..20 {
                let from = start + MINUTE * minute;
                let (calls, tokens) = sum(from, from + MINUTE);
                prop_assert!(calls <= 30.0 && tokens <= 1_000.0);
            }
        }
    }

    #[test]
    fn a_refused_call_passes_after_the_told_wait(
        algorithm in algorithms(),
        window in prop_oneof![Just(None), Just(Some(1_000_u64)), Just(Some(10_000))],
        charge in prop_oneof![Just(Charge::Admission), Just(Charge::Usage), Just(Charge::Produced)],
        resets in prop_oneof![Just(None), Just(Some(seconds(100)))],
        arrivals in arrivals(),
    ) {
        let start = Instant::now();
        let limits = Limits {
            tokens_per_minute: Some(1_000),
            output_tokens_per_minute: Some(500),
            requests_per_day: Some(70),
            day_resets_in: resets,
            algorithm: Some(algorithm),
            window_ms: window,
            charge: Some(charge),
            ..per_minute(30)
        };
        let mut meter = Meter::new(limits, 1, start);
        let mut now = start;
        for (at, (pause, tokens)) in arrivals.into_iter().enumerate() {
            now += Duration::from_millis(pause);
            let ask = Ask::text(tokens / 2, tokens);
            let admitted = match meter.admit(now, "m", ask) {
                Ok(admitted) => admitted,
                Err(refusal) => {
                    prop_assert!(!refusal.too_large);
                    now += refusal.wait.expect("a rate is always waited for");
                    let again = meter.admit(now, "m", ask);
                    prop_assert!(again.is_ok(), "{refusal:?} then {again:?}");
                    again.unwrap()
                }
            };
            if at % 3 == 0 {
                meter.cancel(now, admitted);
            } else {
                // Less or more than was declared.
                meter.settle(now, admitted, Used { input: tokens / 2, output: tokens * (at as u64 % 4) / 2 });
            }
        }
        prop_assert_eq!(meter.tally(now).under_way, 0);
    }

    #[test]
    fn nothing_admitted_is_kept_from_the_next_window(algorithm in algorithms(), arrivals in arrivals()) {
        let start = Instant::now();
        let limits = Limits {
            algorithm: Some(algorithm),
            ..tokens_per_minute(1_000)
        };
        let mut meter = Meter::new(limits, 1, start);
        let mut now = start;
        for (pause, tokens) in arrivals {
            now += Duration::from_millis(pause);
            let _ = call(&mut meter, now, "m", tokens);
        }
        prop_assert!(call(&mut meter, now + MINUTE, "m", 1_000).is_ok());
    }
}
