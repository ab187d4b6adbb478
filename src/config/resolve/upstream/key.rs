//! `api_key`, and what its absence means.

use http::HeaderValue;

use crate::{
    config::{
        Secret, UpstreamKey,
        effective::Origin,
        mistake::Draft,
        reader::{Found, Reader},
        source::MASK,
        tree::Place,
    },
    triage::Provider,
};

pub(super) fn key(
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

/// `admin_key`, which only `weir doctor` uses.
pub(super) fn admin_key(reader: &Reader<'_>) -> Option<Secret> {
    let Found::Value(text) = reader.text("admin_key") else {
        return None;
    };
    let key = text.value.trim();
    if key.is_ascii() && HeaderValue::from_str(key).is_ok() {
        return Some(Secret::new(key));
    }
    reader.refuse(
        "admin_key",
        &text,
        "`admin_key` holds signs that no header can carry",
        |draft| draft,
    );
    None
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
    let draft = Draft::new(&reader.place, reader.path("api_key"), message);
    let draft = if variable.is_some() {
        draft.unset()
    } else {
        draft
    };
    reader.walk.mistake(draft.help(help).absence());
    None
}
