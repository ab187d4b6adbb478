//! The file as a tree whose every value knows its place.
//!
//! A TOML syntax error does not end the reading: what stands before and after it is kept, so that
//! one start tells all mistakes.

use std::{ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Bytes of the file.
    File { start: usize, end: usize },
    /// An environment variable.
    Variable(Arc<str>),
    /// Nowhere: a default, or something that is missing altogether.
    Nowhere,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) node: Node,
    pub(crate) place: Place,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date,
    List(Vec<Item>),
    Table(Table),
}

/// Keys in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One `key = value`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Of the key.
    pub(crate) place: Place,
    pub(crate) item: Item,
}

/// What the parser said: text without any of the file's own words, and bytes of the file.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) place: Place,
}

/// Reads `text`; the tree holds what could be read.
pub(crate) fn parse(text: &str) -> (Table, Vec<SyntaxError>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .iter()
        .map(|error| SyntaxError {
            message: error.message().to_owned(),
            place: error.span().map_or(Place::Nowhere, place),
        })
        .collect();
    (table(root.get_ref()), errors)
}

fn place(span: Range<usize>) -> Place {
    Place::File {
        start: span.start,
        end: span.end,
    }
}

fn table(source: &DeTable<'_>) -> Table {
    let mut entries: Vec<_> = source
        .iter()
        .map(|(key, value)| Entry {
            name: key.get_ref().to_string(),
            place: place(key.span()),
            item: item(value),
        })
        .collect();
    entries.sort_by(|a, b| a.place.cmp(&b.place));
    Table { entries }
}

fn item(value: &Spanned<DeValue<'_>>) -> Item {
    let node = match value.get_ref() {
        DeValue::String(text) => Node::Text(text.to_string()),
        // Beyond 64 bits is beyond every range: the reader says so.
        DeValue::Integer(number) => {
            Node::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
        }
        DeValue::Float(number) => Node::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Node::Boolean(*truth),
        DeValue::Datetime(_) => Node::Date,
        DeValue::Array(items) => Node::List(items.iter().map(item).collect()),
        DeValue::Table(inner) => Node::Table(table(inner)),
    };
    Item {
        node,
        place: place(value.span()),
    }
}

// === impl Table ===

impl Table {
    /// The entry of that name.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Puts `item` in the place of what stood there.
    pub(crate) fn set(&mut self, name: &str, item: Item) {
        match self.entries.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => entry.item = item,
            None => {
                let place = item.place.clone();
                self.entries.push(Entry {
                    name: name.to_owned(),
                    place,
                    item,
                });
            }
        }
    }

    /// The item of that name, made by `make` when there is none.
    pub(crate) fn item_or_insert(&mut self, name: &str, make: impl FnOnce() -> Item) -> &mut Item {
        let index = match self.entries.iter().position(|entry| entry.name == name) {
            Some(index) => index,
            None => {
                let item = make();
                let place = item.place.clone();
                self.entries.push(Entry {
                    name: name.to_owned(),
                    place,
                    item,
                });
                self.entries.len() - 1
            }
        };
        &mut self.entries[index].item
    }
}

// === impl Node ===

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// The value as plain TOML, for who takes raw tables.
    pub(crate) fn to_toml(&self) -> toml::Value {
        match self {
            Self::Text(text) => toml::Value::String(text.clone()),
            Self::Integer(number) => toml::Value::Integer(*number),
            Self::Float(number) => toml::Value::Float(*number),
            Self::Boolean(truth) => toml::Value::Boolean(*truth),
            Self::Date => toml::Value::String(String::new()),
            Self::List(items) => {
                toml::Value::Array(items.iter().map(|item| item.node.to_toml()).collect())
            }
            Self::Table(table) => toml::Value::Table(table.to_toml()),
        }
    }
}

impl Table {
    /// As plain TOML.
    pub(crate) fn to_toml(&self) -> toml::Table {
        self.entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.item.node.to_toml()))
            .collect()
    }
}
