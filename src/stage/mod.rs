//! The verbs of a request's path, in the order in which it meets them. `crate::stack` puts them together.

pub mod admit;
pub mod breaker;
pub mod cache;
pub mod dispatch;
pub mod ingress;
pub mod limit;
pub mod quota;
pub mod record;
pub mod retry;
pub mod route;

use std::{future::Future, pin::Pin};

use crate::{call::Reply, error::Error};

/// The future of every stage.
pub type Answering = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;
