//! Processes the bench starts, each ended when its handle goes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::role::{Role, load};

/// 5,000 streams are two sockets each for a proxy; the usual bound of 1,024 is raised in a shell
/// that then becomes the command, so that the process id stays.
const RAISED: &str =
    r#"ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@""#;

/// How long a process may take to end when asked to.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) enum Launch {
    /// Program and arguments.
    Direct(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// A process that is ended on drop.
#[derive(Debug)]
pub(crate) struct Process(Child);

// === impl Launch ===

impl Launch {
    /// This binary, as `role`.
    pub(crate) fn role(role: Role, spec: &impl serde::Serialize) -> Result<Self> {
        let program = std::env::current_exe()?.to_string_lossy().into_owned();
        let spec = serde_json::to_string(spec)?;
        Ok(Self::Direct(
            [program.as_str(), "--role", role.name(), "--spec", &spec]
                .map(str::to_owned)
                .into(),
        ))
    }

    /// With every `{name}` replaced by its value.
    pub(crate) fn filled(&self, values: &[(&str, String)]) -> Self {
        match self {
            Self::Direct(words) => Self::Direct(words.iter().map(|w| fill(w, values)).collect()),
            Self::Shell(line) => Self::Shell(fill(line, values)),
        }
    }

    /// Ready to be spawned, as it is.
    pub(crate) fn plain(&self) -> Command {
        match self {
            Self::Direct(words) => {
                let mut command = Command::new(words.first().map_or("", String::as_str));
                command.args(words.iter().skip(1));
                command
            }
            Self::Shell(line) => shell(&format!("exec {line}")),
        }
    }

    /// Ready to be spawned, with room for many sockets.
    pub(crate) fn raised(&self) -> Command {
        let words: Vec<String> = match self {
            Self::Direct(words) => words.clone(),
            Self::Shell(line) => ["sh", "-c", &format!("exec {line}")]
                .map(str::to_owned)
                .into(),
        };
        let mut command = shell(RAISED);
        command.arg("sh").args(words);
        command
    }
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}

/// Replaces every `{name}` in `text`.
pub(crate) fn fill(text: &str, values: &[(&str, String)]) -> String {
    let replace = |text: String, (name, value): &(&str, String)| text.replace(name, value);
    values.iter().fold(text.to_owned(), replace)
}

// === impl Process ===

impl Process {
    /// Starts a server. Its output, where an access log may go, is read by nobody; what it
    /// complains about goes to the file `complaints`.
    pub(crate) fn server(mut command: Command, complaints: &Path) -> Result<Self> {
        let complaints = File::create(complaints)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(complaints);
        let child = command.spawn();
        Ok(Self(child.map_err(|error| {
            format!("cannot start {command:?}: {error}")
        })?))
    }

    /// Starts the provider and tells where it listens.
    pub(crate) fn upstream() -> Result<(Self, SocketAddr)> {
        let mut command = Launch::role(Role::Upstream, &())?.raised();
        let mut process = Self(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let addr = line
            .trim()
            .strip_prefix("listening ")
            .ok_or("the upstream did not start")?;
        Ok((process, addr.parse()?))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Our own roles end with their standard input, others when asked to; what has children
        // must be asked, or they would stay.
        drop(self.0.stdin.take());
        let _ = Command::new("kill")
            .arg(self.id().to_string())
            .stderr(Stdio::null())
            .status();
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the load generator to its end.
pub(crate) fn load(spec: &load::Spec) -> Result<load::Report> {
    let output = Launch::role(Role::Load, spec)?
        .raised()
        .stderr(Stdio::inherit())
        .output()?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("the load generator failed: {}", output.status).into())
}
