//! Explanations of calls of this gateway, from its book of recent failures.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Explanation, Header, Judged, Shown, Told, Whose,
    evidence::{short, time},
};
use crate::{
    failures::{Case, Failed},
    triage::{self, Class, Confidence, Helps, Scope, Verdict},
};

/// What became of the call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallTold {
    /// weir's id.
    pub id: String,
    /// RFC 3339, UTC.
    pub at: String,
    pub path: String,
    pub model: Option<String>,
    /// Where this attempt went.
    pub upstream: String,
    /// This attempt, of how many that failed.
    pub attempt: usize,
    pub failed_attempts: usize,
    pub outcome: Option<String>,
    /// The status that the caller got.
    pub status: Option<u16>,
    /// Who answered in the end.
    pub answered_by: Option<String>,
    /// It was refused by a circuit that this failure had opened.
    pub by_open_circuit: bool,
}

impl Told {
    /// A call of this gateway: its different failures, in order.
    pub fn of_case(case: &Case) -> Self {
        let circuit = case
            .conclusion
            .as_ref()
            .and_then(|end| end.circuit.as_deref());
        let all = case.failures.iter().map(|failed| (failed, false));
        let mut explanations: Vec<Explanation> = Vec::new();
        let mut more = 0;
        for (nth, (failed, by_circuit)) in
            all.chain(circuit.map(|failed| (failed, true))).enumerate()
        {
            let same = |other: &Explanation| {
                other.class == failed.class
                    && other
                        .call
                        .as_ref()
                        .is_some_and(|call| call.upstream == failed.upstream)
            };
            if explanations.len() >= super::MOST || explanations.iter().any(same) {
                more += 1;
                continue;
            }
            let mut told = Explanation::of_failed(failed);
            told.call = Some(CallTold::of(case, failed, nth + 1, by_circuit));
            explanations.push(told);
        }
        Self {
            recognized: !explanations.is_empty(),
            explanations,
            more,
            needed: Vec::new(),
            request_id: Some(case.id.clone()),
        }
    }
}

impl CallTold {
    fn of(case: &Case, failed: &Failed, attempt: usize, by_open_circuit: bool) -> Self {
        let end = case.conclusion.as_ref();
        Self {
            id: case.id.clone(),
            at: time(failed.at),
            path: case.path.clone(),
            model: case.model.clone(),
            upstream: failed.upstream.clone(),
            attempt,
            failed_attempts: case.failures.len(),
            outcome: end.map(|end| end.outcome.clone()),
            status: end.map(|end| end.status),
            answered_by: end.and_then(|end| end.answered_by.clone()),
            by_open_circuit,
        }
    }
}

impl Explanation {
    /// Of one failed attempt in the book.
    pub fn of_failed(failed: &Failed) -> Self {
        let verdict = verdict(failed);
        let mut shown = Shown::of_verdict(&verdict);
        shown.status = failed.status;
        shown.message = Some(short(&failed.what, 400)).filter(|what| !what.is_empty());
        shown.headers = failed
            .headers
            .iter()
            .map(|(name, value)| Header {
                name: name.clone(),
                value: short(value, 120),
            })
            .collect();
        let title = triage::preset(&failed.provider).map_or_else(
            || failed.provider.clone(),
            |provider| provider.title.clone(),
        );
        let whose = Whose {
            name: failed.provider.clone(),
            title,
            known_by: "told".into(),
        };
        Self::of(Judged { verdict, whose }, shown)
    }
}

/// The verdict as it was, but for the provider's words, which the book does not keep.
fn verdict(failed: &Failed) -> Verdict {
    let helps = |word: &str| word.parse().unwrap_or(Helps::Partly);
    Verdict {
        class: failed.class.parse().unwrap_or(Class::Unknown),
        scope: failed.scope.parse().unwrap_or(Scope::Request),
        wait: failed
            .wait_seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        told_limit: None,
        reset_at: None,
        retry_same: helps(&failed.retry_same),
        waiting_helps: helps(&failed.waiting_helps),
        fallback_helps: helps(&failed.fallback_helps),
        advice: failed.advice.clone().into(),
        rule: Arc::from(failed.rule.as_str()),
        confidence: match failed.confidence.as_str() {
            "certain" => Confidence::Certain,
            "likely" => Confidence::Likely,
            _ => Confidence::Guess,
        },
        provider_message: None,
        code: failed.code.clone(),
        kind: failed.kind.clone(),
        organization: failed.organization.clone(),
        project: failed.project.clone(),
        request_id: failed.provider_request_id.clone(),
    }
}
