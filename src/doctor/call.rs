//! What an answer means. The class comes from [`crate::triage`], as for every call; here it only becomes a finding.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use super::{
    Check, Finding, Severity,
    probe::{Answer, Trouble},
};
use crate::triage::{
    self, Class, Evidence, NetworkKind, Provider, Transport, Verdict, looks_like_html,
};

/// More of a clock's error is worth a warning: signatures and reset times begin to be wrong.
const SKEW: i64 = 30;
/// More breaks certificates and tokens.
const SKEW_BAD: i64 = 300;
/// Characters of a provider's words that are shown.
const WORDS: usize = 160;

/// The verdict on an answer that is no success; `None`: it is one.
pub(super) fn verdict(provider: &Provider, answer: &Answer, path: &str) -> Option<Verdict> {
    let content_type = text(&answer.headers, "content-type").unwrap_or_default();
    let transport = match answer.status.as_u16() {
        400.. => Transport::Http,
        200..300 if looks_like_html(content_type, &answer.body) || !is_json(&answer.body) => {
            Transport::ObjectIn200
        }
        _ => return None,
    };
    Some(triage::judge(
        provider,
        &Evidence {
            status: answer.status.as_u16(),
            headers: &answer.headers,
            body: &answer.body,
            transport,
            endpoint: path,
        },
    ))
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// A header's text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// An answer that sends elsewhere: a captive portal, a moved address.
pub(super) fn redirect(answer: &Answer) -> Option<Finding> {
    if !answer.status.is_redirection() {
        return None;
    }
    let to = answer
        .headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|to| to.parse::<http::Uri>().ok())
        .and_then(|to| Some(to.host()?.to_owned()));
    let to = to.map_or_else(String::new, |host| format!(" to {host}"));
    Some(
        Finding::error(Check::Call, "redirected", format!("The answer is a redirect{to} ({}), which weir does not follow.", answer.status.as_u16()))
            .todo("Behind a hotel's or company's sign-in page, sign in first. Otherwise write the address it leads to."),
    )
}

/// A refusal as a finding. `what` was asked, as in `GET /models`.
pub(super) fn refused(check: Check, what: &str, answer: &Answer, verdict: &Verdict) -> Finding {
    let status = answer.status.as_u16();
    let code = verdict.code.as_deref().or(verdict.kind.as_deref());
    let code = code.map_or_else(String::new, |code| format!(" {}", short(code)));
    let told = if status < 400 {
        format!("{what}: 200, but no answer of the API ({})", verdict.class)
    } else {
        format!("{what}: {status}{code} ({})", verdict.class)
    };
    // The provider's own words on keys quote the key; on the rest they help.
    let words = match (&verdict.provider_message, verdict.class) {
        (Some(words), class) if !quotes_keys(class) => format!(": {}", short(words)),
        _ => ".".to_owned(),
    };
    Finding::new(
        check,
        severity(verdict.class),
        id(verdict.class),
        format!("{told}{words}"),
    )
    .todo(verdict.advice.clone())
}

fn short(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn quotes_keys(class: Class) -> bool {
    matches!(
        class,
        Class::AuthInvalid | Class::AuthMissing | Class::Permission | Class::AuthWrongOrg
    )
}

/// A class is a stable word already.
fn id(class: Class) -> &'static str {
    class.as_str()
}

fn severity(class: Class) -> Severity {
    match class {
        Class::NotFound => Severity::Note,
        Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::RateLimitedDay
        | Class::RateLimitedConcurrency
        | Class::RateLimitedRamp
        | Class::BatchQueueFull
        | Class::Overloaded
        | Class::CapacityUnavailable
        | Class::ServerError
        | Class::Timeout
        | Class::StreamError
        | Class::ModelLoading
        | Class::ModelOutputInvalid
        | Class::Conflict
        | Class::Cancelled
        | Class::InvalidRequest
        | Class::Unknown => Severity::Warning,
        Class::QuotaExhausted
        | Class::BillingHardLimit
        | Class::BillingInactive
        | Class::RequestTooLargeForLimit
        | Class::PayloadTooLarge
        | Class::Connection
        | Class::EdgeHtmlError
        | Class::EdgeBlocked
        | Class::AuthInvalid
        | Class::AuthMissing
        | Class::AuthWrongOrg
        | Class::AuthProjectArchived
        | Class::AccountDeactivated
        | Class::Permission
        | Class::VerificationRequired
        | Class::IpBlocked
        | Class::ModelNotFound
        | Class::RegionUnsupported
        | Class::RoutingNoProvider
        | Class::ContextLength
        | Class::ContentFilter
        | Class::StateNotPortable => Severity::Error,
    }
}

/// No answer at all.
pub(super) fn unreachable(
    trouble: &Trouble,
    host: &str,
    provider: &Provider,
    proxied: bool,
) -> Finding {
    let error = |id, what: String| Finding::error(Check::Network, id, what);
    let by_proxy = if proxied {
        " A proxy is set in the environment, which weir does not use: its host must get out directly."
    } else {
        ""
    };
    let advice = |kind| {
        let evidence = Evidence {
            status: 0,
            headers: &HeaderMap::new(),
            body: b"",
            transport: Transport::Network(kind),
            endpoint: "/v1/models",
        };
        format!("{}{by_proxy}", triage::judge(provider, &evidence).advice)
    };
    match trouble {
        Trouble::Tls(trouble) => super::tls::failed(trouble, host),
        Trouble::Name(text) => error("name-unknown", format!("The name {host} leads nowhere: {text}."))
            .todo(format!("Check the spelling of base_url, and this machine's DNS.{by_proxy}")),
        Trouble::Connect(NetworkKind::Refused, text) => error("connection-refused", format!("Nothing listens there: {text}."))
            .todo(format!("Check host and port; a local server may not be running.{by_proxy}")),
        Trouble::Connect(kind, text) => error("unreachable", format!("No connection: {text}.")).todo(advice(*kind)),
        Trouble::Broken(text) => error("connection-broken", format!("The connection to {host} ended before an answer: {text}."))
            .todo("Something on the way cuts connections, or the port speaks another protocol (https against http)."),
        Trouble::Late(step, after) => {
            let kind = if *step == "connecting" { NetworkKind::ConnectTimeout } else { NetworkKind::ReadTimeout };
            error("too-late", format!("{step} took longer than {}.", humantime::format_duration(*after))).todo(advice(kind))
        }
    }
}

/// This machine's clock minus the provider's, in seconds.
pub(super) fn skew(answer: &Answer) -> Option<i64> {
    let theirs = triage::wait::point_in_time(text(&answer.headers, "date")?)?;
    let seconds = |a: SystemTime, b: SystemTime| {
        a.duration_since(b)
            .ok()
            .map(|t| i64::try_from(t.as_secs()).unwrap_or(i64::MAX))
    };
    seconds(answer.received, theirs).or_else(|| seconds(theirs, answer.received).map(|late| -late))
}

pub(super) fn clock(skew: i64) -> Finding {
    let off = skew.unsigned_abs();
    let how = if skew > 0 { "ahead of" } else { "behind" };
    let what = format!(
        "This machine's clock is {} {how} the provider's.",
        humantime::format_duration(Duration::from_secs(off))
    );
    let todo = "Set the clock (NTP). Reset times, signatures and certificates are read by it.";
    if skew.abs() > SKEW_BAD {
        Finding::error(Check::Clock, "clock-skew", what).todo(todo)
    } else if skew.abs() > SKEW {
        Finding::warning(Check::Clock, "clock-skew", what).todo(todo)
    } else {
        Finding::ok(
            Check::Clock,
            "clock",
            "This machine's clock agrees with the provider's.",
        )
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::triage::preset;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            version: http::Version::HTTP_11,
            headers: headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
                .collect(),
            body: body.to_owned().into(),
            received: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_refusal_never_quotes_the_words_about_a_key() {
        let body = r#"{"error":{"message":"Incorrect API key provided: sk-proj-12345678901234","type":"invalid_request_error","code":"invalid_api_key"}}"#;
        let answer = answer(401, &[], body);
        let verdict = verdict(&preset("openai").unwrap(), &answer, "/v1/models").unwrap();
        let finding = refused(Check::Call, "GET /models", &answer, &verdict);
        assert_eq!(
            (finding.id, finding.severity),
            ("auth_invalid", Severity::Error)
        );
        assert_eq!(
            finding.what,
            "GET /models: 401 invalid_api_key (auth_invalid)."
        );
    }

    #[test]
    fn a_page_under_200_is_no_answer() {
        let openai = preset("openai").unwrap();
        let page = answer(
            200,
            &[("content-type", "text/html")],
            "<html><title>Sign in</title></html>",
        );
        let verdict = verdict(&openai, &page, "/v1/models").unwrap();
        assert_eq!(
            refused(Check::Call, "GET /models", &page, &verdict).severity,
            Severity::Error
        );
        assert!(
            super::verdict(&openai, &answer(200, &[], "{\"data\":[]}"), "/v1/models").is_none()
        );
    }

    #[test]
    fn a_clock_is_judged_both_ways() {
        for (date, id, severity) in [
            ("Thu, 01 Jan 2026 00:00:10 GMT", "clock", Severity::Ok),
            (
                "Thu, 01 Jan 2026 00:01:10 GMT",
                "clock-skew",
                Severity::Warning,
            ),
            (
                "Wed, 31 Dec 2025 23:50:00 GMT",
                "clock-skew",
                Severity::Error,
            ),
        ] {
            let skew = skew(&answer(200, &[("date", date)], "")).unwrap();
            let finding = clock(skew);
            assert_eq!(
                (finding.id, finding.severity),
                (id, severity),
                "{date}: {skew}"
            );
        }
        assert_eq!(skew(&answer(200, &[], "")), None);
    }

    #[test]
    fn a_redirect_names_only_the_host() {
        let found = redirect(&answer(
            302,
            &[("location", "https://portal.example/login?token=abc")],
            "",
        ))
        .unwrap();
        assert!(found.what.contains("portal.example") && !found.what.contains("abc"));
    }
}
