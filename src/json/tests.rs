//! The scanner against serde_json, over arbitrary values in arbitrary spelling.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

/// Any JSON value, a few levels deep.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Quarters: serde_json reads other fractions a last digit off.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c\"\\\\/{}:,\\[\\] ]{0,8}",
        any::<String>(),
        Just("model".to_owned()),
        Just("finish_reason".to_owned()),
    ]
}

/// The value as text, with random white space, escapes and member order.
pub(crate) fn spelled(value: Value) -> impl Strategy<Value = String> {
    any::<u64>().prop_map(move |seed| {
        let mut out = String::new();
        spell(&value, &mut fastrand::Rng::with_seed(seed), &mut out);
        out
    })
}

fn space(rng: &mut fastrand::Rng, out: &mut String) {
    for _ in 0..rng.usize(0..3) {
        out.push(*rng.choice([' ', '\n', '\t', '\r'].iter()).unwrap());
    }
}

fn spell_text(text: &str, rng: &mut fastrand::Rng, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if rng.u8(0..4) == 0 {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04X}"));
            }
        } else {
            let quoted = serde_json::to_string(&c).unwrap();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
    out.push('"');
}

fn spell(value: &Value, rng: &mut fastrand::Rng, out: &mut String) {
    space(rng, out);
    match value {
        Value::String(text) => spell_text(text, rng, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                spell(item, rng, out);
            }
            space(rng, out);
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            rng.shuffle(&mut members);
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                space(rng, out);
                spell_text(key, rng, out);
                space(rng, out);
                out.push(':');
                spell(value, rng, out);
            }
            space(rng, out);
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
    space(rng, out);
}

/// Reads a value by walking it, as the gateway would.
fn read(raw: Raw<'_>) -> Value {
    match raw.kind() {
        Kind::Null => Value::Null,
        Kind::Bool => raw.as_bool().unwrap().into(),
        Kind::Number => serde_json::from_slice(raw.text()).unwrap(),
        Kind::String => raw.as_str().unwrap().into_owned().into(),
        Kind::Array => raw
            .elements()
            .unwrap()
            .map(|item| read(item.unwrap()))
            .collect(),
        Kind::Object => raw
            .members()
            .unwrap()
            .map(|member| {
                let member = member.unwrap();
                (member.key().unwrap().into_owned(), read(member.value))
            })
            .collect::<Map<_, _>>()
            .into(),
    }
}

fn check_ranges(body: &str, raw: Raw<'_>) {
    assert_eq!(&body.as_bytes()[raw.range()], raw.text());
    for item in raw.elements().into_iter().flatten() {
        check_ranges(body, item.unwrap());
    }
    for member in raw.members().into_iter().flatten() {
        check_ranges(body, member.unwrap().value);
    }
}

proptest! {
    #[test]
    fn walking_reads_what_serde_json_reads((value, body) in json().prop_flat_map(|v| (Just(v.clone()), spelled(v)))) {
        let raw = Raw::parse(body.as_bytes()).unwrap();
        prop_assert_eq!(read(raw), value.clone());
        check_ranges(&body, raw);
        prop_assert_eq!(raw.get("model").map(read), value.get("model").cloned());
        if value.is_object() {
            let mut keys: Vec<_> = Members::of(body.as_bytes()).unwrap().map(|m| m.unwrap().key().unwrap().into_owned()).collect();
            let mut theirs: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            theirs.sort();
            prop_assert_eq!(keys, theirs);
        }
    }

    #[test]
    fn a_cut_object_is_never_whole(body in json().prop_flat_map(spelled), cut in any::<prop::sample::Index>()) {
        let body = body.trim();
        if body.starts_with('{') {
            let cut = cut.index(body.len());
            let whole = Members::of(&body.as_bytes()[..cut]).is_ok_and(|mut m| m.all(|m| m.is_ok()));
            prop_assert!(!whole);
        }
    }

    #[test]
    fn any_bytes_end_in_a_value_or_an_error(body in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(raw) = Raw::parse(&body) {
            for member in raw.members().into_iter().flatten() {
                let _ = member.map(|m| m.key());
            }
        }
        if serde_json::from_slice::<Value>(&body).is_ok() {
            prop_assert!(Raw::parse(&body).is_ok());
        }
    }

    #[test]
    fn splicing_changes_the_model_and_nothing_else(value in json().prop_flat_map(spelled), model in text()) {
        let body = format!("{{\"before\":{value},\"model\" :\"old\" ,\"after\":{value}}}");
        let out = splice(&bytes::Bytes::from(body.clone()), "model", &model).unwrap();
        let mut expected = Vec::new();
        write_string(&model, &mut expected);
        let expected = body.replacen("\"model\" :\"old\" ,", &format!("\"model\" :{} ,", String::from_utf8(expected).unwrap()), 1);
        // A nested value may hold the very same text earlier on only by being that text itself.
        if !value.contains("\"old\"") {
            prop_assert_eq!(out, expected.as_bytes());
        }
    }
}

#[test]
fn errors_tell_the_place_in_the_body() {
    let body = br#"{"a":1,"b":{"c" 2}}"#;
    let raw = Raw::parse(body).unwrap();
    let inner = raw.get("b").unwrap();
    let error = inner.members().unwrap().next().unwrap().unwrap_err();
    assert_eq!((error.problem, error.offset), (Problem::Unexpected, 16));
}

#[test]
fn numbers_are_read_as_the_provider_reads_them() {
    let of = |text: &'static str| Raw::parse(text.as_bytes()).unwrap().as_u64();
    assert_eq!(of("12"), Some(12));
    assert_eq!(of("12.0"), Some(12));
    assert_eq!(of("1e3"), Some(1000));
    assert_eq!(of("-1"), None);
    assert_eq!(of("1.5"), None);
    assert_eq!(of("\"12\""), None);
    assert_eq!(of("18446744073709551615"), Some(u64::MAX));
}

#[test]
fn deep_nesting_is_an_error_not_a_stack_overflow() {
    let deep = "[".repeat(100_000);
    assert_eq!(
        Raw::parse(deep.as_bytes()).unwrap_err().problem,
        Problem::TooDeep
    );
    let fits = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(Raw::parse(fits.as_bytes()).is_ok());
}
