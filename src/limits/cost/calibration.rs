//! How our estimates compare with what the provider counts, for the models of one pool.

use serde::{Deserialize, Serialize};

use crate::dialect::openai::{Envelope, Usage};

/// Samples before the factor is believed.
const ENOUGH: u32 = 5;
/// What a new sample weighs, once there are many: a change of the prompts' nature is followed within some dozens.
const WEIGHT: f64 = 0.1;
/// What the provider's own estimate weighs: it is exact, but prompts differ.
const TOLD_WEIGHT: f64 = 0.5;
/// Factors are kept within this. What lies beyond is no property of a tokenizer.
const LEAST: f64 = 0.25;
const MOST: f64 = 4.0;
/// Inputs smaller than this consist of what is added to every prompt.
const TINY: u64 = 32;
/// The longest output that is expected.
const LONGEST: f64 = 1e6;
/// What is expected of an output before any was seen. The reservation is settled at the end; a small one lets the first calls in.
const FIRST: u64 = 256;
/// Counts above this are nobody's: arithmetic stays exact.
const HUGE: f64 = 1e15;

/// What is known of a model's estimates: how they compare with what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    /// Samples of `factor`.
    samples: u32,
    /// Tokens that usage tells, for one of our estimate.
    factor: f64,
    /// The same by the provider's own estimates, as refusals tell them; 0: none was told.
    told: f64,
    /// Samples of `output`.
    outputs: u32,
    /// Tokens of an answer.
    output: f64,
}

// === impl Calibration ===

impl Calibration {
    /// The answer to a call tells what it used.
    pub fn learn(&mut self, envelope: &Envelope, usage: &Usage) {
        if !usage.exact {
            return;
        }
        if usage.output > 0 {
            let sample = (usage.output as f64).min(LONGEST);
            mix(&mut self.output, &mut self.outputs, sample, LONGEST);
        }
        if let Some(ratio) = ratio(envelope, usage.input) {
            mix(&mut self.factor, &mut self.samples, ratio, MOST);
        }
    }

    /// A refusal told that the provider's own estimate was `requested`: of input and declared output together, as those do
    /// that tell it of tokens.
    pub fn learn_requested(&mut self, envelope: &Envelope, requested: u64) {
        let declared = envelope.max_output_tokens.unwrap_or(0);
        let Some(input) = requested.checked_sub(declared) else {
            return;
        };
        // An estimate that is the declared output alone says nothing of the input.
        let Some(ratio) = ratio(envelope, input) else {
            return;
        };
        self.told = if self.is_told() {
            self.told + TOLD_WEIGHT * (ratio - self.told)
        } else {
            ratio
        };
    }

    /// The provider has told what it estimates.
    pub fn is_told(&self) -> bool {
        sound(self.told, MOST) && self.told > 0.0
    }

    /// By what our estimate of an input is to be multiplied.
    pub fn factor(&self) -> f64 {
        if self.is_told() {
            return self.told.clamp(LEAST, MOST);
        }
        if self.samples >= ENOUGH && sound(self.factor, MOST) {
            return self.factor.clamp(LEAST, MOST);
        }
        1.0
    }

    /// The provider's count of a call's input, expected.
    pub fn input(&self, envelope: &Envelope) -> u64 {
        let raw = envelope.estimate_input_tokens();
        let expected = (raw as f64).min(HUGE) * self.factor();
        expected.ceil() as u64
    }

    /// The output of a call, expected: the mean, and not more than is declared.
    pub fn output(&self, declared: Option<u64>) -> u64 {
        let mean = if self.outputs > 0 && sound(self.output, LONGEST) {
            self.output.ceil() as u64
        } else if declared.is_some() {
            FIRST
        } else {
            0
        };
        declared.map_or(mean, |declared| declared.min(mean))
    }
}

/// The provider's count for one of our estimate; `None` where that tells nothing.
fn ratio(envelope: &Envelope, counted: u64) -> Option<f64> {
    let raw = envelope.estimate_input_tokens();
    // What the provider keeps from earlier calls is counted and was not sent.
    if raw < TINY || counted < TINY || envelope.stateful {
        return None;
    }
    Some((counted as f64 / raw as f64).clamp(LEAST, MOST))
}

/// Mixes a sample in: a mean of the first ones, then one that forgets.
fn mix(mean: &mut f64, samples: &mut u32, sample: f64, most: f64) {
    if *samples == 0 || !sound(*mean, most) {
        *samples = 0;
        *mean = 0.0;
    }
    *samples = samples.saturating_add(1);
    let weight = (1.0 / f64::from(*samples)).max(WEIGHT);
    *mean += weight * (sample - *mean);
}

/// Whether a kept number can be one of ours: a file may hold anything.
fn sound(value: f64, most: f64) -> bool {
    value.is_finite() && (0.0..=most).contains(&value)
}
