//! The key table: every section and key of the file, with its kind, range, default and meaning.
//!
//! The one place where these stand. The readers check against it, and the default file, the JSON
//! Schema, the reference page and the suggestions for misspelt keys are made from it.

mod sections;

pub(crate) use sections::ROOT;

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// As in the file's headers, such as `upstream.limits`; empty for the top level.
    pub(crate) name: &'static str,
    /// Written `[[name]]`, any number of times.
    pub(crate) repeated: bool,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
    /// Keys of a later version: refused, but not as misspelt.
    pub(crate) later: &'static [&'static str],
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As a reader takes it (without quotes); `None`: absent, or worked out (then `doc` says how).
    pub(crate) default: Option<&'static str>,
    /// Shown as an example where there is no default.
    pub(crate) example: &'static str,
    pub(crate) doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `ADDRESS:PORT` or `unix:/path`; `off` where it says so.
    Listen { off: bool },
    /// Bounds in milliseconds, inclusive.
    Duration { min: u64, max: u64 },
    /// Bounds in bytes, inclusive.
    Size { min: u64, max: u64 },
    /// Inclusive bounds.
    Count { min: u64, max: u64 },
    /// A count, or this word.
    CountOr {
        word: &'static str,
        min: u64,
        max: u64,
    },
    /// A number from 0 to 1.
    Share,
    /// One of these.
    Word(&'static [&'static str]),
    /// Any text that is not empty; the words say what it must look like.
    Text(&'static str),
    /// Text that is never printed.
    Secret(&'static str),
    /// A list of texts, at least one.
    Texts(&'static str),
    /// A table of texts, never printed.
    Headers,
    /// Tables handed to the failure triage as they are.
    Rules,
    /// A table.
    Table(&'static Section),
    /// A list of tables.
    Tables(&'static Section),
}

// === impl Section ===

impl Section {
    /// The key of that name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// As the file's headers write it.
    pub(crate) fn header(&self) -> String {
        match (self.name, self.repeated) {
            ("", _) => "the top level".to_owned(),
            (name, true) => format!("[[{name}]]"),
            (name, false) => format!("[{name}]"),
        }
    }

    /// This section and all below it, in the order of the file.
    pub(crate) fn walk(&'static self) -> Vec<&'static Self> {
        let mut all = vec![self];
        for key in self.keys {
            if let Kind::Table(section) | Kind::Tables(section) = key.kind {
                all.extend(section.walk());
            }
        }
        all
    }
}

// === impl Kind ===

impl Kind {
    /// What would be accepted, in words.
    pub(crate) fn accepted(self) -> String {
        use super::units::{format_duration_ms as d, format_size as s};
        match self {
            Self::Listen { off } => {
                let off = if off { ", or \"off\"" } else { "" };
                format!("\"ADDRESS:PORT\" (an IP address) or \"unix:/path\"{off}")
            }
            Self::Duration { min, max } => {
                format!(
                    "a duration such as \"250ms\", \"5s\", \"2m\" or \"1h\", from {} to {}",
                    d(min),
                    d(max)
                )
            }
            Self::Size { min, max } => {
                format!(
                    "a size such as \"64KiB\" or \"128MiB\", from {} to {}",
                    s(min),
                    s(max)
                )
            }
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::CountOr { word, min, max } => {
                format!("\"{word}\" or a whole number from {min} to {max}")
            }
            Self::Share => "a number from 0 to 1".to_owned(),
            Self::Word(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                quoted.join(", ")
            }
            Self::Text(what) | Self::Secret(what) => what.to_owned(),
            Self::Texts(what) => format!("a list of at least one: {what}"),
            Self::Headers => "a table of header names and their values".to_owned(),
            Self::Rules => "tables of failure rules".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Tables(_) => "a list of tables".to_owned(),
        }
    }

    /// The unit, for the reference page.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Listen { .. } => "address",
            Self::Duration { .. } => "duration",
            Self::Size { .. } => "size",
            Self::Count { .. } => "count",
            Self::CountOr { .. } => "count or word",
            Self::Share => "share",
            Self::Word(_) => "word",
            Self::Text(_) => "text",
            Self::Secret(_) => "secret",
            Self::Texts(_) => "list of texts",
            Self::Headers | Self::Rules | Self::Table(_) => "table",
            Self::Tables(_) => "tables",
        }
    }

    /// Whether its value may be shown.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::Secret(_) | Self::Headers)
    }

    /// Whether the file writes its value between quotes.
    pub(crate) fn is_quoted(self, value: &str) -> bool {
        match self {
            Self::Count { .. } | Self::Share | Self::Texts(_) => false,
            Self::CountOr { word, .. } => value == word,
            _ => true,
        }
    }
}
