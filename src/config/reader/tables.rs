//! Tables, lists of tables, and tables of free keys.

use super::{Reader, Text, origin};
use crate::config::{
    effective::Line,
    mistake::Draft,
    source::{MASK, scrub},
    table::Section,
    tree::{Item, Node, Place},
};

impl<'a> Reader<'a> {
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
                Some(name) => format!("{key}.{}", scrub(name)),
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
            let path = format!("{}.{}", self.path(key), scrub(&entry.name));
            if let Some(text) = self.expand(&path, &entry.item, "a text") {
                let (key, value) = (format!("{:?}", entry.name), format!("{:?}", MASK));
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
}
