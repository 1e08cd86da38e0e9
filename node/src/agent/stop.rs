//! How an agent ends: by a signal it leaves the mesh first; by a conflict of identities it stops at once.

use super::drive::{Ask, Ended};
use super::start::Running;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Exit code: another process runs with this agent's identity.
const CONFLICT: u8 = 3;
/// Exit code: a second signal cut the leave short.
const CUT_SHORT: i32 = 1;
/// How long the others may take to hear of the leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

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
pub async fn wait(mut running: Running, mut signals: Signals) -> ExitCode {
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
            tokio::spawn(async move {
                signals.next().await;
                tracing::warn!("stopping at once; the others will take this agent for failed until they hear of its return");
                std::process::exit(CUT_SHORT);
            });
            leave(&running).await;
            ExitCode::SUCCESS
        }
    }
}

/// Readiness first, then the others are told, then the links are closed.
async fn leave(running: &Running) {
    running.published.leave();
    tracing::info!("leaving the mesh");
    let (reply, left) = oneshot::channel();
    let told = async {
        let asked = running.asks.send(Ask::Leave(reply)).await;
        asked.is_ok() && left.await.is_ok()
    };
    if !timeout(LEAVE_TIMEOUT, told).await.unwrap_or(false) {
        tracing::warn!("the others may not have heard of the leave; they will take this agent for failed");
    }
    running.transport.shutdown().await;
    tracing::info!("stopped");
}
