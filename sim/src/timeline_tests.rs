//! Late detections and recoveries are found, timely ones are not.

use super::*;
use crate::invariants::bench::Bench;

const DEAD: &str =
    "[[faults]]\nkind = \"target\"\ninstance = \"web@0\"\nmode = \"dead\"\nfrom = \"30s\"\nto = \"50s\"\n";

/// Every agent holds web@0 up at 10 s, and then what `changes` say, at their milliseconds.
fn history(faults: &str, changes: &[(u64, Verdict)]) -> (Bench, Timeline) {
    let mut bench = Bench::new(faults);
    let mut timeline = Timeline::new(5);
    let mut before = None;
    for (ms, verdict) in [(10_000, Verdict::Up)].iter().chain(changes) {
        bench.truth.now = SimTime::from_ms(*ms);
        let after = bench.instance_view("web@0", *verdict, 1, None);
        for agent in 0..5 {
            timeline.look(&bench.truth, &Sight::Instance { agent, before: before.as_ref(), after: &after });
        }
        before = Some(after);
    }
    bench.at(90);
    (bench, timeline)
}

fn late(history: &(Bench, Timeline)) -> Vec<&'static str> {
    history.1.late(&history.0.truth).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn timely_changes_are_measured() {
    let history = history(DEAD, &[(33_200, Verdict::Down), (51_100, Verdict::Up)]);
    assert!(late(&history).is_empty());
    assert_eq!(history.1.detections(&history.0.truth), [3.2; 5]);
    assert_eq!(history.1.recoveries(&history.0.truth), [1.1; 5]);
}

#[test]
fn late_and_missing_changes_are_found() {
    assert_eq!(late(&history(DEAD, &[(37_000, Verdict::Down), (51_000, Verdict::Up)])), ["detection"; 5]);
    assert_eq!(late(&history(DEAD, &[])), ["detection"; 5]);
    assert_eq!(late(&history(DEAD, &[(33_000, Verdict::Down), (56_000, Verdict::Up)])), ["recovery"; 5]);
}

#[test]
fn what_has_changed_often_may_stay_down() {
    let often = [(15_000, Verdict::Down), (17_000, Verdict::Up), (25_000, Verdict::Partial), (33_000, Verdict::Down)];
    assert!(late(&history(DEAD, &often)).is_empty());
    assert_eq!(late(&history(DEAD, &often[3..])), ["recovery"; 5]);
}

const BEGUN: &str = "summary = \"t\"\nduration = \"40s\"\n[[services]]\nname = \"web\"\nhomes = [0, 1]\n";

/// What is dead or well again when the plan ends is judged all the same.
#[test]
fn a_run_goes_on_until_what_went_wrong_last_can_be_judged() {
    let plan = |faults: &str| {
        let plan = crate::plan::Plan::parse(&format!("{BEGUN}{faults}")).unwrap();
        Truth::new(crate::scenario::Scenario::new("t", &plan, 1).unwrap())
    };
    let dead = |mode: &str, until: &str| {
        format!("[[faults]]\nkind = \"target\"\ninstance = \"web@0\"\nmode = \"{mode}\"\nfrom = \"38s\"\n{until}")
    };
    assert_eq!(judged_by(&plan("")), SimTime::START);
    assert!(judged_by(&plan(&dead("dead", ""))) > SimTime::from_ms(50_000), "the truth is plain by then");
    let slow = "period = \"9s\"\nfailure_threshold = 3\nsuccess_threshold = 2\n";
    let late = judged_by(&plan(&format!("{slow}{}", dead("hung", "to = \"39s\"\n"))));
    assert!(late > SimTime::from_ms(39_000 + 18_000), "{late}");
    // Those after the first speak too late, and the first does not in every run.
    let text = format!("{BEGUN}{}[timing]\nrank_delay = \"20s\"\n", dead("dead", ""));
    let plan = crate::plan::Plan::parse(&text.replace("[0, 1]", "[0]")).unwrap();
    let clean = |seed| crate::runner::run("t", &plan, seed, crate::runner::Manner::default()).unwrap().0.clean();
    assert!(!(1..=8).all(clean));
}

#[test]
fn nothing_is_asked_while_something_else_is_wrong() {
    let disturbed = format!("{DEAD}[[faults]]\nkind = \"isolate\"\nagents = [3]\nfrom = \"31s\"\nto = \"60s\"\n");
    assert!(late(&history(&disturbed, &[])).is_empty());
}

/// Of a host nothing is decided while all is well, and that it is lost must be found all the same.
#[test]
fn a_lost_host_must_be_found_by_all_others() {
    let crash = "[[faults]]\nkind = \"crash\"\nagent = 3\nat = \"30s\"\ntargets_survive = true\n";
    let mut bench = history(crash, &[]).0;
    let found = |bench: &Bench, changes: &[(u64, Verdict)]| {
        let mut timeline = Timeline::new(5);
        let changes: Vec<_> = changes.iter().map(|(ms, verdict)| (SimTime::from_ms(*ms), *verdict)).collect();
        timeline.changes.extend((0..5).map(|agent| ((Subject::Host(3), agent), changes.clone())));
        (timeline.late(&bench.truth).len(), timeline.detections(&bench.truth))
    };
    assert_eq!(found(&bench, &[]).0, 5);
    assert_eq!(found(&bench, &[(48_000, Verdict::Down)]).0, 0, "perhaps nobody has pinged it before");
    assert!(!bench.truth.is_missed_by_nobody(3), "it lives");
    for (second, step) in [(30, Truth::ended as fn(&mut Truth, usize)), (32, Truth::missed)] {
        bench.at(second);
        step(&mut bench.truth, 3);
        assert_eq!(bench.truth.is_missed_by_nobody(3), second == 30);
    }
    bench.at(90);
    assert_eq!(found(&bench, &[(40_000, Verdict::Down)]).0, 4, "it has been pinged");
    assert_eq!(found(&bench, &[(20_000, Verdict::Starting), (35_000, Verdict::Down)]), (0, vec![5.0; 4]));
    assert_eq!(found(&bench, &[(20_000, Verdict::Down)]).0, 0, "it was down before");
}
