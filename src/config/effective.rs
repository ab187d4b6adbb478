//! The configuration in force, value by value, with where each came from. Secrets are masked
//! before they get here.

use super::source::Source;

/// Everything the walk read, in the order of a file.
#[derive(Clone, Debug, Default)]
pub struct Effective(Vec<Shown>);

/// A header, or a key and its value.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Section(String),
    Value {
        key: String,
        value: String,
        origin: Origin,
    },
}

/// Where a value came from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Default,
    /// The preset of the upstream's provider.
    Preset,
    /// Byte of the file, and the variables put in there.
    File {
        start: usize,
        variables: Vec<String>,
    },
    Variable(String),
}

#[derive(Clone, Debug)]
enum Shown {
    Section(String),
    Value {
        key: String,
        value: String,
        origin: String,
    },
}

impl Effective {
    /// Looks the lines of the file up.
    pub(crate) fn new(lines: Vec<Line>, source: &Source<'_>) -> Self {
        let shown = |line| match line {
            Line::Section(header) => Shown::Section(header),
            Line::Value { key, value, origin } => {
                let origin = match origin {
                    Origin::Default => "default".to_owned(),
                    Origin::Preset => "preset".to_owned(),
                    Origin::Variable(name) => format!("${name}"),
                    Origin::File { start, variables } => {
                        let line = format!("{}:{}", source.name, source.line(start));
                        variables
                            .iter()
                            .fold(line, |line, name| format!("{line}, ${name}"))
                    }
                };
                Shown::Value { key, value, origin }
            }
        };
        Self(lines.into_iter().map(shown).collect())
    }

    /// As a file, with the origin of whatever is not a default behind it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for line in &self.0 {
            match line {
                Shown::Section(header) => {
                    text.push_str(if text.is_empty() { "" } else { "\n" });
                    text.push_str(&format!("{header}\n"));
                }
                Shown::Value { key, value, origin } if origin == "default" => {
                    text.push_str(&format!("{key} = {value}\n"));
                }
                Shown::Value { key, value, origin } => {
                    text.push_str(&format!("{key} = {value}  # {origin}\n"));
                }
            }
        }
        text
    }

    /// As a list of `{section, key, value, origin}`; values are as in TOML.
    pub fn to_json(&self) -> serde_json::Value {
        let mut section = String::new();
        let mut values = Vec::new();
        for line in &self.0 {
            match line {
                Shown::Section(header) => section.clone_from(header),
                Shown::Value { key, value, origin } => values.push(serde_json::json!({
                    "section": section, "key": key, "value": value, "origin": origin,
                })),
            }
        }
        serde_json::Value::Array(values)
    }

    /// Where the key of an upstream (by its index) comes from: a variable, or a line.
    pub(crate) fn key_origin(&self, upstream: usize) -> Option<&str> {
        self.origin_of(upstream, "api_key")
    }

    /// Where a secret of an upstream (by its index) comes from: a variable, or a line.
    pub(crate) fn origin_of(&self, upstream: usize, name: &str) -> Option<&str> {
        let headers = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, line)| matches!(line, Shown::Section(h) if h == "[[upstream]]"));
        let from = headers.map(|(at, _)| at).nth(upstream)?;
        let keys = self.0[from + 1..]
            .iter()
            .take_while(|line| matches!(line, Shown::Value { .. }));
        keys.filter_map(|line| match line {
            Shown::Value { key, origin, .. } if key == name => Some(origin.as_str()),
            _ => None,
        })
        // A variable within the file says more than the line that names it.
        .map(|origin| {
            origin
                .rsplit_once(", ")
                .map_or(origin, |(_, variable)| variable)
        })
        .next()
    }
}
