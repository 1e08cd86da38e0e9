//! The history across runs of an agent: what was written is there, what nobody saw is not charged, and what is too old goes.

use super::*;
use crate::agent::clock::Clock;
use crate::api::fixture::{observer, view};
use quorate_core::{AbstainReason, Cause, Phase, Verdict, Vote};

const HOUR: u64 = 3_600_000;

fn id() -> InstanceId {
    InstanceId::new("web@10.0.0.1:80").unwrap()
}

fn history(dir: &Path) -> History {
    History::open(dir, 1 << 30, Arc::new(Metrics::new().unwrap())).unwrap()
}

fn shown(verdict: Verdict, quorate: bool) -> MeshView {
    let mut view = view();
    let instances = Arc::make_mut(&mut view.instances);
    Arc::make_mut(instances.get_mut(&id()).unwrap()).verdict = verdict;
    view.quorate = quorate;
    view
}

fn percent(history: &History, from: u64, to: u64) -> Option<f64> {
    let (from, to) = (UnixMs(from), UnixMs(to));
    timeline::uptime(&history.moments(&id(), from, to).unwrap(), from, to).percent()
}

#[test]
fn what_the_agent_could_not_see_is_charged_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let start = wall().0;
    let at = |seconds: u64| UnixMs(start + seconds * 1000);
    {
        let history = history(dir.path());
        history.observe(&shown(Verdict::Up, true), at(10));
        history.observe(&shown(Verdict::Up, true), at(15));
        history.observe(&shown(Verdict::Down, true), at(20));
        history.observe(&shown(Verdict::Down, false), at(30));
        history.observe(&shown(Verdict::Up, true), at(60));
        history.write(at(70));
        // Killed here: what is said after the last write is lost, and the rest of the time is nobody's.
        history.observe(&shown(Verdict::Down, true), at(75));
    }
    let history = history(dir.path());
    history.observe(&shown(Verdict::Up, true), at(100));
    history.write(at(110));
    let span = |from, to| percent(&history, at(from).0, at(to).0);
    assert_eq!(span(10, 20), Some(100.0));
    assert_eq!(span(20, 30), Some(0.0));
    assert_eq!(span(30, 60), None, "it was cut off");
    assert_eq!(span(70, 99), None, "it did not run");
    assert_eq!(span(10, 30), Some(50.0));
    let moments = history.moments(&id(), at(0), at(200)).unwrap();
    let incidents = timeline::incidents(&moments, at(0), at(200));
    assert_eq!((incidents.len(), incidents[0].to), (1, Some(at(60))));
}

#[test]
fn each_observers_votes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path());
    let voted = |vote: Option<Vote>, heard: bool| {
        let mut view = shown(Verdict::Up, true);
        let instances = Arc::make_mut(&mut view.instances);
        let mut observer = observer(2, vote);
        observer.heard = heard;
        Arc::make_mut(instances.get_mut(&id()).unwrap()).observers = vec![observer];
        view
    };
    let fail = Vote::Fail { phase: Phase::Connect, cause: Cause::Refused };
    for (second, view) in [
        (10, voted(Some(Vote::Pass), true)),
        (20, voted(Some(Vote::Warn), true)),
        (30, voted(Some(fail), true)),
        (40, voted(Some(fail), false)),
        (50, voted(Some(Vote::Abstain(AbstainReason::Stalled)), true)),
        (60, voted(Some(fail), true)),
        (65, shown(Verdict::Up, false)),
        (90, MeshView { instances: Arc::default(), ..view() }),
    ] {
        history.observe(&view, UnixMs(second * 1000));
    }
    history.write(UnixMs(95_000));
    let of = |agent: u64| {
        let (from, to) = (UnixMs(0), UnixMs(100_000));
        timeline::uptime(&history.votes(&id(), AgentId(agent), from, to).unwrap(), from, to)
    };
    assert_eq!((of(2).up_ms, of(2).down_ms), (20_000, 15_000), "unheard, abstaining and cut off count for nothing");
    assert_eq!(of(9).percent(), None);
    assert_eq!(percent(&history, 0, 100_000), Some(100.0), "a vote is no verdict");

    // What nobody knew anything of any more goes as a whole, in time; what is still so stays.
    history.observe(&shown(Verdict::Up, true), UnixMs(96_000));
    history.write(UnixMs(120 * 24 * HOUR));
    let later = UnixMs(119 * 24 * HOUR);
    assert!(history.votes(&id(), AgentId(2), UnixMs(0), later).unwrap().len() <= 1);
    assert_eq!(history.moments(&id(), UnixMs(0), later).unwrap().len(), 1);
}

#[test]
fn probes_are_counted_in_both_widths_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path());
    let start = 1_000 * HOUR;
    let outcome = Outcome::pass(Duration::from_millis(2));
    let failed = Outcome::fail(Phase::Connect, Cause::Refused, "refused", Duration::from_millis(1));
    for hour in 0..4 {
        history.probed(&id(), &outcome, UnixMs(start + hour * HOUR));
        history.probed(&id(), &failed, UnixMs(start + hour * HOUR + 1));
        history.write(UnixMs(start + hour * HOUR + 2));
    }
    let counted = |from: u64, to: u64| {
        let (_, buckets) = history.probes(&id(), UnixMs(start + from * HOUR), UnixMs(start + to * HOUR)).unwrap();
        buckets.values().fold((0, 0), |(checks, passed), one| (checks + one.checks, passed + one.passed))
    };
    assert_eq!((counted(0, 4), counted(1, 2), counted(0, 100)), ((8, 4), (2, 1), (8, 4)));
    history.write(UnixMs(start + 60 * HOUR));
    assert_eq!((counted(0, 4), counted(0, 100)), ((0, 0), (8, 4)), "five minutes are gone, hours are there");
    history.write(UnixMs(start + 100 * 24 * HOUR));
    assert_eq!(counted(0, 100), (0, 0));
}

#[test]
fn a_damaged_file_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("history.redb"), vec![7; 4096]).unwrap();
    let history = history(dir.path());
    history.observe(&shown(Verdict::Up, true), UnixMs(1000));
    history.write(UnixMs(2000));
    assert_eq!(percent(&history, 0, 2000), Some(100.0));
    assert!(dir.path().join("history.damaged").exists());
}

#[test]
fn what_the_disk_does_not_take_waits() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path());
    let at = |seconds: u64| UnixMs(1_000 * HOUR + seconds * 1000);
    let failed = Outcome::fail(Phase::Connect, Cause::Refused, "refused", Duration::from_millis(1));
    history.observe(&shown(Verdict::Up, true), at(0));
    history.write(at(1));
    let trial = dir.path().join("history.trial");
    std::fs::create_dir(&trial).unwrap();
    history.store.fail();
    for (seconds, verdict) in [(10, Verdict::Down), (20, Verdict::Up)] {
        history.observe(&shown(verdict, true), at(seconds));
        history.probed(&id(), &failed, at(seconds));
        history.write(at(seconds + 1));
    }
    assert!(history.is_failing() && history.waiting() > 0);
    std::fs::remove_dir(&trial).unwrap();
    history.write(at(22));
    assert!(!history.is_failing() && history.waiting() == 0);
    let moments = history.moments(&id(), at(0), at(30)).unwrap();
    let counted = timeline::uptime(&moments, at(0), at(30));
    assert_eq!((counted.up_ms, counted.down_ms), (20_000, 10_000));
    let (_, buckets) = history.probes(&id(), at(0), at(30)).unwrap();
    assert_eq!(buckets.values().map(Bucket::failed).sum::<u64>(), 2);
}

#[tokio::test]
async fn pictures_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let published = Arc::new(Published::new(Clock::new(), shown(Verdict::Up, true), true));
    let history = Arc::new(history(dir.path()));
    history.run(Arc::clone(&published));
    let mut next = shown(Verdict::Down, true);
    next.index += 1;
    published.replace(next);
    let begun = std::time::Instant::now();
    loop {
        let moments = history.moments(&id(), UnixMs(0), UnixMs(u64::MAX)).unwrap();
        if moments.last().is_some_and(|moment| moment.state == State::Down) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{moments:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
