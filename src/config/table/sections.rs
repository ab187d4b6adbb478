//! The sections themselves. Defaults carry their reasons here or in `resolved`.

use super::{Key, Kind, Section};

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

static ADMIN: Section = Section {
    name: "admin",
    repeated: false,
    doc: "The operator's listener: /metrics, /healthz, /readyz, /status.",
    keys: &[key(
        "listen",
        Kind::Listen { off: true },
        "127.0.0.1:8485",
        "Where operators and scrapers connect; \"off\": no such listener.",
    )],
    later: &[],
};

static SERVER: Section = Section {
    name: "server",
    repeated: false,
    doc: "Bounds of the app listener.",
    keys: &[
        optional(
            "workers",
            count(1, 1_024),
            "4",
            "Worker threads, each with its own listener and upstream connections. Default: one per core.",
        ),
        key(
            "max_connections",
            count(1, 1_000_000),
            "20000",
            "Open client connections over all workers; more wait in the kernel's backlog.",
        ),
        key(
            "max_inflight",
            count(1, 1_000_000),
            "10000",
            "Calls in flight over all workers; more are refused with 503.",
        ),
        key(
            "max_body_bytes",
            Kind::Size {
                min: KIB,
                max: 4 * GIB,
            },
            "128MiB",
            "Largest JSON request body, after content decoding. Uploads stream through unbounded by it.",
        ),
        key(
            "max_header_bytes",
            Kind::Size {
                min: 8 * KIB,
                max: MIB,
            },
            "64KiB",
            "Largest request head.",
        ),
        key(
            "header_timeout",
            duration(100, HOUR),
            "75s",
            "Time for a client to send a request head, also the longest idle keep-alive.",
        ),
        key(
            "body_timeout",
            duration(100, HOUR),
            "60s",
            "Longest silence while a client sends its body.",
        ),
        key(
            "timeout",
            duration(100, DAY),
            "10m",
            "A call's time to the first byte of its answer when the client names none (10m is that of the official SDKs).",
        ),
        optional(
            "drain_delay",
            duration(0, HOUR),
            "5s",
            "After SIGTERM: keep accepting for this long, not ready, so that balancers notice. Default: 0s on loopback and unix sockets, else 5s.",
        ),
        key(
            "drain_timeout",
            duration(0, DAY),
            "2m",
            "After that: time for running calls to end.",
        ),
    ],
    later: &[],
};

static UPSTREAM: Section = Section {
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

static LIMITS: Section = Section {
    name: "upstream.limits",
    repeated: false,
    doc: "The provider's limits, per model of this upstream (concurrency: of the whole upstream).",
    keys: &[
        key(
            "requests_per_minute",
            LIMIT,
            "auto",
            "Requests per minute and model; \"auto\": not known beforehand.",
        ),
        key(
            "tokens_per_minute",
            LIMIT,
            "auto",
            "LLM tokens per minute and model.",
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

static ROUTE: Section = Section {
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
    ],
    later: &[],
};

static RETRY: Section = Section {
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

static BREAKER: Section = Section {
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

static CACHE: Section = Section {
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

static APP: Section = Section {
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
            "Its allowance. Default: none.",
        ),
        optional(
            "tokens_per_minute",
            QUOTA,
            "200000",
            "Its allowance of LLM tokens. Default: none.",
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
    ],
    later: &["budget"],
};

static ALERTS: Section = Section {
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

static LOG: Section = Section {
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
