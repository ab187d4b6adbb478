//! `weir serve`: the gateway as a process: start, reload, drain.

use std::{process::ExitCode, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Global, load, watch::Watched};
use crate::{
    admin,
    app::Gateway,
    config::{Config, Remember},
    limits::{Surroundings, file_name},
    telemetry,
};

/// How often the configuration file is looked at; a change is taken at the second look that sees it.
const WATCH: Duration = Duration::from_millis(300);

/// Descriptors for all but calls: listeners, runtimes, logs, scrapers, idle upstream connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// Exit code when the gateway cannot start for a reason outside the configuration.
const CANNOT_START: u8 = 1;
/// Exit code when calls were cut at the end.
const CUT: u8 = 3;

/// Serves until SIGTERM or SIGINT.
pub fn run(global: &Global) -> ExitCode {
    let mut config = match load(global) {
        Ok(config) => config,
        Err(code) => return code,
    };
    telemetry::init(&config.log.level);
    // A stream needs two descriptors; the usual soft limit of 1,024 is gone at 500 of them.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!(%error, "The limit of open files stays as it is.");
    }
    let asked = config.server.max_connections;
    fit_descriptors(&mut config);
    if let Err(why) = find_memory(&mut config) {
        tracing::info!(
            why,
            "What is learnt of limits is not kept for the next run. To keep it, name a file in [limits] remember; to keep nothing, write \"off\" there."
        );
    }
    if config.server.max_connections < asked {
        tracing::info!(
            asked,
            max_connections = config.server.max_connections,
            "The limit of open files (ulimit -n) allows fewer connections; more wait in the kernel's backlog."
        );
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(&error),
    };
    runtime.block_on(serve(config, global))
}

/// Leaves descriptors for the upstream side of every connection. Without them the calls of those who are in would fail
/// for want of a socket, and it would be put down to the provider.
fn fit_descriptors(config: &mut Config) {
    if let Ok((soft, _)) = rlimit::Resource::NOFILE.get() {
        let asked = config.server.max_connections;
        config.server.max_connections = connections_within(soft, asked);
    }
}

/// How many of the connections `asked` for `descriptors` open files allow, at two for each.
fn connections_within(descriptors: u64, asked: u32) -> u32 {
    let pairs = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    u32::try_from(pairs)
        .unwrap_or(u32::MAX)
        .clamp(1, asked.max(1))
}

/// Makes a file of `remember = "auto"`, in the first state directory that can be written; or says why there is none.
fn find_memory(config: &mut Config) -> Result<(), String> {
    if config.limits.remember != Remember::Auto {
        return Ok(());
    }
    let name = file_name(config.source.as_deref(), &config.listen);
    let found = Surroundings::of_process().directory();
    config.limits.remember = match &found {
        Ok(directory) => Remember::File(directory.join(name)),
        Err(_) => Remember::Off,
    };
    match found {
        Ok(_) => Ok(()),
        Err(why) if why.is_empty() => {
            Err("neither $STATE_DIRECTORY nor $XDG_STATE_HOME nor $HOME is set".to_owned())
        }
        Err(why) => Err(why.join("; ")),
    }
}

async fn serve(config: Config, global: &Global) -> ExitCode {
    let admin_listen = config.admin.clone();
    let gateway = match Gateway::start(config) {
        Ok(gateway) => gateway,
        Err(error) => return cannot_start(&error),
    };
    let admin = match &admin_listen {
        None => None,
        Some(listen) => match admin::serve(&gateway, listen).await {
            Ok(admin) => Some(admin),
            Err(error) => {
                return cannot_start(&format!("cannot listen on {listen} for admin: {error}"));
            }
        },
    };
    // Before anybody is told that it serves: whoever sends a signal then must not end it by a handler that is missing.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return cannot_start(&error),
    };
    announce(&gateway, admin.as_ref());
    signals.until_end(&gateway, global).await;
    tracing::info!(
        inflight = gateway.state.gate.inflight(),
        "Draining: no new connections, running calls finish."
    );
    gateway.drain();
    let in_force = gateway.config();
    let (delay, timeout) = (in_force.server.drain_delay, in_force.server.drain_timeout);
    let mut again = pin_second(&mut signals);
    if !delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = &mut again => return ExitCode::from(CUT),
        }
    }
    let stopping = tokio::task::spawn_blocking(move || gateway.stop(timeout));
    tokio::select! {
        whole = stopping => match whole {
            Ok(true) => ExitCode::SUCCESS,
            _ => {
                tracing::warn!("Calls were cut: they did not end within drain_timeout.");
                ExitCode::from(CUT)
            }
        },
        // A second signal: the process ends here and now.
        () = &mut again => std::process::exit(i32::from(CUT)),
    }
}

fn pin_second(signals: &mut Signals) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
    Box::pin(async move {
        tokio::select! {
            _ = signals.term.recv() => {}
            _ = signals.int.recv() => {}
        }
    })
}

fn announce(gateway: &Gateway, admin: Option<&admin::AdminServer>) {
    let config = gateway.config();
    let apps = gateway
        .address()
        .map_or_else(|| config.listen.to_string(), |address| address.to_string());
    let admin = admin
        .and_then(admin::AdminServer::address)
        .map(|address| address.to_string());
    let admin = admin.or_else(|| config.admin.as_ref().map(ToString::to_string));
    tracing::info!(
        apps,
        admin = admin.unwrap_or_else(|| "off".to_owned()),
        config = config.source.as_ref().map_or_else(
            || "built-in defaults".to_owned(),
            |p| p.display().to_string()
        ),
        upstreams = config
            .upstreams
            .iter()
            .map(|u| &*u.name)
            .collect::<Vec<_>>()
            .join(", "),
        "weir {} serves. {}",
        env!("CARGO_PKG_VERSION"),
        gateway.address().map_or_else(String::new, |address| {
            let mut near = address;
            if near.ip().is_unspecified() {
                near.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            format!("Point an app at it with OPENAI_BASE_URL=http://{near}/v1")
        }),
    );
}

fn cannot_start(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("weir: {error}");
    ExitCode::from(CANNOT_START)
}

/// The signals that a gateway obeys.
struct Signals {
    term: Signal,
    int: Signal,
    hangup: Signal,
}

// === impl Signals ===

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads as asked (SIGHUP, or the file changed) until it is time to end.
    async fn until_end(&mut self, gateway: &Gateway, global: &Global) {
        let mut watched = gateway.config().source.clone().map(Watched::new);
        let mut look = tokio::time::interval(WATCH);
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hangup.recv() => {
                    // Written and signalled is one reload, not two.
                    if let Some(watched) = &mut watched {
                        watched.reads();
                    }
                    reload(gateway, global);
                }
                _ = look.tick() => {
                    if watched.as_mut().is_some_and(Watched::look) {
                        reload(gateway, global);
                    }
                }
            }
        }
    }
}

/// All or nothing: a bad file leaves what runs as it is.
fn reload(gateway: &Gateway, global: &Global) {
    let reloads = &gateway.state.metrics.reloads;
    match load(global) {
        Err(_) => {
            reloads.with_label_values(&["refused"]).inc();
            tracing::error!(
                "The new configuration has mistakes (above) and was not taken; the old one stays in force."
            );
        }
        Ok(mut config) => {
            fit_descriptors(&mut config);
            // Told at the start.
            let _ = find_memory(&mut config);
            let fixed = gateway.reload(config);
            reloads.with_label_values(&["ok"]).inc();
            if !fixed.is_empty() {
                tracing::warn!(
                    needs_restart = fixed.join(", "),
                    "Some settings change only with a restart."
                );
            }
            tracing::info!("The configuration was reloaded.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::connections_within;

    #[test]
    fn every_connection_let_in_has_a_descriptor_for_its_upstream_side() {
        assert_eq!(connections_within(256, 20_000), 96);
        assert_eq!(connections_within(1 << 20, 20_000), 20_000);
        assert_eq!(connections_within(u64::MAX, 20_000), 20_000);
        assert_eq!(connections_within(10, 20_000), 1);
    }
}
