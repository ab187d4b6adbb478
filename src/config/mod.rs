//! The configuration: read, checked, resolved.
//!
//! The way of a file: `tree` reads it into values that know their place, `overrides` puts
//! `WEIR__…` variables over it, the typed `reader`s check it against the key `table` and
//! `resolve` turns names into references. Nothing stops at the first mistake: all of them are
//! told at once ([`Mistakes`]), each with its line, what was found and what would be accepted.
//! What comes out ([`Config`]) is sound: nothing built from it can fail for a reason of the file.
//!
//! At the edges: no file at all gives the built-in defaults (the caller's own key to OpenAI); a
//! file with a mistake gives no configuration; loading reads nothing but the file and the
//! environment it is given, so that a reload can be tried beside the running one.

mod defaults;
mod describe;
mod effective;
mod env;
mod mistake;
mod near;
mod overrides;
mod reader;
mod resolve;
mod resolved;
mod source;
mod table;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::{
    io,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

pub use defaults::DEFAULT_FILE;
pub use describe::{reference, schema};
pub use effective::Effective;
pub use env::Env;
pub use mistake::{Mistake, Mistakes, Warning};
pub use resolved::*;

/// Where a configuration is looked for when none is named, in this order.
pub const SEARCH: [&str; 2] = ["weir.toml", "/etc/weir/weir.toml"];

/// Larger files are not read: no configuration is, and a device has no end.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What loading depends on.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// `--config`; wins over `$WEIR_CONFIG`, which wins over `search`.
    pub file: Option<PathBuf>,
    /// Tried in order; a file that is not there is passed over.
    pub search: Vec<PathBuf>,
    pub env: Env,
    /// Processor cores, for the default of `[server] workers`.
    pub cores: NonZeroU32,
}

/// A configuration and what was learnt on the way.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Warning>,
    /// For `weir config show`.
    pub effective: Effective,
}

// === impl LoadOptions ===

impl LoadOptions {
    /// The environment and cores of this process, and the usual places.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self {
            file,
            search: SEARCH.iter().map(PathBuf::from).collect(),
            env: Env::of_process(),
            cores: std::thread::available_parallelism()
                .ok()
                .and_then(|cores| NonZeroU32::try_from(cores).ok())
                .unwrap_or(NonZeroU32::MIN),
        }
    }

    /// The file that will be read: a named one whether it is there or not; `None`: no file.
    pub fn chosen_file(&self) -> Option<PathBuf> {
        let named = || {
            self.env
                .var("WEIR_CONFIG")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        self.file.clone().or_else(named).or_else(|| {
            // One that is there but may not be read is a mistake, not a reason to look further.
            self.search
                .iter()
                .find(|path| path.try_exists().unwrap_or(true))
                .cloned()
        })
    }
}

// === impl Config ===

impl Config {
    /// Finds, reads and checks the configuration.
    ///
    /// # Errors
    /// [`Mistakes`], all of them, when the file cannot be read or is wrong. Trying again helps only
    /// after it, or the environment, has changed.
    pub fn load(options: &LoadOptions) -> Result<(Self, Vec<Warning>), Mistakes> {
        Self::load_with_origins(options).map(|loaded| (loaded.config, loaded.warnings))
    }

    /// As [`Config::load`], with the origin of every value.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with_origins(options: &LoadOptions) -> Result<Loaded, Mistakes> {
        match options.chosen_file() {
            Some(path) => {
                let text = read(&path)?;
                resolve::resolve(Some(&path), &text, &options.env, options.cores)
            }
            None => resolve::resolve(None, "", &options.env, options.cores),
        }
    }

    /// Where the gateway of this configuration listens; what else is in the file is not judged. For those who ask a
    /// running gateway: its keys need not be in their environment.
    ///
    /// # Errors
    /// [`Mistakes`], when the file cannot be read, or says nothing sound about this.
    pub fn listeners(options: &LoadOptions) -> Result<Listeners, Mistakes> {
        match options.chosen_file() {
            Some(path) => resolve::listeners(Some(&path), &read(&path)?, &options.env),
            None => resolve::listeners(None, "", &options.env),
        }
    }

    /// Checks a text as if it stood in `weir.toml`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(
        text: &str,
        env: &Env,
        cores: NonZeroU32,
    ) -> Result<(Self, Vec<Warning>), Mistakes> {
        resolve::resolve(Some(Path::new(SEARCH[0])), text, env, cores)
            .map(|loaded| (loaded.config, loaded.warnings))
    }
}

/// BLAKE3 of an app's key, as `[[app]] key` holds it. A key is 256 random bits, so a fast hash is
/// enough; whoever compares two of them does so in constant time.
pub fn hash_key(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}

fn read(path: &Path) -> Result<String, Mistakes> {
    let refuse = |message: String, help: Option<&str>| {
        Mistakes::of_file(path, message, help.map(str::to_owned))
    };
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => refuse(
            "there is no such file".to_owned(),
            Some("`weir config default` prints one to begin with"),
        ),
        _ => refuse(format!("the file cannot be read: {error}"), None),
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        return Err(refuse(
            format!("the file has {size} bytes; no configuration has more than {MAX_FILE_BYTES}"),
            None,
        ));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        refuse(
            format!("the file is not UTF-8 (line {line}, byte {good})"),
            Some("save it as UTF-8"),
        )
    })
}
