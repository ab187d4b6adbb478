//! A value inside a body: typed readers and lazy walks over members and elements.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use super::scan::{skip_space, skip_string, skip_value};
use super::{Error, Problem, text};

/// The text of one JSON value, and where it stands in the whole body. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    text: &'a [u8],
    at: usize,
}

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// One `"key": value` of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    key: &'a [u8],
    /// The member's value.
    pub value: Raw<'a>,
}

/// Walks an object's members in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    walk: Walk<'a>,
}

/// Walks an array's elements in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    walk: Walk<'a>,
}

// === impl Raw ===

impl<'a> Raw<'a> {
    pub(super) const fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// The one value that makes up `body`; white space around it is left off.
    ///
    /// # Errors
    /// When the structure is broken or something follows the value.
    pub fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let at = skip_space(body, 0);
        let end = skip_value(body, at)?;
        if skip_space(body, end) != body.len() {
            return Err(Problem::Trailing.at(end));
        }
        Ok(Self {
            text: &body[at..end],
            at,
        })
    }

    /// The bytes of the value, without white space around it.
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Where the value stands in the body.
    pub const fn range(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// What kind of value it is.
    pub fn kind(&self) -> Kind {
        match self.text.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether a script language would call it false: `null`, `false`, `0`, `""`. Empty objects
    /// and arrays count as well, since the SDKs differ about them.
    pub fn is_empty(&self) -> bool {
        match self.kind() {
            Kind::Null => true,
            Kind::Bool => self.text == b"false",
            Kind::String => self.text.len() == 2,
            Kind::Number => self.as_f64() == Some(0.0),
            Kind::Object | Kind::Array => skip_space(self.text, 1) + 1 == self.text.len(),
        }
    }

    /// What stands between a string's quotes, still escaped.
    pub fn inner(&self) -> Option<&'a [u8]> {
        (self.kind() == Kind::String && self.text.len() >= 2)
            .then(|| &self.text[1..self.text.len() - 1])
    }

    /// The string, unescaped; borrowed when there is no escape in it.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        text::unescape(self.inner()?)
    }

    /// Whether it is exactly this string.
    pub fn is_str(&self, wanted: &str) -> bool {
        self.inner().is_some_and(|inner| same(inner, wanted))
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self.text {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// A whole number that is not negative. `12.0` and `1e3` count, as they do for the provider.
    pub fn as_u64(&self) -> Option<u64> {
        let text = std::str::from_utf8(self.text).ok()?;
        if let Ok(number) = text.parse() {
            return Some(number);
        }
        let number = self.as_f64()?;
        // 2^53: above it a float no longer tells whole numbers apart.
        (number >= 0.0 && number.fract() == 0.0 && number <= 9_007_199_254_740_992.0)
            .then_some(number as u64)
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        if self.kind() != Kind::Number {
            return None;
        }
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    /// The members, when it is an object.
    ///
    /// # Errors
    /// When it is something else.
    pub fn members(&self) -> Result<Members<'a>, Error> {
        match self.kind() {
            Kind::Object => Ok(Members {
                walk: Walk::new(self.text, 1, self.at, b'}'),
            }),
            _ => Err(Problem::NotAnObject.at(self.at)),
        }
    }

    /// The elements, when it is an array.
    ///
    /// # Errors
    /// When it is something else.
    pub fn elements(&self) -> Result<Elements<'a>, Error> {
        match self.kind() {
            Kind::Array => Ok(Elements {
                walk: Walk::new(self.text, 1, self.at, b']'),
            }),
            _ => Err(Problem::NotAnArray.at(self.at)),
        }
    }

    /// The value of a member; the last one when there are several, as every JSON reader has it.
    pub fn get(&self, key: &str) -> Option<Raw<'a>> {
        let mut found = None;
        for member in self.members().ok()?.flatten() {
            if member.is(key) {
                found = Some(member.value);
            }
        }
        found
    }

    /// Follows keys downwards.
    pub fn path(&self, keys: &[&str]) -> Option<Raw<'a>> {
        keys.iter().try_fold(*self, |value, key| value.get(key))
    }
}

// === impl Member ===

impl<'a> Member<'a> {
    /// Whether the key is this one, escaped or not.
    #[inline]
    pub fn is(&self, key: &str) -> bool {
        same(self.key, key)
    }

    /// The key between its quotes, still escaped.
    pub const fn raw_key(&self) -> &'a [u8] {
        self.key
    }

    /// The key, unescaped.
    pub fn key(&self) -> Option<Cow<'a, str>> {
        text::unescape(self.key)
    }
}

#[inline]
fn same(inner: &[u8], wanted: &str) -> bool {
    inner == wanted.as_bytes()
        || (inner.len() > wanted.len()
            && memchr(b'\\', inner).is_some()
            && text::unescape(inner).is_some_and(|plain| plain == wanted))
}

// === impl Members ===

impl<'a> Members<'a> {
    /// The members of the object that `body` starts with. Nothing is read ahead, so each byte is
    /// scanned once; what follows the object is an error when the walk gets there.
    ///
    /// # Errors
    /// When `body` does not start with an object.
    pub fn of(body: &'a [u8]) -> Result<Self, Error> {
        let at = skip_space(body, 0);
        match body.get(at) {
            Some(b'{') => {
                let mut walk = Walk::new(body, at + 1, 0, b'}');
                walk.whole = true;
                Ok(Self { walk })
            }
            Some(_) => Err(Problem::NotAnObject.at(at)),
            None => Err(Problem::Truncated.at(at)),
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.step(true).transpose()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Raw<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.walk.step(false).transpose()?.map(|item| item.value))
    }
}

// === impl Walk ===

#[derive(Clone, Debug)]
struct Walk<'a> {
    text: &'a [u8],
    /// Where we are in `text`.
    at: usize,
    /// Where `text` stands in the body.
    base: usize,
    close: u8,
    first: bool,
    done: bool,
    /// Nothing but white space may follow the end.
    whole: bool,
}

impl<'a> Walk<'a> {
    const fn new(text: &'a [u8], at: usize, base: usize, close: u8) -> Self {
        Self {
            text,
            at,
            base,
            close,
            first: true,
            done: false,
            whole: false,
        }
    }

    #[inline]
    fn step(&mut self, keyed: bool) -> Result<Option<Member<'a>>, Error> {
        if self.done {
            return Ok(None);
        }
        let result = self.advance(keyed);
        if !matches!(result, Ok(Some(_))) {
            self.done = true;
        }
        result.map_err(|error| error.problem.at(error.offset + self.base))
    }

    #[inline]
    fn advance(&mut self, keyed: bool) -> Result<Option<Member<'a>>, Error> {
        let text = self.text;
        let mut at = skip_space(text, self.at);
        match text.get(at) {
            None => return Err(Problem::Truncated.at(at)),
            Some(byte) if *byte == self.close => return self.end(at + 1),
            Some(b',') if !self.first => {
                at = skip_space(text, at + 1);
                if text.get(at) == Some(&self.close) {
                    return Err(Problem::Unexpected.at(at));
                }
            }
            Some(_) if self.first => {}
            Some(_) => return Err(Problem::Unexpected.at(at)),
        }
        self.first = false;
        let mut key: &[u8] = &[];
        if keyed {
            expect(text, at, b'"')?;
            let end = skip_string(text, at)?;
            key = &text[at + 1..end - 1];
            at = skip_space(text, end);
            expect(text, at, b':')?;
            at = skip_space(text, at + 1);
        }
        let end = skip_value(text, at)?;
        self.at = end;
        let value = Raw {
            text: &text[at..end],
            at: self.base + at,
        };
        Ok(Some(Member { key, value }))
    }

    fn end(&self, at: usize) -> Result<Option<Member<'a>>, Error> {
        if self.whole && skip_space(self.text, at) != self.text.len() {
            return Err(Problem::Trailing.at(at));
        }
        Ok(None)
    }
}

fn expect(text: &[u8], at: usize, wanted: u8) -> Result<(), Error> {
    match text.get(at) {
        Some(byte) if *byte == wanted => Ok(()),
        Some(_) => Err(Problem::Unexpected.at(at)),
        None => Err(Problem::Truncated.at(at)),
    }
}
