//! A provider: how to talk to a vendor's API and how to read its failures. All of it is data from one TOML file.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::limiting::Limiting;
use super::preset::Rules;

/// The request and reply format an API speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's chat completions, responses, and so on.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Google's generateContent.
    Gemini,
}

/// When a day limit is full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayReset {
    /// It refills steadily: the told wait is the true one.
    #[default]
    Refill,
    /// At 00:00 UTC.
    UtcMidnight,
    /// At midnight in California, taken as 08:00 UTC: in summer one hour late, never early.
    PacificMidnight,
}

/// How the key is presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Header that carries the key.
    pub header: HeaderName,
    /// Word before the key, as in `Bearer`.
    pub scheme: Option<String>,
}

/// A vendor's API: dialect, address, credentials, header names and failure rules.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Name used in the configuration.
    pub name: Arc<str>,
    /// Name for humans.
    pub title: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// Address of the API, with its version path. `None`: the user has to give one.
    pub base_url: Option<String>,
    /// Environment variable that usually holds the key.
    pub key_variable: Option<String>,
    /// How the key is presented.
    pub auth: Auth,
    /// Response headers that carry the request id, best first.
    pub request_id_headers: Vec<HeaderName>,
    /// Request header that names the organisation, if there is one.
    pub organization_header: Option<HeaderName>,
    /// Request header that names the project, if there is one.
    pub project_header: Option<HeaderName>,
    /// Response header that names the organisation billed.
    pub organization_seen_header: Option<HeaderName>,
    /// Response header that names the project used.
    pub project_seen_header: Option<HeaderName>,
    /// Headers every request needs, unless the caller sent them.
    pub send_headers: Vec<(HeaderName, HeaderValue)>,
    /// Hosts that are the vendor's own; `*.` stands for any subdomain.
    pub hosts: Vec<String>,
    /// Runs on the user's machines and needs no key.
    pub local: bool,
    /// On its own hosts, the word "quota" in a 429 means an empty account even beside a short wait.
    pub quota_words_are_final: bool,
    /// When day limits are full again.
    pub day_reset: DayReset,
    /// How it limits.
    pub limiting: Limiting,
    /// Failure rules, in the order in which they are asked.
    pub(super) rules: Vec<Rules>,
    /// Is `base_url` on a host of the vendor's own?
    pub(super) at_home: bool,
}

/// Host part of a URL, without user, port and path.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

impl Provider {
    /// Is this host (without port) one of the vendor's own?
    pub fn owns_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.hosts.iter().any(|own| match own.strip_prefix("*.") {
            Some(parent) => host
                .strip_suffix(parent)
                .is_some_and(|sub| sub.ends_with('.')),
            None => *own == host,
        })
    }

    /// The same provider at another address, as when the user sets `base_url`. Away from the vendor's own hosts its
    /// words are believed less: something else may stand there that only speaks its dialect.
    #[must_use]
    pub fn at(&self, base_url: &str) -> Self {
        let mut moved = self.clone();
        moved.base_url = Some(base_url.to_owned());
        moved.at_home = moved.owns_host(host_of(base_url));
        moved
    }

    /// Is the address in use on a host of the vendor's own?
    pub fn is_at_home(&self) -> bool {
        self.at_home
    }

    /// Recomputes what follows from the address.
    pub(super) fn settled(mut self) -> Self {
        self.at_home = self
            .base_url
            .as_deref()
            .is_some_and(|url| self.owns_host(host_of(url)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_is_found_in_any_url() {
        assert_eq!(host_of("https://api.openai.com/v1"), "api.openai.com");
        assert_eq!(host_of("http://user:pw@127.0.0.1:8080/x@y"), "127.0.0.1");
        assert_eq!(host_of("http://[::1]:11434/v1"), "::1");
        assert_eq!(
            host_of("api.openai.com.evil.example/v1"),
            "api.openai.com.evil.example"
        );
    }
}
