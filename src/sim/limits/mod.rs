//! The provider's limits: what is enforced, what is told of it, and who else uses the key.
//!
//! [`Meter`] is the whole of it for one account, without sockets: the time comes in as an argument, and what is drawn is
//! drawn by seed, so that a study can drive ten minutes in a moment and the server is only a way to ask it.

mod bucket;
mod counter;
mod foreign;
mod headers;
mod meter;
mod pool;
mod refusal;
mod settings;
mod tally;

#[cfg(test)]
mod tests;

pub(crate) use self::headers::Gauge;
pub use self::{
    meter::{Admitted, Ask, Meter, Used},
    refusal::Refusal,
    settings::{Algorithm, Change, Charge, Foreign, HeaderStyle, LimitKind, Limits, Pool, Words},
    tally::Tally,
};

/// More than any real account has; what comes after them shares one pool.
const MOST_POOLS: usize = 4_096;
