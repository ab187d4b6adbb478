//! The right of one attempt to go on, settled when its outcome is known.
//!
//! A value, not a pair of calls: whatever drops it (a cancelled future, a body that nobody reads) settles it as neutral,
//! so that a half-open circuit never loses its only probe.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::{
    circuit::{Outcome, Ticket},
    circuits::{Circuits, GateTickets},
    effect::effect,
    entry::News,
    members::Caller,
};
use crate::{
    call::{End, How, Reply, Target, Watch},
    error::{Error, Failure},
    triage::Class,
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Permit {
    circuits: Arc<Circuits>,
    target: Arc<Target>,
    caller: Caller,
    began: Instant,
    ticket: Ticket,
    gates: GateTickets,
    settled: bool,
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(
        circuits: Arc<Circuits>,
        target: Arc<Target>,
        caller: Caller,
        began: Instant,
        ticket: Ticket,
        gates: GateTickets,
    ) -> Self {
        Self {
            circuits,
            target,
            caller,
            began,
            ticket,
            gates,
            settled: false,
        }
    }

    /// The attempt was answered. A whole answer is a success now, a stream at its end.
    pub fn answered(self, reply: &mut Reply) {
        self.learn(&reply.headers);
        if reply.body.is_stream() && (self.ticket.is_probe() || !self.gates.is_empty()) {
            let now = Instant::now();
            self.circuits
                .settle_target(now, &self.target, self.ticket, Outcome::Begun, None);
            self.circuits
                .settle_gates(now, &self.gates, Outcome::Begun, None);
        }
        let usage = reply.learnt.usage;
        reply.body.on_end(self, usage);
    }

    /// The attempt failed.
    pub fn failed(mut self, error: &Error) {
        match error {
            Error::Upstream(failure) => self.judge(failure.verdict.class, Some(failure)),
            // The caller's deadline passed; a long silence is still the provider's.
            Error::Deadline(passed) => match &passed.silence {
                Some(silence) => self.judge(silence.verdict.class, Some(silence)),
                None => self.settle(Outcome::Neutral),
            },
            // Refused by our own limit.
            Error::Limit(_) => self.settle(Outcome::Untouched),
            _ => self.settle(Outcome::Neutral),
        }
    }

    /// Whether it probes its target, and any gate.
    #[cfg(test)]
    pub(super) fn probes(&self) -> (bool, bool) {
        let gates = self.gates.iter().any(|(_, ticket)| ticket.is_probe());
        (self.ticket.is_probe(), gates)
    }

    fn judge(&mut self, class: Class, failure: Option<&Arc<Failure>>) {
        if self.settled {
            return;
        }
        self.settled = true;
        let now = Instant::now();
        if let Some(failure) = failure {
            let verdict = &failure.verdict;
            let (organization, project) =
                (verdict.organization.as_deref(), verdict.project.as_deref());
            self.circuits
                .members()
                .learn(&self.target, self.caller, organization, project);
        }
        let news = News {
            target: &self.target,
            class,
            failure,
        };
        let effect = effect(
            class,
            failure.map(|f| &**f),
            &self.target,
            &self.circuits.rules(),
        );
        self.circuits
            .settle_target(now, &self.target, self.ticket, effect.target, Some(news));
        self.circuits
            .settle_gates(now, &self.gates, effect.gates, Some(news));
        if let Some(opens) = effect.opens {
            self.circuits
                .open_gate(now, self.began, self.caller, opens, news, &self.gates);
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if self.settled {
            return;
        }
        self.settled = true;
        let now = Instant::now();
        self.circuits
            .settle_target(now, &self.target, self.ticket, outcome, None);
        self.circuits.settle_gates(now, &self.gates, outcome, None);
    }

    fn learn(&self, headers: &HeaderMap) {
        let provider = &self.target.upstream.provider;
        let read = |name: &Option<HeaderName>| {
            name.as_ref()
                .and_then(|name| headers.get(name)?.to_str().ok())
        };
        let (organization, project) = (
            read(&provider.organization_seen_header),
            read(&provider.project_seen_header),
        );
        if organization.is_some() || project.is_some() {
            self.circuits
                .members()
                .learn(&self.target, self.caller, organization, project);
        }
    }
}

impl Watch for Permit {
    fn end(&mut self, end: &End) {
        match end.how {
            How::Complete => self.settle(Outcome::Success),
            How::Broken(class) => self.judge(class, None),
            How::CallerLeft => self.settle(Outcome::Neutral),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.settle(Outcome::Neutral);
    }
}
