//! JSON string text: from escaped to plain and back.

use std::borrow::Cow;

use memchr::memchr;

/// Unescapes what stands between a string's quotes.
///
/// `None` when an escape is broken, a surrogate stands alone, or the bytes are not UTF-8.
pub fn unescape(inner: &[u8]) -> Option<Cow<'_, str>> {
    let Some(first) = memchr(b'\\', inner) else {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    };
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner;
    let mut next = Some(first);
    while let Some(at) = next {
        plain.extend_from_slice(&rest[..at]);
        let (unit, len) = escape(&rest[at..])?;
        match unit {
            Escape::Char(c) => plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Escape::Lone(_) => return None,
        }
        rest = &rest[at + len..];
        next = memchr(b'\\', rest);
    }
    plain.extend_from_slice(rest);
    String::from_utf8(plain).ok().map(Cow::Owned)
}

pub(super) enum Escape {
    Char(char),
    /// Half of a surrogate pair: legal in JSON, but no character.
    Lone(u16),
}

/// Reads the escape at the start of `text` (which is a backslash) and its length in bytes.
pub(super) fn escape(text: &[u8]) -> Option<(Escape, usize)> {
    let plain = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = hex4(text.get(2..6)?)?;
            if let Some(c) = char::from_u32(u32::from(high)) {
                return Some((Escape::Char(c), 6));
            }
            let low = (text.get(6..8) == Some(b"\\u".as_slice()))
                .then(|| text.get(8..12).and_then(hex4))
                .flatten();
            return Some(match (high, low) {
                (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
                    let code =
                        0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(low) - 0xDC00);
                    (Escape::Char(char::from_u32(code)?), 12)
                }
                _ => (Escape::Lone(high), 6),
            });
        }
        _ => return None,
    };
    Some((Escape::Char(plain), 2))
}

fn hex4(digits: &[u8]) -> Option<u16> {
    let mut value = 0u16;
    for digit in digits {
        value = (value << 4) | (*digit as char).to_digit(16)? as u16;
    }
    Some(value)
}

/// Appends `text` as a JSON string, quotes included. Escapes only what must be.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|b| *b < 0x20 || matches!(b, b'"' | b'\\'))
    {
        out.extend_from_slice(&rest[..at]);
        write_ascii_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The one spelling we give a character that must be escaped.
pub(super) fn write_ascii_escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => write_unicode_escape(u16::from(byte), out),
    }
}

pub(super) fn write_unicode_escape(unit: u16, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[usize::from((unit >> shift) & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_join_and_lone_surrogates_are_refused() {
        assert_eq!(unescape(br"\ud83d\ude00!").as_deref(), Some("😀!"));
        assert_eq!(unescape(br"\ud83d!"), None);
        assert_eq!(unescape(br"\ude00"), None);
        assert_eq!(unescape(br"\u12"), None);
        assert_eq!(unescape(br"a\/b\u0041").as_deref(), Some("a/bA"));
    }

    proptest! {
        #[test]
        fn writing_and_unescaping_give_the_same_text(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            prop_assert_eq!(unescape(&out[1..out.len() - 1]).unwrap(), text);
        }
    }
}
