//! Whatever a head holds.

use proptest::prelude::*;

use super::*;
use crate::triage::presets;

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[0-9]{1,25}".prop_map(String::into_bytes),
        "[0-9,.]{0,12}(ms|s|m|h|d|us|ns)?([0-9.]{0,6}(s|ms))?".prop_map(String::into_bytes),
        "-?[0-9]{1,4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z".prop_map(String::into_bytes),
        "\"[a-z]{0,3}\";[qrtw]=[0-9]{0,20}(;[qrtw]=[0-9]{0,20})?(, ?[0-9;=w]{0,9})?"
            .prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..24),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_bounded_numbers(
        pairs in prop::collection::vec((prop::sample::select(vec![
            "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-ratelimit-renewalperiod-requests",
            "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "x-ratelimit-limit", "x-ratelimit-remaining",
            "x-ratelimit-reset", "x-ratelimit-type", "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-reset",
            "ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-tokenlimit-limit", "date",
            "x-ratelimit-limit-tokens-month", "x-ratelimitbysize-limit-minute",
        ]), any_value()), 0..12),
        refused in any::<bool>(),
    ) {
        let mut head = HeaderMap::new();
        for (name, value) in pairs {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                head.append(name, value);
            }
        }
        for name in presets() {
            let provider = preset(name).unwrap();
            let heard = if refused { Heard::of_refusal(&provider, &head, now()) } else { Heard::of(&provider, &head, now()) };
            let mut kinds = Vec::new();
            for reading in heard.iter() {
                prop_assert!(reading.limit.is_some() || reading.remaining.is_some());
                prop_assert!(reading.limit.is_none_or(|limit| (1..=1_000_000_000_000_000).contains(&limit)));
                prop_assert!(reading.remaining <= reading.limit || reading.limit.is_none());
                prop_assert!(reading.reset.is_none_or(|reset| reset <= Duration::from_secs(32 * 86_400)));
                prop_assert!(reading.window.is_none_or(|window| !window.is_zero()));
                prop_assert!(!kinds.contains(&reading.kind));
                kinds.push(reading.kind);
            }
        }
    }

    #[test]
    fn openais_numbers_are_read_back(limit in 1_u64..1_000_000_000, used in 0.0_f64..1.0, millis in 1_u64..60_000) {
        let remaining = limit - (limit as f64 * used) as u64;
        let mut head = HeaderMap::new();
        let mut put = |name, value: String| head.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
        put("x-ratelimit-limit-tokens", limit.to_string());
        put("x-ratelimit-remaining-tokens", remaining.to_string());
        put("x-ratelimit-reset-tokens", format!("{}.{:03}s", millis / 1_000, millis % 1_000));
        let got = rows(&Heard::of(&preset("openai").unwrap(), &head, now()));
        prop_assert_eq!((got[0].1, got[0].2, got[0].3), (Some(limit), Some(remaining), Some(millis)));
    }
}
