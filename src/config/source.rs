//! The file's text: lines and columns, and source lines that are fit to be shown.
//!
//! A mistake shows its line, and a line of this file may hold a key. So the value of every key
//! that is not known to be harmless is masked, and whatever looks like a key is masked anywhere.

use std::ops::Range;

use super::{
    table::{Kind, ROOT},
    tree::{Node, Place, Table},
};

/// What is shown instead.
pub(crate) const MASK: &str = "***";

/// How vendors (and weir) begin their keys.
const KEY_PREFIXES: &[&str] = &[
    "sk-", "sk_", "pk-", "rk-", "wk-", "gsk_", "xai-", "AIza", "hf_", "Bearer ", "Basic ",
];

/// A text and what in it is secret.
pub(crate) struct Source<'a> {
    /// As messages name it.
    pub(crate) name: &'a str,
    text: &'a str,
    /// Where line breaks stand: the place of every value is told, and a file may hold thousands of apps.
    breaks: Vec<usize>,
    secrets: Vec<Range<usize>>,
    /// The tree does not tell all: mask more.
    broken: bool,
}

/// One line, masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters of the file.
    pub(crate) column: usize,
    pub(crate) text: String,
    /// Characters of `text` to point at.
    pub(crate) caret: Range<usize>,
}

// === impl Source ===

impl<'a> Source<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str, tree: &Table, broken: bool) -> Self {
        let mut secrets = Vec::new();
        collect_secrets(tree, false, &mut secrets);
        Self {
            name,
            text,
            breaks: text.match_indices('\n').map(|(at, _)| at).collect(),
            secrets,
            broken,
        }
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.breaks.partition_point(|end| *end < at) + 1
    }

    /// The line that holds `start`, and where in it `start..end` stands.
    pub(crate) fn snippet(&self, start: usize, end: usize) -> Snippet {
        let start = floor(self.text, start);
        let begin = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let stop = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let end = floor(self.text, end).clamp(start, stop);
        let masks = self.masks(begin, stop);
        let (mut text, mut caret) = (String::new(), 0..0);
        let mut shown = 0;
        let mut hidden = masks.iter().peekable();
        let mut at = begin;
        // Walks once over the line and notes where the two ends of the mistake come to stand.
        while at <= stop {
            if at <= start {
                caret.start = shown;
            }
            if at <= end {
                caret.end = shown;
            }
            if let Some(mask) = hidden.next_if(|mask| mask.start <= at) {
                text.push_str(MASK);
                shown += MASK.len();
                if start < mask.end && end > mask.start {
                    caret.end = shown;
                }
                at = mask.end.max(at);
                if at >= stop {
                    break;
                }
                continue;
            }
            let Some(c) = self.text[at..stop].chars().next() else {
                break;
            };
            text.push(match c {
                '\t' => ' ',
                c if c.is_control() => '\u{fffd}',
                c => c,
            });
            shown += 1;
            at += c.len_utf8();
        }
        caret.end = caret.end.max(caret.start + 1);
        let column = self.text[begin..start].chars().count() + 1;
        Snippet {
            line: self.line(start),
            column,
            text: text.trim_end().to_owned(),
            caret,
        }
    }

    /// Bytes of the line to hide, sorted, apart from each other.
    fn masks(&self, begin: usize, stop: usize) -> Vec<Range<usize>> {
        let line = &self.text[begin..stop];
        let mut masks: Vec<Range<usize>> = Vec::new();
        for secret in &self.secrets {
            if secret.start < stop && secret.end > begin {
                masks.push(secret.start.max(begin)..secret.end.min(stop));
            }
        }
        if let Some(from) = hidden_from(line, self.section_of(begin), self.broken) {
            masks.push(begin + from..stop);
        }
        let before = &self.text[..begin];
        if ["\"\"\"", "'''"]
            .iter()
            .any(|quotes| before.matches(quotes).count() % 2 == 1)
        {
            masks.push(begin..stop);
        }
        masks.extend(
            key_like(line)
                .into_iter()
                .map(|range| begin + range.start..begin + range.end),
        );
        masks.sort_by_key(|range| range.start);
        masks.dedup_by(|next, kept| {
            let joined = next.start <= kept.end;
            if joined {
                kept.end = kept.end.max(next.end);
            }
            joined
        });
        masks.retain(|range| !range.is_empty());
        masks
    }

    /// The last `[header]` above a byte.
    fn section_of(&self, at: usize) -> &str {
        let above = self.text[..at].lines().rev();
        above
            .map(str::trim_start)
            .find(|line| line.starts_with('['))
            .unwrap_or("")
    }
}

/// `text` with everything masked that looks like a key; for values in messages.
pub(crate) fn scrub(text: &str) -> String {
    let mut scrubbed = String::with_capacity(text.len());
    let mut at = 0;
    for range in key_like(text) {
        if range.start >= at {
            scrubbed.push_str(&text[at..range.start]);
            scrubbed.push_str(MASK);
            at = range.end;
        }
    }
    scrubbed.push_str(&text[at..]);
    scrubbed
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Every text below a key that holds secrets, or that is not known at all.
fn collect_secrets(table: &Table, inside: bool, secrets: &mut Vec<Range<usize>>) {
    for entry in &table.entries {
        let secret = inside || !is_harmless(&entry.name);
        collect_node(&entry.item.node, &entry.item.place, secret, secrets);
    }
}

fn collect_node(node: &Node, place: &Place, secret: bool, secrets: &mut Vec<Range<usize>>) {
    match (node, place) {
        (Node::Table(table), _) => collect_secrets(table, secret, secrets),
        (Node::List(items), _) => {
            for item in items {
                collect_node(&item.node, &item.place, secret, secrets);
            }
        }
        (Node::Text(text), Place::File { start, end }) if secret && !is_reference(text) => {
            secrets.push(*start..*end);
        }
        _ => {}
    }
}

/// Whether a key of that name holds nothing secret, in whatever section.
fn is_harmless(name: &str) -> bool {
    let known = |name: &str| {
        let sections = ROOT.walk();
        let mut keys = sections
            .iter()
            .filter_map(|section| section.key(name))
            .peekable();
        keys.peek().is_some() && keys.all(|key| !key.kind.is_secret())
    };
    let rule = |name: &str| {
        matches!(
            name,
            "status" | "code" | "type" | "message" | "class" | "scope" | "advice"
        )
    };
    known(name) || rule(name)
}

/// `${NAME}` alone, or one of the words of `api_key`: says where a key is, not what it is.
fn is_reference(text: &str) -> bool {
    let variable = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    variable.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }) || matches!(text, "passthrough" | "none")
}

/// From which byte of a line on its values must not be shown.
fn hidden_from(line: &str, section: &str, broken: bool) -> Option<usize> {
    let trimmed = line.trim_start();
    if trimmed.starts_with('[') && !trimmed.contains('=') {
        return None;
    }
    if trimmed.starts_with('#') {
        // A key that was commented out is a key.
        return Some(line.len() - trimmed.len() + 1);
    }
    let in_headers = section.contains("headers");
    let mut any = false;
    for (at, _) in line.match_indices('=') {
        any = true;
        let left = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let name = left
            .rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .next()?;
        let value = &line[at + 1..];
        let right = value.split_once(" #").map_or(value, |(value, _)| value);
        let right = right.trim().trim_matches(['"', '\'']);
        if in_headers || (!is_harmless(name) && !is_reference(right)) {
            let table = matches!(ROOT.walk().iter().find_map(|s| s.key(name)), Some(key) if matches!(key.kind, Kind::Headers));
            // `headers = {` itself says nothing yet.
            if !(table && right == "{") {
                return Some(at + 1 + value.len() - value.trim_start().len());
            }
        }
    }
    (broken && !any).then(|| line.find(['"', '\'']).unwrap_or(0))
}

/// Bytes that look like a key, like the user part of a URL, or like a URL's query.
fn key_like(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '~');
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if word > 0 {
            let token = &rest[..word];
            let prefixed = KEY_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) && word > 8;
            if prefixed || is_random(token) {
                found.push(at..at + word);
            }
            at += word;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    for (scheme, _) in text.match_indices("://") {
        let from = scheme + 3;
        let stop = text[from..]
            .find(['/', '"', '\'', ' '])
            .map_or(text.len(), |n| from + n);
        if let Some(user) = text[from..stop].rfind('@') {
            found.push(from..from + user);
        }
        let end = text[from..]
            .find(['"', '\'', ' '])
            .map_or(text.len(), |n| from + n);
        if let Some(query) = text[from..end].find(['?', '#']) {
            found.push(from + query + 1..end);
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

/// Long, and mixed as no name is: all of upper case, lower case and digits, or much hex.
fn is_random(token: &str) -> bool {
    let any = |f: fn(&u8) -> bool| token.as_bytes().iter().any(f);
    let mixed =
        any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase) && any(u8::is_ascii_digit);
    let hex = token.bytes().all(|b| b.is_ascii_hexdigit()) && any(u8::is_ascii_digit);
    (token.len() >= 20 && mixed) || (token.len() >= 24 && hex)
}

fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_line_of_a_byte_is_one_more_than_the_breaks_before_it(text in "[a\n\r\u{e9}]{0,40}") {
            let tree = Table::default();
            let source = Source::new("weir.toml", &text, &tree, true);
            for at in 0..=text.len() + 2 {
                let before = &text.as_bytes()[..at.min(text.len())];
                let breaks = before.iter().filter(|byte| **byte == b'\n').count();
                prop_assert_eq!(source.line(at), breaks + 1);
            }
        }
    }
}
