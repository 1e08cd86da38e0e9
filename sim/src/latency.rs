//! How long packets travel: a distribution, and what lies between zones.

use crate::draw::{Draws, Purpose};
use crate::plan::{Distribution, NetworkPlan};

/// Quantiles of the standard normal distribution in thousandths, at 0, 1/32, ... of its upper half.
const QUANTILES: [i64; 32] = [
    0, 39, 78, 118, 157, 197, 237, 278, 319, 360, 402, 445, 489, 533, 579, 626, 674, 724, 776, 830, 887, 947, 1010,
    1078, 1150, 1229, 1318, 1418, 1534, 1676, 1863, 2154,
];
/// The same of the last of these parts, at 0, 1/8, ... of it; the last one stands for 0.9995.
const TAIL: [i64; 9] = [2154, 2206, 2266, 2335, 2418, 2520, 2660, 2885, 3291];
/// The 99th percentile of the same.
const P99: i64 = 2326;
/// One, in fixed point.
const ONE: i64 = 1 << 16;

/// The travel of packets without any fault.
#[derive(Debug, Clone)]
pub struct Latency {
    low_us: u64,
    high_us: u64,
    /// For the lognormal: the binary logarithm of the 99th percentile over the median, in fixed point.
    log_ratio: Option<i64>,
    /// Microseconds added from zone to zone.
    between: Vec<Vec<u64>>,
    zones: usize,
}

impl Latency {
    /// As the plan has it; agents are dealt to `zones` in turn.
    pub fn new(plan: &NetworkPlan, zones: usize) -> Self {
        let [low_us, high_us] = plan.latency_us;
        let lognormal = plan.distribution == Distribution::Lognormal;
        let log_ratio = lognormal.then(|| log2(high_us) - log2(low_us));
        Self { low_us, high_us, log_ratio, between: plan.between_zones_us.clone(), zones }
    }

    /// The most microseconds that one travel takes, but for one in two thousand where they are lognormal.
    pub fn longest_us(&self, from: usize, to: usize) -> u64 {
        let base = self.log_ratio.map_or(self.high_us, |ratio| scale(self.low_us, ratio * TAIL[TAIL.len() - 1] / P99));
        base + self.between_us(from, to)
    }

    fn between_us(&self, from: usize, to: usize) -> u64 {
        self.between.get(from % self.zones).and_then(|row| row.get(to % self.zones)).copied().unwrap_or(0)
    }

    /// Microseconds of one travel.
    pub fn travel_us(&self, draws: Draws, purpose: Purpose, from: usize, to: usize, n: u64) -> u64 {
        let (src, dst) = (from as u64, to as u64);
        let base = match self.log_ratio {
            None => draws.within((self.low_us, self.high_us), purpose, src, dst, n),
            Some(log_ratio) => lognormal(self.low_us, log_ratio, draws.bits(purpose, src, dst, n)),
        };
        base + self.between_us(from, to)
    }
}

/// The lognormal's value for 64 random bits: `median x 2^(log_ratio x z / P99)`, z being normal.
fn lognormal(median_us: u64, log_ratio: i64, bits: u64) -> u64 {
    let (upper, place) = (bits >> 63 == 1, (bits >> 58 & 31) as usize);
    let (table, place, rest) = match QUANTILES.get(place + 1) {
        Some(_) => (QUANTILES.as_slice(), place, bits << 6),
        None => (TAIL.as_slice(), (bits >> 55 & 7) as usize, bits << 9),
    };
    let fraction = (rest >> 48) as i64;
    let z = table[place] + (table[place + 1] - table[place]) * fraction / ONE;
    let exponent = log_ratio * z / P99;
    scale(median_us, if upper { exponent } else { -exponent })
}

/// `value x 2^exponent`, the exponent in fixed point; at least one. The fraction by 2^f = 1 + f x (0.6565 + 0.3435 f), at most 0.2 % off.
fn scale(value: u64, exponent: i64) -> u64 {
    let (whole, fraction) = (exponent.div_euclid(ONE), exponent.rem_euclid(ONE));
    let power = ONE + fraction * (43_024 + 22_512 * fraction / ONE) / ONE;
    let scaled = u128::from(value) * power.unsigned_abs() as u128;
    let shifted = if whole >= 0 { scaled << whole.min(40) } else { scaled >> (-whole).min(80) };
    u64::try_from(shifted / ONE.unsigned_abs() as u128).unwrap_or(u64::MAX).max(1)
}

/// The binary logarithm in fixed point, linear between powers of two: at most 0.09 too small.
fn log2(value: u64) -> i64 {
    let Some(power) = value.checked_ilog2() else { return 0 };
    let floor = 1u64 << power;
    i64::from(power) * ONE
        + i64::try_from(u128::from(value - floor) * ONE.unsigned_abs() as u128 / u128::from(floor)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travels(plan: &NetworkPlan, zones: usize, from: usize, to: usize) -> Vec<u64> {
        let latency = Latency::new(plan, zones);
        let mut drawn: Vec<u64> =
            (0..20_000).map(|n| latency.travel_us(Draws::new(1), Purpose::Latency, from, to, n)).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn the_lognormal_has_its_median_and_its_tail() {
        let plan =
            NetworkPlan { latency_us: [1000, 8000], distribution: Distribution::Lognormal, ..NetworkPlan::default() };
        let drawn = travels(&plan, 1, 0, 1);
        let within = |quantile: usize, low: u64, high: u64| {
            let value = drawn[drawn.len() * quantile / 1000];
            assert!((low..=high).contains(&value), "{quantile}: {value}");
        };
        within(500, 950, 1050);
        // 8 to the power of z / 2.326, z being -1.282 and 1.282.
        within(100, 290, 350);
        within(900, 2900, 3400);
        within(990, 7300, 9000);
        assert!(drawn.last() > Some(&12_000), "{:?}", drawn.last());
    }

    #[test]
    fn zones_are_apart_by_what_the_matrix_says_each_way() {
        let between_zones_us = vec![vec![0, 5000], vec![9000, 0]];
        let plan = NetworkPlan { between_zones_us, ..NetworkPlan::default() };
        let shortest = |from, to| travels(&plan, 2, from, to)[0];
        assert_eq!([shortest(0, 2), shortest(0, 1), shortest(1, 0)], [250, 5250, 9250]);
    }

    #[test]
    fn powers_of_two_are_scaled_well() {
        assert_eq!([scale(1000, 0), scale(1000, ONE), scale(1000, -2 * ONE)], [1000, 2000, 250]);
        assert!((1412..=1418).contains(&scale(1000, ONE / 2)));
    }
}
