//! What is wrong with a provider file.

/// A provider file that cannot be used. Nothing to retry: the text has to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}{}", .hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
pub struct PresetError {
    /// Name of the file or of the configuration section.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What was found.
    pub what: String,
    /// What would be accepted, when that can be told.
    pub hint: Option<String>,
}

impl PresetError {
    /// For the byte offset `at` in `text`.
    pub(super) fn at(
        file: &str,
        text: &str,
        at: usize,
        what: String,
        hint: Option<String>,
    ) -> Self {
        let end = at.min(text.len());
        let line = text.as_bytes()[..end]
            .iter()
            .filter(|&&b| b == b'\n')
            .count()
            + 1;
        Self {
            file: file.to_owned(),
            line,
            what,
            hint,
        }
    }

    /// From the TOML reader, with the nearest known word where one was misspelt.
    pub(super) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let what = error.message().replace('\n', " ");
        let mut quoted = what.split('`').skip(1).step_by(2);
        let found = quoted.next().unwrap_or_default().to_owned();
        let hint = nearest(&found, quoted).map(|word| format!("did you mean `{word}`?"));
        Self::at(file, text, at, what, hint)
    }
}

/// The known word most like `found`, if any is alike at all.
pub(super) fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|word| (strsim::jaro_winkler(found, word), word))
        .filter(|(alike, _)| *alike > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}
