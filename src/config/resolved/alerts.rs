//! Where alerts go, and which: `[alerts]`.

use std::{fmt, sync::Arc, time::Duration};

use http::Uri;

/// What is posted to the webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertFormat {
    /// The event.
    Json,
    /// A message for people.
    Slack,
}

/// Why an alert is sent, in groups that one team or another cares for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertTopic {
    /// Money and accounts.
    Billing,
    /// Keys, permissions, allow-lists.
    Credentials,
    /// Day-like limits.
    Limits,
    /// A model that is not there.
    Models,
    /// Overloads, errors, timeouts, lost connections.
    Trouble,
    /// What outage detection has found.
    Outages,
}

/// A webhook's address. Its path or query is a credential: only the host is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook(Uri);

/// `[alerts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    pub webhook: Webhook,
    pub format: AlertFormat,
    /// The key of the signature, decoded.
    pub secret: Option<AlertKey>,
    /// Which causes are told. Default: all.
    pub on: Vec<AlertTopic>,
    /// A circuit that opens again within this time has flapped. Default 10 s.
    pub hold: Duration,
    /// For one delivery. Default 10 s.
    pub timeout: Duration,
    /// How long the delivery of one alert is tried again. Default 15 min.
    pub give_up_after: Duration,
}

/// The key that alerts are signed with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AlertKey(Arc<[u8]>);

// === impl AlertTopic ===

impl AlertTopic {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 6] = [
        Self::Billing,
        Self::Credentials,
        Self::Limits,
        Self::Models,
        Self::Trouble,
        Self::Outages,
    ];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Billing => "billing",
            Self::Credentials => "credentials",
            Self::Limits => "limits",
            Self::Models => "models",
            Self::Trouble => "trouble",
            Self::Outages => "outages",
        }
    }
}

// === impl AlertFormat ===

impl AlertFormat {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }
}

// === impl Webhook ===

impl Webhook {
    /// An address with scheme and host.
    pub fn new(url: Uri) -> Self {
        Self(url)
    }

    /// The address itself; only for the request that goes there.
    pub fn expose(&self) -> &Uri {
        &self.0
    }

    /// What may be shown of it.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/***", self.host())
    }
}

// === impl AlertKey ===

impl AlertKey {
    /// Takes the bytes that sign.
    pub fn new(key: impl Into<Arc<[u8]>>) -> Self {
        Self(key.into())
    }

    /// The bytes themselves; only to sign with.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
