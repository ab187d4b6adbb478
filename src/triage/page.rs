//! Replies that are not answers: an edge's HTML page, an empty body, an error object under 200.
//!
//! The only part of triage on the path of successful replies, so it scans bytes and builds a JSON tree only when an
//! `"error"` with a value, or the name of a vendor's result code, was seen.

use memchr::memmem;

use super::Transport;

/// Longest beginning that is looked at to tell a page from data.
const SNIFF: usize = 512;

/// Is this an HTML page? The content type decides unless the body contradicts it (`{` under `text/html` is JSON:
/// some gateways label every error so); without a content type, or under `text/plain`, the first bytes do.
pub fn looks_like_html(content_type: &str, first_bytes: &[u8]) -> bool {
    let bytes = &first_bytes[..first_bytes.len().min(SNIFF)];
    let body = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let starts = |tag: &[u8]| {
        body.get(..tag.len())
            .is_some_and(|b| b.eq_ignore_ascii_case(tag))
    };
    if starts(b"<!doctype html") || starts(b"<html") || starts(b"<head") {
        return true;
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let says_html = kind.eq_ignore_ascii_case("text/html")
        || kind.eq_ignore_ascii_case("application/xhtml+xml");
    says_html && !matches!(body.first(), Some(b'{' | b'['))
}

/// Is this whole 2xx body no answer? `Some` says how to judge it: empty where content was due, an HTML page, or JSON
/// with an error object. `expects_content` is false for replies that may be empty (204, HEAD, a delete). To be asked of
/// replies to a POST: a GET of a failed background response has an error object and is a good answer.
pub fn unanswered(content_type: &str, body: &[u8], expects_content: bool) -> Option<Transport> {
    if body.trim_ascii().is_empty() {
        return expects_content.then_some(Transport::ObjectIn200);
    }
    if looks_like_html(content_type, body) {
        return Some(Transport::ObjectIn200);
    }
    let json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    let failed =
        json && (mentions_error(body) || mentions_result_code(body)) && has_error_object(body);
    (failed || (expects_content && says_nothing(body)) || is_flat_error(body))
        .then_some(Transport::ObjectIn200)
}

/// `null` and the empty containers.
fn says_nothing(body: &[u8]) -> bool {
    match body.trim_ascii() {
        b"null" => true,
        [b'{', inner @ .., b'}'] | [b'[', inner @ .., b']'] => inner.trim_ascii().is_empty(),
        _ => false,
    }
}

/// Longest error that stands at the top of the body without an `error` member.
const FLAT: usize = 64 * 1024;

/// An error that is the whole object: `{"detail": ...}`, `{"object": "error", ...}`, `{"code": 429, "message": ...}`.
/// Its first member gives it away; answers begin otherwise, so nearly none is parsed for this.
fn is_flat_error(body: &[u8]) -> bool {
    let first = body
        .trim_ascii_start()
        .strip_prefix(b"{")
        .map(|rest| {
            rest.trim_ascii_start()
                .strip_prefix(b"\"")
                .unwrap_or_default()
        })
        .and_then(|rest| rest.split(|&byte| byte == b'"').next());
    // Lists of embeddings begin with `object` too: what it names is told without parsing them.
    let is_error = || memmem::find(&body[..body.len().min(64)], b"\"error\"").is_some();
    let suspicious = matches!(
        first,
        Some(b"detail" | b"message" | b"msg" | b"code" | b"status" | b"statusCode" | b"success")
    ) || (first == Some(b"object") && is_error());
    if !suspicious || body.len() > FLAT {
        return false;
    }
    let Ok(root) = serde_json::from_slice::<serde_json::Value>(body) else {
        return false;
    };
    if root.get("object").is_some_and(|object| object == "error") {
        return true;
    }
    let says = |key: &str| {
        root.get(key)
            .is_some_and(|value| value.is_string() || (key == "detail" && value.is_array()))
    };
    let answers = [
        "choices",
        "output",
        "data",
        "content",
        "text",
        "results",
        "embedding",
        "embeddings",
        "id",
        "segments",
        "images",
        "candidates",
    ];
    (says("message") || says("msg") || says("detail"))
        && !answers.iter().any(|key| root.get(key).is_some())
}

/// Some vendors answer 200 with a result code of their own: MiniMax' `base_resp`, Baidu's `error_code`, Tencent's
/// `Response.Error`.
fn mentions_result_code(body: &[u8]) -> bool {
    [&b"\"base_resp\""[..], b"\"error_code\"", b"\"Error\""]
        .iter()
        .any(|key| memmem::find(body, key).is_some())
}

/// Is there an `"error"` key with a value other than null? A quoted word in a JSON string has a backslash before its
/// closing quote and is not found.
fn mentions_error(body: &[u8]) -> bool {
    memmem::find_iter(body, b"\"error\"").any(|at| {
        let rest = body[at + b"\"error\"".len()..].trim_ascii_start();
        rest.strip_prefix(b":")
            .is_some_and(|value| !value.trim_ascii_start().starts_with(b"null"))
    })
}

/// Does the error stand where an error object stands, and not deep in what the model wrote?
fn has_error_object(body: &[u8]) -> bool {
    let Ok(root) = serde_json::from_slice::<serde_json::Value>(body) else {
        return false;
    };
    let root = root
        .as_array()
        .and_then(|list| list.first())
        .unwrap_or(&root);
    let filled =
        |value: &serde_json::Value| value.get("error").is_some_and(|error| !error.is_null());
    let coded = |value: Option<&serde_json::Value>| {
        value.is_some_and(|code| code.as_i64().is_some_and(|code| code != 0))
    };
    filled(root)
        || coded(root.pointer("/base_resp/status_code"))
        || coded(root.get("error_code"))
        || root.pointer("/Response/Error/Code").is_some()
        || root.get("response").is_some_and(filled)
        || root
            .get("choices")
            .and_then(|choices| choices.as_array())
            .is_some_and(|choices| choices.iter().any(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_from_json_whatever_the_label_says() {
        assert!(looks_like_html(
            "text/html; charset=UTF-8",
            b"<center>502</center>"
        ));
        assert!(looks_like_html(
            "application/json",
            b"\xef\xbb\xbf \n<!DOCTYPE html><html>"
        ));
        assert!(looks_like_html("", b"<HTML><head>"));
        assert!(!looks_like_html("text/html", b" {\"error\":{}}"));
        assert!(!looks_like_html("text/plain", b"no healthy upstream"));
    }

    #[test]
    fn an_answer_about_errors_is_an_answer() {
        for body in [
            r#"{"choices":[{"message":{"content":"{\"error\": {\"code\": 1}}"}}]}"#,
            r#"{"object":"response","status":"completed","error": null,"output":[]}"#,
            r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"error"}}]}}]}"#,
            r#"{"output":[{"type":"tool","result":{"error":"x"}}],"error":null}"#,
            r#"{"object":"list","data":[{"embedding":[0.1]}]}"#,
            r#"{"object":"chat.completion","choices":[{"message":{"content":"{\"detail\":1}"}}]}"#,
            r#"{"message":"m","text":"a transcript"}"#,
            r#"{"text":"null"}"#,
            r#""null""#,
            r#"{"choices":[{"message":{}}],"base_resp":{"status_code":0,"status_msg":""}}"#,
            r#"{"choices":[{"message":{"content":"\"error_code\": 5"}}],"error_code":0}"#,
        ] {
            assert_eq!(
                unanswered("application/json", body.as_bytes(), true),
                None,
                "{body}"
            );
        }
    }

    #[test]
    fn empty_page_and_error_object_are_no_answers() {
        assert_eq!(
            unanswered("application/json", b" \n", true),
            Some(Transport::ObjectIn200)
        );
        assert_eq!(unanswered("application/json", b"", false), None);
        assert_eq!(
            unanswered("text/html", b"<html>", true),
            Some(Transport::ObjectIn200)
        );
        for body in [
            r#"{"error":{"message":"m","code":502}}"#,
            r#"{"choices":[{"finish_reason":"error","error" : {"code":502}}]}"#,
            r#"[{"error":"text"}]"#,
            r#"{"detail":"Rate limit exceeded"}"#,
            r#"{"detail":[{"msg":"Field required","loc":["body"]}]}"#,
            r#"{"object":"error","message":"m","type":"t","code":"1300"}"#,
            r#" { "code": 429, "message": "m" }"#,
            r#"{"success":false,"message":"m"}"#,
            " null\n",
            "[ ]",
            "{}",
            r#"{"choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
            r#"{"error_code":18,"error_msg":"Open api qps request limit reached"}"#,
            r#"{"Response":{"Error":{"Code":"LimitExceeded","Message":"m"},"RequestId":"r"}}"#,
        ] {
            assert_eq!(
                unanswered("application/json", body.as_bytes(), true),
                Some(Transport::ObjectIn200),
                "{body}"
            );
        }
    }
}
