//! The outcome of every call: metrics, the access log, and the `x-weir-*` headers.
//!
//! Sees every admitted call, hits and refusals too. A stream is booked at its end, not at its start; a call whose
//! caller left before the answer's head is booked when its future is dropped.

mod handles;
mod layer;
mod outcome;
mod recorder;

pub use self::{
    layer::{Record, RecordLayer},
    outcome::Outcome,
    recorder::Recorder,
};
