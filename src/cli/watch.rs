//! The configuration file as it lies on the disk: whether there is another one, written to its end.

use std::{os::unix::fs::MetadataExt, path::PathBuf, time::SystemTime};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Watched {
    file: PathBuf,
    /// Of what was read last.
    read: Option<Stamp>,
    /// At the last look.
    seen: Option<Stamp>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

// === impl Watched ===

impl Watched {
    /// What is there now has been read.
    pub(super) fn new(file: PathBuf) -> Self {
        let mut watched = Self {
            file,
            read: None,
            seen: None,
        };
        watched.reads();
        watched
    }

    /// Somebody reads what is there now.
    pub(super) fn reads(&mut self) {
        self.seen = self.stamp();
        self.read = self.seen;
    }

    /// Whether there is something new to read, told once. Most editors and scripts empty a file before they write it, and an empty
    /// configuration is a good one that sends the calls elsewhere: so nothing counts that is empty, gone, or not the same at two looks.
    pub(super) fn look(&mut self) -> bool {
        let now = self.stamp();
        let settled = now == self.seen;
        self.seen = now;
        let new = settled && now != self.read && now.is_some_and(|now| now.bytes > 0);
        if new {
            self.read = now;
        }
        new
    }

    fn stamp(&self) -> Option<Stamp> {
        let meta = std::fs::metadata(&self.file).ok()?;
        Some(Stamp {
            modified: meta.modified().ok()?,
            bytes: meta.len(),
            inode: meta.ino(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::*;

    struct Directory(PathBuf);

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn watched(text: &str) -> (Directory, PathBuf, Watched) {
        let directory = std::env::temp_dir().join(format!("weir-watch-{}", fastrand::u64(..)));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("weir.toml");
        fs::write(&file, text).unwrap();
        let watched = Watched::new(file.clone());
        (Directory(directory), file, watched)
    }

    /// Went wrong: a look between the emptying and the writing found an empty file, which is a good configuration, and took it.
    #[test]
    fn a_file_counts_when_it_is_written_to_its_end() {
        let (_directory, file, mut watched) = watched("old");
        assert!(!watched.look() && !watched.look());
        let mut writer = File::create(&file).unwrap();
        assert!(!watched.look() && !watched.look(), "empty");
        writer.write_all(b"[server]\n").unwrap();
        assert!(!watched.look(), "it may go on");
        writer.write_all(b"workers = 1\n").unwrap();
        assert!(!watched.look(), "it went on");
        assert!(watched.look());
        assert!(!watched.look() && !watched.look(), "told once");
    }

    #[test]
    fn a_file_that_is_gone_for_a_moment_is_being_written() {
        let (directory, file, mut watched) = watched("old");
        fs::remove_file(&file).unwrap();
        assert!(!watched.look() && !watched.look());
        // Put there whole, as by a rename.
        let other = directory.0.join("other");
        fs::write(&other, "new").unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(!watched.look());
        assert!(watched.look());
    }

    #[test]
    fn what_a_signal_had_read_is_not_read_again() {
        let (_directory, file, mut watched) = watched("old");
        fs::write(&file, "newer").unwrap();
        assert!(!watched.look());
        watched.reads();
        assert!(!watched.look() && !watched.look());
    }
}
