//! Promise 11, Determinism: a plan and a seed make one run. Two runs that should be the same are compared by their traces.

use super::Finding;
use crate::trace::Cells;

/// Where two runs that should be the same first differ, if they do.
pub fn differ(first: &Cells, second: &Cells) -> Option<Finding> {
    let place = first.first_difference(second);
    let hashes = (first.hash(), second.hash());
    match place {
        Some((at, agent)) => Some(Finding::new(Some(agent), format!("second {at}, agent a{agent}"))),
        // The parts are the same: then the whole must be.
        None if hashes.0 != hashes.1 => Some(Finding::new(None, format!("{:016x} is not {:016x}", hashes.0, hashes.1))),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::scenario::Scenario;
    use crate::time::SimTime;
    use crate::trace::Trace;
    use crate::trace::recording::Recording;
    use quorate_mesh::Input;

    #[test]
    fn a_planted_difference_is_named_by_second_and_agent() {
        let trace = |agents: &[usize]| {
            let plan = Plan::parse("summary = \"t\"\n[mesh]\nagents = 3\n").unwrap();
            let mut trace = Trace::new(&Scenario::new("t", &plan, 1).unwrap(), Recording::default());
            for (second, agent) in agents.iter().enumerate() {
                trace.input(SimTime::from_ms(second as u64 * 1000), *agent, &Input::Wake, 0);
            }
            trace.cells
        };
        assert_eq!(differ(&trace(&[0, 1, 2]), &trace(&[0, 1, 2])), None);
        let found = differ(&trace(&[0, 1, 2]), &trace(&[0, 1, 1])).unwrap();
        assert_eq!((found.agent, found.detail.as_str()), (Some(1), "second 2, agent a1"));
    }
}
