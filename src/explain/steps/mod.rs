//! What to do, in order, for each class: lists of data, filled in with what the evidence names.
//!
//! For money the order is fixed, and is the one in which support asks: payment record, balance, organisation and project,
//! auto recharge, usage limit, rate limit.

mod account;
mod pages;
mod request;
mod trouble;

use self::pages::Pages;
use super::{Step, Whose, evidence::Shown};
use crate::triage::{Class, Verdict};

/// What to do, and where. `{billing}`, `{limits}`, `{keys}` and `{status}` are the vendor's pages.
type List = &'static [(&'static str, &'static str)];

/// What to do, in order.
pub(super) fn steps(verdict: &Verdict, evidence: &Shown, whose: &Whose) -> Vec<Step> {
    let pages = pages::of(&whose.name);
    if matches!(
        verdict.class,
        Class::QuotaExhausted | Class::BillingHardLimit | Class::BillingInactive
    ) {
        let mut steps = filled(account::MONEY_BEFORE, pages);
        steps.push(whose_account(evidence));
        steps.extend(filled(account::MONEY_AFTER, pages));
        return steps;
    }
    filled(list(verdict.class, evidence), pages)
}

fn filled(list: List, pages: &Pages) -> Vec<Step> {
    let fill = |text: &str| {
        text.replace("{billing}", pages.billing)
            .replace("{limits}", pages.limits)
            .replace("{keys}", pages.keys)
            .replace("{status}", pages.status)
    };
    list.iter()
        .map(|(what, place)| Step::new(*what, fill(place)))
        .collect()
}

/// The step that finds most days lost: paid there, asked here.
fn whose_account(evidence: &Shown) -> Step {
    let (named, place) = match (&evidence.organization, &evidence.project) {
        (Some(organization), Some(project)) => (
            format!("The answer names {organization} and {project}."),
            "compare with the console's organization and project switch",
        ),
        (Some(organization), None) => (
            format!("The answer names {organization}."),
            "compare with the console's organization switch",
        ),
        _ => (
            "This paste does not say which; the response headers do.".to_owned(),
            "headers openai-organization, openai-project (curl -i); `weir doctor`",
        ),
    };
    Step::new(
        format!(
            "Organization and project: was the money paid into the one that this key bills? {named} Credit of another organization, or of a personal account, does not count."
        ),
        place,
    )
}

fn list(class: Class, evidence: &Shown) -> List {
    match class {
        Class::QuotaExhausted | Class::BillingHardLimit | Class::BillingInactive => {
            account::MONEY_BEFORE
        }
        Class::AccountDeactivated => account::CLOSED,
        Class::RateLimitedRequests | Class::RateLimitedImages => account::RATE,
        Class::RateLimitedTokens => account::TOKENS,
        Class::RateLimitedDay => account::DAY,
        Class::RateLimitedConcurrency => account::CONCURRENCY,
        Class::RateLimitedRamp => account::RAMP,
        Class::RequestTooLargeForLimit => account::TOO_LARGE_FOR_LIMIT,
        Class::PayloadTooLarge => request::PAYLOAD,
        Class::BatchQueueFull => account::BATCH,
        Class::Overloaded => trouble::OVERLOADED,
        Class::CapacityUnavailable => trouble::TIER,
        Class::ServerError | Class::Unknown => trouble::SERVER,
        Class::Timeout if evidence.network.as_deref() == Some("connect_timeout") => {
            trouble::CONNECT_TIMEOUT
        }
        Class::Timeout => trouble::TIMEOUT,
        Class::Connection => match evidence.network.as_deref() {
            Some("dns") => trouble::DNS,
            Some("tls") => trouble::TLS,
            Some("refused") => trouble::REFUSED,
            Some("reset") => trouble::RESET,
            _ => trouble::CONNECTION,
        },
        Class::EdgeHtmlError => trouble::EDGE,
        Class::StreamError => trouble::STREAM,
        Class::EdgeBlocked => trouble::EDGE_BLOCKED,
        Class::AuthInvalid => account::KEY,
        Class::AuthMissing => account::KEY_MISSING,
        Class::AuthWrongOrg => account::WRONG_ORG,
        Class::AuthProjectArchived => account::ARCHIVED,
        Class::Permission => account::PERMISSION,
        Class::VerificationRequired => account::VERIFICATION,
        Class::IpBlocked => account::IP,
        Class::ModelNotFound => request::MODEL,
        Class::RegionUnsupported => account::REGION,
        Class::RoutingNoProvider => request::ROUTER,
        Class::InvalidRequest => request::INVALID,
        Class::ContextLength => request::CONTEXT,
        Class::ContentFilter => request::CONTENT,
        Class::NotFound => request::PATH,
        Class::Conflict => request::CONFLICT,
        Class::StateNotPortable => request::STATE,
        Class::ModelOutputInvalid => request::OUTPUT,
        Class::ModelLoading => trouble::LOADING,
        Class::Cancelled => request::CANCELLED,
    }
}
