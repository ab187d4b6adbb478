//! The file, in a directory of the test's own.

use std::{num::NonZeroU32, os::unix::fs::PermissionsExt};

use serde_json::json;

use super::*;
use crate::limits::{Kind, SavedBucket, Source};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weir-store-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("kept/limits.json")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pool(name: &str, limit: u64) -> SavedPool {
    SavedPool {
        upstream: "openai".to_owned(),
        base_url: "https://api.openai.com/v1".to_owned(),
        account: "0123456789abcdef".to_owned(),
        pool: name.to_owned(),
        buckets: vec![SavedBucket {
            kind: Kind::Tokens,
            limit,
            source: Source::Headers,
            burst: Some(1_234.5),
            used: 17.25,
            foreign_share: None,
            heard_at: NOW,
        }],
        concurrency: NonZeroU32::new(12).map(NonZeroU32::get),
        calibration: crate::limits::Calibration::default(),
    }
}

fn saved(pools: &[SavedPool]) -> Saved {
    Saved {
        pools: pools.to_vec(),
    }
}

fn names(kept: &Kept) -> Vec<&str> {
    kept.limits.pools.iter().map(|p| &*p.pool).collect()
}

#[test]
fn what_is_kept_comes_back_and_only_its_owner_may_read_it() {
    let directory = Directory::new();
    let (mut store, nothing) = Store::open(directory.file(), NOW);
    assert_eq!(nothing, Kept::default());
    let quotas = json!({"day": 20_000, "apps": {"search": 17}});
    store.keep(saved(&[pool("gpt-4o", 30_000)]), quotas.clone(), NOW);
    let (_, kept) = Store::open(directory.file(), NOW + 60);
    assert_eq!(kept.limits, saved(&[pool("gpt-4o", 30_000)]));
    assert_eq!(kept.quotas, quotas);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.file()), 0o600);
    assert_eq!(mode(directory.file().parent().unwrap()), 0o700);
    let beside = fs::read_dir(directory.file().parent().unwrap()).unwrap();
    assert_eq!(beside.count(), 1, "nothing is left beside it");
}

#[test]
fn nothing_learnt_makes_no_file_and_nothing_new_writes_none() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(directory.file(), NOW);
    store.keep(Saved::default(), Value::Null, NOW);
    assert!(!directory.file().exists());
    store.keep(saved(&[pool("gpt-4o", 1)]), Value::Null, NOW);
    fs::remove_file(directory.file()).unwrap();
    store.keep(saved(&[pool("gpt-4o", 1)]), Value::Null, NOW + 10);
    assert!(!directory.file().exists());
    store.keep(saved(&[pool("gpt-4o", 2)]), Value::Null, NOW + 20);
    assert!(directory.file().exists());
}

#[test]
fn what_this_run_did_not_use_is_kept_for_the_next() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(directory.file(), NOW);
    store.keep(saved(&[pool("a", 1), pool("b", 1)]), Value::Null, NOW);
    let (mut store, _) = Store::open(directory.file(), NOW);
    store.keep(saved(&[pool("b", 2)]), Value::Null, NOW);
    let (_, kept) = Store::open(directory.file(), NOW);
    assert_eq!(kept.limits, saved(&[pool("a", 1), pool("b", 2)]));
}

#[test]
fn two_weeks_without_use_are_forgotten_even_when_it_is_still_told_of() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(directory.file(), NOW);
    store.keep(saved(&[pool("old", 1), pool("new", 1)]), Value::Null, NOW);
    let later = NOW + 10 * DAY;
    // Both are told of, but only one has changed.
    store.keep(saved(&[pool("old", 1), pool("new", 2)]), Value::Null, later);
    let (_, kept) = Store::open(directory.file(), NOW + 14 * DAY);
    assert_eq!(names(&kept), ["new", "old"]);
    let (mut store, kept) = Store::open(directory.file(), NOW + 14 * DAY + 1);
    assert_eq!(names(&kept), ["new"]);
    store.keep(saved(&[pool("new", 3)]), Value::Null, NOW + 15 * DAY);
    assert!(
        !fs::read_to_string(directory.file())
            .unwrap()
            .contains("\"old\"")
    );
}

#[test]
fn a_broken_file_is_no_obstacle_and_is_written_anew() {
    let directory = Directory::new();
    make(directory.file().parent().unwrap()).unwrap();
    for broken in ["", "{", "[]", "{\"version\":1,\"pools\":7}", "\u{0}\u{1}"] {
        fs::write(directory.file(), broken).unwrap();
        let (mut store, kept) = Store::open(directory.file(), NOW);
        assert_eq!(kept, Kept::default(), "{broken}");
        store.keep(saved(&[pool("a", 1)]), Value::Null, NOW);
        assert_eq!(names(&Store::open(directory.file(), NOW).1), ["a"]);
    }
}

#[test]
fn a_newer_weirs_file_stays_as_it_is() {
    let directory = Directory::new();
    make(directory.file().parent().unwrap()).unwrap();
    let newer = "{\"version\":2,\"pools\":{\"of\":\"another shape\"}}";
    fs::write(directory.file(), newer).unwrap();
    let (mut store, kept) = Store::open(directory.file(), NOW);
    assert_eq!(kept, Kept::default());
    store.keep(saved(&[pool("a", 1)]), Value::Null, NOW);
    assert_eq!(fs::read_to_string(directory.file()).unwrap(), newer);
}

#[test]
fn a_directory_that_is_none_is_told_once_and_tried_again() {
    let directory = Directory::new();
    // Root may write anywhere, but not into a file.
    let parent = directory.0.join("kept");
    fs::write(&parent, "").unwrap();
    let (mut store, _) = Store::open(directory.file(), NOW);
    store.keep(saved(&[pool("a", 1)]), Value::Null, NOW);
    assert!(store.complained);
    fs::remove_file(&parent).unwrap();
    store.keep(saved(&[pool("a", 1)]), Value::Null, NOW);
    assert!(!store.complained && directory.file().exists());
}

#[test]
fn a_half_written_file_is_never_the_file() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(directory.file(), NOW);
    store.keep(saved(&[pool("a", 1)]), Value::Null, NOW);
    // A directory where the new one is made: the write fails, the old one stands.
    let beside = directory
        .file()
        .with_file_name(format!("limits.json.{}.tmp", std::process::id()));
    fs::create_dir(&beside).unwrap();
    store.keep(saved(&[pool("a", 2)]), Value::Null, NOW);
    let (_, kept) = Store::open(directory.file(), NOW);
    assert_eq!(kept.limits, saved(&[pool("a", 1)]));
}

#[test]
fn the_latest_used_pools_are_kept_when_there_are_too_many() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(directory.file(), NOW);
    let many: Vec<_> = (0..MOST_POOLS).map(|n| pool(&n.to_string(), 1)).collect();
    store.keep(saved(&many), Value::Null, NOW);
    let mut more = many;
    more.push(pool("latest", 1));
    store.keep(saved(&more), Value::Null, NOW + 10);
    assert_eq!(store.pools.len(), MOST_POOLS);
    assert!(store.pools.iter().any(|kept| kept.pool.pool == "latest"));
}

#[test]
fn systemds_directory_comes_before_the_users() {
    let directory = Directory::new();
    let at = |name: &str| directory.0.join(name);
    let mut told = Surroundings {
        state_directory: Some(format!("{}:/elsewhere", at("systemd").display()).into()),
        xdg_state_home: Some(at("xdg").into()),
        home: Some(at("home").into()),
    };
    assert_eq!(told.directory(), Ok(at("systemd")));
    told.state_directory = None;
    assert_eq!(told.directory(), Ok(at("xdg/weir")));
    told.xdg_state_home = Some("relative".into());
    assert_eq!(told.directory(), Ok(at("home/.local/state/weir")));
    told.home = None;
    assert_eq!(told.directory(), Err(Vec::new()));
    fs::write(at("file"), "").unwrap();
    told.home = Some(at("file").into());
    assert_eq!(told.directory().unwrap_err().len(), 1);
}

#[test]
fn two_gateways_have_two_files() {
    let listen = |port| Listen::Tcp(([127, 0, 0, 1], port).into());
    let one = file_name(Some(Path::new("/etc/weir/weir.toml")), &listen(8484));
    assert_eq!(
        one,
        file_name(Some(Path::new("/etc/weir/weir.toml")), &listen(8484))
    );
    assert!(
        one.starts_with("limits-") && one.ends_with(".json"),
        "{one}"
    );
    for other in [
        file_name(Some(Path::new("/etc/weir/other.toml")), &listen(8484)),
        file_name(Some(Path::new("/etc/weir/weir.toml")), &listen(8494)),
        file_name(None, &listen(8484)),
    ] {
        assert_ne!(one, other);
    }
}
