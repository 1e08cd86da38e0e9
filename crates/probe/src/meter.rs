//! A stream that notes when the request left and when the answer began, which no HTTP library tells.

use crate::findings::{Findings, add};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Any byte stream: plain TCP or TLS on top of it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What was noted since the last [`Meter::restart`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    /// When it was restarted.
    pub(crate) begun: Option<Instant>,
    /// The last write before the first byte came back.
    pub(crate) last_write: Option<Instant>,
    /// The first byte of the answer.
    pub(crate) first_read: Option<Instant>,
    /// The far end does not take what is written, or writing failed.
    pub(crate) stuck_writing: bool,
}

impl Reading {
    /// Adds the times of sending and of waiting for the answer.
    pub(crate) fn note(&self, findings: &mut Findings) {
        let timings = &mut findings.timings;
        if let (Some(begun), Some(written)) = (self.begun, self.last_write) {
            add(&mut timings.send, written.saturating_duration_since(begun));
        }
        if let (Some(written), Some(read)) = (self.last_write, self.first_read) {
            add(&mut timings.first_byte, read.saturating_duration_since(written));
        }
    }
}

/// The notes of one stream, shared with whoever reads them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<Mutex<Reading>>);

impl Meter {
    fn state(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew, for the next exchange.
    pub(crate) fn restart(&self) {
        *self.state() = Reading { begun: Some(Instant::now()), ..Reading::default() };
    }

    pub(crate) fn read(&self) -> Reading {
        *self.state()
    }

    fn wrote<T>(&self, result: &Poll<io::Result<T>>, moved: bool) {
        let mut state = self.state();
        state.stuck_writing = !matches!(result, Poll::Ready(Ok(_)));
        if moved && state.first_read.is_none() {
            state.last_write = Some(Instant::now());
        }
    }
}

/// The stream with its meter.
pub(crate) struct Metered {
    inner: Box<dyn Stream>,
    meter: Meter,
    /// Is a farewell due? Plain TCP ends when it is dropped, which tells the far end the same with a system call and a packet less.
    says_goodbye: bool,
}

impl Metered {
    /// Measures a stream; one with TLS on it says goodbye.
    pub(crate) fn new(inner: Box<dyn Stream>, tls: bool) -> (Self, Meter) {
        let meter = Meter::default();
        (Self { inner, meter: meter.clone(), says_goodbye: tls }, meter)
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.meter.state().first_read.get_or_insert_with(Instant::now);
        }
        result
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.meter.wrote(&result, matches!(result, Poll::Ready(Ok(n)) if n > 0));
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.meter.wrote(&result, false);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.says_goodbye { Pin::new(&mut self.inner).poll_shutdown(cx) } else { Poll::Ready(Ok(())) }
    }
}
