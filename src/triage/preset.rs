//! Providers from text: the embedded files, and the user's own.
//!
//! A file is read when its provider is first asked for, and a rule's pattern is compiled when it is first tried, so
//! that starting up costs nothing for providers nobody uses.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue};

use super::error::{PresetError, nearest};
use super::limiting::Limiting;
use super::provider::{Auth, DayReset, Dialect, Provider};
use super::rule::{RuleSet, WrittenRules};

/// An embedded file and what has been made of it.
pub(super) struct Embedded<T> {
    name: &'static str,
    text: &'static str,
    read: OnceLock<Option<Arc<T>>>,
}

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        [$(Embedded {
            name: $name,
            text: include_str!(concat!("../../config/providers/", $name, ".toml")),
            read: OnceLock::new(),
        }),+]
    };
}

/// Every provider, in the order in which they are listed.
static PRESETS: [Embedded<Provider>; 33] = embedded![
    "openai",
    "openai-compatible",
    "azure",
    "anthropic",
    "anthropic-openai",
    "gemini",
    "gemini-openai",
    "mistral",
    "deepseek",
    "groq",
    "openrouter",
    "xai",
    "together",
    "fireworks",
    "cohere",
    "perplexity",
    "cerebras",
    "sambanova",
    "deepinfra",
    "nvidia",
    "huggingface",
    "moonshot",
    "zhipu",
    "qwen",
    "minimax",
    "siliconflow",
    "volcengine",
    "github-models",
    "litellm",
    "lmstudio",
    "ollama",
    "llamacpp",
    "vllm",
];

/// Rules that several providers share, asked after their own.
static SHARED: [Embedded<RuleSet>; 7] = embedded![
    "shared/edge",
    "shared/vendor-words",
    "shared/openai-words",
    "shared/anthropic-words",
    "shared/google-words",
    "shared/plain-words",
    "shared/common",
];

/// The embedded provider of this name.
pub fn preset(name: &str) -> Option<Arc<Provider>> {
    let embedded = PRESETS.iter().find(|embedded| embedded.name == name)?;
    // Cannot fail for embedded files: a test reads them all.
    embedded
        .read
        .get_or_init(|| read(embedded.text, embedded.name, false).ok().map(Arc::new))
        .clone()
}

/// Names of all embedded providers.
pub fn presets() -> impl ExactSizeIterator<Item = &'static str> {
    PRESETS.iter().map(|embedded| embedded.name)
}

/// Rules of a provider: its own, or a shared file that is read when the first failure asks for it.
#[derive(Clone, Debug)]
pub(super) enum Rules {
    Own(Arc<RuleSet>),
    Shared(&'static Embedded<RuleSet>),
}

impl Rules {
    /// The rules, read now if need be.
    pub(super) fn set(&self) -> Arc<RuleSet> {
        match self {
            Self::Own(set) => set.clone(),
            Self::Shared(embedded) => embedded
                .read
                .get_or_init(|| {
                    rules_only(embedded.text, embedded.short_name(), false)
                        .ok()
                        .map(Arc::new)
                })
                .clone()
                .unwrap_or_default(),
        }
    }
}

impl<T> Embedded<T> {
    fn short_name(&self) -> &'static str {
        self.name.strip_prefix("shared/").unwrap_or(self.name)
    }
}

impl<T> fmt::Debug for Embedded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded").field(&self.name).finish()
    }
}

/// A provider file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: toml::Spanned<String>,
    title: Option<String>,
    dialect: Dialect,
    base_url: Option<String>,
    key_variable: Option<String>,
    #[serde(default)]
    auth: FileAuth,
    #[serde(default)]
    headers: FileHeaders,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    local: bool,
    #[serde(default)]
    quota_words_are_final: bool,
    #[serde(default)]
    day_reset: DayReset,
    #[serde(default)]
    limits: Limiting,
    /// Providers whose rules come after these: `["openai"]`.
    #[serde(default)]
    then: Vec<toml::Spanned<String>>,
    #[serde(default)]
    rule: WrittenRules,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileAuth {
    header: String,
    scheme: Option<String>,
}

impl Default for FileAuth {
    fn default() -> Self {
        Self {
            header: "authorization".to_owned(),
            scheme: None,
        }
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileHeaders {
    request_id: Vec<String>,
    organization: Option<String>,
    project: Option<String>,
    organization_seen: Option<String>,
    project_seen: Option<String>,
    /// Sent with every request, unless the caller sent them.
    send: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default)]
    rule: WrittenRules,
}

fn rules_only(text: &str, file: &str, compile: bool) -> Result<RuleSet, PresetError> {
    let parsed: RulesFile =
        toml::from_str(text).map_err(|error| PresetError::from_toml(file, text, &error))?;
    parsed.rule.keep(file, text, compile)
}

fn read(text: &str, file: &str, compile: bool) -> Result<Provider, PresetError> {
    let parsed: File =
        toml::from_str(text).map_err(|error| PresetError::from_toml(file, text, &error))?;
    let start = parsed.name.span().start;
    let header_name = |name: &String| {
        HeaderName::try_from(name.as_str()).map_err(|_| {
            PresetError::at(
                file,
                text,
                start,
                format!("`{name}` is no header name"),
                None,
            )
        })
    };
    let maybe_name = |name: &Option<String>| name.as_ref().map(header_name).transpose();
    let mut rules = vec![Rules::Own(Arc::new(parsed.rule.keep(file, text, compile)?))];
    for set in &parsed.then {
        let name = set.get_ref();
        let embedded = SHARED
            .iter()
            .find(|embedded| embedded.short_name() == name)
            .ok_or_else(|| {
                let hint = nearest(name, SHARED.iter().map(Embedded::short_name));
                let hint = hint.map(|word| format!("did you mean `{word}`?"));
                PresetError::at(
                    file,
                    text,
                    set.span().start,
                    format!("no shared rules `{name}`"),
                    hint,
                )
            })?;
        rules.push(Rules::Shared(embedded));
    }
    let send = parsed.headers.send.iter().map(|(name, value)| {
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| {
            PresetError::at(
                file,
                text,
                start,
                format!("the value of header `{name}` cannot be sent"),
                None,
            )
        })?;
        Ok((header_name(name)?, value))
    });
    let provider = Provider {
        title: parsed
            .title
            .unwrap_or_else(|| parsed.name.get_ref().clone()),
        dialect: parsed.dialect,
        base_url: parsed.base_url,
        key_variable: parsed.key_variable,
        auth: Auth {
            header: header_name(&parsed.auth.header)?,
            scheme: parsed.auth.scheme,
        },
        request_id_headers: parsed
            .headers
            .request_id
            .iter()
            .map(header_name)
            .collect::<Result<_, _>>()?,
        organization_header: maybe_name(&parsed.headers.organization)?,
        project_header: maybe_name(&parsed.headers.project)?,
        organization_seen_header: maybe_name(&parsed.headers.organization_seen)?,
        project_seen_header: maybe_name(&parsed.headers.project_seen)?,
        send_headers: send.collect::<Result<_, PresetError>>()?,
        hosts: parsed
            .hosts
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .collect(),
        local: parsed.local,
        quota_words_are_final: parsed.quota_words_are_final,
        day_reset: parsed.day_reset,
        limiting: parsed.limits,
        rules,
        at_home: false,
        name: parsed.name.into_inner().into(),
    };
    Ok(provider.settled())
}

impl Provider {
    /// A provider from the user's own file. Every pattern is compiled now.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line; the text has to change.
    pub fn from_toml(text: &str, source_name: &str) -> Result<Self, PresetError> {
        read(text, source_name, true)
    }

    /// This provider with the user's `[[rule]]` sections asked first.
    ///
    /// # Errors
    /// The first thing that is wrong in `rules`, with its line.
    pub fn extended_with(&self, rules: &str, source_name: &str) -> Result<Self, PresetError> {
        let set = rules_only(rules, source_name, true)?;
        let mut extended = self.clone();
        extended.rules.insert(0, Rules::Own(Arc::new(set)));
        Ok(extended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_is_good() {
        for embedded in &SHARED {
            rules_only(embedded.text, embedded.name, true).unwrap();
        }
        for embedded in &PRESETS {
            let provider = Provider::from_toml(embedded.text, embedded.name).unwrap();
            assert_eq!(&*provider.name, embedded.name);
            assert!(preset(embedded.name).is_some());
            assert!(
                provider.rules.len() > 1,
                "{} shares no rules",
                embedded.name
            );
        }
    }
}
