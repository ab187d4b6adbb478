//! `[[upstream]]`: the accounts at providers.

mod base_url;
mod headers;
mod key;

use std::{collections::HashMap, sync::Arc};

use http::Uri;

use crate::{
    config::{
        Limit, Limits, Upstream, UpstreamId, UpstreamKey,
        effective::Origin,
        mistake::Draft,
        near,
        reader::{Found, Reader},
        table::Kind,
        tree::Place,
    },
    triage::{self, Dialect, Provider},
};

use base_url::base_url;
use headers::{header_text, headers};
use key::{admin_key, key};

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
    if top.is_empty_list("upstream") {
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
    let admin_key = admin_key(reader);
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
            admin_key,
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

fn limits(reader: &Reader<'_>) -> Limits {
    let limits = super::section("upstream").key("limits");
    let Some(Kind::Table(section)) = limits.map(|key| key.kind) else {
        return Limits::default();
    };
    let reader = reader.table("limits", section);
    let limit = |key| reader.count_or(key).map_or(Limit::Auto, Limit::Fixed);
    Limits {
        requests_per_minute: limit("requests_per_minute"),
        tokens_per_minute: limit("tokens_per_minute"),
        input_tokens_per_minute: limit("input_tokens_per_minute"),
        output_tokens_per_minute: limit("output_tokens_per_minute"),
        images_per_minute: limit("images_per_minute"),
        requests_per_day: limit("requests_per_day"),
        tokens_per_day: limit("tokens_per_day"),
        concurrency: limit("concurrency"),
    }
}

fn extended(
    provider: &Provider,
    rules: toml::value::Array,
    name: &str,
) -> Result<Provider, triage::PresetError> {
    let document = toml::Table::from_iter([("rule".to_owned(), toml::Value::Array(rules))]);
    provider.extended_with(&document.to_string(), name)
}
