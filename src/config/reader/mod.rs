//! Typed readers over one table of the file.
//!
//! A reader never fails: it notes the mistake and hands out the default, so that the walk goes on
//! and every mistake is told at once. What it hands out after a mistake is never run on.

mod numbers;
mod tables;
mod texts;

use std::{
    cell::{Cell, RefCell},
    num::NonZeroU32,
};

use super::{
    effective::{Line, Origin},
    env::Env,
    mistake::Draft,
    near,
    table::{Key, Section},
    tree::{Item, Node, Place, Table},
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

    /// Whether the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// Whether the key is there as a list without entries.
    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        matches!(self.item(key), Some(Item { node: Node::List(items), .. }) if items.is_empty())
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

    fn wrong_kind(&self, key: &str, item: &Item) {
        let kind = self.key(key).kind;
        let draft = Draft::new(
            &item.place,
            self.path(key),
            format!("`{key}` cannot be {}", item.node.kind()),
        );
        self.walk.mistake(draft.accepted(kind.accepted()));
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
