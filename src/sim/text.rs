//! Filler prose, directives in the user's text, and the token count that goes with both.

use super::dice::Dice;

/// Words of the filler; plain, so that nobody takes them for an answer.
const WORDS: [&str; 64] = [
    "water", "stone", "river", "over", "under", "slow", "bright", "morning", "the", "and", "a",
    "of", "with", "gate", "flow", "bank", "reed", "mill", "wheel", "turns", "holds", "rises",
    "falls", "quiet", "green", "deep", "weir", "field", "path", "bridge", "light", "wind", "along",
    "through", "toward", "between", "small", "old", "new", "clear", "level", "channel", "basin",
    "pool", "stream", "source", "spring", "rain", "cloud", "season", "measure", "gauge", "keeper",
    "boat", "lock", "timber", "iron", "rope", "walks", "waits", "opens", "closes", "again",
    "still",
];

/// Text cut into tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prose {
    pub(crate) text: String,
    /// Byte offsets where tokens end.
    ends: Vec<usize>,
}

/// What a user's text asks of the simulator: `[sim:NAME]` or `[sim:NAME=VALUE]`, anywhere, any number of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Directives {
    /// Length of the answer.
    pub(crate) tokens: Option<usize>,
    /// Gap before each event of a stream, in milliseconds.
    pub(crate) event_ms: u64,
    /// Before the head of the answer, in milliseconds.
    pub(crate) delay_ms: u64,
    /// The answer tells what body was received.
    pub(crate) echo: bool,
    /// The answer, word for word.
    pub(crate) say: Option<String>,
    /// Name of the tool to call.
    pub(crate) tool: Option<String>,
    /// Arguments of the call, as JSON.
    pub(crate) args: Option<String>,
    /// Number of calls.
    pub(crate) calls: Option<usize>,
    /// Answer in text though there are tools.
    pub(crate) text: bool,
}

// === impl Directives ===

impl Directives {
    pub(crate) fn read(text: &str) -> Self {
        let mut found = Self::default();
        let mut rest = text;
        while let Some(at) = rest.find("[sim:") {
            rest = &rest[at + 5..];
            let Some(end) = closing(rest) else { break };
            let (name, value) = rest[..end].split_once('=').unwrap_or((&rest[..end], ""));
            match name.trim() {
                "tokens" => found.tokens = value.trim().parse().ok(),
                "event-ms" => found.event_ms = value.trim().parse().unwrap_or(0),
                "delay-ms" => found.delay_ms = value.trim().parse().unwrap_or(0),
                "echo" => found.echo = true,
                "say" => found.say = Some(value.to_owned()),
                "tool" => found.tool = Some(value.trim().to_owned()),
                "args" => found.args = Some(value.trim().to_owned()),
                "calls" => found.calls = value.trim().parse().ok(),
                "text" => found.text = true,
                // A stranger is left alone: it may be meant for a newer version.
                _ => {}
            }
            rest = &rest[end..];
        }
        found
    }
}

/// Where the directive's own bracket closes; arguments may hold brackets.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 0 => return Some(at),
            b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

// === impl Prose ===

impl Prose {
    /// Filler of exactly that many tokens.
    pub(crate) fn filler(dice: &mut Dice, tokens: usize) -> Self {
        let mut prose = Self {
            text: String::with_capacity(tokens * 7),
            ends: Vec::with_capacity(tokens),
        };
        let mut starts_sentence = true;
        for at in 0..tokens {
            if at > 0 {
                prose.text.push(' ');
            }
            let word = WORDS[dice.below(WORDS.len())];
            if starts_sentence {
                prose
                    .text
                    .push(char::from(word.as_bytes()[0].to_ascii_uppercase()));
                prose.text.push_str(&word[1..]);
            } else {
                prose.text.push_str(word);
            }
            starts_sentence = at + 1 == tokens || at % 12 == 11;
            if starts_sentence {
                prose.text.push('.');
            }
            prose.ends.push(prose.text.len());
        }
        prose
    }

    /// A given text, cut about every four characters.
    pub(crate) fn given(text: String) -> Self {
        let mut ends = Vec::with_capacity(text.len() / 4 + 1);
        for (count, (at, _)) in text.char_indices().enumerate() {
            if count > 0 && count % 4 == 0 {
                ends.push(at);
            }
        }
        if !text.is_empty() {
            ends.push(text.len());
        }
        Self { text, ends }
    }

    pub(crate) fn tokens(&self) -> usize {
        self.ends.len()
    }

    /// Cuts to `max` tokens; whether that cut anything.
    pub(crate) fn truncate(&mut self, max: usize) -> bool {
        if max >= self.ends.len() {
            return false;
        }
        self.ends.truncate(max);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
        true
    }

    /// The tokens, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.text[start..end])
    }
}

/// OpenAI's rough estimate: four bytes a token.
pub(crate) fn estimate(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn directives_are_found_anywhere_and_may_hold_brackets() {
        let found = Directives::read(
            "hello [sim:tokens=7] x [sim:echo][sim:args={\"list\":[1,[2]]}] [sim:tool=get_weather][sim:new=1]",
        );
        assert_eq!(found.tokens, Some(7));
        assert!(found.echo);
        assert_eq!(found.args.as_deref(), Some("{\"list\":[1,[2]]}"));
        assert_eq!(found.tool.as_deref(), Some("get_weather"));
        assert_eq!(Directives::read("[sim:tokens=7"), Directives::default());
    }

    #[test]
    fn filler_has_the_tokens_it_was_asked_for() {
        let prose = Prose::filler(&mut Dice::new(1, 1), 40);
        assert_eq!(prose.tokens(), 40);
        assert_eq!(prose.iter().collect::<String>(), prose.text);
    }

    proptest! {
        #[test]
        fn tokens_of_a_given_text_add_up_to_it(text in any::<String>(), max in 0_usize..20) {
            let mut prose = Prose::given(text.clone());
            prop_assert_eq!(prose.iter().collect::<String>(), text.clone());
            prose.truncate(max);
            prop_assert!(text.starts_with(&prose.text));
            prop_assert_eq!(prose.iter().collect::<String>(), prose.text.clone());
        }
    }
}
