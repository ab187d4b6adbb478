//! The page of classes is in step with the policy table. With `UPDATE_GENERATED=1` it is written anew.

use crate::triage::*;

const PAGE: &str = include_str!("../../../docs/failures.md");
const MARK: &str =
    "<!-- generated from the policy table; UPDATE_GENERATED=1 cargo test --lib generated -->\n";

fn row(class: Class) -> String {
    let policy = class.policy();
    let same = match policy.same_target {
        SameTarget::Never => "never",
        SameTarget::AfterWait => "after the wait",
        SameTarget::Backoff => "backoff",
    };
    let circuit = match policy.circuit {
        CircuitEffect::Neutral => "neutral",
        CircuitEffect::Counts => "counts",
        CircuitEffect::OpensScope { .. } => "opens the scope",
        CircuitEffect::OpensTargetUntilReset => "opens the target until the reset",
        CircuitEffect::OpensTarget => "opens the target",
        CircuitEffect::OpensKey => "opens the key, when it is weir's own",
    };
    let next = match policy.next_target {
        NextTarget::Never => "never",
        NextTarget::Always => "yes",
        NextTarget::WhenWaitDoesNotFit => "when the wait does not fit",
        NextTarget::LargerWindow => "with a larger window",
        NextTarget::OwnKeyOnly => "when the key is weir's own",
    };
    let human = if policy.alert { "yes" } else { "" };
    format!(
        "| `{class}` | {} | {same} | {circuit} | {next} | {human} |\n",
        advice::for_class(class)
    )
}

#[test]
fn the_generated_page_of_classes_is_in_step_with_the_policy_table() {
    let (head, _) = PAGE.split_once(MARK).expect("the page has its mark");
    let rows: String = Class::ALL.iter().map(|class| row(*class)).collect();
    let page = format!(
        "{head}{MARK}\n| class | what it is, and what to do | same target | circuit | next target | human |\n|---|---|---|---|---|---|\n{rows}"
    );
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md");
        std::fs::write(path, page).expect("the page is written");
    } else {
        assert!(
            PAGE == page,
            "docs/failures.md is not what the policy table says; run with UPDATE_GENERATED=1"
        );
    }
}
