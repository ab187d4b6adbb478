//! `WEIR__SECTION__KEY=value`: the environment over the file.
//!
//! A list of tables is addressed by name (`WEIR__UPSTREAM__OPENAI__API_KEY`; every sign of a name
//! that is no letter or digit is written `_`) or, where nothing has that name, by index. Values
//! are taken as they are: `${…}` is not replaced in them.

use std::sync::Arc;

use super::{
    env::Env,
    mistake::Draft,
    near,
    source::scrub,
    table::{Kind, ROOT, Section},
    tree::{Item, Node, Place, Table},
};

/// What the names of such variables begin with.
pub(crate) const PREFIX: &str = "WEIR__";

/// Puts every override into the tree; those that fit nowhere become mistakes.
pub(crate) fn apply(root: &mut Table, env: &Env, mistakes: &mut Vec<Draft>) {
    for (name, value) in env.iter() {
        if let Some(path) = name.strip_prefix(PREFIX) {
            let place = Place::Variable(Arc::from(name));
            let parts: Vec<_> = path.split("__").collect();
            let walk = Override { place, value };
            if let Err(draft) = walk.set(root, &ROOT, &parts, "") {
                mistakes.push(*draft);
            }
        }
    }
}

struct Override<'a> {
    place: Place,
    value: &'a str,
}

impl Override<'_> {
    fn set(
        &self,
        table: &mut Table,
        section: &'static Section,
        parts: &[&str],
        path: &str,
    ) -> Result<(), Box<Draft>> {
        let (part, rest) = parts.split_first().unwrap_or((&"", &[]));
        let lower = part.to_ascii_lowercase();
        let path = if path.is_empty() {
            lower.clone()
        } else {
            format!("{path}.{lower}")
        };
        let Some(key) = section.key(&lower) else {
            return Err(Box::new(self.unknown(section, part, &path)));
        };
        match key.kind {
            Kind::Table(inner) => {
                let item =
                    table.item_or_insert(key.name, || self.item(Node::Table(Table::default())));
                // A file that has no table here has a mistake of its own, told by the reader.
                let Node::Table(table) = &mut item.node else {
                    return Ok(());
                };
                if rest.is_empty() {
                    Err(Box::new(self.incomplete(&path, inner)))
                } else {
                    self.set(table, inner, rest, &path)
                }
            }
            Kind::Tables(inner) => {
                let Some(Item {
                    node: Node::List(items),
                    ..
                }) = table
                    .entries
                    .iter_mut()
                    .find(|entry| entry.name == key.name)
                    .map(|entry| &mut entry.item)
                else {
                    return Err(Box::new(
                        self.draft(&path, format!("there is no [[{}]] to override", key.name)),
                    ));
                };
                let Some((name, rest)) = rest.split_first() else {
                    return Err(Box::new(self.incomplete(&path, inner)));
                };
                let (item, path) = self.element(items, name, key.name, &path)?;
                let Node::Table(table) = &mut item.node else {
                    return Ok(());
                };
                if rest.is_empty() {
                    Err(Box::new(self.incomplete(&path, inner)))
                } else {
                    self.set(table, inner, rest, &path)
                }
            }
            Kind::Headers if !rest.is_empty() => {
                let header = rest.join("__").to_ascii_lowercase().replace('_', "-");
                let item =
                    table.item_or_insert(key.name, || self.item(Node::Table(Table::default())));
                if let Node::Table(headers) = &mut item.node {
                    headers.set(&header, self.item(Node::Text(self.value.to_owned())));
                }
                Ok(())
            }
            Kind::Headers | Kind::Rules => {
                let message = format!("`{path}` is a table and cannot be set by one variable");
                Err(Box::new(self.draft(&path, message)))
            }
            _ if !rest.is_empty() => {
                let draft = self.draft(&path, format!("`{path}` is a value: nothing is below it"));
                Err(Box::new(draft.accepted(key.kind.accepted())))
            }
            Kind::Texts(_) => {
                table.set(key.name, self.item(self.list()));
                Ok(())
            }
            _ => {
                table.set(key.name, self.item(Node::Text(self.value.to_owned())));
                Ok(())
            }
        }
    }

    fn element<'t>(
        &self,
        items: &'t mut [Item],
        wanted: &str,
        key: &str,
        path: &str,
    ) -> Result<(&'t mut Item, String), Box<Draft>> {
        let names: Vec<_> = items.iter().map(name_of).collect();
        let same = |name: &&Option<String>| {
            name.as_deref()
                .is_some_and(|name| normal(name) == normal(wanted))
        };
        let index = names
            .iter()
            .position(|name| same(&name))
            .or_else(|| wanted.parse::<usize>().ok().filter(|i| *i < items.len()));
        match index {
            Some(index) => {
                let name = names[index].clone().unwrap_or_else(|| index.to_string());
                Ok((&mut items[index], format!("{path}.{name}")))
            }
            None => {
                let names: Vec<_> = names.iter().flatten().map(String::as_str).collect();
                let path = format!("{path}.{}", wanted.to_ascii_lowercase());
                let shown = scrub(wanted).to_ascii_lowercase();
                let draft = self
                    .draft(&path, format!("no [[{key}]] is named `{shown}`"))
                    .accepted(names.join(", "))
                    .suggestion(near::nearest(wanted, names));
                Err(Box::new(draft))
            }
        }
    }

    /// A TOML array, or texts between commas.
    fn list(&self) -> Node {
        let parsed = format!("list = {}", self.value).parse::<toml::Table>().ok();
        let texts: Vec<String> = match parsed
            .as_ref()
            .and_then(|table| table.get("list"))
            .and_then(toml::Value::as_array)
        {
            Some(array) => array
                .iter()
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect(),
            None => self
                .value
                .split(',')
                .map(|text| text.trim().to_owned())
                .collect(),
        };
        Node::List(
            texts
                .into_iter()
                .map(|text| self.item(Node::Text(text)))
                .collect(),
        )
    }

    fn item(&self, node: Node) -> Item {
        Item {
            node,
            place: self.place.clone(),
        }
    }

    fn draft(&self, path: &str, message: String) -> Draft {
        Draft::new(&self.place, scrub(path), message)
    }

    fn unknown(&self, section: &'static Section, part: &str, path: &str) -> Draft {
        let lower = scrub(&part.to_ascii_lowercase());
        if section.later.contains(&lower.as_str()) {
            return self
                .draft(path, format!("`{lower}` is not in this version yet"))
                .help("unset the variable");
        }
        let names: Vec<_> = section.keys.iter().map(|key| key.name).collect();
        let near = near::nearest(&lower, names.iter().copied());
        self.draft(path, format!("unknown key `{lower}`"))
            .accepted(format!("in {}: {}", section.header(), names.join(", ")))
            .suggestion(near.map(|name| match &self.place {
                Place::Variable(variable) => swap_part(variable, part, &name),
                _ => name,
            }))
            .help("two underscores part sections and keys: WEIR__CACHE__TTL")
    }

    fn incomplete(&self, path: &str, section: &'static Section) -> Draft {
        let names: Vec<_> = section.keys.iter().map(|key| key.name).collect();
        self.draft(
            path,
            format!("`{path}` is a table: the variable's name goes on with `__KEY`"),
        )
        .accepted(names.join(", "))
    }
}

/// The variable's name with one part put right.
fn swap_part(variable: &str, part: &str, name: &str) -> String {
    let parts = variable
        .strip_prefix(PREFIX)
        .unwrap_or(variable)
        .split("__");
    let fixed: Vec<_> = parts
        .map(|p| {
            if p == part {
                name.to_ascii_uppercase()
            } else {
                p.to_owned()
            }
        })
        .collect();
    format!("{PREFIX}{}", fixed.join("__"))
}

fn name_of(item: &Item) -> Option<String> {
    let Node::Table(table) = &item.node else {
        return None;
    };
    match &table.entry("name")?.item.node {
        Node::Text(name) => Some(name.clone()),
        _ => None,
    }
}

fn normal(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}
