//! `weir credit topped-up`: the account has money again; do not wait for the next probe.

use std::process::ExitCode;

use super::{
    Global,
    ask::{ask, encoded},
    check, load_listeners,
};

/// Tells a running gateway about an account's credit
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Credit was added: the next call is a probe, whatever the time
    ToppedUp {
        /// Only this upstream [default: all]
        upstream: Option<String>,
    },
}

/// Exit code 0: told. 1: no gateway answers on the admin address, or it knows no such upstream.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    let Command::ToppedUp { upstream } = &args.command;
    let config = match load_listeners(global) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(listen) = &config.admin else {
        return failed("the admin listener is off in the configuration");
    };
    let path = match upstream {
        Some(name) => format!("/credit/topped-up?upstream={}", encoded(name)),
        None => "/credit/topped-up".to_owned(),
    };
    match ask(listen, "POST", &path) {
        Ok((200, body)) => {
            let told: Option<serde_json::Value> = serde_json::from_str(&body).ok();
            match told.and_then(|told| told["probing"].as_u64()) {
                Some(0) => check::print("no circuit is open for lack of credit"),
                Some(n) => check::print(&format!(
                    "{n} open circuit(s): the next call through each is a probe"
                )),
                None => failed(&format!("{listen} answers strangely; is it a weir?")),
            }
        }
        Ok((400, why)) => failed(why.trim_end()),
        Ok((status, _)) => failed(&format!("{listen} answers with {status}")),
        Err(error) => failed(&format!("no gateway answers at {listen} (admin): {error}")),
    }
}

fn failed(what: &str) -> ExitCode {
    check::complain(&format!("weir: {what}"));
    ExitCode::FAILURE
}
