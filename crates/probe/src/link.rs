//! One HTTP/1.1 connection (RFC 9112), driven by the probe itself.
//!
//! The connection is polled beside the exchange and not in a task of its own: when the probe is dropped, so is the connection.

use crate::failure::{Step, of_http, timeout};
use crate::meter::{Meter, Metered, Stream};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use quorate_core::Phase;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes of an answer's header section at most; also the read buffer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Lines of an answer's header section at most.
const MAX_HEAD_LINES: usize = 256;
/// How long an answered connection may take to become idle before it is closed instead of kept.
const SETTLE: Duration = Duration::from_millis(10);

type Driver = Pin<Box<Connection<TokioIo<Metered>, Full<Bytes>>>>;

/// An open connection.
pub(crate) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once the connection is over.
    driver: Option<Driver>,
    pub(crate) meter: Meter,
    pub(crate) peer: SocketAddr,
}

impl Link {
    /// Speaks HTTP over `stream`. Nothing is sent yet.
    pub(crate) async fn new(stream: Box<dyn Stream>, peer: SocketAddr) -> Step<Self> {
        let (metered, meter) = Metered::new(stream);
        let made = Builder::new()
            .title_case_headers(true)
            .max_headers(MAX_HEAD_LINES)
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(metered))
            .await;
        let (sender, driver) = made.map_err(|error| of_http(Phase::Send, &error))?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), meter, peer })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>, deadline: Instant) -> Step<Response<Incoming>> {
        self.meter.restart();
        let asked = timeout_at(deadline, drive(&mut self.driver, self.sender.send_request(request))).await;
        let phase = if self.meter.read().stuck_writing { Phase::Send } else { Phase::FirstByte };
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(of_http(phase, &error)),
            Err(_) => Err(timeout(phase)),
        }
    }

    /// Reads at most `max` bytes of a body, handing them to `keep`. True when that was all of it.
    pub(crate) async fn read(
        &mut self,
        body: &mut Incoming,
        max: u32,
        deadline: Instant,
        mut keep: impl FnMut(&[u8]),
    ) -> Step<bool> {
        let mut left = usize::try_from(max).unwrap_or(usize::MAX);
        while left > 0 && !body.is_end_stream() {
            let next = timeout_at(deadline, drive(&mut self.driver, body.frame())).await;
            match next.map_err(|_| timeout(Phase::Body))? {
                None => return Ok(true),
                Some(Err(error)) => return Err(of_http(Phase::Body, &error)),
                Some(Ok(frame)) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    let taken = data.len().min(left);
                    keep(data.get(..taken).unwrap_or_default());
                    left -= taken;
                }
            }
        }
        Ok(body.is_end_stream())
    }

    /// Has the connection become idle, ready for another request?
    pub(crate) async fn settle(&mut self, deadline: Instant) -> bool {
        let end = deadline.min(Instant::now() + SETTLE);
        let ready = timeout_at(end, drive(&mut self.driver, self.sender.ready())).await;
        matches!(ready, Ok(Ok(()))) && self.driver.is_some()
    }

    /// Is it still open after having been left alone? Notices a far end that closed it or spoke unasked.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let Some(driver) = &mut self.driver else { return false };
        let over = poll_fn(|cx| Poll::Ready(driver.as_mut().poll(cx).is_ready())).await;
        if over {
            self.driver = None;
        }
        !over && self.sender.is_ready()
    }
}

/// Polls `work` and, while it waits, the connection it waits for.
async fn drive<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        match driver.as_mut().map(|connection| connection.as_mut().poll(cx)) {
            Some(Poll::Ready(_)) => {
                // Dropping it ends the channels `work` listens to.
                *driver = None;
                work.as_mut().poll(cx)
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    })
    .await
}
