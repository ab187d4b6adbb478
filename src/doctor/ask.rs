//! The requests of an examination, as the gateway would send them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, uri::PathAndQuery};

use super::{examine::Exam, organization::Owner, probe::Ask, vendor::ANTHROPIC};

/// The free call: the models that the key may see.
const MODELS: &str = "/models";

// === impl Exam ===

impl Exam<'_> {
    pub(super) fn free_path(&self) -> String {
        if self.vendor == Some(ANTHROPIC) {
            return format!("{MODELS}?limit=1000");
        }
        MODELS.to_owned()
    }

    pub(super) fn configured(&self) -> Owner {
        let text = |value: &Option<HeaderValue>| {
            value
                .as_ref()
                .and_then(|value| Some(value.to_str().ok()?.to_owned()))
        };
        Owner {
            organization: text(&self.upstream.organization),
            project: text(&self.upstream.project),
        }
    }

    /// A request below the base URL, with the key, as the gateway would send it.
    pub(super) fn ask(&self, method: Method, path: &str, owner: &Owner) -> Ask {
        let mut headers = HeaderMap::new();
        let provider = &self.upstream.provider;
        if let Some(key) = &self.key {
            let key = key.trim();
            let value = match &provider.auth.scheme {
                Some(scheme) => format!("{scheme} {key}"),
                None => key.to_owned(),
            };
            put(&mut headers, provider.auth.header.clone(), &value);
            if self.vendor == Some(ANTHROPIC) && method == Method::GET {
                // Its list of models is of its own API, which does not know Bearer keys.
                headers.clear();
                put(&mut headers, HeaderName::from_static("x-api-key"), key);
            }
        }
        if self.vendor == Some(ANTHROPIC) {
            put(
                &mut headers,
                HeaderName::from_static("anthropic-version"),
                "2023-06-01",
            );
        }
        for (name, value) in [
            ("openai-organization", &owner.organization),
            ("openai-project", &owner.project),
        ] {
            if let Some(value) = value {
                put(&mut headers, HeaderName::from_static(name), value);
            }
        }
        for (name, value) in &provider.send_headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        for (name, value) in &self.upstream.headers {
            headers.insert(name, value.clone());
        }
        Ask {
            method,
            uri: below(&self.upstream.base_url, path),
            headers,
            body: Bytes::new(),
        }
    }
}

/// `path` (with its query) below `base`.
pub(super) fn below(base: &Uri, path: &str) -> Uri {
    let mut parts = base.clone().into_parts();
    parts.path_and_query =
        PathAndQuery::try_from(format!("{}{path}", base.path().trim_end_matches('/'))).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}
