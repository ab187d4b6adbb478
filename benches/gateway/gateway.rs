//! The gateways that are measured: how each is started, and when it has.

use std::fs;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::Result;
use crate::args::Args;
use crate::child::{Launch, Process, fill};
use crate::http;
use crate::procfs::Tree;
use crate::role::{Role, bare};

/// What all others are compared with.
pub(crate) const BARE: &str = "bare";

/// The app's credential. weir knows it by its hash.
pub(crate) const APP_KEY: &str = "sk-weir-bench-0123456789abcdef0123456789abcdef";

/// weir with every layer on.
const WEIR_CONFIG: &str = include_str!("weir.toml");

/// A plain reverse proxy.
const NGINX_CONFIG: &str = include_str!("nginx.conf");

/// How long a gateway may take to answer /healthz for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway that can be started.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) name: String,
    launch: How,
    /// Where it answers, when that is not the port it is told.
    fixed: Option<SocketAddr>,
}

#[derive(Debug)]
enum How {
    Bare,
    Command(Launch),
}

/// A gateway that runs, until dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    /// From spawn to the first answer.
    pub(crate) started_in: Duration,
}

/// Where gateways are started: what they stand before and where their files go.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) upstream: SocketAddr,
    pub(crate) dir: PathBuf,
}

/// All gateways that `args` asks for, the bare proxy first.
pub(crate) fn all(args: &Args) -> Result<Vec<Gateway>> {
    let plain = |name: &str| Gateway {
        name: name.to_owned(),
        launch: How::Bare,
        fixed: None,
    };
    let mut gateways = vec![plain(BARE)];
    let wanted = |name: &str| !args.skip.iter().any(|skipped| skipped == name);
    if wanted("weir") {
        let built = Path::new(env!("CARGO_BIN_EXE_weir"));
        let weir = args.weir.as_deref().unwrap_or(built).to_string_lossy();
        gateways.push(Gateway::direct(
            "weir",
            &[&weir, "serve", "--config", "{config}"],
        ));
    }
    if args.twin {
        gateways.push(plain("twin"));
    }
    // A third row takes its time, which a quick run has not got.
    if wanted("nginx") && !args.quick && on_path("nginx") {
        let words = [
            "nginx",
            "-p",
            "{dir}",
            "-c",
            "{dir}/nginx.conf",
            "-e",
            "stderr",
        ];
        gateways.push(Gateway::direct("nginx", &words));
    }
    for (index, gateway) in args.gateways.iter().enumerate() {
        let (name, line) = gateway.split_once('=').ok_or("--gateway takes NAME=CMD")?;
        gateways.push(Gateway {
            name: name.to_owned(),
            launch: How::Command(Launch::Shell(line.to_owned())),
            fixed: args.urls.get(index).map(|url| address(url)).transpose()?,
        });
    }
    Ok(gateways)
}

// === impl Gateway ===

impl Gateway {
    fn direct(name: &str, words: &[&str]) -> Self {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Self {
            name: name.to_owned(),
            launch: How::Command(Launch::Direct(words)),
            fixed: None,
        }
    }

    /// Starts it with room for many sockets.
    pub(crate) fn start(&self, scene: &Scene) -> Result<Running> {
        self.run(scene, true)
    }

    /// Starts it the shortest way, in order to see how long it takes.
    pub(crate) fn start_bare(&self, scene: &Scene) -> Result<Running> {
        self.run(scene, false)
    }

    fn run(&self, scene: &Scene, raised: bool) -> Result<Running> {
        let (port, admin_port) = free_ports()?;
        let own = SocketAddr::from(([127, 0, 0, 1], port));
        let launch = match &self.launch {
            How::Bare => {
                let spec = bare::Spec {
                    listen: own,
                    upstream: scene.upstream,
                };
                Launch::role(Role::BareProxy, &spec)?
            }
            How::Command(launch) => launch.filled(&scene.files(port, admin_port)?),
        };
        let complaints = scene.dir.join(format!("{}.log", self.name));
        let command = if raised {
            launch.raised()
        } else {
            launch.plain()
        };
        let begun = Instant::now();
        let mut process = Process::server(command, &complaints)?;
        let addr = self.fixed.unwrap_or(own);
        loop {
            if http::get(addr, "/healthz").is_ok() {
                return Ok(Running {
                    process,
                    addr,
                    started_in: begun.elapsed(),
                });
            }
            if process.ended() || begun.elapsed() > PATIENCE {
                let said = fs::read_to_string(&complaints).unwrap_or_default();
                let said = said
                    .lines()
                    .rev()
                    .take(5)
                    .collect::<Vec<_>>()
                    .join("\n    ");
                return Err(format!("it does not answer GET /healthz\n    {said}").into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

// === impl Running ===

impl Running {
    /// Its process and what that has started.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.process.id())
    }
}

// === impl Scene ===

impl Scene {
    /// Writes the configs and returns what stands for each `{name}` in commands.
    fn files(&self, port: u16, admin_port: u16) -> Result<Vec<(&'static str, String)>> {
        let dir = self.dir.to_string_lossy();
        let config = format!("{dir}/weir-{port}.toml");
        let values = vec![
            ("{port}", port.to_string()),
            ("{admin_port}", admin_port.to_string()),
            ("{upstream}", self.upstream.to_string()),
            ("{config}", config.clone()),
            ("{dir}", dir.to_string()),
            (
                "{bench}",
                std::env::current_exe()?.to_string_lossy().into_owned(),
            ),
            (
                "{app_key_hash}",
                blake3::hash(APP_KEY.as_bytes()).to_hex().to_string(),
            ),
        ];
        fs::write(config, fill(WEIR_CONFIG, &values))?;
        fs::write(format!("{dir}/nginx.conf"), fill(NGINX_CONFIG, &values))?;
        Ok(values)
    }
}

fn free_ports() -> Result<(u16, u16)> {
    // Both held at once, so that they are not the same.
    let (one, other) = (
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    );
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

fn address(url: &str) -> Result<SocketAddr> {
    let rest = url
        .strip_prefix("http://")
        .ok_or("--url takes http://HOST:PORT")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let found = authority.to_socket_addrs()?.next();
    found.ok_or_else(|| format!("{authority} has no address").into())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
