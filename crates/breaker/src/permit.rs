//! What a caller gets and gives: permits, outcomes, refusals.

use crate::machine::Moment;
use crate::trials::Lease;
use quorate_core::{Evidence, Mono};
use std::fmt;

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The instance served it.
    Success,
    /// The instance failed it.
    Failure(Fault),
    /// Neither: cancelled, or the caller's own fault. It returns its permit and proves nothing.
    Neutral,
}

/// How a call failed. It matters where breakers are shared: silence may be the path's fault or the caller's own, an answer may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The far end spoke: it refused, or answered badly.
    Answer,
    /// Nothing was heard: no connection, no answer in time.
    Silence,
}

impl From<Evidence> for Outcome {
    /// The outcome of a call that failed with this evidence.
    fn from(evidence: Evidence) -> Self {
        match evidence {
            Evidence::Refused | Evidence::BadAnswer => Self::Failure(Fault::Answer),
            Evidence::Silence => Self::Failure(Fault::Silence),
            Evidence::Inconclusive => Self::Neutral,
        }
    }
}

/// The right to make one call. Hand it back with [`Breaker::record`](crate::Breaker::record).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a trial permit that is not handed back holds its place until its lease ends"]
pub struct Permit {
    generation: u32,
    /// A trial's place, or one of the two marks below.
    place: u8,
    word: u64,
}

/// What a permit stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// An ordinary call.
    Counted,
    /// A trial.
    Trial(Lease),
    /// A call that is let through without being counted.
    Void,
}

const COUNTED: u8 = u8::MAX;
const VOID: u8 = u8::MAX - 1;

impl Permit {
    #[inline]
    pub(crate) fn counted(generation: u32) -> Self {
        Self { generation, place: COUNTED, word: 0 }
    }

    pub(crate) fn void(generation: u32) -> Self {
        Self { generation, place: VOID, word: 0 }
    }

    pub(crate) fn trial(generation: u32, lease: Lease) -> Self {
        Self { generation, place: lease.place, word: lease.word }
    }

    #[inline]
    pub(crate) fn is_counted(&self) -> bool {
        self.place == COUNTED
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        match self.place {
            COUNTED => Kind::Counted,
            VOID => Kind::Void,
            place => Kind::Trial(Lease { place, word: self.word }),
        }
    }

    /// The generation in which it was given.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Is this one of the few trial calls of a half-open breaker?
    #[must_use]
    pub fn is_trial(&self) -> bool {
        matches!(self.kind(), Kind::Trial(_))
    }

    /// As numbers, for a caller in another process. A permit that comes back twice counts twice while closed, and once as a trial.
    #[must_use]
    pub fn into_parts(self) -> (u32, u8, u64) {
        (self.generation, self.place, self.word)
    }

    /// From the numbers of [`into_parts`](Self::into_parts). Invented ones do no more than a wrong outcome would: at most they count one
    /// call, in the generation they name.
    pub fn from_parts((generation, place, word): (u32, u8, u64)) -> Self {
        Self { generation, place, word }
    }
}

/// Why a call should not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Which limit stands in the way.
    pub why: Refusal,
    until: Moment,
}

/// Which limit stands in the way of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// The breaker is open.
    Open,
    /// It is half-open, and all its trial permits are out.
    TrialsOut,
    /// It has closed, and this call is not in the share that the ramp admits.
    Ramping,
    /// As many calls as are allowed at once are running.
    Busy,
}

/// The answer to a caller in two words, which travel in registers: as a `Result` it would be written to memory and read back at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer(u64, u64);

const REJECTED: u64 = 1 << 63;
const REFUSALS: [Refusal; 4] = [Refusal::Open, Refusal::TrialsOut, Refusal::Ramping, Refusal::Busy];

impl Answer {
    pub(crate) fn pack(answer: Result<Permit, Rejected>) -> Self {
        match answer {
            Ok(permit) => Self(u64::from(permit.generation) << 8 | u64::from(permit.place), permit.word),
            Err(rejected) => Self(REJECTED | rejected.why as u64, rejected.until.0),
        }
    }

    #[inline]
    pub(crate) fn unpack(self) -> Result<Permit, Rejected> {
        if self.0 & REJECTED == 0 {
            // 8 bits of place below 17 of generation.
            return Ok(Permit { generation: (self.0 >> 8) as u32, place: self.0 as u8, word: self.1 });
        }
        let why = REFUSALS.get((self.0 & !REJECTED) as usize).copied().unwrap_or(Refusal::Open);
        Err(Rejected { why, until: Moment(self.1) })
    }
}

impl Rejected {
    #[inline]
    pub(crate) fn open(until: Moment) -> Self {
        Self { why: Refusal::Open, until }
    }

    /// A refusal that no clock ends.
    pub(crate) fn without_time(why: Refusal) -> Self {
        Self { why, until: Moment::NEVER }
    }

    pub(crate) fn ramping(until: Moment) -> Self {
        Self { why: Refusal::Ramping, until }
    }

    /// When asking again makes sense, if the clock decides that.
    #[must_use]
    pub fn until(&self) -> Option<Mono> {
        self.until.time()
    }
}

impl Refusal {
    /// The word used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::TrialsOut => "trials_out",
            Self::Ramping => "ramping",
            Self::Busy => "busy",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Refusal::Open => "the circuit breaker is open",
            Refusal::TrialsOut => "the circuit breaker is half-open and its trial calls are under way",
            Refusal::Ramping => "the circuit breaker has closed and is ramping up",
            Refusal::Busy => "as many calls as are allowed at once are running",
        })
    }
}

impl std::error::Error for Rejected {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_in_two_words() {
        let lease = Lease { place: 7, word: u64::MAX };
        let generation = (1 << 17) - 1;
        for permit in [Permit::counted(generation), Permit::void(0), Permit::trial(generation, lease)] {
            let parts = (permit.generation, permit.place, permit.word);
            assert_eq!(Answer::pack(Ok(Permit::from_parts(parts))).unpack(), Ok(permit));
        }
        for why in REFUSALS {
            for until in [Moment::NEVER, Moment(12)] {
                assert_eq!(Answer::pack(Err(Rejected { why, until })).unpack(), Err(Rejected { why, until }));
            }
        }
    }
}
