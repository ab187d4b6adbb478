//! weir

pub mod cli;
pub mod config;
pub mod triage;
