//! One JSON line per call, off the request's path.
//!
//! Lines go to a buffer in memory; a thread of its own writes it out, so that a slow disk or a blocked pipe holds up
//! nobody. When the reader is too slow the buffer is full: lines are dropped and counted, calls are not.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use serde::Serialize;

use super::Metrics;
use crate::config;

/// Lines held at most.
const MAX_BUFFER: usize = 8 * 1024 * 1024;
/// Written out when this much is there, or after `FLUSH`.
const ENOUGH: usize = 32 * 1024;
const FLUSH: Duration = Duration::from_millis(100);

/// What is said of a call. Neither prompts nor keys.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    pub ts: String,
    pub id: &'a str,
    pub app: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    pub method: &'a str,
    pub endpoint: &'a str,
    /// Without the query.
    pub path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<&'a str>,
    pub status: u16,
    pub outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'a str>,
    pub cache: &'a str,
    pub stream: bool,
    pub attempts: u32,
    pub duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    pub wait_ms: f64,
    pub overhead_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_estimated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sdk_retry: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub tags: &'a [(String, String)],
}

/// The log; lines written after its end are dropped.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    closed: bool,
}

// === impl AccessLog ===

impl AccessLog {
    /// Opens the log; `None` when it is off.
    ///
    /// # Errors
    /// When the file cannot be opened or no thread can be started.
    pub fn open(to: &config::AccessLog, metrics: Arc<Metrics>) -> io::Result<Option<Self>> {
        let out: Box<dyn Write + Send> = match to {
            config::AccessLog::Off => return Ok(None),
            config::AccessLog::Stdout => Box::new(io::stdout()),
            config::AccessLog::Stderr => Box::new(io::stderr()),
            config::AccessLog::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let shared = Arc::new(Shared { state: Mutex::default(), more: Condvar::new(), metrics });
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || theirs.write(out))?;
        Ok(Some(Self { shared, writer: Mutex::new(Some(writer)) }))
    }

    /// Adds a line.
    pub fn line(&self, line: &Line<'_>) {
        let mut state = self.shared.state();
        if state.closed || state.buffer.len() > MAX_BUFFER {
            drop(state);
            self.shared.metrics.log_dropped.inc();
            return;
        }
        let start = state.buffer.len();
        if serde_json::to_writer(&mut state.buffer, line).is_err() {
            state.buffer.truncate(start);
            return;
        }
        state.buffer.push(b'\n');
        let enough = start < ENOUGH && state.buffer.len() >= ENOUGH;
        drop(state);
        if enough {
            self.shared.more.notify_one();
        }
    }

    /// Writes out what is there and ends the log.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.more.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut out: Box<dyn Write + Send>) {
        let mut full = Vec::new();
        loop {
            let mut state = self.state();
            if state.buffer.len() < ENOUGH && !state.closed {
                state = self.more.wait_timeout(state, FLUSH).map_or_else(|e| e.into_inner().0, |(state, _)| state);
            }
            std::mem::swap(&mut state.buffer, &mut full);
            let closed = state.closed;
            drop(state);
            if !full.is_empty() {
                // A reader that has gone is no reason to stop serving.
                let _ = out.write_all(&full).and_then(|()| out.flush());
                full.clear();
                if full.capacity() > 4 * ENOUGH {
                    full = Vec::new();
                }
            } else if closed {
                return;
            }
        }
    }
}
