//! What becomes of a call: `[[route]]`, `[retry]`, `[breaker]`, `[cache]`.

use super::{DAY, GIB, HOUR, KIB, MIB, POLICIES, SECOND, count, duration, key, optional};
use crate::config::table::{Kind, Section};

pub(super) static ROUTE: Section = Section {
    name: "route",
    repeated: true,
    doc: "Model names to ordered targets.",
    keys: &[
        optional(
            "name",
            Kind::Text("a name"),
            "default",
            "Label in metrics and logs. Default: the first pattern.",
        ),
        optional(
            "models",
            Kind::Texts("model names or globs such as \"gpt-4o-*\""),
            "[\"*\"]",
            "The models it serves, names or globs; required. The first route that matches wins.",
        ),
        optional(
            "targets",
            Kind::Texts("\"UPSTREAM\" or \"UPSTREAM:MODEL\""),
            "[\"openai\"]",
            "Where calls go, in order: `upstream`, or `upstream:model` to ask for another model there; required.",
        ),
        optional(
            "cache",
            POLICIES,
            "off",
            "Cache policy of this route. Default: that of [cache].",
        ),
        optional(
            "timeout",
            duration(100, DAY),
            "2m",
            "Overrides [server] timeout.",
        ),
        key(
            "prefer",
            Kind::Word(&["order", "soonest"]),
            "order",
            "Where a call goes when the first target's limit makes it wait: \"order\": it waits there, if the wait fits; \"soonest\": to the target that is free first.",
        ),
    ],
    later: &[],
};

pub(super) static RETRY: Section = Section {
    name: "retry",
    repeated: false,
    doc: "Attempts at one call.",
    keys: &[
        key(
            "max_attempts",
            count(1, 100),
            "5",
            "Attempts over all targets together; 1: never again.",
        ),
        key(
            "base",
            duration(1, HOUR),
            "1s",
            "First backoff; it doubles from there.",
        ),
        key("max", duration(1, HOUR), "60s", "Longest backoff."),
        key(
            "budget",
            Kind::Share,
            "0.2",
            "Retries as a share of calls (with a floor of some per second).",
        ),
        key(
            "max_wait",
            duration(0, DAY),
            "30s",
            "Longest wait inside weir, in all, for a limit or a time the provider told.",
        ),
    ],
    later: &[],
};

pub(super) static BREAKER: Section = Section {
    name: "breaker",
    repeated: false,
    doc: "Circuits, one per target and one per credential scope.",
    keys: &[
        key(
            "window",
            duration(SECOND, HOUR),
            "30s",
            "Over which failures are counted.",
        ),
        key(
            "failure_ratio",
            Kind::Share,
            "0.5",
            "Share of failures in the window that opens, above min_calls.",
        ),
        key(
            "min_calls",
            count(1, 1_000_000),
            "20",
            "Calls in the window below which the ratio says nothing.",
        ),
        key(
            "consecutive",
            count(1, 1_000_000),
            "5",
            "Failures in a row that open, whatever the ratio.",
        ),
        key(
            "open_for",
            duration(100, DAY),
            "5s",
            "From opening to the first probe.",
        ),
        key(
            "open_for_max",
            duration(100, DAY),
            "60s",
            "The growing interval between probes ends here.",
        ),
        key(
            "billing_probe",
            duration(SECOND, DAY),
            "30s",
            "From opening to the first probe after a billing failure.",
        ),
        key(
            "billing_probe_max",
            duration(SECOND, DAY),
            "5m",
            "The growing interval between those probes ends here.",
        ),
    ],
    later: &[],
};

pub(super) static CACHE: Section = Section {
    name: "cache",
    repeated: false,
    doc: "Answers to identical calls.",
    keys: &[
        key(
            "policy",
            POLICIES,
            "deterministic",
            "What is answered from the cache: embeddings, moderations, temperature 0 or a seed; every identical call; nothing.",
        ),
        key(
            "ttl",
            duration(SECOND, 365 * DAY),
            "1h",
            "Fresh for this long.",
        ),
        key(
            "stale_if_error",
            duration(0, 365 * DAY),
            "1d",
            "Kept this long after that for when every target fails; 0s: never stale.",
        ),
        key(
            "max_bytes",
            Kind::Size {
                min: MIB,
                max: 1024 * GIB,
            },
            "128MiB",
            "Bound of the whole store.",
        ),
        key(
            "max_entry_bytes",
            Kind::Size { min: KIB, max: GIB },
            "8MiB",
            "Larger answers are not stored.",
        ),
        key(
            "scope",
            Kind::Word(&["credential", "app", "shared"]),
            "credential",
            "Who shares answers: callers with the same credential, of the same app, or everybody.",
        ),
    ],
    later: &[],
};
