//! What a class of failure says about the provider, the network and the key; most say nothing.

use crate::{config::UpstreamKey, triage::Class};

/// Where a failure points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No connection, or it broke.
    Network,
    /// Nobody answered in time: the network or the server.
    Silent,
    /// The server, or the edge before it, answered that it cannot.
    Server,
    /// An edge refuses our address.
    Blocked,
    /// The key or its account may not do this one thing, or (callers' own keys) may do nothing.
    Key,
}

/// What a failure is evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Against the target.
    Target(Cause),
    /// Against a key that weir holds, whatever the model.
    OwnKey,
    /// Nothing: the caller's mistake, a limit, a matter of one request.
    Nothing,
}

pub(super) const CAUSES: usize = 5;

// === impl Cause ===

impl Cause {
    /// Its place in a row of counters.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Network => 0,
            Self::Silent => 1,
            Self::Server => 2,
            Self::Blocked => 3,
            Self::Key => 4,
        }
    }
}

/// What a failure of this class is evidence of, at an upstream with this key.
pub(super) fn evidence(class: Class, key: &UpstreamKey) -> Evidence {
    let own = *key != UpstreamKey::Passthrough;
    match class {
        Class::Connection => Evidence::Target(Cause::Network),
        Class::Timeout => Evidence::Target(Cause::Silent),
        Class::Overloaded
        | Class::CapacityUnavailable
        | Class::ServerError
        | Class::EdgeHtmlError
        | Class::StreamError
        | Class::ModelLoading => Evidence::Target(Cause::Server),
        Class::EdgeBlocked => Evidence::Target(Cause::Blocked),
        Class::QuotaExhausted
        | Class::BillingHardLimit
        | Class::BillingInactive
        | Class::AccountDeactivated => match own {
            true => Evidence::OwnKey,
            // One caller without credit is that caller's matter; when all are, it shows in the share.
            false => Evidence::Target(Cause::Key),
        },
        Class::AuthInvalid
        | Class::AuthMissing
        | Class::AuthWrongOrg
        | Class::AuthProjectArchived
        | Class::IpBlocked
        | Class::RegionUnsupported => match own {
            true => Evidence::OwnKey,
            false => Evidence::Nothing,
        },
        // About one model or endpoint: other calls with this key may be served.
        Class::Permission | Class::VerificationRequired => match own {
            true => Evidence::Target(Cause::Key),
            false => Evidence::Nothing,
        },
        Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::RateLimitedDay
        | Class::RateLimitedConcurrency
        | Class::RateLimitedRamp
        | Class::RequestTooLargeForLimit
        | Class::PayloadTooLarge
        | Class::BatchQueueFull
        // A name that callers choose: most are misspelt, and the answer says so.
        | Class::ModelNotFound
        | Class::RoutingNoProvider
        | Class::InvalidRequest
        | Class::ContextLength
        | Class::ContentFilter
        | Class::NotFound
        | Class::Conflict
        | Class::StateNotPortable
        | Class::ModelOutputInvalid
        | Class::Cancelled
        | Class::Unknown => Evidence::Nothing,
    }
}
