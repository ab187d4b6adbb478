//! The sections themselves. Defaults carry their reasons here or in `resolved`.

mod app;
mod calls;
mod listener;
mod sight;
mod upstream;

use super::{Key, Kind, Section};
use app::APP;
use calls::{BREAKER, CACHE, RETRY, ROUTE};
use listener::{ADMIN, SERVER};
use sight::{ALERTS, LEARNING, LOG};
use upstream::UPSTREAM;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Some(default),
        example: "",
        doc,
    }
}

const fn optional(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: None,
        example,
        doc,
    }
}

const fn duration(min: u64, max: u64) -> Kind {
    Kind::Duration { min, max }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const LIMIT: Kind = Kind::CountOr {
    word: "auto",
    min: 1,
    max: 4_000_000_000,
};
const QUOTA: Kind = count(1, 4_000_000_000);

/// The words of a cache policy.
const POLICIES: Kind = Kind::Word(&["deterministic", "identical", "off"]);

/// The whole file.
pub(crate) static ROOT: Section = Section {
    name: "",
    repeated: false,
    doc: "The top level.",
    keys: &[
        key(
            "listen",
            Kind::Listen { off: false },
            "127.0.0.1:8484",
            "Where apps connect. An address that is not loopback needs an [[app]] as soon as weir holds a provider's key.",
        ),
        optional("admin", Kind::Table(&ADMIN), "", "The operator's listener."),
        optional(
            "server",
            Kind::Table(&SERVER),
            "",
            "Bounds of the app listener.",
        ),
        optional(
            "upstream",
            Kind::Tables(&UPSTREAM),
            "",
            "The accounts at providers. Default: `openai`, with the caller's own key.",
        ),
        optional(
            "route",
            Kind::Tables(&ROUTE),
            "",
            "Model names to targets, first match wins. Default: every model goes to the first upstream.",
        ),
        optional("retry", Kind::Table(&RETRY), "", "Attempts."),
        optional("breaker", Kind::Table(&BREAKER), "", "Circuits."),
        optional(
            "cache",
            Kind::Table(&CACHE),
            "",
            "Answers to identical calls.",
        ),
        optional(
            "limits",
            Kind::Table(&LEARNING),
            "",
            "What is learnt of the providers' limits.",
        ),
        optional(
            "app",
            Kind::Tables(&APP),
            "",
            "The programs that call. Default: none, and every caller is let in.",
        ),
        optional(
            "alerts",
            Kind::Table(&ALERTS),
            "",
            "Who is told when circuits open and close. Default: nobody.",
        ),
        optional("log", Kind::Table(&LOG), "", "Logs."),
    ],
    later: &["ledger", "shared", "budget"],
};
