//! `config/default.toml`: every key, its meaning, its default.

use std::fmt::Write;

use crate::config::table::{Key, Kind, ROOT, Section};

const HEAD: &str = "\
# Every key of weir's configuration with its default. What has none is commented out.
# Read from --config FILE, $WEIR_CONFIG, ./weir.toml or /etc/weir/weir.toml, whichever is first.
# ${NAME} in a text stands for an environment variable, ${NAME:-default} for one that may be unset;
# WEIR__SECTION__KEY overrides a key (WEIR__CACHE__TTL=5m, WEIR__UPSTREAM__OPENAI__API_KEY=...).
";

/// The file's text.
pub(crate) fn default_file() -> String {
    let mut text = HEAD.to_owned();
    for section in ROOT.walk() {
        let header = section.header();
        // Lists whose default is one entry are shown with it; apps have none.
        let off = section.name == "app";
        text.push('\n');
        if !section.name.is_empty() {
            let mark = if off { "# " } else { "" };
            let _ = write!(text, "# {}\n{mark}{header}\n", section.doc);
        }
        for key in section.keys {
            write_key(&mut text, section, key, off);
        }
    }
    text
}

/// What stands for "no section at all".
fn implied(section: &Section, key: &str) -> bool {
    matches!(
        (section.name, key),
        ("upstream", "name" | "provider" | "api_key" | "base_url")
            | ("route", "models" | "targets")
    )
}

fn write_key(text: &mut String, section: &Section, key: &Key, off: bool) {
    if matches!(key.kind, Kind::Table(_) | Kind::Tables(_)) {
        return;
    }
    let _ = writeln!(text, "# {} ({})", key.doc, key.kind.accepted());
    if matches!(key.kind, Kind::Rules) {
        return;
    }
    let value = key.default.unwrap_or(key.example);
    let value = match key.kind {
        Kind::Headers | Kind::Texts(_) => value.to_owned(),
        kind if kind.is_quoted(value) => format!("{value:?}"),
        _ => value.to_owned(),
    };
    let mark = if off || (key.default.is_none() && !implied(section, key.name)) {
        "# "
    } else {
        ""
    };
    let _ = writeln!(text, "{mark}{} = {value}", key.name);
}
