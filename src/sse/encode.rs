//! Writes the few events that are our own.

use bytes::{BufMut, Bytes, BytesMut};

/// The event that ends an OpenAI stream.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// `data: …` and the empty line. Line ends within the data start another `data` line.
pub fn data(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 8);
    put_data(data, &mut out);
    out.freeze()
}

/// The same under an `event: …` name (which holds no line end).
pub fn named(name: &str, data: &[u8]) -> Bytes {
    debug_assert!(
        !name.contains(['\n', '\r']),
        "a line end in an event's name"
    );
    let mut out = BytesMut::with_capacity(name.len() + data.len() + 16);
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_u8(b'\n');
    put_data(data, &mut out);
    out.freeze()
}

/// A comment, which every client skips: a keep-alive.
pub fn comment(text: &str) -> Bytes {
    let text = text.replace(['\n', '\r'], " ");
    Bytes::from(format!(": {text}\n\n"))
}

fn put_data(data: &[u8], out: &mut BytesMut) {
    for line in data.split(|byte| *byte == b'\n') {
        out.put_slice(b"data: ");
        out.put_slice(line);
        out.put_u8(b'\n');
    }
    out.put_u8(b'\n');
}
