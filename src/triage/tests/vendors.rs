//! Vendors that no preset knows: each labelled failure is judged by the generic preset, and by the vendor's own preset
//! where there is one.
//!
//! A row's label is what the vendor means. `generic` beside it is what a stranger can know at most, with the reason in
//! `generic_why`: where a number or a notion is the vendor's alone, the generic preset has to be careful instead.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use super::mutations::mutation;
use super::*;

const VENDORS: &str = include_str!("../../../tests/fixtures/vendors.jsonl");

/// Share of rows, in percent, for which the generic preset may know less than the vendor's own.
const STRANGERS_MOST: usize = 6;

fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let row = |line| Row {
            json: serde_json::from_str(line).expect("a row is JSON"),
        };
        VENDORS.lines().map(row).collect()
    });
    &ROWS
}

/// What is expected of the generic preset for this field: the label, or what a stranger can know.
fn of_a_stranger<'a>(row: &'a Row, key: &str) -> &'a str {
    row.json["generic"][key]
        .as_str()
        .unwrap_or_else(|| row.text(key))
}

/// Organisation and account open the same circuits; which word fits is a matter of the vendor's books.
fn reach(scope: &str) -> &str {
    match scope {
        "account" => "organization",
        scope => scope,
    }
}

/// What was taken for what, and by which rule.
#[derive(Default)]
struct Confusion {
    rows: usize,
    right_class: usize,
    right_scope: usize,
    same_help: usize,
    taken: BTreeMap<(String, &'static str), Vec<String>>,
    wrong: Vec<String>,
}

impl Confusion {
    fn count(&mut self, row: &Row, verdict: &Verdict, class: &str, scope: &str) {
        let right_class = verdict.class.as_str() == class;
        let right_scope = reach(verdict.scope.as_str()) == reach(scope);
        self.rows += 1;
        self.right_class += usize::from(right_class);
        self.right_scope += usize::from(right_scope);
        self.same_help += usize::from(
            verdict.waiting_helps == row.helps("waiting_helps")
                && verdict.retry_same == row.helps("retry_same_key")
                && verdict.fallback_helps == row.helps("fallback_helps"),
        );
        if !right_class {
            let ids = self.taken.entry((class.to_owned(), verdict.class.as_str()));
            ids.or_default().push(row.text("id").to_owned());
        }
        if !right_class || !right_scope {
            self.wrong.push(format!(
                "{}: want {class}/{scope}, got {}/{} by {}",
                row.text("id"),
                verdict.class,
                verdict.scope,
                verdict.rule
            ));
        }
    }

    fn print(&self, title: &str) {
        println!("--- {title}");
        for ((want, got), ids) in &self.taken {
            println!("{want} taken for {got}: {}", ids.join(" "));
        }
        for line in &self.wrong {
            println!("{line}");
        }
        println!(
            "{title}: rows {}  class {}  scope {}  what helps {}",
            self.rows, self.right_class, self.right_scope, self.same_help
        );
    }
}

#[test]
fn a_vendor_without_a_preset_is_judged_as_labelled() {
    let generic = preset("openai-compatible").unwrap();
    let mut confusion = Confusion::default();
    let mut less = 0;
    let rows = rows();
    for row in rows {
        let verdict = row.judged_by(&generic, &row.body(), &row.headers());
        less += usize::from(row.json["generic"].is_object());
        confusion.count(
            row,
            &verdict,
            of_a_stranger(row, "class"),
            of_a_stranger(row, "scope"),
        );
    }
    confusion.print("openai-compatible");
    assert!(rows.len() >= 200);
    assert_eq!(confusion.wrong, Vec::<String>::new());
    assert!(less * 100 <= rows.len() * STRANGERS_MOST, "{less}");
}

#[test]
fn a_vendor_with_a_preset_is_judged_as_labelled() {
    let mut confusion = Confusion::default();
    for row in rows() {
        if let Some(own) = preset(row.text("provider")) {
            let verdict = row.judged_by(&own, &row.body(), &row.headers());
            confusion.count(row, &verdict, row.text("class"), row.text("scope"));
        }
    }
    confusion.print("own presets");
    assert_eq!(confusion.wrong, Vec::<String>::new());
}

/// The mistakes that would hurt, whatever the label: an account closed for a passing limit, a key for a request.
#[test]
fn passing_limits_and_callers_mistakes_close_no_account() {
    let generic = preset("openai-compatible").unwrap();
    for row in rows() {
        let verdict = row.judged_by(&generic, &row.body(), &row.headers());
        let class: Class = row.text("class").parse().unwrap();
        let circuit = verdict.policy().circuit;
        if class.is_rate_limit() || class.is_callers_mistake() {
            assert!(!verdict.class.is_billing(), "{}", row.text("id"));
        }
        if class.is_callers_mistake() {
            assert!(
                !matches!(
                    circuit,
                    CircuitEffect::OpensKey | CircuitEffect::OpensScope { .. }
                ),
                "{} by {}",
                row.text("id"),
                verdict.rule
            );
        }
    }
}

/// A short told wait outranks every word about money, at every vendor that is not OpenAI itself.
#[test]
fn a_429_with_a_short_wait_closes_no_account() {
    for row in rows().iter().filter(|row| row.json["status"] == 429) {
        let mut headers = row.headers();
        headers.insert("retry-after", HeaderValue::from_static("5"));
        for name in ["openai-compatible", row.text("provider")] {
            if let Some(provider) = preset(name) {
                let verdict = row.judged_by(&provider, &row.body(), &headers);
                assert!(
                    !verdict.class.is_billing(),
                    "{} under {name} by {}",
                    row.text("id"),
                    verdict.rule
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_mutated_row_of_a_stranger_keeps_its_verdict(which in any::<Index>(), mutation in mutation()) {
        let generic = preset("openai-compatible").unwrap();
        let row = &rows()[which.index(rows().len())];
        let (body, headers) = (mutation.body(row), mutation.headers(row));
        let verdict = row.judged_by(&generic, &body, &headers);
        prop_assert_eq!(
            (verdict.class.as_str(), reach(verdict.scope.as_str())),
            (of_a_stranger(row, "class"), reach(of_a_stranger(row, "scope"))),
            "{} by {}: {}", row.text("id"), verdict.rule, String::from_utf8_lossy(&body)
        );
    }
}
