//! weir

pub mod triage;
