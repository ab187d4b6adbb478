//! What weir tells of itself: metrics, the access log, traces.

pub mod access_log;
mod breaker;
mod limits;
mod metrics;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

pub use self::{
    breaker::{hook as breaker_hook, watch as watch_breaker},
    limits::watch as watch_limits,
    metrics::{Metrics, OperationHandles},
};

/// Sets up tracing to stderr. `RUST_LOG` wins over `level`, which is a filter such as `info` or `weir=debug`.
///
/// The first call counts; in tests later ones are harmless.
pub fn init(level: &str) {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false);
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}
