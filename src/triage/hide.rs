//! What of a verdict may be kept and shown: a provider may quote the caller's key or prompt in any field.

use super::Verdict;
use crate::redact::{self, Known};

/// Stands for a word that is none.
const MASK: &str = "***";
/// Codes and types of real providers are shorter, and of fewer words.
const LONGEST: usize = 80;
const WORDS: usize = 4;

impl Verdict {
    /// Leaves codes, names and ids only where they look as such and hold no key. The provider's words stay for the caller,
    /// and for the caller alone.
    pub fn hide(&mut self, known: &Known<'_>) {
        for word in [&mut self.code, &mut self.kind].into_iter().flatten() {
            if !is_code(word) || known.is_in(word) {
                MASK.clone_into(word);
            }
        }
        // What is no name tells nothing of whose a key is.
        for name in [
            &mut self.organization,
            &mut self.project,
            &mut self.request_id,
        ] {
            let keep = |text: &str| redact::id(text).is_some() && !known.is_in(text);
            if !name.as_deref().is_none_or(keep) {
                *name = None;
            }
        }
    }
}

/// `insufficient_quota`, `429`, `Too Many Requests`; not a sentence, not a number of somebody's.
fn is_code(text: &str) -> bool {
    let mut words = text.split(' ');
    let single = words.clone().count() == 1;
    text.len() <= LONGEST
        && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        && (single || words.clone().count() <= WORDS)
        && (single || words.all(|word| word.bytes().all(|b| b.is_ascii_alphabetic())))
        && redact::name(text) == text
}

#[cfg(test)]
mod tests {
    use super::is_code;

    #[test]
    fn codes_are_told_from_keys_and_sentences() {
        for text in [
            "insufficient_quota",
            "429",
            "Too Many Requests",
            "RESOURCE_EXHAUSTED",
            "model_not_found",
            "invalid_request_error.context",
        ] {
            assert!(is_code(text), "{text}");
        }
        for text in [
            "sk-proj-0123456789abcdef",
            "0123456789abcdef0123456789abcdef",
            "my number is 4711",
            "one two three four five",
            "naïve",
        ] {
            assert!(!is_code(text), "{text}");
        }
    }
}
