//! The rosters that the agents agreed upon, one after the other: who really counted at which moment.

use crate::time::SimTime;
use std::collections::BTreeSet;

/// All epochs so far.
#[derive(Debug, Default)]
pub struct Rosters {
    epochs: Vec<Epoch>,
}

#[derive(Debug)]
struct Epoch {
    number: u64,
    since: SimTime,
    members: BTreeSet<usize>,
}

impl Rosters {
    /// The mesh begins with `members`, in epoch one.
    pub fn begin(&mut self, members: BTreeSet<usize>) {
        self.epochs = vec![Epoch { number: 1, since: SimTime::START, members }];
    }

    /// An agent tells that `number` began, by letting some in and others go. Only the first to tell of the next epoch says something new.
    pub fn note(&mut self, at: SimTime, number: u64, admitted: &BTreeSet<usize>, removed: &BTreeSet<usize>) {
        let Some(last) = self.epochs.last().filter(|last| last.number + 1 == number) else { return };
        let members = last.members.union(admitted).copied().filter(|agent| !removed.contains(agent)).collect();
        self.epochs.push(Epoch { number, since: at, members });
    }

    /// The number of the last; zero when nothing is known.
    pub fn latest(&self) -> u64 {
        self.epochs.last().map_or(0, |epoch| epoch.number)
    }

    /// Who counted by `number`; none when that is not known.
    pub fn of(&self, number: u64) -> Option<&BTreeSet<usize>> {
        self.epochs.iter().find(|epoch| epoch.number == number).map(|epoch| &epoch.members)
    }

    /// Who counted at `at`; none when nothing is known.
    pub fn at(&self, at: SimTime) -> Option<&BTreeSet<usize>> {
        self.epochs.iter().rev().find(|epoch| epoch.since <= at).map(|epoch| &epoch.members)
    }

    /// The rosters in force at any time from `from` to `to`.
    pub fn between(&self, from: SimTime, to: SimTime) -> impl Iterator<Item = &BTreeSet<usize>> {
        let first = self.epochs.iter().rposition(|epoch| epoch.since <= from).unwrap_or(0);
        self.epochs.iter().skip(first).filter(move |epoch| epoch.since <= to).map(|epoch| &epoch.members)
    }

    /// When epochs began.
    pub fn changes(&self) -> impl Iterator<Item = SimTime> + '_ {
        self.epochs.iter().map(|epoch| epoch.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_is_noted_once_and_holds_until_the_next() {
        let mut rosters = Rosters::default();
        assert_eq!(rosters.at(SimTime::START), None);
        rosters.begin([0].into());
        rosters.note(SimTime::from_ms(5), 2, &[1, 2].into(), &[].into());
        rosters.note(SimTime::from_ms(6), 2, &[7].into(), &[].into());
        rosters.note(SimTime::from_ms(9), 3, &[].into(), &[0].into());
        rosters.note(SimTime::from_ms(9), 5, &[9].into(), &[].into());
        assert_eq!(rosters.at(SimTime::from_ms(4)), Some(&[0].into()));
        assert_eq!(rosters.at(SimTime::from_ms(8)), Some(&[0, 1, 2].into()));
        assert_eq!(rosters.at(SimTime::from_ms(9)), Some(&[1, 2].into()));
        let sizes = |from, to| -> Vec<usize> {
            rosters.between(SimTime::from_ms(from), SimTime::from_ms(to)).map(BTreeSet::len).collect()
        };
        assert_eq!((sizes(0, 4), sizes(4, 8), sizes(6, 20)), (vec![1], vec![1, 3], vec![3, 2]));
        assert_eq!((rosters.changes().count(), rosters.latest()), (3, 3));
    }
}
