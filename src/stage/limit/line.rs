//! The waiting line of one target: whoever comes first goes first, and who cannot be served in time is told at once.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{Bucket, places::Places};
use crate::triage::Class;

/// Calls that may wait for one target. More are refused at once: they would wait for minutes and hold memory.
const LONGEST_LINE: u32 = 1024;
/// What a caller is told when nobody can know (how long others take).
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// What one call takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Estimated input and declared output.
    pub(super) tokens: u64,
    /// When waiting ends.
    pub(super) until: Instant,
}

/// Why a call cannot go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) class: Class,
    /// `None`: never.
    pub(super) retry_after: Option<Duration>,
}

/// The rates of one target, and who waits for them.
#[derive(Debug)]
pub(super) struct Line {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// tokio's mutex is fair. Held while waiting at the head of the line.
    head: Mutex<()>,
    /// Those in the line, the head included.
    waiting: AtomicU32,
    waiting_tokens: AtomicU64,
}

/// A place in the line; leaving gives it up.
struct Place<'a> {
    line: &'a Line,
    tokens: u64,
}

// === impl Line ===

impl Line {
    /// With these limits a minute.
    pub(super) fn new(requests: Option<NonZeroU32>, tokens: Option<NonZeroU32>) -> Self {
        Self {
            // Providers enforce a minute's limit over seconds: a burst of five of them, at least one request.
            requests: requests.map(|limit| {
                Bucket::per_minute(
                    limit,
                    NonZeroU32::new(limit.get() / 12).unwrap_or(NonZeroU32::MIN),
                )
            }),
            tokens: tokens.map(|limit| Bucket::per_minute(limit, limit)),
            head: Mutex::new(()),
            waiting: AtomicU32::new(0),
            waiting_tokens: AtomicU64::new(0),
        }
    }

    /// Whether it has these limits.
    pub(super) fn serves(&self, requests: Option<NonZeroU32>, tokens: Option<NonZeroU32>) -> bool {
        let limit = |bucket: &Option<Bucket>| bucket.as_ref().map(Bucket::limit);
        limit(&self.requests) == requests && limit(&self.tokens) == tokens
    }

    /// Takes a request and the tokens, and a place among the upstream's concurrent calls when these are bounded.
    /// Waits as long as `ask` allows. All is taken or nothing.
    ///
    /// # Errors
    /// When it cannot be in time; at once, when that is known at once.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it has taken nothing.
    pub(super) async fn pass(
        &self,
        ask: Ask,
        places: Option<&Places>,
    ) -> Result<Option<OwnedSemaphorePermit>, Denied> {
        let now = Instant::now();
        let (class, wait) = self.wait_for(ask.tokens, true)?;
        let long = self.waiting.load(Ordering::Relaxed) >= LONGEST_LINE;
        if long || now + wait > ask.until {
            return Err(Denied {
                class,
                retry_after: Some(wait.max(if long { UNKNOWN_WAIT } else { wait })),
            });
        }
        let _place = Place::new(self, ask.tokens);
        let Ok(_head) = timeout_at(ask.until, self.head.lock()).await else {
            let (class, wait) = self.wait_for(ask.tokens, false)?;
            return Err(Denied {
                class,
                retry_after: Some(wait.max(UNKNOWN_WAIT)),
            });
        };
        self.ready(ask).await?;
        // Nobody else takes while we are the head: what is there stays there while we wait for a place.
        let permit = match places {
            Some(places) => Some(places.take(ask.until).await?),
            None => None,
        };
        for (bucket, n) in [(&self.tokens, ask.tokens), (&self.requests, 1)] {
            if let Some(bucket) = bucket {
                let there = bucket.take(n);
                debug_assert_eq!(
                    there,
                    Ok(Duration::ZERO),
                    "the head of the line takes what it has seen"
                );
            }
        }
        Ok(permit)
    }

    /// Waits until both buckets would let the call through.
    async fn ready(&self, ask: Ask) -> Result<(), Denied> {
        loop {
            let (class, wait) = self.wait_for(ask.tokens, false)?;
            if wait.is_zero() {
                return Ok(());
            }
            if Instant::now() + wait > ask.until {
                return Err(Denied {
                    class,
                    retry_after: Some(wait),
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// The longer wait of the two buckets and what it is for; behind those who are waiting, if `queued`.
    fn wait_for(&self, tokens: u64, queued: bool) -> Result<(Class, Duration), Denied> {
        let (before, tokens_before) = match queued {
            true => (
                self.waiting.load(Ordering::Relaxed),
                self.waiting_tokens.load(Ordering::Relaxed),
            ),
            false => (0, 0),
        };
        let mut longest = (Class::RateLimitedRequests, Duration::ZERO);
        let asks = [
            (
                &self.requests,
                1,
                u64::from(before),
                Class::RateLimitedRequests,
            ),
            (
                &self.tokens,
                tokens,
                tokens_before,
                Class::RateLimitedTokens,
            ),
        ];
        for (bucket, n, before, class) in asks {
            let Some(bucket) = bucket else { continue };
            let wait = bucket.wait_for(n).map_err(|_| Denied {
                class: Class::RequestTooLargeForLimit,
                retry_after: None,
            })?;
            let wait = wait + bucket.time_for(before);
            if wait > longest.1 {
                longest = (class, wait);
            }
        }
        Ok(longest)
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    fn new(line: &'a Line, tokens: u64) -> Self {
        line.waiting.fetch_add(1, Ordering::Relaxed);
        line.waiting_tokens.fetch_add(tokens, Ordering::Relaxed);
        Self { line, tokens }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.waiting.fetch_sub(1, Ordering::Relaxed);
        self.line
            .waiting_tokens
            .fetch_sub(self.tokens, Ordering::Relaxed);
    }
}
