//! Takes credentials out of text that people will read: keys, tokens, passwords, and e-mail addresses.
//!
//! What is replaced becomes `***` behind the prefix that tells its kind (`sk-proj-***`), so that a reader still sees which
//! key was meant. It is the last step before text leaves the process (explanations, reports, alerts), and it errs on
//! the side of hiding: a word too many costs a reader a glance, a key too few costs the account. What has a use in a support
//! ticket stays: request ids, organisation and project names, model names.
//!
//! Two passes over the text. First everything that is a credential by its own look, wherever it stands; then what is one by
//! its place: behind a header's name, a parameter, a field, or the word "key".
//!
//! [`name`] is for what callers choose (models, paths, tags) and goes further; [`id`] is for ids of providers; [`Known`] finds
//! the very keys that were sent. These stand where such a text enters weir's records, so that no output has to think of it.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::{Captures, Regex};

pub use self::{
    known::Known,
    name::{header_name, id, name},
};

mod known;
mod name;
mod quick;
#[cfg(test)]
mod tests;

/// What stands for a secret.
const MASK: &str = "***";

/// `text` without anything that looks like a credential. Twice is the same as once.
pub fn redact(text: &str) -> Cow<'_, str> {
    if quick::is_plain(text) {
        return Cow::Borrowed(text);
    }
    thoroughly(text)
}

fn thoroughly(text: &str) -> Cow<'_, str> {
    let rules = Rules::get();
    let mut text = rules.tokens(text);
    for (pattern, keep) in &rules.places {
        if let Cow::Owned(changed) = pattern.replace_all(&text, |found: &Captures<'_>| keep(found))
        {
            text = Cow::Owned(changed);
        }
    }
    text
}

/// What a place becomes: the groups around the secret, and what is left of it.
type Keep = fn(&Captures<'_>) -> String;

struct Rules {
    /// Every kind's prefix, each in a group of its own.
    prefix: Regex,
    kind: Regex,
    places: Vec<(Regex, Keep)>,
}

/// What a key goes on with behind its prefix.
#[derive(Clone, Copy)]
enum Tail {
    /// Letters, digits, `_` and `-`; and what stands for the middle of a key that is quoted in part.
    Word,
    /// The same with dots.
    Dotted,
    /// The same with `/`.
    Path,
    /// The same with `+`, `/` and `=`.
    Base64,
}

/// Prefixes, how they go on, and from which length that is believed. The longer of two prefixes first.
const KINDS: &[(&str, Tail, usize)] = &[
    // OpenAI, Anthropic, OpenRouter, Langfuse; without a second word DeepSeek and many others too.
    (
        r"sk-(?:proj-|svcacct-|admin-|service-|ant-[a-z]{3,5}[0-9]{2}-|or-v1-|lf-|None-)?",
        Tail::Word,
        6,
    ),
    (r"sess-", Tail::Word, 12),
    // Google: API keys old and new, OAuth access and refresh tokens and client secrets.
    (r"AIza", Tail::Word, 16),
    (r"AQ\.Ab", Tail::Word, 16),
    (r"ya29\.", Tail::Dotted, 8),
    (r"GOCSPX-", Tail::Word, 10),
    (r"1//0", Tail::Word, 20),
    (r"gsk_", Tail::Word, 8),
    (r"xai-", Tail::Word, 20),
    (r"pplx-", Tail::Word, 16),
    (r"hf_", Tail::Word, 12),
    (r"r8_", Tail::Word, 16),
    (r"gh[pousr]_", Tail::Word, 12),
    (r"github_pat_", Tail::Word, 12),
    (r"glpat-", Tail::Word, 12),
    (r"nvapi-", Tail::Word, 12),
    (r"tgp_v1_", Tail::Word, 12),
    (r"fw_", Tail::Word, 16),
    (r"csk-", Tail::Word, 16),
    (r"vck_", Tail::Word, 16),
    (r"lsv2_(?:pt|sk)_", Tail::Word, 12),
    (r"pk-lf-", Tail::Word, 12),
    (r"npm_", Tail::Word, 30),
    (r"dapi", Tail::Word, 32),
    (r"[srp]k_(?:live|test)_", Tail::Word, 8),
    (r"whsec_", Tail::Base64, 12),
    (r"xox[abeoprs]-", Tail::Word, 8),
    (r"xapp-", Tail::Word, 8),
    // AWS: access key ids, Bedrock's own keys.
    (r"A(?:KI|SI|BI|CC)A", Tail::Word, 12),
    (r"ABSK", Tail::Base64, 24),
    (r"bedrock-api-key-", Tail::Base64, 24),
    // JSON web tokens.
    (r"eyJ", Tail::Dotted, 16),
    // Azure's newer keys carry this mark in their middle.
    (r"[A-Za-z0-9]{20,80}JQQJ9", Tail::Word, 10),
    (
        r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/",
        Tail::Path,
        1,
    ),
    (r"discord(?:app)?\.com/api/webhooks/", Tail::Path, 1),
    // weir's own.
    (r"wk-", Tail::Word, 20),
];

/// Words after "Bearer" that are prose.
const PROSE: &[&str] = &[
    "token",
    "tokens",
    "auth",
    "authentication",
    "authorization",
    "scheme",
    "header",
    "headers",
    "format",
    "key",
    "keys",
    "api",
    "realm",
    "error",
    "is",
    "in",
    "and",
    "or",
    "to",
    "not",
    "was",
    "as",
    "for",
    "with",
    "prefix",
    "credential",
    "credentials",
    "method",
    "type",
    "if",
    "on",
    "must",
    "should",
];

/// Values that are no secret.
const NOTHING: &[&str] = &[
    "",
    "null",
    "none",
    "undefined",
    "nil",
    "true",
    "false",
    "missing",
    "required",
    "not",
    "is",
];

// === impl Rules ===

impl Rules {
    fn get() -> &'static Self {
        static RULES: OnceLock<Rules> = OnceLock::new();
        RULES.get_or_init(|| {
            // Without Unicode's tables of word characters, which cost megabytes here and say nothing about keys.
            let built = |pattern: &str| {
                Regex::new(
                    &pattern
                        .replace(r"\b", r"(?-u:\b)")
                        .replace(r"\w", "A-Za-z0-9_"),
                )
                .expect("a test compiles it")
            };
            let kinds: Vec<_> = KINDS
                .iter()
                .map(|(prefix, ..)| format!("({prefix})"))
                .collect();
            let kinds = kinds.join("|");
            Self {
                prefix: built(&kinds),
                kind: built(&format!("^(?:{kinds})$")),
                places: PLACES
                    .iter()
                    .map(|(pattern, keep)| (built(pattern), *keep))
                    .collect(),
            }
        })
    }

    /// Everything that is a credential by its own look.
    fn tokens<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut out = String::new();
        let (mut done, mut from) = (0, 0);
        while let Some(found) = self.prefix.captures_at(text, from) {
            let prefix = found.get_match();
            let nth = (1..found.len()).find(|nth| found.get(*nth).is_some());
            let (_, tail, least) = KINDS[nth.map_or(0, |nth| nth - 1)];
            let end = prefix.end() + tail.length(&text[prefix.end()..]);
            let (token, body) = (&text[prefix.start()..end], &text[prefix.end()..end]);
            let whole = body.len() >= least
                || body.contains("**")
                || body.contains(['•', '…'])
                || body.contains("...");
            if !whole || !(stands_alone(&text[..prefix.start()]) || is_strong(token)) {
                // The middle of a word, as in `task-list`; a key may begin right behind it.
                from = next_char(text, prefix.start());
                continue;
            }
            out.push_str(&text[done..prefix.start()]);
            // What comes before Azure's mark is secret too.
            if !prefix.as_str().ends_with("JQQJ9") {
                out.push_str(prefix.as_str());
            }
            out.push_str(MASK);
            done = end;
            from = end;
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[done..]);
        Cow::Owned(out)
    }

    /// Is there nothing left in it but kind and mask?
    fn is_masked(&self, value: &str) -> bool {
        value
            .strip_suffix(MASK)
            .is_some_and(|kind| kind.is_empty() || self.kind.is_match(kind))
    }
}

// === impl Tail ===

impl Tail {
    /// How many bytes of `rest` belong to it.
    fn length(self, rest: &str) -> usize {
        let mut at = 0;
        while let Some(c) = rest[at..].chars().next() {
            let dots = rest[at..].len() - rest[at..].trim_start_matches('.').len();
            let more = match (c, self) {
                ('A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' | '*' | '•' | '…', _) => {
                    c.len_utf8()
                }
                ('/', Self::Path) | ('+' | '/' | '=', Self::Base64) => 1,
                // A full stop ends a sentence; in the middle of a token it parts it.
                ('.', Self::Dotted)
                    if rest[at + 1..]
                        .starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_') =>
                {
                    1
                }
                ('.', _) if dots >= 3 => dots,
                _ => break,
            };
            at += more;
        }
        at
    }
}

/// Does a word begin here? An escaped line end or a percent code before it counts as an edge.
fn stands_alone(before: &str) -> bool {
    let Some(last) = before.chars().next_back() else {
        return true;
    };
    let bytes = before.as_bytes();
    let escaped = bytes.len() >= 2 && bytes[bytes.len() - 2] == b'\\';
    let percent = bytes.len() >= 3
        && bytes[bytes.len() - 3] == b'%'
        && bytes[bytes.len() - 2..].iter().all(u8::is_ascii_hexdigit);
    !last.is_alphanumeric() || escaped || percent
}

/// So long or so marked that it is a key even when glued to a word.
fn is_strong(token: &str) -> bool {
    const MARKS: &[&str] = &[
        "sk-proj-",
        "sk-svcacct-",
        "sk-admin-",
        "sk-ant-",
        "sk-or-v1-",
        "github_pat_",
        "T3BlbkFJ",
        "JQQJ9",
        "hooks.slack",
        "ya29.",
        "eyJ",
        "AIza",
    ];
    // Keys have a long run of random characters; words in a row have dashes.
    let run = token.split(['-', '*', '_', '.']).map(str::len).max();
    let random = token.bytes().any(|b| b.is_ascii_digit());
    (random && run.is_some_and(|run| run >= 16))
        || (token.len() >= 20 && MARKS.iter().any(|mark| token.contains(mark)))
}

fn next_char(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

/// Places where a credential stands, in the order in which they are looked at.
const PLACES: &[(&str, Keep)] = &[
    // A private key, whole or cut.
    (
        r"(?P<a>-----BEGIN [A-Z ]*PRIVATE KEY-----)(?P<s>[A-Za-z0-9+/=\\\s*]*)",
        |found| format!("{}{MASK}", &found["a"]),
    ),
    // user:password@host
    (r#"(?P<a>://)(?P<s>[^\s/?#"'<>]+)@"#, |found| {
        format!("{}{MASK}@", &found["a"])
    }),
    // Signed AWS requests: the signature is the rest of the value.
    (
        r#"(?P<a>AWS4-HMAC-SHA256\s+)(?P<s>[^\r\n"'\\]+)"#,
        |found| format!("{}{MASK}", &found["a"]),
    ),
    // A header that is nothing but a credential, to the end of its value.
    (
        r#"(?i)(?P<a>\b(?:set-)?cookie\b\\?["']?\s*(?::|=|,)\s*(?:\\?"value\\?"\s*:\s*)?\[?(?:b?\\?["'])?)(?P<s>[^"'\r\n\\]+)"#,
        |found| format!("{}{MASK}", &found["a"]),
    ),
    // A header with a scheme; as a line, in an object, in a list of pairs, in a HAR.
    (
        r#"(?i)(?P<a>\b(?:proxy-)?authorization\b\\?["']?\s*(?::|=|,)\s*(?:\\?"value\\?"\s*:\s*)?\[?(?:b?\\?["'])?(?:(?:bearer|basic|digest|token|apikey|api-key|negotiate)(?:\s+|%20|\+))?)(?P<s>[^\s"'\\,;)\]}]+)"#,
        by_value,
    ),
    (
        r#"(?i)(?P<a>\b(?:x-|x-goog-|x-functions-|ocp-apim-subscription-|x-litellm-|anthropic-)?(?:api-?key|subscription-key|key|auth-token|amz-security-token|admin-key)\b\\?["']?\s*(?:\\?["']\s*,|:)\s*(?:\\?"value\\?"\s*:\s*)?\[?b?\\?["'])(?P<s>[^\s"'\\,;)\]}]+)"#,
        by_value,
    ),
    (
        r#"(?i)(?P<a>(?:\b|-)(?:api-?key|x-api-key|subscription-key|auth-token|security-token|admin-key)\s*:\s*)(?P<s>[^\s"'\\,;)\]}]+)"#,
        by_value,
    ),
    (
        r#"(?i)(?P<a>\bbearer(?:\s+|%20))(?P<s>[A-Za-z0-9._~+/=*:\-]+)"#,
        by_value,
    ),
    // Parameters of URLs and forms.
    (
        r#"(?i)(?P<a>[?&](?:key|code|sig|sv|token|auth)=)(?P<s>[^\s&"'<>\\;,)}\]]+)"#,
        by_value,
    ),
    (
        r#"(?i)(?P<a>\b[\w\-]*(?:api[_-]?key|access[_-]?key|subscription[_-]?key|auth[_-]?key|[_-]token|\btoken|secret|password|passwd|signature|x-amz-credential)\s*=\s*\\?["']?)(?P<s>[^\s&"'<>\\;,)}\]]+)"#,
        by_value,
    ),
    // Fields of objects: JSON, escaped JSON, Python, JavaScript.
    (
        r#"(?i)(?P<a>\b[\w\-]*(?:api[_-]?key|access[_-]?key(?:[_-]id)?|auth[_-]?key|[_-]key|(?:access|refresh|id|auth|session|security|bot|bearer|hf|api|github|gitlab)[_-]?token|secret|password|passwd|private[_-]key)\\?["']?\s*:\s*\\?["'])(?P<s>[^"'\\\r\n]+)"#,
        by_value,
    ),
    (
        r#"(?i)(?P<a>["']token\\?["']\s*:\s*\\?["'])(?P<s>[\w.+/=\-]{16,})"#,
        by_value,
    ),
    // In prose: the key that a provider quotes back, whatever it looks like, and long words behind the word "key".
    (
        r#"(?i)(?P<a>\b(?:api[ _-]?key|access token|token)(?: provided)?: *)(?P<s>[^\s"'\\,;)\]}]*[0-9*•][^\s"'\\,;)\]}]*)"#,
        by_value,
    ),
    (
        r#"(?i)(?P<a>(?:key|secret|token|password)s?\b[^\w]{1,4}(?:[\w]+[^\w]{1,3}){0,3}?)(?P<s>[A-Za-z0-9+/]{28,}={0,2})"#,
        |found| match &found["s"] {
            digits if digits.bytes().any(|b| b.is_ascii_digit()) => by_value(found),
            _ => found[0].to_owned(),
        },
    ),
    // Addresses of people.
    (
        r"(?P<s>[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,})",
        |_| format!("{MASK}@{MASK}"),
    ),
];

/// What is before it, and a mask; unless the value says nothing, is a variable's name, or is masked already.
fn by_value(found: &Captures<'_>) -> String {
    let (before, value) = (&found["a"], &found["s"]);
    let bare = value.trim_end_matches(['.', ':', '!', '?']);
    let word: String = bare
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_lowercase();
    let whole_word = word.len() == bare.len() || bare[word.len()..].starts_with('=');
    let bearer = before.to_ascii_lowercase().contains("bearer");
    let harmless = NOTHING.contains(&bare.to_ascii_lowercase().as_str())
        || (bearer && whole_word && PROSE.contains(&word.as_str()))
        || is_variable(bare)
        || Rules::get().is_masked(bare);
    if harmless {
        return found[0].to_owned();
    }
    // A full stop behind a quoted key belongs to the sentence.
    format!("{before}{MASK}{}", &value[bare.len()..])
}

/// `$NAME`, `${NAME}`, `<your key>`: what stands for a key in instructions.
fn is_variable(value: &str) -> bool {
    let name = value.strip_prefix('$').map(|name| {
        name.strip_prefix('{')
            .map_or(name, |name| name.strip_suffix('}').unwrap_or(name))
    });
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    })
}
