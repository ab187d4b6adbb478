//! Which calls may be answered from here at all, and when a failure is one that old answers are kept for.

use http::Method;

use crate::{
    call::{Call, Payload},
    config::CachePolicy,
    dialect::Endpoint,
    error::Error,
    triage::{CircuitEffect, Class},
};

/// Whether the call's answer depends on its request alone as far as weir can tell: JSON in, JSON (or events)
/// out, no state at the provider, no other protocol.
pub(super) fn possible(call: &Call) -> bool {
    matches!(
        call.endpoint,
        Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Responses
            | Endpoint::Embeddings
            | Endpoint::Moderations
    ) && call.method == Method::POST
        && call.upgrade.is_none()
        && matches!(call.payload, Payload::Whole(_))
        && !call.envelope.stateful
        && !call.envelope.background
        && !call.directives.cache.no_store
}

/// Whether `policy` wants it. `x-weir-cache: on` overrides the policy, not what is possible.
pub(super) fn wanted(call: &Call, policy: CachePolicy) -> bool {
    if call.directives.cache.force {
        return true;
    }
    let envelope = &call.envelope;
    // A chat with `store: true` is meant to leave a record at the provider each time. Responses are always
    // stored there, so with them it says nothing.
    if envelope.store == Some(true) && call.endpoint != Endpoint::Responses {
        return false;
    }
    match policy {
        CachePolicy::Off => false,
        CachePolicy::Identical => true,
        // A search gives another answer tomorrow, whatever the temperature.
        CachePolicy::Deterministic => envelope.deterministic() && !envelope.needs.hosted_tools,
    }
}

/// Whether `error` is the provider's failure, so that an old answer is better than none.
pub(super) fn is_emergency(error: &Error) -> bool {
    match error.failure_class() {
        // A caller whose own key is refused gets to know that; old answers are not for them any more.
        Some(class) if is_about_key(class) => error.failure().is_none_or(|failure| failure.own_key),
        Some(class) => !class.is_callers_mistake() && class != Class::Cancelled,
        None => matches!(error, Error::Deadline(_)),
    }
}

/// Whether the error of a shared call is also that of another caller, who is not `same` (another credential
/// or app).
pub(super) fn is_shared(error: &Error, same: bool) -> bool {
    match error.failure_class() {
        // What the provider says of a key or an account holds for all that use it: weir's own, or the same.
        Some(class) if is_about_key(class) || class.is_rate_limit() || class.is_billing() => {
            same || error.failure().is_some_and(|failure| failure.own_key)
        }
        Some(class) => class != Class::Cancelled,
        // The leader's time is not the follower's; its app's quota is that of the same caller only.
        None => same && !matches!(error, Error::Deadline(_) | Error::Cache(_)),
    }
}

fn is_about_key(class: Class) -> bool {
    matches!(class.policy().circuit, CircuitEffect::OpensKey)
        || matches!(
            class,
            Class::Permission | Class::VerificationRequired | Class::ModelNotFound
        )
}
