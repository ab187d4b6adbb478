//! weir

pub mod json;
