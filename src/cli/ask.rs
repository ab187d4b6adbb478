//! One question to a running gateway on this machine, without an HTTP client: the answers are ours and small.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::config::Listen;

const TIMEOUT: Duration = Duration::from_secs(5);
/// A longer answer is refused: none of ours is.
const MAX_ANSWER: u64 = 8 << 20;

/// The status and the body of the answer.
pub(super) fn ask(listen: &Listen, method: &str, path: &str) -> io::Result<(u16, String)> {
    match listen {
        Listen::Tcp(address) => {
            let mut address = *address;
            if address.ip().is_unspecified() {
                address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
            }
            let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream, method, path)
        }
        Listen::Unix(file) => {
            let stream = UnixStream::connect(file)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream, method, path)
        }
    }
}

fn exchange(mut stream: impl Read + Write, method: &str, path: &str) -> io::Result<(u16, String)> {
    // HTTP/1.0: the answer ends with the connection and has no chunks.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: weir\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER + 1).read_to_end(&mut answer)?;
    if answer.len() as u64 > MAX_ANSWER {
        let what = "the answer is too long to be one of weir's";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let answer = String::from_utf8_lossy(&answer);
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(strange)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// For a query's value.
pub(super) fn encoded(value: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    value
        .bytes()
        .map(|byte| {
            if plain(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_value_cannot_add_to_the_query() {
        assert_eq!(encoded("2026-07-01T12:00:00Z"), "2026-07-01T12%3A00%3A00Z");
        assert_eq!(
            encoded("a b&format=x\r\nx: y"),
            "a%20b%26format%3Dx%0D%0Ax%3A%20y"
        );
    }
}
