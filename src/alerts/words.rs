//! Classes and scopes in the words of people who were just woken.

use std::time::Duration;

use crate::{
    config::AlertTopic,
    triage::{CircuitEffect, Class, Scope},
};

/// Whom a class concerns.
pub(super) const fn topic(class: Class) -> AlertTopic {
    match class.policy().circuit {
        CircuitEffect::OpensScope { .. } => AlertTopic::Billing,
        CircuitEffect::OpensKey => AlertTopic::Credentials,
        CircuitEffect::OpensTarget => match class {
            Class::ModelNotFound => AlertTopic::Models,
            _ => AlertTopic::Credentials,
        },
        CircuitEffect::OpensTargetUntilReset => AlertTopic::Limits,
        // The neutral ones open nothing.
        CircuitEffect::Counts | CircuitEffect::Neutral => AlertTopic::Trouble,
    }
}

/// What is closed off: `organization org-1`, `model gpt-4o`, `own key`.
pub(super) fn name(scope: Scope, key: &str) -> String {
    match scope {
        Scope::Key => key.to_owned(),
        scope => format!("{scope} {key}"),
    }
}

/// `42s`, `12m 3s`, `2h 5m`, `3days 4h`: two units say enough.
pub(super) fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return "less than 1s".to_owned();
    }
    let text = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    let units: Vec<_> = text.split(' ').take(2).collect();
    units.join(" ")
}

/// `12,000,000`
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What the class means, in a sentence.
pub(super) const fn meaning(class: Class) -> &'static str {
    match class {
        Class::QuotaExhausted => "The provider refuses because credit or plan quota is used up.",
        Class::BillingHardLimit => "The provider refuses because a spend limit is reached.",
        Class::BillingInactive => {
            "The provider refuses because the account has no working payment."
        }
        Class::AccountDeactivated => "The provider has closed or suspended the account.",
        Class::RateLimitedDay => "A daily limit is used up.",
        Class::BatchQueueFull => "The queue of batch tokens is full.",
        Class::Overloaded => "The provider says that it is overloaded.",
        Class::CapacityUnavailable => "The provider has no capacity for this tier, pool or region.",
        Class::ServerError => "The provider answers with errors of its own.",
        Class::EdgeHtmlError => "An edge in front of the API answers in its place.",
        Class::StreamError => "Streams break or carry errors.",
        Class::Timeout => "The provider does not answer in time.",
        Class::Connection => "Connections to the provider fail or break.",
        Class::ModelLoading => "The server is still loading the model.",
        Class::EdgeBlocked => "The provider's edge refuses this network address.",
        Class::AuthInvalid => "The provider does not accept the API key.",
        Class::AuthMissing => "The provider gets no API key.",
        Class::AuthWrongOrg => "Organization or project do not fit the API key.",
        Class::AuthProjectArchived => "The key's project is archived.",
        Class::IpBlocked => "An allow-list refuses this network address.",
        Class::RegionUnsupported => "The provider does not serve this country or region.",
        Class::Permission => "The key may not do this.",
        Class::VerificationRequired => "The organization has to be verified for this model first.",
        Class::ModelNotFound => "The model does not exist, or this key has no access to it.",
        // None of these opens a circuit.
        Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::RateLimitedConcurrency
        | Class::RateLimitedRamp
        | Class::RequestTooLargeForLimit
        | Class::PayloadTooLarge
        | Class::RoutingNoProvider
        | Class::InvalidRequest
        | Class::ContextLength
        | Class::ContentFilter
        | Class::NotFound
        | Class::Conflict
        | Class::StateNotPortable
        | Class::ModelOutputInvalid
        | Class::Cancelled
        | Class::Unknown => "Calls fail.",
    }
}
