//! weir: a local reverse proxy between apps and LLM APIs.

pub mod call;
pub mod codec;
pub mod config;
pub mod dialect;
pub mod error;
pub mod json;
pub mod models;
pub mod sse;
pub mod stage;
pub mod telemetry;
pub mod triage;
pub mod upstream;
