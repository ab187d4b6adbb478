//! What each class of failure leads to: the one table that retry, breaker and alerts read.
//!
//! Two cells are kinder than "open the key": a missing permission and a missing verification are about one model or
//! endpoint, and closing the whole key for them would turn a small mistake into an outage. They open the target.

use super::class::{Class, Helps, Scope};
use super::{Confidence, Verdict};

/// May the same target be asked again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameTarget {
    /// Asking again cannot help.
    Never,
    /// After exactly the told wait, if it fits deadline and `max_wait`. When no wait was told, after the backoff.
    AfterWait,
    /// After the backoff (or the told wait, when that is longer), within the retry budget.
    Backoff,
}

/// What the failure means for circuits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitEffect {
    /// Neither success nor failure.
    Neutral,
    /// A failure, to be counted.
    Counts,
    /// Opens the whole scope of the credential at the first one.
    OpensScope {
        /// Opened for money: probed by one real small call, and by `weir credit topped-up`.
        billing: bool,
    },
    /// Opens this target until the told reset.
    OpensTargetUntilReset,
    /// Opens this target.
    OpensTarget,
    /// Opens the key's scope when the key is weir's own; never for a caller's key.
    OpensKey,
}

/// May the route's next target be asked?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTarget {
    /// The failure is handed back.
    Never,
    /// At once (or, for a transient failure, after one repeat here).
    Always,
    /// When the told wait does not fit deadline or `max_wait`.
    WhenWaitDoesNotFit,
    /// Only one with a larger context window.
    LargerWindow,
    /// Only when the key that failed is weir's own.
    OwnKeyOnly,
}

/// What a class leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The same target again?
    pub same_target: SameTarget,
    /// Effect on circuits.
    pub circuit: CircuitEffect,
    /// The next target?
    pub next_target: NextTarget,
    /// Tell a human.
    pub alert: bool,
}

impl Class {
    /// What this class leads to.
    pub const fn policy(self) -> Policy {
        use CircuitEffect as C;
        use NextTarget as N;
        use SameTarget as S;
        let (same_target, circuit, next_target, alert) = match self {
            Self::QuotaExhausted
            | Self::BillingHardLimit
            | Self::BillingInactive
            | Self::AccountDeactivated => {
                (S::Never, C::OpensScope { billing: true }, N::Always, true)
            }
            Self::RateLimitedRequests
            | Self::RateLimitedTokens
            | Self::RateLimitedImages
            | Self::RateLimitedConcurrency
            | Self::RateLimitedRamp => (S::AfterWait, C::Neutral, N::WhenWaitDoesNotFit, false),
            Self::RateLimitedDay | Self::BatchQueueFull => {
                (S::AfterWait, C::OpensTargetUntilReset, N::Always, true)
            }
            Self::RequestTooLargeForLimit => (S::Never, C::Neutral, N::Always, false),
            Self::Overloaded
            | Self::CapacityUnavailable
            | Self::ServerError
            | Self::EdgeHtmlError
            | Self::StreamError
            | Self::Timeout
            | Self::Connection
            | Self::ModelLoading => (S::Backoff, C::Counts, N::Always, false),
            // The edge refuses our address: other upstreams may well work, hammering makes it worse.
            Self::EdgeBlocked => (S::AfterWait, C::Counts, N::Always, true),
            Self::AuthInvalid
            | Self::AuthMissing
            | Self::AuthWrongOrg
            | Self::AuthProjectArchived
            | Self::IpBlocked
            | Self::RegionUnsupported => (S::Never, C::OpensKey, N::OwnKeyOnly, true),
            Self::Permission | Self::VerificationRequired => {
                (S::Never, C::OpensTarget, N::OwnKeyOnly, true)
            }
            Self::ModelNotFound => (S::Never, C::OpensTarget, N::Always, false),
            // About what this one request asked of the router, so the target stays good for others.
            Self::RoutingNoProvider => (S::Never, C::Neutral, N::Always, false),
            Self::ContextLength => (S::Never, C::Neutral, N::LargerWindow, false),
            // A matter of the draw: another try gives another sample, nobody is broken.
            Self::ModelOutputInvalid => (S::Backoff, C::Neutral, N::Always, false),
            Self::PayloadTooLarge
            | Self::InvalidRequest
            | Self::ContentFilter
            | Self::NotFound
            | Self::Conflict
            | Self::StateNotPortable
            | Self::Cancelled
            | Self::Unknown => (S::Never, C::Neutral, N::Never, false),
        };
        Policy {
            same_target,
            circuit,
            next_target,
            alert,
        }
    }

    /// The failure is about money or the account, and ends only when a human acts.
    pub const fn is_billing(self) -> bool {
        matches!(
            self.policy().circuit,
            CircuitEffect::OpensScope { billing: true }
        )
    }

    /// A limit that refills by itself.
    pub const fn is_rate_limit(self) -> bool {
        matches!(
            self,
            Self::RateLimitedRequests
                | Self::RateLimitedTokens
                | Self::RateLimitedImages
                | Self::RateLimitedDay
                | Self::RateLimitedConcurrency
                | Self::RateLimitedRamp
        )
    }

    /// The caller's own mistake: the provider and its credentials are fine.
    pub const fn is_callers_mistake(self) -> bool {
        matches!(
            self,
            Self::InvalidRequest
                | Self::PayloadTooLarge
                | Self::ContentFilter
                | Self::NotFound
                | Self::Conflict
                | Self::StateNotPortable
                | Self::ContextLength
        )
    }
}

impl Verdict {
    /// What this failure leads to: the class's policy, narrowed by what is known of this one. A repeat that the verdict
    /// rules out is never made; what reaches no further than the request opens nothing for others; what is about
    /// one model, or is guessed from a bare status, opens the target and not the credential.
    pub fn policy(&self) -> Policy {
        let mut policy = self.class.policy();
        if self.retry_same == Helps::No {
            policy.same_target = SameTarget::Never;
            if policy.next_target == NextTarget::WhenWaitDoesNotFit {
                policy.next_target = NextTarget::Always;
            }
        }
        policy.circuit = match (policy.circuit, self.scope) {
            (CircuitEffect::Counts, _) => CircuitEffect::Counts,
            (_, Scope::Request) => CircuitEffect::Neutral,
            (CircuitEffect::OpensScope { .. }, Scope::Model) => CircuitEffect::OpensTarget,
            // A bare status closes what was asked, and nothing wider: whoever sent it may not be the provider.
            (CircuitEffect::OpensScope { .. } | CircuitEffect::OpensKey, _)
                if self.confidence == Confidence::Guess =>
            {
                CircuitEffect::OpensTarget
            }
            (circuit, _) => circuit,
        };
        policy
    }
}
