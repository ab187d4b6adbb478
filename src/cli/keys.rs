//! `weir keys create`: a key for an app. It is shown once and stored nowhere; the configuration
//! holds its hash.

use std::{fs::File, io, io::Read, process::ExitCode};

use serde_json::json;

use super::check::print;
use crate::config::hash_key;

/// Makes keys for the programs that call.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Makes a key and prints it with the [[app]] to put into the configuration.
    Create {
        /// The app's name: letters, digits, `-`, `_` and `.`.
        #[arg(value_parser = app_name)]
        name: String,
        /// Answers in JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A key and its hash.
#[derive(Clone)]
pub struct NewKey {
    key: String,
}

/// Exit code 0, or 1 when the system has no randomness.
pub fn run(args: &Args) -> ExitCode {
    let Command::Create { name, json } = &args.command;
    let key = match NewKey::random() {
        Ok(key) => key,
        Err(error) => {
            print(&format!("error: no randomness from the system: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if *json {
        return print(&format!(
            "{:#}",
            json!({ "name": name, "key": key.key(), "hash": key.hash() })
        ));
    }
    print(&format!(
        "The key for `{name}`; it is stored nowhere and not shown again:\n\n  {}\n\n\
         The app sends it as its API key (OPENAI_API_KEY). Put this into the configuration:\n\n{}",
        key.key(),
        key.snippet(name),
    ))
}

/// The rule of `[[app]] name`, so that the snippet is sound.
fn app_name(name: &str) -> Result<String, &'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err("1 to 64 letters, digits, `-`, `_` or `.`");
    }
    Ok(name.to_owned())
}

// === impl NewKey ===

impl NewKey {
    /// 256 random bits of the system's.
    ///
    /// # Errors
    /// When the system's randomness cannot be read; trying again may help.
    pub fn random() -> io::Result<Self> {
        let mut bits = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut bits)?;
        Ok(Self {
            key: format!("wk-{}", base62(bits)),
        })
    }

    /// What the app sends.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the configuration holds.
    pub fn hash(&self) -> String {
        format!(
            "blake3:{}",
            blake3::Hash::from(hash_key(&self.key)).to_hex()
        )
    }

    /// The section of the configuration.
    pub fn snippet(&self, name: &str) -> String {
        format!("[[app]]\nname = \"{name}\"\nkey = \"{}\"", self.hash())
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKey(***)")
    }
}

/// A big number in base 62, always 43 digits, so that keys are of one length and are one word
/// to a double click.
fn base62(mut number: [u8; 32]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 43];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_usize;
        for byte in &mut number {
            let value = rest << 8 | usize::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = DIGITS[rest];
    }
    text.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::{Config, Env};

    #[test]
    fn every_key_is_another_and_of_one_length() {
        let keys: std::collections::HashSet<_> = (0..100)
            .map(|_| NewKey::random().expect("randomness").key)
            .collect();
        assert_eq!(keys.len(), 100);
        assert!(
            keys.iter()
                .all(|key| key.len() == 46 && key.starts_with("wk-"))
        );
    }

    #[test]
    fn base62_keeps_all_256_bits() {
        assert_eq!(base62([0; 32]), "0".repeat(43));
        let mut sixty_two = [0; 32];
        sixty_two[31] = 62;
        assert!(base62(sixty_two).ends_with("10"));
        // 2^256 - 1 fits: 62^43 is larger.
        let largest = base62([255; 32]);
        assert_ne!(
            largest,
            base62({
                let mut other = [255; 32];
                other[0] = 127;
                other
            })
        );
    }

    #[test]
    fn the_snippet_is_read_back_as_the_hash_of_the_key() {
        let key = NewKey::random().expect("randomness");
        let (config, _) =
            Config::from_text(&key.snippet("search"), &Env::default(), NonZeroU32::MIN)
                .expect("sound");
        assert_eq!(config.apps[0].key_hash, hash_key(key.key()));
        assert_eq!(&*config.apps[0].name, "search");
    }

    #[test]
    fn names_that_the_configuration_would_refuse_are_refused() {
        assert!(app_name("search.v2_x-1").is_ok());
        for name in ["", "two words", "quote\"", "ümlaut"] {
            assert!(app_name(name).is_err(), "{name}");
        }
    }
}
