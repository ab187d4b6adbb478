//! One JSON line per call, off the request's path.
//!
//! Lines go to a buffer in memory; a thread of its own writes it out, so that a slow disk or a blocked pipe holds up
//! nobody. When the reader is too slow the buffer is full: lines are dropped and counted, calls are not.

mod line;

use std::{
    cell::RefCell,
    fs::OpenOptions,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use super::Metrics;
use crate::config;
pub use line::Line;

/// Lines held at most.
const MAX_BUFFER: usize = 8 * 1024 * 1024;
/// Written out when this much is there, or after `FLUSH`.
const ENOUGH: usize = 32 * 1024;
/// How long the end of the process waits for the last lines to be taken.
const LAST_WRITE: Duration = Duration::from_secs(2);
const FLUSH: Duration = Duration::from_millis(100);

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
            config::AccessLog::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            more: Condvar::new(),
            metrics,
        });
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || theirs.write(out))?;
        Ok(Some(Self {
            shared,
            writer: Mutex::new(Some(writer)),
        }))
    }

    /// Adds a line.
    pub fn line(&self, line: &Line<'_>) {
        thread_local! {
            static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            line.write(text);
            self.append(text);
        });
    }

    fn append(&self, text: &[u8]) {
        let mut state = self.shared.state();
        if state.closed || state.buffer.len() > MAX_BUFFER {
            drop(state);
            self.shared.metrics.log_dropped.inc();
            return;
        }
        let start = state.buffer.len();
        state.buffer.extend_from_slice(text);
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
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(writer) = writer else { return };
        let until = std::time::SystemTime::now() + LAST_WRITE;
        while !writer.is_finished() {
            if std::time::SystemTime::now() >= until {
                // Blocked on a reader that does not read; the process must still end.
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = writer.join();
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
                state = self
                    .more
                    .wait_timeout(state, FLUSH)
                    .map_or_else(|e| e.into_inner().0, |(state, _)| state);
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
