//! Event streams (`text/event-stream`) as the WHATWG standard has them; no HTTP, no provider.
//!
//! Two ways of reading, over one parser:
//!
//! - [`Inspector`] looks on while chunks pass by untouched: events lie in the chunk itself, only
//!   an unfinished tail is carried over. For streams already handed on to the caller.
//! - [`Decoder`] takes chunks and gives events that own their bytes. For streams held back before
//!   the commit point, and for the cache.
//!
//! Every byte belongs to exactly one event's raw extent or to the unfinished tail. Line ends may
//! be LF, CRLF or CR. An event is given out as soon as its empty line is seen: when that line
//! ends in CR and the LF comes with a later chunk, the LF counts to the next event's extent.

mod decoder;
mod encode;
mod inspector;
mod parse;

pub use decoder::{Decoder, Event};
pub use encode::{DONE, comment, data, named};
pub use inspector::Inspector;
pub use parse::{EventRef, Kind};

/// Largest event that is read: a `response.completed` repeats the whole answer, images included.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// An event is larger than the bound. The stream is not worth following any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream event is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// The bound, in bytes.
    pub limit: usize,
}

#[cfg(test)]
mod tests;
