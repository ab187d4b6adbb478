//! The default file, as it is shipped.

/// `config/default.toml`: every key with its meaning and default. Made from the key table; a test
/// keeps them in step.
pub const DEFAULT_FILE: &str = include_str!("../../config/default.toml");
