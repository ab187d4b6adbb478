//! Typed readers over one table of the file.
//!
//! A reader never fails: it notes the mistake and hands out the default, so that the walk goes on
//! and every mistake is told at once. What it hands out after a mistake is never run on.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use super::{
    Listen,
    effective::{Line, Origin},
    env::{Env, ExpandError},
    mistake::Draft,
    near,
    table::{Key, Kind, Section},
    tree::{Item, Node, Place, Table},
    units,
};

/// What the whole walk shares.
pub(crate) struct Walk<'a> {
    pub(crate) env: &'a Env,
    /// Processor cores, for the default of `workers`.
    pub(crate) cores: NonZeroU32,
    pub(crate) mistakes: RefCell<Vec<Draft>>,
    pub(crate) warnings: RefCell<Vec<Draft>>,
    pub(crate) effective: RefCell<Vec<Line>>,
}

/// One table of the file, or an absent one.
pub(crate) struct Reader<'a> {
    pub(crate) walk: &'a Walk<'a>,
    section: &'static Section,
    /// In messages, such as `upstream.openai`; empty at the top.
    path: String,
    table: Option<&'a Table>,
    /// Of the table.
    pub(crate) place: Place,
    /// Whether `config show` has its header.
    shown: Cell<bool>,
}

/// A key's value.
#[derive(Clone, Debug)]
pub(crate) enum Found<T> {
    Absent,
    /// The mistake is noted.
    Wrong,
    Value(T),
}

/// A text and where it came from.
#[derive(Clone)]
pub(crate) struct Text {
    pub(crate) value: String,
    /// As the file has it, with `${…}`.
    pub(crate) written: String,
    pub(crate) variables: Vec<String>,
    pub(crate) place: Place,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    pub(crate) fn new(env: &'a Env, cores: NonZeroU32) -> Self {
        let (mistakes, warnings, effective) = Default::default();
        Self {
            env,
            cores,
            mistakes,
            warnings,
            effective,
        }
    }

    pub(crate) fn mistake(&self, draft: Draft) {
        self.mistakes.borrow_mut().push(draft);
    }

    pub(crate) fn warn(&self, draft: Draft) {
        self.warnings.borrow_mut().push(draft);
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The top level.
    pub(crate) fn root(walk: &'a Walk<'a>, section: &'static Section, table: &'a Table) -> Self {
        Self::new(walk, section, String::new(), Some(table), Place::Nowhere)
    }

    fn new(
        walk: &'a Walk<'a>,
        section: &'static Section,
        path: String,
        table: Option<&'a Table>,
        place: Place,
    ) -> Self {
        let shown = Cell::new(section.name.is_empty());
        let reader = Self {
            walk,
            section,
            path,
            table,
            place,
            shown,
        };
        reader.refuse_unknown();
        reader
    }

    fn refuse_unknown(&self) {
        for entry in self.table.iter().flat_map(|table| &table.entries) {
            if self.section.key(&entry.name).is_some() {
                continue;
            }
            let (name, path) = (super::source::scrub(&entry.name), self.path(&entry.name));
            if self.section.later.contains(&entry.name.as_str()) {
                let message = format!("`{name}` is not in this version yet");
                self.walk
                    .mistake(Draft::new(&entry.place, path, message).help("leave it out"));
                continue;
            }
            let names: Vec<_> = self.section.keys.iter().map(|key| key.name).collect();
            let draft = Draft::new(&entry.place, path, format!("unknown key `{name}`"))
                .accepted(format!(
                    "in {}: {}",
                    self.section.header(),
                    names.join(", ")
                ))
                .suggestion(near::nearest_key(&entry.name, self.section));
            self.walk.mistake(draft);
        }
    }

    /// The key's path for messages.
    pub(crate) fn path(&self, key: &str) -> String {
        let key = super::source::scrub(key);
        if self.path.is_empty() {
            key
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The place of a key's value, or of the table that lacks it.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.item(key)
            .map_or_else(|| self.place.clone(), |item| item.place.clone())
    }

    fn item(&self, key: &str) -> Option<&'a Item> {
        debug_assert!(
            self.section.key(key).is_some(),
            "`{key}` is in the table of {}",
            self.section.name
        );
        Some(&self.table?.entry(key)?.item)
    }

    fn key(&self, name: &str) -> &'static Key {
        self.section
            .key(name)
            .expect("readers ask for keys of the key table")
    }

    /// A mistake with a key's value.
    pub(crate) fn draft(&self, key: &str, message: impl Into<String>) -> Draft {
        Draft::new(&self.place_of(key), self.path(key), message)
    }

    /// Notes that a required key is missing.
    pub(crate) fn missing(&self, key: &str, help: &str) {
        let message = format!("{} needs `{key}`", self.section.header());
        let draft = Draft::new(&self.place, self.path(key), message)
            .accepted(self.key(key).kind.accepted())
            .absence();
        self.walk.mistake(if help.is_empty() {
            draft
        } else {
            draft.help(help)
        });
    }

    // --- tables ---

    /// The table of that name; an absent one reads as empty.
    pub(crate) fn table(&self, key: &str, section: &'static Section) -> Reader<'a> {
        let (table, place) = match self.item(key) {
            None => (None, self.place.clone()),
            Some(Item {
                node: Node::Table(table),
                place,
            }) => (Some(table), place.clone()),
            Some(item) => {
                self.wrong_kind(key, item);
                (None, item.place.clone())
            }
        };
        Reader::new(self.walk, section, self.path(key), table, place)
    }

    /// The tables of that name; `None`: the key is absent.
    pub(crate) fn tables(&self, key: &str, section: &'static Section) -> Option<Vec<Reader<'a>>> {
        let mut readers = Vec::new();
        let item = self.item(key)?;
        let Node::List(items) = &item.node else {
            let help = format!("write `[[{key}]]`, with two brackets");
            let draft = self.draft(key, format!("`{key}` is a list of tables"));
            self.walk.mistake(draft.found(item.node.kind()).help(help));
            return Some(readers);
        };
        for (index, item) in items.iter().enumerate() {
            let Node::Table(table) = &item.node else {
                self.walk.mistake(
                    Draft::new(
                        &item.place,
                        format!("{key}[{index}]"),
                        format!("`{key}` is a list of tables"),
                    )
                    .found(item.node.kind()),
                );
                continue;
            };
            let name = table
                .entry("name")
                .and_then(|entry| match &entry.item.node {
                    Node::Text(name) if !name.is_empty() && !name.contains('$') => Some(name),
                    _ => None,
                });
            let path = match name {
                Some(name) => format!("{key}.{}", super::source::scrub(name)),
                None => format!("{key}[{index}]"),
            };
            readers.push(Reader::new(
                self.walk,
                section,
                path,
                Some(table),
                item.place.clone(),
            ));
        }
        Some(readers)
    }

    /// The tables below a key as plain TOML, each with its place.
    pub(crate) fn raw_tables(&self, key: &str) -> Vec<(toml::Table, Place)> {
        let mut tables = Vec::new();
        match self.item(key) {
            None => {}
            Some(Item {
                node: Node::List(items),
                ..
            }) => {
                for item in items {
                    match &item.node {
                        Node::Table(table) => tables.push((table.to_toml(), item.place.clone())),
                        _ => self.wrong_kind(key, item),
                    }
                }
            }
            Some(item) => self.wrong_kind(key, item),
        }
        tables
    }

    /// The texts of a table, such as `headers`, with the places of their keys.
    pub(crate) fn pairs(&self, key: &str) -> Vec<(String, Place, Text)> {
        let Some(item) = self.item(key) else {
            return Vec::new();
        };
        let Node::Table(table) = &item.node else {
            self.wrong_kind(key, item);
            return Vec::new();
        };
        let mut pairs = Vec::new();
        self.walk
            .effective
            .borrow_mut()
            .push(Line::Section(format!("[{}.{key}]", self.section.name)));
        for entry in &table.entries {
            let path = format!("{}.{}", self.path(key), super::source::scrub(&entry.name));
            if let Some(text) = self.expand(&path, &entry.item, "a text") {
                let (key, value) = (
                    format!("{:?}", entry.name),
                    format!("{:?}", super::source::MASK),
                );
                let origin = origin(&text.place, &text.variables);
                self.walk
                    .effective
                    .borrow_mut()
                    .push(Line::Value { key, value, origin });
                pairs.push((entry.name.clone(), entry.place.clone(), text));
            }
        }
        pairs
    }

    // --- values ---

    pub(crate) fn duration(&self, key: &str) -> Duration {
        self.duration_opt(key).unwrap_or_else(|| {
            let default = self.default(key);
            units::parse_duration(default).unwrap_or_default()
        })
    }

    pub(crate) fn duration_opt(&self, key: &str) -> Option<Duration> {
        let Kind::Duration { min, max } = self.key(key).kind else {
            return None;
        };
        let found = self.parsed(key, |text| match units::parse_duration(text) {
            Some(duration) => Ok(duration),
            None if text.parse::<f64>().is_ok() => Err(format!(
                "a duration needs a unit: write \"{text}s\" for seconds"
            )),
            None => Err(String::new()),
        })?;
        let range = Duration::from_millis(min)..=Duration::from_millis(max);
        self.in_range(key, found, range.contains(&found), || {
            units::format_duration(found)
        })
    }

    pub(crate) fn size(&self, key: &str) -> u64 {
        let Kind::Size { min, max } = self.key(key).kind else {
            return 0;
        };
        let found = self.parsed(key, |text| match units::parse_size(text) {
            Some(size) => Ok(size),
            // A bare number is a number of bytes.
            None => text.parse::<u64>().map_err(|_| String::new()),
        });
        found
            .and_then(|found| {
                self.in_range(key, found, (min..=max).contains(&found), || {
                    units::format_size(found)
                })
            })
            .unwrap_or_else(|| units::parse_size(self.default(key)).unwrap_or_default())
    }

    pub(crate) fn count(&self, key: &str) -> NonZeroU32 {
        self.count_opt(key)
            .or_else(|| self.default(key).parse().ok())
            .unwrap_or(NonZeroU32::MIN)
    }

    pub(crate) fn count_opt(&self, key: &str) -> Option<NonZeroU32> {
        let (Kind::Count { min, max } | Kind::CountOr { min, max, .. }) = self.key(key).kind else {
            return None;
        };
        let found = self.parsed(key, |text| {
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(number), _) => Ok(number),
                (Err(_), Ok(_)) => Err("write a whole number".to_owned()),
                _ => Err(String::new()),
            }
        })?;
        let fits = u64::try_from(found).is_ok_and(|found| (min..=max).contains(&found));
        let found = self.in_range(key, found, fits, || found.to_string())?;
        u32::try_from(found).ok().and_then(NonZeroU32::new)
    }

    /// A count, or `None` for the key's word.
    pub(crate) fn count_or(&self, key: &str) -> Option<NonZeroU32> {
        let Kind::CountOr { word, .. } = self.key(key).kind else {
            return None;
        };
        match self.item(key) {
            Some(Item {
                node: Node::Text(text),
                place,
            }) if text == word => {
                self.note(key, format!("\"{word}\""), origin(place, &[]));
                None
            }
            Some(_) => self.count_opt(key),
            None => {
                self.note(key, format!("\"{word}\""), Origin::Default);
                None
            }
        }
    }

    pub(crate) fn share(&self, key: &str) -> f32 {
        let found = self.parsed(key, |text| text.parse::<f64>().map_err(|_| String::new()));
        let found = found.and_then(|share| {
            self.in_range(key, share, (0.0..=1.0).contains(&share), || {
                share.to_string()
            })
        });
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a share needs no more precision"
        )]
        let share = found.map(|share| share as f32);
        share
            .or_else(|| self.default(key).parse().ok())
            .unwrap_or_default()
    }

    /// One of the key's words; the default, or `None` where there is none.
    pub(crate) fn word(&self, key: &str) -> Option<&'static str> {
        let Key {
            kind: Kind::Word(words),
            default,
            ..
        } = *self.key(key)
        else {
            return None;
        };
        match self.text(key) {
            Found::Absent | Found::Wrong => default,
            Found::Value(text) => {
                let word = words.iter().copied().find(|word| *word == text.value);
                if word.is_none() {
                    let near = near::nearest(&text.value, words.iter().copied());
                    self.refuse(
                        key,
                        &text,
                        &format!("`{key}` is none of its words"),
                        |draft| draft.suggestion(near),
                    );
                }
                word
            }
        }
    }

    /// A text that is not empty; no default is taken.
    pub(crate) fn text(&self, key: &str) -> Found<Text> {
        let known = self.key(key);
        let Some(item) = self.item(key) else {
            if let Some(default) = known.default {
                self.note(key, format!("{default:?}"), Origin::Default);
            }
            return Found::Absent;
        };
        let Some(text) = self.expand(&self.path(key), item, &known.kind.accepted()) else {
            return Found::Wrong;
        };
        if text.value.trim().is_empty() {
            self.refuse(key, &text, &format!("`{key}` is empty"), |draft| draft);
            return Found::Wrong;
        }
        let shown = if known.kind.is_secret() {
            text.shown_secret()
        } else {
            format!("{:?}", text.value)
        };
        self.note(key, shown, origin(&text.place, &text.variables));
        Found::Value(text)
    }

    /// A text, or its default.
    pub(crate) fn text_or_default(&self, key: &str) -> Text {
        match self.text(key) {
            Found::Value(text) => text,
            Found::Absent | Found::Wrong => {
                let value = self.default(key).to_owned();
                Text {
                    written: value.clone(),
                    value,
                    variables: Vec::new(),
                    place: self.place.clone(),
                }
            }
        }
    }

    /// A list of texts that are not empty; `None` when absent or wrong.
    pub(crate) fn texts(&self, key: &str) -> Found<Vec<Text>> {
        let Some(item) = self.item(key) else {
            return Found::Absent;
        };
        let Node::List(items) = &item.node else {
            self.wrong_kind(key, item);
            return Found::Wrong;
        };
        let accepted = self.key(key).kind.accepted();
        let (mut texts, mut wrong) = (Vec::new(), false);
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path(key));
            match self.expand(&path, item, &accepted) {
                Some(text) if !text.value.trim().is_empty() => texts.push(text),
                Some(_) => {
                    self.walk.mistake(
                        Draft::new(&item.place, path, "an empty text").accepted(&accepted),
                    );
                    wrong = true;
                }
                None => wrong = true,
            }
        }
        if items.is_empty() {
            self.walk.mistake(
                self.draft(key, format!("`{key}` is empty"))
                    .accepted(accepted),
            );
            wrong = true;
        }
        let shown: Vec<_> = texts
            .iter()
            .map(|text| format!("{:?}", text.value))
            .collect();
        let variables: Vec<_> = texts
            .iter()
            .flat_map(|text| text.variables.clone())
            .collect();
        self.note(
            key,
            format!("[{}]", shown.join(", ")),
            origin(&item.place, &variables),
        );
        if wrong {
            Found::Wrong
        } else {
            Found::Value(texts)
        }
    }

    /// An address; `None` is the word `off`.
    pub(crate) fn listen(&self, key: &str) -> Option<Listen> {
        let Kind::Listen { off } = self.key(key).kind else {
            return None;
        };
        let text = self.text_or_default(key);
        if off && text.value == "off" {
            return None;
        }
        let listen = match text.value.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(Listen::Unix(PathBuf::from(path))),
            None => text.value.parse::<SocketAddr>().ok().map(Listen::Tcp),
        };
        if listen.is_none() {
            self.refuse(
                key,
                &text,
                &format!("`{key}` is no address"),
                |draft| match listen_help(&text.value) {
                    Some(help) => draft.help(help),
                    None => draft,
                },
            );
        }
        // The walk goes on with some address; the mistake stops it at its end.
        Some(listen.unwrap_or(Listen::Unix(PathBuf::new())))
    }

    // --- helpers ---

    fn default(&self, key: &str) -> &'static str {
        self.key(key).default.unwrap_or_default()
    }

    /// Notes a mistake with a text, showing it as it was written.
    pub(crate) fn refuse(
        &self,
        key: &str,
        text: &Text,
        message: &str,
        more: impl FnOnce(Draft) -> Draft,
    ) {
        let kind = self.key(key).kind;
        let mut draft = Draft::new(&text.place, self.path(key), message).accepted(kind.accepted());
        if !kind.is_secret() {
            draft = draft.found(format!("{:?}", text.written));
        }
        self.walk.mistake(more(draft));
    }

    /// A value given as text or number, through `parse`, whose error is help or empty.
    fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let kind = self.key(key).kind;
        let Some(item) = self.item(key) else {
            if let Some(default) = self.key(key).default {
                let shown = if kind.is_quoted(default) {
                    format!("{default:?}")
                } else {
                    default.to_owned()
                };
                self.note(key, shown, Origin::Default);
            }
            return None;
        };
        let numeric = matches!(
            kind,
            Kind::Count { .. } | Kind::CountOr { .. } | Kind::Share
        );
        let text = match &item.node {
            Node::Integer(number) => Text::plain(number.to_string(), &item.place),
            Node::Float(number) => Text::plain(number.to_string(), &item.place),
            Node::Text(_) => self.expand(&self.path(key), item, &kind.accepted())?,
            _ => {
                self.wrong_kind(key, item);
                return None;
            }
        };
        // In a file a number is a number; only what comes from the environment is always text.
        let quoted = numeric
            && matches!(item.node, Node::Text(_))
            && text.variables.is_empty()
            && matches!(item.place, Place::File { .. });
        match parse(text.value.trim()) {
            Ok(value) if !quoted => {
                let shown = if numeric {
                    text.value.trim().to_owned()
                } else {
                    format!("{:?}", text.value)
                };
                self.note(key, shown, origin(&item.place, &text.variables));
                Some(value)
            }
            Ok(_) => {
                self.refuse(key, &text, &format!("`{key}` is a number"), |draft| {
                    draft.help("write it without quotes")
                });
                None
            }
            Err(help) => {
                let what = match kind {
                    Kind::Duration { .. } => "duration",
                    Kind::Size { .. } => "size",
                    _ => "number",
                };
                self.refuse(
                    key,
                    &text,
                    &format!("`{key}` is not a {what}"),
                    |mut draft| {
                        if !matches!(item.node, Node::Text(_)) {
                            draft = draft.found(&text.written);
                        }
                        if help.is_empty() {
                            draft
                        } else {
                            draft.help(help)
                        }
                    },
                );
                None
            }
        }
    }

    fn in_range<T>(
        &self,
        key: &str,
        value: T,
        fits: bool,
        show: impl FnOnce() -> String,
    ) -> Option<T> {
        if fits {
            return Some(value);
        }
        let draft = self.draft(key, format!("`{key}` is out of range"));
        self.walk
            .mistake(draft.found(show()).accepted(self.key(key).kind.accepted()));
        None
    }

    fn wrong_kind(&self, key: &str, item: &Item) {
        let kind = self.key(key).kind;
        let draft = Draft::new(
            &item.place,
            self.path(key),
            format!("`{key}` cannot be {}", item.node.kind()),
        );
        self.walk.mistake(draft.accepted(kind.accepted()));
    }

    /// The item as text with its variables put in; `None`: the mistake is noted.
    fn expand(&self, path: &str, item: &Item, accepted: &str) -> Option<Text> {
        let Node::Text(written) = &item.node else {
            let message = format!("`{path}` cannot be {}", item.node.kind());
            self.walk
                .mistake(Draft::new(&item.place, path, message).accepted(accepted));
            return None;
        };
        if matches!(item.place, Place::Variable(_)) {
            return Some(Text::plain(written.clone(), &item.place));
        }
        let draft = match self.walk.env.expand(written) {
            Ok(expanded) => {
                return Some(Text {
                    value: expanded.value,
                    written: written.clone(),
                    variables: expanded.variables,
                    place: item.place.clone(),
                });
            }
            Err(ExpandError::Unset(name)) => {
                let near = near::nearest(&name, self.walk.env.iter().map(|(name, _)| name));
                Draft::new(
                    &item.place,
                    path,
                    format!("environment variable `{name}` is not set"),
                )
                .suggestion(near)
                .help(if path.ends_with("key") || path.contains(".headers.") {
                    // No default key may stand in a file.
                    "set it where weir is started".to_owned()
                } else {
                    format!("set it, or write a default: ${{{name}:-value}}")
                })
            }
            Err(ExpandError::Malformed) => {
                Draft::new(&item.place, path, "`${` without a variable's name and `}`")
                    .accepted("${NAME} or ${NAME:-default}; $${ for a literal ${")
            }
        };
        self.walk.mistake(draft);
        None
    }

    /// Notes a value for `config show`, as TOML.
    pub(crate) fn note(&self, key: &str, value: String, origin: Origin) {
        let mut lines = self.walk.effective.borrow_mut();
        if !self.shown.replace(true) {
            lines.push(Line::Section(self.section.header()));
        }
        lines.push(Line::Value {
            key: key.to_owned(),
            value,
            origin,
        });
    }
}

impl Text {
    fn plain(value: String, place: &Place) -> Self {
        Self {
            written: value.clone(),
            value,
            variables: Vec::new(),
            place: place.clone(),
        }
    }

    fn shown_secret(&self) -> String {
        match self.value.as_str() {
            word @ ("passthrough" | "none") => format!("{word:?}"),
            _ => format!("{:?}", super::source::MASK),
        }
    }
}

fn origin(place: &Place, variables: &[String]) -> Origin {
    match place {
        Place::File { start, .. } => Origin::File {
            start: *start,
            variables: variables.to_vec(),
        },
        Place::Variable(name) => Origin::Variable(name.to_string()),
        Place::Nowhere => Origin::Default,
    }
}

fn listen_help(value: &str) -> Option<String> {
    if let Some(port) = value.strip_prefix("localhost:") {
        return Some(format!("write 127.0.0.1:{port}"));
    }
    if let Some(port) = value
        .strip_prefix(':')
        .or(Some(value))
        .filter(|port| port.parse::<u16>().is_ok())
    {
        return Some(format!("for this machine only: 127.0.0.1:{port}"));
    }
    value
        .parse::<std::net::IpAddr>()
        .is_ok()
        .then(|| "a port is missing".to_owned())
}
