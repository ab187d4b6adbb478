//! The reference tables of `docs/configuration.md`.

use std::fmt::Write;

use crate::config::table::{Key, Kind, ROOT};

/// A Markdown table for every section.
pub fn reference() -> String {
    let mut text = String::new();
    for section in ROOT.walk() {
        let title = if section.name.is_empty() {
            "Top level".to_owned()
        } else {
            format!("`{}`", section.header())
        };
        let _ = write!(text, "\n## {title}\n\n{}\n\n", section.doc);
        text.push_str(
            "| key | unit | default | accepted | meaning |\n| --- | --- | --- | --- | --- |\n",
        );
        for key in section.keys {
            let (default, accepted) = (default(key), key.kind.accepted().replace('|', "\\|"));
            let _ = writeln!(
                text,
                "| `{}` | {} | {default} | {accepted} | {} |",
                key.name,
                key.kind.unit(),
                key.doc
            );
        }
    }
    text
}

fn default(key: &Key) -> String {
    match (key.default, key.kind) {
        (_, Kind::Table(_) | Kind::Tables(_)) => String::new(),
        (None, _) if key.example.is_empty() => "none".to_owned(),
        (None, kind) if kind.is_quoted(key.example) && !matches!(kind, Kind::Headers) => {
            format!("none; such as `{:?}`", key.example)
        }
        (None, _) => format!("none; such as `{}`", key.example),
        (Some(value), kind) if kind.is_quoted(value) => format!("`{value:?}`"),
        (Some(value), _) => format!("`{value}`"),
    }
}
