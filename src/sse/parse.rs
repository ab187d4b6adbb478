//! Where an event ends, and what its lines say.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What a block of lines amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It has data (be it empty): what clients see as an event.
    Message,
    /// Only comments: a keep-alive.
    Comment,
    /// Only `event`, `id`, `retry` or unknown fields.
    Control,
    /// Nothing but an empty line.
    Blank,
}

/// An event, borrowed from the bytes it came in.
#[derive(Clone, Debug)]
pub struct EventRef<'a> {
    /// All its bytes, the empty line that ends it included.
    pub raw: &'a [u8],
    /// Its data; several `data` lines are joined by LF (and only then copied).
    pub data: Cow<'a, [u8]>,
    /// The `event` field.
    pub name: Option<&'a [u8]>,
    /// The `id` field.
    pub id: Option<&'a [u8]>,
    /// The `retry` field, in milliseconds.
    pub retry: Option<u64>,
    /// What it is.
    pub kind: Kind,
}

/// Finds the end of the event that is being received, over any number of chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finder {
    /// The current line has no byte yet.
    line_start: bool,
    /// The last byte was a CR, so that a LF now belongs to it.
    after_cr: bool,
}

// === impl Finder ===

impl Finder {
    pub(super) const fn new() -> Self {
        Self {
            line_start: true,
            after_cr: false,
        }
    }

    /// Reads on; gives the length up to and including the empty line, when it is there. The
    /// finder is then ready for the next event.
    #[inline]
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            if bytes[0] == b'\n' {
                at = 1;
            }
        }
        while let Some(hit) = memchr2(b'\n', b'\r', &bytes[at..]) {
            let end = at + hit;
            let empty = hit == 0 && self.line_start;
            at = end + 1;
            if bytes[end] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.line_start = true;
            if empty {
                return Some(at);
            }
        }
        if at < bytes.len() {
            self.line_start = false;
        }
        None
    }
}

// === impl EventRef ===

impl<'a> EventRef<'a> {
    /// Reads the lines of one block. `first`: it opens the stream, where a byte order mark may
    /// stand.
    pub(super) fn parse(raw: &'a [u8], first: bool) -> Self {
        let mut event = Self {
            raw,
            data: Cow::Borrowed(&[]),
            name: None,
            id: None,
            retry: None,
            kind: Kind::Blank,
        };
        let mut rest = raw;
        if first {
            rest = rest.strip_prefix(BOM).unwrap_or(rest);
        }
        // The LF of a CR LF that was cut in two.
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        while !rest.is_empty() {
            let (line, next) = match memchr2(b'\n', b'\r', rest) {
                Some(end) if rest[end..].starts_with(b"\r\n") => (&rest[..end], end + 2),
                Some(end) => (&rest[..end], end + 1),
                None => (rest, rest.len()),
            };
            rest = &rest[next..];
            event.line(line);
        }
        event
    }

    #[inline]
    fn line(&mut self, line: &'a [u8]) {
        let Some(colon) = memchr(b':', line) else {
            if !line.is_empty() {
                self.field(line, b"");
            }
            return;
        };
        if colon == 0 {
            if self.kind == Kind::Blank {
                self.kind = Kind::Comment;
            }
            return;
        }
        let value = &line[colon + 1..];
        self.field(&line[..colon], value.strip_prefix(b" ").unwrap_or(value));
    }

    #[inline]
    fn field(&mut self, name: &[u8], value: &'a [u8]) {
        if name == b"data" {
            if self.kind == Kind::Message {
                let data = self.data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(value);
            } else {
                self.data = Cow::Borrowed(value);
                self.kind = Kind::Message;
            }
            return;
        }
        match name {
            b"event" => self.name = Some(value),
            // The standard has an id with a NUL in it ignored.
            b"id" if memchr(0, value).is_none() => self.id = Some(value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            }
            _ => {}
        }
        if self.kind != Kind::Message {
            self.kind = Kind::Control;
        }
    }
}
