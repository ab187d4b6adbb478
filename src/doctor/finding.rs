//! What an examination finds: one sentence, how bad it is, and what to do.

use serde::Serialize;

/// How bad it is; the worst one is the exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    #[default]
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    /// Works now, and will hurt.
    Warning,
    /// Calls fail, or a key is in danger.
    Error,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    Config,
    Gateway,
    Environment,
    Key,
    BaseUrl,
    Network,
    Tls,
    Clock,
    Call,
    Organization,
    Models,
    Limits,
    Spend,
    Balance,
    Admin,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    /// A stable word for it, for programs.
    pub id: &'static str,
    pub severity: Severity,
    /// A sentence.
    pub what: String,
    /// What to do about it.
    #[serde(rename = "do")]
    pub todo: Option<String>,
}

// === impl Severity ===

impl Severity {
    /// The word in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// 0: nothing wrong. 1: warnings. 2: errors.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Note => 0,
            Self::Warning => 1,
            Self::Error => 2,
        }
    }
}

// === impl Check ===

impl Check {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Gateway => "gateway",
            Self::Environment => "environment",
            Self::Key => "key",
            Self::BaseUrl => "base_url",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Clock => "clock",
            Self::Call => "call",
            Self::Organization => "organization",
            Self::Models => "models",
            Self::Limits => "limits",
            Self::Spend => "spend",
            Self::Balance => "balance",
            Self::Admin => "admin",
        }
    }
}

// === impl Finding ===

impl Finding {
    pub(super) fn new(
        check: Check,
        severity: Severity,
        id: &'static str,
        what: impl Into<String>,
    ) -> Self {
        Self {
            check,
            id,
            severity,
            what: what.into(),
            todo: None,
        }
    }

    pub(super) fn ok(check: Check, id: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Ok, id, what)
    }

    pub(super) fn note(check: Check, id: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Note, id, what)
    }

    pub(super) fn warning(check: Check, id: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Warning, id, what)
    }

    pub(super) fn error(check: Check, id: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Error, id, what)
    }

    pub(super) fn todo(mut self, what: impl Into<String>) -> Self {
        self.todo = Some(what.into());
        self
    }
}
