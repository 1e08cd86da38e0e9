//! A load of requests over kept connections: each sends so many at once, reads their answers, and sends again.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is asked, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Whom.
    pub address: SocketAddr,
    /// The request's bytes.
    pub request: Vec<u8>,
    /// The status that every answer must have.
    pub status: u16,
    /// Connections at once.
    pub connections: usize,
    /// Requests that a connection has in flight.
    pub pipelined: usize,
    /// For how long.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Answers.
    pub answers: u64,
    /// Time it took.
    pub time: Duration,
    /// Bytes of one answer's body.
    pub body_bytes: usize,
    /// How long each batch took, ascending, in microseconds.
    latencies_us: Vec<u32>,
}

impl Outcome {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.time.as_secs_f64()
    }

    /// The latency that so many of a hundred do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.latencies_us.len() * percent / 100).min(self.latencies_us.len().saturating_sub(1));
        Duration::from_micros(self.latencies_us.get(index).copied().unwrap_or(0).into())
    }
}

/// A request for a path over a kept connection, with further header lines.
pub fn request(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n").into_bytes()
}

/// Runs a load on this thread.
///
/// # Errors
/// When an answer is not what it should be, or a connection ends.
pub fn run(load: &Load) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..load.connections {
            clients.spawn(client(load.clone(), begun + load.time));
        }
        let mut whole = Outcome::default();
        while let Some(client) = clients.join_next().await {
            let part = client.map_err(io::Error::other)??;
            whole.answers += part.answers;
            whole.body_bytes = part.body_bytes;
            whole.latencies_us.extend(part.latencies_us);
        }
        whole.time = begun.elapsed();
        whole.latencies_us.sort_unstable();
        Ok(whole)
    })
}

async fn client(load: Load, end: Instant) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    let batch = load.request.repeat(load.pipelined);
    let mut answers = Answers::default();
    let mut outcome = Outcome::default();
    while Instant::now() < end {
        let begun = Instant::now();
        stream.write_all(&batch).await?;
        for _ in 0..load.pipelined {
            let (status, body_bytes) = answers.next(&mut stream).await?;
            if status != load.status {
                return Err(io::Error::other(format!("status {status} instead of {}", load.status)));
            }
            outcome.body_bytes = body_bytes;
        }
        outcome.answers += load.pipelined as u64;
        outcome.latencies_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(outcome)
}

/// Reads answers one after the other.
#[derive(Debug, Default)]
struct Answers {
    buffer: Vec<u8>,
    read: usize,
}

impl Answers {
    /// Status and length of the body of the next one.
    async fn next(&mut self, stream: &mut TcpStream) -> io::Result<(u16, usize)> {
        let mut searched = self.read;
        let head = loop {
            let from = searched.saturating_sub(3).max(self.read);
            if let Some(at) = find(&self.buffer[from..], b"\r\n\r\n") {
                break from + at + 4;
            }
            searched = self.buffer.len();
            self.fill(stream, &mut searched).await?;
        };
        let (status, length) = read_head(&self.buffer[self.read..head])?;
        self.read = head;
        while self.buffer.len() - self.read < length {
            let mut none = 0;
            self.fill(stream, &mut none).await?;
        }
        self.read += length;
        Ok((status, length))
    }

    /// Reads more; what has been taken makes room first.
    async fn fill(&mut self, stream: &mut TcpStream, searched: &mut usize) -> io::Result<()> {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            *searched = searched.saturating_sub(self.read);
            self.read = 0;
        }
        self.buffer.reserve(64 * 1024);
        if stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn read_head(head: &[u8]) -> io::Result<(u16, usize)> {
    let malformed = || io::Error::other(format!("no answer of HTTP/1.1: {:?}", String::from_utf8_lossy(head)));
    let text = std::str::from_utf8(head).map_err(|_| malformed())?;
    let status: u16 = text.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match length {
        Some((_, value)) if status != 304 => Ok((status, value.trim().parse().map_err(|_| malformed())?)),
        _ if status == 304 || status == 204 => Ok((status, 0)),
        _ => Err(malformed()),
    }
}
