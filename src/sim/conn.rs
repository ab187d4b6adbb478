//! One accepted connection, with a handle by which a fault can end it.
//!
//! hyper owns the socket; [`Tap`] sits between them, so that a handler can make the connection end in a TCP reset, or
//! look closed by the peer while it is idle.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

// 0 is a connection that lives.
const RESET: u8 = 1;
const CLOSE: u8 = 2;

/// The handle of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conn(Arc<Fate>);

#[derive(Debug, Default)]
struct Fate {
    state: AtomicU8,
    reader: AtomicWaker,
}

/// A socket that obeys its [`Conn`].
#[derive(Debug)]
pub(crate) struct Tap {
    stream: TcpStream,
    conn: Conn,
}

// === impl Conn ===

impl Conn {
    /// The connection ends in a reset as soon as hyper lets go of it; the caller makes that happen by an error.
    pub(crate) fn reset(&self) {
        self.0.state.store(RESET, Ordering::Release);
    }

    /// The connection ends quietly once it is idle.
    pub(crate) fn close(&self) {
        self.0.state.store(CLOSE, Ordering::Release);
        self.0.reader.wake();
    }

    /// [`close`](Self::close), later.
    pub(crate) fn close_after(&self, wait: Duration) {
        if wait.is_zero() {
            return self.close();
        }
        let conn = self.clone();
        // Ends by itself and holds nothing but the handle.
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            conn.close();
        });
    }

    fn is(&self, state: u8) -> bool {
        self.0.state.load(Ordering::Acquire) == state
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.is(RESET)
    }
}

// === impl Tap ===

impl Tap {
    pub(crate) fn new(stream: TcpStream, conn: Conn) -> Self {
        Self { stream, conn }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.conn.is(RESET) {
            // Lingering for no time at all makes the kernel send RST where it would send FIN.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.conn.0.reader.register(cx.waker());
        if self.conn.is(CLOSE) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.conn.is(RESET) {
            // A FIN would let the peer read a clean end before the reset arrives.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
