//! What came on the wire, as far as it is worth keeping: the status, and the headers that say who answered.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::case::text;
use crate::redact::Known;

/// Names, or beginnings of names (with `*`), of headers that tell who answered, and which limits hold. All others, and
/// every cookie, stay where they are.
const TELLING: &[&str] = &[
    "anthropic-*",
    "apim-request-id",
    "azureml-model-*",
    "cf-cache-status",
    "cf-mitigated",
    "cf-ray",
    "content-type",
    "date",
    "openai-*",
    "ratelimit*",
    "request-id",
    "retry-after*",
    "server",
    "via",
    "x-amzn-*",
    "x-cache",
    "x-envoy-*",
    "x-generation-id",
    "x-groq-*",
    "x-ms-region",
    "x-ratelimit*",
    "x-request-id",
    "x-should-retry",
];
/// Kept of one answer at most.
const MOST: usize = 40;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// `None`: no HTTP answer.
    pub status: Option<StatusCode>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl Seen ===

impl Seen {
    /// Of an answer's head.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let telling = headers.iter().filter(|(name, _)| is_telling(name.as_str()));
        Self {
            status: Some(status),
            headers: telling
                .take(MOST)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    /// Takes out what holds a key that was sent.
    pub fn hide(&mut self, known: &Known<'_>) {
        let clean = |value: &HeaderValue| !known.is_in(&String::from_utf8_lossy(value.as_bytes()));
        self.headers.retain(|(_, value)| clean(value));
    }

    /// As texts, without anything that looks like a key.
    pub fn texts(&self) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| text(&String::from_utf8_lossy(value.as_bytes()));
        let all = self.headers.iter();
        all.map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }
}

fn is_telling(name: &str) -> bool {
    TELLING.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_credentials_are_not_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "session=1"),
            ("authorization", "Bearer x"),
            ("x-request-id", "req_1"),
            ("x-ratelimit-limit-requests", "500"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let seen = Seen::of(StatusCode::OK, &headers).texts();
        assert_eq!(
            seen,
            [
                ("x-request-id".to_owned(), "req_1".to_owned()),
                ("x-ratelimit-limit-requests".to_owned(), "500".to_owned())
            ]
        );
    }
}
