//! The binary with both its outputs in files, and its other commands.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use super::secrets::Output;
use crate::support::{
    eventually,
    process::{Directory, command},
};

pub(crate) struct Running {
    child: Child,
    pub(crate) directory: Directory,
    pub(crate) config: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Serves, telling all that it can.
    pub(crate) async fn start(name: &str, text: &str) -> Self {
        Self::trusting(name, text, None).await
    }

    /// The same, with these certificates and no others.
    pub(crate) async fn trusting(name: &str, text: &str, certificates: Option<&Path>) -> Self {
        let directory = Directory::new(name);
        let config = directory.write("weir.toml", text);
        let (stdout, stderr) = (directory.write("stdout", ""), directory.write("stderr", ""));
        let child = command(&config)
            .env("RUST_LOG", "trace,weir=trace")
            .env("RUST_BACKTRACE", "full")
            .envs(certificates.map(|file| ("SSL_CERT_FILE", file)))
            .stdout(Stdio::from(File::create(&stdout).unwrap()))
            .stderr(Stdio::from(File::create(&stderr).unwrap()))
            .spawn()
            .unwrap();
        let running = Self {
            child,
            directory,
            config,
            stdout,
            stderr,
        };
        eventually("it serves", || running.said().contains("OPENAI_BASE_URL=")).await;
        running
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    fn after(&self, word: &str) -> SocketAddr {
        let said = self.said();
        let at = said.find(word).expect("it is said") + word.len();
        let address: String = said[at..]
            .trim_start_matches('"')
            .chars()
            .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
            .collect();
        address.parse().expect("an address")
    }

    pub(crate) fn apps(&self) -> SocketAddr {
        self.after("OPENAI_BASE_URL=http://")
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.after("admin=")
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let mut kill = std::process::Command::new("kill");
        assert!(
            kill.args([&format!("-{name}"), &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Ends it; what it has written to both outputs.
    pub(crate) async fn end(mut self) -> [Output; 2] {
        self.signal("TERM").await;
        self.child.wait().await.unwrap();
        [
            Output::new("the access log", self.logged()),
            Output::new("the log", self.said()),
        ]
    }
}

/// What `weir ARGUMENTS` writes to both outputs.
pub(crate) async fn weir(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .env_clear()
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both).into_owned();
    assert!(!text.is_empty(), "{arguments:?} says nothing");
    // The arguments hold what was thrown; the command's name is enough.
    Output::new(
        format!("weir {}", arguments[..2.min(arguments.len())].join(" ")),
        text,
    )
}
