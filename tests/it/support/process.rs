//! The binary as a process of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{FIRST_KEY, eventually};

/// A process with a directory of its own; both are gone when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) directory: Directory,
    said: Arc<Mutex<String>>,
}

pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-it-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("serve").arg("--config").arg(config);
    command
        .env_clear()
        .env("FIRST_KEY", FIRST_KEY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) fn toml(base_url: &str, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n[[upstream]]\nname = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"${{FIRST_KEY}}\"\n{more}\n"
    )
}

impl Process {
    /// Runs with this configuration; returns when it serves.
    pub(crate) async fn start(name: &str, text: &str, environment: &[(&str, &Path)]) -> Self {
        let directory = Directory::new(name);
        let config = directory.write("weir.toml", text);
        let mut child = command(&config)
            .envs(environment.iter().copied())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (hears, stderr) = (Arc::clone(&said), child.stderr.take().unwrap());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                hears.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let process = Self {
            child,
            directory,
            said,
        };
        eventually("it serves", || process.said().contains("OPENAI_BASE_URL=")).await;
        process
    }

    /// What it has written to stderr, without colours.
    pub(crate) fn said(&self) -> String {
        let said = self.said.lock().unwrap();
        let mut plain = String::new();
        let mut escaped = false;
        for c in said.chars() {
            match c {
                '\u{1b}' => escaped = true,
                'm' if escaped => escaped = false,
                _ if escaped => {}
                _ => plain.push(c),
            }
        }
        plain
    }

    fn after(&self, word: &str) -> std::net::SocketAddr {
        let said = self.said();
        let at = said
            .find(word)
            .unwrap_or_else(|| panic!("no {word} in {said}"))
            + word.len();
        let address: String = said[at..]
            .trim_start_matches('"')
            .chars()
            .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
            .collect();
        address
            .parse()
            .unwrap_or_else(|error| panic!("{error}: {address} in {said}"))
    }

    pub(crate) fn apps(&self) -> std::net::SocketAddr {
        self.after("OPENAI_BASE_URL=http://")
    }

    pub(crate) fn admin(&self) -> std::net::SocketAddr {
        self.after("admin=")
    }

    /// Sends it a signal, by its id.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub(crate) async fn exit(&mut self) -> i32 {
        let status = tokio::time::timeout(Duration::from_secs(15), self.child.wait())
            .await
            .expect("it ends")
            .unwrap();
        status.code().expect("it ends by itself")
    }
}
