//! `weir limits`: what is known of the providers' limits, who waits for them, and how far apps have come with their quotas.

mod numbers;
mod screen;
mod table;
mod words;

use std::{
    io::{self, ErrorKind, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use self::{
    screen::Screen,
    table::{Look, table},
};
use super::{Global, ask::ask, check, load_listeners};
use crate::{
    admin::LimitsPage,
    config::{Config, Listen, LoadOptions, Mistakes},
};

/// Shows what is known of the providers' limits, who waits for them, and apps' quotas, from a running gateway
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
`left` is what could be taken in this window, `burst` what may go at once, `elsewhere` the share that other programs use \
with the same account. `known from`: headers (of replies), refusal (its text), tried (nobody tells), set (configuration), \
remembered (the last run).

Exit code 0: shown. 1: no gateway answers on the admin address, or not as expected. 64: the configuration is wrong (a gateway \
that answers is shown all the same).")]
pub struct Args {
    /// Show it again every SECS seconds, until ctrl-c
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<f64>,
    /// Answer in JSON: the document of /limits; with --watch one per line
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if (0.1..=3_600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("from 0.1 to 3600 seconds".to_owned())
    }
}

/// See the help for the exit codes.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    let config = match load_listeners(global) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(listen) = config.admin else {
        return failed(
            "the admin listener is off in the configuration (admin = { listen = \"off\" }); limits are shown from there",
        );
    };
    let Some(every) = args.watch else {
        return match fetch(&listen) {
            Ok(page) => check::print(shown(&page, args.json, None, look()).trim_end()),
            Err(why) => nobody(&why, global),
        };
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(watch(
                listen,
                args.json,
                Duration::from_secs_f64(every),
                global,
            ));
            // A question that is still open is nobody's any more.
            runtime.shutdown_background();
            ended
        }
        Err(error) => failed(&error.to_string()),
    }
}

/// Until ctrl-c, or until nobody reads.
async fn watch(listen: Listen, json: bool, every: Duration, global: &Global) -> ExitCode {
    let ends = async {
        // Without a handler ctrl-c ends the process anyway.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(ends);
    let mut screen = None;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let there = listen.clone();
        let page = tokio::task::spawn_blocking(move || fetch(&there));
        let page = tokio::select! {
            page = page => page.unwrap_or_else(|error| Err(error.to_string())),
            () = &mut ends => return ExitCode::SUCCESS,
        };
        let page = match page {
            Ok(page) => Ok(page),
            // A gateway that restarts comes back, and somebody looks on; one that was never there is a mistake.
            Err(why) if screen.as_ref().is_some_and(Screen::is_in_place) => Err(why),
            Err(why) => return nobody(&why, global),
        };
        let screen = screen.get_or_insert_with(|| Screen::open(!json));
        let drawn = match page {
            Ok(page) => screen.show(&shown(&page, json, Some(every), look())),
            Err(why) => screen.show_trouble(&why),
        };
        if drawn.is_err() {
            return ExitCode::SUCCESS;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut ends => return ExitCode::SUCCESS,
        }
    }
}

fn look() -> Look {
    let terminal = io::stdout().is_terminal();
    Look {
        width: screen::size().0,
        colour: terminal && std::env::var_os("NO_COLOR").is_none(),
    }
}

fn shown(page: &LimitsPage, json: bool, every: Option<Duration>, look: Look) -> String {
    match (json, every) {
        (true, None) => serde_json::to_string_pretty(page).unwrap_or_default(),
        (true, Some(_)) => serde_json::to_string(page).unwrap_or_default(),
        (false, _) => table(page, look),
    }
}

/// What the gateway there tells.
fn fetch(listen: &Listen) -> Result<LimitsPage, String> {
    match ask(listen, "GET", "/limits") {
        Ok((200, body)) => serde_json::from_str(&body).map_err(|error| {
            format!("{listen} answers strangely ({error}); is it a weir of this version?")
        }),
        Ok((404, _)) => Err(format!(
            "{listen} knows no /limits; is it a weir of this version?"
        )),
        Ok((status, _)) => Err(format!("{listen} answers with {status}")),
        // What std makes of a read that took too long.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(
            format!("{listen} (admin) does not answer in time; is it a weir, and is it well?"),
        ),
        Err(error) => Err(format!(
            "no gateway answers at {listen} (admin): {error}. Limits are in the memory of a running gateway: start one with `weir serve`, or name its configuration with --config"
        )),
    }
}

/// No gateway answers there as one should. Where it listens may be just what is wrong with the configuration; a running one may be asked
/// with a file that is being edited, and where its keys are not set.
fn nobody(why: &str, global: &Global) -> ExitCode {
    let told = failed(why);
    let options = LoadOptions::of_process(global.config.clone());
    let mistakes = Config::load(&options).err().and_then(Mistakes::of_the_file);
    mistakes.map_or(told, |mistakes| check::fail(&mistakes, false))
}

fn failed(what: &str) -> ExitCode {
    check::complain(&format!("weir: {what}"));
    ExitCode::FAILURE
}
