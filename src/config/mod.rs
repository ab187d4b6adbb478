//! Configuration.
mod resolved;
pub use resolved::*;
