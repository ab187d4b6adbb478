//! What is kept and told: `[limits]`, `[alerts]`, `[log]`.

use super::{DAY, HOUR, MINUTE, SECOND, duration, key, optional};
use crate::config::table::{Kind, Section};

pub(super) static LEARNING: Section = Section {
    name: "limits",
    repeated: false,
    doc: "What weir learns of the providers' limits by itself.",
    keys: &[
        key(
            "remember",
            Kind::Text("\"auto\", \"off\" or a file's path"),
            "auto",
            "Where it is kept for the next run: \"auto\": in the user's state directory, when there is one; \"off\": nowhere.",
        ),
        key(
            "foreign_alert",
            Kind::Share,
            "0.2",
            "Share of a limit used elsewhere with the same account from which on it is told; 0: never.",
        ),
    ],
    later: &[],
};

pub(super) static ALERTS: Section = Section {
    name: "alerts",
    repeated: false,
    doc: "A webhook that is told when circuits open and close. `weir alerts test` tries it.",
    keys: &[
        optional(
            "webhook",
            Kind::Secret("an http:// or https:// URL, such as \"${ALERT_WEBHOOK_URL}\""),
            "${ALERT_WEBHOOK_URL}",
            "Where alerts are posted; never printed, because such URLs are credentials. Default: nowhere.",
        ),
        optional(
            "format",
            Kind::Word(&["json", "slack"]),
            "json",
            "What is posted: an event in JSON, or a message as Slack takes it. Default: slack for Slack's own hosts, else json.",
        ),
        optional(
            "secret",
            Kind::Secret("\"whsec_\" and the key in Base64, or any text"),
            "${ALERT_WEBHOOK_SECRET}",
            "Signs each alert (Standard Webhooks). Default: not signed.",
        ),
        key(
            "on",
            Kind::Texts(
                "\"billing\", \"credentials\", \"limits\", \"models\", \"trouble\", \"outages\"",
            ),
            "[\"billing\", \"credentials\", \"limits\", \"models\", \"trouble\"]",
            "Which causes are told: money and accounts, keys and permissions, day limits, missing models, overloads and errors; outages, which open circuits too and are told beside them.",
        ),
        key(
            "hold",
            duration(0, HOUR),
            "10s",
            "A circuit that opens again within this time has flapped: that is counted, not told anew.",
        ),
        key(
            "timeout",
            duration(100, 10 * MINUTE),
            "10s",
            "For one delivery.",
        ),
        key(
            "give_up_after",
            duration(SECOND, DAY),
            "15m",
            "How long the delivery of one alert is tried again.",
        ),
    ],
    later: &[],
};

pub(super) static LOG: Section = Section {
    name: "log",
    repeated: false,
    doc: "Logs. Prompts and answers are never logged.",
    keys: &[
        key(
            "level",
            Kind::Text("a filter such as \"info\" or \"weir=debug\""),
            "info",
            "What is logged, on stderr. RUST_LOG wins.",
        ),
        key(
            "access",
            Kind::Text("\"stdout\", \"stderr\", \"off\" or a file's path"),
            "stdout",
            "Where the access log goes: one JSON line per call.",
        ),
    ],
    later: &[],
};
