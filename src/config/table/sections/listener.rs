//! The listeners: `[admin]` and `[server]`.

use super::{DAY, GIB, HOUR, KIB, MIB, count, duration, key, optional};
use crate::config::table::{Kind, Section};

pub(super) static ADMIN: Section = Section {
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

pub(super) static SERVER: Section = Section {
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
