//! What is asked and with which key, without asking.

use std::num::NonZeroU32;

use super::{super::probe::Ask, *};
use crate::config::{Config, LoadOptions};

fn loaded(text: &str, env: &Env) -> Loaded {
    let file = std::env::temp_dir().join(format!("weir-exam-{}.toml", fastrand::u64(..)));
    std::fs::write(&file, text).unwrap();
    let options = LoadOptions {
        file: Some(file.clone()),
        search: Vec::new(),
        env: env.clone(),
        cores: NonZeroU32::MIN,
    };
    let loaded = Config::load_with_origins(&options).unwrap();
    std::fs::remove_file(file).unwrap();
    loaded
}

/// The request for the list of models, and what was found before it.
fn free_ask(text: &str, env: &[(&str, &str)]) -> (Ask, UpstreamReport, Vec<String>) {
    let env: Env = env.iter().copied().collect();
    let loaded = loaded(text, &env);
    let options = Options {
        upstreams: Vec::new(),
        spend: false,
        model: None,
        key_from: None,
        timeout: Duration::from_secs(1),
    };
    let prober = Prober::new(options.timeout);
    let mut exam = Exam::new(
        &loaded,
        &env,
        &options,
        &prober,
        &loaded.config.upstreams[0],
    );
    exam.examine_key();
    let ask = exam.ask(Method::GET, &exam.free_path(), &exam.configured());
    (ask, exam.report, exam.routed)
}

const OPENAI: &str = "[[upstream]]\nname = \"openai\"\napi_key = \"${KEY}\"\n";

#[test]
fn a_key_goes_to_its_own_vendor_and_another_vendors_goes_nowhere() {
    let (good, foreign) = (
        format!("sk-proj-{}", "a1".repeat(30)),
        format!("gsk_{}", "a1".repeat(30)),
    );
    let (ask, ..) = free_ask(OPENAI, &[("KEY", &good)]);
    assert_eq!(ask.uri, "https://api.openai.com/v1/models");
    assert_eq!(ask.headers["authorization"], format!("Bearer {good}"));
    let (ask, report, _) = free_ask(OPENAI, &[("KEY", &foreign)]);
    assert!(ask.headers.is_empty(), "{:?}", ask.headers);
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.id == "key-of-another-vendor")
    );
}

#[test]
fn anthropics_list_is_asked_for_in_its_own_way() {
    let key = format!("sk-ant-api03-{}", "a1".repeat(40));
    let text = OPENAI.replace("\"openai\"", "\"claude\"\nprovider = \"anthropic-openai\"");
    let (ask, ..) = free_ask(&text, &[("KEY", &key)]);
    assert_eq!(
        (&ask.headers["x-api-key"], &ask.headers["anthropic-version"]),
        (
            &key.parse::<HeaderValue>().unwrap(),
            &HeaderValue::from_static("2023-06-01")
        )
    );
    assert!(!ask.headers.contains_key("authorization"));
}

#[test]
fn the_source_of_a_key_is_told_even_for_a_default_in_the_file() {
    let source = |text: &str, env: &[(&str, &str)]| {
        let (_, report, _) = free_ask(text, env);
        (report.key.source, report.key.variable)
    };
    assert_eq!(
        source(OPENAI, &[("KEY", "x")]),
        ("variable", Some("KEY".to_owned()))
    );
    assert_eq!(
        source(&OPENAI.replace("${KEY}", "${KEY:-x}"), &[]),
        ("file", None)
    );
    assert_eq!(source(&OPENAI.replace("${KEY}", "x"), &[]), ("file", None));
    let passing = OPENAI.replace("${KEY}", "passthrough");
    assert_eq!(source(&passing, &[]), ("caller", None));
    assert_eq!(
        source(&passing, &[("OPENAI_API_KEY", "x")]),
        ("caller", Some("OPENAI_API_KEY".to_owned()))
    );
}

#[test]
fn globs_name_no_model() {
    let text = format!(
        "{OPENAI}[[route]]\nmodels = [\"gpt-4o\", \"o*\"]\ntargets = [\"openai\"]\n[[route]]\nmodels = [\"*\"]\ntargets = [\"openai:gpt-5\"]\n"
    );
    assert_eq!(free_ask(&text, &[("KEY", "x")]).2, ["gpt-4o", "gpt-5"]);
}
