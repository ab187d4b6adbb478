//! What `weir doctor` hands back; its JSON is a contract (docs/doctor.md).

use serde::Serialize;
use serde_json::{Value, json};

use super::{Finding, Severity, key::Source, limits::LimitSeen};

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The file; `None`: built-in defaults.
    pub config: Option<String>,
    /// Of this machine and the configuration as a whole.
    pub findings: Vec<Finding>,
    /// In the order of the file.
    pub upstreams: Vec<UpstreamReport>,
}

/// What was found of one upstream.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamReport {
    pub name: String,
    /// The preset's name.
    pub provider: String,
    /// Name for people.
    #[serde(skip)]
    pub title: String,
    pub base_url: String,
    pub key: KeyReport,
    /// Whom the key's calls are billed to, as the provider says.
    pub organization: Option<String>,
    pub project: Option<String>,
    pub facts: Facts,
    pub findings: Vec<Finding>,
}

/// The key, without the key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    /// `variable`, `file`, `caller`, `none`.
    pub source: &'static str,
    /// The variable's name.
    pub variable: Option<String>,
    /// As its beginning tells.
    pub kind: Option<String>,
    pub fingerprint: Option<String>,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// Address that was connected to.
    pub address: Option<String>,
    pub resolve_ms: Option<f64>,
    pub connect_ms: Option<f64>,
    pub tls_ms: Option<f64>,
    pub answer_ms: Option<f64>,
    pub tls_version: Option<&'static str>,
    pub certificate_issuer: Option<String>,
    /// RFC 3339, UTC.
    pub certificate_until: Option<String>,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub http_version: Option<String>,
    /// This machine's clock minus the provider's.
    pub clock_skew_seconds: Option<i64>,
    /// Status of the free call.
    pub status: Option<u16>,
    /// The provider's id of the free call.
    pub request_id: Option<String>,
    /// Models on the provider's list.
    pub models: Option<usize>,
    pub limits: Vec<LimitSeen>,
}

// === impl Report ===

impl Report {
    /// The worst finding of all.
    pub fn worst(&self) -> Severity {
        self.all()
            .map(|(_, finding)| finding.severity)
            .max()
            .unwrap_or_default()
    }

    /// Every finding, with its upstream's name.
    pub fn all(&self) -> impl Iterator<Item = (Option<&str>, &Finding)> {
        let of_upstreams = self.upstreams.iter().flat_map(|upstream| {
            let name = Some(upstream.name.as_str());
            upstream.findings.iter().map(move |finding| (name, finding))
        });
        self.findings
            .iter()
            .map(|finding| (None, finding))
            .chain(of_upstreams)
    }

    /// How many findings are that bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.all()
            .filter(|(_, finding)| finding.severity == severity)
            .count()
    }

    /// For `--json`.
    pub fn to_json(&self) -> Value {
        json!({
            "worst": self.worst(),
            "exit_code": self.worst().exit_code(),
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "config": self.config,
            "findings": self.findings,
            "upstreams": self.upstreams,
        })
    }
}

// === impl KeyReport ===

impl KeyReport {
    pub(super) fn of(source: &Source, key: Option<&str>) -> Self {
        let (word, variable) = match source {
            Source::Variable(name) => ("variable", Some(name.clone())),
            Source::File(_) => ("file", None),
            Source::Caller { examined } => ("caller", examined.clone()),
            Source::None => ("none", None),
        };
        Self {
            source: word,
            variable,
            kind: key.and_then(super::key::kind_name),
            fingerprint: key.map(|key| crate::call::Fingerprint::of(key.as_bytes()).to_string()),
        }
    }
}
