//! `weir explain`: what a pasted error is, and what to do. Offline, but for ids of a running gateway's calls.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::PathBuf,
    process::ExitCode,
};

use super::{Global, ask::ask, check};
use crate::{
    config::{Config, LoadOptions},
    explain::{self, MAX_PASTE, Style, Told},
    triage,
};

/// A source without an end is left after this.
const MOST_READ: u64 = 1 << 30;
/// Exit code: nothing was recognised.
const UNRECOGNIZED: u8 = 2;

/// Explains a failure: paste whatever you have
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Anything goes: an error body, curl -i or -v output, headers, a HAR, an SDK's exception or whole traceback, a log line, \
an event stream, an HTML page, or one sentence. Nothing is sent anywhere; keys in it are not shown. With the id of a \
call (wr_..., or the provider's req_...) the running gateway is asked what it saw.

Exit code 0: explained. 1: the gateway or file could not be asked. 2: nothing was recognized.")]
pub struct Args {
    /// What you have; `-` or nothing reads it from stdin
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: Vec<String>,
    /// Read it from this file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Whose API it is (a preset's name) [default: guessed]
    #[arg(long, value_name = "NAME", value_parser = preset)]
    provider: Option<String>,
    /// A call of the running gateway: its x-weir-request-id, or the provider's request id
    #[arg(long, value_name = "REQUEST_ID", conflicts_with_all = ["text", "file"])]
    id: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

fn preset(name: &str) -> Result<String, String> {
    if triage::preset(name).is_some() {
        return Ok(name.to_owned());
    }
    let known: Vec<_> = triage::presets().collect();
    Err(format!("no such provider; known: {}", known.join(", ")))
}

/// See the help for the exit codes.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    if let Some(id) = &args.id {
        return match of_gateway(id, global) {
            Ok(told) => show(&told, args.json),
            Err(why) => failed(&why),
        };
    }
    let pasted = match pasted(args) {
        Ok(pasted) => pasted,
        Err(why) => return failed(&why),
    };
    // An id and nothing else; or a line of the access log, whose id leads to what the line does not say.
    let text = String::from_utf8_lossy(&pasted);
    let word = text.trim();
    let alone = is_id(word).then(|| word.to_owned());
    let told = explain::explain(&pasted, args.provider.as_deref());
    let asked = match (&alone, &told.request_id) {
        (Some(id), _) => Some(id.clone()),
        (None, Some(id)) if !told.has_words() => Some(id.clone()),
        _ => None,
    };
    match asked.map(|id| of_gateway(&id, global)) {
        Some(Ok(of_gateway)) => show(&of_gateway, args.json),
        Some(Err(why)) if alone.is_some() => failed(&why),
        Some(Err(why)) => {
            check::complain(&format!("weir: {why}"));
            show(&told, args.json)
        }
        None => show(&told, args.json),
    }
}

fn is_id(word: &str) -> bool {
    let plain = word
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    plain
        && (8..=128).contains(&word.len())
        && (word.starts_with("wr_") || word.starts_with("req_"))
}

fn pasted(args: &Args) -> Result<Vec<u8>, String> {
    if let Some(file) = &args.file {
        return File::open(file)
            .and_then(|mut file| end_of(&mut file))
            .map_err(|error| format!("{}: {error}", file.display()));
    }
    if args.text.is_empty() || args.text == ["-"] {
        let mut stdin = io::stdin().lock();
        if stdin.is_terminal() {
            check::complain("Paste the error, then end with ctrl-d:");
        }
        return end_of(&mut stdin).map_err(|error| format!("stdin: {error}"));
    }
    Ok(args.text.join(" ").into_bytes())
}

/// The last [`MAX_PASTE`] bytes of what is there, and a word about it when that is not all.
fn end_of(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut source = source.take(MOST_READ);
    let (mut kept, mut cut) = (Vec::new(), false);
    while (&mut source)
        .take(MAX_PASTE as u64)
        .read_to_end(&mut kept)?
        > 0
    {
        let beyond = kept.len().saturating_sub(MAX_PASTE);
        cut |= beyond > 0;
        kept.drain(..beyond);
    }
    if cut {
        check::complain("weir: that is much; only its last 1 MiB is looked at");
    }
    Ok(kept)
}

/// What the running gateway saw of a call.
fn of_gateway(id: &str, global: &Global) -> Result<Told, String> {
    if !id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    {
        return Err("an id has letters, digits, `_`, `-` and `.` only".to_owned());
    }
    let config =
        Config::listeners(&LoadOptions::of_process(global.config.clone())).map_err(|_| {
            "the configuration is wrong, so the gateway's address is not known; see `weir check`"
                .to_owned()
        })?;
    let Some(listen) = &config.admin else {
        return Err(
            "the admin listener is off in the configuration, so no gateway can be asked".to_owned(),
        );
    };
    match ask(listen, "GET", &format!("/explain?id={id}")) {
        Ok((200, body)) => serde_json::from_str(&body).map_err(|error| {
            format!("{listen} answers strangely ({error}); is it a weir of this version?")
        }),
        Ok((404, _)) => Err(format!(
            "the gateway at {listen} does not know {id}: it met no failure, is too long ago, or was another gateway's. Paste the error itself"
        )),
        Ok((status, _)) => Err(format!("{listen} answers with {status}")),
        Err(error) => Err(format!(
            "no gateway answers at {listen} (admin): {error}. Paste the error itself"
        )),
    }
}

fn show(told: &Told, json: bool) -> ExitCode {
    let shown = if json {
        let text = serde_json::to_string_pretty(told).unwrap_or_default();
        check::print(&text)
    } else {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        check::print(explain::text(told, Style { colour }).trim_end())
    };
    if told.recognized {
        shown
    } else {
        ExitCode::from(UNRECOGNIZED)
    }
}

fn failed(what: &str) -> ExitCode {
    check::complain(&format!("weir: {what}"));
    ExitCode::FAILURE
}
