//! `weir alerts test`: one alert to the configured webhook, sent by this process: no gateway needs to run.

use std::process::ExitCode;

use serde_json::json;

use super::{Global, check, load};
use crate::{
    alerts::{Answered, Event, Unanswered, try_once},
    config::Alerts,
    upstream::Connector,
};

/// Tries the webhook of the configuration
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Send one alert that says it is a test, and print what the receiver answers
    Test {
        /// Answers in JSON
        #[arg(long)]
        json: bool,
    },
}

/// Exit code 0: taken. 1: not taken, no answer, or nobody to tell. 64: the configuration is wrong.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    let Command::Test { json } = args.command;
    let config = match load(global) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(to) = &config.alerts else {
        check::complain(
            "weir: the configuration has no webhook; write [alerts] webhook = \"${ALERT_WEBHOOK_URL}\"",
        );
        return ExitCode::FAILURE;
    };
    let event = Event::test();
    match send(to, &event) {
        Ok(answer) => told(to, &event, &answer, json),
        Err(error) => {
            if json {
                let said =
                    json!({"ok": false, "host": to.webhook.host(), "id": event.id, "error": error});
                check::print(&said.to_string());
            } else {
                check::complain(&format!("weir: {}: {error}", to.webhook.host()));
            }
            ExitCode::FAILURE
        }
    }
}

fn told(to: &Alerts, event: &Event, answer: &Answered, as_json: bool) -> ExitCode {
    let (host, status) = (to.webhook.host(), answer.status);
    let ok = status.is_success();
    let written = if as_json {
        let said = json!({"ok": ok, "host": host, "id": event.id, "status": status.as_u16()});
        check::print(&said.to_string())
    } else if ok {
        check::print(&format!("{host} took the alert {}: {status}", event.id))
    } else {
        check::complain(&format!(
            "weir: {host} did not take the alert {}: {status}",
            event.id
        ));
        ExitCode::FAILURE
    };
    if ok { written } else { ExitCode::FAILURE }
}

fn send(to: &Alerts, event: &Event) -> Result<Answered, String> {
    let https = to.webhook.expose().scheme() == Some(&http::uri::Scheme::HTTPS);
    let connector = Connector::new(https).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let answer = runtime.block_on(try_once(connector, to, event));
    runtime.shutdown_background();
    answer.map_err(|error: Unanswered| error.to_string())
}
