//! What holds whatever comes.

use proptest::prelude::*;

use super::*;

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
