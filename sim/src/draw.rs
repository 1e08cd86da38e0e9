//! Random choices without a generator: every draw is a pure function of the seed, what it is for, whom it concerns and a number.
//!
//! So no draw depends on how many came before it elsewhere, and removing one fault from a plan shifts no other draw. That makes two runs
//! of slightly different plans comparable, and plans shrinkable.

use quorate_core::hash;

/// What a draw is for; two purposes never share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// An agent's identity.
    Identity = 1,
    /// The mesh's secret.
    Secret = 2,
    /// The seed of an engine.
    Engine = 3,
    /// An agent's wall clock.
    Clock = 4,
    /// When an agent starts.
    Start = 5,
    /// Whom an agent asks to let it in.
    Sponsor = 6,
    /// Is a datagram lost?
    Loss = 7,
    /// How long a packet travels.
    Latency = 8,
    /// Is a flight of a handshake lost?
    Handshake = 9,
    /// When a stream recovers after a cut.
    Recovery = 10,
    /// Is a probe's packet lost, and how long does it take?
    Probe = 11,
    /// The choices of a drawn plan.
    Plan = 12,
    /// When a link's next sign of life is sent.
    KeepAlive = 13,
    /// When a burst of loss comes, and how long it is.
    Burst = 14,
    /// Is a packet delayed, and by how much?
    Delay = 15,
    /// Does a datagram arrive twice, and when again?
    Duplicate = 16,
    /// When calls are made, and what comes of them.
    Call = 42,
    /// Callers of a drawn plan.
    Callers = 43,
    /// Who is faulty or abandoned in a drawn plan.
    Members = 41,
    /// What a faulty member does.
    Faulty = 40,
}

/// The draws of one run.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    seed: u64,
}

impl Draws {
    /// The draws of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// 64 bits for `purpose`, about `src` and `dst`, the `n`-th of its kind.
    pub fn bits(self, purpose: Purpose, src: u64, dst: u64, n: u64) -> u64 {
        hash::mix(&[self.seed, purpose as u64, src, dst, n])
    }

    /// A whole number from `low` to `high`, both included.
    pub fn within(self, (low, high): (u64, u64), purpose: Purpose, src: u64, dst: u64, n: u64) -> u64 {
        scale(self.bits(purpose, src, dst, n), low, high)
    }

    /// True in `per_mille` of a thousand cases.
    pub fn chance(self, per_mille: u32, purpose: Purpose, src: u64, dst: u64, n: u64) -> bool {
        per_mille > 0 && scale(self.bits(purpose, src, dst, n), 0, 999) < u64::from(per_mille)
    }
}

/// Maps 64 random bits to a whole number from `low` to `high`, both included.
pub fn scale(bits: u64, low: u64, high: u64) -> u64 {
    let width = u128::from(high.saturating_sub(low)) + 1;
    low + u64::try_from((u128::from(bits) * width) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_their_bounds_and_use_them() {
        let draws = Draws::new(7);
        let values: Vec<u64> = (0..1000).map(|n| draws.within((3, 6), Purpose::Latency, 1, 2, n)).collect();
        assert_eq!(values.iter().min(), Some(&3));
        assert_eq!(values.iter().max(), Some(&6));
        let lost = (0..10_000).filter(|n| draws.chance(100, Purpose::Loss, 1, 2, *n)).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert!(!draws.chance(0, Purpose::Loss, 1, 2, 3));
    }

    #[test]
    fn a_draw_depends_on_all_it_is_given() {
        let draws = Draws::new(7);
        let one = draws.bits(Purpose::Loss, 1, 2, 3);
        assert_eq!(one, Draws::new(7).bits(Purpose::Loss, 1, 2, 3));
        for other in [
            draws.bits(Purpose::Latency, 1, 2, 3),
            draws.bits(Purpose::Loss, 2, 1, 3),
            draws.bits(Purpose::Loss, 1, 2, 4),
            Draws::new(8).bits(Purpose::Loss, 1, 2, 3),
        ] {
            assert_ne!(one, other);
        }
    }
}
