//! The environment as the configuration sees it, and `${NAME}` in the file's texts.

use std::{collections::BTreeMap, fmt};

/// Environment variables by name. Its `Debug` does not show values.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

/// A text after substitution.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) value: String,
    /// The variables it was made from.
    pub(crate) variables: Vec<String>,
}

/// Why a text could not be substituted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExpandError {
    /// Not set, and no default was written.
    Unset(String),
    /// `${` that is not `${NAME}` or `${NAME:-default}`.
    Malformed,
}

// === impl Env ===

impl Env {
    /// That of this process; variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os();
        Self(
            pairs
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    /// The value of a variable; an empty one counts as set.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All variables, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for a literal `${`.
    pub(crate) fn expand(&self, text: &str) -> Result<Expanded, ExpandError> {
        let mut value = String::with_capacity(text.len());
        let mut variables = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                value.push_str(&rest[..at - 1]);
                value.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            value.push_str(&rest[..at]);
            let (inner, after) = rest[at + 2..]
                .split_once('}')
                .ok_or(ExpandError::Malformed)?;
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inner, None),
            };
            if !is_name(name) {
                return Err(ExpandError::Malformed);
            }
            // As in a shell, `:-` also stands in for an empty variable.
            let found = self
                .var(name)
                .filter(|v| default.is_none() || !v.is_empty());
            match found.or(default) {
                Some(found) => value.push_str(found),
                None => return Err(ExpandError::Unset(name.to_owned())),
            }
            variables.push(name.to_owned());
            rest = after;
        }
        value.push_str(rest);
        Ok(Expanded { value, variables })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Env({} variables)", self.0.len())
    }
}

impl fmt::Debug for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expanded")
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Result<String, ExpandError> {
        let env = Env::from_iter([("A", "one"), ("B_2", "two"), ("EMPTY", "")]);
        env.expand(text).map(|expanded| expanded.value)
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        assert_eq!(value("x${A}y${B_2}z").as_deref(), Ok("xoneytwoz"));
        assert_eq!(value("plain $A ${EMPTY}.").as_deref(), Ok("plain $A ."));
    }

    #[test]
    fn a_default_stands_in_for_unset_and_empty() {
        assert_eq!(value("${NONE:-d:-e}").as_deref(), Ok("d:-e"));
        assert_eq!(value("${EMPTY:-d}").as_deref(), Ok("d"));
        assert_eq!(value("${A:-d}").as_deref(), Ok("one"));
        assert_eq!(value("${NONE:-}").as_deref(), Ok(""));
    }

    #[test]
    fn two_dollars_write_a_literal_one() {
        assert_eq!(value("$${A} ${A}").as_deref(), Ok("${A} one"));
    }

    #[test]
    fn unset_and_malformed_are_told_apart() {
        assert_eq!(value("${NONE}"), Err(ExpandError::Unset("NONE".into())));
        for text in ["${", "${A", "${}", "${A B}", "${1}"] {
            assert_eq!(value(text), Err(ExpandError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        let env = Env::from_iter([("A", "${A}")]);
        assert_eq!(env.expand("${A}").map(|e| e.value).as_deref(), Ok("${A}"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\$|\\{|\\}|:-|A|é|\\PC)*") {
            let _ = value(&text);
        }
    }
}
