//! Connections to providers: one pool per worker, TLS with the system's roots, HTTP/2 where it is spoken.
//!
//! No policy lives here: a failed connect or a cut connection is reported as what it was, and
//! `stage::dispatch` and `triage` say what it means. The one thing done unseen is to replace a kept
//! connection that turns out to have died while idle.

mod body;
mod connect;
mod pool;

pub(crate) use self::connect::Causes;
pub use self::{
    body::{RequestBody, ResponseBody},
    connect::{Connector, TlsError},
    pool::{Pool, SendError, Sent},
};
