//! What a call takes of each bucket: before it is sent by the provider's own way to estimate, afterwards by what was used.

use super::Kind;
use crate::{dialect::openai::Envelope, dialect::openai::Usage, triage::Provider};

/// Amounts of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Mostly 1.
    pub requests: u64,
    /// Of buckets that count input and output together.
    pub tokens: u64,
    pub input: u64,
    pub output: u64,
    pub images: u64,
}

/// What is known of a model's estimates: how they compare with what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Calibration {}

// === impl Cost ===

impl Cost {
    /// Reserved before the call is sent.
    pub fn reserve(provider: &Provider, envelope: &Envelope, calibration: &Calibration) -> Self {
        let _ = (provider, calibration);
        Self {
            requests: 1,
            tokens: envelope.estimate_tokens(),
            input: envelope.estimate_input_tokens(),
            output: envelope.max_output_tokens.unwrap_or(0),
            images: 0,
        }
    }

    /// What the call took in the end; `reserved` where nothing better is known.
    #[must_use]
    pub fn settled(self, provider: &Provider, usage: &Usage) -> Self {
        let _ = provider;
        Self {
            tokens: usage.total(),
            input: usage.input,
            output: usage.output,
            ..self
        }
    }

    /// What it takes of a bucket of this kind.
    pub const fn of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Requests | Kind::ProjectRequests | Kind::RequestsPerDay => self.requests,
            Kind::Tokens | Kind::ProjectTokens | Kind::TokensPerDay | Kind::TokensPerMonth => {
                self.tokens
            }
            Kind::InputTokens => self.input,
            Kind::OutputTokens => self.output,
            Kind::Images => self.images,
            Kind::Concurrency => 0,
        }
    }
}

// === impl Calibration ===

impl Calibration {
    /// The input of a call was estimated at `estimated` tokens (without calibration); `usage` was told.
    pub fn learn(&mut self, envelope: &Envelope, usage: &Usage) {
        let _ = (envelope, usage);
    }

    /// A refusal told that the provider's own estimate was `requested`.
    pub fn learn_requested(&mut self, envelope: &Envelope, requested: u64) {
        let _ = (envelope, requested);
    }
}
