//! OpenAI's dialect: what a request asks, what a reply says, what a stream is doing.
//!
//! | file | tells |
//! | --- | --- |
//! | `envelope` | model, stream, size and needs of a JSON request, in one pass |
//! | `multipart` | the `model` of an upload, from its first bytes |
//! | `usage` | tokens used, from a reply or a stream's event |
//! | `stream` | what each event of a stream means, and whether its end is a whole answer |
//! | `error` | the gateway's own errors, as a body and as the last event of a broken stream |
//! | `replay` | a whole answer as a stream and the other way, for the cache |

pub mod envelope;
pub mod error;
pub mod multipart;
pub mod replay;
pub mod stream;
pub mod usage;

pub use envelope::{Envelope, Needs};
pub use stream::{Machine, Meaning};
pub use usage::{Facts, ServiceTier, Usage};
