//! Secrets that are known by their value: those that an attempt sends. Whoever received them may quote them in a header
//! or a code, and most kinds cannot be told from an id by their look.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{call::Attempt, config::UpstreamKey};

/// Shorter ones would be found in ordinary words.
const SHORTEST: usize = 8;
/// A stretch as long as this gives a secret away.
const STRETCH: usize = 12;

/// The secrets that an attempt sends.
pub struct Known<'a>(Vec<Cow<'a, [u8]>>);

// === impl Known ===

impl<'a> Known<'a> {
    /// The upstream's key or the caller's, and the configured headers.
    pub fn of(attempt: &'a Attempt) -> Self {
        Self::from_iter(sent(attempt))
    }

    /// Whether `text` quotes what the attempt sends as it is sent: what every good answer's id is asked. Allocates nothing.
    pub fn quick(attempt: &Attempt, text: &str) -> bool {
        sent(attempt).any(|value| quotes(text, without_scheme(value).1))
    }

    /// Whether `text` holds one of them, or enough of it to know it again.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| quotes(text, secret))
    }
}

/// What goes out with an attempt: the upstream's key or the caller's, and the configured headers.
fn sent(attempt: &Attempt) -> impl Iterator<Item = &[u8]> {
    let upstream = &*attempt.target.upstream;
    let key = match &upstream.key {
        UpstreamKey::Held(secret) => Some(secret.expose().as_bytes()),
        UpstreamKey::Passthrough => {
            let forward = attempt.call.credential.forward.as_ref();
            forward.map(|(_, value)| value.as_bytes())
        }
        UpstreamKey::None => None,
    };
    let headers = upstream.headers.iter().map(|(_, value)| value.as_bytes());
    key.into_iter().chain(headers)
}

/// The whole of it, or enough to know it again.
fn quotes(text: &str, secret: &[u8]) -> bool {
    let text = text.as_bytes();
    let holds = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    // One of these stands whole in every stretch of twice the length.
    let parts = || secret.chunks_exact(STRETCH).any(holds);
    secret.len() >= SHORTEST && text.len() >= SHORTEST && (holds(secret) || parts())
}

/// `Bearer KEY`, `Basic USER:PASSWORD`
fn without_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    match value.iter().position(|b| *b == b' ') {
        Some(at) => (&value[..at], value[at..].trim_ascii()),
        None => (&value[..0], value),
    }
}

impl<'a> FromIterator<&'a [u8]> for Known<'a> {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(values: I) -> Self {
        let mut all = Vec::new();
        for value in values {
            let (scheme, key) = without_scheme(value);
            if scheme.eq_ignore_ascii_case(b"basic")
                && let Ok(plain) = BASE64_STANDARD.decode(key)
            {
                let password = plain.iter().position(|b| *b == b':').map_or(0, |at| at + 1);
                all.push(Cow::Owned(plain[password..].to_vec()));
            }
            all.push(Cow::Borrowed(key));
        }
        all.retain(|secret| secret.len() >= SHORTEST);
        let coded: Vec<_> = all
            .iter()
            .map(|secret| BASE64_STANDARD.encode(secret))
            .map(|code| Cow::Owned(code.trim_end_matches('=').as_bytes().to_vec()))
            .collect();
        all.extend(coded);
        Self(all)
    }
}

impl std::fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(value: &str) -> Known<'_> {
        [value.as_bytes()].into_iter().collect()
    }

    proptest! {
        #[test]
        fn a_secret_is_known_again_whole_in_base64_and_in_large_part(
            secret in "[A-Za-z0-9]{24,80}", before in "[a-z ]{0,10}", from in 0_usize..60,
        ) {
            let bearer = format!("Bearer {secret}");
            let known = known(&bearer);
            let part = secret.get(from..from + 2 * STRETCH - 1);
            let coded = BASE64_STANDARD.encode(&secret);
            for text in [Some(&*secret), Some(&*coded), part].into_iter().flatten() {
                let text = format!("{before}{text}");
                prop_assert!(known.is_in(&text), "{}", text);
            }
            prop_assert!(!known.is_in(&before));
        }
    }

    #[test]
    fn the_password_of_basic_credentials_is_known() {
        let value = format!("Basic {}", BASE64_STANDARD.encode("user:a-long-password"));
        let known = known(&value);
        assert!(known.is_in("was a-long-password wrong?"));
        assert!(!known.is_in("was it user?"));
    }

    #[test]
    fn what_is_too_short_to_be_a_secret_is_not_searched_for() {
        assert!(!known("gpt").is_in("gpt-4o answers"));
    }
}
