//! The bytes of a recording: a mark, then frames. A frame is a length and its check, that many bytes, and the check of these and of all
//! frames before. So a file that ends in the middle of a frame, because the process or the disk did, is told from one that was changed.

use crate::api::Input;
use crate::config::EngineConfig;
use quorate_core::hash::{self, mix};
use quorate_core::{AgentId, Mono, Now, UnixMs};
use quorate_wire::{decode_value, decode_value_prefix, encode_value};
use serde::{Deserialize, Serialize};

/// The first bytes of every recording.
pub const MAGIC: &[u8; 6] = b"QRTREC";
/// The version of the format, after the mark, in two bytes.
pub const FORMAT: u16 = 2;
/// Bytes of the mark and the version.
pub(super) const MARK_BYTES: usize = MAGIC.len() + 2;
/// Bytes before a frame's content: length and check.
const HEAD_BYTES: usize = 8;
/// Bytes after it.
const TAIL_BYTES: usize = 8;
/// Largest content of a frame.
const MAX_FRAME_BYTES: usize = 256 * 1024 * 1024;

/// What the keys answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Signed(Vec<u8>),
    Admitted(Option<AgentId>),
    Verified(bool),
}

/// The first frame: from where the engine runs again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// Of the software that recorded.
    pub software: String,
    pub base: Base,
    pub now: Now,
    /// What the keys answered while it started, and the digests of what it then put out.
    pub answers: Vec<Answer>,
    pub outputs: Vec<u64>,
}

/// A state that an engine can be put into.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Base {
    /// A start of the process, with what it had stored.
    Start { config: EngineConfig, stored: Option<Vec<u8>> },
}

/// One input, and what came of it.
#[derive(Debug)]
pub(super) struct Turn {
    pub now: Now,
    pub input: Input,
    pub answers: Vec<Answer>,
    pub outputs: Vec<u64>,
}

/// Why bytes are no recording, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something else.
    #[error("this is not a recording of an agent")]
    Foreign,
    /// Another version of the format.
    #[error("the recording has format {0}, this program reads {FORMAT}; use the release that recorded it")]
    Format(u16),
    /// It ends before the engine could be started.
    #[error("the recording ends within its first {0} bytes, before anything can be replayed")]
    TooShort(usize),
    /// Bytes have been changed.
    #[error("the recording is damaged at byte {at}: {what}")]
    Changed {
        /// Where the frame begins.
        at: usize,
        /// In words.
        what: String,
    },
}

/// The mark that begins a recording.
pub(super) fn mark() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes
}

fn length_check(length: u32, previous: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "half of a digest is a digest")]
    let check = mix(&[previous, u64::from(length)]) as u32;
    check
}

/// Appends a frame to `bytes`. `chain` is the check of the frame before, and becomes that of this one.
pub(super) fn put_frame(bytes: &mut Vec<u8>, chain: &mut u64, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
    bytes.extend(length_check(length, *chain).to_le_bytes());
    bytes.extend(content);
    *chain = mix(&[*chain, hash::bytes(content)]);
    bytes.extend(chain.to_le_bytes());
}

/// Appends one turn to a block; `last` is the time of the turn before. Times are kept as steps, which are short.
pub(super) fn put_turn(block: &mut Vec<u8>, last: Now, now: Now, input: &[u8], answers: &[Answer], outputs: &[u64]) {
    let step = |now: u64, last: u64| now.wrapping_sub(last).cast_signed();
    block.extend(encode_value(&(step(now.mono.0, last.mono.0), step(now.wall.0, last.wall.0))));
    block.extend(input);
    block.extend(encode_value(&(answers, outputs)));
}

/// Reads the frames of a recording one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    chain: u64,
    /// Turns of the current frame that are still to be read, and where the frame began.
    block: &'a [u8],
    began: usize,
    last: Now,
}

impl<'a> Reader<'a> {
    /// Reads the mark and the header.
    pub fn open(bytes: &'a [u8]) -> Result<(Self, Header), Damage> {
        let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or(Damage::Foreign)?;
        if magic != MAGIC {
            return Err(Damage::Foreign);
        }
        let Some(version) = rest.first_chunk() else { return Err(Damage::TooShort(bytes.len())) };
        let version = u16::from_le_bytes(*version);
        if version != FORMAT {
            return Err(Damage::Format(version));
        }
        let mut reader = Self { bytes, at: MARK_BYTES, chain: 0, block: &[], began: 0, last: Now::default() };
        let header = reader.frame()?.ok_or(Damage::TooShort(bytes.len()))?;
        let header: Header = decode_value(header).map_err(|error| reader.changed(error))?;
        reader.last = header.now;
        Ok((reader, header))
    }

    /// The next turn; none at the end, or where the file was cut off.
    pub fn turn(&mut self) -> Result<Option<Turn>, Damage> {
        while self.block.is_empty() {
            let Some(block) = self.frame()? else { return Ok(None) };
            self.block = block;
        }
        type Parts = (i64, i64, Input, Vec<Answer>, Vec<u64>);
        let (parts, used) = decode_value_prefix::<Parts>(self.block).map_err(|error| self.changed(error))?;
        self.block = &self.block[used..];
        let (mono, wall, input, answers, outputs) = parts;
        let mono = Mono(self.last.mono.0.wrapping_add_signed(mono));
        self.last = Now { mono, wall: UnixMs(self.last.wall.0.wrapping_add_signed(wall)) };
        Ok(Some(Turn { now: self.last, input, answers, outputs }))
    }

    /// Bytes after the last whole frame.
    pub fn torn(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn changed(&self, what: impl ToString) -> Damage {
        Damage::Changed { at: self.began, what: what.to_string() }
    }

    /// The content of the next frame; none when the file ends before it does.
    fn frame(&mut self) -> Result<Option<&'a [u8]>, Damage> {
        self.began = self.at;
        let rest = &self.bytes[self.at..];
        let Some(head) = rest.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h] = *head;
        let (length, check) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if check != length_check(length, self.chain) {
            return Err(self.changed("a length is not what was written"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(self.changed("a record is longer than any"));
        }
        let Some((content, after)) = rest[HEAD_BYTES..].split_at_checked(length) else { return Ok(None) };
        let Some(check) = after.first_chunk::<TAIL_BYTES>() else { return Ok(None) };
        let chain = mix(&[self.chain, hash::bytes(content)]);
        if u64::from_le_bytes(*check) != chain {
            return Err(self.changed("the bytes are not what was written"));
        }
        self.chain = chain;
        self.at += HEAD_BYTES + length + TAIL_BYTES;
        Ok(Some(content))
    }
}
