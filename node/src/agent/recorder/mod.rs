//! Records the engine's inputs, for `quorate-sim replay`. The engine's task only hands over bytes; a thread of its own writes them. Whatever
//! goes wrong ends the recording and nothing else.

mod ring;

use crate::config::RecordSettings;
use crate::metrics::Metrics;
use quorate_core::{Mono, Now};
use quorate_mesh::recording::{Recorded, Segment};
use ring::Ring;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// What was recorded is written at least this often.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// And as soon as there is this much of it.
const WRITE_BYTES: usize = 64 * 1024;
/// Writes that may wait for the disk.
const MAX_WAITING: usize = 64;
/// How long the agent's end may wait for the last of them.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// The engine's side of a recording.
#[derive(Debug)]
pub struct Recorder {
    segments: Option<SyncSender<Segment>>,
    /// Closed when the writer has ended.
    ended: Receiver<()>,
    metrics: Arc<Metrics>,
    /// Bytes that each file may have, and that the current one has.
    limit: u64,
    written: u64,
    passed_at: Mono,
}

impl Recorder {
    /// Prepares a recording. When that fails, a warning says why, and there is none.
    pub fn open(settings: &RecordSettings, data_dir: &Path, metrics: Arc<Metrics>) -> Option<Self> {
        let path = data_dir.join(&settings.path);
        let opened = Ring::open(&path, settings.max_bytes).and_then(|ring| {
            let (segments, waiting) = sync_channel(MAX_WAITING);
            let (limit, counted) = (ring.limit(), Arc::clone(&metrics));
            let (open_until_then, ended) = sync_channel(0);
            let writer = std::thread::Builder::new().name("recorder".to_owned());
            writer.spawn(move || {
                write(ring, &waiting, &counted);
                drop(open_until_then);
            })?;
            Ok((limit, segments, ended))
        });
        match opened {
            Ok((limit, segments, ended)) => {
                tracing::info!(path = %path.display(), max_bytes = settings.max_bytes, "recording the engine's inputs");
                metrics.recording(true);
                Some(Self { segments: Some(segments), ended, metrics, limit, written: 0, passed_at: Mono::default() })
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "nothing is recorded");
                metrics.recording_failed();
                None
            }
        }
    }

    /// Hands over what was recorded, if it is time.
    pub fn pass_on(&mut self, engine: &mut Recorded, now: Now) {
        let due = now.mono.since(self.passed_at) >= WRITE_INTERVAL || engine.recorded_bytes() >= WRITE_BYTES;
        if due && engine.is_recording() {
            self.passed_at = now.mono;
            self.hand_over(engine);
        }
    }

    fn hand_over(&mut self, engine: &mut Recorded) {
        let segment = engine.take_recording();
        if segment.bytes.is_empty() {
            return;
        }
        let length = u64::try_from(segment.bytes.len()).unwrap_or(u64::MAX);
        self.written = if segment.begins { length } else { self.written.saturating_add(length) };
        if self.written > self.limit {
            tracing::info!("the recording has reached its bound and ends; it begins anew with the next start");
            return self.stop(engine);
        }
        let Some(segments) = &self.segments else { return };
        match segments.try_send(segment) {
            Ok(()) => {}
            // The writer has said why.
            Err(TrySendError::Disconnected(_)) => self.stop(engine),
            Err(TrySendError::Full(_)) => {
                tracing::warn!("the disk does not keep up; nothing more is recorded");
                self.metrics.recording_failed();
                self.stop(engine);
            }
        }
    }

    fn stop(&mut self, engine: &mut Recorded) {
        engine.stop_recording();
        self.segments = None;
        self.metrics.recording(false);
    }

    /// Hands over the rest and waits until it is written: the agent ends.
    pub fn finish(mut self, engine: &mut Recorded) {
        self.hand_over(engine);
        self.stop(engine);
        // Nothing is ever sent: this waits for the end of the writer, or of our patience.
        let _ = self.ended.recv_timeout(END_PATIENCE);
    }
}

/// Writes what comes until there is no more, or until it cannot be written.
fn write(mut ring: Ring, waiting: &Receiver<Segment>, metrics: &Metrics) {
    for Segment { begins, bytes } in waiting {
        let written = if begins { ring.begin(&bytes) } else { ring.append(&bytes) };
        if let Err(error) = written {
            tracing::warn!(%error, "the recording cannot be written and ends; the agent goes on without");
            metrics.recording_failed();
            return;
        }
        metrics.recorded(ring.bytes());
    }
}
