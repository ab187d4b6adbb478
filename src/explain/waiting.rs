//! Whether waiting, repeating or another target helps, in a sentence.

use std::borrow::Cow;
use std::time::Duration;

use super::Answer;
use crate::triage::{Class, Helps, Verdict};

impl Answer {
    fn new(helps: Helps, text: String) -> Self {
        Self {
            helps: Cow::Borrowed(helps.as_str()),
            text,
        }
    }
}

pub(super) fn waiting(verdict: &Verdict) -> Answer {
    let told = verdict.wait.map(|wait| format!(" Told: {}.", long(wait)));
    let told = told.unwrap_or_default();
    let text = match (verdict.waiting_helps, verdict.class) {
        (Helps::No, class) if class.is_billing() => {
            "No. It ends when somebody acts at the provider, not by time.".to_owned()
        }
        (Helps::No, _) => "No. The same request fails the same way later.".to_owned(),
        (Helps::Partly, Class::RateLimitedDay) => {
            format!("Only for long: until the day's reset.{told}")
        }
        (Helps::Partly, _) => format!("Sometimes, or only after long.{told}"),
        (Helps::Yes, _) if told.is_empty() => {
            "Yes, usually seconds to a few minutes. No wait was told.".to_owned()
        }
        (Helps::Yes, _) => format!("Yes.{told}"),
    };
    Answer::new(verdict.waiting_helps, text)
}

pub(super) fn repeating(verdict: &Verdict) -> Answer {
    let text = match (verdict.retry_same, verdict.wait) {
        (Helps::No, _) => {
            "No. Turn automatic retries off for it; they only make it slower.".to_owned()
        }
        (Helps::Partly, _) => "Once or twice at most; each may be charged.".to_owned(),
        (Helps::Yes, Some(wait)) => format!(
            "Yes, after {}, with a little jitter; not before.",
            long(wait)
        ),
        (Helps::Yes, None) => {
            "Yes, with a pause that doubles, a little jitter, and an end.".to_owned()
        }
    };
    Answer::new(verdict.retry_same, text)
}

pub(super) fn elsewhere(verdict: &Verdict) -> Answer {
    use crate::triage::Scope;
    let text = match (verdict.fallback_helps, verdict.scope) {
        (Helps::No, _) => "No. It would fail there too, or is not for another to answer.",
        (Helps::Partly, _) => "Only a target that differs in the point at issue.",
        (Helps::Yes, Scope::Organization | Scope::Account) => {
            "Yes: another organization's key, or another provider. Another key or model of this one does not help."
        }
        (Helps::Yes, Scope::Project) => "Yes: another project's key, or another provider.",
        (Helps::Yes, Scope::Provider) => "Yes: another provider, or another way to this one.",
        (Helps::Yes, Scope::Key) => "Yes: another key, or another provider.",
        (Helps::Yes, _) => "Yes: another model or another provider.",
    };
    Answer::new(verdict.fallback_helps, text.to_owned())
}

/// As people say it.
pub(super) fn long(wait: Duration) -> String {
    let rounded = match wait.as_secs() {
        0 => Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or_default().max(1)),
        1..60 => Duration::from_millis(
            u64::try_from(wait.as_millis().div_ceil(100)).unwrap_or_default() * 100,
        ),
        _ => Duration::from_secs(wait.as_secs()),
    };
    humantime::format_duration(rounded).to_string()
}
