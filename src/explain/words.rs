//! Class and scope in words, and what this gateway does about them.

use super::evidence::Shown;
use crate::triage::{
    CircuitEffect, Class, Confidence, Helps, NextTarget, SameTarget, Scope, Verdict,
};

/// What would help when nothing was recognised.
pub(super) const NEEDED: &[&str] = &[
    "the status line or the status (`HTTP/2 429`, `Error code: 429`)",
    "the response body, whole: its error.code and error.type decide",
    "the response headers, such as x-request-id, retry-after, x-ratelimit-*",
    "for a failure without an answer: the innermost exception (`ECONNREFUSED`, `certificate verify failed`)",
    "whose API it is: --provider NAME",
];

/// The class in a few words.
pub(super) const fn title(class: Class) -> &'static str {
    match class {
        Class::QuotaExhausted => "Out of credit",
        Class::BillingHardLimit => "A spend limit is reached",
        Class::BillingInactive => "The account has no working payment",
        Class::RateLimitedRequests => "Too many requests for the rate limit",
        Class::RateLimitedTokens => "Too many tokens for the rate limit",
        Class::RateLimitedImages => "Too many images for the rate limit",
        Class::RateLimitedDay => "The day's limit is used up",
        Class::RateLimitedConcurrency => "Too many calls at once",
        Class::RateLimitedRamp => "Traffic grew too fast",
        Class::RequestTooLargeForLimit => "One request is larger than the whole rate limit",
        Class::PayloadTooLarge => "The request has too many bytes",
        Class::BatchQueueFull => "The batch queue is full",
        Class::Overloaded => "The provider is overloaded",
        Class::CapacityUnavailable => "No capacity in this tier, pool or region",
        Class::ServerError => "The provider failed",
        Class::Timeout => "Nobody answered in time",
        Class::Connection => "The connection could not be made, or broke",
        Class::EdgeHtmlError => "A proxy or edge answered in place of the API",
        Class::StreamError => "The stream broke before its end",
        Class::EdgeBlocked => "The provider's edge refuses this network address",
        Class::AuthInvalid => "The key is not valid",
        Class::AuthMissing => "No key was sent",
        Class::AuthWrongOrg => "Organization or project does not fit the key",
        Class::AuthProjectArchived => "The key's project is archived",
        Class::AccountDeactivated => "The account is closed or suspended",
        Class::Permission => "The key may not do this",
        Class::VerificationRequired => "The organization has to be verified first",
        Class::IpBlocked => "An allow-list refuses this network address",
        Class::ModelNotFound => "No such model, or not for this key",
        Class::RegionUnsupported => "Not served in this country or region",
        Class::RoutingNoProvider => "The router found nobody to serve the call",
        Class::InvalidRequest => "The request is not valid",
        Class::ContextLength => "The input is longer than the model's context window",
        Class::ContentFilter => "Refused for its content",
        Class::NotFound => "No such path or object",
        Class::Conflict => "Another call is changing the same object",
        Class::StateNotPortable => "An id or block of another account or provider",
        Class::ModelOutputInvalid => "The model's output broke its format",
        Class::ModelLoading => "The server is still loading the model",
        Class::Cancelled => "The call was cancelled",
        Class::Unknown => "Unknown",
    }
}

/// What it is, in a sentence or two.
pub(super) fn is(verdict: &Verdict, status: Option<u16>) -> String {
    let text = match verdict.class {
        Class::QuotaExhausted => {
            "The provider refuses to work because the account behind the key has no credit or plan quota left. It stays so until somebody pays."
        }
        Class::BillingHardLimit => {
            "A limit on spending that somebody set, or that the plan has, is reached. It stays so until the limit is raised or its period ends."
        }
        Class::BillingInactive => {
            "The provider has no payment it can use: none was added, the card was declined, or an invoice is open."
        }
        Class::RateLimitedRequests => {
            "More requests came within the window than the limit allows. The bucket refills by itself."
        }
        Class::RateLimitedTokens => {
            "More tokens were asked for within the window than the limit allows. A request counts with its input and with the output that it may have (max_tokens)."
        }
        Class::RateLimitedImages => {
            "More images were asked for within the window than the limit allows."
        }
        Class::RateLimitedDay => {
            "A limit by the day is used up. It comes back at the reset, or bit by bit; not in a minute."
        }
        Class::RateLimitedConcurrency => {
            "More calls were in flight at the same time than are allowed."
        }
        Class::RateLimitedRamp => {
            "The number of calls rose faster than the provider scales. The limits themselves may not be reached."
        }
        Class::RequestTooLargeForLimit => {
            "This one request asks for more tokens than the limit has in a whole window, so it never fits, however long one waits."
        }
        Class::PayloadTooLarge => {
            "The request is larger in bytes, files or headers than is accepted."
        }
        Class::BatchQueueFull => {
            "The tokens of the batches that are waiting already fill the queue."
        }
        Class::Overloaded => {
            "The provider, or this model there, has more work than room; everybody who asks gets this."
        }
        Class::CapacityUnavailable => {
            "The tier, pool or region that was asked for has no room now."
        }
        Class::ServerError => "Something broke on the provider's side.",
        Class::Timeout => {
            "No answer, or none of its content, came before somebody's patience ended: the client's, a proxy's or the provider's."
        }
        Class::Connection => {
            "There was no answer, or not the whole of it: the connection was refused, broke, or could not be made at all."
        }
        Class::EdgeHtmlError => {
            "What answered is not the API but something in front of it (Cloudflare, a load balancer, a company proxy)."
        }
        Class::StreamError => {
            "The answer began, and then broke off or carried an error. What was received is not complete."
        }
        Class::EdgeBlocked => {
            "The protection in front of the API refuses or slows this network address, before any key is looked at."
        }
        Class::AuthInvalid => {
            "The provider does not know this key: mistyped, revoked, expired, or another provider's."
        }
        Class::AuthMissing => "The request reached the provider without a key.",
        Class::AuthWrongOrg => {
            "The request names an organization or project that the key does not belong to."
        }
        Class::AuthProjectArchived => {
            "The key belongs to a project that has been archived; its keys are dead."
        }
        Class::AccountDeactivated => {
            "The provider has closed or suspended the account. No key of it works."
        }
        Class::Permission => "The key is known, and it may not do what was asked.",
        Class::VerificationRequired => {
            "This model or feature is only for organizations that have proven who they are."
        }
        Class::IpBlocked => {
            "The account allows only certain network addresses, and the call came from another."
        }
        Class::ModelNotFound => {
            "The model's name is wrong, it has been retired, or this key has no access to it; the provider says the same for all three."
        }
        Class::RegionUnsupported => {
            "The provider does not serve the country or region that the call came from."
        }
        Class::RoutingNoProvider => {
            "No provider behind the router fits this request and its settings."
        }
        Class::InvalidRequest => {
            "The provider understood who asks and refuses what is asked. Its message names the part."
        }
        Class::ContextLength => {
            "Input and reserved output together do not fit into the model's window."
        }
        Class::ContentFilter => "A safety rule refused the input or the output.",
        Class::NotFound => "The address or the object's id is not known there.",
        Class::Conflict => "The object is in use by another call at this moment.",
        Class::StateNotPortable => {
            "The request refers to something that only another account or provider holds, or that is gone."
        }
        Class::ModelOutputInvalid => {
            "The model wrote something that broke the format it was asked for. It is a matter of the draw."
        }
        Class::ModelLoading => "A local server is up, its model is not yet.",
        Class::Cancelled => "The client, or a time limit of the session, ended it.",
        Class::Unknown => "Nobody knows.",
    };
    let only_status = verdict.confidence == Confidence::Guess;
    match status {
        Some(status) if only_status => {
            format!("Only the status {status} speaks here, so this is a careful guess. {text}")
        }
        _ => text.to_owned(),
    }
}

/// Who else is affected.
pub(super) fn affected(verdict: &Verdict, evidence: &Shown) -> String {
    let named = |what: &str, name: &Option<String>| match name {
        Some(name) => format!("{what} {name}"),
        None => what.to_owned(),
    };
    match verdict.scope {
        Scope::Request => "Only this request; others go on.".to_owned(),
        Scope::Model => {
            "Every call to this model with this account. Other models go on.".to_owned()
        }
        Scope::Key => "Every call with this key. Other keys go on.".to_owned(),
        Scope::Project => format!(
            "Every key of {}. Other projects go on.",
            named("the project", &evidence.project)
        ),
        Scope::Organization => format!(
            "Every key and every project of {}. A new key of it does not help.",
            named("the organization", &evidence.organization)
        ),
        Scope::Account => "Everything of this account: all its keys and models.".to_owned(),
        Scope::Provider => {
            "Everybody who reaches the provider by this way, whatever the key.".to_owned()
        }
    }
}

/// What the gateway does about it, from its policy.
pub(super) fn weir(verdict: &Verdict) -> Vec<String> {
    let policy = verdict.policy();
    let mut told = vec![
        match policy.same_target {
            SameTarget::Never => "Does not repeat it here, and tells the SDK not to (x-should-retry: false).",
            SameTarget::AfterWait if verdict.retry_same == Helps::Partly => "Repeats it once or twice after the wait.",
            SameTarget::AfterWait => "Waits as long as told and repeats, when that fits max_wait and the caller's time.",
            SameTarget::Backoff => "Repeats it after a growing pause, within the retry budget.",
        }
        .to_owned(),
        match policy.next_target {
            NextTarget::Never => "Hands it back as it is; no other target is asked.",
            NextTarget::Always => "Asks the route's next target, if there is one.",
            NextTarget::WhenWaitDoesNotFit => "Asks the route's next target when the wait is too long.",
            NextTarget::LargerWindow => "Asks the route's next target only if its context window is known to be larger.",
            NextTarget::OwnKeyOnly => "Asks the route's next target when the key is weir's own; a caller's key goes nowhere else.",
        }
        .to_owned(),
    ];
    let scope = verdict.scope.as_str();
    match policy.circuit {
        CircuitEffect::Neutral => {}
        CircuitEffect::Counts => told.push("Counts it; enough of them open the target's circuit for a while.".to_owned()),
        CircuitEffect::OpensScope { billing: true } => told.push(format!(
            "Opens the circuit of the {scope} at the first one; nothing reaches the provider but a probe now and then. After paying, `weir credit topped-up` probes at once."
        )),
        CircuitEffect::OpensScope { billing: false } => told.push(format!("Opens the circuit of the {scope}.")),
        CircuitEffect::OpensTargetUntilReset => told.push("Opens the target's circuit until the reset.".to_owned()),
        CircuitEffect::OpensTarget => told.push("Opens the target's circuit.".to_owned()),
        CircuitEffect::OpensKey => told.push("Opens the key's circuit when the key is weir's own; a caller's bad key closes nothing.".to_owned()),
    }
    if policy.alert {
        told.push("Raises an alert, once.".to_owned());
    }
    told
}
