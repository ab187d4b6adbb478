//! JSON read where it lies: bytes are scanned, no tree is built.
//!
//! The gateway needs a handful of members out of bodies that may be many megabytes, and must pass
//! the bytes on untouched. [`Raw`] is a value's text inside a body; its members and elements are
//! walked lazily and what is not asked for is skipped. [`Cursor`] is the same as a single pass, for
//! what is read a thousand times a second.
//!
//! Edges: the walk checks *structure* (brackets match, strings end, members are `key : value`,
//! separated by commas) and not every scalar, so a body it accepts may still be refused by the
//! provider; a body that is valid JSON is always accepted. Nesting deeper than [`MAX_DEPTH`] is
//! an error. Only [`canonical`] checks everything, because a cache key must not be guessed.

mod canonical;
mod cursor;
mod scan;
mod splice;
mod tail;
mod text;
mod value;

pub use canonical::canonical;
pub use cursor::Cursor;
pub(crate) use scan::skip_string;
pub use splice::{splice, splice_raw};
pub use tail::last_member;
pub use text::{unescape, write_string};
pub use value::{Elements, Kind, Member, Members, Raw};

/// Deepest nesting of arrays and objects that is read; `serde_json` stops at the same.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not (readable) JSON. Trying again cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct Error {
    /// What is wrong.
    pub problem: Problem,
    /// Where, in bytes from the start of the body.
    pub offset: usize,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text ended inside a value.
    #[error("the JSON text ends too early")]
    Truncated,
    /// A byte that cannot stand here.
    #[error("unexpected character")]
    Unexpected,
    /// Something follows the value.
    #[error("something follows the JSON value")]
    Trailing,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested too deep")]
    TooDeep,
    /// An object was needed.
    #[error("a JSON object was expected")]
    NotAnObject,
    /// An array was needed.
    #[error("a JSON array was expected")]
    NotAnArray,
}

impl Problem {
    pub(crate) const fn at(self, offset: usize) -> Error {
        Error {
            problem: self,
            offset,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
