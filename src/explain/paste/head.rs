//! Status lines and headers: what `curl -i` and `curl -v` show, and dumps of headers alone.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers of one answer that are read.
const MOST: usize = 128;

/// Beginnings of the names of headers that answers have, for dumps without a status line.
const KNOWN: &[&str] = &[
    "access-control-",
    "age",
    "alt-svc",
    "anthropic-",
    "apim-",
    "azureml-",
    "cache-control",
    "cf-",
    "connection",
    "content-length",
    "content-type",
    "date",
    "etag",
    "openai-",
    "ratelimit",
    "referrer-policy",
    "request-id",
    "retry-after",
    "server",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "via",
    "www-authenticate",
    "x-",
    "mistral-",
    "ms-",
    "helicone-",
    "llm_provider-",
];

/// One answer in a dump.
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    pub(super) headers: HeaderMap,
    /// Where in the text it stands, head and body.
    pub(super) range: Range<usize>,
    /// The rest of its lines.
    pub(super) body: String,
}

/// The answers whose status lines are in the text, without those that something else followed (`100 Continue`).
pub(super) fn answers(text: &str) -> Vec<Answer> {
    let mut found: Vec<Answer> = Vec::new();
    let mut in_head = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let from = at;
        at += line.len();
        let (mark, bare) = unmarked(line);
        if let Some(status) = status_line(bare) {
            found.push(Answer {
                status: Some(status),
                headers: HeaderMap::new(),
                range: from..at,
                body: String::new(),
            });
            in_head = true;
            continue;
        }
        let Some(answer) = found.last_mut() else {
            continue;
        };
        if matches!(mark, Some('>' | '*' | '{' | '}')) && line.len() > 1 {
            continue;
        }
        answer.range.end = at;
        if in_head {
            match header(bare) {
                Some((name, value)) if answer.headers.len() < MOST => {
                    answer.headers.append(name, value);
                }
                Some(_) => {}
                None if bare.is_empty() => in_head = false,
                None => {
                    in_head = false;
                    answer.body.push_str(line);
                }
            }
        } else if mark != Some('<') {
            answer.body.push_str(line);
        }
    }
    found.retain(|answer| answer.status.is_some_and(|status| status >= 200));
    found
}

/// Headers that stand in the text without a status line; none when there are fewer than two that answers have.
pub(super) fn loose(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().take(2_000) {
        let (_, bare) = unmarked(line);
        let bare = bare.trim_matches(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}'));
        // As a line of an object: 'x-request-id': 'req_1'
        let unquoted: String = bare.chars().filter(|c| !matches!(c, '\'' | '"')).collect();
        let Some((name, value)) = header(&unquoted) else {
            continue;
        };
        if headers.len() < MOST && KNOWN.iter().any(|known| name.as_str().starts_with(known)) {
            headers.append(name, value);
        }
    }
    if headers.len() < 2 {
        headers.clear();
    }
    headers
}

/// A name and its value; for whatever came as two texts.
pub(super) fn pair(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.trim().to_ascii_lowercase().as_bytes()).ok()?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes()).ok()?;
    Some((name, value))
}

/// The line without curl's mark, and the mark.
fn unmarked(line: &str) -> (Option<char>, &str) {
    let line = line.trim_end();
    let mark = line
        .chars()
        .next()
        .filter(|c| matches!(c, '<' | '>' | '*' | '{' | '}'));
    match mark {
        // A brace alone is a line of the body; curl's has a count of bytes behind it.
        Some('{' | '}') if !line[1..].starts_with(" [") => (None, line),
        Some(mark) if line[1..].is_empty() || line[1..].starts_with(' ') => {
            (Some(mark), line[1..].trim_start())
        }
        _ => (None, line),
    }
}

fn status_line(line: &str) -> Option<u16> {
    let line = line.trim_start();
    let rest = line
        .strip_prefix("HTTP/")
        .or_else(|| line.strip_prefix("http/"))?;
    let (version, rest) = rest.split_once(' ')?;
    let digits = rest.trim_start().get(..3)?;
    (version.len() <= 3 && version.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix(':').unwrap_or(line).split_once(':')?;
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (plain && !value.starts_with("//")).then(|| pair(name, value))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verbose_dump_has_its_answer_and_not_the_question() {
        let text = "* Connected to api.openai.com\n> POST /v1/x HTTP/1.1\n> authorization: Bearer x\n>\n< HTTP/1.1 100 Continue\n<\n< HTTP/2 429 \n< x-request-id: req_1\n< retry-after: 3\n< \n{ [5 bytes data]\n{\n\"error\":{}\n}\n* Connection #0 left intact\n";
        let found = answers(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].status, Some(429));
        assert_eq!(found[0].headers["x-request-id"], "req_1");
        assert!(!found[0].headers.contains_key("authorization"));
        assert_eq!(found[0].body.trim(), "{\n\"error\":{}\n}");
    }

    #[test]
    fn headers_alone_are_found_and_prose_is_not() {
        let headers = loose("x-request-id: req_1\nRetry-After: 20\nFile: x");
        assert_eq!(headers.len(), 2);
        assert!(loose("Error: it failed\nDate: today").is_empty());
    }
}
