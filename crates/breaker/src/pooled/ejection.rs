//! How many instances of a service may be open at once. A fault that all share, such as a database, must not take all of them away.

use crate::window::Counts;
use quorate_core::InstanceId;

/// Where breakers stop being obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EjectionLimits {
    /// Percentage of a service's instances that breakers may take out; always at least one.
    pub ejected_max: u8,
    /// When less than this percentage of the instances would be left, breakers are not obeyed at all: better some answers than none.
    pub panic_below: u8,
}

impl Default for EjectionLimits {
    fn default() -> Self {
        Self { ejected_max: 30, panic_below: 50 }
    }
}

/// An instance of a service, as its callers and the mesh see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Which.
    pub instance: &'a InstanceId,
    /// Does the mesh's verdict say it is down? Verdicts are not limited here.
    pub is_down: bool,
    /// Would a breaker take it out?
    pub is_open: bool,
    /// Is it out now? What is out stays out as long as it is open, so that callers who saw other calls take out the same.
    pub is_out: bool,
    /// What callers saw: of the others the worst go first.
    pub counts: Counts,
}

/// Which instances get no traffic: all that are down, and of those that are open the worst, as far as the limits go. In the order given.
/// The only instance of a service may be taken out: there is nowhere else for its calls to go, but they would fail. Agents that hold the
/// same standings come to the same answer.
#[must_use]
pub fn ejected<'a>(standings: &[Standing<'a>], limits: &EjectionLimits) -> Vec<&'a InstanceId> {
    let all = standings.len();
    let down = standings.iter().filter(|standing| standing.is_down).count();
    let mut open: Vec<&Standing<'_>> = standings.iter().filter(|s| s.is_open && !s.is_down).collect();
    open.sort_by_key(|one| (!one.is_out, std::cmp::Reverse(failed_per_mille(&one.counts)), one.instance));
    let cap = (all * usize::from(limits.ejected_max) / 100).max(1);
    let taken_out = open.len().min(cap);
    let left = all - down - taken_out;
    // Down instances serve nobody: the share is one of those that could.
    let panics = all > 1 && left * 100 < (all - down) * usize::from(limits.panic_below);
    open.truncate(if panics { 0 } else { taken_out });
    let is_out = |standing: &Standing<'_>| standing.is_down || open.iter().any(|out| out.instance == standing.instance);
    standings.iter().filter(|standing| is_out(standing)).map(|standing| standing.instance).collect()
}

fn failed_per_mille(counts: &Counts) -> u64 {
    u64::from(counts.failed()) * 1_000 / u64::from(counts.calls.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(n: usize) -> Vec<InstanceId> {
        (0..n).map(|n| InstanceId::new(format!("web@{n}")).unwrap()).collect()
    }

    /// `d` down, `o` open, `x` open and out already, `u` up.
    fn out(pattern: &str) -> String {
        let names = names(pattern.len());
        let counts = |n: usize| Counts { calls: 10, answered: n as u32, silent: 0, slow: 0 };
        let standing = |(n, letter)| Standing {
            instance: &names[n],
            is_down: letter == 'd',
            is_open: letter != 'u',
            is_out: letter == 'x',
            counts: counts(n),
        };
        let standings: Vec<_> = pattern.chars().enumerate().map(standing).collect();
        let ejected = ejected(&standings, &EjectionLimits::default());
        names.iter().map(|name| if ejected.contains(&name) { 'x' } else { '.' }).collect()
    }

    #[test]
    fn breakers_take_out_a_third_at_most_and_the_worst_first() {
        assert_eq!(out("uuuuuuuuuo"), ".........x");
        assert_eq!(out("oouuuuuuoo"), ".x......xx", "the worst three");
        assert_eq!(out("oooooooooo"), ".......xxx", "a fault that all share leaves seven");
        assert_eq!(out("ouu"), "x..", "one always may");
        assert_eq!(out("oox"), "..x", "what is out stays out");
    }

    #[test]
    fn what_is_down_is_out_whatever_the_limits_and_few_left_means_panic() {
        assert_eq!(out("dddddddddd"), "xxxxxxxxxx");
        assert_eq!(out("dddddddduo"), "xxxxxxxx.x");
        assert_eq!(out("ddddddddoo"), "xxxxxxxx..", "both would go, so both stay");
        assert_eq!(out("o"), "x", "there is no other to spare");
        assert_eq!(out(""), "");
    }

    proptest! {
        #[test]
        fn half_of_those_not_down_stay(pattern in "[duo]{0,40}") {
            let out = out(&pattern);
            let alive = pattern.chars().filter(|letter| *letter != 'd').count();
            let served = out.chars().filter(|mark| *mark == '.').count();
            prop_assert!(served * 2 >= alive || pattern.len() == 1, "{} {}", pattern, out);
            let pairs = || pattern.chars().zip(out.chars());
            prop_assert!(pairs().all(|(letter, mark)| (letter == 'u') <= (mark == '.') && (letter == 'd') <= (mark == 'x')));
        }
    }
}
