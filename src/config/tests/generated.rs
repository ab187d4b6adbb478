//! What is made from the key table is in step with it. With `UPDATE_GENERATED=1` the files are
//! written anew.

use std::path::Path;

use serde_json::{Value, json};

use super::{read, sound};
use crate::config::{
    DEFAULT_FILE,
    describe::default_file,
    reference, schema,
    table::{Kind, ROOT},
    units,
};

const PAGE: &str = include_str!("../../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../../config/weir.example.toml");
/// Where the generated part of the page begins.
const MARK: &str =
    "<!-- generated from the key table; UPDATE_GENERATED=1 cargo test generated -->\n";

fn in_step(path: &str, is: &str, should: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::write(path, should).expect("the file is written");
    } else {
        assert!(
            is == should,
            "{path} is not what the key table says; run with UPDATE_GENERATED=1"
        );
    }
}

#[test]
fn the_default_file_is_in_step_with_the_key_table() {
    in_step("config/default.toml", DEFAULT_FILE, &default_file());
}

#[test]
fn the_reference_page_is_in_step_with_the_key_table() {
    let (head, _) = PAGE.split_once(MARK).expect("the page has its mark");
    in_step(
        "docs/configuration.md",
        PAGE,
        &format!("{head}{MARK}{}", reference()),
    );
}

#[test]
fn the_default_file_means_the_same_as_no_file() {
    let mut written = sound(DEFAULT_FILE, &[]);
    let mut none = sound("", &[]);
    (written.source, none.source) = (None, None);
    // The implicit route is named after its pattern, as the written one is.
    assert_eq!(format!("{written:#?}"), format!("{none:#?}"));
}

#[test]
fn every_default_of_the_table_is_within_its_own_range() {
    for key in ROOT.walk().iter().flat_map(|section| section.keys) {
        let Some(default) = key.default else { continue };
        let fits = match key.kind {
            Kind::Duration { min, max } => units::parse_duration(default)
                .is_some_and(|value| (min.into()..=max.into()).contains(&value.as_millis())),
            Kind::Size { min, max } => {
                units::parse_size(default).is_some_and(|value| (min..=max).contains(&value))
            }
            Kind::Count { min, max } => default
                .parse()
                .is_ok_and(|value: u64| (min..=max).contains(&value)),
            Kind::Share => default
                .parse()
                .is_ok_and(|value: f64| (0.0..=1.0).contains(&value)),
            Kind::Word(words) => words.contains(&default),
            Kind::CountOr { word, .. } => default == word,
            _ => !default.is_empty(),
        };
        assert!(fits, "{} = {default}", key.name);
    }
}

#[test]
fn the_example_is_sound_and_the_schema_accepts_it() {
    let env = [
        ("OPENAI_API_KEY", "sk-a"),
        ("OPENAI_API_KEY_BATCH", "sk-c"),
        ("ANTHROPIC_API_KEY", "sk-b"),
    ];
    let (_, warnings) = read(EXAMPLE, &env).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    for text in [EXAMPLE, DEFAULT_FILE] {
        let value = json!(text.parse::<toml::Table>().expect("TOML"));
        assert_eq!(violations(&schema(), &value, ""), Vec::<String>::new());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for text in [
        "lisen = 'x'",
        "listen = 5",
        "[retry]\nmax_attempts = 0",
        "[retry]\nmax_attempts = '3'",
        "[retry]\nbase = '5 parsecs'",
        "[retry]\nbudget = 1.5",
        "[cache]\npolicy = 'all'",
        "[cache]\nmax_bytes = '12'",
        "[[route]]\nmodels = ['*']",
        "[[route]]\nmodels = []\ntargets = ['openai']",
        "[[upstream]]\nname = 'openai'\nlimits = { concurrency = 'many' }",
        "[[app]]\nname = 'a'",
        "[limits]\nforeign_alert = -1",
        "[limits]\nlearn = true",
        "[[route]]\nmodels = ['*']\ntargets = ['openai']\nprefer = 'cheapest'",
    ] {
        let value = json!(text.parse::<toml::Table>().expect("TOML"));
        assert_ne!(
            violations(&schema(), &value, ""),
            Vec::<String>::new(),
            "{text}"
        );
        assert!(read(text, &[]).is_err(), "{text}");
    }
}

/// As much of JSON Schema as ours uses; an unknown word of it is a violation, so that the schema
/// cannot say more than is checked.
fn violations(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, rule) in schema.as_object().expect("a schema is an object") {
        let fits = match word.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => match rule.as_str().expect("a type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                other => panic!("type {other}"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().expect("words").contains(value),
            "minimum" => value.as_f64() >= rule.as_f64(),
            "maximum" => value.as_f64() <= rule.as_f64(),
            "minLength" => value
                .as_str()
                .is_some_and(|text| text.len() as u64 >= rule.as_u64().expect("length")),
            "minItems" => value
                .as_array()
                .is_some_and(|items| items.len() as u64 >= rule.as_u64().expect("length")),
            "pattern" => {
                let pattern =
                    regex::Regex::new(rule.as_str().expect("a pattern")).expect("a regex");
                value.as_str().is_some_and(|text| pattern.is_match(text))
            }
            "anyOf" => rule
                .as_array()
                .expect("schemas")
                .iter()
                .any(|schema| violations(schema, value, path).is_empty()),
            "required" => rule
                .as_array()
                .expect("names")
                .iter()
                .all(|name| value.get(name.as_str().expect("name")).is_some()),
            "items" => {
                let items = value.as_array().into_iter().flatten();
                found.extend(items.flat_map(|item| violations(rule, item, &format!("{path}[]"))));
                true
            }
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = rule.get(name) {
                        found.extend(violations(schema, inner, &format!("{path}.{name}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |name: &str| {
                    schema
                        .get("properties")
                        .is_some_and(|known| known.get(name).is_some())
                };
                let mut others = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| !known(name));
                match rule {
                    Value::Bool(false) => others.next().is_none(),
                    rule => others.all(|(_, inner)| violations(rule, inner, path).is_empty()),
                }
            }
            other => panic!("word {other}"),
        };
        if !fits {
            found.push(format!("{path}: {word} {rule}: {value}"));
        }
    }
    found
}
