//! Connections of the API: so many at once, and none that is slow or silent for long. A client that opens them and says nothing must not
//! use up the descriptors that the agent needs for its probes.

use super::limits::{
    HEADER_TIMEOUT, Limit, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUESTS_AT_ONCE, MAX_SILENCE,
    PING_INTERVAL,
};
use super::tls::Certificates;
use crate::access::Channel;
use crate::metrics::{Counted, Metrics};
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::ServiceExt;

/// After the system could not give a connection, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// How.
    pub channel: Channel,
}

/// By which way requests come in.
#[derive(Debug, Clone)]
pub enum Entrance {
    /// In the clear, on loopback or elsewhere.
    Clear(Channel),
    /// By TLS with this certificate.
    Tls(Arc<Certificates>),
}

impl Entrance {
    /// Over which channel that is.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Clear(channel) => *channel,
            Self::Tls(_) => Channel::Secure,
        }
    }
}

/// What a server keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Longest time until the headers of a request are there.
    pub header_timeout: Duration,
    /// Longest time in which nothing moves.
    pub silence: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: MAX_CONNECTIONS, header_timeout: HEADER_TIMEOUT, silence: MAX_SILENCE }
    }
}

/// Serves every connection that comes, for ever.
pub async fn run(listener: TcpListener, router: Router, metrics: Arc<Metrics>, bounds: Bounds, entrance: Entrance) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let place = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => {
                metrics.limit_hit(Limit::Connections);
                // The semaphore is never closed.
                Arc::clone(&places).acquire_owned().await.ok()
            }
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let open = (place, metrics.connection());
                let peer = Peer { address: peer, channel: entrance.channel() };
                let (router, metrics, entrance) = (router.clone(), Arc::clone(&metrics), entrance.clone());
                tokio::spawn(enter(stream, entrance, peer, router, metrics, bounds, open));
            }
            Err(error) => {
                tracing::debug!(%error, "no connection could be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

type Open = (Option<OwnedSemaphorePermit>, Counted);

/// Shakes hands where that is asked for, within the time in which headers must come.
async fn enter(
    stream: TcpStream,
    entrance: Entrance,
    peer: Peer,
    router: Router,
    metrics: Arc<Metrics>,
    bounds: Bounds,
    open: Open,
) {
    let certificates = match entrance {
        Entrance::Clear(_) => {
            // Nothing says it but the first bytes. Who sends none in time is ended as one that sends no headers.
            let Ok(http2) = timeout(bounds.header_timeout, begins_http2(&stream)).await else { return };
            return serve(stream, http2, peer, router, metrics, bounds, open).await;
        }
        Entrance::Tls(certificates) => certificates,
    };
    match timeout(bounds.header_timeout, certificates.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(stream, http2, peer, router, metrics, bounds, open).await;
        }
        Ok(Err(error)) => {
            metrics.tls_failed();
            tracing::debug!(peer = %peer.address, %error, "a connection of the API is not TLS as it should be");
        }
        Err(_) => metrics.limit_hit(Limit::HeaderTime),
    }
}

/// Does the client speak HTTP/2 by prior knowledge (RFC 9113, section 3.3)? No method of HTTP/1.1 begins like its preface.
async fn begins_http2(stream: &TcpStream) -> bool {
    const BEGINNING: &[u8] = b"PRI";
    let mut first = [0; BEGINNING.len()];
    let peeked = stream.peek(&mut first).await.unwrap_or(0);
    &first[..peeked] == BEGINNING
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    http2: bool,
    peer: Peer,
    router: Router,
    metrics: Arc<Metrics>,
    bounds: Bounds,
    _open: Open,
) {
    let unanswered = Arc::new(AtomicBool::new(false));
    let quiet = Box::pin(sleep(bounds.silence));
    let connection = Connection {
        stream,
        quiet,
        silence: bounds.silence,
        unanswered: Arc::clone(&unanswered),
        metrics: Arc::clone(&metrics),
    };
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let connection = TokioIo::new(connection);
    let served = if http2 {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
            .max_concurrent_streams(MAX_REQUESTS_AT_ONCE)
            .keep_alive_interval(PING_INTERVAL)
            .serve_connection(connection, answer)
            .await
    } else {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.header_timeout)
            .max_buf_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(connection, answer)
            .await
    };
    if let Err(error) = served {
        if error.is_timeout() && unanswered.load(Ordering::Relaxed) {
            metrics.limit_hit(Limit::HeaderTime);
        } else if error.is_parse_too_large() {
            metrics.limit_hit(Limit::Headers);
        }
        tracing::debug!(peer = %peer.address, %error, "a connection of the API ended");
    }
}

/// A connection that ends when it is silent for too long.
struct Connection<S> {
    stream: S,
    quiet: Pin<Box<Sleep>>,
    silence: Duration,
    /// Something came, and nothing was sent since.
    unanswered: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl<S> Connection<S> {
    /// Puts off the end if something moved, and ends what has been silent for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.quiet.as_mut().reset(Instant::now() + self.silence);
            return moved;
        }
        self.quiet.as_mut().poll(cx).map(|()| {
            self.metrics.limit_hit(Limit::Silence);
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let moved = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.unanswered.store(true, Ordering::Relaxed);
        }
        self.watch(cx, moved)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unanswered.store(false, Ordering::Relaxed);
        self.watch(cx, moved)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unanswered.store(false, Ordering::Relaxed);
        self.watch(cx, moved)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start(bounds: Bounds) -> (SocketAddr, Arc<Metrics>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let router =
            Router::new().route("/", get(|| async { "yes" })).route("/much", get(|| async { "x".repeat(64 << 20) }));
        tokio::spawn(run(listener, router, Arc::clone(&metrics), bounds, Entrance::Clear(Channel::Local)));
        (address, metrics)
    }

    async fn ask(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn hits(metrics: &Metrics, limit: Limit) -> u64 {
        metrics.limit_hits(limit)
    }

    const WHOLE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn half_a_request_makes_place_after_its_time() {
        let short = Bounds { connections: 1, header_timeout: Duration::from_millis(200), ..Bounds::default() };
        let (address, metrics) = start(short).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        let answer = ask(address, WHOLE).await;
        assert!(answer.ends_with("yes"), "{answer}");
        let mut rest = Vec::new();
        let _ = slow.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"yes"));
        assert_eq!((hits(&metrics, Limit::HeaderTime), hits(&metrics, Limit::Connections) > 0), (1, true));
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off() {
        let short = Bounds { silence: Duration::from_millis(300), ..Bounds::default() };
        let (address, metrics) = start(short).await;
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let begun = std::time::Instant::now();
        while hits(&metrics, Limit::Silence) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "a reader that reads nothing is still served");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn headers_have_a_size() {
        let (address, metrics) = start(Bounds::default()).await;
        let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEADER_BYTES));
        assert!(ask(address, &large).await.starts_with("HTTP/1.1 431"));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS));
        assert!(ask(address, &many).await.starts_with("HTTP/1.1 431"));
        assert_eq!(hits(&metrics, Limit::Headers), 2);
        assert!(ask(address, WHOLE).await.ends_with("yes"));
    }
}
