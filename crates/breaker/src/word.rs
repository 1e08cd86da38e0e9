//! A status as one 64-bit word, so that a single compare-and-swap is a transition.
//!
//! From the lowest bit: 4 bits of code (mode and phase), 4 of attempt, 39 of moment, 17 of generation.

use crate::machine::{Mode, Moment, Phase, Status};
use quorate_core::Mono;

/// A packed [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// The eleven pairs of mode and phase that occur. A pair's place is its code; closed is zero, so that the commonest test is the cheapest.
const CODES: [(Mode, Phase); 11] = [
    (Mode::Automatic, Phase::Closed),
    (Mode::Automatic, Phase::Ramping),
    (Mode::Automatic, Phase::HalfOpen),
    (Mode::Automatic, Phase::Open),
    (Mode::ObserveOnly, Phase::Closed),
    (Mode::ObserveOnly, Phase::Ramping),
    (Mode::ObserveOnly, Phase::HalfOpen),
    (Mode::ObserveOnly, Phase::Open),
    (Mode::ForcedOpen, Phase::Open),
    (Mode::ForcedClosed, Phase::Closed),
    (Mode::Disabled, Phase::Closed),
];

const CODE_BITS: u32 = 4;
const ATTEMPT_BITS: u32 = 4;
const MOMENT_AT: u32 = CODE_BITS + ATTEMPT_BITS;
const GENERATION_AT: u32 = MOMENT_AT + Moment::BITS;
const CLOSED: u64 = 0;
const OPEN: u64 = 3;

impl Word {
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        // 17 bits are left.
        (self.0 >> GENERATION_AT) as u32
    }

    /// Automatic and closed: every call is admitted.
    #[inline]
    pub(crate) fn is_plainly_closed(self) -> bool {
        self.0 & ((1 << CODE_BITS) - 1) == CLOSED
    }

    /// Automatic and open, and its time has not come: no call is admitted.
    #[inline]
    pub(crate) fn is_plainly_open(self, now: Mono) -> bool {
        self.0 & ((1 << CODE_BITS) - 1) == OPEN && !self.moment().reached(now)
    }

    #[inline]
    pub(crate) fn moment(self) -> Moment {
        Moment((self.0 >> MOMENT_AT) & Moment::NEVER.0)
    }

    pub(crate) fn pack(status: Status) -> Self {
        let pair = (status.mode, status.phase);
        let code = CODES.iter().position(|other| *other == pair).unwrap_or_default() as u64;
        let attempt = u64::from(status.attempt) << CODE_BITS;
        Self(code | attempt | status.at.0 << MOMENT_AT | u64::from(status.generation) << GENERATION_AT)
    }

    pub(crate) fn unpack(self) -> Status {
        let code = (self.0 & ((1 << CODE_BITS) - 1)) as usize;
        let (mode, phase) = CODES.get(code).copied().unwrap_or(CODES[0]);
        let attempt = ((self.0 >> CODE_BITS) & ((1 << ATTEMPT_BITS) - 1)) as u8;
        Status { generation: self.generation(), mode, phase, attempt, at: self.moment() }
    }
}

/// Is generation `a` before `b`, both modulo 2^17?
pub(crate) fn is_before(a: u32, b: u32) -> bool {
    let half = 1 << (Status::GENERATION_BITS - 1);
    let ahead = b.wrapping_sub(a) & ((1 << Status::GENERATION_BITS) - 1);
    ahead != 0 && ahead < half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_a_whole_status() {
        for (mode, phase) in CODES {
            for at in [Moment(0), Moment(12_345_678_901), Moment::NEVER] {
                let status = Status { generation: (1 << 17) - 1, mode, phase, attempt: 15, at };
                assert_eq!(Word::pack(status).unpack(), status);
            }
        }
        assert_eq!(Word::pack(Status::default()).0, 0);
        assert_eq!(GENERATION_AT + Status::GENERATION_BITS, u64::BITS);
    }

    #[test]
    fn generations_wrap() {
        let last = (1 << Status::GENERATION_BITS) - 1;
        assert!(is_before(1, 2) && is_before(last, 0) && !is_before(0, last) && !is_before(3, 3));
    }
}
