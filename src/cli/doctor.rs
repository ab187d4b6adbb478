//! `weir doctor`: examines every upstream and says what is wrong, before a call finds it out.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use super::{Global, ask::ask, check};
use crate::{
    config::{Config, Env, Listen, LoadOptions},
    doctor::{self, Options},
};

/// Examines keys, organizations, addresses and connections of every upstream, with one free call each
///
/// Exit code 0: nothing is wrong. 1: warnings. 2: errors. 64: the configuration is wrong (see `weir check`)
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only these upstreams [default: all]
    #[arg(value_name = "UPSTREAM")]
    pub upstreams: Vec<String>,
    /// Also make one smallest billed call, which shows an empty balance, spend limits and rate limits
    #[arg(long)]
    pub spend: bool,
    /// The model of that call [default: the cheapest that routes name]
    #[arg(long, value_name = "NAME", requires = "spend")]
    pub model: Option<String>,
    /// Variable that holds a key, for upstreams to which callers bring their own [default: the vendor's usual one]
    #[arg(long, value_name = "VARIABLE")]
    pub key_from: Option<String>,
    /// Longest time for each step
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(10)..=Duration::from_secs(600);
    match bounds.contains(&time) {
        true => Ok(time),
        false => Err("from 10ms to 10m".to_owned()),
    }
}

/// The exit code is that of the worst finding.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    let options = LoadOptions::of_process(global.config.clone());
    let loaded = match Config::load_with_origins(&options) {
        Ok(loaded) => loaded,
        Err(mistakes) => return check::fail(&mistakes, args.json),
    };
    if let Some(name) = args.upstreams.iter().find(|name| {
        !loaded
            .config
            .upstreams
            .iter()
            .any(|known| *known.name == ***name)
    }) {
        return refuse(&format!("the configuration has no upstream `{name}`"));
    }
    if let Some(name) = &args.key_from
        && options
            .env
            .var(name)
            .is_none_or(|key| key.trim().is_empty())
    {
        return refuse(&format!("--key-from names `{name}`, which is not set"));
    }
    let wanted = Options {
        upstreams: args.upstreams.clone(),
        spend: args.spend,
        model: args.model.clone(),
        key_from: args.key_from.clone(),
        timeout: args.timeout,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the runtime cannot start: {error}")),
    };
    let report = runtime.block_on(examine(&loaded, &options.env, &wanted));
    // A resolver that hangs must not hold the answer back.
    runtime.shutdown_background();
    let code = ExitCode::from(report.worst().exit_code());
    let printed = if args.json {
        check::print(&format!("{:#}", report.to_json()))
    } else {
        let colour =
            io::stdout().is_terminal() && options.env.var("NO_COLOR").is_none_or(str::is_empty);
        check::print(doctor::to_text(&report, colour).trim_end())
    };
    if printed == ExitCode::SUCCESS {
        code
    } else {
        printed
    }
}

async fn examine(loaded: &crate::config::Loaded, env: &Env, wanted: &Options) -> doctor::Report {
    let admin = loaded.config.admin.clone();
    let status = match admin {
        Some(listen) if !matches!(&listen, Listen::Tcp(address) if address.port() == 0) => {
            let asked = tokio::task::spawn_blocking(move || ask(&listen, "GET", "/status"));
            match tokio::time::timeout(wanted.timeout, asked).await {
                Ok(Ok(Ok((200, body)))) => serde_json::from_str::<serde_json::Value>(&body).ok(),
                // Nothing runs there, or something else does: neither is wrong.
                _ => None,
            }
        }
        _ => None,
    };
    let status = status.filter(|status| status["circuits"].is_array());
    Box::pin(doctor::examine(loaded, env, wanted, status.as_ref())).await
}

fn refuse(what: &str) -> ExitCode {
    check::complain(&format!("weir: {what}"));
    ExitCode::from(check::BAD_CONFIG)
}
