//! Keys of every known shape and prompts, made anew each time, and the search for them.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use base64::{Engine, prelude::BASE64_STANDARD};

/// A stretch of a secret as long as this must be nowhere.
const WINDOW: usize = 12;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a kind of key is made of: its public beginning, then this many of these, then its end.
const KINDS: &[(&str, &str, usize, &[u8], &str)] = &[
    ("openai legacy", "sk-", 48, LETTERS, ""),
    ("openai project", "sk-proj-", 120, LETTERS, ""),
    ("openai service", "sk-svcacct-", 80, LETTERS, ""),
    ("openai admin", "sk-admin-", 80, LETTERS, ""),
    ("openai session", "sess-", 40, LETTERS, ""),
    ("anthropic api", "sk-ant-api03-", 93, LETTERS, "AA"),
    ("anthropic admin", "sk-ant-admin01-", 93, LETTERS, "AA"),
    ("anthropic oauth", "sk-ant-oat01-", 93, LETTERS, "AA"),
    ("google api", "AIzaSy", 33, LETTERS, ""),
    ("google oauth", "ya29.", 120, LETTERS, ""),
    ("groq", "gsk_", 52, LETTERS, ""),
    ("xai", "xai-", 80, LETTERS, ""),
    ("openrouter", "sk-or-v1-", 64, HEX, ""),
    ("mistral", "", 32, LETTERS, ""),
    ("deepseek", "sk-", 32, HEX, ""),
    ("azure old", "", 32, HEX, ""),
    ("azure new", "", 84, LETTERS, ""),
    (
        "azure marked",
        "",
        52,
        LETTERS,
        "JQQJ99BAACYeBjFXJ3w3AAABACOG1a2B",
    ),
    ("hugging face", "hf_", 34, LETTERS, ""),
    ("github", "ghp_", 36, LETTERS, ""),
    ("github fine", "github_pat_", 82, LETTERS, ""),
    ("aws id", "AKIA", 16, UPPER, ""),
    ("aws secret", "", 40, BASE64, ""),
    ("slack bot", "xoxb-", 44, LETTERS, ""),
    (
        "jwt",
        "eyJhbGciOiJIUzI1NiJ9.eyJ",
        60,
        LETTERS,
        ".c2lnbmF0dXJlLW9mLXRoaXM",
    ),
    ("perplexity", "pplx-", 48, LETTERS, ""),
    ("nvidia", "nvapi-", 64, LETTERS, ""),
    ("app of weir", "wk-", 43, LETTERS, ""),
    ("random", "", 40, LETTERS, ""),
];

/// Something that must not come out.
#[derive(Clone, Debug)]
struct Secret {
    /// What it is and where it was thrown.
    name: String,
    /// The part that is secret, without the public beginning.
    body: String,
}

/// All that was thrown so far; makes more.
pub(crate) struct Thrown(Mutex<(fastrand::Rng, Vec<Secret>)>);

impl Thrown {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((fastrand::Rng::with_seed(0x5eed), Vec::new())))
    }

    /// The names of all kinds.
    pub(crate) fn kinds() -> impl Iterator<Item = &'static str> + Clone {
        KINDS.iter().map(|kind| kind.0)
    }

    /// A new key of this kind, thrown at `place`.
    pub(crate) fn key(&self, kind: &str, place: &str) -> String {
        let (name, prefix, length, letters, end) = KINDS
            .iter()
            .find(|known| known.0 == kind)
            .expect("a kind of the table");
        let mut all = self.0.lock().unwrap();
        let mut body = String::new();
        // Both a digit and a letter, as every real one has.
        while body.len() < *length {
            body.push(char::from(letters[all.0.usize(..letters.len())]));
            if body.len() == *length && !body.bytes().any(|b| b.is_ascii_digit()) {
                body.clear();
            }
        }
        let text = format!("{prefix}{body}{end}");
        all.1.push(Secret {
            name: format!("{name} in {place}"),
            body,
        });
        text
    }

    /// New words that a user could have written, thrown at `place`.
    pub(crate) fn prompt(&self, place: &str) -> String {
        const WHO: [&str; 8] = [
            "walrus", "notary", "heiress", "welder", "falcon", "botanist", "jockey", "plumber",
        ];
        const DOES: [&str; 8] = [
            "conceals",
            "embezzles",
            "forges",
            "inherits",
            "smuggles",
            "mortgages",
            "divorces",
            "confesses",
        ];
        const WHAT: [&str; 8] = [
            "emeralds",
            "tumours",
            "shares",
            "orchids",
            "ballots",
            "vineyards",
            "ledgers",
            "sonatas",
        ];
        let mut all = self.0.lock().unwrap();
        // No stretch of it is in another prompt.
        let letters: String = (0..4).map(|_| all.0.lowercase()).collect();
        let text = format!(
            "My {}-{letters} {} {}-{letters}",
            WHO[all.0.usize(..8)],
            DOES[all.0.usize(..8)],
            WHAT[all.0.usize(..8)],
        );
        all.1.push(Secret {
            name: format!("prompt in {place}"),
            body: text.clone(),
        });
        text
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }

    /// Everything that came out again, in plain, in base64 or with percent codes: what, and where.
    pub(crate) fn found_in(&self, outputs: &[Output]) -> Vec<String> {
        let all = self.0.lock().unwrap().1.clone();
        let mut needles: HashMap<Vec<u8>, usize> = HashMap::new();
        for (index, secret) in all.iter().enumerate() {
            for form in forms(secret) {
                let bytes = form.as_bytes();
                for window in bytes.windows(WINDOW) {
                    needles.entry(window.to_vec()).or_insert(index);
                }
            }
        }
        let mut found = Vec::new();
        for output in outputs {
            let mut told = HashSet::new();
            for text in readings(&output.text) {
                for (at, window) in text.as_bytes().windows(WINDOW).enumerate() {
                    let Some(index) = needles.get(window).filter(|index| told.insert(**index))
                    else {
                        continue;
                    };
                    let from = text.floor_char_boundary(at.saturating_sub(60));
                    let to = text.ceil_char_boundary((at + 80).min(text.len()));
                    let (secret, place, around) =
                        (&all[*index].name, &output.name, &text[from..to]);
                    found.push(format!("{secret} came out in {place}: …{around}…"));
                }
            }
        }
        found
    }
}

/// Something that came out.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Output {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// The secret part, and the whole in base64 at each of the three places where it can begin.
fn forms(secret: &Secret) -> Vec<String> {
    let mut forms = vec![secret.body.clone(), secret.body.to_ascii_lowercase()];
    for skip in 0..3.min(secret.body.len()) {
        let code = BASE64_STANDARD.encode(&secret.body.as_bytes()[skip..]);
        // The last characters depend on what follows.
        forms.push(code.trim_end_matches('=')[..code.trim_end_matches('=').len() - 2].to_owned());
    }
    forms
}

/// The text, and what a reader makes of escapes in it.
fn readings(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    if text.contains('%') {
        let once = percent(text);
        all.push(percent(&once));
        all.push(once);
    }
    if text.contains('+') {
        all.push(text.replace('+', " "));
    }
    if text.contains("\\u00") {
        all.push(text.replace("\\u002d", "-").replace("\\u005f", "_"));
    }
    all
}

fn percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn the_search_finds_what_is_there_in_every_form() {
    let thrown = Thrown::new();
    for kind in Thrown::kinds() {
        let key = thrown.key(kind, "a test");
        let coded = BASE64_STANDARD.encode(format!("user:{key}"));
        let escaped: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
        let part = &key[key.len() / 2 - 6..key.len() / 2 + 6];
        for text in [key.clone(), coded, escaped, part.to_owned()] {
            let output = Output::new("here", format!("so {text} it is"));
            assert_eq!(thrown.found_in(&[output]).len(), 1, "{kind}: {text}");
        }
    }
    let output = Output::new("here", thrown.prompt("a test").replace(' ', "%20"));
    assert_eq!(thrown.found_in(&[output]).len(), 1);
    let harmless = "gpt-4o-mini-2024-07-18 req_0123456789abcdef0123456789abcdef";
    assert!(thrown.found_in(&[Output::new("here", harmless)]).is_empty());
}
