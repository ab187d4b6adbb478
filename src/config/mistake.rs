//! What is wrong with a configuration, told so that it can be put right at once.

use std::{fmt, path::PathBuf};

use super::{
    source::{Snippet, Source, scrub},
    tree::Place,
};

/// One thing that is wrong, or (as a [`Warning`]) that is likely not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// File name as given; empty when there was no file.
    pub file: String,
    /// The environment variable that made it, instead of the file.
    pub variable: Option<String>,
    /// Such as `upstream.openai.base_url`; empty for a syntax error.
    pub path: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What stands there; never a secret.
    pub found: Option<String>,
    /// What would be accepted.
    pub accepted: Option<String>,
    /// The name that was probably meant.
    pub suggestion: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// Only a variable of this process's environment is missing: another process may have it.
    unset: bool,
    snippet: Option<Snippet>,
}

/// All that is wrong with a configuration; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

/// What is allowed, but likely not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Mistake);

/// A mistake before its place is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) place: Place,
    path: String,
    message: String,
    found: Option<String>,
    accepted: Option<String>,
    suggestion: Option<String>,
    help: Option<String>,
    /// Something is missing: says nothing when the file could not be read whole.
    pub(crate) absence: bool,
    unset: bool,
}

// === impl Draft ===

impl Draft {
    pub(crate) fn new(place: &Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            path: path.into(),
            message: message.into(),
            found: None,
            accepted: None,
            suggestion: None,
            help: None,
            absence: false,
            unset: false,
        }
    }

    /// What stands there; whatever looks like a key is masked.
    pub(crate) fn found(mut self, found: impl AsRef<str>) -> Self {
        self.found = Some(scrub(found.as_ref()));
        self
    }

    pub(crate) fn accepted(mut self, accepted: impl Into<String>) -> Self {
        self.accepted = Some(accepted.into());
        self
    }

    pub(crate) fn suggestion(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn absence(mut self) -> Self {
        self.absence = true;
        self
    }

    pub(crate) fn unset(mut self) -> Self {
        self.unset = true;
        self
    }

    /// Looks its place up. Names of the file are quoted in many places, and any of them may be a key: all texts are masked here.
    pub(crate) fn locate(self, source: &Source<'_>) -> Mistake {
        let (snippet, variable) = match &self.place {
            Place::File { start, end } => (Some(source.snippet(*start, *end)), None),
            // A key may stand where the name of an upstream was meant.
            Place::Variable(name) => {
                let parts: Vec<_> = name.split("__").map(scrub).collect();
                (None, Some(parts.join("__")))
            }
            Place::Nowhere => (None, None),
        };
        Mistake {
            file: source.name.to_owned(),
            variable,
            path: scrub(&self.path),
            message: scrub(&self.message),
            found: self.found,
            accepted: self.accepted.as_deref().map(scrub),
            suggestion: self.suggestion.as_deref().map(scrub),
            help: self.help.as_deref().map(scrub),
            unset: self.unset,
            snippet,
        }
    }
}

// === impl Mistake ===

impl Mistake {
    /// Line of the file, from 1.
    pub fn line(&self) -> Option<usize> {
        self.snippet.as_ref().map(|snippet| snippet.line)
    }

    /// Column, from 1, in characters.
    pub fn column(&self) -> Option<usize> {
        self.snippet.as_ref().map(|snippet| snippet.column)
    }

    /// For `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "file": (!self.file.is_empty()).then_some(&self.file),
            "line": self.line(),
            "column": self.column(),
            "variable": self.variable,
            "key": (!self.path.is_empty()).then_some(&self.path),
            "message": self.message,
            "found": self.found,
            "accepted": self.accepted,
            "suggestion": self.suggestion,
            "help": self.help,
        })
    }

    fn render(&self, f: &mut fmt::Formatter<'_>, severity: &str) -> fmt::Result {
        write!(f, "{severity}: {}", self.message)?;
        let margin = match &self.snippet {
            Some(snippet) => snippet.line.to_string().len(),
            None => 1,
        };
        match (&self.snippet, &self.variable) {
            (Some(snippet), _) => {
                let Snippet {
                    line,
                    column,
                    text,
                    caret,
                } = snippet;
                write!(f, "\n{:margin$}--> {}:{line}:{column}", "", self.file)?;
                write!(f, "\n{:margin$} |\n{line} | {text}", "")?;
                let marks = "^".repeat(caret.len());
                write!(
                    f,
                    "\n{:margin$} | {:indent$}{marks}",
                    "",
                    "",
                    indent = caret.start
                )?;
            }
            (None, Some(variable)) => {
                write!(f, "\n{:margin$}--> environment variable {variable}", "")?
            }
            (None, None) if !self.file.is_empty() => {
                write!(f, "\n{:margin$}--> {}", "", self.file)?
            }
            (None, None) => {}
        }
        let suggestion = self
            .suggestion
            .as_ref()
            .map(|name| format!("did you mean `{name}`?"));
        let path = (!self.path.is_empty()).then_some(&self.path);
        for (label, note) in [
            ("key", path),
            ("found", self.found.as_ref()),
            ("accepted", self.accepted.as_ref()),
            ("help", suggestion.as_ref()),
            ("help", self.help.as_ref()),
        ] {
            if let Some(note) = note {
                write!(f, "\n{:margin$} = {label}: {note}", "")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(f, "error")
    }
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.render(f, "warning")
    }
}

// === impl Mistakes ===

impl Mistakes {
    pub(crate) fn new(mistakes: Vec<Mistake>) -> Self {
        debug_assert!(!mistakes.is_empty(), "mistakes are at least one");
        Self(mistakes)
    }

    /// A mistake with the file as a whole: it cannot be read.
    pub(crate) fn of_file(file: &std::path::Path, message: String, help: Option<String>) -> Self {
        Self(vec![Mistake {
            file: file.display().to_string(),
            variable: None,
            path: String::new(),
            message,
            found: None,
            accepted: None,
            suggestion: None,
            help,
            unset: false,
            snippet: None,
        }])
    }

    /// In the order of the file; those of the environment come last.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that are mistakes for every process, whatever its environment has; `None`: there are none.
    pub fn of_the_file(mut self) -> Option<Self> {
        self.0.retain(|mistake| !mistake.unset);
        (!self.0.is_empty()).then_some(self)
    }

    /// The file they are in.
    pub fn file(&self) -> Option<PathBuf> {
        self.0
            .iter()
            .map(|mistake| &mistake.file)
            .find(|file| !file.is_empty())
            .map(PathBuf::from)
    }

    /// For `--json`: `{"ok": false, "mistakes": […]}`.
    pub fn to_json(&self) -> serde_json::Value {
        let mistakes: Vec<_> = self.0.iter().map(Mistake::to_json).collect();
        serde_json::json!({ "ok": false, "mistakes": mistakes })
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "{mistake}\n")?;
        }
        let (count, s) = (self.0.len(), if self.0.len() == 1 { "" } else { "s" });
        write!(
            f,
            "{count} mistake{s} in the configuration; nothing was started"
        )
    }
}

impl std::error::Error for Mistakes {}
