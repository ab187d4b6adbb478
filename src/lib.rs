//! weir: a local reverse proxy between apps and LLM APIs.

pub mod codec;
pub mod config;
pub mod dialect;
pub mod error;
pub mod json;
pub mod models;
pub mod sim;
pub mod sse;
pub mod triage;
