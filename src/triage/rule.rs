//! Rules as they stand in the files, and whether one fits.

use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::class::{Class, Helps, Scope};
use super::error::{PresetError, nearest};
use super::policy::CircuitEffect;
use super::when::{Scene, When};

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

impl Rule {
    pub(super) fn fits(&self, scene: &Scene<'_>) -> bool {
        self.when.fits(scene, self.reaches_others())
    }

    /// Does its verdict close something for calls that are not to blame?
    fn reaches_others(&self) -> bool {
        !matches!(
            self.class.policy().circuit,
            CircuitEffect::Neutral | CircuitEffect::Counts
        )
    }

    /// A word of the provider's own, or the wire itself, decided.
    pub(super) fn by_word(&self) -> bool {
        self.when.by_word()
    }

    /// Nothing but the status decided.
    pub(super) fn by_status_only(&self) -> bool {
        self.when.by_status_only()
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
