//! weir
pub mod cli;
pub mod sim;
