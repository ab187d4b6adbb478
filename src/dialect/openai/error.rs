//! The gateway's own errors in OpenAI's shape: as a body, and as the last event of a stream that
//! broke after its commit point.
//!
//! The event must make every official SDK raise, whatever its age. They read it so:
//!
//! - Events without a name, and those of names they expect: the data's `error` member, when
//!   there is one, is raised. All of chat and completions goes this way.
//! - Events of other names, in older majors: raised only when the name is `error` *and* the data
//!   has an `error` member.
//! - `{"type": "error", "code", "message"}` without an `error` member, which the Responses API
//!   documents, is handed to the app as an ordinary event and raises nothing.
//!
//! So the named form carries both the documented flat members and the `error` object.

use bytes::Bytes;

use crate::dialect::Endpoint;
use crate::json::write_string;
use crate::sse;

/// The `type` of every error that is the gateway's own.
pub const ERROR_TYPE: &str = "weir_error";

/// `{"error": {...}}`: the body of a reply that is the gateway's own. `code` is the failure's
/// class; `param` names the request's member at fault, when one is.
pub fn error_body(code: &str, message: &str, param: Option<&str>) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + code.len() + 96);
    out.extend_from_slice(b"{\"error\":");
    write_object(code, message, param, &mut out);
    out.push(b'}');
    out.into()
}

/// The event that ends a broken stream of `endpoint`. `sequence` is the last number the caller
/// has seen ([`Machine::sequence`](super::Machine::sequence)).
///
/// When the caller has been sent the beginning of an unfinished event, an empty line must go
/// first, or this one is read as part of it.
pub fn error_event(endpoint: Endpoint, code: &str, message: &str, sequence: Option<u64>) -> Bytes {
    let mut object = Vec::with_capacity(message.len() + code.len() + 80);
    write_object(code, message, None, &mut object);
    error_event_of(endpoint, &object, code, message, sequence)
}

/// As [`error_event`], with a provider's error object (which must be JSON) kept as it is, so that
/// the caller's exception carries the provider's own code.
pub fn error_event_of(
    endpoint: Endpoint,
    object: &[u8],
    code: &str,
    message: &str,
    sequence: Option<u64>,
) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + message.len() + code.len() + 96);
    if matches!(
        endpoint,
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Other
    ) {
        out.extend_from_slice(b"{\"error\":");
        out.extend_from_slice(object);
        out.push(b'}');
        return sse::data(&out);
    }
    out.extend_from_slice(b"{\"type\":\"error\",\"code\":");
    write_string(code, &mut out);
    out.extend_from_slice(b",\"message\":");
    write_string(message, &mut out);
    out.extend_from_slice(b",\"param\":null,\"sequence_number\":");
    let next = sequence.map_or(0, |last| last.saturating_add(1));
    out.extend_from_slice(next.to_string().as_bytes());
    out.extend_from_slice(b",\"error\":");
    out.extend_from_slice(object);
    out.push(b'}');
    sse::named("error", &out)
}

fn write_object(code: &str, message: &str, param: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"message\":");
    write_string(message, out);
    out.extend_from_slice(b",\"type\":");
    write_string(ERROR_TYPE, out);
    out.extend_from_slice(b",\"param\":");
    match param {
        Some(param) => write_string(param, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"code\":");
    write_string(code, out);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dialect::openai::{Machine, Meaning};
    use crate::sse::Event;

    #[test]
    fn a_body_has_the_four_members_the_sdks_read() {
        let body = error_body("overloaded", "a \"quoted\"\nline", Some("model"));
        let error = json!({"message": "a \"quoted\"\nline", "type": "weir_error", "param": "model", "code": "overloaded"});
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({ "error": error })
        );
    }

    #[test]
    fn a_chat_stream_ends_in_an_unnamed_event_with_an_error_member() {
        let event = error_event(Endpoint::ChatCompletions, "stream_error", "cut", Some(3));
        assert_eq!(
            event,
            "data: {\"error\":{\"message\":\"cut\",\"type\":\"weir_error\",\"param\":null,\"code\":\"stream_error\"}}\n\n"
        );
    }

    #[test]
    fn a_response_ends_in_an_error_event_with_both_shapes() {
        let event = Event::parse(error_event(
            Endpoint::Responses,
            "stream_error",
            "cut",
            Some(3),
        ));
        assert_eq!(event.name.as_deref(), Some(b"error".as_slice()));
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        assert_eq!(data["type"], "error");
        assert_eq!(data["sequence_number"], 4);
        assert_eq!(data["error"]["code"], data["code"]);
        assert_eq!(data["error"]["message"], data["message"]);
    }

    #[test]
    fn our_own_machine_reads_it_as_an_error() {
        for endpoint in Endpoint::ALL {
            let event = Event::parse(error_event(endpoint, "stream_error", "cut", None));
            let mut machine = Machine::new(endpoint, 1);
            let meaning = machine.feed(&event.as_ref());
            assert!(matches!(meaning, Meaning::Error(_)), "{endpoint:?}");
            assert!(!machine.complete_at_eof());
        }
    }
}
