//! Whether a key was copied whole, and nothing with it.

use super::{Check, Finding, key::Subject, kinds::Kind, vendor::GOOGLE};

/// Parts of values that stand in examples and templates.
const PLACEHOLDERS: [&str; 15] = [
    "your",
    "xxxx",
    "<",
    ">",
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "replace",
    "insert",
    "api-key-here",
    "api_key_here",
    "dummy",
    "${",
    "todo",
];

/// What copying has added to the key, or taken from its middle.
pub(super) fn mars(subject: &Subject<'_>) -> Vec<Finding> {
    let key = subject.key;
    let trimmed = key.trim();
    let error = |id, what: &str, todo: &str| Finding::error(Check::Key, id, what).todo(todo);
    let mut found = Vec::new();
    let quoted = trimmed.starts_with(['"', '\'', '`', '\u{201c}'])
        || trimmed.ends_with(['"', '\'', '`', '\u{201d}']);
    if trimmed.is_empty() {
        found.push(error(
            "key-empty",
            "The key is empty.",
            "Set the variable to the key.",
        ));
    } else if quoted {
        found.push(error(
            "key-quoted",
            "The key has quotes around it, which are sent with it.",
            "Remove the quotes (an env file or `docker --env-file` takes them as part of the value).",
        ));
    } else if trimmed.to_ascii_lowercase().starts_with("bearer ") {
        found.push(error(
            "key-with-bearer",
            "The key begins with the word `Bearer`, which weir writes itself.",
            "Remove that word from the value.",
        ));
    } else if trimmed.split_once('=').is_some_and(|(name, rest)| {
        !rest.is_empty()
            && name.len() > 3
            && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    }) {
        found.push(error(
            "key-with-name",
            "The value is a whole assignment (NAME=key), not the key.",
            "Keep only what stands behind the `=`.",
        ));
    } else if trimmed.contains(char::is_whitespace) {
        found.push(error(
            "key-with-blanks",
            "The key has a blank or a line break inside.",
            "Copy it again, in one piece.",
        ));
    } else if trimmed.contains("**") || trimmed.contains("...") || trimmed.contains('\u{2026}') {
        found.push(error(
            "key-masked",
            "This is the masked form that dashboards and error texts show, not the key.",
            "A key is shown whole only once, when it is made. Make a new one if it is lost.",
        ));
    }
    let raw = subject.raw.unwrap_or(key);
    if found.is_empty() && raw != raw.trim() {
        found.push(
            Finding::warning(
                Check::Key,
                "key-with-blanks-around",
                "The variable has a blank or a line break before or after the key. weir removes it; SDKs do not.",
            )
            .todo("Set the variable anew; `$(cat FILE)` drops the line break at the end."),
        );
    }
    found
}

/// The value of an example that nobody has replaced.
pub(super) fn placeholder(key: &str) -> Option<Finding> {
    let lower = key.to_ascii_lowercase();
    let body = lower.trim_start_matches("sk-").trim_start_matches("proj-");
    let filler = !body.is_empty()
        && body
            .bytes()
            .all(|b| matches!(b, b'x' | b'*' | b'.' | b'-' | b'_' | b'0'));
    let known = PLACEHOLDERS
        .iter()
        .any(|word| lower.contains(word) && lower.len() < 48);
    (filler || known).then(|| {
        Finding::error(
            Check::Key,
            "key-placeholder",
            "This is a placeholder out of an example, not a key.",
        )
        .todo("Put a real key into its place.")
    })
}

/// Shorter than keys of its kind are.
pub(super) fn cut(kind: &Kind, key: &str) -> Option<Finding> {
    let google = kind.vendor == GOOGLE && key.len() != kind.at_least && kind.at_least > 0;
    (key.len() < kind.at_least || google).then(|| {
        Finding::warning(
            Check::Key,
            "key-length",
            format!(
                "The key has {} characters; one of this kind has {}{}.",
                key.len(),
                if google { "" } else { "at least " },
                kind.at_least
            ),
        )
        .todo("Compare its length with the key in your password store; copy it again.")
    })
}
