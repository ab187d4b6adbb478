//! Fields of an upload (`multipart/form-data`), found in its first bytes.
//!
//! Uploads stream through, so only what has arrived can be read: the SDKs put small fields
//! before or after the file as the app wrote them. A field that has not ended within the prefix
//! is not found, and the call is then routed as one without a model.

use std::ops::Range;

use memchr::memmem;

/// The boundary in a `content-type` value of a form.
pub fn boundary(content_type: &str) -> Option<&str> {
    let mut parts = content_type.split(';');
    if !parts
        .next()?
        .trim()
        .eq_ignore_ascii_case("multipart/form-data")
    {
        return None;
    }
    parts.find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then_some(value)
    })
}

/// The `model` field: where its value stands and what it is.
pub fn multipart_model(prefix: &[u8], boundary: &str) -> Option<(Range<usize>, String)> {
    multipart_field(prefix, boundary, "model")
}

/// A small field of the form by its name; the first one when there are several.
pub fn multipart_field(
    prefix: &[u8],
    boundary: &str,
    name: &str,
) -> Option<(Range<usize>, String)> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let finder = memmem::Finder::new(&delimiter);
    let mut at = delimiters(prefix, &finder, 0)? + delimiter.len();
    loop {
        let headers = memmem::find(&prefix[at..], b"\r\n\r\n")?;
        let start = at + headers + 4;
        let next = delimiters(prefix, &finder, start - 2)?;
        // The line break before a delimiter belongs to the delimiter.
        let end = next.checked_sub(2)?;
        if is_named(&prefix[at..start], name) && end >= start {
            let value = std::str::from_utf8(&prefix[start..end]).ok()?;
            return Some((start..end, value.to_owned()));
        }
        at = next + delimiter.len();
    }
}

/// The next delimiter that stands at the start of a line, at or after `from`.
fn delimiters(prefix: &[u8], finder: &memmem::Finder<'_>, from: usize) -> Option<usize> {
    finder
        .find_iter(prefix.get(from..)?)
        .map(|hit| from + hit)
        .find(|at| *at == 0 || (*at >= 2 && &prefix[at - 2..*at] == b"\r\n"))
}

/// Whether a part's headers name it so and call it no file.
fn is_named(headers: &[u8], wanted: &str) -> bool {
    let Ok(headers) = std::str::from_utf8(headers) else {
        return false;
    };
    headers.split("\r\n").any(|line| {
        let Some((header, value)) = line.split_once(':') else {
            return false;
        };
        if !header.trim().eq_ignore_ascii_case("content-disposition") {
            return false;
        }
        let parameter = |name: &str| {
            value.split(';').skip(1).find_map(|part| {
                let (key, value) = part.trim().split_once('=')?;
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().trim_matches('"'))
            })
        };
        parameter("name") == Some(wanted) && parameter("filename").is_none()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &str = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\nmodel --XX --XX\r\n\r\nname=\"model\"\r\n--XX\r\n\
        content-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--XX--\r\n";

    #[test]
    fn the_model_is_found_behind_a_file() {
        let (range, model) = multipart_model(FORM.as_bytes(), "XX").unwrap();
        assert_eq!(model, "whisper-1");
        assert_eq!(&FORM[range], "whisper-1");
    }

    #[test]
    fn a_field_not_yet_ended_is_not_found() {
        let cut = FORM.find("whisper-1").unwrap();
        for end in 0..cut + "whisper-1\r\n--X".len() {
            assert_eq!(multipart_model(&FORM.as_bytes()[..end], "XX"), None);
        }
    }

    #[test]
    fn a_file_named_model_is_not_the_model() {
        let form = "--b\r\nContent-Disposition: form-data; name=\"model\"; filename=\"m\"\r\n\r\nx\r\n--b--";
        assert_eq!(multipart_model(form.as_bytes(), "b"), None);
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let form = "--b\r\nContent-Disposition: form-data; name=model\r\n\r\n\r\n--b--";
        assert_eq!(multipart_model(form.as_bytes(), "b").unwrap().1, "");
    }

    #[test]
    fn boundaries_are_read_quoted_or_not() {
        assert_eq!(boundary("multipart/form-data; boundary=ab"), Some("ab"));
        assert_eq!(
            boundary("Multipart/Form-Data; charset=x; Boundary=\"a b\""),
            Some("a b")
        );
        assert_eq!(boundary("application/json; boundary=ab"), None);
        assert_eq!(boundary("multipart/form-data"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(prefix in "(--b|\r\n|\r\n\r\n|name=\"model\"|Content-Disposition: form-data; |x){0,12}") {
            if let Some((range, value)) = multipart_model(prefix.as_bytes(), "b") {
                prop_assert_eq!(&prefix[range], value);
            }
        }
    }
}
