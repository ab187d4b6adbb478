//! `weir simulate`: the simulated provider as a process.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use serde_json::json;

use crate::sim::{
    DEFAULT_ORGANIZATION, Key, Limits, Scenario, Settings, Simulator, Spending, rows,
};

/// Run a simulated OpenAI to develop and measure against: no key, no cost, and failures on demand.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// Seed of all answers: same seed, same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Incident to play from the start: a file, or a name from --list-scenarios.
    #[arg(long, value_name = "FILE|NAME")]
    pub scenario: Option<String>,
    /// A key that is good (repeat for more); without any, every key is, except sk-invalid….
    /// Organization and project may follow: sk-…,org-…,proj_….
    #[arg(long, value_name = "KEY[,ORG[,PROJECT]]")]
    pub key: Vec<String>,
    /// Limits, in JSON or as a file (TOML, or JSON when it ends so): the whole table of docs/simulator.md.
    #[arg(long, value_name = "FILE|JSON")]
    pub limits: Option<String>,
    /// Enforce a limit of requests per minute, for each model.
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<u32>,
    /// Enforce a limit of tokens per minute, for each model.
    #[arg(long, value_name = "N")]
    pub tokens_per_minute: Option<u32>,
    /// Enforce the limits over a shorter window too, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub limit_window_ms: Option<u64>,
    /// Prepaid balance of each organization; calls are charged at list prices.
    #[arg(long, value_name = "USD")]
    pub balance: Option<f64>,
    /// What admin keys (sk-admin-…) are told was spent this month.
    #[arg(long, value_name = "USD", default_value_t = 0.0)]
    pub spent: f64,
    /// The organization's spend limit, as admin keys are told.
    #[arg(long, value_name = "USD")]
    pub spend_limit: Option<f64>,
    /// That limit is an enforced one.
    #[arg(long, requires = "spend_limit")]
    pub enforce_spend_limit: bool,
    /// Name, told in the header x-sim-name.
    #[arg(long, default_value = "sim")]
    pub name: String,
    /// A model to offer beside OpenAI's (repeat for more).
    #[arg(long, value_name = "MODEL")]
    pub model: Vec<String>,
    /// Take any model name.
    #[arg(long)]
    pub any_model: bool,
    /// Refuse prompts that are longer than the model's context.
    #[arg(long)]
    pub enforce_context: bool,
    /// Requests the log keeps (GET /_sim/log); 0 = none.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub log: usize,
    /// Worker threads; default: one per core.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Print the recorded failures that faults can name, and exit.
    #[arg(long)]
    pub list_faults: bool,
    /// Print the built-in scenarios, and exit.
    #[arg(long)]
    pub list_scenarios: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs until SIGTERM or ctrl-c. Exit code 64 for a bad scenario, 1 when the address cannot be bound.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let listed = if args.list_faults {
        list_faults(args.json)
    } else if args.list_scenarios {
        list_scenarios(args.json)
    } else {
        return serve(args);
    };
    // A reader that closed the pipe has seen what it wanted.
    let _ = io::stdout().lock().write_all(listed.as_bytes());
    ExitCode::SUCCESS
}

fn serve(args: Args) -> ExitCode {
    let json = args.json;
    let settings = match settings(&args) {
        Ok(settings) => settings,
        Err(message) => return fail(&message, 64),
    };
    // One worker needs no threads that wake each other, and stays out of the way of what is measured.
    let mut builder = match args.workers {
        Some(0 | 1) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(workers) = args.workers {
        builder.worker_threads(workers.max(1));
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime cannot start: {error}"), 1),
    };
    runtime.block_on(async move {
        let listen = settings.listen;
        let running = match Simulator::start(settings).await {
            Ok(running) => running,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return fail(&error.to_string(), 64);
            }
            Err(error) => return fail(&format!("cannot listen on {listen}: {error}"), 1),
        };
        let (addr, base_url) = (running.addr(), running.base_url());
        let line = if json {
            json!({"listen": addr.to_string(), "base_url": base_url}).to_string()
        } else {
            format!("simulated provider on http://{addr}  (OPENAI_BASE_URL={base_url})")
        };
        let _ = writeln!(io::stdout(), "{line}");
        let _ = io::stdout().flush();
        until_told().await;
        running.shutdown().await;
        ExitCode::SUCCESS
    })
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "weir simulate: {message}");
    ExitCode::from(code)
}

fn settings(args: &Args) -> Result<Settings, String> {
    let scenario = args
        .scenario
        .as_deref()
        .map(Scenario::load)
        .transpose()
        .map_err(|error| error.to_string())?;
    let limits = args
        .limits
        .as_deref()
        .map_or_else(|| Ok(Limits::default()), limits)?;
    Ok(Settings {
        listen: args.listen,
        seed: args.seed,
        name: args.name.clone(),
        keys: args.key.iter().map(|text| key(text)).collect(),
        limits: Limits {
            requests_per_minute: args.requests_per_minute,
            tokens_per_minute: args.tokens_per_minute,
            window_ms: args.limit_window_ms,
            ..Limits::default()
        }
        .over(&limits),
        balance_usd: args.balance,
        spending: Spending {
            spent_usd: args.spent,
            limit_usd: args.spend_limit,
            enforcing: args.enforce_spend_limit,
            ..Spending::default()
        },
        models: args.model.clone(),
        any_model: args.any_model,
        enforce_context: args.enforce_context,
        log_capacity: args.log,
        scenario,
    })
}

/// JSON as it stands, or a file.
fn limits(told: &str) -> Result<Limits, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("--limits: {error}");
    if told.trim_start().starts_with('{') {
        return serde_json::from_str(told).map_err(|error| wrong(&error));
    }
    let text = std::fs::read_to_string(told)
        .map_err(|error| format!("--limits: {told} cannot be read: {error}"))?;
    if told.ends_with(".json") {
        serde_json::from_str(&text).map_err(|error| wrong(&error))
    } else {
        toml::from_str(&text).map_err(|error| wrong(&error))
    }
}

fn key(text: &str) -> Key {
    let mut parts = text.splitn(3, ',').map(str::to_owned);
    Key {
        secret: parts.next().unwrap_or_default(),
        organization: parts
            .next()
            .unwrap_or_else(|| DEFAULT_ORGANIZATION.to_owned()),
        project: parts.next(),
    }
}

fn list_faults(as_json: bool) -> String {
    let mut out = String::new();
    for row in rows() {
        if as_json {
            let line = json!({
                "id": row.id, "provider": row.provider, "status": row.status, "class": row.class, "scope": row.scope,
                "transport": row.transport,
            });
            out.push_str(&format!("{line}\n"));
        } else {
            out.push_str(&format!(
                "{:<48} {:>3}  {}\n",
                row.id, row.status, row.class
            ));
        }
    }
    out
}

fn list_scenarios(as_json: bool) -> String {
    let mut out = String::new();
    for name in Scenario::names() {
        let about = Scenario::named(name)
            .map(|scenario| scenario.about)
            .unwrap_or_default();
        if as_json {
            out.push_str(&format!("{}\n", json!({"name": name, "about": about})));
        } else {
            out.push_str(&format!("{name:<18} {about}\n"));
        }
    }
    out
}

/// Returns at SIGTERM or ctrl-c.
async fn until_told() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_bring_its_organization_and_project() {
        let key = key("sk-a,org-b,proj_c");
        assert_eq!(
            (&*key.secret, &*key.organization, key.project.as_deref()),
            ("sk-a", "org-b", Some("proj_c"))
        );
        assert_eq!(super::key("sk-a").organization, DEFAULT_ORGANIZATION);
    }

    #[test]
    fn limits_are_read_from_json_or_a_file_and_mistakes_are_named() {
        let limits = limits("{\"requests_per_day\": 5, \"headers\": \"groq\"}").unwrap();
        assert_eq!(limits.requests_per_day, Some(5));
        let error = super::limits("{\"request_per_day\": 5}").unwrap_err();
        assert!(error.contains("request_per_day"), "{error}");
        let error = super::limits("no-such.toml").unwrap_err();
        assert!(error.contains("no-such.toml"), "{error}");
    }

    #[test]
    fn lists_name_what_can_be_injected() {
        assert!(list_faults(false).contains("openai-insufficient-quota"));
        assert!(list_scenarios(true).contains("\"outage-503-20s\""));
    }
}
