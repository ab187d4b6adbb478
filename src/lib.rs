//! weir

pub mod dialect;
pub mod json;
