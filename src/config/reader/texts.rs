//! Texts: words, lists, addresses, and the variables in them.

use std::{net::SocketAddr, path::PathBuf};

use super::{Found, Reader, Text, origin};
use crate::config::{
    Listen,
    effective::Origin,
    env::ExpandError,
    mistake::Draft,
    near,
    table::{Key, Kind},
    tree::{Item, Node, Place},
};

impl Reader<'_> {
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
            if let Some(default) = self.key(key).default {
                self.note(key, default.to_owned(), Origin::Default);
            }
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

    /// The item as text with its variables put in; `None`: the mistake is noted.
    pub(super) fn expand(&self, path: &str, item: &Item, accepted: &str) -> Option<Text> {
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
                .unset()
                .suggestion(near)
                .help(
                    if path.ends_with("key")
                        || [".webhook", ".secret"]
                            .iter()
                            .any(|end| path.ends_with(end))
                        || path.contains(".headers.")
                    {
                        // No default key may stand in a file.
                        "set it where weir is started".to_owned()
                    } else {
                        format!("set it, or write a default: ${{{name}:-value}}")
                    },
                )
            }
            Err(ExpandError::Malformed) => {
                Draft::new(&item.place, path, "`${` without a variable's name and `}`")
                    .accepted("${NAME} or ${NAME:-default}; $${ for a literal ${")
            }
        };
        self.walk.mistake(draft);
        None
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
