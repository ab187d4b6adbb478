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

use http::HeaderMap;

use crate::triage::{Class, Confidence, Evidence, NetworkKind, Transport, Verdict};

/// Errors of one paste that are looked at.
const MOST: usize = 64;
/// Text around an error that may tell whose it is.
const AROUND: usize = 4_096;

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
}

/// A way to read it.
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
    in_prose(text, 4)
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
    while let Some(at) = text[from..].find(['{', '[']).map(|at| at + from) {
        let Some((value, length)) = literal::read(&text[at..]) else {
            from = at + 1;
            continue;
        };
        let mut inner = object::errors(&value, depth);
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
    let mut found: Vec<Paste> = Vec::new();
    let raised = words::raised(text);
    for part in raised.iter().copied().chain(std::iter::once(text)) {
        let status = words::status(part);
        let wire = if status.is_none() {
            words::wire(text)
        } else {
            None
        };
        let whole = part.len() == text.len();
        if whole && !found.is_empty() && status.is_none() {
            continue;
        }
        let said = words::said(part);
        found.push(Paste {
            status,
            headers: headers.clone(),
            body: said.to_owned(),
            context: String::new(),
            stream: false,
            wire,
            object: false,
        });
    }
    // The same failure is often told by several exceptions; the whole is only for what no part tells.
    if raised.len() > 1 {
        found.sort_by_key(|paste| paste.status.is_none());
        found.truncate(raised.len());
    }
    if found.is_empty()
        || found
            .iter()
            .all(|paste| paste.status.is_none() && paste.wire.is_none())
    {
        // One line of many may be the one.
        for line in text
            .lines()
            .filter(|line| words::status(line).is_some())
            .take(MOST)
        {
            found.push(Paste {
                status: words::status(line),
                body: words::said(line).to_owned(),
                ..Paste::default()
            });
        }
    }
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

    /// The ways to read it, the likeliest first.
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading> {
        let first = match (self.stream, self.status, self.wire) {
            (true, ..) => Transport::StreamEvent,
            (_, Some(200..=299), _) => Transport::ObjectIn200,
            (_, None, Some(kind)) if !self.object => Transport::Network(kind),
            _ => Transport::Http,
        };
        // An error object without a status may have come in a stream or under 200.
        let second = (self.status.is_none() && self.object).then_some(Transport::ObjectIn200);
        std::iter::once(Reading(first)).chain(second.map(Reading))
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
        let stated = self.status.is_some() || self.wire.is_some() || self.stream;
        verdict.class != Class::Unknown && (stated || verdict.confidence > Confidence::Guess)
    }
}
