//! Makes evidence of whatever was pasted: bodies, dumps of `curl`, HARs, exceptions, log lines, event streams, pages, bare
//! sentences.
//!
//! It parses and does not judge. It knows how programs write a status, a header, an object and a broken connection, and
//! leaves to triage what they mean. What cannot be parsed is passed on as text.

mod head;
mod literal;
mod object;
mod provider;
mod words;

use std::sync::LazyLock;

use http::HeaderMap;
use regex::Regex;

use crate::triage::{Class, Confidence, Evidence, NetworkKind, Transport, Verdict};

/// Errors of one paste that are looked at.
const MOST: usize = 64;
/// Text around an error that may tell whose it is.
const AROUND: usize = 4_096;

/// Bytes that are read, some of them again and again, in search of objects: a bracket that nobody closes is read to the
/// text's end, and so is the next one.
const WORK: usize = 2 << 20;

/// One error of a paste.
#[derive(Clone, Debug, Default)]
pub(super) struct Paste {
    pub(super) status: Option<u16>,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// Text around it.
    pub(super) context: String,
    /// It came inside an event stream.
    stream: bool,
    /// What happened on the wire, where there was no answer.
    pub(super) wire: Option<NetworkKind>,
    /// The body is an error object, and not only words.
    object: bool,
    /// Another exception of the same chain told it before.
    pub(super) chained: bool,
}

/// How it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading(Transport);

/// The text without what terminals and documents put around it: colours, borders, code fences.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
                }
            }
            '\0' | '\r' | '\u{feff}' => {}
            '\u{a0}' => out.push(' '),
            c => out.push(c),
        }
    }
    if !out.contains(['│', '┃', '`']) {
        return out;
    }
    let mut lines: Vec<&str> = Vec::new();
    for line in out.lines() {
        let bare = line.trim_start_matches(['│', '┃', '╭', '╰', '─', '╮', '╯']);
        let bare = bare.trim_end_matches(|c: char| c.is_whitespace() || "│┃╮╯─".contains(c));
        if !bare.trim_start().starts_with("```") {
            lines.push(bare);
        }
    }
    lines.join("\n")
}

/// The first id of a call of this gateway.
pub(super) fn own_id(text: &str) -> Option<String> {
    let at = text.find("wr_")?;
    let digits = text[at + 3..]
        .bytes()
        .take_while(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        .count();
    (digits == 24).then(|| text[at..at + 27].to_owned())
}

/// The class that a weir gave to the failure: in a line of its log, or in its answer's headers.
pub(super) fn own_class(text: &str) -> Option<Class> {
    static CLASS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?i)(?:x-weir-class"?|\bclass"?)['"]?\s*[:=,]\s*['"]?([a-z]+(?:_[a-z]+)*)\b"#)
            .ok()
    });
    if own_id(text).is_none() && !text.to_ascii_lowercase().contains("x-weir-") {
        return None;
    }
    let found = CLASS.as_ref()?.captures_iter(text);
    found
        .filter_map(|found| found[1].to_ascii_lowercase().parse().ok())
        .find(|class| *class != Class::Unknown)
}

/// A status, wherever it is written.
pub(super) fn status_in(text: &str) -> Option<u16> {
    words::status(text)
}

/// The errors of a paste, in its order.
pub(super) fn read(text: &str) -> Vec<Paste> {
    let mut found = read_text(text);
    let around: String = text.chars().take(AROUND).collect();
    for paste in &mut found {
        if paste.context.is_empty() {
            paste.context = around.clone();
        }
    }
    found.truncate(MOST);
    found
}

/// Of a text that stands inside another error.
fn read_within(text: &str, depth: u8) -> Vec<Paste> {
    if depth == 0 || text.len() < 8 {
        return Vec::new();
    }
    in_prose(text, depth)
}

fn read_text(text: &str) -> Vec<Paste> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Vec::new();
    }
    if let Ok(value) = serde_json::from_str(trimmed) {
        let found = object::all(&value);
        if !found.is_empty() {
            return found;
        }
    }
    let answers = head::answers(text);
    if !answers.is_empty() {
        let before = answers[0].range.start;
        let found: Vec<_> = answers.into_iter().filter_map(of_answer).collect();
        if !found.is_empty() {
            return with_context(found, &text[..before]);
        }
    }
    if is_event_stream(trimmed) {
        let mut paste = Paste::of_body(None, HeaderMap::new(), trimmed.to_owned());
        paste.stream = true;
        return vec![paste];
    }
    if let Some(page) = page(text) {
        return vec![page];
    }
    if is_code(trimmed) {
        let body = serde_json::json!({"error": {"code": trimmed, "type": trimmed}});
        return vec![Paste::of_body(None, HeaderMap::new(), body.to_string())];
    }
    in_prose(text, 4)
}

/// One word, as APIs write codes: `insufficient_quota`.
fn is_code(text: &str) -> bool {
    let letters = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    letters
        && text.contains('_')
        && text.len() <= 64
        && own_id(text).is_none()
        && !text.starts_with("req_")
}

/// The request before the answers tells the host.
fn with_context(mut found: Vec<Paste>, before: &str) -> Vec<Paste> {
    let tail: String = before.chars().rev().take(AROUND).collect();
    let tail: String = tail.chars().rev().collect();
    for paste in &mut found {
        paste.context = format!("{tail}\n{}", paste.context);
    }
    found
}

fn of_answer(answer: head::Answer) -> Option<Paste> {
    let body = answer.body.trim();
    let stream = is_event_stream(body) && answer.status.is_some_and(|status| status < 400);
    let mut paste = Paste::of_body(answer.status, answer.headers, body.to_owned());
    paste.stream = stream;
    // A body that was shown by a program rather than sent.
    if !stream
        && body.starts_with(['{', '['])
        && serde_json::from_str::<serde_json::Value>(body).is_err()
        && let Some((value, _)) = literal::read(body)
        && value.get("error").is_some()
    {
        paste.body = value.to_string();
    }
    let failed = answer.status.is_some_and(|status| status >= 400);
    (failed || stream || paste.body.contains("error") || paste.body.starts_with('<'))
        .then_some(paste)
}

fn is_event_stream(text: &str) -> bool {
    let begins = |line: &str| line.starts_with("data:") || line.starts_with("event:");
    text.lines().next().is_some_and(begins) || text.lines().filter(|line| begins(line)).count() >= 2
}

/// An HTML page, with the status that its title or the text before it names.
fn page(text: &str) -> Option<Paste> {
    let lower = text.to_ascii_lowercase();
    let start = lower
        .find("<!doctype html")
        .or_else(|| lower.find("<html"))?;
    let body = &text[start..];
    let title = lower[start..].find("<title>").map(|at| {
        let rest = &body[at + "<title>".len()..];
        rest.split('<').next().unwrap_or_default()
    });
    let number = |title: &str| {
        title
            .split(|c: char| !c.is_ascii_digit())
            .filter(|word| word.len() == 3)
            .find_map(|word| {
                word.parse()
                    .ok()
                    .filter(|status| (400..600).contains(status))
            })
    };
    let status = words::status(&text[..start]).or_else(|| title.and_then(number));
    let mut headers = head::loose(&text[..start]);
    if !headers.contains_key(http::header::CONTENT_TYPE) {
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/html"),
        );
    }
    let mut paste = Paste::of_body(status, headers, body.to_owned());
    paste.object = true;
    Some(paste)
}

/// Objects in a text with what stands before them; without any, the words.
fn in_prose(text: &str, depth: u8) -> Vec<Paste> {
    let mut found = Vec::new();
    let loose = head::loose(text);
    let (mut from, mut after) = (0, 0);
    let mut work = WORK.max(4 * text.len());
    while work > 0
        && let Some(at) = text[from..].find(['{', '[']).map(|at| at + from)
    {
        let Some((value, length)) = literal::read_within(&text[at..], &mut work) else {
            from = at + 1;
            continue;
        };
        let mut inner = object::errors(&value, depth);
        if inner.iter().any(Paste::is_torn) {
            // Its message is an object whose quotes were lost on the way: read that one.
            from = at + 1;
            continue;
        }
        if inner.is_empty() {
            // Brackets of prose, or an object of something else; an error may stand inside it.
            from = at + 1;
            if length > 2 && value.is_object() {
                from = at + length;
            }
            continue;
        }
        let before = &text[after..at];
        for paste in &mut inner {
            paste.complete(before, &loose);
        }
        found.append(&mut inner);
        from = at + length.max(1);
        after = from;
        if found.len() >= MOST {
            break;
        }
    }
    if found.is_empty() {
        found = in_words(text, &loose);
    }
    found
}

/// Exceptions, or the text as a whole.
fn in_words(text: &str, headers: &HeaderMap) -> Vec<Paste> {
    let of = |part: &str, status: Option<u16>| Paste {
        status,
        headers: headers.clone(),
        body: words::said(part).to_owned(),
        wire: if status.is_none() {
            words::wire(text)
        } else {
            None
        },
        ..Paste::default()
    };
    let raised = words::raised(text);
    let mut found: Vec<Paste> = raised
        .iter()
        .map(|part| of(part, words::status(part)))
        .collect();
    // Of a chain one exception may know the status and another one the words.
    let mut stated = found.iter().filter_map(|paste| paste.status);
    if let Some(first) = stated.next()
        && stated.all(|status| status == first)
    {
        for paste in &mut found {
            (paste.status, paste.wire) = (Some(first), None);
        }
    }
    let whole = words::status(text);
    // The words may also stand below the exception's line.
    if found.is_empty() || (whole.is_some() && text.len() < AROUND) {
        found.push(of(text, whole));
    }
    if found
        .iter()
        .all(|paste| paste.status.is_none() && paste.wire.is_none())
    {
        // One line of many may be the one.
        let lines = text.lines().filter(|line| words::status(line).is_some());
        found.extend(lines.take(MOST).map(|line| of(line, words::status(line))));
    }
    found
        .iter_mut()
        .skip(1)
        .for_each(|paste| paste.chained = true);
    found
}

/// The preset's name, and what told it.
pub(super) fn provider(paste: &Paste) -> (&'static str, &'static str) {
    provider::guess(paste)
}

// === impl Paste ===

impl Paste {
    fn of_body(status: Option<u16>, headers: HeaderMap, body: String) -> Self {
        let object = body.trim_start().starts_with(['{', '[', '<']);
        Self {
            status,
            headers,
            body,
            object,
            ..Self::default()
        }
    }

    /// Is its message nothing but the beginning of an object?
    fn is_torn(&self) -> bool {
        serde_json::from_str(&self.body).is_ok_and(|body: serde_json::Value| {
            let message = body["error"]["message"]
                .as_str()
                .or_else(|| body["message"].as_str());
            message.is_some_and(|message| {
                matches!(message.trim_matches(['\\', 'n', ' ', '\n']), "{" | "[")
            })
        })
    }

    /// Adds what the text before an object tells.
    fn complete(&mut self, before: &str, loose: &HeaderMap) {
        let tail: String = before.chars().rev().take(AROUND).collect();
        let tail: String = tail.chars().rev().collect();
        if self.status.is_none() {
            self.status = words::status(&tail);
        }
        if self.headers.is_empty() {
            self.headers = loose.clone();
        }
        self.context = format!("{tail}\n{}", self.context);
    }

    /// How it came, as far as the paste tells.
    pub(super) fn reading(&self) -> Reading {
        let first = match (self.stream, self.status, self.wire) {
            (true, ..) => Transport::StreamEvent,
            (_, Some(200..=299), _) => Transport::ObjectIn200,
            (_, None, Some(kind)) if !self.object => Transport::Network(kind),
            _ => Transport::Http,
        };
        Reading(first)
    }

    pub(super) fn evidence(&self, Reading(transport): Reading) -> Evidence<'_> {
        Evidence {
            status: match transport {
                Transport::Network(_) => 0,
                _ => self.status.unwrap_or_default(),
            },
            headers: &self.headers,
            body: self.body.as_bytes(),
            transport,
            endpoint: self.endpoint(),
        }
    }

    /// The path that was called, as far as the text tells.
    pub(super) fn endpoint(&self) -> &str {
        const PATHS: &[&str] = &[
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/embeddings",
            "/v1/images",
            "/v1/audio",
            "/v1/batches",
            "/v1/files",
            "/v1/messages",
            "/v1/completions",
            "/v1/models",
            "/v1/realtime",
            "/v1/moderations",
        ];
        PATHS
            .iter()
            .copied()
            .find(|path| self.context.contains(path))
            .unwrap_or_default()
    }

    /// Does the verdict tell something about it? Words alone need a rule that knows them.
    pub(super) fn is_about(&self, verdict: &Verdict) -> bool {
        let stated = self.status.is_some() || self.wire.is_some() || self.stream || self.object;
        verdict.class != Class::Unknown && (stated || verdict.confidence > Confidence::Guess)
    }
}
