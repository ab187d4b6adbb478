//! Conditions of a rule, and whether they hold.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use serde::de::{Deserialize, Deserializer, Error as _};

use super::facts::{Facts, Shape};
use super::{NetworkKind, Transport};

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// The HTTP status, or the one the body states where HTTP said 200; `None`: neither is a failure's.
    pub(super) status: Option<u16>,
    pub(super) facts: &'a Facts,
    pub(super) headers: &'a http::HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) endpoint: &'a str,
    pub(super) transport: Transport,
    pub(super) own_host: bool,
    pub(super) passing: bool,
}

/// A regular expression, compiled when it is first asked: most rules of most providers never are.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) source: toml::Spanned<String>,
    compiled: OnceLock<Option<Regex>>,
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self {
            source: toml::Spanned::<String>::deserialize(from)?,
            compiled: OnceLock::new(),
        })
    }
}

impl Pattern {
    pub(super) fn compile(&self) -> Result<Regex, regex::Error> {
        // Bytes and no Unicode tables: case folding of ASCII is all that is needed and compiles ten times faster.
        RegexBuilder::new(self.source.get_ref())
            .case_insensitive(true)
            .unicode(false)
            .build()
    }

    fn is_match(&self, text: &[u8]) -> bool {
        self.compiled
            .get_or_init(|| self.compile().ok())
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }
}

/// A status, a class of statuses, or that none was stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusIs {
    Exactly(u16),
    Hundred(u16),
    Unstated,
}

impl<'de> Deserialize<'de> for StatusIs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u16),
            Word(String),
        }
        match Written::deserialize(from)? {
            Written::Number(number) => Ok(Self::Exactly(number)),
            Written::Word(word) if word == "unstated" => Ok(Self::Unstated),
            Written::Word(word) => {
                match word.strip_suffix("xx").and_then(|digit| digit.parse().ok()) {
                    Some(hundred @ 1..=9) => Ok(Self::Hundred(hundred)),
                    _ => Err(D::Error::custom(format!(
                        "unknown status `{word}`, expected a number, `4xx`, `5xx` or `unstated`"
                    ))),
                }
            }
        }
    }
}

/// How it came, as rules say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum TransportIs {
    Http,
    Stream,
    Object,
    Network,
}

/// Conditions of a rule: all that are given must hold.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct When {
    /// Any of these statuses.
    status: Vec<StatusIs>,
    /// Any of these codes; `*` at either end stands for anything.
    code: Vec<String>,
    /// Any of these types.
    r#type: Vec<String>,
    /// Any of these, as code or as type.
    word: Vec<String>,
    /// Found in the messages.
    message: Option<Pattern>,
    /// Not found in the messages.
    not_message: Option<Pattern>,
    /// Found in the body as it came.
    body: Option<Pattern>,
    /// Found in the path that was called.
    endpoint: Option<Pattern>,
    /// Each of these headers is there and its value fits.
    header: BTreeMap<String, Pattern>,
    transport: Vec<TransportIs>,
    network: Vec<NetworkIs>,
    shape: Vec<Shape>,
    /// `type` of the stream event or object.
    event: Vec<String>,
    /// Why the answer ended.
    finish: Vec<String>,
    /// An error object was found, or was not.
    has_error: Option<bool>,
    /// The provider is asked at a host of its own, or is not.
    own_host: Option<bool>,
    /// The failure passes by itself in minutes: a 429 or 402 with a short told wait, where that is to be believed.
    passing: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NetworkIs {
    Refused,
    Reset,
    Dns,
    Tls,
    ConnectTimeout,
    ReadTimeout,
    Other,
}

impl NetworkIs {
    fn fits(self, kind: NetworkKind) -> bool {
        matches!(
            (self, kind),
            (Self::Refused, NetworkKind::Refused)
                | (Self::Reset, NetworkKind::Reset)
                | (Self::Dns, NetworkKind::Dns)
                | (Self::Tls, NetworkKind::Tls)
                | (Self::ConnectTimeout, NetworkKind::ConnectTimeout)
                | (Self::ReadTimeout, NetworkKind::ReadTimeout)
                | (Self::Other, NetworkKind::Other)
        )
    }
}

/// `*` at either end of the pattern stands for anything.
fn glob(pattern: &str, word: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => word.contains(pattern.trim_matches('*')),
        (Some(end), None) => word.ends_with(end),
        (None, Some(start)) => word.starts_with(start),
        (None, None) => pattern == word,
    }
}

fn any(patterns: &[String], words: &[String]) -> bool {
    patterns
        .iter()
        .any(|pattern| words.iter().any(|word| glob(pattern, word)))
}

/// Statuses of a request that was refused for what it says, and whose refusal quotes it.
const QUOTING: [u16; 7] = [400, 404, 405, 409, 413, 415, 422];

impl When {
    /// `reaches_others`: the verdict would close something for other calls too. Then the words of a refused request do
    /// not count: only what the provider says by itself.
    pub(super) fn fits(&self, scene: &Scene<'_>, reaches_others: bool) -> bool {
        let quotes = scene.status.is_some_and(|status| QUOTING.contains(&status));
        let text = if reaches_others && quotes {
            &scene.facts.unquoted
        } else {
            &scene.facts.text
        };
        self.fits_wire(scene) && self.fits_words(scene) && self.fits_patterns(scene, text)
    }

    /// The cheap conditions first.
    fn fits_wire(&self, scene: &Scene<'_>) -> bool {
        let transport = match scene.transport {
            Transport::Http => TransportIs::Http,
            Transport::StreamEvent => TransportIs::Stream,
            Transport::ObjectIn200 => TransportIs::Object,
            Transport::Network(_) => TransportIs::Network,
        };
        let status = |is: &StatusIs| match (*is, scene.status) {
            (StatusIs::Exactly(number), Some(status)) => number == status,
            (StatusIs::Hundred(hundred), Some(status)) => hundred == status / 100,
            (StatusIs::Unstated, None) => true,
            _ => false,
        };
        let network =
            |is: &NetworkIs| matches!(scene.transport, Transport::Network(kind) if is.fits(kind));
        (self.status.is_empty() || self.status.iter().any(status))
            && (self.transport.is_empty() || self.transport.contains(&transport))
            && (self.network.is_empty() || self.network.iter().any(network))
            && (self.shape.is_empty() || self.shape.contains(&scene.facts.shape))
            && self
                .has_error
                .is_none_or(|has| has == scene.facts.has_error)
            && self.own_host.is_none_or(|own| own == scene.own_host)
            && self.passing.is_none_or(|passing| passing == scene.passing)
    }

    fn fits_words(&self, scene: &Scene<'_>) -> bool {
        let facts = scene.facts;
        (self.code.is_empty() || any(&self.code, &facts.codes))
            && (self.r#type.is_empty() || any(&self.r#type, &facts.kinds))
            && (self.word.is_empty()
                || any(&self.word, &facts.codes)
                || any(&self.word, &facts.kinds))
            && (self.event.is_empty() || any(&self.event, &facts.events))
            && (self.finish.is_empty() || any(&self.finish, &facts.finishes))
    }

    fn fits_patterns(&self, scene: &Scene<'_>, text: &str) -> bool {
        let text = text.as_bytes();
        let header = |(name, pattern): (&String, &Pattern)| {
            let outer = scene
                .headers
                .get_all(name)
                .iter()
                .any(|value| pattern.is_match(value.as_bytes()));
            outer
                || scene
                    .facts
                    .headers
                    .iter()
                    .any(|(n, value)| n == name && pattern.is_match(value.as_bytes()))
        };
        self.header.iter().all(header)
            && self
                .message
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(text))
            && !self
                .not_message
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(text))
            && self
                .endpoint
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(scene.endpoint.as_bytes()))
            && self
                .body
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(scene.body))
    }

    /// What is compared with lower-case words becomes lower case.
    pub(super) fn fold_case(&mut self) {
        for words in [
            &mut self.code,
            &mut self.r#type,
            &mut self.word,
            &mut self.event,
            &mut self.finish,
        ] {
            words
                .iter_mut()
                .for_each(|word| word.make_ascii_lowercase());
        }
        let headers = std::mem::take(&mut self.header);
        self.header = headers
            .into_iter()
            .map(|(name, pattern)| (name.to_ascii_lowercase(), pattern))
            .collect();
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        [&self.message, &self.not_message, &self.body, &self.endpoint]
            .into_iter()
            .flatten()
            .chain(self.header.values())
    }

    /// Nothing is asked: the rule would swallow every failure.
    pub(super) fn is_empty(&self) -> bool {
        self.status.is_empty()
            && self.code.is_empty()
            && self.r#type.is_empty()
            && self.word.is_empty()
            && self.transport.is_empty()
            && self.network.is_empty()
            && self.shape.is_empty()
            && self.event.is_empty()
            && self.finish.is_empty()
            && self.patterns().next().is_none()
    }

    /// A word of the provider's own, or the wire itself, decided.
    pub(super) fn by_word(&self) -> bool {
        !(self.code.is_empty()
            && self.r#type.is_empty()
            && self.word.is_empty()
            && self.finish.is_empty()
            && self.network.is_empty())
    }

    /// Nothing but the status decided.
    pub(super) fn by_status_only(&self) -> bool {
        !self.by_word()
            && self.patterns().next().is_none()
            && self.shape.is_empty()
            && self.event.is_empty()
    }
}
