//! The last gate before output: no key, and nothing that could be one, and no control characters.
//!
//! Findings are written so that no key gets into them. Providers and environments are not: an error text may quote a
//! key, a variable may hold one where an address was meant. So every text passes here.

use std::sync::OnceLock;

use regex::Regex;

use super::{Report, report::UpstreamReport};
use crate::redact::redact;

/// What stands for a secret.
const MASK: &str = "***";
/// Shorter secrets are not searched for: the mask would hit ordinary words.
const SHORTEST: usize = 6;
/// A stretch of a secret as long as this is as bad as the whole.
const STRETCH: usize = 12;

/// What must not be shown.
#[derive(Clone, Default)]
pub(super) struct Scrubber(Vec<String>);

fn key_like() -> &'static Regex {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    PATTERN.get_or_init(|| {
        Regex::new(
            r"(?:\b(?:sk|pk|wk|sess|gsk|xai|pplx|nvapi|csk|fw|hf|r8|ghp|tgp_v1)[-_]|\bAIza|\bya29\.|\beyJ|(?i:\bbearer ))[A-Za-z0-9_*.\-…]{6,}",
        )
        .expect("the pattern is sound")
    })
}

/// Without any longer stretch of `secret`: words that quote it may have been cut in its middle.
fn without_parts(text: &str, secret: &str) -> String {
    // What tells its kind may stay: our own words name it.
    let begin: String = secret.chars().take(16).collect();
    let from = begin.rfind(['-', '_']).map_or(0, |at| at + 1);
    let mut text = text.to_owned();
    for start in from..secret.len().saturating_sub(STRETCH - 1) {
        let Some(part) = secret.get(start..start + STRETCH) else {
            continue;
        };
        while let Some(at) = text.find(part) {
            let same = text[at..]
                .chars()
                .zip(secret[start..].chars())
                .take_while(|(a, b)| a == b);
            let length: usize = same.map(|(c, _)| c.len_utf8()).sum();
            text.replace_range(at..at + length, MASK);
        }
    }
    text
}

// === impl Scrubber ===

impl Scrubber {
    pub(super) fn add(&mut self, secret: &str) {
        for secret in [secret, secret.trim()] {
            if secret.len() >= SHORTEST && !self.0.iter().any(|known| known == secret) {
                self.0.push(secret.to_owned());
            }
        }
        // A secret that holds another is masked as a whole.
        self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
    }

    pub(super) fn clean(&self, text: &str) -> String {
        let mut text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        for secret in &self.0 {
            text = without_parts(&text, secret);
        }
        redact(&key_like().replace_all(&text, MASK)).into_owned()
    }

    pub(super) fn report(&self, report: &mut Report) {
        for finding in &mut report.findings {
            self.finding(finding);
        }
        for upstream in &mut report.upstreams {
            self.upstream(upstream);
        }
    }

    fn upstream(&self, upstream: &mut UpstreamReport) {
        let maybe = |text: &mut Option<String>| {
            if let Some(text) = text {
                *text = self.clean(text);
            }
        };
        upstream.base_url = self.clean(&upstream.base_url);
        maybe(&mut upstream.organization);
        maybe(&mut upstream.project);
        maybe(&mut upstream.facts.address);
        maybe(&mut upstream.facts.certificate_issuer);
        maybe(&mut upstream.facts.request_id);
        for limit in &mut upstream.facts.limits {
            limit.kind = self.clean(&limit.kind);
            maybe(&mut limit.limit);
            maybe(&mut limit.remaining);
            maybe(&mut limit.reset);
        }
        for finding in &mut upstream.findings {
            self.finding(finding);
        }
    }

    fn finding(&self, finding: &mut super::Finding) {
        finding.what = self.clean(&finding.what);
        if let Some(todo) = &mut finding.todo {
            *todo = self.clean(todo);
        }
    }
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scrubber({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_secret_goes_wherever_it_stands() {
        let mut scrubber = Scrubber::default();
        scrubber.add("plain-word-secret\n");
        assert_eq!(scrubber.clean("<plain-word-secret>"), "<***>");
    }

    #[test]
    fn a_secret_that_was_cut_goes_too() {
        let mut scrubber = Scrubber::default();
        scrubber.add("q7Zt0aXk39bPw2LmE8dVh5Rs");
        assert_eq!(
            scrubber.clean("organization q7Zt0aXk39bPw2Lm…"),
            "organization ***…"
        );
        assert_eq!(scrubber.clean("ends in 9bPw2LmE8dVh5Rs"), "ends in ***");
    }

    #[test]
    fn what_looks_like_a_key_goes_even_masked_or_cut() {
        let scrubber = Scrubber::default();
        let text = scrubber.clean(
            "Incorrect API key provided: sk-proj-********************AbC1. gsk_abcdefgh \u{1b}[31m",
        );
        assert!(!text.contains("AbC1") && !text.contains("gsk_"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn ordinary_words_stay() {
        let text = "an OpenAI project key (sk-proj-), from $OPENAI_API_KEY; risk-free task-based";
        assert_eq!(Scrubber::default().clean(text), text);
    }

    proptest! {
        #[test]
        fn no_secret_survives(before in "\\PC{0,20}", secret in "[A-Za-z0-9+/=:]{6,60}", after in "\\PC{0,20}") {
            let mut scrubber = Scrubber::default();
            scrubber.add(&secret);
            let clean = scrubber.clean(&format!("{before}{secret}{after}"));
            prop_assert!(!clean.contains(&secret), "{}", clean);
        }
    }
}
