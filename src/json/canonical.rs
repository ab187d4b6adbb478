//! One spelling for every JSON text that says the same: what a cache key is made of.
//!
//! Members are sorted by key at every depth, white space is gone, strings have one way of
//! escaping, of equal keys the last one counts. Numbers keep their spelling (`1.0` is not `1`):
//! equal spellings are all an app that repeats itself produces, and no float is ever rounded.
//!
//! This is the one strict reader of the module: two bodies that differ in meaning must never
//! share a key, so what is not JSON is an error and not guessed at. Two bodies with the same
//! meaning may at worst miss each other.

use std::ops::Range;

use memchr::memchr;

use super::scan::{find_special, skip_space, skip_value};
use super::text::{Escape, escape, write_ascii_escape, write_unicode_escape};
use super::{Error, MAX_DEPTH, Problem};

/// Appends the canonical form of `body` to `out`, leaving out the top-level members named in
/// `ignore_top_level` (plain names, unescaped). On an error `out` holds rubbish behind what it
/// held before.
///
/// # Errors
/// When `body` is not one JSON value.
pub fn canonical(body: &[u8], ignore_top_level: &[&str], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut writer = Writer {
        body,
        out,
        members: Vec::new(),
        scratch: Vec::new(),
        ignore: ignore_top_level,
    };
    let at = skip_space(body, 0);
    let end = writer.value(at, 0)?;
    if skip_space(body, end) == body.len() {
        Ok(())
    } else {
        Err(Problem::Trailing.at(end))
    }
}

struct Writer<'a> {
    body: &'a [u8],
    out: &'a mut Vec<u8>,
    /// Members of all objects now open, innermost last: one vector for any depth.
    members: Vec<Written>,
    /// Used to put members in order; empty in between.
    scratch: Vec<u8>,
    ignore: &'a [&'a str],
}

/// A member already written to the output: `"key":value`.
#[derive(Clone, Debug)]
struct Written {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Written {
    const fn key(&self) -> Range<usize> {
        self.start..self.key_end
    }
}

// === impl Writer ===

impl Writer<'_> {
    fn value(&mut self, at: usize, depth: usize) -> Result<usize, Error> {
        match self.body.get(at) {
            Some(b'{') if depth < MAX_DEPTH => self.object(at, depth + 1),
            Some(b'[') if depth < MAX_DEPTH => self.array(at, depth + 1),
            Some(b'{' | b'[') => Err(Problem::TooDeep.at(at)),
            Some(b'"') => self.string(at),
            _ => self.scalar(at),
        }
    }

    fn object(&mut self, at: usize, depth: usize) -> Result<usize, Error> {
        let base = self.members.len();
        self.out.push(b'{');
        let body_start = self.out.len();
        let mut at = skip_space(self.body, at + 1);
        let mut in_order = true;
        if self.peek(at)? != b'}' {
            loop {
                if let Some(member) = self.member(&mut at, depth)? {
                    in_order &= self.members.last().is_none_or(|previous| {
                        self.members.len() == base
                            || self.out[previous.key()] < self.out[member.key()]
                    });
                    self.members.push(member);
                }
                at = skip_space(self.body, at);
                match self.peek(at)? {
                    b',' => at = skip_space(self.body, at + 1),
                    b'}' => break,
                    _ => return Err(Problem::Unexpected.at(at)),
                }
            }
        }
        if !in_order {
            self.sort(base, body_start);
        }
        self.members.truncate(base);
        if self.out.len() > body_start {
            // Every member wrote a comma behind itself.
            self.out.pop();
        }
        self.out.push(b'}');
        Ok(at + 1)
    }

    /// Writes `"key":value,` and moves `at` behind the value. `None`: the member is ignored.
    fn member(&mut self, at: &mut usize, depth: usize) -> Result<Option<Written>, Error> {
        if self.peek(*at)? != b'"' {
            return Err(Problem::Unexpected.at(*at));
        }
        let start = self.out.len();
        *at = skip_space(self.body, self.string(*at)?);
        let key_end = self.out.len();
        if self.peek(*at)? != b':' {
            return Err(Problem::Unexpected.at(*at));
        }
        *at = skip_space(self.body, *at + 1);
        if depth == 1 {
            let key = &self.out[start + 1..key_end - 1];
            if self.ignore.iter().any(|name| name.as_bytes() == key) {
                self.out.truncate(start);
                *at = skip_value(self.body, *at)?;
                return Ok(None);
            }
        }
        self.out.push(b':');
        *at = self.value(*at, depth)?;
        self.out.push(b',');
        Ok(Some(Written {
            start,
            key_end,
            end: self.out.len(),
        }))
    }

    /// Puts the members written since `body_start` in order; of equal keys the last one stays.
    fn sort(&mut self, base: usize, body_start: usize) {
        let out = &*self.out;
        // Stable, so equal keys stay in the order they were written.
        self.members[base..].sort_by(|a, b| out[a.key()].cmp(&out[b.key()]));
        self.scratch.clear();
        for (index, member) in self.members[base..].iter().enumerate() {
            let next = self.members.get(base + index + 1);
            if next.is_some_and(|next| out[next.key()] == out[member.key()]) {
                continue;
            }
            self.scratch
                .extend_from_slice(&out[member.start..member.end]);
        }
        self.out.truncate(body_start);
        self.out.extend_from_slice(&self.scratch);
    }

    fn array(&mut self, at: usize, depth: usize) -> Result<usize, Error> {
        self.out.push(b'[');
        let mut at = skip_space(self.body, at + 1);
        if self.peek(at)? == b']' {
            self.out.push(b']');
            return Ok(at + 1);
        }
        loop {
            at = skip_space(self.body, self.value(at, depth)?);
            match self.peek(at)? {
                b',' => at = skip_space(self.body, at + 1),
                b']' => break,
                _ => return Err(Problem::Unexpected.at(at)),
            }
            self.out.push(b',');
        }
        self.out.push(b']');
        Ok(at + 1)
    }

    fn string(&mut self, at: usize) -> Result<usize, Error> {
        self.out.push(b'"');
        let mut at = at + 1;
        loop {
            let rest = self.body.get(at..).unwrap_or_default();
            let Some(hit) = find_special(rest) else {
                return Err(Problem::Truncated.at(self.body.len()));
            };
            self.out.extend_from_slice(&rest[..hit]);
            if rest[hit] == b'"' {
                self.out.push(b'"');
                return Ok(at + hit + 1);
            }
            let (unit, len) = escape(&rest[hit..]).ok_or(Problem::Unexpected.at(at + hit))?;
            match unit {
                Escape::Char(c) if c < ' ' || c == '"' || c == '\\' => {
                    write_ascii_escape(c as u8, self.out);
                }
                Escape::Char(c) => {
                    let plain = &mut [0; 4];
                    self.out.extend_from_slice(c.encode_utf8(plain).as_bytes());
                }
                Escape::Lone(unit) => write_unicode_escape(unit, self.out),
            }
            at += hit + len;
        }
    }

    fn scalar(&mut self, at: usize) -> Result<usize, Error> {
        let end = skip_value(self.body, at)?;
        let word = &self.body[at..end];
        if matches!(word, b"true" | b"false" | b"null") || is_number(word) {
            self.out.extend_from_slice(word);
            return Ok(end);
        }
        Err(Problem::Unexpected.at(at))
    }

    fn peek(&self, at: usize) -> Result<u8, Error> {
        match self.body.get(at) {
            Some(byte) => Ok(*byte),
            None => Err(Problem::Truncated.at(at)),
        }
    }
}

/// JSON's number grammar.
fn is_number(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"-").unwrap_or(word);
    let (mantissa, exponent) = match word.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    };
    let (whole, fraction) = match memchr(b'.', mantissa) {
        Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        None => (mantissa, None),
    };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let unsigned = |text: &[u8]| match text {
        [b'+' | b'-', rest @ ..] => digits(rest),
        _ => digits(text),
    };
    digits(whole)
        && (whole.len() == 1 || whole[0] != b'0')
        && fraction.is_none_or(digits)
        && exponent.is_none_or(unsigned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::tests::{json, spelled};
    use super::*;

    fn form(body: &str, ignore: &[&str]) -> Result<String, Error> {
        let mut out = Vec::new();
        canonical(body.as_bytes(), ignore, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn order_space_escapes_and_ignored_members_do_not_matter() {
        let one = form(
            r#" {"b":[1, {"y":"\u0041","x":null}], "user":{"u":1}, "a" : "x\/y" } "#,
            &["user"],
        );
        let two = form(
            r#"{"us\u0065r":3,"a":"x/y","b":[1,{"x":null,"y":"A"}]}"#,
            &["user"],
        );
        assert_eq!(one, two);
        assert_eq!(one.unwrap(), r#"{"a":"x/y","b":[1,{"x":null,"y":"A"}]}"#);
        assert_eq!(form(r#"{"user":1}"#, &["user"]).unwrap(), "{}");
    }

    #[test]
    fn ignoring_reaches_the_top_level_only() {
        assert_eq!(
            form(r#"{"m":{"user":1}}"#, &["user"]).unwrap(),
            r#"{"m":{"user":1}}"#
        );
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        assert_eq!(
            form(r#"{"a":1,"b":2,"a":3}"#, &[]).unwrap(),
            r#"{"a":3,"b":2}"#
        );
        assert_eq!(
            form(r#"{"a":1,"\u0061":{"z":1,"y":2}}"#, &[]).unwrap(),
            r#"{"a":{"y":2,"z":1}}"#
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in [
            "",
            "{",
            "{}x",
            "[1,]",
            "[,1]",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            "01",
            "1.",
            "-",
            "1e",
            ".5",
            "+1",
            "nul",
            "truex",
            r#""\x""#,
            r#""a"#,
            "[1 2]",
            "{1:2}",
            "[}",
            "1-2",
        ] {
            assert!(form(bad, &[]).is_err(), "{bad}");
        }
        assert!(form(&"[".repeat(200), &[]).is_err());
    }

    proptest! {
        #[test]
        fn meaning_survives_and_spelling_does_not((value, a, b) in json().prop_flat_map(|v| {
            (Just(v.clone()), spelled(v.clone()), spelled(v))
        })) {
            let one = form(&a, &[]).unwrap();
            prop_assert_eq!(&one, &form(&b, &[]).unwrap());
            prop_assert_eq!(&one, &form(&one, &[]).unwrap());
            prop_assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), value);
        }

        #[test]
        fn it_accepts_exactly_what_serde_json_accepts(text in r#"[\[\]{},:"a0-9.eE+\-ntrufls\\ ]{0,14}"#) {
            // serde_json refuses numbers too big for a float; the grammar above does not.
            let theirs = serde_json::from_str::<Value>(&text).map_err(|e| e.to_string());
            if theirs.as_ref().is_err_and(|e| e.contains("number out of range")) {
                return Ok(());
            }
            prop_assert_eq!(form(&text, &[]).is_ok(), theirs.is_ok(), "{}", text);
        }
    }
}
