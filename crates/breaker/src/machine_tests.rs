//! The whole matrix of states and events against `testdata/transitions.txt`, and the drawing in `docs/breaker.md`.
//!
//! `UPDATE_EXPECT=1 cargo test -p quorate-breaker` rewrites both; commit the change only when you understand it.

use super::*;
use crate::Settings;
use std::collections::BTreeMap;
use std::fmt::Write;

const NOW: Mono = Mono(1_000_000_000_000);

fn policy() -> Policy {
    Settings::default().resolve().unwrap()
}

fn status(mode: Mode, phase: Phase, at: Moment) -> Status {
    Status { generation: 7, mode, phase, attempt: 2, at }
}

/// Every state there is; what is due by the clock apart from what is not.
fn states() -> Vec<(String, Status)> {
    let (due, later) = (Moment::after(NOW, Duration::ZERO), Moment::after(NOW, Duration::from_secs(9)));
    let due = Moment(due.0 - 1);
    let mut states = Vec::new();
    for mode in [Mode::Automatic, Mode::ObserveOnly] {
        for (name, phase, at) in [
            ("closed", Phase::Closed, Moment(0)),
            ("ramping", Phase::Ramping, later),
            ("ramping, its end reached", Phase::Ramping, due),
            ("half_open", Phase::HalfOpen, Moment(0)),
            ("open", Phase::Open, later),
            ("open, its wait over", Phase::Open, due),
            ("open, held by a verdict", Phase::Open, Moment::NEVER),
            ("open, shared by the mesh", Phase::Open, Moment::SHARED),
            ("half_open, for a trial the mesh lends", Phase::HalfOpen, Moment::SHARED),
        ] {
            states.push((format!("{mode}: {name}"), status(mode, phase, at)));
        }
    }
    states.push(("forced_open".to_owned(), status(Mode::ForcedOpen, Phase::Open, Moment::NEVER)));
    states.push(("forced_closed".to_owned(), status(Mode::ForcedClosed, Phase::Closed, Moment(0))));
    states.push(("disabled".to_owned(), status(Mode::Disabled, Phase::Closed, Moment(0))));
    states
}

fn told(from: Status, to: Option<Status>) -> String {
    let Some(to) = to else { return "-".to_owned() };
    assert_eq!(to.generation, from.generation + 1, "each transition begins a generation");
    let mut text = if to.mode == from.mode { to.phase.to_string() } else { format!("{}: {}", to.mode, to.phase) };
    match (to.is_held(), to.at.time()) {
        (true, _) => text.push_str(", held"),
        (false, _) if to.is_shared() => text.push_str(", shared"),
        (false, Some(at)) if at > NOW => write!(text, " for {} s", at.since(NOW).as_secs()).unwrap(),
        (false, _) => {}
    }
    let attempt = [String::new(), format!(", attempt {}", to.attempt)];
    text + &attempt[usize::from(to.attempt != from.attempt)]
}

fn compare(path: &str, rewrite: impl Fn(&str) -> String) {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let rewritten = rewrite(&text);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &rewritten).unwrap();
    }
    for (line, (was, is)) in text.lines().zip(rewritten.lines()).enumerate() {
        assert_eq!(was, is, "{path}:{}; UPDATE_EXPECT=1 rewrites it", line + 1);
    }
    assert_eq!(text.lines().count(), rewritten.lines().count(), "{path}; UPDATE_EXPECT=1 rewrites it");
}

/// Waits are drawn as long as they can be.
#[test]
fn every_state_and_event() {
    let policy = policy();
    compare("testdata/transitions.txt", |_| {
        let mut text =
            "# What each event does in each state: default settings, attempt 2, longest waits. `-`: nothing.\n"
                .to_owned();
        for (name, from) in states() {
            writeln!(text, "\n{name}").unwrap();
            for event in Event::ALL {
                let to = step(from, event, &policy, NOW, u64::MAX);
                let word = if let Event::Mode(mode) = event { format!("mode {mode}") } else { event.to_string() };
                writeln!(text, "  {word:<21} => {}", told(from, to)).unwrap();
            }
        }
        text
    });
}

/// The drawing leaves out the modes, and draws what a verdict holds open as a state of its own.
#[test]
fn the_drawing_is_that_of_the_machine() {
    let policy = policy();
    let name = |status: Status| match status.phase {
        _ if status.is_held() => "open_held".to_owned(),
        phase if status.is_shared() => format!("{phase}_shared"),
        phase => phase.to_string(),
    };
    let mut edges: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (_, from) in states().into_iter().filter(|(_, from)| from.mode == Mode::Automatic) {
        for event in Event::ALL.into_iter().filter(|event| !matches!(event, Event::Mode(_))) {
            let Some(to) = step(from, event, &policy, NOW, 0) else { continue };
            let events = edges.entry((name(from), name(to))).or_default();
            if !events.contains(&event.to_string()) {
                events.push(event.to_string());
            }
        }
    }
    let mut drawing = "```mermaid\nstateDiagram-v2\n    [*] --> closed\n".to_owned();
    for ((from, to), events) in edges {
        writeln!(drawing, "    {from} --> {to}: {}", events.join(", ")).unwrap();
    }
    drawing.push_str("```\n");
    compare("../../docs/breaker.md", |text| {
        let (begin, end) = ("<!-- drawn by a test: begin -->\n", "<!-- drawn by a test: end -->\n");
        let (before, rest) = text.split_once(begin).expect("where the drawing begins");
        let (_, after) = rest.split_once(end).expect("where it ends");
        format!("{before}{begin}{drawing}{end}{after}")
    });
}

#[test]
fn moments_are_reached_neither_early_nor_twice_rounded() {
    for (now, span_ms) in [(0, 1), (1, 30_000), (999_999_999_999, 1), (1 << 20, 0)] {
        let (now, span) = (Mono(now), Duration::from_millis(span_ms));
        let moment = Moment::after(now, span);
        let exact = now + span;
        assert!(!moment.reached(Mono(exact.0.saturating_sub(1))) || moment.time().unwrap() < exact);
        assert!(moment.reached(exact + Duration::from_nanos(1 << 20)));
        assert!(moment.time().unwrap() >= exact && moment.time().unwrap().since(exact).as_nanos() < 1 << 20);
    }
    assert!(!Moment::NEVER.reached(Mono(u64::MAX)) && !Moment::SHARED.reached(Mono(u64::MAX)));
    assert!(Moment::after(Mono(u64::MAX), Duration::ZERO).time().is_some());
}

#[test]
fn words_are_distinct() {
    let mut words: Vec<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Event::ALL.len());
}
