//! Listeners: one per worker where the kernel spreads connections (SO_REUSEPORT), else one that hands
//! connections out.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use super::StartError;
use crate::config::Listen;

/// Connections the kernel holds while we are busy. With 128, thousands of clients at once wait for a second.
const BACKLOG: i32 = 4096;
/// Connections on their way to another worker.
const HANDOVER: usize = 1024;

/// Bound, not yet served.
pub(super) struct Listeners {
    sources: Vec<Source>,
    address: Option<SocketAddr>,
}

/// Where a worker's connections come from.
pub(super) enum Source {
    /// Its own listener.
    Own(TcpListener),
    /// This worker accepts for all of them, itself included.
    Accepts {
        listener: Shared,
        to: Vec<mpsc::Sender<Stream>>,
        from: mpsc::Receiver<Stream>,
    },
    /// Another worker accepts.
    Receives(mpsc::Receiver<Stream>),
}

/// A listener of all workers.
pub(super) enum Shared {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection on its way between threads.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

// === impl Listeners ===

impl Listeners {
    /// Binds `listen` for `workers` workers.
    pub(super) fn bind(listen: &Listen, workers: usize) -> Result<Self, StartError> {
        let failed = |source: io::Error| {
            let hint = match source.kind() {
                io::ErrorKind::AddrInUse => {
                    "; is another weir running? `listen` in the configuration names another address"
                }
                io::ErrorKind::PermissionDenied => {
                    "; ports below 1024 and foreign directories need more rights"
                }
                _ => "",
            };
            StartError::Listen {
                address: listen.to_string(),
                source,
                hint,
            }
        };
        match listen {
            Listen::Tcp(address) => Self::tcp(*address, workers).map_err(failed),
            Listen::Unix(path) => {
                let listener = unix(path).map_err(failed)?;
                Ok(Self {
                    sources: shared(Shared::Unix(listener), workers),
                    address: None,
                })
            }
        }
    }

    fn tcp(address: SocketAddr, workers: usize) -> io::Result<Self> {
        // Bound once without SO_REUSEPORT first: another process on the port must be an error, not a
        // silent sharing of its connections.
        drop(socket(address, false)?);
        let first = match socket(address, true) {
            Ok(first) => first,
            Err(_) => {
                let one = socket(address, false)?;
                let address = one.local_addr()?;
                return Ok(Self {
                    sources: shared(Shared::Tcp(one), workers),
                    address: Some(address),
                });
            }
        };
        let bound = first.local_addr()?;
        let mut sources = vec![Source::Own(first)];
        for _ in 1..workers {
            sources.push(Source::Own(socket(bound, true)?));
        }
        Ok(Self {
            sources,
            address: Some(bound),
        })
    }

    /// The TCP address bound.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// One for each worker.
    pub(super) fn into_sources(self) -> Vec<Source> {
        self.sources
    }
}

fn shared(listener: Shared, workers: usize) -> Vec<Source> {
    let (to, mut from): (Vec<_>, Vec<_>) =
        (0..workers.max(1)).map(|_| mpsc::channel(HANDOVER)).unzip();
    let first = from.remove(0);
    let mut sources = vec![Source::Accepts {
        listener,
        to,
        from: first,
    }];
    sources.extend(from.into_iter().map(Source::Receives));
    sources
}

fn socket(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket file left by a process that has died is replaced; one that somebody serves, and any other file, is not.
pub(crate) fn unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is in the way",
            ));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // The owner and the group: weir's own keys serve whoever can connect.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
