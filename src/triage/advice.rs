//! What to tell a human: the rule's own words, else the class's; for money, what to look at as well.

use std::borrow::Cow;

use super::class::{Class, Scope};

/// Where an empty or closed account is looked into, in this order: the word of the failure is often not the cause.
const MONEY_CHECKS: &str = "Check in order: payment record, balance, organization and project of the key, auto recharge, usage limit.";

/// The advice for a failure of this class and reach, given what its rule says.
pub(super) fn of(class: Class, scope: Scope, own: Option<&str>) -> Cow<'static, str> {
    let money = matches!(
        class,
        Class::QuotaExhausted | Class::BillingHardLimit | Class::BillingInactive
    );
    // About one request or one model there is nothing to look up in the billing pages.
    let checks = money && !matches!(scope, Scope::Request | Scope::Model);
    match own {
        _ if checks => {
            let first = own.unwrap_or_else(|| for_class(class));
            Cow::Owned(format!("{first} {MONEY_CHECKS}"))
        }
        Some(own) => Cow::Owned(own.to_owned()),
        None => Cow::Borrowed(for_class(class)),
    }
}

/// One or two plain sentences; ASCII, single line.
pub(super) const fn for_class(class: Class) -> &'static str {
    match class {
        Class::QuotaExhausted => {
            "The account is out of credit or plan quota and waiting does not help. Add credit, then run `weir credit topped-up`."
        }
        Class::BillingHardLimit => {
            "A spend limit is reached. Raise it in the provider's billing settings or wait until its period ends."
        }
        Class::BillingInactive => {
            "The account has no working payment. Mend it at the provider, then run `weir credit topped-up`."
        }
        Class::RateLimitedRequests => {
            "Too many requests per minute. Wait as told and spread the calls."
        }
        Class::RateLimitedTokens => {
            "Too many tokens per minute. Wait as told, lower max_tokens or shorten the prompts."
        }
        Class::RateLimitedImages => {
            "Too many images per minute. Wait as told and spread the calls."
        }
        Class::RateLimitedDay => {
            "A daily limit is used up. Use another model or provider until it resets."
        }
        Class::RateLimitedConcurrency => "Too many calls at the same time. Lower the concurrency.",
        Class::RateLimitedRamp => {
            "Traffic grew too fast. Go back to the former rate and grow slowly."
        }
        Class::RequestTooLargeForLimit => {
            "This one request is larger than the whole rate limit, so waiting never helps. Shorten it, lower max_tokens, or use a model with a higher limit."
        }
        Class::PayloadTooLarge => {
            "The request has too many bytes, images or headers. Make it smaller."
        }
        Class::BatchQueueFull => {
            "The batch queue is full. Submit this batch when running ones have finished."
        }
        Class::Overloaded => {
            "The provider is overloaded. It is not your limit: retry with backoff or use another model."
        }
        Class::CapacityUnavailable => {
            "This tier, pool or region has no capacity now. Use another tier, region or model."
        }
        Class::ServerError => {
            "The provider failed. Retry with backoff; quote the request id if it persists."
        }
        Class::Timeout => {
            "There was no answer in time. The call may still be charged; stream long answers."
        }
        Class::Connection => "No connection to the provider. Check the network and the address.",
        Class::EdgeHtmlError => {
            "A proxy or edge in front of the API answered instead of it. Usually short: retry."
        }
        Class::StreamError => "The stream broke before its end. What was received is not complete.",
        Class::EdgeBlocked => {
            "The provider's edge refuses this network address; the key is not at fault. Slow down or change the egress."
        }
        Class::AuthInvalid => "The API key is not valid: mistyped, revoked or expired. Replace it.",
        Class::AuthMissing => "No API key was sent. Set one in the app or in the gateway.",
        Class::AuthWrongOrg => {
            "Organization or project do not fit the key. Correct or remove their headers."
        }
        Class::AuthProjectArchived => {
            "The key's project is archived. Use a key of an active project."
        }
        Class::AccountDeactivated => {
            "The account is closed or suspended. Only the provider's support can help."
        }
        Class::Permission => "The key may not do this. Give it the permission or use another key.",
        Class::VerificationRequired => {
            "The organization must be verified for this model first, at the provider."
        }
        Class::IpBlocked => {
            "An allow-list refuses this network address. Add it or change the egress."
        }
        Class::ModelNotFound => {
            "The model does not exist or this key has no access to it. Check the name."
        }
        Class::RegionUnsupported => "The provider does not serve this country or region.",
        Class::RoutingNoProvider => {
            "The router found no provider for this request. Relax its routing settings."
        }
        Class::InvalidRequest => {
            "The request is not valid. The provider's message names the field; repeating does not help."
        }
        Class::ContextLength => {
            "The input is longer than the model's context window. Shorten it or use a larger model."
        }
        Class::ContentFilter => {
            "The content was refused by the provider's safety rules. Change the prompt."
        }
        Class::NotFound => "There is no such path or object. Check the URL and the id.",
        Class::Conflict => "The object is in use by another call. Repeat when that has finished.",
        Class::StateNotPortable => {
            "An id, signature or encrypted block belongs to another account or provider, or is gone. Start without it."
        }
        Class::ModelOutputInvalid => {
            "The model's output broke its format. Repeat once or simplify the schema."
        }
        Class::ModelLoading => "The server is still loading the model. Try again when it is ready.",
        Class::Cancelled => "The call was cancelled.",
        Class::Unknown => "The failure is of an unknown kind.",
    }
}
