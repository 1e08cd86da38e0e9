//! The last events of this agent, and those who follow them: the engine's, and among them what this agent's own probes saw fail.

use crate::answers::{ChangeAnswer, EventAnswer, EventWhat, FailureEventAnswer};
use crate::api::failures::failure;
use crate::api::words::{membership, time};
use bytes::Bytes;
use quorate_core::UnixMs;
use quorate_core::detection::FailureEvent;
use quorate_mesh::{Event, EventKind};
use std::collections::VecDeque;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::broadcast;

/// Events held.
pub const HELD: usize = 10_000;
/// Events a follower may lag behind before it misses some.
const LAG: usize = 1024;

/// The events of one run of the agent.
#[derive(Debug)]
pub struct EventLog {
    boot: u32,
    limit: usize,
    held: Mutex<Held>,
    sender: broadcast::Sender<Arc<Logged>>,
}

/// An event, and how it goes out to those who follow.
#[derive(Debug)]
pub struct Logged {
    event: EventAnswer,
    noted: Instant,
    frame: OnceLock<Bytes>,
}

impl Logged {
    fn new(event: EventAnswer) -> Self {
        Self { event, noted: Instant::now(), frame: OnceLock::new() }
    }

    /// When the agent learnt of it.
    pub fn noted(&self) -> Instant {
        self.noted
    }

    /// As server-sent event: written once, however many follow.
    pub fn frame(&self) -> Bytes {
        let write = || {
            // What is in an event can be written; JSON has no line breaks.
            let data = serde_json::to_string(&self.event).unwrap_or_default();
            format!("id: {}\nevent: {}\ndata: {data}\n\n", self.event.id, self.event.what.word()).into()
        };
        self.frame.get_or_init(write).clone()
    }
}

impl Deref for Logged {
    type Target = EventAnswer;

    fn deref(&self) -> &EventAnswer {
        &self.event
    }
}

/// The events held, and the index of the newest ever.
#[derive(Debug, Default)]
struct Held {
    last: u64,
    events: VecDeque<Arc<Logged>>,
}

/// From where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Only what comes.
    Now,
    /// Everything held.
    Start,
    /// What follows this event of this or another run.
    After {
        /// Of which run; none: of this one.
        boot: Option<u32>,
        /// Which.
        index: u64,
    },
}

impl FromStr for Since {
    type Err = String;

    /// `<boot>-<index>` or `<index>`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| {
            format!(
                "{:?} is not the id of an event, such as 1-42, nor an index",
                text.chars().take(64).collect::<String>()
            )
        };
        match text.split_once('-') {
            Some((boot, index)) => {
                Ok(Self::After { boot: Some(boot.parse().map_err(wrong)?), index: index.parse().map_err(wrong)? })
            }
            None => match text.parse().map_err(wrong)? {
                0 => Ok(Self::Start),
                index => Ok(Self::After { boot: None, index }),
            },
        }
    }
}

/// What a follower begins with.
#[derive(Debug)]
pub struct Resumed {
    /// Events between were missed.
    pub reset: bool,
    /// What is held and was asked for, oldest first.
    pub backlog: Vec<Arc<Logged>>,
    /// The index of the newest event held; zero when there is none.
    pub newest: u64,
    /// What comes; nothing lies between.
    pub receiver: broadcast::Receiver<Arc<Logged>>,
}

impl EventLog {
    /// No events yet, in the run `boot`.
    pub fn new(boot: u32) -> Self {
        Self::with_limit(boot, HELD)
    }

    fn with_limit(boot: u32, limit: usize) -> Self {
        Self { boot, limit, held: Mutex::default(), sender: broadcast::channel(LAG).0 }
    }

    /// Adds an event of the engine, and tells the followers.
    pub fn push(&self, event: &Event) {
        self.add(event.at, what(&event.kind));
    }

    /// Adds what a probe of this agent saw fail, and tells the followers.
    pub fn push_failure(&self, event: &FailureEvent) {
        let answer = FailureEventAnswer {
            instance_id: event.instance_id.clone(),
            app_name: event.app_name.clone(),
            failure: failure(event),
        };
        self.add(event.timestamp, EventWhat::Failure(answer));
    }

    fn add(&self, at: UnixMs, what: EventWhat) {
        let mut held = self.held();
        held.last += 1;
        let index = held.last;
        let answer = Arc::new(Logged::new(EventAnswer { id: id(self.boot, index), index, at: time(at), what }));
        if held.events.len() >= self.limit {
            held.events.pop_front();
        }
        held.events.push_back(Arc::clone(&answer));
        // Fails when nobody follows.
        let _ = self.sender.send(answer);
    }

    /// The id of the newest event.
    pub fn last_id(&self) -> String {
        id(self.boot, self.held().last)
    }

    /// Follows the events.
    pub fn follow(&self, since: Since) -> Resumed {
        // Under the lock, so that no event comes between what is held and what is received.
        let held = self.held();
        let receiver = self.sender.subscribe();
        let newest = held.last;
        let (reset, after) = match since {
            Since::Now => (false, u64::MAX),
            Since::Start => (false, 0),
            Since::After { boot, index } => {
                let oldest = held.events.front().map_or(1, |event| event.index);
                let of_this_run = boot.is_none_or(|boot| boot == self.boot);
                let known = of_this_run && index <= newest && index + 1 >= oldest;
                (!known, if known { index } else { 0 })
            }
        };
        let backlog = held.events.iter().filter(|event| event.index > after).cloned().collect();
        Resumed { reset, backlog, newest, receiver }
    }

    /// The event that tells a follower it has missed some; `next` follows it.
    pub fn reset(&self, next: Option<&EventAnswer>) -> Logged {
        let before = match next {
            Some(event) => event.index.saturating_sub(1),
            None => self.held().last,
        };
        let detail = "events were missed: read the state anew, then go on from here".to_owned();
        let at = time(crate::agent::clock::wall());
        Logged::new(EventAnswer { id: id(self.boot, before), index: before, at, what: EventWhat::Reset { detail } })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(boot: u32, index: u64) -> String {
    format!("{boot}-{index}")
}

fn what(kind: &EventKind) -> EventWhat {
    match kind.clone() {
        EventKind::Verdicts { cut, changes } => {
            let changes = changes.into_iter().map(|change| ChangeAnswer {
                instance: change.instance,
                service: change.service,
                term: change.term,
                from: change.from,
                to: change.to,
                class: change.class,
                folded_under: change.folded_under,
                signers: change.signers,
                decided_at: time(change.decided_at),
            });
            EventWhat::Verdicts { cut, changes: changes.collect() }
        }
        EventKind::Member { agent, name, from, to } => {
            EventWhat::Member { agent, name, from: from.map(membership), to: membership(to) }
        }
        EventKind::Registered { instance, service, home } => EventWhat::Registered { instance, service, home },
        EventKind::Withdrawn { instance } => EventWhat::Withdrawn { instance },
        EventKind::Vote { instance, observation } => EventWhat::Vote { instance, observation },
        EventKind::Quorate { quorate, alive, roster } => EventWhat::Quorate { quorate, alive, roster },
        EventKind::Roster { epoch, roster, admitted, removed } => {
            EventWhat::Roster { epoch, roster, admitted, removed }
        }
        EventKind::Breaker { service, instance, state, cause, first, zone } => {
            EventWhat::Breaker { service, instance, state: state.into(), cause: cause.into(), first, zone }
        }
        EventKind::Override { service, instance, mode, owner, reason } => {
            EventWhat::Override { service, instance, mode: mode.into(), owner, reason }
        }
        EventKind::Stalled { late_ms } => EventWhat::Stalled { late_ms },
        EventKind::IdentityConflict { detail } => EventWhat::IdentityConflict { detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::detection::Severity;
    use quorate_core::{FailureType, InstanceId, ServiceName};

    fn log(count: u64) -> EventLog {
        let log = EventLog::with_limit(3, 5);
        for index in 1..=count {
            log.push(&Event { index, at: UnixMs(index), kind: EventKind::Stalled { late_ms: index } });
        }
        log
    }

    fn resumed(log: &EventLog, since: &str) -> (bool, Vec<u64>) {
        let resumed = log.follow(since.parse().unwrap());
        (resumed.reset, resumed.backlog.iter().map(|event| event.index).collect())
    }

    #[test]
    fn a_reader_resumes_where_it_was() {
        let log = log(8);
        assert_eq!(resumed(&log, "3-6"), (false, vec![7, 8]));
        assert_eq!(resumed(&log, "6"), (false, vec![7, 8]));
        assert_eq!(resumed(&log, "3-8"), (false, vec![]));
        assert_eq!(resumed(&log, "3-3"), (false, vec![4, 5, 6, 7, 8]));
        assert_eq!(resumed(&log, "0"), (false, vec![4, 5, 6, 7, 8]));
    }

    #[test]
    fn a_reader_that_missed_events_is_told() {
        let log = log(8);
        for since in ["3-2", "2-6", "3-9", "9"] {
            assert_eq!(resumed(&log, since), (true, vec![4, 5, 6, 7, 8]), "{since}");
        }
        assert_eq!(log.reset(log.follow(Since::Start).backlog.first().map(|first| &***first)).index, 3);
        assert_eq!(resumed(&super::tests::log(0), "3-0"), (false, vec![]));
        assert_eq!(resumed(&super::tests::log(0), "2-4"), (true, vec![]));
        assert!("x".parse::<Since>().is_err() && "1-".parse::<Since>().is_err());
    }

    #[test]
    fn failures_stand_among_the_engines_events_in_one_order() {
        let log = log(2);
        log.push_failure(&FailureEvent {
            failure_type: FailureType::PortNotListening,
            instance_id: InstanceId::new("web@a:1").unwrap(),
            app_name: ServiceName::new("web").unwrap(),
            severity: Severity::Low,
            message: "Nothing listens on the port".to_owned(),
            details: [("check_type".to_owned(), "tcp".to_owned())].into(),
            timestamp: UnixMs(9),
            consecutive_count: 1,
            total_count: 4,
            first_occurrence: UnixMs(5),
        });
        log.push(&Event { index: 3, at: UnixMs(10), kind: EventKind::Stalled { late_ms: 1 } });
        let backlog = log.follow(Since::Start).backlog;
        let words: Vec<_> = backlog.iter().map(|event| (event.index, event.what.word())).collect();
        assert_eq!(words, [(1, "stalled"), (2, "stalled"), (3, "failure"), (4, "stalled")]);
        let told = serde_json::to_value(&**backlog[2]).unwrap();
        for (key, value) in [
            ("id", "3-3"),
            ("type", "failure"),
            ("instance_id", "web@a:1"),
            ("app_name", "web"),
            ("failure_type", "port_not_listening"),
            ("severity", "low"),
            ("first_occurrence", "1970-01-01T00:00:00.005Z"),
        ] {
            assert_eq!(told[key], value, "{key}");
        }
        assert_eq!((told["total_count"].as_u64(), told["details"]["check_type"].as_str()), (Some(4), Some("tcp")));
        let read: EventAnswer = serde_json::from_value(told).unwrap();
        assert_eq!(read, **backlog[2]);
    }

    #[test]
    fn what_comes_follows_what_is_held() {
        let log = log(2);
        let mut resumed = log.follow(Since::Now);
        log.push(&Event { index: 3, at: UnixMs(3), kind: EventKind::Stalled { late_ms: 1 } });
        assert_eq!((resumed.backlog.len(), resumed.receiver.try_recv().unwrap().index), (0, 3));
        assert_eq!(log.last_id(), "3-3");
    }
}
