//! One live connection to one peer: its loops for reading and writing, and its graceful end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, ReadToEndError, RecvStream, VarInt};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::forward;
use crate::hello::{Hello, VersionRange, stream_kind};
use crate::incoming::Incoming;
use crate::limits::{
    CHALLENGE_TIMEOUT, FLUSH_TIMEOUT, MAX_CONCURRENT_STREAMS, MAX_MESSAGE_BYTES, MESSAGE_TIMEOUT, PENDING_MESSAGES,
};
use crate::link_error::{LinkError, close_code};
use crate::peers::Shared;

/// A connection that passed the exchange of hellos.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: u64,
    pub(crate) address: SocketAddr,
    pub(crate) hello: Hello,
    /// The highest wire version that both speak; none on a link that is about to be refused.
    pub(crate) version: Option<u16>,
    pub(crate) dialled_by_us: bool,
    pub(crate) connection: Connection,
    pub(crate) messages: mpsc::Sender<Bytes>,
    pub(crate) since: Instant,
    retire: Notify,
    retirement: Mutex<Option<Retirement>>,
    pings: AtomicU64,
    pongs: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Retirement {
    code: u32,
    grace: Duration,
}

impl Link {
    pub(crate) fn new(
        peer: u64,
        (hello, versions): (Hello, VersionRange),
        dialled_by_us: bool,
        connection: Connection,
    ) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (messages, queue) = mpsc::channel(PENDING_MESSAGES);
        let link = Self {
            peer,
            address: connection.remote_address(),
            hello,
            version: versions.common(hello.versions),
            dialled_by_us,
            connection,
            messages,
            since: Instant::now(),
            retire: Notify::new(),
            retirement: Mutex::new(None),
            pings: AtomicU64::new(0),
            pongs: watch::Sender::new(0),
        };
        (Arc::new(link), queue)
    }

    /// Can the peer read what is written in this wire version? Who comes back as an older release cannot read what was meant for the newer one.
    pub(crate) fn reads(&self, version: u16) -> bool {
        self.version.is_some_and(|highest| (self.hello.versions.min..=highest).contains(&version))
    }

    pub(crate) fn is_live(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Of two links between the same processes, the one dialled by the lower id is kept.
    pub(crate) fn is_preferred(&self, own: u64) -> bool {
        self.dialled_by_us == (own < self.peer)
    }

    /// Flushes what is queued, reads on for `grace` (or until the peer closes), then closes.
    pub(crate) fn retire(&self, code: u32, grace: Duration) {
        let mut retirement = self.retirement.lock().unwrap_or_else(PoisonError::into_inner);
        retirement.get_or_insert(Retirement { code, grace });
        self.retire.notify_one();
    }

    fn retirement(&self) -> Retirement {
        let retirement = *self.retirement.lock().unwrap_or_else(PoisonError::into_inner);
        retirement.unwrap_or(Retirement { code: close_code::CLOSED, grace: Duration::ZERO })
    }

    /// Does the process at the other end still answer on this very link?
    pub(crate) async fn challenge(&self) -> bool {
        let number = self.pings.fetch_add(1, Ordering::Relaxed) + 1;
        let mut pongs = self.pongs.subscribe();
        let answered = async {
            if self.send_small(stream_kind::PING, number).await.is_none() {
                return false;
            }
            tokio::select! {
                answer = pongs.wait_for(|latest| *latest >= number) => answer.is_ok(),
                _ = self.connection.closed() => false,
            }
        };
        timeout(CHALLENGE_TIMEOUT, answered).await.unwrap_or(false)
    }

    async fn send_small(&self, kind: u8, number: u64) -> Option<()> {
        let mut stream = self.connection.open_uni().await.ok()?;
        let mut bytes = [kind; 9];
        bytes[1..].copy_from_slice(&number.to_le_bytes());
        stream.write_all(&bytes).await.ok()?;
        stream.finish().ok()
    }
}

/// Serves a link until it ends, then takes it off the table.
pub(crate) async fn run(shared: Arc<Shared>, link: Arc<Link>, queue: mpsc::Receiver<Bytes>) {
    let writer = async {
        write(&shared, &link, queue).await;
        let _ = timeout(link.retirement().grace, link.connection.closed()).await;
    };
    tokio::select! {
        () = read(&shared, &link) => {}
        () = writer => {}
    }
    link.connection.close(VarInt::from_u32(link.retirement().code), b"");
    shared.uninstall(&link);
    if let Some(error) = link.connection.close_reason() {
        let reason = LinkError::from_connection(&error, link.address);
        tracing::debug!(peer = format_args!("{:016x}", link.peer), %reason, "link ended");
        if reason.is_refusal_of_us() {
            shared.report_refusal(reason, Some(link.peer), link.address).await;
        }
    }
}

async fn write(shared: &Arc<Shared>, link: &Arc<Link>, mut queue: mpsc::Receiver<Bytes>) {
    let mut unacknowledged = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = queue.recv() => next,
            () = link.retire.notified() => {
                queue.close();
                continue;
            }
        };
        let Some(bytes) = next else { break };
        send_message(shared, link, bytes, &mut unacknowledged).await;
        while unacknowledged.try_join_next().is_some() {}
    }
    let _ = timeout(FLUSH_TIMEOUT, async { while unacknowledged.join_next().await.is_some() {} }).await;
}

async fn send_message(shared: &Arc<Shared>, link: &Link, bytes: Bytes, unacknowledged: &mut JoinSet<()>) {
    let length = bytes.len();
    let send = async {
        let mut stream = link.connection.open_uni().await.ok()?;
        stream.write_all(&[stream_kind::MESSAGE]).await.ok()?;
        stream.write_all_chunks(&mut [bytes]).await.ok()?;
        stream.finish().ok()?;
        Some(stream)
    };
    match timeout(MESSAGE_TIMEOUT, send).await {
        Ok(Some(stream)) => {
            shared.counters.messages_out.increment();
            shared.counters.message_bytes_out.add(length);
            unacknowledged.spawn(async move {
                let _ = stream.stopped().await;
            });
        }
        Ok(None) | Err(_) => shared.counters.dropped_link_lost.increment(),
    }
}

/// Reads datagrams, streams and requests until the connection ends.
async fn read(shared: &Arc<Shared>, link: &Arc<Link>) {
    tokio::join!(read_datagrams(shared, link), read_streams(shared, link), forward::serve(shared, link));
}

async fn read_datagrams(shared: &Shared, link: &Link) {
    while let Ok(bytes) = link.connection.read_datagram().await {
        let length = bytes.len();
        if shared.incoming.try_send(Incoming::Datagram { from: link.peer, bytes }).is_ok() {
            shared.counters.datagrams_in.increment();
            shared.counters.datagram_bytes_in.add(length);
        } else {
            shared.counters.dropped_incoming_full.increment();
        }
    }
}

async fn read_streams(shared: &Arc<Shared>, link: &Arc<Link>) {
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_STREAMS as usize));
    while let Ok(stream) = link.connection.accept_uni().await {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let (shared, link) = (Arc::clone(shared), Arc::clone(link));
        // Its own task, not a child of the link: a message that was read must reach the owner even if the link ends.
        tokio::spawn(async move {
            read_stream(&shared, &link, stream).await;
            drop(permit);
        });
    }
}

async fn read_stream(shared: &Shared, link: &Link, mut stream: RecvStream) {
    let mut kind = [0];
    let abandoned = || shared.counters.refused_stream.increment();
    match timeout(MESSAGE_TIMEOUT, stream.read_exact(&mut kind)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => return abandoned(),
    }
    match kind[0] {
        stream_kind::MESSAGE => read_message(shared, link, stream).await,
        stream_kind::PING => {
            if let Some(number) = read_number(&mut stream).await {
                let _ = timeout(MESSAGE_TIMEOUT, link.send_small(stream_kind::PONG, number)).await;
            }
        }
        stream_kind::PONG => {
            if let Some(number) = read_number(&mut stream).await {
                let asked = link.pings.load(Ordering::Relaxed);
                link.pongs.send_modify(|latest| *latest = (*latest).max(number.min(asked)));
            }
        }
        // A kind of a later version: not understood, so not wanted.
        _ => abandoned(),
    }
}

async fn read_number(stream: &mut RecvStream) -> Option<u64> {
    let mut bytes = [0; 8];
    timeout(MESSAGE_TIMEOUT, stream.read_exact(&mut bytes)).await.ok()?.ok()?;
    Some(u64::from_le_bytes(bytes))
}

async fn read_message(shared: &Shared, link: &Link, mut stream: RecvStream) {
    let Ok(_permit) = shared.messages_in_progress.acquire().await else { return };
    match timeout(MESSAGE_TIMEOUT, stream.read_to_end(MAX_MESSAGE_BYTES)).await {
        Ok(Ok(bytes)) => {
            let length = bytes.len();
            let event = Incoming::Message { from: link.peer, bytes: bytes.into() };
            if shared.incoming.send(event).await.is_ok() {
                shared.counters.messages_in.increment();
                shared.counters.message_bytes_in.add(length);
            }
        }
        Ok(Err(ReadToEndError::TooLong)) => {
            shared.counters.refused_oversize_message.increment();
            shared.warnings.other("oversize_message", &format!("agent {:016x} sent more than 1 MiB", link.peer));
        }
        Ok(Err(ReadToEndError::Read(_))) | Err(_) => shared.counters.refused_stream.increment(),
    }
}
