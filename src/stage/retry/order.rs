//! The order of targets, and of the errors that they leave.

use std::{sync::Arc, time::Duration};

use crate::{call::Target, error::Error};

/// How soon a target could take a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    /// Its circuit lets calls through.
    pub(super) usable: bool,
    /// For its limits; `None`: the call never fits.
    pub(super) wait: Option<Duration>,
}

/// Those that are free soonest first. Who cannot take the call at all comes last: it is asked when nobody else is left, and
/// says why. The route's order breaks ties.
pub(super) fn by_wait(targets: &mut [Arc<Target>], free: impl Fn(&Target) -> Free) {
    // Each is looked at once: what changes meanwhile must not confuse the order.
    targets.sort_by_cached_key(|target| {
        let free = free(target);
        (!free.usable, free.wait.is_none(), free.wait)
    });
}

/// Whether it invites the caller back earlier; one that does not comes last.
pub(super) fn is_sooner(error: &Error, than: &Error) -> bool {
    match (error.retry_after(), than.retry_after()) {
        (Some(wait), Some(other)) => wait < other,
        (wait, other) => wait.is_some() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::stage::breaker::tests::support::{target, upstream};

    fn arranged(free: &[(bool, Option<u64>)]) -> Vec<u32> {
        let upstream = upstream("first", None, Limits::default());
        let mut targets: Vec<_> = (0..)
            .zip(free)
            .map(|(id, _)| target(id, "m", &upstream))
            .collect();
        by_wait(&mut targets, |target| {
            let (usable, wait) = free[target.id.0 as usize];
            let wait = wait.map(Duration::from_millis);
            Free { usable, wait }
        });
        targets.iter().map(|target| target.id.0).collect()
    }

    #[test]
    fn the_target_that_is_free_soonest_comes_first() {
        let (yes, no) = (true, false);
        assert_eq!(
            arranged(&[(yes, Some(9)), (yes, Some(0)), (yes, Some(5))]),
            [1, 2, 0]
        );
        // The route's order breaks ties.
        assert_eq!(
            arranged(&[(yes, Some(0)), (yes, Some(0)), (yes, Some(0))]),
            [0, 1, 2]
        );
        // A call that never fits, then open circuits.
        assert_eq!(
            arranged(&[
                (no, Some(0)),
                (yes, None),
                (no, None),
                (yes, Some(60_000)),
                (no, Some(0))
            ]),
            [3, 1, 0, 4, 2]
        );
    }

    #[test]
    fn of_two_refusals_the_one_that_ends_soonest_is_the_sooner() {
        let upstream = upstream("first", None, Limits::default());
        let refused = |seconds: Option<u64>| {
            let class = crate::triage::Class::RateLimitedTokens;
            Error::Limit(crate::stage::limit::Refused {
                retry_after: seconds.map(Duration::from_secs),
                ..crate::stage::limit::Refused::bare(target(1, "m", &upstream), class)
            })
        };
        let [soon, late, never] = [Some(5), Some(50), None].map(refused);
        assert!(is_sooner(&soon, &late) && is_sooner(&late, &never));
        for (one, other) in [
            (&late, &soon),
            (&never, &late),
            (&soon, &soon),
            (&never, &never),
        ] {
            assert!(!is_sooner(one, other));
        }
    }
}
