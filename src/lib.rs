//! weir

pub mod codec;
pub mod dialect;
pub mod json;
pub mod sse;
pub mod triage;
