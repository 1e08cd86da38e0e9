//! A person's word wins: once it has had time to spread, no call is let through a breaker that is held open, and none is rejected by one that is held
//! closed, whatever verdicts and failures say, and whoever restarts.

use crate::calls::CallSight;
use crate::invariants::{Finding, Invariant, Sight};
use crate::plan::{CallWord, WordMode};
use crate::time::SimTime;
use crate::truth::Truth;
use std::time::Duration;

/// How long news takes at most where nothing is in its way.
const NEWS: Duration = Duration::from_secs(10);

/// The invariant.
#[derive(Debug)]
pub struct Words;

impl Words {
    /// The word that holds everywhere at `at`, if one does beyond doubt: none was given or ended a moment ago. What was said to an agent that did not run
    /// nobody has heard; what was said to one that sleeps is heard at some time; and who gives one without having heard of the one before may be the one whose
    /// clock is behind, so that the other holds.
    fn holds(truth: &Truth, words: &[CallWord], at: SimTime) -> Option<WordMode> {
        let given = words.iter().filter(|word| word.at.moment() <= at && truth.running(word.through, word.at.moment()));
        let latest = given.clone().max_by_key(|word| word.at.moment())?;
        let since = latest.at.moment();
        let doubtful = |word: &CallWord| {
            let given = word.at.moment();
            !truth.awake(word.through, given) || word.through != latest.through && !has_spread(truth, given, since)
        };
        // It ends by each host's calendar.
        let calendar = |agent: usize, moment| truth.scenario.agents[agent].clock.calendar(moment).0;
        let apart =
            |moment| (0..truth.agents()).map(move |a| calendar(a, moment).abs_diff(calendar(latest.through, moment)));
        let apart = Duration::from_millis(apart(since).chain(apart(at)).max().unwrap_or(0));
        let lasts = at.plus(NEWS).plus(apart) < since.plus(latest.lasts.0);
        let spread = has_spread(truth, since, at) && truth.scenario.quiet_but_calls(at.minus(NEWS), at);
        (spread && lasts && !given.clone().any(doubtful)).then_some(latest.mode)
    }
}

impl Invariant for Words {
    fn name(&self) -> &'static str {
        "a person's word"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Call { agent, calls, call } = sight else { return };
        let calls = &truth.scenario.calls[*calls];
        let held = Self::holds(truth, &calls.plan.words, truth.now);
        let broken = match (held, call) {
            (Some(WordMode::ForcedOpen), CallSight::Admitted { .. }) => "let through, and a person holds it open",
            (Some(WordMode::ForcedClosed), CallSight::Rejected) => "rejected, and a person holds it closed",
            _ => return,
        };
        found.push(Finding::new(Some(*agent), format!("a call of {} is {broken}", calls.key.instance)));
    }
}

/// Has what was said at `given` had time to spread by `at`, before anything was in its way or after all of that was over?
fn has_spread(truth: &Truth, given: SimTime, at: SimTime) -> bool {
    let quiet = |from, to| truth.scenario.quiet_but_calls(from, to);
    let over = at.minus(truth.scenario.bounds.convergence.0);
    given.plus(NEWS) <= at && (quiet(given, given.plus(NEWS)) || over >= given && quiet(over, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;

    #[test]
    fn a_call_against_a_word_is_found_once_the_word_has_spread() {
        let mut bench = Bench::with_calls();
        let mut look = |second, call| {
            bench.at(second);
            bench.look(&mut Words, &Sight::Call { agent: 0, calls: 0, call }).len()
        };
        let (through, rejected) = (CallSight::Admitted { lent: false }, CallSight::Rejected);
        assert_eq!((look(55, through), look(65, through), look(75, through)), (0, 0, 1));
        assert_eq!((look(75, rejected), look(115, through)), (0, 0));
    }
}
