//! Pastes as people make them, each with the class and the provider that must come of it; and the pages for some of them.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{MAX_PASTE, Style, Told, explain, text};

/// Name, class, provider, paste.
fn pastes() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let all = include_str!("../../tests/fixtures/pastes.txt");
    let pastes: Vec<_> = all
        .split("\n=== ")
        .map(|paste| {
            let (head, text) = paste.split_once('\n').expect("a head and a paste");
            let mut head = head.trim_start_matches("=== ").split(" | ");
            let mut word = || head.next().expect("name, class, provider");
            (word(), word(), word(), text)
        })
        .collect();
    assert!(pastes.len() > 50);
    pastes
}

fn paste(name: &str) -> &'static str {
    let found = pastes().into_iter().find(|paste| paste.0 == name);
    found.expect("a paste of that name").3
}

fn told(pasted: &str) -> Told {
    explain(pasted.as_bytes(), None)
}

fn page(pasted: &str) -> String {
    text(&told(pasted), Style::default())
}

#[test]
fn every_paste_is_recognized_as_what_it_is() {
    let mut wrong = Vec::new();
    for (name, class, provider, pasted) in pastes() {
        let told = told(pasted);
        match told.explanations.first() {
            Some(first) if first.class == class && first.provider.name == provider => {}
            Some(first) => wrong.push(format!(
                "{name}: {} of {} (by {}), rule {}, status {:?}, message {:?}",
                first.class,
                first.provider.name,
                first.provider.known_by,
                first.evidence.rule,
                first.evidence.status,
                first.evidence.message
            )),
            None => wrong.push(format!("{name}: not recognized")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_error_is_told_once() {
    for (name, _, _, pasted) in pastes() {
        let told = told(pasted);
        assert_eq!(
            told.explanations.len(),
            1,
            "{name}: {:?}",
            told.explanations
                .iter()
                .map(|one| &one.class)
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn other_languages_and_weirs_own_words_are_understood() {
    for (pasted, class) in [
        (
            "insufficient permissions for this operation. Missing scopes: model.request",
            "permission",
        ),
        (
            r#"{"error":{"code":"1113","message":"余额不足或无可用资源包,请充值。"}}"#,
            "quota_exhausted",
        ),
        (
            r#"{"id":"wr_6b018e1a668452212dacd4c3","status":429,"outcome":"upstream_error","class":"quota_exhausted"}"#,
            "quota_exhausted",
        ),
        (
            "HTTP/1.1 429\nX-Weir-Class: billing_hard_limit\n",
            "billing_hard_limit",
        ),
        ("x-weir-class: server_error", "server_error"),
    ] {
        let told = told(pasted);
        assert_eq!(told.explanations.len(), 1, "{pasted}");
        assert_eq!(told.explanations[0].class, class, "{pasted}");
    }
    // A status in any language is still only a status.
    let german = told("Fehler 429: Kontingent überschritten");
    assert_eq!(german.explanations[0].evidence.confidence, "guess");
    assert!(!told("the class: server_error of my course").recognized);
}

#[test]
fn what_is_no_failure_of_an_api_is_not_guessed_at() {
    for pasted in [
        "",
        "hello",
        "KeyError: 'choices'",
        "TypeError: Cannot read properties of undefined (reading 'choices')",
        "{\"id\": \"chatcmpl-1\", \"choices\": [{\"message\": {\"content\": \"an error\"}}]}",
        "I have 429 reasons to write and 503 more",
        "{\"hello\": \"world\"}",
        "{{{{[[[[((((",
        "HTTP/1.1 200 OK\ncontent-type: application/json\n\n{\"ok\":true}",
        "error: could not compile `weir` (lib) due to 3 previous errors",
    ] {
        let told = told(pasted);
        assert!(!told.recognized, "{pasted}: {:?}", told.explanations);
        assert!(!told.needed.is_empty());
    }
}

#[test]
fn no_page_holds_a_key_and_none_is_wider_than_a_terminal() {
    for (name, _, _, pasted) in pastes() {
        let page = page(pasted);
        let json = serde_json::to_string(&told(pasted)).expect("it is plain data");
        for secret in [
            "0123456789abcdefghijklmnopqrstuvwxyz",
            "sk-ab***xyz",
            "6789.",
        ] {
            assert!(
                !page.contains(secret) && !json.contains(secret),
                "{name}\n{page}"
            );
        }
        for line in page.lines().filter(|line| line.chars().count() > 80) {
            // Nothing in it could be broken.
            assert!(
                line.split_whitespace().any(|word| word.len() > 50),
                "{name}: {line}"
            );
        }
    }
}

#[test]
fn the_same_object_comes_back_from_its_json() {
    for (_, _, _, pasted) in pastes() {
        let json = serde_json::to_value(told(pasted)).expect("it is plain data");
        let back: Told = serde_json::from_value(json.clone())
            .expect("the gateway's answer is read by the command");
        assert_eq!(serde_json::to_value(back).expect("it is plain data"), json);
    }
}

#[test]
fn money_is_looked_for_in_the_order_of_support() {
    for (name, class, _, pasted) in pastes() {
        if !["quota_exhausted", "billing_hard_limit", "billing_inactive"].contains(&class) {
            continue;
        }
        let steps = &told(pasted).explanations[0].steps;
        let first: Vec<_> = steps
            .iter()
            .map(|step| step.what.split(':').next().expect("a first part"))
            .collect();
        assert_eq!(
            first,
            [
                "Payment record",
                "Balance",
                "Organization and project",
                "Auto recharge",
                "Usage limit",
                "Rate limit"
            ],
            "{name}"
        );
    }
}

#[test]
fn the_organization_of_the_headers_is_named_where_it_matters() {
    let told = told(paste("curl-i"));
    let step = &told.explanations[0].steps[2].what;
    assert!(
        step.contains("acme-labs") && step.contains("proj_AbCdEfGhIjKlMnOpQrStUvWx"),
        "{step}"
    );
}

#[test]
fn several_errors_of_different_kinds_are_all_told() {
    let pasted = format!(
        "{}\n{}\n{}",
        paste("python"),
        paste("model"),
        paste("python")
    );
    let told = told(&pasted);
    let classes: Vec<_> = told.explanations.iter().map(|one| &*one.class).collect();
    assert_eq!(classes, ["quota_exhausted", "model_not_found"]);
    assert_eq!(told.more, 1);
}

#[test]
fn the_users_word_for_the_provider_counts() {
    let told = explain(paste("sentence").as_bytes(), Some("groq"));
    assert_eq!(told.explanations[0].provider.name, "groq");
    assert_eq!(told.explanations[0].provider.known_by, "told");
}

#[test]
fn an_id_of_a_call_is_found_in_a_line_of_the_access_log() {
    let line = r#"{"ts":"2026-11-21T10:00:00.000Z","id":"wr_69201f50aaaaaaaabbbbbbbb","app":"shop","status":429,"outcome":"upstream_error","class":"quota_exhausted"}"#;
    let told = told(line);
    assert_eq!(
        told.request_id.as_deref(),
        Some("wr_69201f50aaaaaaaabbbbbbbb")
    );
    assert!(!told.has_words());
}

/// Rules and advice are triage's to name; a better one there is no change here.
fn without_triages_words(test: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r#""rule": "[^"]*""#, r#""rule": "[rule]""#);
    settings.add_filter(r#""advice": "[^"]*""#, r#""advice": "[advice]""#);
    settings.add_filter(r"(?m)^  rule  +\S+ \(", "  rule  [rule] (");
    settings.add_filter(r"class (\w+),\s+scope\s+(\w+)", "class $1, scope $2");
    settings.bind(test);
}

#[test]
fn the_pages_read_well() {
    without_triages_words(|| {
        for name in [
            "python",
            "curl-i",
            "curl-v",
            "status-only",
            "dns",
            "groq-too-large",
            "litellm-overloaded",
            "wrong-org",
        ] {
            assert_snapshot!(format!("page_{name}"), page(paste(name)));
        }
        assert_snapshot!("page_unrecognized", page("hello"));
    });
}

#[test]
fn the_json_is_a_contract() {
    without_triages_words(|| {
        for name in [
            "body",
            "har",
            "node",
            "ai-sdk",
            "anthropic",
            "genai",
            "azure-net",
            "dotnet",
            "go",
            "structured-log",
            "sse",
            "html",
            "tls",
            "hard-limit",
            "headers-only",
        ] {
            let json = serde_json::to_string_pretty(&told(paste(name))).expect("it is plain data");
            assert_snapshot!(format!("json_{name}"), json);
        }
    });
}

#[test]
fn every_class_has_words_and_steps() {
    let mut titles = BTreeSet::new();
    for class in crate::triage::Class::ALL {
        assert!(
            titles.insert(super::words::title(*class)),
            "{class} shares its title"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = text(&explain(&bytes, None), Style::default());
    }

    #[test]
    fn a_paste_may_be_cut_anywhere(nth in 0..50_usize, part in 0.0..1.0_f64, junk in "\\PC{0,30}") {
        let pasted = pastes()[nth].3;
        let at = (pasted.len() as f64 * part) as usize;
        let cut = pasted.get(..at).unwrap_or(pasted);
        let _ = text(&told(&format!("{junk}{cut}")), Style { colour: true });
    }
}

/// Each bracket was read to the end: a log with many took minutes.
#[test]
fn brackets_that_nobody_closes_are_not_read_again_and_again() {
    for piece in ["[", "{a ", "f(x) { a[1] "] {
        let _ = explain(piece.repeat(MAX_PASTE / 8 / piece.len()).as_bytes(), None);
    }
}
