//! `weir health`: is a gateway alive? For container images that hold nothing but this binary.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    process::ExitCode,
    time::Duration,
};

use super::{Global, check, load};
use crate::config::Listen;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Exit code 0: it answers. 1: it does not.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Ask the gateway at this address instead of the configuration's
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<SocketAddr>,
}

/// Asks `/healthz` of the app listener.
pub fn run(args: &Args, global: &Global) -> ExitCode {
    let listen = match args.address {
        Some(address) => Listen::Tcp(address),
        None => match load(global) {
            Ok(config) => config.listen,
            Err(code) => return code,
        },
    };
    match ask(&listen) {
        Ok(true) => check::print("ok"),
        Ok(false) => unwell(&format!("{listen} answers, but not with 200")),
        Err(error) => unwell(&format!("no answer from {listen}: {error}")),
    }
}

fn unwell(what: &str) -> ExitCode {
    eprintln!("weir: {what}");
    ExitCode::FAILURE
}

fn ask(listen: &Listen) -> std::io::Result<bool> {
    match listen {
        Listen::Tcp(address) => {
            let mut address = *address;
            if address.ip().is_unspecified() {
                address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
            }
            let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream)
        }
    }
}

fn exchange(mut stream: impl Read + Write) -> std::io::Result<bool> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(start == *b"HTTP/1.1 200")
}
