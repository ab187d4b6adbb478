//! What the text around an answer says: the status, the exception's name, what happened on the wire.

use std::sync::LazyLock;

use regex::Regex;

use crate::triage::NetworkKind;

/// Where a status is written, in the ways of SDKs, servers' logs and people.
static STATUS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r#"(?i)(?:status|error|http|response)[ _-]?code"?'?\s*(?:of|is)?\s*[:=]*\s*"?'?([1-5][0-9]{2})\b"#,
        r#"(?i)\bstatus"?'?\s*(?:of|is)?\s*[:=]?\s*"?'?([1-5][0-9]{2})\b"#,
        r#"\bHTTP(?:/[0-9.]+)?"?\s*:?\s*([1-5][0-9]{2})\b"#,
        // nginx and Apache: "POST / HTTP/1.1" 429 123
        r#"HTTP/[0-9.]+"\s+([1-5][0-9]{2})\b"#,
        r"(?:Error|Exception|Errors|Failure)\b[:\]]?\s+\(?([45][0-9]{2})\b",
        r"(?i)\b(?:error|errno|code|failed with|returned|got|received|server)\s*(?:a |an |:|=|\()?\s*([45][0-9]{2})\b",
        r"(?i)(?:\bfehler(?:code)?|\berreur|\berrore|\bfout(?:code)?|\bc[oó]digo(?: de)?(?: error| erro)?|错误(?:代码|码)?|錯誤(?:代碼|碼)?|エラー(?:コード)?|오류(?: 코드)?|ошибка)\s*(?:n[°º]\s*)?[:：=-]?\s*([45][0-9]{2})\b",
        r"<Response \[([45][0-9]{2})\]>",
        r"\(([45][0-9]{2})\b[^)]{0,40}\)",
        r"\b([45][0-9]{2})(?:\s+-)?\s+(?:[A-Z][A-Z_]{5,}\b|\{|Too Many|Client Error|Server Error|Unauthorized|Forbidden|Bad (?:Request|Gateway)|Not Found|Internal Server|Service (?:Temporarily )?Unavailable|Gateway|Payment|Conflict|Unprocessable|Request (?:Timeout|Entity)|Payload|Content Too)",
        r"(?:^|\n)\s*([45][0-9]{2})\b",
    ]
    .iter()
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// Names under which libraries raise a status: what they stand for, and nothing about the cause.
const NAMES: &[(&str, u16)] = &[
    ("RateLimitError", 429),
    ("RateLimitException", 429),
    ("TooManyRequests", 429),
    ("ResourceExhausted", 429),
    ("RESOURCE_EXHAUSTED", 429),
    ("ThrottlingException", 429),
    ("AuthenticationError", 401),
    ("AuthenticationException", 401),
    ("UnauthorizedError", 401),
    ("Unauthenticated", 401),
    ("UNAUTHENTICATED", 401),
    ("PermissionDenied", 403),
    ("PERMISSION_DENIED", 403),
    ("NotFoundError", 404),
    ("ModelNotFoundException", 404),
    ("ConflictError", 409),
    ("RequestTooLargeError", 413),
    ("UnprocessableEntity", 422),
    ("BadRequestError", 400),
    ("InvalidRequestError", 400),
    ("ContextWindowExceededError", 400),
    ("ContentPolicyViolationError", 400),
    ("FAILED_PRECONDITION", 400),
    ("INVALID_ARGUMENT", 400),
    ("ServiceUnavailable", 503),
    ("OverloadedError", 529),
    ("InternalServerError", 500),
    ("InternalServerException", 500),
    ("DeadlineExceeded", 504),
    ("DEADLINE_EXCEEDED", 504),
];

/// What happened on the wire, in the words of operating systems, libraries and tools. The special before the general.
const WIRE: &[(NetworkKind, &str)] = &[
    (
        NetworkKind::Dns,
        r"ENOTFOUND|EAI_AGAIN|getaddrinfo|NameResolutionError|Name or service not known|nodename nor servname|name resolution|Could not resolve (?:host|proxy)|no such host|UnknownHostException|failed to lookup address|dns error|NXDOMAIN|ERR_NAME_NOT_RESOLVED|No address associated",
    ),
    (
        NetworkKind::Tls,
        r"certificate|CERT_|SSLError|SSL_|SSLHandshake|SSL routines|SSL:|x509:|tls:|TLS handshake|handshake fail|self.signed|UNABLE_TO_(?:VERIFY|GET_ISSUER)|DEPTH_ZERO|wrong version number|unknown ca|PKIX path",
    ),
    (
        NetworkKind::Refused,
        r"ECONNREFUSED|[Cc]onnection refused|ConnectionRefused|actively refused|ERR_CONNECTION_REFUSED|Failed to connect to|Couldn't connect to server",
    ),
    (
        NetworkKind::ConnectTimeout,
        r"ConnectTimeout|connect(?:ion)? timed? ?out|Connection timed out|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|dial tcp [^\n]{0,80}i/o timeout|connect timeout",
    ),
    (
        NetworkKind::ReadTimeout,
        r"ReadTimeout|[Rr]ead timed out|[Rr]equest timed out|APITimeoutError|APIConnectionTimeoutError|SocketTimeoutException|TimeoutException|TimeoutError|Operation timed out|context deadline exceeded|Client\.Timeout exceeded|UND_ERR_(?:HEADERS|BODY)_TIMEOUT|The operation was aborted due to timeout|[Tt]imed out waiting|request timeout|stream idle timeout",
    ),
    (
        NetworkKind::Reset,
        r"ECONNRESET|ECONNABORTED|EPIPE|[Cc]onnection reset|[Cc]onnection aborted|[Bb]roken pipe|socket hang up|RemoteDisconnected|RemoteProtocolError|Server disconnected|peer closed connection|incomplete chunked read|ChunkedEncodingError|IncompleteRead|UND_ERR_SOCKET|other side closed|Empty reply from server|unexpected EOF|: EOF\b|[Pp]remature close|ERR_HTTP2|GOAWAY|ERR_CONNECTION_RESET|stream disconnected|forcibly closed",
    ),
    (
        NetworkKind::Other,
        r"APIConnectionError|ConnectionError|Connection error|ConnectError|fetch failed|ENETUNREACH|EHOSTUNREACH|[Nn]etwork is unreachable|[Nn]o route to host|NetworkError|network error|ProxyError|Tunnel connection failed|Cannot connect to proxy|error sending request|Error communicating with OpenAI|Max retries exceeded|curl: \(\d+\)",
    ),
];

static WIRES: LazyLock<Vec<(NetworkKind, Regex)>> = LazyLock::new(|| {
    WIRE.iter()
        .filter_map(|(kind, pattern)| Some((*kind, Regex::new(pattern).ok()?)))
        .collect()
});

/// A line that names an exception, as `module.Name: what it says`.
static RAISED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?m)^[^\S\n]*(?:(?:raise|throw|Uncaught|Unhandled(?: exception\.)?|Caused by:|Error:|error:|ERROR:?|Exception in thread "[^"\n]{0,80}")\s+)*(?:[\w$@/-]+[.:])*\w*(?:Error|Exception|Exhausted|Requests|Denied|Unavailable|Unauthenticated|Timeout)\b(?:\s*\[[^\]\n]{1,60}\])?:\s?(.*)$"#).ok()
});

/// The status that the text names; the last one, which stands nearest to what follows it.
pub(super) fn status(text: &str) -> Option<u16> {
    let failed = |text: &str| {
        STATUS.iter().find_map(|pattern| {
            let found = pattern.captures_iter(text).filter_map(|found| {
                let number: u16 = found.get(1)?.as_str().parse().ok()?;
                (number >= 400).then_some(number)
            });
            found.last()
        })
    };
    failed(text).or_else(|| {
        NAMES
            .iter()
            .find(|(name, _)| text.contains(name))
            .map(|(_, status)| *status)
    })
}

/// What happened on the wire, if the text is about that.
pub(super) fn wire(text: &str) -> Option<NetworkKind> {
    WIRES
        .iter()
        .find(|(_, pattern)| pattern.is_match(text))
        .map(|(kind, _)| *kind)
}

/// What the exceptions of the text say: the line that names one, and the lines that it goes on over.
pub(super) fn raised(text: &str) -> Vec<&str> {
    let Some(pattern) = RAISED.as_ref() else {
        return Vec::new();
    };
    pattern
        .find_iter(text)
        .map(|found| {
            let rest = &text[found.start()..];
            let first = found.len();
            let more: usize = rest[first..]
                .split_inclusive('\n')
                .skip(1)
                .take_while(|line| !is_trace(line))
                .take(12)
                .map(str::len)
                .sum();
            let newline = rest[first..]
                .chars()
                .take_while(|c| *c == '\n')
                .count()
                .min(1);
            &rest[..(first + newline + more).min(rest.len())]
        })
        .collect()
}

/// A line of a stack trace, or the beginning of another one.
fn is_trace(line: &str) -> bool {
    let bare = line.trim_start();
    bare.is_empty()
        || bare.starts_with("at ")
        || bare.starts_with("File \"")
        || bare.starts_with("Traceback")
        || bare.starts_with("During handling")
        || bare.starts_with("The above exception")
        || RAISED.as_ref().is_some_and(|raised| raised.is_match(line))
}

/// The words of an exception without its name, its code and the request id behind it: what the provider said.
pub(super) fn said(text: &str) -> &str {
    static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"^(?:[^\S\n]*(?:Caused by:|Unhandled exception\.|Exception in thread "[^"\n]{0,80}"|(?:[\w$@/-]+[.:])*\w*(?:Error|Exception|Exhausted|Requests|Denied|Unavailable|Unauthenticated|Timeout)\b(?:\s*\[[^\]\n]{1,60}\])?:|Error code: [0-9]{3}(?:\s*-)?|error, status code: [0-9]{3},?|(?:HTTP )?[0-9]{3}\b(?: \([^)\n]*\))?[:.,]?|status: [^,\n]{1,60},|message: |\w+Exception -)\s*)+"#).ok()
    });
    let text = text.trim();
    let begins = NAME
        .as_ref()
        .and_then(|name| name.find(text))
        .map_or(0, |name| name.end());
    let said = text[begins..].trim();
    if said.is_empty() { text } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_where_programs_write_it() {
        for (text, expected) in [
            ("openai.RateLimitError: Error code: 429 - {", 429),
            ("RateLimitError: 429 You exceeded your", 429),
            ("Request failed with status code 402", 402),
            ("error, status code: 401, status: 401 Unauthorized", 401),
            ("got status: 429 Too Many Requests. {", 429),
            ("429 RESOURCE_EXHAUSTED. {", 429),
            ("HTTP 429 (insufficient_quota)", 429),
            ("\"POST /v1/chat/completions HTTP/1.1\" 429 371 \"-\"", 429),
            ("<Response [503]>", 503),
            ("Status: 429 (Too Many Requests)", 429),
            ("statusCode: 529,", 529),
            ("Fehler 429: Kontingent", 429),
            ("错误代码：429 - 您已", 429),
            ("Código de error: 503", 503),
            ("openai.error.RateLimitError: You exceeded", 429),
            (
                "Error retrieving 'completions': 429 Too Many Requests at",
                429,
            ),
        ] {
            assert_eq!(status(text), Some(expected), "{text}");
        }
        for text in [
            "I waited 429 seconds",
            "HTTP/1.1 200 OK",
            "model gpt-4-500",
            "",
        ] {
            assert_eq!(status(text), None, "{text}");
        }
    }

    #[test]
    fn an_exceptions_words_are_what_the_provider_said() {
        for (text, words) in [
            (
                "RateLimitError: 429 You exceeded your current quota",
                "You exceeded your current quota",
            ),
            (
                "openai.error.InvalidRequestError: Billing hard limit has been reached",
                "Billing hard limit has been reached",
            ),
            (
                "error, status code: 429, status: 429 Too Many Requests, message: Out of it",
                "Out of it",
            ),
            ("You exceeded", "You exceeded"),
        ] {
            assert_eq!(said(text), words);
        }
    }
}
