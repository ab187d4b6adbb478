//! `weir incident`: what failed, when and where, for a provider's support ticket.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use super::{
    Global,
    ask::{ask, encoded},
    check, load_listeners,
};
use crate::incident::Window;

/// Writes a report of recent failures for a provider's support, out of a running gateway
///
/// Counts, times in UTC, the provider's request ids, its headers, and what was ruled out. No key, no prompt.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Begin of the window: a time ago (90m, 2h) or a point in time (2026-07-01T12:00:00Z); a day is remembered
    #[arg(long, default_value = "2h", value_name = "TIME")]
    since: String,
    /// End of the window, told likewise [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only this upstream
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// The report as JSON
    #[arg(long)]
    json: bool,
    /// Also name the apps whose calls met failures
    #[arg(long)]
    with_apps: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Exit code 0: written, also when nothing has failed. 1: no gateway answers on the admin address, or it refuses.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    if let Err(error) = Window::parse(Some(&args.since), args.until.as_deref(), SystemTime::now()) {
        return failed(&error.to_string());
    }
    let config = match load_listeners(global) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(listen) = &config.admin else {
        return failed(
            "the admin listener is off in the configuration (admin = { listen = \"off\" }); the report comes from there",
        );
    };
    let (status, report) = match ask(listen, "GET", &path(args)) {
        Ok(answer) => answer,
        Err(error) => {
            return failed(&format!(
                "no gateway answers at {listen} (admin): {error}. The report is made from the memory of a running gateway: start one with `weir serve`, or name its configuration with --config"
            ));
        }
    };
    match status {
        200 => {}
        400 => return failed(report.trim_end()),
        404 => {
            return failed(&format!(
                "{listen} knows no /incident; is it a weir of this version?"
            ));
        }
        other => return failed(&format!("{listen} answers with {other}")),
    }
    match &args.output {
        None => return check::print(report.trim_end()),
        Some(file) => {
            if let Err(error) = std::fs::write(file, &report) {
                return failed(&format!("cannot write {}: {error}", file.display()));
            }
            check::complain(&format!("written: {}", file.display()));
        }
    }
    ExitCode::SUCCESS
}

fn path(args: &Args) -> String {
    let format = if args.json { "json" } else { "md" };
    let mut path = format!("/incident?format={format}&since={}", encoded(&args.since));
    for (name, value) in [("until", &args.until), ("upstream", &args.upstream)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    if args.with_apps {
        path.push_str("&apps=true");
    }
    path
}

fn failed(what: &str) -> ExitCode {
    check::complain(&format!("weir: {what}"));
    ExitCode::FAILURE
}
