//! Whose words a message is made of: what it quotes is the caller's, the rest the provider's.
//!
//! A refusal often echoes what it refuses, and a prompt may speak of anything: of quota, of keys, of closed accounts.

use super::facts::cut;

/// Longest quoted passage that is taken for one; two apostrophes further apart are not a pair.
const QUOTED: usize = 4096;

/// The text without its quoted passages. A quote opens after a blank or a bracket and closes before one (or before
/// punctuation), so that the apostrophe of `didn't` is none.
pub(super) fn without_quotes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let closing = match first {
            '\'' | '"' | '`' => Some(first),
            '\u{201c}' => Some('\u{201d}'),
            '\u{2018}' => Some('\u{2019}'),
            _ => None,
        };
        let opens = !before.is_alphanumeric();
        let end = closing
            .filter(|_| opens)
            .and_then(|closing| end_of_quote(after, closing));
        kept.push(if end.is_some() { ' ' } else { first });
        rest = end.map_or(after, |end| &after[end..]);
        before = first;
    }
    kept
}

/// Where the quoted passage at the text's start is over, its closing mark included.
fn end_of_quote(text: &str, closing: char) -> Option<usize> {
    cut(text, QUOTED)
        .match_indices(closing)
        .map(|(at, mark)| at + mark.len())
        .find(|&end| {
            !text[end..].starts_with(|next: char| next.is_alphanumeric() || next == closing)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_quoted_goes_and_apostrophes_stay() {
        for (text, want) in [
            (
                "Invalid value: 'no credits left'. Use 'a'.",
                "Invalid value:  . Use  .",
            ),
            (
                "You didn't provide a key, and it isn't optional.",
                "You didn't provide a key, and it isn't optional.",
            ),
            (
                "The model `gpt` does not exist",
                "The model   does not exist",
            ),
            ("got \"a 'b' c\" instead", "got   instead"),
            ("\u{201c}billing\u{201d} is unknown", "  is unknown"),
            (
                "input_value={'text': 'empty balance'}, type=dict",
                "input_value={ :  }, type=dict",
            ),
            ("an open 'quote without end", "an open 'quote without end"),
        ] {
            assert_eq!(without_quotes(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_keeps_what_is_outside_quotes(text in "\\PC{0,80}") {
            let kept = without_quotes(&text);
            prop_assert!(kept.len() <= text.len());
            if !text.contains(['\'', '"', '`', '\u{201c}', '\u{2018}']) {
                prop_assert_eq!(kept, text);
            }
        }
    }
}
