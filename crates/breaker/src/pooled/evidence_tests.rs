//! Whose fault it is, case by case, and what no witness can bring about alone.

use super::*;
use proptest::prelude::*;

fn zones() -> [Zone; 3] {
    ["a", "b", "c"].map(|name| Zone::new(name).unwrap())
}

fn counts(calls: u32, failed: u32) -> Counts {
    Counts { calls, answered: failed / 2, silent: failed - failed / 2, slow: 0 }
}

fn witness(agent: u64, zone: &Zone, calls: u32, failed: u32) -> Witness<'_> {
    let digest = Digest { generation: 0, state: State::Closed, overridden: false, counts: counts(calls, failed) };
    Witness { agent: AgentId(agent), zone, digest, impaired: false }
}

#[test]
fn one_failure_each_from_many_callers_adds_up() {
    let [a, b, _] = zones();
    let five: Vec<_> =
        [&a, &a, &b, &b, &a].into_iter().zip(0..).map(|(zone, agent)| witness(agent, zone, 1, 1)).collect();
    assert_eq!(assess(&five, &Pooling::default()), Culprit::Callee);
    assert_eq!(assess(&five[..4], &Pooling::default()), Culprit::Nobody, "four calls are too few");
}

#[test]
fn one_broken_caller_is_its_own_problem() {
    let [a, b, _] = zones();
    let all = [witness(1, &a, 1_000, 1_000), witness(2, &a, 10, 0), witness(3, &b, 10, 0), witness(4, &b, 1, 0)];
    let culprit = assess(&all, &Pooling::default());
    assert_eq!(culprit, Culprit::Callers(BTreeSet::from([AgentId(1)])));
    assert!(!culprit.opens_for(&a, &Counts::default(), &Pooling::default()));
}

#[test]
fn one_zones_path_opens_for_that_zone() {
    let [a, b, _] = zones();
    let all: Vec<_> = (0..3).map(|n| witness(n, &a, 5, 5)).chain((3..6).map(|n| witness(n, &b, 5, 0))).collect();
    let culprit = assess(&all, &Pooling::default());
    assert_eq!(culprit, Culprit::Path(a.clone()));
    let (none, pooling) = (Counts::default(), Pooling::default());
    assert!(culprit.opens_for(&a, &none, &pooling) && !culprit.opens_for(&b, &none, &pooling));
}

#[test]
fn a_mesh_with_callers_in_one_zone_needs_no_second() {
    let [a, _, _] = zones();
    let all: Vec<_> = (0..3).map(|n| witness(n, &a, 2, 2)).collect();
    assert_eq!(assess(&all, &Pooling::default()), Culprit::Callee);
}

#[test]
fn own_successes_stand_against_what_others_tell() {
    let [a, _, _] = zones();
    let pooling = Pooling::default();
    assert!(!Culprit::Callee.opens_for(&a, &counts(10, 1), &pooling));
    assert!(Culprit::Callee.opens_for(&a, &counts(10, 2), &pooling));
    assert!(Culprit::Callee.opens_for(&a, &counts(4, 0), &pooling), "too few to be sure");
}

#[test]
fn whoever_is_open_overridden_or_impaired_is_no_witness() {
    let [a, b, _] = zones();
    let good: Vec<_> = (0..4).map(|n| witness(n, if n < 2 { &a } else { &b }, 3, 3)).collect();
    assert_eq!(assess(&good, &Pooling::default()), Culprit::Callee);
    let spoil = |change: fn(&mut Witness<'_>)| {
        let mut bad = good.clone();
        bad.iter_mut().take(2).for_each(change);
        assess(&bad, &Pooling::default())
    };
    assert_eq!(spoil(|w| w.impaired = true), Culprit::Nobody);
    assert_eq!(spoil(|w| w.digest.overridden = true), Culprit::Nobody);
    assert_eq!(spoil(|w| w.digest.state = State::Open), Culprit::Nobody, "an open breaker's silence is no evidence");
}

#[test]
fn accusations_need_answers_that_chance_does_not_give() {
    let say = |answers: &[(u32, u32)]| {
        let answers: Vec<_> = answers.iter().map(|(calls, failed)| counts(*calls, *failed)).collect();
        is_confirmed(&answers, &Pooling::default())
    };
    assert!(!say(&[]) && !say(&[(1, 1); 4]), "four failures may be chance");
    assert!(say(&[(1, 1); 5]) && say(&[(5, 5), (3, 3), (1, 0)]));
    assert!(!say(&[(1, 1), (5, 5), (1, 0)]), "six of seven may be");
    assert!(!say(&[(1, 1), (5, 0)]) && say(&[(1_000, 1_000)]), "one caller weighs five calls");
    assert!(!say(&[(5, 2); 1_000]), "no number of callers makes two fifths a half");
}

#[test]
fn a_caller_that_fails_everywhere_suspects_itself() {
    let pooling = Pooling::default();
    let (bad, good) = (counts(5, 5), counts(5, 0));
    assert!(is_own_fault(&[(bad, true), (bad, true), (good, true)], &pooling));
    assert!(!is_own_fault(&[(bad, true), (good, true)], &pooling), "one callee is not enough");
    assert!(!is_own_fault(&[(bad, false), (bad, false), (bad, true), (bad, true)], &pooling), "others fail there too");
}

fn drawn() -> impl Strategy<Value = Vec<(u64, usize, u32, u32)>> {
    prop::collection::vec((0u64..12, 0usize..3, 0u32..2_000, 0u32..2_000), 0..14)
}

proptest! {
    /// Whatever fewer than a quorum of callers claim, it opens for nobody else.
    #[test]
    fn fewer_than_a_quorum_move_nobody(served in drawn(), liars in prop::collection::vec((0usize..3, any::<u32>(), any::<u32>()), 0..3)) {
        let zones = zones();
        let pooling = Pooling::default();
        let mut all: Vec<_> = served.iter().map(|(agent, zone, calls, _)| witness(*agent, &zones[*zone], *calls, 0)).collect();
        for (agent, (zone, calls, failed)) in liars.iter().enumerate().take(pooling.callers - 1) {
            let mut liar = witness(100 + agent as u64, &zones[*zone], *calls, 0);
            liar.digest.counts.silent = *failed;
            all.push(liar);
        }
        let culprit = assess(&all, &pooling);
        prop_assert!(matches!(culprit, Culprit::Nobody | Culprit::Callers(_)), "{:?}", culprit);
    }

    /// The order in which witnesses are held does not matter, and nothing overflows.
    #[test]
    fn the_order_does_not_matter(drawn in drawn()) {
        let zones = zones();
        let mut agents = BTreeSet::new();
        let mut all: Vec<_> = drawn
            .iter()
            .filter(|(agent, ..)| agents.insert(*agent))
            .map(|(agent, zone, calls, failed)| witness(*agent, &zones[*zone], *calls, (*failed).min(*calls)))
            .collect();
        let forward = assess(&all, &Pooling::default());
        all.reverse();
        prop_assert_eq!(forward, assess(&all, &Pooling::default()));
    }
}
