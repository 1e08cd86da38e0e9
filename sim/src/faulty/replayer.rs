//! A member that sends again what it once heard: old packets, batches, certificates, tables, under its own name as the transport has it.

use super::craft::Hand;
use super::{Mischief, bytes_in};
use quorate_mesh::{Input, MeshView};
use std::collections::VecDeque;

/// Packets it remembers; every so many-th is kept, so that its memory reaches back.
const MEMORY: usize = 512;
const EVERY: u64 = 3;
/// Packets it sends again at a time.
const REPLAYS: usize = 6;

/// The replayer.
#[derive(Default)]
pub struct Replayer {
    heard: VecDeque<(Vec<u8>, bool)>,
    count: u64,
}

impl Mischief for Replayer {
    fn hear(&mut self, _hand: &mut Hand, input: Input) -> Option<Input> {
        if let Some((_, bytes, stream)) = bytes_in(&input) {
            self.count += 1;
            if self.count.is_multiple_of(EVERY) {
                if self.heard.len() == MEMORY {
                    self.heard.pop_front();
                }
                self.heard.push_back((bytes.to_vec(), stream));
            }
        }
        Some(input)
    }

    fn act(&mut self, hand: &mut Hand, view: &MeshView) {
        let others = hand.others(view);
        for _ in 0..REPLAYS {
            let which = hand.below(self.heard.len());
            if let (Some(to), Some((bytes, stream))) = (hand.pick(&others), self.heard.get(which)) {
                hand.send_bytes(to, bytes.clone(), *stream);
            }
        }
        // And what was once proved of something that is otherwise now.
        let old: Vec<_> = view.instances.values().filter_map(|instance| instance.certificate.clone()).collect();
        if let (Some(to), Some(certificate)) = (hand.pick(&others), hand.pick(&old)) {
            hand.send(to, &quorate_wire::Packet::push(&[], &[certificate]));
        }
    }
}
