//! The operators' side: `/metrics`, `/healthz`, `/readyz`, `/status`.
//!
//! A listener of its own, on the main thread, so that a scrape costs the workers nothing. It shows counts, states and
//! names; no key, no prompt.

mod explain;
mod incident;
mod limits;
mod serve;
mod status;

pub use self::{
    limits::LimitsPage,
    serve::{AdminServer, serve},
    status::Status,
};
