//! weir: a local reverse proxy between apps and LLM APIs.

pub mod call;
pub mod config;
pub mod dialect;
pub mod error;
pub mod json;
pub mod stage;
pub mod triage;
pub mod upstream;
