//! Reads object literals as programs print them: JSON, Python's repr, what Node's console shows, Ruby's hashes.
//!
//! Lenient on purpose: single quotes, bare keys, `None`, `[Object]`, `Headers { … }`, strings that a terminal wrapped or that
//! are joined by `+`, comments never. What is cut off ends where it was cut. The answer is a JSON value, in which triage
//! finds the error.

use serde_json::{Map, Number, Value};

/// Nesting that is followed.
const DEPTH: usize = 24;
/// Entries of one object or list that are kept.
const ENTRIES: usize = 256;

/// The object or list that begins with `text`'s first byte, and how many bytes it takes. `None`: nothing like one.
pub(super) fn read(text: &str) -> Option<(Value, usize)> {
    let mut work = usize::MAX;
    read_within(text, &mut work)
}

/// The same; what was read, in vain or not, is taken off `work`.
pub(super) fn read_within(text: &str, work: &mut usize) -> Option<(Value, usize)> {
    let mut strict = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = strict.next() {
        *work = work.saturating_sub(strict.byte_offset());
        return Some((value, strict.byte_offset()));
    }
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEPTH);
    *work = work.saturating_sub(reader.at);
    let value = value?;
    let filled = match &value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => list.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    };
    filled.then_some((value, reader.at))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

// === impl Reader ===

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.at += c.len_utf8();
        }
        there
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.blanks();
        match self.peek()? {
            '{' if depth > 0 => Some(self.object(depth - 1)),
            '[' | '(' if depth > 0 => Some(self.list(depth - 1)),
            '"' | '\'' | '`' => Some(self.joined()),
            'b' | 'r' | 'u' | 'f' if self.rest()[1..].starts_with(['"', '\'']) => {
                self.at += 1;
                Some(self.joined())
            }
            _ => Some(self.bare(depth)),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        self.at += 1;
        let mut map = Map::new();
        loop {
            self.blanks();
            while self.skip(',') {
                self.blanks();
            }
            if self.peek().is_none() || self.skip('}') {
                break;
            }
            let from = self.at;
            if let Some(key) = self.key() {
                let value = self.value(depth).unwrap_or(Value::Null);
                if map.len() < ENTRIES {
                    map.entry(key).or_insert(value);
                }
            }
            if self.at == from {
                // A closing bracket too many, or something that nobody writes.
                self.at += self.peek().map_or(0, char::len_utf8);
            }
        }
        Value::Object(map)
    }

    /// A key with its separator; `None` when what stands there is none, which is then stepped over.
    fn key(&mut self) -> Option<String> {
        let key = match self.peek()? {
            '"' | '\'' | '`' => self.string(),
            '[' => {
                // [Symbol(x)], [cause]
                let end = self.rest().find(']')?;
                let inner = self.rest()[1..end].to_owned();
                self.at += end + 1;
                inner
            }
            _ => {
                let rest = self.rest();
                let rest = rest.strip_prefix(':').unwrap_or(rest);
                let word = rest
                    .find(|c: char| {
                        !(c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '.' | '@'))
                    })
                    .unwrap_or(rest.len());
                let key = rest[..word].to_owned();
                self.at = self.text.len() - rest.len() + word;
                key
            }
        };
        self.blanks();
        for separator in ["=>", ":", "="] {
            if self.rest().starts_with(separator) {
                self.at += separator.len();
                return Some(key);
            }
        }
        None
    }

    fn list(&mut self, depth: usize) -> Value {
        let close = if self.skip('(') {
            ')'
        } else {
            self.at += 1;
            ']'
        };
        let mut list = Vec::new();
        loop {
            self.blanks();
            while self.skip(',') {
                self.blanks();
            }
            if self.peek().is_none() || self.skip(close) {
                break;
            }
            if self.peek() == Some('}') {
                break;
            }
            let from = self.at;
            match self.value(depth) {
                Some(value) if list.len() < ENTRIES => list.push(value),
                _ => {}
            }
            if self.at == from {
                self.at += self.peek().map_or(0, char::len_utf8);
            }
        }
        Value::Array(list)
    }

    /// A string, and those joined to it.
    fn joined(&mut self) -> Value {
        let mut whole = self.string();
        loop {
            let before = self.at;
            self.blanks();
            let plus = self.skip('+');
            self.blanks();
            if plus && matches!(self.peek(), Some('"' | '\'' | '`')) {
                whole.push_str(&self.string());
            } else {
                self.at = before;
                return Value::String(whole);
            }
        }
    }

    fn string(&mut self) -> String {
        let Some(quote) = self.peek() else {
            return String::new();
        };
        self.at += 1;
        let mut out = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '\\' => self.escape(&mut out),
                c if c == quote => break,
                c => out.push(c),
            }
        }
        out
    }

    fn escape(&mut self, out: &mut String) {
        let Some(c) = self.peek() else { return };
        self.at += c.len_utf8();
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'u' | 'x' => {
                let digits = if c == 'u' { 4 } else { 2 };
                let code = self
                    .rest()
                    .get(..digits)
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok());
                if let Some(code) = code {
                    self.at += digits;
                    out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
            other => out.push(other),
        }
    }

    /// A number, a word, a named object (`Headers { … }`), a call (`Foo(x=1)`), or whatever stands before the next comma.
    fn bare(&mut self, depth: usize) -> Value {
        let rest = self.rest();
        let end = rest
            .find([',', '}', ']', ')', '\n', '{', '(', '"', '\''])
            .unwrap_or(rest.len());
        let word = rest[..end].trim().to_owned();
        let next = rest[end..].chars().next();
        self.at += end;
        if depth > 0 && !word.is_empty() && matches!(next, Some('{' | '(')) {
            return self.value(depth - 1).unwrap_or(Value::Null);
        }
        match word.as_str() {
            "true" | "True" => Value::Bool(true),
            "false" | "False" => Value::Bool(false),
            "null" | "None" | "undefined" | "nil" | "NaN" | "vim.NIL" | "" => Value::Null,
            number => match (number.parse::<i64>(), number.parse::<f64>()) {
                (Ok(whole), _) => Value::from(whole),
                (_, Ok(part)) => Number::from_f64(part).map_or(Value::Null, Value::Number),
                _ => Value::String(word),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::read;

    #[test]
    fn what_programs_print_is_read() {
        for (text, value) in [
            (
                r#"{'error': {'message': "You're out", 'param': None, 'ok': True}} tail"#,
                json!({"error": {"message": "You're out", "param": null, "ok": true}}),
            ),
            (
                "{ status: 429, headers: Headers { 'x-request-id': 'req_1' }, code: undefined, cause: [Object] }",
                json!({"status": 429, "headers": {"x-request-id": "req_1"}, "code": null, "cause": ["Object"]}),
            ),
            (
                r#"{"error"=>{"message"=>"m", :code=>nil}}"#,
                json!({"error": {"message": "m", "code": null}}),
            ),
            (
                "{ error = { message = \"Overloaded\", type = \"overloaded_error\" } }",
                json!({"error": {"message": "Overloaded", "type": "overloaded_error"}}),
            ),
            (
                "{ message: 'one ' +\n 'two' }",
                json!({"message": "one two"}),
            ),
            (
                "{'a': b'x', 'b': Foo(bar={'c': 1.5})}",
                json!({"a": "x", "b": [null]}),
            ),
            (
                "{'error': {'message': 'cut in the mid",
                json!({"error": {"message": "cut in the mid"}}),
            ),
        ] {
            let (got, _) = read(text).expect(text);
            if text.contains("Foo") {
                assert_eq!(got["a"], value["a"]);
            } else {
                assert_eq!(got, value, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[\\[{('\"]\\PC{0,120}") {
            if let Some((_, taken)) = read(&text) {
                prop_assert!(taken <= text.len() && text.is_char_boundary(taken));
            }
        }

        #[test]
        fn json_is_read_as_json(key in "[a-z]{1,8}", word in "\\PC{0,20}", number in any::<i32>()) {
            let value = json!({ key: [word, number, null, {"x": true}] });
            prop_assert_eq!(read(&value.to_string()).map(|(value, _)| value), Some(value));
        }
    }
}
