//! What nobody knows: a status with an empty or meaningless body, under every preset.

use super::*;

const MEANINGLESS: &[&str] = &[
    "",
    " \n",
    "{}",
    "[]",
    "null",
    "zork",
    r#""zork""#,
    r#"{"zork":1}"#,
    r#"{"error":{"message":"zork","code":"zork","type":"zork"}}"#,
    r#"{"error":"zork"}"#,
    r#"{"detail":"zork"}"#,
    r#"{"code":31415,"message":"zork","data":null}"#,
    r#"{"error":{"mess"#,
];

fn guessed(provider: &Provider, status: u16, body: &str) -> Verdict {
    let headers = HeaderMap::new();
    judge(
        provider,
        &Evidence {
            status,
            headers: &headers,
            body: body.as_bytes(),
            transport: Transport::Http,
            endpoint: "/v1/chat/completions",
        },
    )
}

/// Classes that a bare status may be given, the most careful first.
fn sensible(status: u16) -> &'static [Class] {
    match status {
        401 => &[Class::AuthInvalid, Class::AuthMissing],
        402 => &[Class::QuotaExhausted],
        403 => &[Class::Permission, Class::EdgeBlocked],
        404 | 410 => &[Class::NotFound],
        // A proxy in between asks for a login.
        407 => &[Class::EdgeBlocked],
        408 | 504 => &[Class::Timeout],
        409 => &[Class::Conflict],
        413 | 414 | 431 => &[Class::PayloadTooLarge],
        424 => &[Class::ServerError],
        429 => &[
            Class::RateLimitedRequests,
            // DeepSeek has no other limit.
            Class::RateLimitedConcurrency,
        ],
        451 => &[Class::RegionUnsupported],
        // Cohere's is a refused content.
        498 => &[Class::CapacityUnavailable, Class::ContentFilter],
        499 => &[Class::Cancelled],
        400..=499 => &[Class::InvalidRequest],
        501 => &[Class::InvalidRequest],
        503 | 529 => &[Class::Overloaded],
        _ => &[Class::ServerError, Class::EdgeHtmlError],
    }
}

#[test]
fn an_unknown_failure_gets_a_sensible_class_and_no_trust() {
    for name in presets() {
        let provider = preset(name).unwrap();
        for status in 400..=599 {
            for body in MEANINGLESS {
                let verdict = guessed(&provider, status, body);
                let case = format!("{name} {status} {body:?} by {}", verdict.rule);
                assert!(
                    sensible(status).contains(&verdict.class),
                    "{case}: {}",
                    verdict.class
                );
                // An edge's status, the lack of a body and a vendor's own rule on a status are more than a guess.
                let most = if verdict.rule.starts_with("common/") {
                    Confidence::Guess
                } else {
                    Confidence::Likely
                };
                assert!(
                    verdict.confidence <= most,
                    "{case}: {:?}",
                    verdict.confidence
                );
            }
        }
    }
}

#[test]
fn a_guess_closes_no_key_and_no_account() {
    for name in presets() {
        let provider = preset(name).unwrap();
        for status in 400..=599 {
            for body in MEANINGLESS {
                let verdict = guessed(&provider, status, body);
                let circuit = verdict.policy().circuit;
                assert!(
                    verdict.confidence > Confidence::Guess
                        || !matches!(
                            circuit,
                            CircuitEffect::OpensKey | CircuitEffect::OpensScope { .. }
                        ),
                    "{name} {status} {body:?} by {}: {circuit:?}",
                    verdict.rule
                );
            }
        }
    }
}
