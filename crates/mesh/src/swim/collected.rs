//! What the SWIM library wants done in one turn.

use super::codec::SwimId;
use foca::{Message, Notification, Runtime, Timer};
use std::time::Duration;

/// Collects what the library wants; decided upon afterwards.
#[derive(Default)]
pub(super) struct Collected {
    pub sends: Vec<(SwimId, Vec<u8>)>,
    pub timers: Vec<(Timer<SwimId>, Duration)>,
    pub notes: Vec<Note>,
}

pub(super) enum Note {
    Up(SwimId),
    Down(SwimId),
    Rename(SwimId, SwimId),
    Rejoin,
    ProbeFailed(SwimId),
    Ack,
    Incarnation(u16),
}

impl Runtime<SwimId> for Collected {
    fn notify(&mut self, notification: Notification<'_, SwimId>) {
        let note = match notification {
            Notification::MemberUp(id) => Note::Up(*id),
            Notification::MemberDown(id) => Note::Down(*id),
            Notification::Rename(old, new) => Note::Rename(*old, *new),
            Notification::Rejoin(_) => Note::Rejoin,
            Notification::ProbeFailed(_, id) => Note::ProbeFailed(*id),
            Notification::DataReceived(header) => match header.message {
                Message::Ack(_) | Message::ForwardedAck { .. } => Note::Ack,
                _ => return,
            },
            Notification::DataSent(header) => Note::Incarnation(header.src_incarnation),
            Notification::Active | Notification::Idle | Notification::Defunct => return,
        };
        self.notes.push(note);
    }

    fn send_to(&mut self, to: SwimId, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<SwimId>, after: Duration) {
        self.timers.push((event, after));
    }
}
