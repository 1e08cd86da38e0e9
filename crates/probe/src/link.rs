//! One HTTP connection (RFC 9112, RFC 9113), driven by the probe itself.
//!
//! The connection is polled beside the exchange and not in a task of its own: when the probe is dropped, so is the connection. HTTP/2 wants
//! tasks of its own; they are ended with the link.

use crate::failure::{Step, of_http, timeout, unprepared};
use crate::meter::{Meter, Metered, Stream};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, HOST};
use hyper::rt::Executor;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use quorate_core::{Cause, Phase, ProbeFailure, Scheme, TlsFacts};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Bytes of an answer's header section at most; also the read buffer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Lines of an answer's header section at most.
const MAX_HEAD_LINES: usize = 256;
/// How long an answered connection may take to become idle before it is closed instead of kept.
const SETTLE: Duration = Duration::from_millis(10);

/// Bytes of an HTTP/2 answer that may be under way, on top of what has been read.
const WINDOW_BYTES: u32 = 256 * 1024;

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    /// With the scheme, which travels in the request.
    Http2(http2::SendRequest<Full<Bytes>>, &'static str),
}

/// Runs what an HTTP/2 connection wants to run beside itself, as long as the link lives.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, work: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each request is a task, and one that has ended is kept until it is joined.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { drop(work.await) });
    }
}

/// An open connection.
pub(crate) struct Link {
    sender: Sender,
    /// `None` once the connection is over.
    driver: Option<Driver>,
    pub(crate) meter: Meter,
    pub(crate) peer: SocketAddr,
    /// What its handshake showed.
    pub(crate) tls: Option<Box<TlsFacts>>,
}

impl Link {
    /// Speaks HTTP over `stream`; HTTP/2 if that was agreed on. Nothing is asked yet.
    pub(crate) async fn new(stream: Box<dyn Stream>, peer: SocketAddr, scheme: Scheme, http2: bool) -> Step<Self> {
        let (metered, meter) = Metered::new(stream, scheme == Scheme::Https);
        let io = TokioIo::new(metered);
        let failed = |error: hyper::Error| of_http(Phase::Send, &error);
        let (sender, driver): (Sender, Driver) = if http2 {
            let mut builder = http2::Builder::new(Tasks::default());
            builder
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
            let (sender, driver) = builder.handshake(io).await.map_err(failed)?;
            (Sender::Http2(sender, scheme.as_str()), Box::pin(driver))
        } else {
            let mut builder = http1::Builder::new();
            builder.title_case_headers(true).max_headers(MAX_HEAD_LINES).max_buf_size(MAX_HEAD_BYTES);
            let (sender, driver) = builder.handshake(io).await.map_err(failed)?;
            (Sender::Http1(sender), Box::pin(driver))
        };
        Ok(Self { sender, driver: Some(driver), meter, peer, tls: None })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>, deadline: Instant) -> Step<Response<Incoming>> {
        self.meter.restart();
        let asked = match &mut self.sender {
            Sender::Http1(sender) => timeout_at(deadline, drive(&mut self.driver, sender.send_request(request))).await,
            Sender::Http2(sender, scheme) => {
                let request = for_http2(request, scheme)?;
                timeout_at(deadline, drive(&mut self.driver, sender.send_request(request))).await
            }
        };
        let phase = if self.meter.read().stuck_writing { Phase::Send } else { Phase::FirstByte };
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.explained(of_http(phase, &error))),
            Err(_) => Err(timeout(phase)),
        }
    }

    /// Where HTTP/2 was not agreed on but taken for granted, what comes back may be an answer in HTTP/1.1.
    fn explained(&self, failure: ProbeFailure) -> ProbeFailure {
        match (&self.sender, failure.cause) {
            (Sender::Http2(_, "http"), Cause::Protocol) => {
                let detail = format!("{}; perhaps it speaks HTTP/1.1 alone", failure.detail);
                ProbeFailure::new(failure.phase, failure.cause, detail)
            }
            _ => failure,
        }
    }

    /// The next part of a body, or its trailers; `None` at its end.
    pub(crate) async fn frame(&mut self, body: &mut Incoming, deadline: Instant) -> Step<Option<Frame<Bytes>>> {
        let next = timeout_at(deadline, drive(&mut self.driver, body.frame())).await;
        match next.map_err(|_| timeout(Phase::Body))? {
            None => Ok(None),
            Some(frame) => frame.map(Some).map_err(|error| of_http(Phase::Body, &error)),
        }
    }

    /// Reads at most `max` bytes of a body, handing them to `keep`. True when that was known to be all of it.
    pub(crate) async fn read(
        &mut self,
        body: &mut Incoming,
        max: u32,
        deadline: Instant,
        mut keep: impl FnMut(&[u8]),
    ) -> Step<bool> {
        let mut left = usize::try_from(max).unwrap_or(usize::MAX);
        while left > 0 && !body.is_end_stream() {
            let Some(frame) = self.frame(body, deadline).await? else { return Ok(true) };
            let data = frame.data_ref().map_or(&[][..], |data| data);
            let taken = data.len().min(left);
            keep(data.get(..taken).unwrap_or_default());
            if taken < data.len() {
                return Ok(false);
            }
            left -= taken;
        }
        Ok(body.is_end_stream())
    }

    /// Has the connection become idle, ready for another request?
    pub(crate) async fn settle(&mut self, deadline: Instant) -> bool {
        let end = deadline.min(Instant::now() + SETTLE);
        let ready = match &mut self.sender {
            Sender::Http1(sender) => timeout_at(end, drive(&mut self.driver, sender.ready())).await,
            Sender::Http2(sender, _) => timeout_at(end, drive(&mut self.driver, sender.ready())).await,
        };
        matches!(ready, Ok(Ok(()))) && self.driver.is_some()
    }

    /// Is it still open after having been left alone? Notices a far end that closed it or spoke unasked.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let Some(driver) = &mut self.driver else { return false };
        let over = poll_fn(|cx| Poll::Ready(driver.as_mut().poll(cx).is_ready())).await;
        if over {
            self.driver = None;
        }
        let ready = match &self.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender, _) => sender.is_ready(),
        };
        !over && ready
    }
}

/// The same request in HTTP/2: scheme and authority travel in its target, and nothing is said of the connection (RFC 9113, section 8.2.2).
fn for_http2(mut request: Request<Full<Bytes>>, scheme: &str) -> Step<Request<Full<Bytes>>> {
    let unsendable = || unprepared("the host or the path cannot be sent");
    let host = request.headers_mut().remove(HOST).ok_or_else(unsendable)?;
    let host = host.to_str().map_err(|_| unsendable())?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() =
        Uri::builder().scheme(scheme).authority(host).path_and_query(path).build().map_err(|_| unsendable())?;
    for name in [CONNECTION.as_str(), "keep-alive", "proxy-connection", "upgrade"] {
        request.headers_mut().remove(name);
    }
    Ok(request)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_have_ended_are_not_kept() {
        let tasks = Tasks::default();
        for _ in 0..100 {
            tasks.execute(async {});
            tokio::task::yield_now().await;
        }
        let kept = tasks.0.lock().unwrap().len();
        assert!(kept <= 2, "{kept}");
    }
}
