use proptest::prelude::*;

use super::*;

fn make(schema: &Value, hint: &str, seed: u64) -> Value {
    Maker::new(schema, hint, Dice::new(seed, 1)).make()
}

#[test]
fn members_enums_bounds_and_references_are_kept() {
    let schema = json!({
        "type": "object",
        "required": ["city", "unit", "days", "where"],
        "additionalProperties": false,
        "properties": {
            "city": {"type": "string", "minLength": 30, "maxLength": 31},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 3, "maximum": 5},
            "where": {"$ref": "#/$defs/place"},
            "maybe": {"type": ["string", "null"]},
            "zip": {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"}
        },
        "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}}
    });
    for seed in 0..50 {
        let value = make(&schema, "in fahrenheit please", seed);
        assert_eq!(value["unit"], "fahrenheit");
        assert!((30..=31).contains(&value["city"].as_str().unwrap().len()));
        assert!((3..=5).contains(&value["days"].as_i64().unwrap()));
        assert!(value["where"]["lat"].is_number());
        let zip = value["zip"].as_str().unwrap();
        assert!(
            zip.len() == 5 && zip.bytes().all(|byte| byte.is_ascii_digit()),
            "{zip}"
        );
    }
}

#[test]
fn a_recursive_schema_comes_to_an_end() {
    let schema = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "required": ["next", "children"], "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}
        }}}
    });
    let text = make(&schema, "", 1).to_string();
    assert!(text.len() < 100_000, "{}", text.len());
    assert!(text.contains("\"next\":null"));
}

proptest! {
    #[test]
    fn integers_lie_within_their_bounds_and_on_their_step(low in -1000_i64..1000, width in 0_i64..50, step in 1_i64..7, seed: u64) {
        let high = low + width + step;
        let schema = json!({"type": "integer", "minimum": low, "maximum": high, "multipleOf": step});
        let value = make(&schema, "", seed).as_i64().unwrap();
        prop_assert!((low..=high).contains(&value) && value % step == 0, "{value} in {low}..={high} step {step}");
    }
}
