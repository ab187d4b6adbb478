//! weir: a local reverse proxy between apps and LLM APIs.

pub mod admin;
pub mod app;
pub mod call;
pub mod cli;
pub mod codec;
pub mod config;
pub mod dialect;
pub mod error;
pub mod json;
pub mod models;
pub mod sim;
pub mod sse;
pub mod stack;
pub mod stage;
pub mod telemetry;
pub mod triage;
pub mod upstream;
