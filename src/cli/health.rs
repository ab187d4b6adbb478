//! `weir health`: is a gateway alive? For container images that hold nothing but this binary.

use std::{net::SocketAddr, process::ExitCode};

use super::{Global, ask::ask, check, load_listeners};
use crate::config::Listen;

/// Exit code 0: it answers. 1: it does not.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Ask the gateway at this address instead of the configuration's
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<SocketAddr>,
}

/// Asks `/healthz` of the app listener.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    let listen = match args.address {
        Some(address) => Listen::Tcp(address),
        None => match load_listeners(global) {
            Ok(config) => config.listen,
            Err(code) => return code,
        },
    };
    match ask(&listen, "GET", "/healthz") {
        Ok((200, _)) => check::print("ok"),
        Ok((status, _)) => unwell(&format!("{listen} answers with {status} and not with 200")),
        Err(error) => unwell(&format!("no answer from {listen}: {error}")),
    }
}

fn unwell(what: &str) -> ExitCode {
    check::complain(&format!("weir: {what}"));
    ExitCode::FAILURE
}
