//! A client of one request: writes bytes, reads bytes.

use std::{collections::BTreeMap, io};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::sim::{Running, Settings, Simulator};

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    /// Chunks put together.
    pub(super) body: Vec<u8>,
    /// Whether the message ended as HTTP wants it.
    pub(super) whole: bool,
    /// How the connection ended.
    pub(super) error: Option<io::ErrorKind>,
}

pub(super) async fn start(settings: Settings) -> Running {
    Simulator::start(settings).await.unwrap()
}

pub(super) async fn plain() -> Running {
    start(Settings::default()).await
}

/// Sends one request on a connection of its own.
pub(super) async fn send(
    sim: &Running,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    read(&mut socket).await
}

/// A JSON request with a good key.
pub(super) async fn post(sim: &Running, path: &str, body: &str) -> Answer {
    send(
        sim,
        "POST",
        path,
        "authorization: Bearer sk-one\r\ncontent-type: application/json\r\n",
        body.as_bytes(),
    )
    .await
}

pub(super) async fn get(sim: &Running, path: &str) -> Answer {
    send(sim, "GET", path, "authorization: Bearer sk-one\r\n", b"").await
}

/// A chat request with that text.
pub(super) async fn chat(sim: &Running, text: &str, stream: bool) -> Answer {
    post(sim, "/v1/chat/completions", &chat_body(text, stream)).await
}

pub(super) fn chat_body(text: &str, stream: bool) -> String {
    serde_json::json!({"model": "gpt-4o", "stream": stream, "messages": [{"role": "user", "content": text}]})
        .to_string()
}

/// Waits until `check` holds; what never does is a failed test and not a hanging one.
pub(super) async fn until(mut check: impl FnMut() -> bool) {
    let waiting = async {
        while !check() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), waiting)
        .await
        .expect("the condition never held");
}

async fn read(socket: &mut TcpStream) -> Answer {
    let (mut bytes, mut buffer, mut error) = (Vec::new(), vec![0; 65_536], None);
    loop {
        match socket.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(failed) => {
                error = Some(failed.kind());
                break;
            }
        }
    }
    let Some(blank) = memchr::memmem::find(&bytes, b"\r\n\r\n") else {
        return Answer {
            status: 0,
            headers: BTreeMap::new(),
            body: bytes,
            whole: false,
            error,
        };
    };
    let head = std::str::from_utf8(&bytes[..blank]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    let rest = &bytes[blank + 4..];
    let (body, whole) = if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        dechunk(rest)
    } else {
        let length: usize = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        (rest.to_vec(), rest.len() == length)
    };
    Answer {
        status,
        headers,
        body,
        whole,
        error,
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = memchr::memmem::find(rest, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size + 2 {
            break;
        }
        rest = &rest[size + 2..];
    }
    (body, false)
}

// === impl Answer ===

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The events' data, parsed; `[DONE]` is left out.
    pub(super) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text
            .split("\n\n")
            .filter_map(|event| event.split("data: ").nth(1));
        data.filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// The content of a chat stream put together.
    pub(super) fn content(&self) -> String {
        let events = self.events();
        events
            .iter()
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
            .collect()
    }
}
