//! Looks at a stream's events while its chunks pass by.

use super::parse::{EventRef, Finder};
use super::{EventTooLarge, MAX_EVENT_BYTES};

/// Follows a stream without holding it up.
///
/// Events that lie whole in a chunk are shown where they are, without allocation or copy (an
/// event of several `data` lines has these joined). The buffer for an unfinished tail exists only
/// while there is one, so that an idle stream holds no memory here.
#[derive(Debug)]
pub struct Inspector {
    finder: Finder,
    tail: Vec<u8>,
    limit: usize,
    first: bool,
}

// === impl Inspector ===

impl Default for Inspector {
    fn default() -> Self {
        Self::new(MAX_EVENT_BYTES)
    }
}

impl Inspector {
    /// An inspector that takes no event larger than `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            finder: Finder::new(),
            tail: Vec::new(),
            limit,
            first: true,
        }
    }

    /// Shows every event that ends in `chunk`, in order. Gives back how many bytes of the chunk
    /// belong to finished events: what lies behind is the beginning of an unfinished one, which
    /// a gateway may hold back so that nobody sees half an event if the stream breaks now.
    ///
    /// # Errors
    /// When an event is too large; nothing further can be read after that.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        mut on_event: impl FnMut(EventRef<'_>),
    ) -> Result<usize, EventTooLarge> {
        let mut done = 0;
        while done < chunk.len() {
            let rest = &chunk[done..];
            let Some(len) = self.finder.find(rest) else {
                self.check(self.tail.len() + rest.len())?;
                self.tail.extend_from_slice(rest);
                break;
            };
            self.check(self.tail.len() + len)?;
            let first = std::mem::take(&mut self.first);
            if self.tail.is_empty() {
                on_event(EventRef::parse(&rest[..len], first));
            } else {
                let mut whole = std::mem::take(&mut self.tail);
                whole.extend_from_slice(&rest[..len]);
                on_event(EventRef::parse(&whole, first));
            }
            done += len;
        }
        Ok(done)
    }

    /// Bytes of an unfinished event received so far.
    pub const fn pending(&self) -> usize {
        self.tail.len()
    }

    /// At the end of the stream: shows what is left as if an empty line had ended it. By the
    /// standard clients ignore such an event, but `data: [DONE]` with one line end still tells
    /// that the answer was whole. Gives back the bytes left over.
    pub fn finish(&mut self, on_event: impl FnOnce(EventRef<'_>)) -> usize {
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            on_event(EventRef::parse(&tail, self.first));
        }
        tail.len()
    }

    #[cfg(test)]
    pub(super) const fn tail_capacity(&self) -> usize {
        self.tail.capacity()
    }

    const fn check(&self, len: usize) -> Result<(), EventTooLarge> {
        if len > self.limit {
            return Err(EventTooLarge { limit: self.limit });
        }
        Ok(())
    }
}
