//! An HTTP/1.1 client that keeps every byte, one connection for each call, closed when the answer is dropped.

use std::{net::SocketAddr, path::PathBuf, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

/// A call to be made.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// An answer whose body may still flow; its connection ends with it.
pub(crate) struct Live {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    connection: JoinHandle<()>,
}

/// An answer, whole or broken off.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The connection ended before the body did.
    pub(crate) broken: bool,
}

/// Where to call.
#[derive(Clone, Debug)]
pub(crate) enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

pub(crate) fn ask(method: &str, path: &str) -> Ask {
    let method = method.parse().expect("a method");
    Ask {
        method,
        path: path.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    }
    .header("host", "weir.test")
}

pub(crate) fn get(path: &str) -> Ask {
    ask("GET", path)
}

/// A JSON call with the key `sk-caller-own`.
pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Ask {
    let mut ask = ask("POST", path)
        .header("content-type", "application/json")
        .header("authorization", "Bearer sk-caller-own");
    ask.body = body.into();
    ask
}

/// A chat completion of these words by `gpt-4o`.
pub(crate) fn chat(words: &str, stream: bool) -> Ask {
    let body = serde_json::json!({"model": "gpt-4o", "stream": stream, "messages": [{"role": "user", "content": words}]});
    post("/v1/chat/completions", body.to_string())
}

// === impl Ask ===

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers
            .insert(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it; returns at the answer's head.
    pub(crate) async fn live(&self, at: impl Into<At>) -> Result<Live, hyper::Error> {
        match at.into() {
            At::Tcp(addr) => {
                let stream = TcpStream::connect(addr).await.expect("it listens");
                stream.set_nodelay(true).expect("a socket option");
                self.over(stream).await
            }
            At::Unix(path) => {
                self.over(UnixStream::connect(path).await.expect("it listens"))
                    .await
            }
        }
    }

    async fn over<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        io: I,
    ) -> Result<Live, hyper::Error> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let connection = tokio::spawn(async move {
            // Its end shows in the body.
            let _ = connection.await;
        });
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().expect("a path");
        *request.headers_mut() = self.headers.clone();
        let guard = Abort(connection);
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        Ok(Live {
            status: parts.status,
            headers: parts.headers,
            body,
            connection: guard.keep(),
        })
    }

    /// Sends it and reads the answer to its end.
    pub(crate) async fn send(&self, at: impl Into<At>) -> Answer {
        self.live(at)
            .await
            .expect("there is an answer")
            .whole()
            .await
    }
}

/// Ends the connection of a call that is given up.
struct Abort(JoinHandle<()>);

impl Abort {
    fn keep(mut self) -> JoinHandle<()> {
        std::mem::replace(&mut self.0, tokio::spawn(async {}))
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Live ===

impl Live {
    /// The next bytes of the body; `None` at its end, an error when it broke off.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads to the end.
    pub(crate) async fn whole(mut self) -> Answer {
        let mut body = Vec::new();
        let mut broken = false;
        while let Some(data) = self.next().await {
            match data {
                Ok(data) => body.extend_from_slice(&data),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Answer {
            status: self.status.as_u16(),
            headers: self.headers.clone(),
            body: body.into(),
            broken,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

// === impl Answer ===

impl Answer {
    /// A header, empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("plain text"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// `error.code`, whatever its type.
    pub(crate) fn code(&self) -> String {
        match &self.json()["error"]["code"] {
            Value::String(code) => code.clone(),
            other => other.to_string(),
        }
    }

    /// `data` of each event of a stream.
    pub(crate) fn events(&self) -> Vec<String> {
        self.text()
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.trim().to_owned())
            .collect()
    }

    /// A stream that an SDK takes for a whole answer: no error event, a finish reason or a final event, and `[DONE]` for chat.
    pub(crate) fn looks_complete(&self) -> bool {
        let text = self.text();
        !self.broken && (text.contains("data: [DONE]") || text.contains("\"response.completed\""))
    }

    /// The error object of the stream's last event, in the shape that SDKs raise on.
    pub(crate) fn stream_error(&self) -> Option<Value> {
        let events = self.events();
        let last: Value =
            serde_json::from_str(events.iter().rev().find(|event| *event != "[DONE]")?).ok()?;
        (last.get("error").is_some_and(Value::is_object)
            || last["type"] == "error"
            || last["type"] == "response.failed")
            .then_some(last)
    }
}

impl From<SocketAddr> for At {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<&std::path::Path> for At {
    fn from(path: &std::path::Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

/// Writes `bytes` as they are and reads until what came `suffices`, or the peer closes.
pub(crate) async fn raw_until(
    addr: SocketAddr,
    bytes: &[u8],
    suffices: impl Fn(&str) -> bool,
) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    stream.write_all(bytes).await.expect("it reads");
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if suffices(&text) || !matches!(stream.read_buf(&mut all).await, Ok(1..)) {
            return text;
        }
    }
}

/// Writes `bytes` as they are and reads until the peer closes, or is silent for `silence`.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8], silence: Duration) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    stream.write_all(bytes).await.expect("it reads");
    read_for(Pin::new(&mut stream), silence).await
}

/// Reads until the end or until nothing comes for `silence`.
pub(crate) async fn read_for(mut stream: Pin<&mut TcpStream>, silence: Duration) -> String {
    let mut all = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(silence, stream.read(&mut buffer)).await {
        all.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
