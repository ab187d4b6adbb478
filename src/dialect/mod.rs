//! What providers speak: endpoints, requests, replies, streams. Bytes in, facts out; no HTTP.
//!
//! Within one dialect nothing here ever re-writes a body; it is read where it lies, by scanning.

pub mod endpoint;
pub mod openai;

pub use endpoint::Endpoint;

/// A family of wire formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's, and what all OpenAI-compatible vendors speak.
    #[default]
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
}

impl Dialect {
    /// The name in config files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }
}
