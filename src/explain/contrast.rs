//! What a failure could be taken for, and is not: the mistakes that cost people a day.
//!
//! Only what the evidence shows. That a key is valid is said when the provider spoke about what lies behind it.

use super::{Whose, evidence::Shown, is_bare, is_openai};
use crate::triage::{Class, Helps, Verdict};

pub(super) fn is_not(verdict: &Verdict, evidence: &Shown, whose: &Whose) -> Vec<String> {
    let mut told = Vec::new();
    let mut say = |text: &str| told.push(text.to_owned());
    let status = evidence.status.unwrap_or_default();
    let words = evidence
        .message
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let class = verdict.class;
    if is_bare(class, evidence) {
        say(bare(status));
    }
    if class.is_billing() {
        if status == 429 {
            say(
                "Not a rate limit, although the status is 429: how fast you call does not matter, and waiting or retrying never cures it.",
            );
        }
        if status == 400 {
            say(
                "Not a mistake in the request, although the status is 400: the same request works once the limit is out of the way.",
            );
        }
    }
    match class {
        Class::QuotaExhausted | Class::BillingHardLimit | Class::BillingInactive => {
            if status != 401 && !is_bare(class, evidence) {
                say(
                    "Not a bad key: the provider knew the key and looked at the account behind it. A new key of the same organization fails the same way.",
                );
            }
            if class == Class::BillingHardLimit {
                say("Not an empty balance: there may be credit left; a limit stands before it.");
            }
            if class == Class::QuotaExhausted && is_openai(whose) {
                say(
                    "Not your ChatGPT subscription: ChatGPT Plus, Pro or Team pay nothing for the API.",
                );
            }
        }
        Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::RateLimitedDay
        | Class::RateLimitedConcurrency
        | Class::RateLimitedRamp
            if !is_bare(class, evidence) =>
        {
            if ["quota", "billing", "credit", "plan"]
                .iter()
                .any(|word| words.contains(word))
            {
                say(
                    "Not an empty account, although the text speaks of quota or billing: this limit passes by itself.",
                );
            } else {
                say("Not about money: the account can pay, it only asks too fast.");
            }
            say("Not a bad key: your key is valid, or it would have got a 401.");
            if verdict.waiting_helps == Helps::No {
                say("Not a limit that refills: it is zero, or closed for this plan.");
            }
        }
        Class::RequestTooLargeForLimit => {
            say(
                "Not a passing limit, although it reads like one: every repeat of the same request fails, also on an idle account.",
            );
            say(
                "Not the model's context window: the limit per minute is smaller than this one request.",
            );
        }
        Class::Overloaded | Class::CapacityUnavailable => {
            say("Not your rate limit, your key or your bill: nothing of yours has to change.");
        }
        Class::ServerError | Class::StreamError => {
            say("Not your key, limit or balance: those are refused with words of their own.")
        }
        Class::EdgeHtmlError => say(
            "Not an answer of the API: nothing can be read from it about key, limits or balance.",
        ),
        Class::EdgeBlocked => {
            say("Not the key and not its limits: the request was stopped before the API saw it.")
        }
        Class::Connection | Class::Timeout => {
            say("Not a refusal: the provider has said nothing about key, limits or balance.")
        }
        Class::AuthInvalid => say(
            "Not a limit and not billing: an account without money answers 429 or 402, not that the key is wrong.",
        ),
        Class::AuthMissing => say("Not a bad key: none arrived."),
        Class::AuthWrongOrg => say(
            "Not a bad key as such: without the organization and project headers it may well work.",
        ),
        Class::Permission | Class::VerificationRequired => {
            say("Not a bad key: your key is valid, what it may do is too little.")
        }
        Class::ModelNotFound => {
            say("Not a wrong address: the API answered, it does not offer this model to you.");
            say(
                "Not always a misspelling: a model that the key may not use is hidden behind the same words.",
            );
        }
        Class::ContextLength => say(
            "Not a rate limit: the tokens of this one request are too many, on every account and at every time.",
        ),
        Class::InvalidRequest | Class::ContentFilter | Class::PayloadTooLarge => {
            say(
                "Not the key, the limits or the provider's health: the request was read and judged.",
            );
        }
        Class::NotFound => {
            say("Not a missing model or a bad key: what does not exist is the path or the id.")
        }
        _ => {}
    }
    told
}

/// When only the status is known.
fn bare(status: u16) -> &'static str {
    match status {
        429 => {
            "Not yet certain: a 429 can also be an empty account, which no waiting cures. The body tells: look for `insufficient_quota`, \"billing\" or \"credit\" in it, and paste it here."
        }
        400 => {
            "Not yet certain: a 400 can also be a spend limit (`billing_hard_limit_reached`). The body tells; paste it here."
        }
        401 | 403 => {
            "Not yet certain: key, organization, project, region and network address share this status. The body tells; paste it here."
        }
        404 => {
            "Not yet certain: a wrong path and a model without access share this status. The body tells; paste it here."
        }
        _ => "Not yet certain: the body and the headers would tell more; paste them here.",
    }
}
