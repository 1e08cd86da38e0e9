//! Replays what a real agent recorded: its engine runs again, and everything it decided is told again.

mod story;

use crate::time::Span;
use quorate_core::UnixMs;
use quorate_mesh::recording::{Replay, Step, Summary};
use quorate_mesh::{Event, EventKind, Output};
use std::time::Duration;

pub use story::{about, line, moment, verdict};

/// Which part of a recording is told; all of it is compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// From then on.
    pub from: Option<Moment>,
    /// Until then.
    pub to: Option<Moment>,
    /// Every event, or decisions alone?
    pub every_event: bool,
}

/// A moment within a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// By the agent's wall clock.
    Wall(UnixMs),
    /// Since the beginning of the recording, by its monotonic one.
    After(Duration),
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = Span::read(text) {
            return Ok(Self::After(span.0));
        }
        let time: Option<jiff::Timestamp> = text.parse().ok();
        let ms = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        ms.map(|ms| Self::Wall(UnixMs(ms))).ok_or_else(|| {
            format!("{text:?} is no moment: write a time such as 2026-01-31T12:00:00Z, or one since the beginning such as 90s")
        })
    }
}

/// An event told again, and when.
#[derive(Debug)]
pub struct Told {
    /// Time since the beginning of the recording, by the agent's monotonic clock.
    pub after: Duration,
    /// The event.
    pub event: Event,
}

impl Window {
    /// Does it end before anything can be in it?
    pub fn is_void(&self) -> bool {
        match (self.from, self.to) {
            (Some(Moment::Wall(from)), Some(Moment::Wall(to))) => from >= to,
            (Some(Moment::After(from)), Some(Moment::After(to))) => from >= to,
            _ => false,
        }
    }

    fn holds(&self, told: &Told) -> bool {
        let before = |moment: Moment| match moment {
            Moment::Wall(at) => told.event.at < at,
            Moment::After(after) => told.after < after,
        };
        let within = !self.from.is_some_and(before) && self.to.is_none_or(before);
        within && (self.every_event || is_decision(&told.event.kind))
    }
}

/// Registrations are told when every event is.
fn is_decision(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Registered { .. } | EventKind::Withdrawn { .. })
}

/// Runs a recording to its end, or to its first difference. `tell` is called with every event of the window.
///
/// # Errors
/// When the recording is damaged from some place on, or `tell` fails.
pub fn run(
    replay: &mut Replay<'_>,
    window: Window,
    mut tell: impl FnMut(&mut Replay<'_>, &Told) -> anyhow::Result<()>,
) -> anyhow::Result<Summary> {
    let mut began = None;
    while let Some(Step { now, outputs, .. }) = replay.step()? {
        let began = *began.get_or_insert(now.mono);
        for output in outputs {
            let Output::Event(event) = output else { continue };
            let told = Told { after: now.mono.since(began), event };
            if window.holds(&told) {
                tell(replay, &told)?;
            }
        }
    }
    Ok(replay.summary())
}

#[cfg(test)]
mod replay_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::InstanceId;

    #[test]
    fn moments_are_times_or_spans() {
        assert_eq!("90s".parse(), Ok(Moment::After(Duration::from_secs(90))));
        assert_eq!("1970-01-01T00:01:00Z".parse(), Ok(Moment::Wall(UnixMs(60_000))));
        assert_eq!("1970-01-01T02:01:00.5+02:00".parse(), Ok(Moment::Wall(UnixMs(60_500))));
        for bad in ["", "yesterday", "12:00", "90", "1960-01-01T00:00:00Z"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
        assert_eq!(moment(UnixMs(60_500)), "1970-01-01T00:01:00.500Z");
    }

    #[test]
    fn a_window_holds_what_it_says() {
        let told = |after_s, at_s: u64, kind| Told {
            after: Duration::from_secs(after_s),
            event: Event { index: 1, at: UnixMs(at_s * 1000), kind },
        };
        let stalled = || told(10, 1000, EventKind::Stalled { late_ms: 1 });
        let after = |s| Some(Moment::After(Duration::from_secs(s)));
        let wall = |s: u64| Some(Moment::Wall(UnixMs(s * 1000)));
        let window = |from, to| Window { from, to, every_event: false };
        for (from, to, held) in [
            (None, None, true),
            (after(10), after(11), true),
            (after(11), None, false),
            (None, after(10), false),
            (wall(1000), wall(1001), true),
            (wall(1001), None, false),
            (None, wall(1000), false),
        ] {
            assert_eq!(window(from, to).holds(&stalled()), held, "{from:?} {to:?}");
        }
        assert!(window(after(9), after(2)).is_void() && window(wall(2), wall(2)).is_void());
        assert!(!window(after(2), after(9)).is_void() && !window(after(9), wall(2)).is_void());
        let withdrawn = told(10, 1000, EventKind::Withdrawn { instance: InstanceId::new("web@1").unwrap() });
        assert!(!window(None, None).holds(&withdrawn));
        assert!(Window { every_event: true, ..Window::default() }.holds(&withdrawn));
    }
}
