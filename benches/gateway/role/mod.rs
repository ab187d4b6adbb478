//! The bench's own processes: each is this binary, started again with `--role` and `--spec`.
//!
//! A server prints the line `listening ADDRESS` and ends when its standard input does, so that
//! none outlives the bench. `load` prints one line of JSON, its report, and ends.

pub(crate) mod bare;
pub(crate) mod load;
mod serve;
pub(crate) mod upstream;

use clap::ValueEnum;

use crate::Result;

/// Which of the bench's processes this one is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Role {
    /// The provider: answers at once, or streams at a pace
    Upstream,
    /// The proxy everything is compared with
    BareProxy,
    /// Sends calls and measures
    Load,
}

impl Role {
    /// The name `--role` takes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::BareProxy => "bare-proxy",
            Self::Load => "load",
        }
    }
}

/// Runs `role` until it is done.
pub(crate) fn run(role: Role, spec: &str) -> Result<()> {
    match role {
        Role::Upstream => upstream::run(),
        Role::BareProxy => bare::run(&serde_json::from_str(spec)?),
        Role::Load => load::run(&serde_json::from_str(spec)?),
    }
}
