//! One file per subcommand.

pub mod check;
pub mod config;
pub mod keys;
