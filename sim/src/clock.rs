//! An agent's clocks: one that only runs, fast or slow by some millionths, and a calendar, which may also be set anew.
//!
//! Both follow from the plan alone, so that the moment at which a clock showed something can be told as well.

use crate::time::SimTime;
use quorate_core::UnixMs;

/// From some moment on the clock runs at one pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    from: SimTime,
    /// What the running clock shows at that moment, in nanoseconds since the start of the run.
    shows: u64,
    /// Fast by so many millionths; slow when negative.
    ppm: i64,
    /// How far the calendar is ahead of where it would have run by itself, in milliseconds.
    set_ahead_ms: i64,
}

/// An agent's clocks during a whole run.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The calendar at the start of the run, in milliseconds since 1970.
    begins_ms: u64,
    pieces: Vec<Piece>,
}

const MILLION: i128 = 1_000_000;

impl Piece {
    fn running(&self, at: SimTime) -> u64 {
        let passed = at.0 - self.from.0;
        if self.ppm == 0 {
            return self.shows + passed;
        }
        let own = i128::from(passed) * (MILLION + i128::from(self.ppm)) / MILLION;
        self.shows + u64::try_from(own).unwrap_or(0)
    }

    /// The first moment at which the running clock shows `shown` or more, were this the last piece.
    fn moment(&self, shown: u64) -> SimTime {
        let ahead = shown.saturating_sub(self.shows);
        if self.ppm == 0 {
            return SimTime(self.from.0.saturating_add(ahead));
        }
        let pace = MILLION + i128::from(self.ppm);
        let passed = (i128::from(ahead) * MILLION + pace - 1) / pace;
        SimTime(self.from.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}

impl Clock {
    /// A clock that runs evenly.
    pub fn new(begins_ms: u64) -> Self {
        Self { begins_ms, pieces: vec![Piece { from: SimTime::START, shows: 0, ppm: 0, set_ahead_ms: 0 }] }
    }

    /// From `at` on, which must not be before any earlier change, it runs faster by so many millionths and its calendar is set ahead.
    pub fn change(&mut self, at: SimTime, faster_ppm: i64, set_ahead_ms: i64) {
        let last = *self.piece(SimTime::NEVER);
        let next = Piece {
            from: at,
            shows: last.running(at),
            ppm: last.ppm + faster_ppm,
            set_ahead_ms: last.set_ahead_ms + set_ahead_ms,
        };
        self.pieces.push(next);
    }

    fn piece(&self, at: SimTime) -> &Piece {
        let after = self.pieces.partition_point(|piece| piece.from <= at);
        &self.pieces[after.saturating_sub(1)]
    }

    /// What the running clock shows at `at`, in nanoseconds.
    pub fn running(&self, at: SimTime) -> u64 {
        self.piece(at).running(at)
    }

    /// The first moment at which the running clock shows `shown` or more.
    pub fn moment(&self, shown: u64) -> SimTime {
        let after = self.pieces.partition_point(|piece| piece.shows <= shown);
        self.pieces[after.saturating_sub(1)].moment(shown)
    }

    /// What the calendar shows at `at`.
    pub fn calendar(&self, at: SimTime) -> UnixMs {
        let piece = self.piece(at);
        UnixMs((self.begins_ms + piece.running(at) / 1_000_000).saturating_add_signed(piece.set_ahead_ms))
    }

    /// The last moment up to `now` from which on the calendar showed `ms`. When it never did: the moment at which it leapt over it, or at
    /// which it will.
    pub fn moment_of(&self, ms: u64, now: SimTime) -> SimTime {
        let (mut end, mut otherwise) = (SimTime::NEVER, None);
        for piece in self.pieces.iter().rev() {
            let end = std::mem::replace(&mut end, piece.from);
            if piece.from > now {
                continue;
            }
            let own_ms = ms.saturating_add_signed(-piece.set_ahead_ms).saturating_sub(self.begins_ms);
            let at = piece.moment(own_ms.saturating_mul(1_000_000)).max(piece.from);
            let begins_before = self.calendar(piece.from).0 <= ms;
            if begins_before && at < end && at <= now {
                return at;
            }
            if begins_before {
                otherwise = otherwise.or(Some(at.min(end)));
            }
        }
        otherwise.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SimTime {
        SimTime::from_ms(ms)
    }

    #[test]
    fn an_even_clock_shows_the_time() {
        let clock = Clock::new(1_000);
        assert_eq!(clock.running(at(1500)), 1_500_000_000);
        assert_eq!(clock.calendar(at(1500)), UnixMs(2500));
        assert_eq!((clock.moment(7), clock.moment_of(2500, at(9000))), (SimTime(7), at(1500)));
    }

    #[test]
    fn a_fast_clock_gains_and_is_read_back() {
        let mut clock = Clock::new(0);
        clock.change(at(1000), 100_000, 0);
        clock.change(at(2000), -100_000, 0);
        assert_eq!([1000, 1500, 2000, 3000].map(|ms| clock.calendar(at(ms)).0), [1000, 1550, 2100, 3100]);
        for shown in [0, 999, 1000, 1001, 1550, 2099, 2100, 2500] {
            let shown = shown * 1_000_000;
            let moment = clock.moment(shown);
            assert!(clock.running(moment) >= shown && (moment.0 == 0 || clock.running(SimTime(moment.0 - 1)) < shown));
        }
        let mut slow = Clock::new(0);
        slow.change(at(0), -300_000, 0);
        assert_eq!(slow.moment(700_000_000), at(1000));
    }

    #[test]
    fn a_calendar_set_back_shows_some_times_twice_and_the_last_counts() {
        let mut clock = Clock::new(10_000);
        clock.change(at(5000), 0, -2000);
        assert_eq!([4999, 5000, 7000].map(|ms| clock.calendar(at(ms)).0), [14_999, 13_000, 15_000]);
        assert_eq!(clock.moment_of(14_000, at(5500)), at(4000), "the second time is yet to come");
        assert_eq!(clock.moment_of(14_000, at(6500)), at(6000));
        assert_eq!(clock.running(at(7000)), 7_000_000_000, "the running clock does not care");
    }

    #[test]
    fn what_a_calendar_leapt_over_was_at_the_leap() {
        let mut clock = Clock::new(0);
        clock.change(at(5000), 0, 3000);
        assert_eq!([clock.moment_of(6000, at(9000)), clock.moment_of(8500, at(9000))], [at(5000), at(5500)]);
    }
}
