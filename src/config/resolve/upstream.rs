//! `[[upstream]]`: the accounts at providers.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue, Uri};

use crate::{
    config::{
        Limit, Limits, Secret, Upstream, UpstreamId, UpstreamKey,
        effective::Origin,
        mistake::Draft,
        near,
        reader::{Found, Reader, Text},
        source::MASK,
        table::Kind,
        tree::Place,
    },
    triage::{self, Dialect, Provider},
};

/// An upstream as far as it could be read, and what later checks point at.
pub(super) struct Parsed {
    pub(super) name: Option<String>,
    /// `None` after a mistake.
    pub(super) resolved: Option<Arc<Upstream>>,
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) base_url_place: Place,
    /// Whether weir adds a credential of its own, in `api_key` or in a header.
    pub(super) holds_key: bool,
}

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

/// Headers by which vendors take keys.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "cookie",
    "proxy-authorization",
];

pub(super) fn upstreams(top: &Reader<'_>, readers: &[Reader<'_>]) -> Vec<Parsed> {
    let mut names = HashMap::new();
    let mut parsed = Vec::with_capacity(readers.len());
    for (index, reader) in readers.iter().enumerate() {
        let upstream = upstream(reader, index);
        if let Some(name) = &upstream.name
            && names.insert(name.clone(), ()).is_some()
        {
            let message = format!("a second [[upstream]] is named `{name}`");
            reader.walk.mistake(
                reader
                    .draft("name", message)
                    .help("targets could not tell them apart"),
            );
        }
        parsed.push(upstream);
    }
    if readers.is_empty() {
        top.walk.mistake(
            top.draft("upstream", "there is no [[upstream]]")
                .help("leave `upstream` out for api.openai.com with the caller's own key")
                .absence(),
        );
    }
    parsed
}

/// A name fit for targets, variables and metric labels.
pub(super) fn name(reader: &Reader<'_>) -> Option<String> {
    match reader.text("name") {
        Found::Absent => {
            reader.missing("name", "");
            None
        }
        Found::Wrong => None,
        Found::Value(text) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if text.value.len() > 64 || !text.value.chars().all(fits) {
                reader.refuse(
                    "name",
                    &text,
                    "`name` holds signs that a name cannot have, or more than 64",
                    |draft| draft.accepted("letters, digits, `-`, `_` and `.`"),
                );
                return None;
            }
            Some(text.value)
        }
    }
}

fn upstream(reader: &Reader<'_>, index: usize) -> Parsed {
    let name = name(reader);
    let provider = provider(reader, name.as_deref());
    let key = key(reader, name.as_deref(), provider.as_deref());
    let base_url = base_url(reader, provider.as_deref());
    let organization = header_text(reader, "organization");
    let project = header_text(reader, "project");
    let connect_timeout = reader.duration("connect_timeout");
    let first_token_timeout = reader.duration("first_token_timeout");
    let idle_timeout = reader.duration("idle_timeout");
    let limits = limits(reader);
    let headers = headers(reader);
    let provider = provider.map(|provider| settle(reader, provider, base_url.as_ref()));
    let sets_credential = headers
        .iter()
        .any(|(name, _)| CREDENTIALS.contains(&name.as_str()));
    let holds_key = matches!(key, Some(UpstreamKey::Held(_))) || sets_credential;
    let resolved = match (&name, provider, base_url, key) {
        (Some(name), Some(provider), Some(base_url), Some(key)) => Some(Arc::new(Upstream {
            id: UpstreamId(u16::try_from(index).unwrap_or(u16::MAX)),
            name: Arc::from(name.as_str()),
            provider,
            base_url,
            key,
            organization,
            project,
            headers,
            connect_timeout,
            first_token_timeout,
            idle_timeout,
            limits,
        })),
        _ => None,
    };
    Parsed {
        path: name.as_ref().map_or_else(
            || format!("upstream[{index}]"),
            |name| format!("upstream.{name}"),
        ),
        name,
        resolved,
        place: reader.place.clone(),
        base_url_place: reader.place_of("base_url"),
        holds_key,
    }
}

fn provider(reader: &Reader<'_>, name: Option<&str>) -> Option<Arc<Provider>> {
    let names = || triage::presets().collect::<Vec<_>>().join(", ");
    let (preset, place) = match reader.text("provider") {
        Found::Wrong => return None,
        Found::Value(text) => match triage::preset(&text.value) {
            Some(preset) => (preset, text.place),
            None => {
                let near = near::nearest(&text.value, triage::presets());
                reader.refuse("provider", &text, "there is no such preset", |draft| {
                    draft.accepted(names()).suggestion(near).help(
                        "a vendor without a preset is \"openai-compatible\", with its base_url",
                    )
                });
                return None;
            }
        },
        Found::Absent => match name.and_then(triage::preset) {
            Some(preset) => {
                reader.note("provider", format!("{:?}", preset.name), Origin::Preset);
                (preset, reader.place_of("name"))
            }
            None => {
                let draft = Draft::new(
                    &reader.place,
                    reader.path("provider"),
                    "[[upstream]] needs `provider`: no preset has its name",
                );
                reader.walk.mistake(draft.accepted(names()).absence());
                return None;
            }
        },
    };
    if preset.dialect != Dialect::OpenAi {
        let compatible = format!("{}-openai", preset.name);
        let draft = Draft::new(
            &place,
            reader.path("provider"),
            format!(
                "the preset `{}` speaks its own dialect, which is not in this version yet",
                preset.name
            ),
        );
        reader.walk.mistake(match triage::preset(&compatible) {
            Some(_) => draft.help(format!(
                "its OpenAI-compatible endpoint is provider = \"{compatible}\""
            )),
            None => draft,
        });
        return None;
    }
    Some(preset)
}

/// The preset at the address in use, with the user's rules in front.
fn settle(reader: &Reader<'_>, provider: Arc<Provider>, base_url: Option<&Uri>) -> Arc<Provider> {
    let mut settled = match base_url.map(Uri::to_string) {
        Some(url) if provider.base_url.as_deref() != Some(url.trim_end_matches('/')) => {
            Arc::new(provider.at(url.trim_end_matches('/')))
        }
        _ => provider,
    };
    let mut rules = toml::value::Array::new();
    for (index, (rule, place)) in reader.raw_tables("rule").into_iter().enumerate() {
        // One by one, so that each mistake has the place of its own rule.
        let path = format!("{}[{index}]", reader.path("rule"));
        match extended(
            &settled,
            toml::value::Array::from([rule.clone().into()]),
            &path,
        ) {
            Ok(_) => rules.push(rule.into()),
            Err(error) => {
                let draft = Draft::new(
                    &place,
                    &path,
                    format!(
                        "the failure rule is wrong: {}",
                        crate::config::source::scrub(&error.what)
                    ),
                );
                reader.walk.mistake(match error.hint {
                    Some(hint) => draft.help(hint),
                    None => draft,
                });
            }
        }
    }
    if !rules.is_empty()
        && let Ok(extended) = extended(&settled, rules, "upstream.rule")
    {
        settled = Arc::new(extended);
    }
    settled
}

fn extended(
    provider: &Provider,
    rules: toml::value::Array,
    name: &str,
) -> Result<Provider, triage::PresetError> {
    let document = toml::Table::from_iter([("rule".to_owned(), toml::Value::Array(rules))]);
    provider.extended_with(&document.to_string(), name)
}

fn key(
    reader: &Reader<'_>,
    name: Option<&str>,
    provider: Option<&Provider>,
) -> Option<UpstreamKey> {
    match reader.text("api_key") {
        Found::Wrong => None,
        Found::Value(text) => match text.value.trim() {
            "passthrough" => Some(UpstreamKey::Passthrough),
            "none" => Some(UpstreamKey::None),
            key if HeaderValue::from_str(key).is_ok() && key.is_ascii() => {
                Some(UpstreamKey::Held(Secret::new(key)))
            }
            _ => {
                reader.refuse(
                    "api_key",
                    &text,
                    "`api_key` holds signs that no header can carry",
                    |draft| draft,
                );
                None
            }
        },
        Found::Absent => default_key(reader, name, provider?),
    }
}

/// Without `api_key`: the caller's own at OpenAI, else the vendor's usual variable.
fn default_key(
    reader: &Reader<'_>,
    name: Option<&str>,
    provider: &Provider,
) -> Option<UpstreamKey> {
    if &*provider.name == "openai" {
        reader.note("api_key", "\"passthrough\"".to_owned(), Origin::Default);
        return Some(UpstreamKey::Passthrough);
    }
    let variable = provider.key_variable.as_deref();
    if let Some(variable) = variable
        && let Some(key) = reader
            .walk
            .env
            .var(variable)
            .map(str::trim)
            .filter(|key| !key.is_empty())
    {
        if key.is_ascii() && HeaderValue::from_str(key).is_ok() {
            reader.note(
                "api_key",
                format!("{MASK:?}"),
                Origin::Variable(variable.to_owned()),
            );
            return Some(UpstreamKey::Held(Secret::new(key)));
        }
        let draft = Draft::new(
            &Place::Variable(variable.into()),
            reader.path("api_key"),
            format!("`{variable}` holds signs that no header can carry"),
        );
        reader.walk.mistake(draft);
        return None;
    }
    if provider.local {
        reader.note("api_key", "\"none\"".to_owned(), Origin::Preset);
        return Some(UpstreamKey::None);
    }
    let what = name.unwrap_or("the upstream");
    let (message, help) = match variable {
        Some(variable) => (
            format!("`{what}` has no key: there is no `api_key`, and `{variable}` is not set"),
            format!("set {variable}, or write api_key = \"passthrough\" to send the caller's own key there"),
        ),
        None => (
            format!("`{what}` has no `api_key`"),
            "write api_key = \"${VARIABLE}\"; \"passthrough\" for the caller's own key; \"none\" when the server needs none".to_owned(),
        ),
    };
    reader.walk.mistake(
        Draft::new(&reader.place, reader.path("api_key"), message)
            .help(help)
            .absence(),
    );
    None
}

fn base_url(reader: &Reader<'_>, provider: Option<&Provider>) -> Option<Uri> {
    let text = match reader.text("base_url") {
        Found::Wrong => return None,
        Found::Value(text) => text,
        Found::Absent => {
            let provider = provider?;
            let Some(url) = &provider.base_url else {
                reader.missing(
                    "base_url",
                    &format!(
                        "the preset `{}` does not know where your server is",
                        provider.name
                    ),
                );
                return None;
            };
            reader.note("base_url", format!("{url:?}"), Origin::Preset);
            return url.trim_end_matches('/').parse().ok();
        }
    };
    match checked_url(text.value.trim()) {
        Ok(uri) => Some(uri),
        Err((message, help)) => {
            reader.refuse("base_url", &text, message, |draft| match help {
                Some(help) => draft.help(help),
                None => draft,
            });
            None
        }
    }
}

/// The URL without its trailing slash, or what is wrong with it and what to do.
fn checked_url(url: &str) -> Result<Uri, (&'static str, Option<&'static str>)> {
    if url.contains('#') || url.contains('?') {
        return Err((
            "`base_url` has a query or a fragment, which would end up before the path of a call",
            Some("write only scheme, host and path prefix; keys belong into api_key or headers"),
        ));
    }
    let url = url.trim_end_matches('/');
    let uri: Uri = url.parse().map_err(|_| ("`base_url` is no URL", None))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(("`base_url` does not begin with http:// or https://", None));
    }
    let Some(authority) = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())
    else {
        return Err(("`base_url` has no host", None));
    };
    if authority.as_str().contains('@') {
        return Err((
            "`base_url` holds a user or password",
            Some("write the key as api_key, or as a header"),
        ));
    }
    let port = authority
        .as_str()
        .strip_prefix(authority.host())
        .and_then(|rest| rest.strip_prefix(':'));
    if port.is_some_and(|port| port.parse::<u16>().unwrap_or(0) == 0) {
        return Err(("`base_url` has no possible port", None));
    }
    let path = uri.path().to_ascii_lowercase();
    if path.ends_with("/v1/v1") {
        return Err(("`base_url` ends in /v1 twice", Some("one /v1 is enough")));
    }
    if [
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/responses",
        "/models",
    ]
    .iter()
    .any(|end| path.ends_with(end))
    {
        return Err((
            "`base_url` goes on into an endpoint",
            Some("end it before the endpoint, mostly after /v1"),
        ));
    }
    Ok(uri)
}

fn header_text(reader: &Reader<'_>, key: &str) -> Option<HeaderValue> {
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

fn headers(reader: &Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, place, text) in reader.pairs("headers") {
        let shown = crate::config::source::scrub(&name);
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

fn limits(reader: &Reader<'_>) -> Limits {
    let keys = crate::config::table::ROOT.walk();
    let limits = keys
        .iter()
        .find_map(|section| match section.key("limits")?.kind {
            Kind::Table(limits) => Some(limits),
            _ => None,
        });
    let Some(section) = limits else {
        return Limits::default();
    };
    let reader = reader.table("limits", section);
    let limit = |key| reader.count_or(key).map_or(Limit::Auto, Limit::Fixed);
    Limits {
        requests_per_minute: limit("requests_per_minute"),
        tokens_per_minute: limit("tokens_per_minute"),
        concurrency: limit("concurrency"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_base_url_keeps_its_path_and_loses_its_slash() {
        let url = |text| checked_url(text).map(|uri| uri.to_string());
        assert_eq!(
            url("https://api.openai.com/v1/").as_deref(),
            Ok("https://api.openai.com/v1")
        );
        assert_eq!(
            url("http://[::1]:8000/v1").as_deref(),
            Ok("http://[::1]:8000/v1")
        );
        assert_eq!(
            url("http://localhost:11434").as_deref(),
            Ok("http://localhost:11434/")
        );
    }

    #[test]
    fn a_base_url_that_cannot_work_is_refused() {
        for url in [
            "",
            "api.openai.com/v1",
            "ftp://host/v1",
            "https://",
            "https:///v1",
            "https://host/v1?key=1",
            "https://host/v1#a",
            "https://user:pass@host/v1",
            "https://host/v1/v1",
            "https://host/v1/v1/",
            "https://host:99999/v1",
            "https://host:0/",
            "https://host/v1/chat/completions",
            "https://ho st/",
        ] {
            assert!(checked_url(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "\\PC*") {
            let _ = checked_url(&url);
        }
    }
}
