//! The bytes of a call.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Ask {
    /// A small answer, as apps ask for it: no temperature, so nothing a cache would keep.
    Json,
    /// A small answer that a cache may keep; the same each time.
    Cacheable,
    /// A small answer that a cache may keep; no two alike.
    Unique,
    /// A stream of `events` content events, `gap_ms` apart.
    Stream { events: u64, gap_ms: u64 },
}

/// A request that can be sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Where a number is counted up before each sending.
    digits: Option<std::ops::Range<usize>>,
}

const PROMPT: &str = "What is a weir? Answer in one sentence, please, as for a child of ten years.";

/// Stands in the body of [`Ask::Unique`] where the number goes.
const NUMBER: &str = "0000000000000000";

// === impl Request ===

impl Request {
    /// `start` sets apart the numbers of connections that count side by side.
    pub(crate) fn new(ask: Ask, target: SocketAddr, key: &str, start: u64) -> Self {
        let body = body(ask);
        // Like the official Python SDK's, in number and size: gateways read and copy headers.
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\n\
             host: {target}\r\n\
             accept: application/json\r\n\
             content-type: application/json\r\n\
             user-agent: OpenAI/Python 1.99.0\r\n\
             x-stainless-lang: python\r\n\
             x-stainless-package-version: 1.99.0\r\n\
             x-stainless-os: Linux\r\n\
             x-stainless-arch: x64\r\n\
             x-stainless-runtime: CPython\r\n\
             x-stainless-runtime-version: 3.12.3\r\n\
             x-stainless-async: false\r\n\
             x-stainless-retry-count: 0\r\n\
             x-stainless-read-timeout: 600\r\n\
             authorization: Bearer {key}\r\n\
             content-length: {}\r\n\r\n",
            body.len(),
        );
        let mut bytes = head.into_bytes();
        let digits = body
            .find(NUMBER)
            .map(|at| bytes.len() + at..bytes.len() + at + NUMBER.len());
        bytes.extend_from_slice(body.as_bytes());
        if let Some(range) = digits.clone() {
            bytes[range].copy_from_slice(format!("{start:016}").as_bytes());
        }
        Self { bytes, digits }
    }

    /// Makes it unlike any before, where that was asked for.
    pub(crate) fn advance(&mut self) {
        let Some(range) = self.digits.clone() else {
            return;
        };
        for digit in self.bytes[range].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }
}

fn body(ask: Ask) -> String {
    let (model, rest) = match ask {
        Ask::Json => ("bench-json".to_owned(), String::new()),
        Ask::Cacheable => ("bench-json".to_owned(), r#","temperature":0"#.to_owned()),
        Ask::Unique => (
            "bench-json".to_owned(),
            format!(r#","temperature":0,"stop":["{NUMBER}"]"#),
        ),
        Ask::Stream { events, gap_ms } => {
            let options = r#","stream":true,"stream_options":{"include_usage":true}"#;
            (
                format!("bench-stream-{events}-{gap_ms}"),
                options.to_owned(),
            )
        }
    };
    format!(
        r#"{{"messages":[{{"role":"system","content":"You are helpful."}},{{"role":"user","content":"{PROMPT}"}}],"model":"{model}","max_tokens":256{rest}}}"#
    )
}
