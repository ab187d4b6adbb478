//! An upstream that does what a script says, byte by byte, and remembers what it received.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};

/// What is done with a call, in order. After the last step the connection waits for the next call.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Pause(Duration),
    /// Nothing more until the peer leaves.
    Hang,
    /// A plain end of the connection.
    Close,
    /// A TCP reset.
    Reset,
}

/// A received request, as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    /// `POST /v1/… HTTP/1.1`
    pub(crate) line: String,
    /// As they came, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Without the chunks' frames.
    pub(crate) body: Bytes,
    /// Counts connections from 0.
    pub(crate) connection: usize,
}

type Script = dyn Fn(&Seen, usize) -> Vec<Step> + Send + Sync;

/// A scripted upstream; ends when dropped.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    script: Box<Script>,
}

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

// === impl Upstream ===

impl Upstream {
    /// Answers every request by `script`, which is told the request and how many came before it.
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            script: Box::new(script),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = accepting.connections.fetch_add(1, SeqCst);
                accepting.open.fetch_add(1, SeqCst);
                let open = Open(Arc::clone(&accepting));
                tokio::spawn(async move { serve(stream, connection, &open.0).await });
            }
        });
        Self { addr, shared, acceptor }
    }

    /// Always the same bytes.
    pub(crate) async fn saying(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, _| vec![Step::Send(bytes.clone())]).await
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no test panics in here").clone()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

async fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(seen) = receive(&mut stream, &mut buffer, connection).await {
        let before = {
            let mut all = shared.seen.lock().expect("no test panics in here");
            all.push(seen.clone());
            all.len() - 1
        };
        for step in (shared.script)(&seen, before) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::Hang => {
                    let mut rest = [0; 1024];
                    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
                    return;
                }
                Step::Close => return,
                Step::Reset => {
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    return;
                }
            }
        }
    }
}

/// The next request on a connection; `None` at its end.
async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Seen> {
    let end = loop {
        if let Some(at) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
    let mut seen = Seen { at: Instant::now(), line, headers, body: Bytes::new(), connection };
    seen.body = if seen.header("transfer-encoding").is_some() {
        chunked(stream, buffer).await?
    } else {
        let length = seen.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        while buffer.len() < length {
            more(stream, buffer).await?;
        }
        buffer.drain(..length).collect::<Vec<u8>>().into()
    };
    Some(seen)
}

async fn chunked(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            if let Some(at) = memchr::memmem::find(buffer, b"\r\n") {
                break buffer.drain(..at + 2).collect::<Vec<u8>>();
            }
            more(stream, buffer).await?;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
        while buffer.len() < size + 2 {
            more(stream, buffer).await?;
        }
        body.extend(buffer.drain(..size));
        buffer.drain(..2);
        if size == 0 {
            return Some(body.into());
        }
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(buffer).await.ok()?;
    (read > 0).then_some(())
}

/// A whole JSON answer.
pub(crate) fn json(status: u16, headers: &str, body: &str) -> Bytes {
    format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into()
}

/// The head of an event stream that ends with its connection.
pub(crate) fn sse_head() -> Bytes {
    Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
}

/// The head of a chunked event stream.
pub(crate) fn sse_chunked() -> Bytes {
    Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
}

/// One chunk.
pub(crate) fn chunk(data: &str) -> Bytes {
    format!("{:x}\r\n{data}\r\n", data.len()).into()
}

/// A chat event with some content.
pub(crate) fn content(words: &str) -> String {
    format!(
        "data: {{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{words}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// The event that brings only the role.
pub(crate) fn role() -> &'static str {
    "data: {\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
}

/// The events that make a chat stream whole.
pub(crate) fn finish() -> &'static str {
    "data: {\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
}

/// A whole chat answer.
pub(crate) const CHAT: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#;
