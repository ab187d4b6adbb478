//! The words for what went wrong ([`Class`]), how far it reaches ([`Scope`]) and what helps ([`Helps`]).
//!
//! The spelling is a contract: it appears in headers, metric labels, the ledger and the user's own rules.

use std::fmt;
use std::str::FromStr;

/// A word that is in none of the vocabularies of this module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of the known words")]
pub struct UnknownWord(pub String);

/// Declares an enum whose variants have one spelling each, so that the list, the text and the parser cannot drift.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word used in headers, metrics, ledger and rules.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word { $($word => Ok($name::$variant),)+ _ => Err(UnknownWord(word.to_owned())) }
            }
        }
    };
}

vocabulary! {
    /// What kind of failure it is. [`Class::policy`] says what each one leads to.
    Class {
        /// Credit or plan quota is empty.
        QuotaExhausted = "quota_exhausted",
        /// A spend limit (organisation, project, workspace, key) is reached.
        BillingHardLimit = "billing_hard_limit",
        /// The account has no working payment.
        BillingInactive = "billing_inactive",
        /// The requests-per-minute bucket is empty.
        RateLimitedRequests = "rate_limited_requests",
        /// The tokens-per-minute bucket is empty.
        RateLimitedTokens = "rate_limited_tokens",
        /// The images-per-minute bucket is empty.
        RateLimitedImages = "rate_limited_images",
        /// A day-like bucket is empty.
        RateLimitedDay = "rate_limited_day",
        /// Too many calls in flight.
        RateLimitedConcurrency = "rate_limited_concurrency",
        /// Traffic grew too fast.
        RateLimitedRamp = "rate_limited_ramp",
        /// One request is larger than the whole limit window: waiting never cures it.
        RequestTooLargeForLimit = "request_too_large_for_limit",
        /// Bytes, images or headers are too large.
        PayloadTooLarge = "payload_too_large",
        /// The queue of batch tokens is full.
        BatchQueueFull = "batch_queue_full",
        /// The provider or model has no room for anybody.
        Overloaded = "overloaded",
        /// A tier, pool or region has no room.
        CapacityUnavailable = "capacity_unavailable",
        /// The provider failed.
        ServerError = "server_error",
        /// Nobody answered in time.
        Timeout = "timeout",
        /// The connection could not be made or broke.
        Connection = "connection",
        /// An edge in front of the API answered with a page or text of its own.
        EdgeHtmlError = "edge_html_error",
        /// A stream broke or carried an error.
        StreamError = "stream_error",
        /// Edge or network refuses this address; not the key's fault.
        EdgeBlocked = "edge_blocked",
        /// The key is not valid.
        AuthInvalid = "auth_invalid",
        /// No key was sent.
        AuthMissing = "auth_missing",
        /// Organisation or project does not fit the key.
        AuthWrongOrg = "auth_wrong_org",
        /// The key's project is archived.
        AuthProjectArchived = "auth_project_archived",
        /// The account is closed or suspended.
        AccountDeactivated = "account_deactivated",
        /// The key may not do this.
        Permission = "permission",
        /// The organisation has to be verified first.
        VerificationRequired = "verification_required",
        /// An allow-list refuses this address.
        IpBlocked = "ip_blocked",
        /// No such model, or not for this key.
        ModelNotFound = "model_not_found",
        /// Not served in this country or region.
        RegionUnsupported = "region_unsupported",
        /// A router found nobody to serve the call.
        RoutingNoProvider = "routing_no_provider",
        /// The caller's mistake.
        InvalidRequest = "invalid_request",
        /// More input than the model's window.
        ContextLength = "context_length",
        /// Refused for its content.
        ContentFilter = "content_filter",
        /// No such path or object.
        NotFound = "not_found",
        /// Somebody else is changing the same object.
        Conflict = "conflict",
        /// Ids, signatures or encrypted blobs of another organisation or provider.
        StateNotPortable = "state_not_portable",
        /// The sample broke a rule of its format.
        ModelOutputInvalid = "model_output_invalid",
        /// A local server is still loading the model.
        ModelLoading = "model_loading",
        /// The client or a lifetime limit ended it.
        Cancelled = "cancelled",
        /// None of the above.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// How far a failure reaches: what to mark as bad.
    Scope {
        /// Only this request.
        Request = "request",
        /// This model of this upstream.
        Model = "model",
        /// This API key.
        Key = "key",
        /// Every key of the project.
        Project = "project",
        /// Every key of the organisation.
        Organization = "organization",
        /// Everything the account owns.
        Account = "account",
        /// The provider, whoever asks.
        Provider = "provider",
    }
}

vocabulary! {
    /// Whether something helps.
    Helps {
        /// It does.
        Yes = "yes",
        /// Sometimes, or only after long, or once or twice.
        Partly = "partly",
        /// It does not.
        No = "no",
    }
}
