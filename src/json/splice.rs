//! Replaces one top-level member's value in place and leaves every other byte as it was.

use bytes::{Bytes, BytesMut};

use super::{Error, Members, text};

/// `body` with the string `new` as the value of every top-level member named `key`.
///
/// All of them: which of two equal keys counts is the reader's choice, and a provider that takes
/// the first must not see another model than one that takes the last. Without such a member the
/// body comes back as it is, sharing its memory.
///
/// # Errors
/// When `body` is not an object of sound structure.
pub fn splice(body: &Bytes, key: &str, new: &str) -> Result<Bytes, Error> {
    let mut quoted = Vec::with_capacity(new.len() + 2);
    text::write_string(new, &mut quoted);
    splice_raw(body, key, &quoted)
}

/// As [`splice`], with any JSON text for the new value (which is not checked).
///
/// # Errors
/// When `body` is not an object of sound structure.
pub fn splice_raw(body: &Bytes, key: &str, new: &[u8]) -> Result<Bytes, Error> {
    let mut out = BytesMut::new();
    let mut copied = 0;
    for member in Members::of(body)? {
        let member = member?;
        if !member.is(key) {
            continue;
        }
        let range = member.value.range();
        if copied == 0 {
            out.reserve(body.len() + new.len());
        }
        out.extend_from_slice(&body[copied..range.start]);
        out.extend_from_slice(new);
        copied = range.end;
    }
    if copied == 0 {
        return Ok(body.clone());
    }
    out.extend_from_slice(&body[copied..]);
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(body: &'static str) -> String {
        let out = splice(&Bytes::from_static(body.as_bytes()), "model", "new\"x").unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn only_top_level_values_change_and_all_of_them_do() {
        assert_eq!(
            spliced(
                r#" { "model" : "a" ,"x":{"model":"in"},"t":"\"model\":\"q\"", "mod\u0065l":null}  "#
            ),
            r#" { "model" : "new\"x" ,"x":{"model":"in"},"t":"\"model\":\"q\"", "mod\u0065l":"new\"x"}  "#
        );
    }

    #[test]
    fn a_body_without_the_key_is_shared_not_copied() {
        let body = Bytes::from_static(br#"{"a":1}"#);
        let out = splice(&body, "model", "x").unwrap();
        assert_eq!(out.as_ptr(), body.as_ptr());
    }

    #[test]
    fn a_broken_body_is_refused() {
        assert!(splice(&Bytes::from_static(b"[1]"), "model", "x").is_err());
        assert!(splice(&Bytes::from_static(br#"{"model":"a""#), "model", "x").is_err());
    }
}
