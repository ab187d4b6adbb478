//! Names that callers choose: models, paths, tags, apps. They go into the access log of every call, so the usual ones must
//! cost next to nothing; and in a name, unlike in a sentence, a long random word is a key even when nothing says so.

use std::borrow::Cow;

use super::{MASK, quick::is_plain, redact};

/// A shorter text holds no key that anybody would know again.
const SHORTEST: usize = 9;
/// More characters of a name are not shown.
const LONGEST: usize = 256;
/// A name of as many words is a sentence.
const SENTENCE: usize = 4;
/// From this length on a word of letters and digits is a key.
const RANDOM: usize = 28;
/// The same, where kinds begin in lower case and are not known again: names of headers.
const RANDOM_IN_LOWER_CASE: usize = 16;
/// So often do letters and digits change in a word with `/` and `+` that is no path.
const CHANGES: usize = 12;

/// What the API's own ids begin with; they are as long and as random as keys.
const IDS: &[&str] = &[
    "asst", "batch", "call", "cfile", "chatcmpl", "cmpl", "cntr", "conv", "eval", "evalrun", "fc",
    "file", "ftckpt", "ftjob", "item", "mcp", "msg", "org", "proj", "req", "resp", "rs", "run",
    "step", "thread", "upload", "vs", "vsf", "video", "wr", "ws",
];

/// A name as it may be shown: without keys, known by their look or by being random, bounded; a sentence is no name.
pub fn name(text: &str) -> Cow<'_, str> {
    if is_harmless(text) {
        return Cow::Borrowed(text);
    }
    shown(text, RANDOM)
}

/// The same for what was the name of a header, which is in lower case.
pub fn header_name(text: &str) -> Cow<'_, str> {
    if text.len() < RANDOM_IN_LOWER_CASE && is_harmless(text) {
        return Cow::Borrowed(text);
    }
    shown(text, RANDOM_IN_LOWER_CASE)
}

/// An id that a provider gave: as [`name`], but ids may be random. `None`: it is something else.
pub fn id(text: &str) -> Option<&str> {
    let is_word = text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic());
    (is_word && redact(text) == text).then_some(text)
}

/// The quick look: nothing in it can be a key. Made for every call, so that [`redact`] is for the few names that fail it.
fn is_harmless(text: &str) -> bool {
    text.len() < SHORTEST
        || (text.len() <= LONGEST && is_plain(text) && !text.contains(' ') && !has_random(text))
}

fn has_random(text: &str) -> bool {
    if text.len() < RANDOM {
        return false;
    }
    let (mut run, mut longest) = (0, 0);
    for byte in text.bytes() {
        run = if is_base64(byte) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest >= RANDOM && randoms(text, RANDOM).next().is_some()
}

fn shown(text: &str, least: usize) -> Cow<'_, str> {
    let bounded: String = text.chars().take(8 * LONGEST).collect();
    let mut clean = without_keys(&bounded, least);
    // Codes within codes, as careless clients write them.
    let mut decoded = bounded;
    for _ in 0..3 {
        let again = percent_decoded(&decoded);
        if again == decoded {
            break;
        }
        decoded = again;
        let inside = without_keys(&decoded, least);
        if inside != decoded {
            clean = inside;
        }
    }
    Cow::Owned(clean.chars().take(LONGEST).collect())
}

fn without_keys(text: &str, least: usize) -> String {
    if text.split_whitespace().nth(SENTENCE - 1).is_some() {
        return MASK.to_owned();
    }
    let clean = redact(text);
    let mut out = String::with_capacity(clean.len());
    let mut done = 0;
    for (from, to) in randoms(&clean, least) {
        if from >= done {
            out.push_str(&clean[done..from]);
            out.push_str(MASK);
            done = to;
        }
    }
    out.push_str(&clean[done..]);
    out
}

/// Where random words stand.
fn randoms(text: &str, least: usize) -> impl Iterator<Item = (usize, usize)> {
    let words = runs(text, |b| b.is_ascii_alphanumeric()).filter(move |(from, to)| {
        let word = &text.as_bytes()[*from..*to];
        word.len() >= least
            && word.iter().any(u8::is_ascii_digit)
            && word.iter().any(u8::is_ascii_alphabetic)
            && !is_id(&text[..*from])
    });
    let mixed = runs(text, is_base64).filter_map(move |(from, to)| {
        let run = &text[from..to];
        let long = run.len() >= least && changes(run) >= CHANGES && !is_id(&text[..from]);
        // Parts of a path before it are none of it.
        let begins = || run.split('/').position(|part| changes(part) >= 3);
        let skipped = long.then(begins).flatten()?;
        let before: usize = run
            .split('/')
            .take(skipped)
            .map(|part| part.len() + 1)
            .sum();
        Some((from + before, to))
    });
    let mut all: Vec<_> = words.chain(mixed).collect();
    all.sort_unstable();
    all.into_iter()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+')
}

/// The longest stretches of such bytes, all of them ASCII.
fn runs(text: &str, of: impl Fn(u8) -> bool) -> impl Iterator<Item = (usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at + bytes[at..].iter().position(|b| of(*b))?;
        let length = bytes[from..].iter().position(|b| !of(*b));
        at = length.map_or(bytes.len(), |length| from + length);
        Some((from, at))
    })
}

/// How often capitals, small letters and digits follow each other.
fn changes(word: &str) -> usize {
    let class = |b: &u8| {
        (
            b.is_ascii_uppercase(),
            b.is_ascii_lowercase(),
            b.is_ascii_digit(),
        )
    };
    let classes = word.as_bytes().windows(2);
    classes
        .filter(|pair| class(&pair[0]) != class(&pair[1]))
        .count()
}

/// Whether what stands before it makes it one of the API's ids.
fn is_id(before: &str) -> bool {
    let Some(word) = before.strip_suffix(['_', '-']) else {
        return false;
    };
    let last = word.rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
    last.is_some_and(|last| IDS.contains(&last))
}

fn percent_decoded(text: &str) -> String {
    let code = |at: usize| u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok();
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for (index, byte) in text.bytes().enumerate() {
        if index < at {
            continue;
        }
        match (byte == b'%').then(|| code(index)).flatten() {
            Some(decoded) => {
                out.push(decoded);
                at = index + 3;
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_names_are_shown_as_they_are() {
        for text in [
            "gpt-4o-mini-2024-07-18",
            "ft:gpt-4o-mini-2024-07-18:acme-research:support:9AbCdEfG",
            "accounts/fireworks/models/llama-v3p1-405b-instruct",
            "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free",
            "Qwen/Qwen2.5-72B-Instruct:free",
            "claude-sonnet-4-5-20250929",
            "llama3:8b-instruct-q4_K_M",
            "/v1/chat/completions",
            "/v1/audio/transcriptions",
            "/v1/files/file-AbCdEfGh12345678IjKlMnOp/content",
            "/v1/responses/resp_0123456789abcdef0123456789abcdef0123456789abcdef",
            "/v1/threads/thread_abc1234567890abc1234567890abc/runs/run_abc1234567890abc1234567890abc",
            "/v1/batches/batch_6712f2b0a1b2c3d4e5f60718293a4b5c",
            "My Model 7B",
            "5f0e2f43-8b7c-4b52-9a1f-0d3c2b1a0f9e",
            "team-blue",
            "modèle",
        ] {
            assert_eq!(name(text), text);
        }
    }

    /// A byte of a letter before an id's beginning was once taken for a letter.
    #[test]
    fn letters_of_several_bytes_before_what_looks_like_an_id_do_no_harm() {
        for text in [
            "%aa%5f0aaaaaa0a0000a0a",
            "è_0aaaaaa0a0000a0aB7dE9",
            "模型_0aaaaaa0a0000a0a",
        ] {
            let _ = name(text);
        }
    }

    #[test]
    fn the_names_of_most_calls_need_no_second_look() {
        for text in [
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/embeddings",
            "/v1/audio/transcriptions",
            "/v1/images/generations",
            "/v1/moderations",
            "/v1/models",
            "gpt-4o",
            "gpt-4o-mini-2024-07-18",
            "gpt-5",
            "o3-mini",
            "text-embedding-3-small",
            "claude-sonnet-4-5",
            "gemini-2.5-flash",
            "mistral-small-latest",
            "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free",
        ] {
            assert!(is_harmless(text), "{text}");
        }
    }

    #[test]
    fn keys_and_sentences_are_no_names() {
        for (text, clean) in [
            ("0123456789abcdef0123456789abcdef", "***"),
            (
                "openai/0123456789abcdefABCDEF0123456789:free",
                "openai/***:free",
            ),
            (
                "/v1/files/sk-proj-0123456789abcdef0123",
                "/v1/files/sk-proj-***",
            ),
            ("/v1/files/%73k%2D0123456789abcdef0123", "/v1/files/sk-***"),
            (
                "/v1/files/%2573k%252D0123456789abcdef0123",
                "/v1/files/sk-***",
            ),
            (
                "/v1/x/wJalrXUtnFEMI/K7MDENG/bPxRfiCY9aKb2LEo4q",
                "/v1/x/***",
            ),
            ("/v1/models/jane@x.example", "/v1/models/***@***"),
            ("my mother has a heart disease", "***"),
            ("/v1/files/my%20mother%20has%20a%20heart%20disease", "***"),
        ] {
            assert_eq!(name(text), clean, "{text}");
        }
        assert_eq!(header_name("akiaiosfodnn7example"), "***");
        assert_eq!(header_name("team"), "team");
    }

    #[test]
    fn an_id_may_be_random_and_not_a_key() {
        for text in [
            "req_0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef",
            "8f2a1b3c-FRA",
        ] {
            assert_eq!(id(text), Some(text));
        }
        for text in [
            "sk-proj-0123456789abcdef",
            "two words",
            "?key=0123456789abcdefg",
        ] {
            assert_eq!(id(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_bounded(text in "\\PC{0,300}|[%0-9a-f]{0,300}") {
            prop_assert!(name(&text).chars().count() <= LONGEST);
            header_name(&text);
            id(&text);
        }
    }
}
