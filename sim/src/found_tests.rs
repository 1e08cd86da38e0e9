//! Plans in which a promise was once broken, or seemed to be: most are the least that a sweep was shrunk to, each with the seed that showed it.

use crate::node;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::World;

#[test]
fn what_was_found_once_stays_mended() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/found")).unwrap();
    let mut run = 0;
    for file in folder {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let seed = text.lines().next().and_then(|line| line.strip_prefix("# seed ")).unwrap().parse().unwrap();
        let plan = Plan::parse(&text).unwrap();
        let scenario = Scenario::new("found", &plan, seed).unwrap();
        let trace = Trace::new(&scenario, Recording::default());
        let mut world = World::new(scenario, Box::new(node::engine), trace);
        world.run();
        let broken: Vec<String> = world
            .checks
            .violations
            .iter()
            .map(|violation| format!("{}: {}", violation.invariant, violation.detail))
            .collect();
        assert_eq!(broken, Vec::<String>::new(), "{}", path.display());
        run += 1;
    }
    assert!(run > 10, "only {run} were found");
}
