//! Numbers, durations and sizes.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use super::{Reader, Text, origin};
use crate::config::{
    effective::Origin,
    table::Kind,
    tree::{Item, Node, Place},
    units,
};

impl Reader<'_> {
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
        NonZeroU32::try_from(self.long_count_opt(key)?).ok()
    }

    /// A count that may be more than four billion.
    pub(crate) fn long_count_opt(&self, key: &str) -> Option<NonZeroU64> {
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
        u64::try_from(found).ok().and_then(NonZeroU64::new)
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
}
