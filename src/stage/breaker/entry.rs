//! A circuit together with its story: what opened it, as callers, alerts and operators are told.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    CircuitOpen,
    circuit::{Circuit, Outcome, Pace, State, Ticket},
    status::{CircuitStatus, Transition, request_id},
};
use crate::{
    call::Target,
    config,
    error::Failure,
    triage::{Class, Scope},
};

/// A failure as circuits hear of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct News<'a> {
    pub(super) target: &'a Arc<Target>,
    pub(super) class: Class,
    /// Missing for a stream that broke after it had begun.
    pub(super) failure: Option<&'a Arc<Failure>>,
}

/// Who asks to be let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) target: &'a Arc<Target>,
    /// How long it could wait for its turn; `None` when another target can take it.
    pub(super) patience: Option<Duration>,
}

/// A circuit and its story.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) circuit: Circuit,
    scope: Scope,
    /// Of a gate; a target's circuit is named by the target.
    name: Option<Arc<str>>,
    story: Option<Story>,
    /// When it left the closed state, by the clock on the wall.
    opened: SystemTime,
    /// Attempts refused since then.
    refused: u64,
    pub(super) used: Instant,
}

#[derive(Debug)]
struct Story {
    /// Where it began; what is counted under its upstream at the opening is counted there at the closing.
    target: Arc<Target>,
    class: Class,
    first: Option<Arc<Failure>>,
    last: Option<Arc<Failure>>,
}

// === impl Entry ===

impl Entry {
    /// A closed circuit; `name` tells gates apart.
    pub(super) fn new(
        now: Instant,
        rules: &config::Breaker,
        scope: Scope,
        name: Option<Arc<str>>,
    ) -> Self {
        Self {
            circuit: Circuit::new(now, rules),
            scope,
            name,
            story: None,
            opened: SystemTime::UNIX_EPOCH,
            refused: 0,
            used: now,
        }
    }

    /// Tells its tickets from those of another circuit of the same name, before and after it.
    pub(super) fn numbered(mut self, number: u32) -> Self {
        self.circuit.begin_at_epoch(number << 16);
        self
    }

    /// Whether an attempt would be let through; takes nothing. See [`Asking::patience`].
    pub(super) fn is_open_to(&self, now: Instant, asking: Asking<'_>) -> bool {
        self.circuit.peek(now).is_ok() || self.spares(now, asking)
    }

    /// Lets an attempt through, or says why not.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        asking: Asking<'_>,
    ) -> (Result<Ticket, CircuitOpen>, Option<Transition>) {
        self.used = now;
        let from = self.circuit.state();
        let admitted = match self.circuit.admit(now) {
            Err(_) if self.spares(now, asking) => Ok(self.circuit.pass()),
            Err(retry_after) => {
                self.refused += 1;
                Err(self.refusal(now, asking.target, retry_after))
            }
            Ok(ticket) => Ok(ticket),
        };
        (admitted, self.changed(from))
    }

    fn spares(&self, now: Instant, asking: Asking<'_>) -> bool {
        asking
            .patience
            .is_some_and(|patience| self.circuit.spares(now, patience))
    }

    /// Why `target` is refused.
    fn refusal(&self, now: Instant, target: &Arc<Target>, retry_after: Duration) -> CircuitOpen {
        CircuitOpen {
            target: Arc::clone(target),
            scope: self.scope,
            class: self
                .story
                .as_ref()
                .map_or(Class::Unknown, |story| story.class),
            retry_after,
            hold: self.circuit.hold(now),
            last: self.story.as_ref().and_then(|story| story.last.clone()),
        }
    }

    /// Takes an outcome in; `news` comes with failures.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        ticket: Ticket,
        outcome: Outcome,
        news: Option<News<'_>>,
        rules: &config::Breaker,
    ) -> Option<Transition> {
        let from = self.circuit.state();
        if let Some(news) = news
            && matches!(outcome, Outcome::Failure | Outcome::Fatal { .. })
            && self.circuit.is_current(ticket)
        {
            self.tell(
                news,
                from == State::Closed && matches!(outcome, Outcome::Fatal { .. }),
            );
        }
        self.circuit
            .settle(now, ticket, outcome, rules, fastrand::f64());
        self.changed(from)
    }

    /// A fatal failure of an attempt without a ticket of this circuit; it `began` then.
    pub(super) fn hear_of(
        &mut self,
        now: Instant,
        began: Instant,
        (pace, told): (Pace, Option<Duration>),
        news: News<'_>,
    ) -> Option<Transition> {
        let from = self.circuit.state();
        self.circuit
            .hear_of(now, began, pace, told, fastrand::f64());
        let opened = self.circuit.state() != from;
        if opened
            || self
                .story
                .as_ref()
                .is_some_and(|story| story.class == news.class)
        {
            self.tell(news, from == State::Closed);
        }
        self.changed(from)
    }

    /// Ends a recovery whose time is over.
    pub(super) fn refresh(&mut self, now: Instant) -> Option<Transition> {
        let from = self.circuit.state();
        self.circuit.refresh(now);
        self.changed(from)
    }

    /// It is forgotten: what was counted as open is no more.
    pub(super) fn forgotten(&self) -> Option<Transition> {
        let from = self.circuit.state();
        let story = self.story.as_ref().filter(|_| from != State::Closed)?;
        Some(self.transition(story, from, State::Closed))
    }

    /// The upstream at which it opened.
    pub(super) fn upstream(&self) -> Option<&str> {
        self.story
            .as_ref()
            .map(|story| &*story.target.upstream.name)
    }

    /// For operators; none when it is closed.
    pub(super) fn status(&self, now: Instant) -> Option<CircuitStatus> {
        let story = self.story.as_ref()?;
        let state = self.circuit.state();
        (state != State::Closed).then(|| CircuitStatus {
            upstream: Arc::clone(&story.target.upstream.name),
            scope: self.scope,
            key: self.key(&story.target),
            state,
            class: story.class,
            since: humantime::format_rfc3339_seconds(self.opened).to_string(),
            opened: self.opened,
            since_seconds: now
                .saturating_duration_since(self.circuit.since())
                .as_secs_f64(),
            next_probe_seconds: self.circuit.next_probe(now).map(|wait| wait.as_secs_f64()),
            first_request_id: request_id(story.first.as_ref()).map(str::to_owned),
            last_request_id: request_id(story.last.as_ref()).map(str::to_owned),
            refused: self.refused,
            rule: story
                .last
                .as_ref()
                .map(|failure| Arc::clone(&failure.verdict.rule)),
            advice: story
                .last
                .as_ref()
                .map(|failure| failure.verdict.advice.to_string()),
        })
    }

    fn key(&self, target: &Target) -> Arc<str> {
        Arc::clone(self.name.as_ref().unwrap_or(&target.label))
    }

    /// Goes on with the story, or begins a new one.
    fn tell(&mut self, news: News<'_>, anew: bool) {
        if anew {
            self.story = None;
        }
        let story = self.story.get_or_insert_with(|| Story {
            target: Arc::clone(news.target),
            class: news.class,
            first: news.failure.cloned(),
            last: None,
        });
        // A stream that broke has no words of the provider's: those of the failure before it stay, with their class.
        if news.failure.is_some() || story.last.is_none() {
            story.class = news.class;
            story.last = news.failure.cloned();
        }
    }

    /// What there is to tell after a change; a closed, healthy circuit has no story.
    fn changed(&mut self, from: State) -> Option<Transition> {
        let to = self.circuit.state();
        if from == State::Closed && to != State::Closed {
            (self.opened, self.refused) = (SystemTime::now(), 0);
        }
        let story = self.story.as_ref()?;
        let transition = (from != to).then(|| self.transition(story, from, to));
        if self.circuit.is_spotless() {
            self.story = None;
        }
        transition
    }

    fn transition(&self, story: &Story, from: State, to: State) -> Transition {
        Transition {
            target: Arc::clone(&story.target),
            scope: self.scope,
            key: self.key(&story.target),
            from,
            to,
            class: story.class,
            first: story.first.clone(),
            last: story.last.clone(),
            refused: self.refused,
        }
    }
}
