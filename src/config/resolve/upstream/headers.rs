//! `headers`, `organization` and `project`: what is sent beside the key.

use http::{HeaderName, HeaderValue};

use crate::config::{
    mistake::Draft,
    reader::{Found, Reader, Text},
    source::scrub,
};

/// Headers that weir or the connection sets; a fixed value would break calls.
const NOT_TO_SET: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn header_text(reader: &Reader<'_>, key: &str) -> Option<HeaderValue> {
    match reader.text(key) {
        Found::Absent | Found::Wrong => None,
        Found::Value(text) => {
            let value = HeaderValue::from_str(text.value.trim()).ok();
            if value.is_none() {
                reader.refuse(
                    key,
                    &text,
                    &format!("`{key}` holds signs that no header can carry"),
                    |draft| draft,
                );
            }
            value
        }
    }
}

pub(super) fn headers(reader: &Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, place, text) in reader.pairs("headers") {
        let shown = scrub(&name);
        let path = format!("{}.{shown}", reader.path("headers"));
        let Ok(header) = HeaderName::try_from(&name) else {
            reader.walk.mistake(
                Draft::new(&place, path, format!("`{shown}` is no header name"))
                    .accepted("letters, digits and `-`"),
            );
            continue;
        };
        if NOT_TO_SET.contains(&header.as_str()) {
            let message = format!("`{header}` is set by the connection and cannot be fixed");
            reader
                .walk
                .mistake(Draft::new(&place, path, message).help("leave it out"));
            continue;
        }
        if headers.iter().any(|(other, _)| *other == header) {
            reader.walk.mistake(Draft::new(
                &place,
                path,
                format!("the header `{header}` is there twice"),
            ));
            continue;
        }
        let Some(value) = value_of(&text) else {
            reader.walk.mistake(Draft::new(
                &text.place,
                path,
                format!("the value of `{header}` holds signs that no header can carry"),
            ));
            continue;
        };
        headers.push((header, value));
    }
    headers
}

/// Sensitive, so that no log of a request shows it.
fn value_of(text: &Text) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text.value.trim()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
