//! What the server roles share: a listener, an accept loop, an end.

use std::io::{Read, Write};
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// 5,000 clients come in a second; a short backlog would make them wait for a SYN to be resent.
const BACKLOG: i32 = 4096;

/// A listener that others may share `addr` with (`SO_REUSEPORT`). Inside a tokio runtime only.
pub(crate) fn listen(addr: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into())?)
}

/// Hands every connection to `serve`. Accept errors (out of descriptors) pass: a short pause.
pub(crate) async fn accept(listener: TcpListener, serve: impl Fn(TcpStream)) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it a streamed event waits for the ACK of the one before.
                let _ = stream.set_nodelay(true);
                serve(stream);
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// Tells whoever started this process where it listens.
pub(crate) fn announce(addr: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening {addr}")?;
    Ok(out.flush()?)
}

/// Ends this process when the bench has ended or wants it to: standard input closes.
pub(crate) fn exit_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
