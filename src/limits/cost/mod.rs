//! What a call takes of each bucket: before it is sent by the provider's own way to estimate, afterwards by what was used.

mod calibration;

#[cfg(test)]
mod tests;

use super::Kind;
use crate::{
    dialect::{
        Endpoint,
        openai::{Envelope, Usage},
    },
    triage::{Charged, Limiting, Provider},
};

pub use self::calibration::Calibration;

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
    /// Of `tokens`, what the provider will count to the token: declared output, and all of them where it has told its own estimates.
    pub certain: u64,
}

// === impl Cost ===

impl Cost {
    /// Reserved before the call is sent.
    pub fn reserve(provider: &Provider, envelope: &Envelope, calibration: &Calibration) -> Self {
        let limiting = &provider.limiting;
        let mut cost = Self {
            requests: 1,
            ..Self::default()
        };
        let generates = match envelope.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Responses => true,
            Endpoint::ImagesGenerations | Endpoint::ImagesEdits => {
                cost.images = u64::from(envelope.choices);
                false
            }
            Endpoint::Embeddings | Endpoint::AudioSpeech => false,
            // Listings, files, sessions and the like: no tokens are counted that could be known beforehand.
            _ => return cost,
        };
        if limiting.charged == Charged::Request {
            return cost;
        }
        cost.input = calibration.input(envelope);
        if generates && counts_output(limiting) {
            cost.output = output(limiting, envelope, calibration);
        }
        cost.tokens = cost.input.saturating_add(cost.output);
        cost.certain = match envelope.max_output_tokens {
            _ if calibration.is_told() => cost.tokens,
            Some(declared) if !limiting.output_as_produced => declared.min(cost.output),
            _ => 0,
        };
        cost
    }

    /// What the call took in the end; `reserved` where nothing better is known. Requests and images stay: they were made.
    #[must_use]
    pub fn settled(self, provider: &Provider, usage: &Usage) -> Self {
        let limiting = &provider.limiting;
        let input = if limiting.cached_input_is_free {
            usage.input.saturating_sub(usage.cached_input)
        } else {
            usage.input
        };
        let output = if counts_output(limiting) {
            usage.output
        } else {
            0
        };
        Self {
            tokens: input.saturating_add(output),
            input,
            output,
            ..self
        }
    }

    /// Of that, what is no estimate of ours.
    pub const fn certain(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Tokens | Kind::ProjectTokens | Kind::TokensPerDay | Kind::TokensPerMonth => {
                self.certain
            }
            Kind::InputTokens => self.certain.saturating_sub(self.output),
            Kind::OutputTokens => {
                if self.certain < self.output {
                    self.certain
                } else {
                    self.output
                }
            }
            // Nobody estimates these.
            _ => self.of(kind),
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

/// Where only input is charged and output is not judged either, it takes nothing.
fn counts_output(limiting: &Limiting) -> bool {
    limiting.charged != Charged::Input || limiting.output_as_produced
}

/// The output to reserve, for all choices together.
fn output(limiting: &Limiting, envelope: &Envelope, calibration: &Calibration) -> u64 {
    let declared = envelope.max_output_tokens;
    if limiting.output_as_produced {
        return calibration.output(declared);
    }
    match (declared, limiting.charged) {
        (Some(declared), _) => declared,
        // What is not declared is not charged ahead.
        (None, Charged::InputAndOutput) => 0,
        (None, _) => calibration.output(None),
    }
}
