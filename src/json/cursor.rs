//! One pass over a body whose shape is known: each byte is looked at once.
//!
//! [`Raw`] finds a value's end before it is read, so that every level of nesting costs another
//! look at the same bytes. That is nothing for a request, and half the cost of a stream's event;
//! here the reader of a value finds its end itself.

use super::scan::{skip_space, skip_string, skip_value};
use super::{Error, Kind, Problem, Raw};

/// Stands in front of a value and moves over it.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    /// In front of the value that makes up `text`.
    #[inline]
    pub fn new(text: &'a [u8]) -> Self {
        let at = skip_space(text, 0);
        Self { text, at }
    }

    /// Where it stands, in bytes from the start.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// What kind of value comes, told by its first byte.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        Some(match self.text.get(self.at)? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        })
    }

    /// Moves over the value and gives it.
    ///
    /// # Errors
    /// When its structure is broken.
    #[inline]
    pub fn value(&mut self) -> Result<Raw<'a>, Error> {
        let start = self.at;
        self.at = skip_value(self.text, start)?;
        Ok(Raw::new(&self.text[start..self.at], start))
    }

    /// Moves over an object: `member` is called with each key (still escaped), with the cursor in
    /// front of the value, and must move over just that value.
    ///
    /// # Errors
    /// When there is no object, its structure is broken, or `member` fails.
    #[inline]
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.kind() != Some(Kind::Object) {
            return Err(Problem::NotAnObject.at(self.at));
        }
        self.list(b'}', |cursor| {
            let start = cursor.at;
            cursor.expect(start, b'"')?;
            let end = skip_string(cursor.text, start)?;
            let colon = skip_space(cursor.text, end);
            cursor.expect(colon, b':')?;
            cursor.at = skip_space(cursor.text, colon + 1);
            member(cursor, &cursor.text[start + 1..end - 1])
        })
    }

    /// Moves over an array; `element` is called in front of each element and must move over it.
    ///
    /// # Errors
    /// When there is no array, its structure is broken, or `element` fails.
    #[inline]
    pub fn array(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.kind() != Some(Kind::Array) {
            return Err(Problem::NotAnArray.at(self.at));
        }
        self.list(b']', element)
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    /// When something does.
    #[inline]
    pub fn end(&self) -> Result<(), Error> {
        if skip_space(self.text, self.at) == self.text.len() {
            return Ok(());
        }
        Err(Problem::Trailing.at(self.at))
    }

    #[inline]
    fn list(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.at = skip_space(self.text, self.at + 1);
        if self.text.get(self.at) == Some(&close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            self.at = skip_space(self.text, self.at);
            match self.text.get(self.at) {
                Some(b',') => self.at = skip_space(self.text, self.at + 1),
                Some(byte) if *byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => return Err(Problem::Unexpected.at(self.at)),
                None => return Err(Problem::Truncated.at(self.at)),
            }
        }
    }

    #[inline]
    fn expect(&self, at: usize, wanted: u8) -> Result<(), Error> {
        match self.text.get(at) {
            Some(byte) if *byte == wanted => Ok(()),
            Some(_) => Err(Problem::Unexpected.at(at)),
            None => Err(Problem::Truncated.at(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::tests::{json, spelled};
    use super::*;

    fn read(cursor: &mut Cursor<'_>) -> Result<Value, Error> {
        match cursor.kind() {
            Some(Kind::Array) => {
                let mut items = Vec::new();
                cursor.array(|cursor| {
                    items.push(read(cursor)?);
                    Ok(())
                })?;
                Ok(items.into())
            }
            Some(Kind::Object) => {
                let mut members = Map::new();
                cursor.object(|cursor, key| {
                    let key = crate::json::unescape(key).unwrap();
                    members.insert(key.into_owned(), read(cursor)?);
                    Ok(())
                })?;
                Ok(members.into())
            }
            _ => Ok(serde_json::from_slice(cursor.value()?.text()).unwrap()),
        }
    }

    proptest! {
        #[test]
        fn one_pass_reads_what_serde_json_reads((value, body) in json().prop_flat_map(|v| (Just(v.clone()), spelled(v)))) {
            let mut cursor = Cursor::new(body.as_bytes());
            prop_assert_eq!(read(&mut cursor).unwrap(), value);
            cursor.end().unwrap();
        }

        #[test]
        fn a_cut_container_is_an_error(body in json().prop_flat_map(spelled), cut in any::<prop::sample::Index>()) {
            let body = body.trim();
            if body.starts_with(['{', '[']) {
                let mut cursor = Cursor::new(&body.as_bytes()[..cut.index(body.len())]);
                let first = cursor.kind();
                let result = match first {
                    Some(Kind::Object) => cursor.object(|cursor, _| cursor.value().map(drop)),
                    _ => cursor.array(|cursor| cursor.value().map(drop)),
                };
                prop_assert!(result.is_err());
            }
        }
    }
}
