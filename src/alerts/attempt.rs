//! What an answer means for a delivery, and how long to wait for the next try: pure.

use std::time::Duration;

use http::StatusCode;

/// First pause; it doubles from there.
const BASE: Duration = Duration::from_millis(500);
/// Longest pause of our own. A receiver that is back is found within it.
const LONGEST: Duration = Duration::from_secs(120);
/// A receiver that asks for a longer pause is asked again after this.
const LONGEST_TOLD: Duration = Duration::from_secs(300);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Done,
    /// Not before the told time.
    Again(Option<Duration>),
    /// It cannot help; what would.
    Never(&'static str),
}

/// By the status of the answer; `told` is its `Retry-After`.
pub(super) fn next(status: StatusCode, told: Option<Duration>) -> Next {
    match status.as_u16() {
        200..=299 => Next::Done,
        408 | 425 | 429 | 500..=599 => Next::Again(told),
        300..=399 => Next::Never("it redirects, which is not followed: write the final URL"),
        401 | 403 => Next::Never("it refuses us: check the URL and the signing secret"),
        404 | 405 | 410 => Next::Never("there is no such webhook: make a new one"),
        400 | 415 | 422 => Next::Never("it does not take this body: check [alerts] format"),
        413 => Next::Never("the body is too large for it"),
        _ => Next::Never("check the webhook's URL"),
    }
}

/// The pause after `failed` failed tries (at least one); `dice` from 0 to 1.
pub(super) fn pause(failed: u32, told: Option<Duration>, dice: f64) -> Duration {
    let doubled = BASE.saturating_mul(1 << failed.saturating_sub(1).min(16));
    let own = doubled
        .min(LONGEST)
        .mul_f64(0.75 + dice.clamp(0.0, 1.0) / 2.0);
    // Told times are never undercut, but by their bound.
    own.max(told.unwrap_or_default().min(LONGEST_TOLD))
}
