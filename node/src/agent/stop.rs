//! How an agent ends: by a signal it leaves the mesh first, and comes back with its next start; told to leave for good, it does not; by a
//! conflict of identities it stops at once.

use super::clock::wall;
use super::drive::{Ask, Ended};
use super::start::Running;
use crate::api::words::time;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Exit code: another process runs with this agent's identity.
const CONFLICT: u8 = 3;
/// Exit code: a second signal cut the leave short.
const CUT_SHORT: i32 = 1;
/// How long the others may take to hear of the leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Signals within this time are one: some supervisors send it to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);
/// For the answer to whoever had the agent leave to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a leave went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// The others have agreed that this agent no longer counts.
    pub agreed: bool,
    /// It is noted that the agent does not come back by itself.
    pub noted: bool,
}

/// Has the agent leave its mesh for good; the answer comes when it has left, just before the process ends.
pub type LeaveForGood = oneshot::Sender<Departure>;

/// Requests to leave that may wait: the first one ends the process.
pub const LEAVE_QUEUE: usize = 1;

/// The signals that end an agent.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens for them from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits until the agent is to end, and ends it.
pub async fn wait(mut running: Running, mut signals: Signals, mut leaves: mpsc::Receiver<LeaveForGood>) -> ExitCode {
    tokio::select! {
        ended = &mut running.drive => match ended {
            Ok(Ended::Conflict(detail)) => {
                tracing::error!(detail, "this identity is in use by another process; stopping, so that only one speaks for it");
                running.transport.shutdown().await;
                ExitCode::from(CONFLICT)
            }
            Ok(Ended::NoTransport) => {
                tracing::error!("the transport ended; stopping");
                ExitCode::FAILURE
            }
            Err(error) => {
                tracing::error!(%error, "the engine broke off; stopping. This is a fault of the agent");
                ExitCode::FAILURE
            }
        },
        () = signals.next() => {
            cut_short(signals);
            leave(&running).await;
            running.transport.shutdown().await;
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Some(reply) = leaves.recv() => {
            cut_short(signals);
            let agreed = leave(&running).await;
            let noted = running.store.write_left(&time(wall()));
            if let Err(error) = &noted {
                tracing::error!(%error, "it could not be noted that this agent has left for good; it comes back with its next start");
            }
            let _ = reply.send(Departure { agreed, noted: noted.is_ok() });
            running.transport.shutdown().await;
            tokio::time::sleep(LAST_WORDS).await;
            tracing::info!("left for good");
            ExitCode::SUCCESS
        }
    }
}

/// From now on a further signal ends the process at once.
fn cut_short(mut signals: Signals) {
    let first = Instant::now();
    tokio::spawn(async move {
        signals.next().await;
        while first.elapsed() < SAME_SIGNAL {
            signals.next().await;
        }
        tracing::warn!("stopping at once; the others will take this agent for failed until they hear of its return");
        std::process::exit(CUT_SHORT);
    });
}

/// Readiness first, then the others are told. Have they agreed that this agent no longer counts?
async fn leave(running: &Running) -> bool {
    running.published.leave();
    tracing::info!("leaving the mesh");
    let (reply, left) = oneshot::channel();
    let told = async {
        let asked = running.asks.send(Ask::Leave(reply)).await;
        asked.is_ok() && left.await.unwrap_or(false)
    };
    let agreed = timeout(LEAVE_TIMEOUT, told).await.unwrap_or(false);
    if !agreed {
        tracing::warn!(
            "more than half of the mesh has not agreed to the leave in time; whoever has not heard of it will take this agent for failed"
        );
    }
    agreed
}
