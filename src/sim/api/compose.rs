//! Decides what an answer says; shared by chat and responses.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::Call;
use crate::sim::{
    schema::Maker,
    text::{Directives, Prose},
};

/// Length of an answer nobody asked a length of.
const DEFAULT_TOKENS: usize = 24;

/// A function the model may call.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) parameters: Value,
}

/// What the caller asks for, whatever the endpoint.
#[derive(Debug, Default)]
pub(crate) struct Brief<'a> {
    /// The last user's text.
    pub(crate) user: Cow<'a, str>,
    pub(crate) directives: Directives,
    /// Empty when none may be called.
    pub(crate) tools: Vec<Tool>,
    /// The one that must be called.
    pub(crate) chosen: Option<String>,
    /// The last message is a tool's result: time to answer in text.
    pub(crate) has_result: bool,
    pub(crate) schema: Option<Value>,
    pub(crate) max_tokens: Option<usize>,
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Text { prose: Prose, cut: bool },
    Calls(Vec<(String, Prose)>),
}

// === impl Brief ===

impl Brief<'_> {
    /// The answer number `place` (for `n` above 1).
    pub(crate) fn answer(&self, call: &Call<'_>, place: u64) -> Answer {
        if !self.tools.is_empty()
            && !self.directives.text
            && (!self.has_result || self.chosen.is_some())
        {
            return Answer::Calls(self.calls(call, place));
        }
        let mut prose = self.prose(call, place);
        let cut = self.max_tokens.is_some_and(|max| prose.truncate(max));
        Answer::Text { prose, cut }
    }

    fn prose(&self, call: &Call<'_>, place: u64) -> Prose {
        let mut dice = call.dice(100 + place);
        let asked = &self.directives;
        if asked.echo {
            let sha = ring::digest::digest(&ring::digest::SHA256, call.body);
            let hex: String = sha
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            return Prose::given(format!(
                "sha256={hex} blake3={} bytes={}",
                blake3::hash(call.body).to_hex(),
                call.body.len()
            ));
        }
        if let Some(words) = &asked.say {
            return Prose::given(words.clone());
        }
        if let Some(schema) = &self.schema {
            return Prose::given(Maker::new(schema, &self.user, dice).make().to_string());
        }
        Prose::filler(
            &mut dice,
            asked.tokens.unwrap_or(DEFAULT_TOKENS).min(1_000_000),
        )
    }

    fn calls(&self, call: &Call<'_>, place: u64) -> Vec<(String, Prose)> {
        let wanted = self.chosen.as_deref().or(self.directives.tool.as_deref());
        // Told by name, or named in the user's text, or simply the first.
        let first = wanted
            .and_then(|name| self.tools.iter().position(|tool| tool.name == name))
            .or_else(|| {
                self.tools
                    .iter()
                    .position(|tool| self.user.contains(&tool.name))
            })
            .unwrap_or(0);
        let count = self.directives.calls.unwrap_or(1).clamp(1, 128);
        (0..count)
            .map(|at| {
                let tool = &self.tools[if wanted.is_some() {
                    first
                } else {
                    (first + at) % self.tools.len()
                }];
                let args = self.directives.args.clone().unwrap_or_else(|| {
                    let dice = call.dice(200 + place * 1_000 + at as u64);
                    Maker::new(&tool.parameters, &self.user, dice)
                        .make()
                        .to_string()
                });
                (tool.name.clone(), Prose::given(args))
            })
            .collect()
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn tokens(&self) -> u64 {
        match self {
            Self::Text { prose, .. } => prose.tokens() as u64,
            Self::Calls(calls) => calls.iter().map(|(_, args)| args.tokens() as u64 + 8).sum(),
        }
    }

    pub(crate) fn finish_reason(&self) -> &'static str {
        match self {
            Self::Text { cut: true, .. } => "length",
            Self::Text { .. } => "stop",
            Self::Calls(_) => "tool_calls",
        }
    }
}

/// The schema of an object nothing is known of.
pub(crate) fn any_object() -> Value {
    json!({"type": "object", "properties": {"answer": {"type": "string"}}})
}
