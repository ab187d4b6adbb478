//! The command line: one file per subcommand.

pub mod alerts;
mod ask;
pub mod check;
pub mod config;
pub mod credit;
pub mod doctor;
pub mod explain;
pub mod health;
pub mod incident;
pub mod keys;
pub mod limits;
pub mod serve;
pub mod simulate;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::config::{Config, Listeners, LoadOptions};

/// A local gateway between your apps and LLM APIs: it rate-limits, caches, retries, falls back, and says why a call failed
///
/// Without a command it serves. Point an app at it with OPENAI_BASE_URL=http://127.0.0.1:8484/v1
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// Configuration file [default: $WEIR_CONFIG, ./weir.toml, /etc/weir/weir.toml, else built-in defaults]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Serve,
    /// Check the configuration without starting anything
    Check(check::Args),
    /// Examine keys, organisations, addresses and connections of every upstream, with one free call each
    Doctor(doctor::Args),
    /// Show the configuration in force, its schema, or its defaults
    Config(config::Args),
    /// Make keys for apps
    Keys(keys::Args),
    /// Run a simulated OpenAI to develop and measure against: no key, no cost, and failures on demand
    Simulate(simulate::Args),
    /// Tell a running gateway that credit was added
    Credit(credit::Args),
    /// Explain a failure: paste an error, or give the id of a call
    Explain(explain::Args),
    /// Show what is known of the providers' limits, who waits for them, and apps' quotas, from a running gateway
    Limits(limits::Args),
    /// Try the webhook of the configuration
    Alerts(alerts::Args),
    /// Write a report of recent failures for a provider's support, out of a running gateway
    Incident(incident::Args),
    /// Ask a running gateway whether it is alive (for container health checks)
    Health(health::Args),
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&global),
        Command::Check(args) => check::run(&args, global.config),
        Command::Doctor(args) => doctor::run(&args, &global),
        Command::Config(args) => config::run(&args, global.config),
        Command::Keys(args) => keys::run(&args),
        Command::Simulate(args) => simulate::run(args),
        Command::Credit(args) => credit::run(&args, &global),
        Command::Explain(args) => explain::run(&args, &global),
        Command::Limits(args) => limits::run(&args, &global),
        Command::Alerts(args) => alerts::run(&args, &global),
        Command::Incident(args) => incident::run(&args, &global),
        Command::Health(args) => health::run(&args, &global),
    }
}

/// The configuration, its warnings told; or its mistakes told and the exit code.
fn load(global: &Global) -> Result<Config, ExitCode> {
    match Config::load(&LoadOptions::of_process(global.config.clone())) {
        Ok((config, warnings)) => {
            for warning in &warnings {
                // Before the log is set up, and meant for who starts it.
                check::complain(&format!("{warning}\n"));
            }
            Ok(config)
        }
        Err(mistakes) => Err(check::fail(&mistakes, false)),
    }
}

/// Where the gateway of the configuration listens, without its keys; or the mistakes told and the exit code.
fn load_listeners(global: &Global) -> Result<Listeners, ExitCode> {
    Config::listeners(&LoadOptions::of_process(global.config.clone()))
        .map_err(|mistakes| check::fail(&mistakes, false))
}
