//! One line, written without a serializer: it is part of every call.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use crate::{json, redact};

/// What is said of a call. Neither prompts nor keys.
#[derive(Debug)]
pub struct Line<'a> {
    pub at: SystemTime,
    pub id: &'a str,
    pub app: &'a str,
    pub route: Option<&'a str>,
    pub method: &'a str,
    pub endpoint: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// As asked for.
    pub model: Option<&'a str>,
    pub upstream: Option<&'a str>,
    /// As sent.
    pub upstream_model: Option<&'a str>,
    pub status: u16,
    pub outcome: &'a str,
    pub class: Option<&'a str>,
    /// The first failure that the call met, when it is not what became of it.
    pub first_failure: Option<&'a str>,
    pub cache: &'a str,
    pub stream: bool,
    pub attempts: u32,
    pub duration: Duration,
    pub first_token: Option<Duration>,
    pub waited: Duration,
    pub overhead: Duration,
    /// Input and output; `true`: estimated.
    pub tokens: Option<(u64, u64, bool)>,
    pub provider_request_id: Option<&'a str>,
    pub sdk_retry: bool,
    pub tags: &'a [(String, String)],
}

// === impl Line ===

impl Line<'_> {
    /// Appends the line with its line end.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        timestamp(self.at, out);
        out.push(b'"');
        word("id", Some(self.id), out);
        word("app", Some(self.app), out);
        word("route", self.route, out);
        word("method", Some(&redact::name(self.method)), out);
        word("endpoint", Some(self.endpoint), out);
        word("path", Some(&redact::name(self.path)), out);
        let model = self.model.map(redact::name);
        word("model", model.as_deref(), out);
        word("upstream", self.upstream, out);
        // Most go on under the name that was asked for.
        if self.upstream_model == self.model {
            word("upstream_model", model.as_deref(), out);
        } else {
            let model = self.upstream_model.map(redact::name);
            word("upstream_model", model.as_deref(), out);
        }
        number("status", self.status.into(), out);
        word("outcome", Some(self.outcome), out);
        word("class", self.class, out);
        word("first_failure", self.first_failure, out);
        word("cache", Some(self.cache), out);
        flag("stream", self.stream, out);
        number("attempts", self.attempts.into(), out);
        milliseconds("duration_ms", self.duration, out);
        if let Some(time) = self.first_token {
            milliseconds("first_token_ms", time, out);
        }
        milliseconds("wait_ms", self.waited, out);
        number("overhead_us", micros(self.overhead), out);
        if let Some((input, output, estimated)) = self.tokens {
            number("input_tokens", input, out);
            number("output_tokens", output, out);
            if estimated {
                flag("tokens_estimated", true, out);
            }
        }
        word("provider_request_id", self.provider_request_id, out);
        if self.sdk_retry {
            flag("sdk_retry", true, out);
        }
        if !self.tags.is_empty() {
            tags(self.tags, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn word(name: &str, value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        key(name, out);
        text(value, out);
    }
}

/// Most words need no escape.
fn text(value: &str, out: &mut Vec<u8>) {
    if value.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        return json::write_string(value, out);
    }
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn flag(name: &str, value: bool, out: &mut Vec<u8>) {
    key(name, out);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn number(name: &str, value: u64, out: &mut Vec<u8>) {
    key(name, out);
    digits(value, out);
}

/// With three decimals.
fn milliseconds(name: &str, time: Duration, out: &mut Vec<u8>) {
    let micros = micros(time);
    number(name, micros / 1000, out);
    out.push(b'.');
    padded(micros % 1000, 3, out);
}

fn tags(tags: &[(String, String)], out: &mut Vec<u8>) {
    key("tags", out);
    out.push(b'{');
    for (index, (name, value)) in tags.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(name, out);
        out.push(b':');
        text(value, out);
    }
    out.push(b'}');
}

fn digits(value: u64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

fn padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with milliseconds. The second's text is kept: most lines share it with the one before.
fn timestamp(at: SystemTime, out: &mut Vec<u8>) {
    use std::cell::Cell;
    thread_local! {
        static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [b' '; 19])) };
    }
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (known, mut text) = SECOND.get();
    if known != since.as_secs() {
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let formatted = humantime::format_rfc3339_seconds(whole).to_string();
        if let Some(start) = formatted.as_bytes().first_chunk::<19>() {
            text = *start;
            SECOND.set((since.as_secs(), text));
        }
    }
    out.extend_from_slice(&text);
    out.push(b'.');
    padded(since.subsec_millis().into(), 3, out);
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(tags: &'a [(String, String)], path: &'a str) -> Line<'a> {
        Line {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_710_291_007),
            id: "wr_1",
            app: "shop",
            route: None,
            method: "POST",
            endpoint: "chat_completions",
            path,
            model: Some("gpt-4o"),
            upstream: Some("openai"),
            upstream_model: None,
            status: 200,
            outcome: "ok",
            class: None,
            first_failure: Some("overloaded"),
            cache: "miss",
            stream: true,
            attempts: 1,
            duration: Duration::from_micros(7_052),
            first_token: Some(Duration::from_millis(3)),
            waited: Duration::ZERO,
            overhead: Duration::from_micros(35),
            tokens: Some((9, 24, true)),
            provider_request_id: Some("req_1"),
            sdk_retry: true,
            tags,
        }
    }

    #[test]
    fn a_line_is_json_with_the_right_values() {
        let mut out = Vec::new();
        let tags = [("team".to_owned(), "bl\"ue\n".to_owned())];
        line(&tags, "/v1/a\\b").write(&mut out);
        assert_eq!(out.last(), Some(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["ts"], "2025-11-21T07:31:31.007Z");
        assert_eq!(value["path"], "/v1/a\\b");
        assert_eq!(value["tags"]["team"], "bl\"ue\n");
        assert_eq!(value["first_failure"], "overloaded");
        assert_eq!(value["duration_ms"], 7.052);
        assert_eq!(value["overhead_us"], 35);
        assert_eq!(
            (&value["input_tokens"], &value["tokens_estimated"]),
            (&9.into(), &true.into())
        );
        assert!(value.get("route").is_none() && value.get("class").is_none());
    }
}
