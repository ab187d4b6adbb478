//! `[[upstream]]` and its limits.

use super::{DAY, LIMIT, MINUTE, duration, key, optional};
use crate::config::table::{Kind, Section};

pub(super) static UPSTREAM: Section = Section {
    name: "upstream",
    repeated: true,
    doc: "One account at one provider.",
    keys: &[
        optional(
            "name",
            Kind::Text("a name of letters, digits, `-`, `_` and `.`"),
            "openai",
            "The name that targets, metrics and logs use; required, unique.",
        ),
        optional(
            "provider",
            Kind::Text("a preset's name"),
            "openai",
            "A preset; \"openai-compatible\" for a vendor without one. Default: the preset of the upstream's own name.",
        ),
        optional(
            "api_key",
            Kind::Secret(
                "\"${VARIABLE}\", \"passthrough\" (the caller's own) or \"none\" (the server needs none)",
            ),
            "passthrough",
            "The key for this account. Default: \"passthrough\" for openai, else the preset's key variable; local servers need none.",
        ),
        optional(
            "base_url",
            Kind::Text(
                "an http:// or https:// URL with host and path prefix, such as \"https://api.example.com/v1\"",
            ),
            "https://api.openai.com/v1",
            "Scheme, host and path prefix. Default: the preset's; required where it has none.",
        ),
        optional(
            "admin_key",
            Kind::Secret("\"${VARIABLE}\""),
            "${OPENAI_ADMIN_KEY}",
            "An admin key of the account, with which `weir doctor` reads spend limits and costs. No call carries it.",
        ),
        optional(
            "organization",
            Kind::Text("an organisation id"),
            "org-123",
            "Sent as OpenAI-Organization, in place of the caller's.",
        ),
        optional(
            "project",
            Kind::Text("a project id"),
            "proj_123",
            "Sent as OpenAI-Project, in place of the caller's.",
        ),
        optional(
            "headers",
            Kind::Headers,
            "{ \"x-team\" = \"search\" }",
            "Extra request headers, replacing equal ones.",
        ),
        key(
            "connect_timeout",
            duration(1, 10 * MINUTE),
            "5s",
            "For TCP and TLS together.",
        ),
        key(
            "first_token_timeout",
            duration(1, DAY),
            "5m",
            "From sending to the first semantic event, or to the whole head of a plain answer.",
        ),
        key(
            "idle_timeout",
            duration(1, DAY),
            "2m",
            "Longest silence after that.",
        ),
        optional("limits", Kind::Table(&LIMITS), "", "The provider's limits."),
        optional(
            "rule",
            Kind::Rules,
            "",
            "Failure rules of your own ([[upstream.rule]]), asked before the preset's.",
        ),
    ],
    later: &[],
};

pub(super) static LIMITS: Section = Section {
    name: "upstream.limits",
    repeated: false,
    doc: "The provider's limits, per model of this upstream (concurrency: of the whole upstream).",
    keys: &[
        key(
            "requests_per_minute",
            LIMIT,
            "auto",
            "Requests per minute and model; \"auto\": as learnt, a number: never more than that.",
        ),
        key(
            "tokens_per_minute",
            LIMIT,
            "auto",
            "LLM tokens per minute and model, input and output together.",
        ),
        key(
            "input_tokens_per_minute",
            LIMIT,
            "auto",
            "Where the provider counts input by itself.",
        ),
        key(
            "output_tokens_per_minute",
            LIMIT,
            "auto",
            "Where the provider counts output by itself.",
        ),
        key(
            "images_per_minute",
            LIMIT,
            "auto",
            "Images made per minute and model.",
        ),
        key(
            "requests_per_day",
            LIMIT,
            "auto",
            "Requests per day and model.",
        ),
        key(
            "tokens_per_day",
            LIMIT,
            "auto",
            "LLM tokens per day and model.",
        ),
        key(
            "concurrency",
            LIMIT,
            "auto",
            "Calls at once over the whole upstream.",
        ),
    ],
    later: &[],
};
