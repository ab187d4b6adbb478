use proptest::prelude::*;

use super::*;
use crate::triage::{preset, presets};

fn provider(name: &str) -> std::sync::Arc<Provider> {
    preset(name).unwrap()
}

/// 4,000 characters, which we take for 1,000 tokens.
fn call(declared: Option<u64>) -> Envelope {
    let text = "x".repeat(4_000);
    let max = declared.map_or(String::new(), |max| format!(r#","max_tokens":{max}"#));
    let body = format!(r#"{{"messages":[{{"content":"{text}"}}]{max}}}"#);
    Envelope::scan(Endpoint::ChatCompletions, body.as_bytes()).unwrap()
}

const fn usage(input: u64, cached_input: u64, output: u64) -> Usage {
    Usage {
        input,
        cached_input,
        cache_write: 0,
        output,
        reasoning: 0,
        exact: true,
    }
}

fn learned(samples: u64, input: u64, output: u64) -> Calibration {
    let mut calibration = Calibration::default();
    for _ in 0..samples {
        calibration.learn(&call(None), &usage(input, 0, output));
    }
    calibration
}

#[test]
fn each_provider_charges_in_its_own_way() {
    let learned = learned(5, 1_000, 300);
    for (name, declared, want) in [
        // (tokens, input, output)
        ("openai", Some(500), (1_500, 1_000, 500)),
        ("openai", None, (1_000, 1_000, 0)),
        ("azure", Some(500), (1_500, 1_000, 500)),
        ("groq", Some(500), (1_500, 1_000, 500)),
        ("cerebras", Some(500), (1_500, 1_000, 500)),
        ("anthropic", Some(64_000), (1_300, 1_000, 300)),
        ("anthropic", Some(100), (1_100, 1_000, 100)),
        ("gemini-openai", Some(500), (1_000, 1_000, 0)),
        ("deepseek", Some(500), (0, 0, 0)),
        ("mistral", Some(500), (1_500, 1_000, 500)),
        ("mistral", None, (1_300, 1_000, 300)),
        ("openai-compatible", None, (1_300, 1_000, 300)),
    ] {
        let cost = Cost::reserve(&provider(name), &call(declared), &learned);
        let got = (cost.tokens, cost.input, cost.output);
        assert_eq!((cost.requests, got), (1, want), "{name} {declared:?}");
    }
}

#[test]
fn choices_multiply_the_output() {
    let body = br#"{"messages":[{"content":"12345678"}],"max_tokens":10,"n":3,"best_of":5}"#;
    let envelope = Envelope::scan(Endpoint::ChatCompletions, body).unwrap();
    let cost = Cost::reserve(&provider("azure"), &envelope, &Calibration::default());
    assert_eq!((cost.input, cost.output, cost.tokens), (2, 50, 52));
}

#[test]
fn images_are_counted_and_what_makes_no_tokens_takes_none() {
    let openai = provider("openai");
    let none = Calibration::default();
    let body = br#"{"prompt":"a cat","n":4}"#;
    let envelope = Envelope::scan(Endpoint::ImagesGenerations, body).unwrap();
    let cost = Cost::reserve(&openai, &envelope, &none);
    assert_eq!((cost.of(Kind::Images), cost.of(Kind::Requests)), (4, 1));
    for endpoint in [Endpoint::Moderations, Endpoint::Files, Endpoint::Models] {
        let body = br#"{"input":"some words that are examined"}"#;
        let envelope = Envelope::scan(endpoint, body).unwrap();
        let cost = Cost::reserve(&openai, &envelope, &none);
        let want = Cost {
            requests: 1,
            ..Cost::default()
        };
        assert_eq!(cost, want, "{endpoint:?}");
    }
}

#[test]
fn what_was_used_is_settled_in_the_providers_way() {
    let used = usage(1_000, 400, 200);
    for (name, want) in [
        ("openai", (1_200, 1_000, 200)),
        ("azure", (1_200, 1_000, 200)),
        ("anthropic", (800, 600, 200)),
        ("groq", (800, 600, 200)),
        ("gemini-openai", (1_000, 1_000, 0)),
        ("openai-compatible", (1_200, 1_000, 200)),
    ] {
        let provider = provider(name);
        let cost = Cost::reserve(&provider, &call(Some(9)), &Calibration::default());
        let settled = cost.settled(&provider, &used);
        let got = (settled.tokens, settled.input, settled.output);
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn the_factor_is_believed_from_the_fifth_sample() {
    assert!((learned(4, 2_000, 0).factor() - 1.0).abs() < 1e-9);
    assert!((learned(5, 2_000, 0).factor() - 2.0).abs() < 1e-9);
    assert!((learned(9, 900_000, 0).factor() - 4.0).abs() < 1e-9);
    assert!((learned(9, 40, 0).factor() - 0.25).abs() < 1e-9);
    let mut tiny = Calibration::default();
    let body = br#"{"messages":[{"content":"hi"}]}"#;
    let envelope = Envelope::scan(Endpoint::ChatCompletions, body).unwrap();
    for _ in 0..9 {
        tiny.learn(&envelope, &usage(9, 0, 1));
    }
    assert!((tiny.factor() - 1.0).abs() < 1e-9);
}

#[test]
fn what_the_provider_estimates_itself_outweighs_usage() {
    let mut calibration = learned(20, 2_000, 0);
    // 1,250 of input and 500 declared.
    calibration.learn_requested(&call(Some(500)), 1_750);
    assert!((calibration.factor() - 1.25).abs() < 1e-9);
    assert_eq!(calibration.input(&call(None)), 1_250);
    // The declared output alone, and less: nothing of the input.
    calibration.learn_requested(&call(Some(500)), 500);
    calibration.learn_requested(&call(Some(500)), 3);
    assert!((calibration.factor() - 1.25).abs() < 1e-9);
}

#[test]
fn it_survives_a_restart_and_a_spoilt_file() {
    let mut calibration = learned(20, 2_000, 77);
    calibration.learn_requested(&call(None), 1_500);
    let text = serde_json::to_string(&calibration).unwrap();
    let back: Calibration = serde_json::from_str(&text).unwrap();
    assert_eq!(back, calibration);
    let empty: Calibration = serde_json::from_str("{}").unwrap();
    assert_eq!(empty, Calibration::default());
    let mut spoilt: Calibration =
        toml::from_str("samples = 9\nfactor = nan\ntold = -inf\noutputs = 3\noutput = 1e300")
            .unwrap();
    assert!((spoilt.factor() - 1.0).abs() < 1e-9);
    assert_eq!(spoilt.output(None), 0);
    for _ in 0..5 {
        spoilt.learn(&call(None), &usage(1_500, 0, 10));
    }
    assert!((spoilt.factor() - 1.5).abs() < 1e-9);
    assert_eq!(spoilt.output(None), 10);
}

fn any_usage() -> impl Strategy<Value = Usage> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
        |(input, cached_input, output, exact)| Usage {
            exact,
            ..usage(input, cached_input, output)
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_learnt_the_numbers_stay_bounded(
        steps in prop::collection::vec((any_usage(), any::<u64>(), any::<bool>()), 0..40),
        chars in any::<u64>(), extra in any::<u64>(), declared in any::<Option<u64>>(),
    ) {
        let mut calibration = Calibration::default();
        let mut envelope = call(declared);
        envelope.input_chars = chars;
        envelope.input_extra_tokens = extra;
        for (usage, requested, told) in steps {
            calibration.learn(&envelope, &usage);
            if told {
                calibration.learn_requested(&envelope, requested);
            }
            let factor = calibration.factor();
            prop_assert!((0.25..=4.0).contains(&factor), "{factor}");
            prop_assert!(calibration.output(None) <= 1_000_000);
            prop_assert!(calibration.input(&envelope) <= 4_000_000_000_000_000);
            let text = serde_json::to_string(&calibration).unwrap();
            let back: Calibration = serde_json::from_str(&text).unwrap();
            prop_assert!((back.factor() - factor).abs() < 1e-9);
        }
    }

    #[test]
    fn a_call_made_stays_one_call(used in any_usage(), declared in any::<Option<u64>>(), n in 1_u32..9) {
        for name in presets() {
            let provider = preset(name).unwrap();
            for endpoint in Endpoint::ALL {
                let mut envelope = call(declared);
                envelope.endpoint = endpoint;
                envelope.choices = n;
                let reserved = Cost::reserve(&provider, &envelope, &Calibration::default());
                let settled = reserved.settled(&provider, &used);
                prop_assert_eq!((settled.requests, settled.images), (reserved.requests, reserved.images));
                prop_assert_eq!(reserved.requests, 1);
                prop_assert_eq!(settled.tokens, settled.input.saturating_add(settled.output));
            }
        }
    }
}
