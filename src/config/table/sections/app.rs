//! `[[app]]`.

use super::{QUOTA, count, key, optional};
use crate::config::table::{Kind, Section};

pub(super) static APP: Section = Section {
    name: "app",
    repeated: true,
    doc: "A program that calls, told apart by its key. `weir keys create NAME` makes one.",
    keys: &[
        optional(
            "name",
            Kind::Text("a name"),
            "search",
            "Its name in metrics and logs; required, unique.",
        ),
        optional(
            "key",
            Kind::Secret("\"blake3:\" and 64 hex digits, as `weir keys create` prints it"),
            "blake3:…",
            "The hash of its key; required, unique.",
        ),
        optional(
            "requests_per_minute",
            QUOTA,
            "600",
            "Its allowance of requests. Default: none.",
        ),
        optional(
            "tokens_per_minute",
            QUOTA,
            "200000",
            "Its allowance of LLM tokens, input and output together. Default: none.",
        ),
        optional(
            "tokens_per_day",
            count(1, 1_000_000_000_000),
            "20000000",
            "Its allowance of LLM tokens for a calendar day in UTC. Default: none.",
        ),
        optional(
            "concurrency",
            QUOTA,
            "50",
            "Its calls at once. Default: no bound.",
        ),
        key(
            "priority",
            Kind::Word(&["interactive", "batch"]),
            "interactive",
            "Who goes first when calls wait.",
        ),
        key(
            "weight",
            count(1, 1_000),
            "1",
            "Its share of a limit that several apps wait for, in relation to their weights.",
        ),
        key(
            "on_limit",
            Kind::Word(&["wait", "reject"]),
            "wait",
            "What a call does that exceeds the allowance: it waits, as long as [retry] max_wait and its deadline allow, or is refused at once.",
        ),
    ],
    later: &["budget"],
};
