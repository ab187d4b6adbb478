//! `weir config show|schema|default`.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;

use super::check::{fail, print};
use crate::config::{self, Config, DEFAULT_FILE, LoadOptions};

/// Shows the configuration in force, its schema, or its defaults.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// The configuration in force, with where each value came from; secrets are masked.
    Show {
        /// Answers in JSON.
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of the file, for editors.
    Schema,
    /// A file with every key and its default.
    Default {
        /// Answers in JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Exit code 0, or 64 when the configuration to be shown is wrong. `file`: the global `--config`.
pub fn run(args: &Args, file: Option<PathBuf>) -> ExitCode {
    match args.command {
        Command::Show { json } => show(json, file),
        Command::Schema => print(&format!("{:#}", config::schema())),
        Command::Default { json: false } => print(DEFAULT_FILE.trim_end()),
        Command::Default { json: true } => match DEFAULT_FILE.parse::<toml::Table>() {
            Ok(table) => print(&format!("{:#}", json!(table))),
            Err(_) => ExitCode::FAILURE,
        },
    }
}

fn show(as_json: bool, file: Option<PathBuf>) -> ExitCode {
    match Config::load_with_origins(&LoadOptions::of_process(file)) {
        Ok(loaded) if as_json => print(&format!(
            "{:#}",
            json!({ "file": loaded.config.source, "values": loaded.effective.to_json() })
        )),
        Ok(loaded) => print(loaded.effective.to_toml().trim_end()),
        Err(mistakes) => fail(&mistakes, as_json),
    }
}
