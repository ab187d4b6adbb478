//! Reads replies as they come in, without keeping them: where one ends, how many events it had.

use memchr::memmem;

use crate::Result;

/// What it is in the middle of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// The head, up to the empty line.
    #[default]
    Head,
    /// A body of known length: bytes left.
    Length(u64),
    /// A chunk's size line.
    Size,
    /// A chunk: bytes left.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Behind the last chunk, up to the empty line.
    Trailer,
    Done,
}

/// One reply after the other on one connection.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    state: State,
    /// The head or line being read.
    line: Vec<u8>,
    /// The body's last bytes: an event's end or `[DONE]` may be cut in two.
    tail: [u8; DONE.len()],
    event_stream: bool,
    /// SSE events seen in this reply.
    pub(crate) events: u64,
}

/// How a stream has to end in order to be whole.
const DONE: &[u8; 14] = b"data: [DONE]\n\n";

// === impl Reader ===

impl Reader {
    /// Ready for the next reply.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            line: std::mem::take(&mut self.line),
            ..Self::default()
        };
        self.line.clear();
    }

    /// Takes the next bytes; `true` when they end the reply.
    ///
    /// # Errors
    /// A status other than 200, a broken reply, a stream that ends without `[DONE]`.
    pub(crate) fn feed(&mut self, mut data: &[u8]) -> Result<bool> {
        while !data.is_empty() && self.state != State::Done {
            match self.state {
                State::Head => {
                    if self.take_until(b"\r\n\r\n", &mut data) {
                        let head = std::mem::take(&mut self.line);
                        self.state = self.head(&head)?;
                    }
                }
                State::Length(left) => {
                    let left = left - self.body(left, &mut data);
                    self.state = if left == 0 {
                        State::Done
                    } else {
                        State::Length(left)
                    };
                }
                State::Size => {
                    if self.take_until(b"\r\n", &mut data) {
                        let digits = std::str::from_utf8(&self.line)?.trim();
                        self.state = match u64::from_str_radix(digits, 16)? {
                            0 => State::Trailer,
                            size => State::Chunk(size),
                        };
                        self.line.clear();
                    }
                }
                State::Chunk(left) => {
                    let left = left - self.body(left, &mut data);
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::Chunk(left)
                    };
                }
                State::ChunkEnd => {
                    if self.take_until(b"\r\n", &mut data) {
                        self.state = State::Size;
                        self.line.clear();
                    }
                }
                State::Trailer => {
                    if self.take_until(b"\r\n", &mut data) {
                        if self.line == b"\r\n" {
                            self.state = State::Done;
                        }
                        self.line.clear();
                    }
                }
                State::Done => {}
            }
        }
        if self.state != State::Done {
            return Ok(false);
        }
        if !data.is_empty() {
            return Err("bytes behind the reply".into());
        }
        if self.event_stream && self.tail != *DONE {
            return Err("a stream ended without [DONE]".into());
        }
        Ok(true)
    }

    /// Takes what precedes and includes `end` into `line`; `false`, and `data` put by, while
    /// `end` has not come.
    fn take_until(&mut self, end: &[u8], data: &mut &[u8]) -> bool {
        let before = self.line.len();
        if before == 0 {
            // As a rule it is all there: only the line is copied, not what follows it.
            let Some(at) = memmem::find(data, end) else {
                self.line.extend_from_slice(data);
                *data = &[];
                return false;
            };
            let (line, rest) = data.split_at(at + end.len());
            self.line.extend_from_slice(line);
            *data = rest;
            return true;
        }
        self.line.extend_from_slice(data);
        let Some(at) = memmem::find(&self.line, end) else {
            *data = &[];
            return false;
        };
        self.line.truncate(at + end.len());
        *data = &data[self.line.len() - before..];
        true
    }

    fn head(&mut self, head: &[u8]) -> Result<State> {
        let head = std::str::from_utf8(head)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            return Err(format!("answered with {status}").into());
        }
        let mut state = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                state = Some(State::Length(value.parse()?));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                state = Some(State::Size);
            } else if name.eq_ignore_ascii_case("content-type") {
                self.event_stream = value.starts_with("text/event-stream");
            }
        }
        match state.ok_or("a reply of unknown length")? {
            State::Length(0) => Ok(State::Done),
            state => Ok(state),
        }
    }

    /// Looks at up to `left` bytes of body and tells how many there were.
    fn body(&mut self, left: u64, data: &mut &[u8]) -> u64 {
        let length = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (body, rest) = data.split_at(length);
        *data = rest;
        if self.event_stream {
            let cut_in_two = self.tail.ends_with(b"\n") && body.starts_with(b"\n");
            self.events += u64::from(cut_in_two);
            self.events += memmem::find_iter(body, b"\n\n").count() as u64;
            let kept = DONE.len().saturating_sub(body.len());
            self.tail.copy_within(DONE.len() - kept.., 0);
            self.tail[kept..].copy_from_slice(&body[body.len() + kept - DONE.len()..]);
        }
        length as u64
    }
}
