//! The verdict: facts, then the first rule that fits, then what follows from it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::class::{Class, Helps, Scope};
use super::facts::Facts;
use super::numbers::ToldLimit;
use super::preset::Rules;
use super::rule::Rule;
use super::told::{Told, text_of};
use super::when::Scene;
use super::{Confidence, Evidence, Provider, Transport, Verdict, advice, wait};

/// A told wait up to this makes a foreign 429 or 402 a passing one, whatever its words: empty accounts tell no wait, and
/// limits by the minute never tell more than two of them.
const PASSING: Duration = Duration::from_secs(120);

/// Judges one failed attempt. Never fails: what nobody knows becomes the most careful class its status allows.
pub fn judge(provider: &Provider, evidence: &Evidence<'_>) -> Verdict {
    judge_at(provider, evidence, SystemTime::now())
}

/// [`judge`] at a given time, to which points in time that the failure names are compared. The `date` header of the
/// answer is preferred: it is the clock by which the provider means them.
pub fn judge_at(provider: &Provider, evidence: &Evidence<'_>, now: SystemTime) -> Verdict {
    let facts = Facts::read(evidence);
    let now = text_of(evidence.headers, "date")
        .and_then(wait::point_in_time)
        .unwrap_or(now);
    let told = Told::read(&facts, evidence.headers, now);
    let status = match evidence.status {
        400.. => Some(evidence.status),
        _ => facts.status,
    };
    let believed = provider.quota_words_are_final && provider.at_home;
    let passing = matches!(status, Some(402 | 429))
        && !believed
        && told.wait.is_some_and(|wait| wait <= PASSING);
    let scene = Scene {
        status,
        facts: &facts,
        headers: evidence.headers,
        body: evidence.body,
        endpoint: evidence.endpoint,
        transport: evidence.transport,
        own_host: provider.at_home,
        passing,
    };
    let sets: Vec<_> = provider.rules.iter().map(Rules::set).collect();
    let rule = sets
        .iter()
        .flat_map(|set| &set.rules)
        .find(|rule| rule.fits(&scene));
    let ruling = Ruling::of(rule, evidence.transport);
    let (wait, reset_at) = told.for_class(
        ruling.class,
        ruling.retry_same,
        provider,
        evidence.headers,
        now,
    );
    let seen = |name: &Option<http::HeaderName>| {
        name.as_ref()
            .and_then(|name| text_of(evidence.headers, name.as_str()))
            .map(str::to_owned)
    };
    Verdict {
        class: ruling.class,
        scope: ruling.scope,
        wait,
        told_limit: ToldLimit::read(&facts, ruling.class),
        reset_at,
        // Its own word against a repeat outranks what is usual; its word for one does not make a hopeless one useful.
        retry_same: match text_of(evidence.headers, "x-should-retry") {
            Some(word) if word.eq_ignore_ascii_case("false") => Helps::No,
            _ => ruling.retry_same,
        },
        waiting_helps: ruling.waiting_helps,
        fallback_helps: ruling.fallback_helps,
        advice: advice::of(
            ruling.class,
            ruling.scope,
            rule.and_then(|rule| rule.advice.as_deref()),
        ),
        rule: rule.map_or_else(|| Arc::from("none"), |rule| rule.id.clone()),
        confidence: ruling.confidence,
        organization: seen(&provider.organization_seen_header),
        project: seen(&provider.project_seen_header),
        request_id: provider
            .request_id_headers
            .iter()
            .find_map(|name| text_of(evidence.headers, name.as_str()))
            .map(str::to_owned),
        provider_message: facts.message,
        code: facts.code,
        kind: facts.kind,
    }
}

/// What is usual for a class, where a verdict was passed elsewhere and only its class is known. `rule` says by whom.
pub fn usual_of(class: Class, rule: &str) -> Verdict {
    let (scope, waiting_helps, retry_same, fallback_helps) = usual(class);
    Verdict {
        class,
        scope,
        wait: None,
        told_limit: None,
        reset_at: None,
        retry_same,
        waiting_helps,
        fallback_helps,
        advice: advice::of(class, scope, None),
        rule: Arc::from(rule),
        confidence: Confidence::Likely,
        organization: None,
        project: None,
        request_id: None,
        provider_message: None,
        code: None,
        kind: None,
    }
}

/// What the rule says, completed by what is usual for its class.
struct Ruling {
    class: Class,
    scope: Scope,
    waiting_helps: Helps,
    retry_same: Helps,
    fallback_helps: Helps,
    confidence: Confidence,
}

impl Ruling {
    fn of(rule: Option<&Rule>, transport: Transport) -> Self {
        let class = rule.map_or(Class::Unknown, |rule| rule.class);
        let (scope, waiting_helps, retry_same, fallback_helps) = usual(class);
        let confidence = match rule {
            Some(rule) if rule.by_word() => Confidence::Certain,
            // A provider's own rule on a bare status is knowledge; the one for everybody is a guess.
            Some(rule)
                if rule.by_status_only()
                    && transport == Transport::Http
                    && rule.id.starts_with("common/") =>
            {
                Confidence::Guess
            }
            Some(_) => Confidence::Likely,
            None => Confidence::Guess,
        };
        Self {
            class,
            scope: rule.and_then(|rule| rule.scope).unwrap_or(scope),
            waiting_helps: rule
                .and_then(|rule| rule.waiting_helps)
                .unwrap_or(waiting_helps),
            retry_same: rule.and_then(|rule| rule.retry_same).unwrap_or(retry_same),
            fallback_helps: rule
                .and_then(|rule| rule.fallback_helps)
                .unwrap_or(fallback_helps),
            confidence,
        }
    }
}

/// Scope and what helps, as is usual for the class: (scope, waiting, retry on the same key, fallback).
const fn usual(class: Class) -> (Scope, Helps, Helps, Helps) {
    use Helps::{No, Partly, Yes};
    match class {
        Class::QuotaExhausted
        | Class::BillingHardLimit
        | Class::BillingInactive
        | Class::VerificationRequired
        | Class::IpBlocked => (Scope::Organization, No, No, Yes),
        Class::AccountDeactivated | Class::RoutingNoProvider => (Scope::Account, No, No, Yes),
        Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::ModelLoading => (Scope::Model, Yes, Yes, Yes),
        Class::RateLimitedDay => (Scope::Model, Partly, Yes, Yes),
        Class::RateLimitedConcurrency => (Scope::Account, Yes, Yes, Yes),
        Class::RateLimitedRamp => (Scope::Organization, Yes, Yes, Yes),
        Class::BatchQueueFull => (Scope::Organization, Partly, Yes, No),
        Class::Overloaded
        | Class::CapacityUnavailable
        | Class::ServerError
        | Class::Timeout
        | Class::Connection
        | Class::EdgeHtmlError
        | Class::StreamError => (Scope::Provider, Yes, Yes, Yes),
        Class::EdgeBlocked | Class::RegionUnsupported => (Scope::Provider, No, No, Yes),
        Class::AuthInvalid | Class::AuthWrongOrg | Class::Permission => (Scope::Key, No, No, Yes),
        Class::AuthProjectArchived => (Scope::Project, No, No, Yes),
        Class::ModelNotFound => (Scope::Model, No, No, Yes),
        Class::RequestTooLargeForLimit => (Scope::Request, No, No, Yes),
        Class::ContextLength => (Scope::Request, No, No, Partly),
        Class::Conflict => (Scope::Request, Yes, Yes, No),
        Class::ModelOutputInvalid => (Scope::Request, Yes, Yes, Yes),
        Class::AuthMissing
        | Class::PayloadTooLarge
        | Class::InvalidRequest
        | Class::ContentFilter
        | Class::NotFound
        | Class::StateNotPortable
        | Class::Cancelled => (Scope::Request, No, No, No),
        Class::Unknown => (Scope::Request, No, No, Partly),
    }
}
