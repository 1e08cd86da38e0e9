//! What an instance was over time, and what of it counts as up and as down.

use quorate_core::{UnixMs, Verdict, Vote};
use serde::{Deserialize, Serialize};

/// What was stated of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It could be used: up, degraded, partial.
    Up,
    /// A quorum found it down.
    Down,
    /// Neither counts: it was starting, drained, worked on, or nobody knew.
    Aside,
    /// The agent did not run, was cut off, or did not know the instance.
    Absent,
}

impl State {
    /// Of a verdict.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Up | Verdict::Degraded | Verdict::Partial => Self::Up,
            Verdict::Down => Self::Down,
            Verdict::Starting | Verdict::Draining | Verdict::Maintenance | Verdict::Unknown => Self::Aside,
        }
    }

    /// Of one observer's vote.
    pub fn voted(vote: &Vote) -> Self {
        match vote {
            Vote::Pass | Vote::Warn => Self::Up,
            Vote::Fail { .. } => Self::Down,
            Vote::Abstain(_) => Self::Aside,
        }
    }
}

/// From when on something was stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, by the agent's wall clock.
    pub at: UnixMs,
    /// What.
    pub state: State,
    /// Of a fault, what kind.
    pub class: Option<String>,
}

/// Time that counts, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uptime {
    /// It could be used.
    pub up_ms: u64,
    /// It was down.
    pub down_ms: u64,
}

impl Uptime {
    /// Up in percent of what counts; nothing when nothing does.
    pub fn percent(self) -> Option<f64> {
        let whole = self.known_ms();
        (whole > 0).then(|| ratio(self.up_ms, whole) * 100.0)
    }

    /// How much time counts.
    pub fn known_ms(self) -> u64 {
        self.up_ms + self.down_ms
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { up_ms: self.up_ms + other.up_ms, down_ms: self.down_ms + other.down_ms }
    }
}

/// Precise to what a double holds: 285,000 years.
#[allow(clippy::cast_precision_loss)]
pub fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// The time within `from` and `to`. `moments` ascend; what was before the first is not known.
pub fn uptime(moments: &[Moment], from: UnixMs, to: UnixMs) -> Uptime {
    let mut uptime = Uptime::default();
    for (state, begin, end) in spans(moments, from, to) {
        match state.state {
            State::Up => uptime.up_ms += end.0 - begin.0,
            State::Down => uptime.down_ms += end.0 - begin.0,
            State::Aside | State::Absent => {}
        }
    }
    uptime
}

/// A time during which an instance was down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Since when.
    pub from: UnixMs,
    /// Until when; none while it lasts.
    pub to: Option<UnixMs>,
    /// What kind of fault.
    pub class: Option<String>,
}

/// Every such time that touches `from` to `to`. Times during which nothing was known do not end one.
pub fn incidents(moments: &[Moment], from: UnixMs, to: UnixMs) -> Vec<Incident> {
    let mut incidents: Vec<Incident> = Vec::new();
    let mut open = false;
    for moment in moments.iter().filter(|moment| moment.at < to) {
        match (moment.state, open) {
            (State::Down, false) => {
                incidents.push(Incident { from: moment.at, to: None, class: moment.class.clone() });
                open = true;
            }
            (State::Up | State::Aside, true) => {
                if let Some(last) = incidents.last_mut() {
                    last.to = Some(moment.at);
                }
                open = false;
            }
            _ => {}
        }
    }
    incidents.retain(|incident| incident.to.is_none_or(|to| to > from));
    incidents
}

fn spans(moments: &[Moment], from: UnixMs, to: UnixMs) -> impl Iterator<Item = (&Moment, UnixMs, UnixMs)> {
    let ends = moments.iter().skip(1).map(|next| next.at).chain([UnixMs(u64::MAX)]);
    moments.iter().zip(ends).filter_map(move |(moment, end)| {
        let (begin, end) = (moment.at.max(from), end.min(to));
        (begin < end).then_some((moment, begin, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, state: State) -> Moment {
        Moment { at: UnixMs(seconds * 1000), state, class: (state == State::Down).then(|| "host_down".to_owned()) }
    }

    fn within(moments: &[Moment], from: u64, to: u64) -> (u64, u64) {
        let found = uptime(moments, UnixMs(from * 1000), UnixMs(to * 1000));
        (found.up_ms / 1000, found.down_ms / 1000)
    }

    #[test]
    fn what_counts_and_what_does_not() {
        let moments =
            [at(10, State::Up), at(20, State::Down), at(30, State::Absent), at(50, State::Aside), at(60, State::Up)];
        assert_eq!(within(&moments, 0, 100), (50, 10));
        assert_eq!(within(&moments, 15, 25), (5, 5));
        assert_eq!(within(&moments, 30, 60), (0, 0));
        assert_eq!(uptime(&moments, UnixMs(30_000), UnixMs(60_000)).percent(), None, "no data is not zero");
        assert_eq!(uptime(&[], UnixMs(0), UnixMs(1000)).percent(), None);
        assert_eq!(uptime(&moments, UnixMs(20_000), UnixMs(30_000)).percent(), Some(0.0));
        assert_eq!(uptime(&moments, UnixMs(15_000), UnixMs(25_000)).percent(), Some(50.0));
    }

    #[test]
    fn incidents_outlast_what_nobody_saw() {
        let moments = [
            at(10, State::Down),
            at(20, State::Absent),
            at(30, State::Down),
            at(40, State::Up),
            at(50, State::Down),
            at(60, State::Absent),
        ];
        let found = incidents(&moments, UnixMs(0), UnixMs(100_000));
        let times: Vec<_> = found.iter().map(|i| (i.from.0 / 1000, i.to.map(|to| to.0 / 1000))).collect();
        assert_eq!(times, [(10, Some(40)), (50, None)]);
        assert_eq!(found[0].class.as_deref(), Some("host_down"));
        assert_eq!(incidents(&moments, UnixMs(45_000), UnixMs(100_000)).len(), 1);
        assert!(incidents(&moments, UnixMs(0), UnixMs(5_000)).is_empty());
    }
}
