//! Rules as they stand in the files, and whether one fits.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use regex::bytes::{Regex, RegexBuilder};
use serde::de::{Deserialize, Deserializer, Error as _};

use super::class::{Class, Helps, Scope};
use super::error::{PresetError, nearest};
use super::facts::{Facts, Shape};
use super::{NetworkKind, Transport};

/// A regular expression, compiled when it is first asked: most rules of most providers never are.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    source: toml::Spanned<String>,
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
    fn compile(&self) -> Result<Regex, regex::Error> {
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
struct When {
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
    /// The failure passes by itself in minutes: a 429 with a short told wait, where that is to be believed.
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

/// One rule.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: toml::Spanned<String>,
    #[serde(default)]
    when: When,
    #[serde(deserialize_with = "word")]
    class: Class,
    #[serde(default, deserialize_with = "maybe_word")]
    scope: Option<Scope>,
    #[serde(default, deserialize_with = "maybe_word")]
    waiting_helps: Option<Helps>,
    #[serde(default, deserialize_with = "maybe_word")]
    retry_same: Option<Helps>,
    #[serde(default, deserialize_with = "maybe_word")]
    fallback_helps: Option<Helps>,
    advice: Option<toml::Spanned<String>>,
}

/// A vocabulary that can name itself in an error.
trait Vocabulary: FromStr + Copy + 'static {
    const NAME: &'static str;
    fn words() -> Vec<&'static str>;
}

macro_rules! vocabularies {
    ($($kind:ty => $name:literal),+) => { $(impl Vocabulary for $kind {
        const NAME: &'static str = $name;
        fn words() -> Vec<&'static str> { Self::ALL.iter().map(|value| value.as_str()).collect() }
    })+ };
}
vocabularies!(Class => "class", Scope => "scope", Helps => "answer");

fn word<'de, T: Vocabulary, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let words = T::words();
        let expected = match nearest(&text, words.iter().copied()) {
            Some(word) => format!("`{word}`"),
            None => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        D::Error::custom(format!("unknown {} `{text}`, expected {expected}", T::NAME))
    })
}

fn maybe_word<'de, T: Vocabulary, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    word(from).map(Some)
}

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

/// One rule, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// `file/id`.
    pub(super) id: Arc<str>,
    when: When,
    pub(super) class: Class,
    pub(super) scope: Option<Scope>,
    pub(super) waiting_helps: Option<Helps>,
    pub(super) retry_same: Option<Helps>,
    pub(super) fallback_helps: Option<Helps>,
    pub(super) advice: Option<String>,
}

/// The rules of one file, in order.
#[derive(Debug, Default)]
pub(super) struct RuleSet {
    pub(super) rules: Vec<Rule>,
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

impl When {
    fn fits(&self, scene: &Scene<'_>) -> bool {
        self.fits_wire(scene) && self.fits_words(scene) && self.fits_patterns(scene)
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

    fn fits_patterns(&self, scene: &Scene<'_>) -> bool {
        let text = scene.facts.text.as_bytes();
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
    fn fold_case(&mut self) {
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
    }

    fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        [&self.message, &self.not_message, &self.body, &self.endpoint]
            .into_iter()
            .flatten()
            .chain(self.header.values())
    }

    /// Nothing is asked: the rule would swallow every failure.
    fn is_empty(&self) -> bool {
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
}

impl Rule {
    pub(super) fn fits(&self, scene: &Scene<'_>) -> bool {
        self.when.fits(scene)
    }

    /// A word of the provider's own, or the wire itself, decided.
    pub(super) fn by_word(&self) -> bool {
        let when = &self.when;
        !(when.code.is_empty()
            && when.r#type.is_empty()
            && when.word.is_empty()
            && when.finish.is_empty()
            && when.network.is_empty())
    }

    /// Nothing but the status decided.
    pub(super) fn by_status_only(&self) -> bool {
        !self.by_word()
            && self.when.patterns().next().is_none()
            && self.when.shape.is_empty()
            && self.when.event.is_empty()
    }
}

/// The rules as written in a file, before they are checked.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct WrittenRules(Vec<Written>);

impl WrittenRules {
    /// Checks and keeps them. With `compile` every pattern is compiled now, so that a user's mistake is found at
    /// start; the embedded files are checked by a test instead.
    pub(super) fn keep(
        self,
        file: &str,
        text: &str,
        compile: bool,
    ) -> Result<RuleSet, PresetError> {
        let mut rules: Vec<Rule> = Vec::with_capacity(self.0.len());
        for mut written in self.0 {
            written.when.fold_case();
            let at = written.id.span().start;
            let error = |what: String, at: usize| PresetError::at(file, text, at, what, None);
            let id: Arc<str> = format!("{file}/{}", written.id.get_ref()).into();
            if written.when.is_empty() {
                return Err(error(
                    format!("rule `{}` has no condition", written.id.get_ref()),
                    at,
                ));
            }
            if rules.iter().any(|rule| rule.id == id) {
                return Err(error(
                    format!("rule `{}` is there twice", written.id.get_ref()),
                    at,
                ));
            }
            for pattern in written.when.patterns().filter(|_| compile) {
                if let Err(wrong) = pattern.compile() {
                    let what = wrong
                        .to_string()
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .trim()
                        .to_owned();
                    return Err(error(
                        format!("bad pattern: {what}"),
                        pattern.source.span().start,
                    ));
                }
            }
            if let Some(advice) = &written.advice
                && advice
                    .get_ref()
                    .bytes()
                    .any(|byte| !(b' '..=b'~').contains(&byte))
            {
                return Err(error(
                    "advice must be ASCII on one line".to_owned(),
                    advice.span().start,
                ));
            }
            rules.push(Rule {
                id,
                when: written.when,
                class: written.class,
                scope: written.scope,
                waiting_helps: written.waiting_helps,
                retry_same: written.retry_same,
                fallback_helps: written.fallback_helps,
                advice: written.advice.map(toml::Spanned::into_inner),
            });
        }
        Ok(RuleSet { rules })
    }
}
