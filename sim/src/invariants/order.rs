//! Part of promise 8: within one run of its process, an agent sees an instance's verdicts in the order of their terms, none twice.

use super::{Finding, Invariant, Sight};
use crate::truth::Truth;
use quorate_mesh::InstanceView;

/// The invariant.
pub struct Order;

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "order of terms"
    }

    fn look(&mut self, _truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        if let Sight::Instance { agent, before: Some(before), after } = sight
            && let (Some(old), Some(new)) = (place(before), place(after))
            && new < old
        {
            let detail = format!("{}: incarnation and term go from {old:?} back to {new:?}", after.instance);
            found.push(Finding::new(Some(*agent), detail));
        }
    }
}

fn place(view: &InstanceView) -> Option<(u64, u64)> {
    view.certificate.as_ref().map(|certificate| (certificate.decision.incarnation, certificate.decision.term))
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use quorate_core::Verdict;

    #[test]
    fn a_term_that_goes_back_is_found() {
        let mut bench = Bench::new("");
        bench.at(30);
        let view = |term| {
            let mut certificate = bench.certificate("web@0", Verdict::Up, &[0, 1, 2], 29_000);
            certificate.decision.term = term;
            bench.instance_view("web@0", Verdict::Up, term, Some(certificate))
        };
        let (third, second) = (view(3), view(2));
        let back = Sight::Instance { agent: 1, before: Some(&third), after: &second };
        assert!(bench.look(&mut Order, &back)[0].contains("(0, 3) back to (0, 2)"));
        let on = Sight::Instance { agent: 1, before: Some(&second), after: &third };
        assert!(bench.look(&mut Order, &on).is_empty());
    }
}
