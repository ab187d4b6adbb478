//! What was learnt, on disk: a small JSON file that the next run begins with.
//!
//! Written whole into a file beside it and renamed, so that a reader, or a crash, meets the old one or the new one. It names
//! upstreams, models and hashes of keys; no key. A file that cannot be read costs what was learnt and nothing else; one of
//! a newer version is left as it is.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Saved, SavedPool};
use crate::config::Listen;

/// The version of the file's shape.
const VERSION: u32 = 1;
/// A pool that was not used for two weeks is forgotten: by then a tier may be another one.
const LONGEST_UNUSED: u64 = 14 * 86_400;
/// Pools in the file, the latest used ones. Callers' own keys have pools, too.
const MOST_POOLS: usize = 10_000;
/// A larger file is none of ours.
const MOST_BYTES: u64 = 64 << 20;

/// What a file holds, for those who go on with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    pub limits: Saved,
    /// The apps' day counts, in the form that `stage::quota` gave them.
    pub quotas: Value,
}

/// One file, and what it holds.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    pools: Vec<KeptPool>,
    quotas: Value,
    /// It is of a newer version.
    foreign: bool,
    complained: bool,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    /// Who wrote it, for people.
    #[serde(default)]
    weir: String,
    #[serde(default)]
    pools: Vec<KeptPool>,
    #[serde(default)]
    quotas: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KeptPool {
    /// Seconds since 1970 at which anything of it changed: it was used then.
    changed: u64,
    #[serde(flatten)]
    pool: SavedPool,
}

/// Why a file is not gone on with.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is larger than 64 MiB")]
    TooLarge,
    #[error("it does not hold what weir writes: {0}")]
    Strange(#[from] serde_json::Error),
    #[error("it is of version {0}, and this weir writes version {VERSION}")]
    Newer(u32),
}

// === impl Store ===

impl Store {
    /// Reads what is there. Whatever is wrong with it is told in the log and costs nothing else.
    pub fn open(path: PathBuf, unix: u64) -> (Self, Kept) {
        let (mut foreign, mut document) = (false, None);
        match read(&path) {
            Ok(read) => document = read,
            Err(Unread::Newer(version)) => {
                foreign = true;
                tracing::warn!(
                    path = %path.display(),
                    version,
                    "What was learnt of limits is kept by a newer weir: it is left alone, and this run keeps nothing. Name another file in [limits] remember."
                );
            }
            Err(error) => tracing::warn!(
                path = %path.display(),
                %error,
                "What was learnt of limits cannot be read: it is learnt anew."
            ),
        }
        let (mut pools, quotas) = document.map_or((Vec::new(), Value::Null), |document| {
            (document.pools, document.quotas)
        });
        pools.retain(|kept| kept.is_fresh(unix));
        let kept = Kept {
            limits: Saved {
                pools: pools.iter().map(|kept| kept.pool.clone()).collect(),
            },
            quotas: quotas.clone(),
        };
        let store = Self {
            path,
            pools,
            quotas,
            foreign,
            complained: false,
        };
        (store, kept)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything is written: not over a file of a newer weir.
    pub fn keeps(&self) -> bool {
        !self.foreign
    }

    /// Writes what is new, if anything is. Trouble is told in the log, once until it works again.
    pub fn keep(&mut self, saved: Saved, quotas: Value, unix: u64) {
        if self.foreign {
            return;
        }
        let pools = self.merged(saved, unix);
        if pools == self.pools && quotas == self.quotas {
            return;
        }
        let document = Document {
            version: VERSION,
            weir: env!("CARGO_PKG_VERSION").to_owned(),
            pools,
            quotas,
        };
        match write(&self.path, &document) {
            Ok(()) => {
                (self.pools, self.quotas) = (document.pools, document.quotas);
                self.complained = false;
            }
            Err(error) if !self.complained => {
                self.complained = true;
                tracing::warn!(
                    path = %self.path.display(),
                    %error,
                    "What was learnt of limits cannot be written: the next run learns it anew. Make the directory writable, or name another file in [limits] remember."
                );
            }
            Err(_) => {}
        }
    }

    /// What this run knows, and what the last one knew and this one did not use yet.
    fn merged(&self, saved: Saved, unix: u64) -> Vec<KeptPool> {
        let before: HashMap<_, _> = self.pools.iter().map(|kept| (kept.id(), kept)).collect();
        let mut pools: Vec<_> = saved
            .pools
            .into_iter()
            .map(|pool| {
                let mut kept = KeptPool {
                    changed: unix,
                    pool,
                };
                if let Some(same) = before.get(&kept.id()).filter(|old| old.pool == kept.pool) {
                    kept.changed = same.changed;
                }
                kept
            })
            .collect();
        let known: HashSet<_> = pools.iter().map(KeptPool::id).collect();
        let unused: Vec<_> = self
            .pools
            .iter()
            .filter(|kept| !known.contains(&kept.id()))
            .cloned()
            .collect();
        pools.extend(unused);
        pools.retain(|kept| kept.is_fresh(unix));
        if pools.len() > MOST_POOLS {
            pools.sort_by_key(|kept| std::cmp::Reverse(kept.changed));
            pools.truncate(MOST_POOLS);
        }
        // In one order, so that nothing new is nothing to write.
        pools.sort_by(|a, b| a.id().cmp(&b.id()));
        pools
    }
}

// === impl KeptPool ===

impl KeptPool {
    fn id(&self) -> [&str; 4] {
        let pool = &self.pool;
        [&pool.upstream, &pool.base_url, &pool.account, &pool.pool]
    }

    fn is_fresh(&self, unix: u64) -> bool {
        unix.saturating_sub(self.changed) <= LONGEST_UNUSED
    }
}

/// `None`: there is no file.
fn read(path: &Path) -> Result<Option<Document>, Unread> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Unread::TooLarge);
    }
    // Before the rest: that may have another shape.
    let Version { version } = serde_json::from_slice(&bytes)?;
    if version > VERSION {
        return Err(Unread::Newer(version));
    }
    Ok(Some(serde_json::from_slice(&bytes)?))
}

fn write(path: &Path, document: &Document) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    if let Some(directory) = directory {
        make(directory)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    // One of a process that died with our id.
    let _ = fs::remove_file(&beside);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(&serde_json::to_vec(document)?)?;
            // A name that points at nothing after a power cut would be worse than the old file.
            file.sync_all()?;
            fs::rename(&beside, path)
        });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn make(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// The variables that tell where a program keeps its state.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$STATE_DIRECTORY`, from systemd.
    pub state_directory: Option<OsString>,
    /// `$XDG_STATE_HOME`
    pub xdg_state_home: Option<OsString>,
    /// `$HOME`
    pub home: Option<OsString>,
}

// === impl Surroundings ===

impl Surroundings {
    /// Of this process.
    pub fn of_process() -> Self {
        Self {
            state_directory: std::env::var_os("STATE_DIRECTORY"),
            xdg_state_home: std::env::var_os("XDG_STATE_HOME"),
            home: std::env::var_os("HOME"),
        }
    }

    /// The first directory that can be written, made when it is missing; and why the others cannot.
    pub fn directory(&self) -> Result<PathBuf, Vec<String>> {
        let mut why = Vec::new();
        for directory in self.directories() {
            match make(&directory).and_then(|()| try_writing(&directory)) {
                Ok(()) => return Ok(directory),
                Err(error) => why.push(format!("{}: {error}", directory.display())),
            }
        }
        Err(why)
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        // Several are separated by colons; the first one is the service's own.
        let systemd = self.state_directory.as_ref().and_then(|list| {
            let first = list.to_str()?.split(':').next()?;
            Some(PathBuf::from(first))
        });
        let path = |text: &Option<OsString>| text.as_ref().map(PathBuf::from);
        let xdg = path(&self.xdg_state_home).map(|home| home.join("weir"));
        let home = path(&self.home).map(|home| home.join(".local/state/weir"));
        [systemd, xdg, home]
            .into_iter()
            .flatten()
            .filter(|directory| directory.is_absolute())
    }
}

fn try_writing(directory: &Path) -> io::Result<()> {
    let file = directory.join(format!(".try-{}", std::process::id()));
    let made = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&file);
    made.and_then(|_| fs::remove_file(&file))
}

/// A file's name for the gateway of this configuration file on this address: two gateways keep two.
pub fn file_name(config: Option<&Path>, listen: &Listen) -> String {
    let config = config.map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
    let config = config.map_or_else(String::new, |path| path.display().to_string());
    let hash = blake3::hash(format!("{config}\n{listen}").as_bytes());
    format!("limits-{}.json", &hash.to_hex()[..16])
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
