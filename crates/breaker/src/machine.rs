//! The state machine: a status, an event, and which status follows. Nothing else decides about a transition.
//!
//! The whole matrix is written out in `testdata/transitions.txt` and drawn in `docs/breaker.md`; tests compare both with [`step`].

use crate::settings::Policy;
use quorate_core::Mono;
use std::fmt;
use std::time::Duration;

/// What callers see. The numbers are those of the gauge `circuit_breaker_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Traffic flows, or is ramping up.
    Closed = 0,
    /// A few trial calls are allowed.
    HalfOpen = 1,
    /// Nothing is allowed.
    Open = 2,
}

/// Where the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Traffic flows.
    Closed,
    /// Closed again, and admitting a growing share of the calls.
    Ramping,
    /// A few trial calls are allowed.
    HalfOpen,
    /// Nothing is allowed until a moment, or until a verdict changes.
    Open,
}

/// Who is in charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// The machine.
    #[default]
    Automatic,
    /// The machine moves and tells, but every call is admitted: for trying settings out.
    ObserveOnly,
    /// A person: nothing is admitted.
    ForcedOpen,
    /// A person: everything is admitted, and counted.
    ForcedClosed,
    /// A person: everything is admitted, and nothing counted.
    Disabled,
}

/// What can move the machine; it is also the reason given for the transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Too large a share of the window's calls failed.
    FailureRate,
    /// Too large a share of the window's calls was slow.
    SlowRate,
    /// Too many failures in a row.
    ConsecutiveFailures,
    /// A trial call failed.
    TrialFailed,
    /// Enough trial calls succeeded.
    TrialsSucceeded,
    /// It has been open long enough.
    WaitOver,
    /// The ramp has reached its end.
    RampOver,
    /// The mesh's verdict on the instance became down: open, and no trial while that holds.
    VerdictDown,
    /// The mesh's verdict became up: trials at once.
    VerdictUp,
    /// The mesh no longer knows, or nobody else is there to share it with: back to waiting by the clock.
    VerdictUnknown,
    /// The evidence of many callers together opens it, until the mesh says otherwise: its clock begins no trials.
    PeersOpened,
    /// Trials elsewhere succeeded.
    PeersRecovered,
    /// The mesh lends this caller one of its trial places.
    TrialGranted,
    /// The place it lent is another's now.
    TrialWithdrawn,
    /// A person opens it.
    Tripped,
    /// A person closes it and forgets what was counted.
    Reset,
    /// A person puts someone else in charge.
    Mode(Mode),
}

macro_rules! words {
    ($type:ident { $($value:pat => $word:literal),* $(,)? }) => {
        impl $type {
            /// The word used in metrics, events and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($value => $word),* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words!(State { State::Closed => "closed", State::HalfOpen => "half_open", State::Open => "open" });
words!(Phase {
    Phase::Closed => "closed", Phase::Ramping => "ramping", Phase::HalfOpen => "half_open", Phase::Open => "open",
});
words!(Mode {
    Mode::Automatic => "automatic",
    Mode::ObserveOnly => "observe_only",
    Mode::ForcedOpen => "forced_open",
    Mode::ForcedClosed => "forced_closed",
    Mode::Disabled => "disabled",
});
words!(Event {
    Event::FailureRate => "failure_rate",
    Event::SlowRate => "slow_rate",
    Event::ConsecutiveFailures => "consecutive_failures",
    Event::TrialFailed => "trial_failed",
    Event::TrialsSucceeded => "trials_succeeded",
    Event::WaitOver => "wait_over",
    Event::RampOver => "ramp_over",
    Event::VerdictDown => "verdict_down",
    Event::VerdictUp => "verdict_up",
    Event::VerdictUnknown => "verdict_unknown",
    Event::PeersOpened => "peers_opened",
    Event::PeersRecovered => "peers_recovered",
    Event::TrialGranted => "trial_granted",
    Event::TrialWithdrawn => "trial_withdrawn",
    Event::Tripped => "tripped",
    Event::Reset => "reset",
    Event::Mode(Mode::Automatic) => "automatic",
    Event::Mode(Mode::ObserveOnly) => "observe_only",
    Event::Mode(Mode::ForcedOpen) => "forced_open",
    Event::Mode(Mode::ForcedClosed) => "forced_closed",
    Event::Mode(Mode::Disabled) => "disabled",
});

impl Event {
    /// Every event, in the order of the table.
    pub const ALL: [Self; 21] = [
        Self::FailureRate,
        Self::SlowRate,
        Self::ConsecutiveFailures,
        Self::TrialFailed,
        Self::TrialsSucceeded,
        Self::WaitOver,
        Self::RampOver,
        Self::VerdictDown,
        Self::VerdictUp,
        Self::VerdictUnknown,
        Self::PeersOpened,
        Self::PeersRecovered,
        Self::TrialGranted,
        Self::TrialWithdrawn,
        Self::Tripped,
        Self::Reset,
        Self::Mode(Mode::Automatic),
        Self::Mode(Mode::ObserveOnly),
        Self::Mode(Mode::ForcedOpen),
        Self::Mode(Mode::ForcedClosed),
        Self::Mode(Mode::Disabled),
    ];
}

impl Phase {
    /// What callers see of it.
    #[must_use]
    pub fn state(self) -> State {
        match self {
            Self::Closed | Self::Ramping => State::Closed,
            Self::HalfOpen => State::HalfOpen,
            Self::Open => State::Open,
        }
    }
}

impl Mode {
    /// Does the machine move in this mode?
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Self::Automatic | Self::ObserveOnly)
    }
}

/// A moment in steps of 2^20 ns (about a millisecond), in 39 bits: 18 years of a monotonic clock. It is reached at or after the time it
/// was made of, never before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) const BITS: u32 = 39;
    const STEP_BITS: u32 = 20;
    /// Not by the clock: a verdict or a person decides.
    pub const NEVER: Self = Self((1 << Self::BITS) - 1);
    /// Not by the clock either: the mesh lends trials and says when they have been enough.
    pub const SHARED: Self = Self((1 << Self::BITS) - 2);

    /// The first moment at or after `now + span`.
    #[must_use]
    pub fn after(now: Mono, span: Duration) -> Self {
        let step = 1 << Self::STEP_BITS;
        Self((now + span).0.div_ceil(step).min(Self::SHARED.0 - 1))
    }

    /// Has it come?
    #[inline]
    #[must_use]
    pub fn reached(self, now: Mono) -> bool {
        now.0 >> Self::STEP_BITS >= self.0 && self.0 < Self::SHARED.0
    }

    /// As a time; `None` for [`Moment::NEVER`] and [`Moment::SHARED`].
    #[must_use]
    pub fn time(self) -> Option<Mono> {
        (self.0 < Self::SHARED.0).then_some(Mono(self.0 << Self::STEP_BITS))
    }
}

/// All that decides how calls are treated, in one word: whoever changes it changes it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Counts the transitions, modulo 2^17. An outcome counts only in the generation that admitted its call.
    pub generation: u32,
    /// Who is in charge.
    pub mode: Mode,
    /// Where the machine is. `Open` while forced open, `Closed` while forced closed or disabled.
    pub phase: Phase,
    /// How often it has opened again without having been closed and past its ramp. At most 15.
    pub attempt: u8,
    /// Open: when trials begin, `NEVER` while a verdict or a person holds it open. Ramping: when the ramp ends. Half-open: zero. Open or
    /// half-open: `SHARED` while the mesh decides about trials and recovery.
    pub at: Moment,
}

impl Status {
    /// Bits of the generation.
    pub const GENERATION_BITS: u32 = 17;
    const ATTEMPT_MAX: u8 = 15;

    /// What callers see.
    #[must_use]
    pub fn state(self) -> State {
        self.phase.state()
    }

    /// Is it in the mesh's hands: open until the mesh lends a trial or tells of recovery, or half-open for the one trial that was lent?
    #[must_use]
    pub fn is_shared(self) -> bool {
        self.at == Moment::SHARED
    }

    /// Is it held open by a verdict or a person, and not by the clock?
    #[must_use]
    pub fn is_held(self) -> bool {
        self.phase == Phase::Open && self.at == Moment::NEVER
    }
}

impl Default for Status {
    fn default() -> Self {
        Self { generation: 0, mode: Mode::Automatic, phase: Phase::Closed, attempt: 0, at: Moment(0) }
    }
}

/// The status after `event`, or `None` when the event changes nothing. `draw` is uniform over all numbers.
#[must_use]
pub fn step(status: Status, event: Event, policy: &Policy, now: Mono, draw: u64) -> Option<Status> {
    let Status { mode, phase, .. } = status;
    let turn = Turn { status, policy, now, draw };
    match (phase, event) {
        (_, Event::Mode(wanted)) if wanted == mode => None,
        (_, Event::Mode(wanted)) => Some(turn.put_in_charge(wanted)),
        (_, _) if !mode.moves() => None,
        (_, Event::Reset) => Some(turn.closed()),

        (Phase::Closed | Phase::Ramping, Event::FailureRate | Event::SlowRate | Event::ConsecutiveFailures)
        | (Phase::Closed | Phase::Ramping, Event::Tripped) => Some(turn.open()),
        (Phase::Closed | Phase::Ramping | Phase::HalfOpen, Event::PeersOpened) => Some(turn.open_shared()),
        (Phase::Open, Event::PeersOpened) if !status.is_shared() => Some(turn.share()),
        (_, Event::VerdictDown) if !status.is_held() => Some(turn.hold()),
        (Phase::Ramping, Event::RampOver) if status.at.reached(now) => Some(turn.closed()),

        (Phase::Open, Event::WaitOver) if status.at.reached(now) => Some(turn.half_open()),
        (Phase::Open, Event::VerdictUp) => Some(turn.half_open()),
        (Phase::Open, Event::VerdictUnknown) if status.is_held() => Some(turn.wait_again()),
        (Phase::Open | Phase::HalfOpen, Event::VerdictUnknown) if status.is_shared() => Some(turn.wait_again()),
        (Phase::Open, Event::TrialGranted) if !status.is_held() => Some(turn.lent()),
        (Phase::Open, Event::PeersRecovered) if !status.is_held() => Some(turn.ramp()),
        (Phase::Open, Event::Tripped) if !status.is_held() && !status.is_shared() => Some(turn.wait_again()),

        (Phase::HalfOpen, Event::TrialFailed) if status.is_shared() => Some(turn.open_shared()),
        (Phase::HalfOpen, Event::TrialsSucceeded | Event::TrialWithdrawn) if status.is_shared() => Some(turn.share()),
        (Phase::HalfOpen, Event::TrialFailed) => Some(turn.open()),
        (Phase::HalfOpen, Event::Tripped) => Some(turn.wait_again()),
        (Phase::HalfOpen, Event::TrialsSucceeded | Event::PeersRecovered) => Some(turn.ramp()),

        (Phase::Closed | Phase::Ramping, Event::TrialFailed | Event::TrialsSucceeded | Event::WaitOver)
        | (Phase::Closed | Phase::Ramping, Event::RampOver | Event::VerdictUp | Event::VerdictUnknown)
        | (Phase::Closed | Phase::Ramping, Event::PeersRecovered | Event::TrialGranted | Event::TrialWithdrawn)
        | (Phase::HalfOpen, Event::FailureRate | Event::SlowRate | Event::ConsecutiveFailures | Event::WaitOver)
        | (Phase::HalfOpen, Event::RampOver | Event::VerdictUp | Event::VerdictUnknown | Event::TrialGranted)
        | (Phase::HalfOpen | Phase::Open, Event::TrialWithdrawn)
        | (Phase::Open, Event::FailureRate | Event::SlowRate | Event::ConsecutiveFailures | Event::TrialFailed)
        | (Phase::Open, Event::TrialsSucceeded | Event::WaitOver | Event::RampOver | Event::VerdictUnknown)
        | (Phase::Open, Event::PeersOpened | Event::PeersRecovered | Event::TrialGranted | Event::Tripped)
        | (_, Event::VerdictDown) => None,
    }
}

/// A transition in the making.
struct Turn<'a> {
    status: Status,
    policy: &'a Policy,
    now: Mono,
    draw: u64,
}

impl Turn<'_> {
    fn to(&self, phase: Phase, attempt: u8, at: Moment) -> Status {
        let generation = (self.status.generation + 1) & ((1 << Status::GENERATION_BITS) - 1);
        Status { generation, mode: self.status.mode, phase, attempt, at }
    }

    fn closed(&self) -> Status {
        self.to(Phase::Closed, 0, Moment(0))
    }

    /// Opens. Whoever opens again before it was closed and past its ramp waits longer each time.
    fn open(&self) -> Status {
        let again = self.status.phase != Phase::Closed;
        let attempt = if again { (self.status.attempt + 1).min(Status::ATTEMPT_MAX) } else { 0 };
        self.to(Phase::Open, attempt, self.deadline(attempt))
    }

    /// Opens until the mesh says otherwise.
    fn open_shared(&self) -> Status {
        Status { at: Moment::SHARED, ..self.open() }
    }

    /// Open as before, in the mesh's hands.
    fn share(&self) -> Status {
        self.to(Phase::Open, self.status.attempt, Moment::SHARED)
    }

    /// Half-open for one trial, whose outcome the mesh weighs with others'.
    fn lent(&self) -> Status {
        self.to(Phase::HalfOpen, self.status.attempt, Moment::SHARED)
    }

    /// Open for another wait of the same length.
    fn wait_again(&self) -> Status {
        let attempt = self.status.attempt;
        self.to(Phase::Open, attempt, self.deadline(attempt))
    }

    fn hold(&self) -> Status {
        self.to(Phase::Open, self.status.attempt, Moment::NEVER)
    }

    fn half_open(&self) -> Status {
        self.to(Phase::HalfOpen, self.status.attempt, Moment(0))
    }

    fn ramp(&self) -> Status {
        let ramp = self.policy.settings().ramp;
        if ramp.is_zero() {
            return self.closed();
        }
        self.to(Phase::Ramping, self.status.attempt, Moment::after(self.now, ramp))
    }

    /// Between automatic and observe-only the machine stays where it is. What was forced open is tried before it is trusted.
    fn put_in_charge(&self, mode: Mode) -> Status {
        let next = match (self.status.mode, mode) {
            (_, Mode::ForcedOpen) => self.hold(),
            (_, Mode::ForcedClosed | Mode::Disabled) => self.closed(),
            (Mode::ForcedOpen, Mode::Automatic | Mode::ObserveOnly) => self.half_open(),
            (Mode::ForcedClosed | Mode::Disabled, Mode::Automatic | Mode::ObserveOnly) => self.closed(),
            (Mode::Automatic | Mode::ObserveOnly, Mode::Automatic | Mode::ObserveOnly) => {
                self.to(self.status.phase, self.status.attempt, self.status.at)
            }
        };
        Status { mode, ..next }
    }

    fn deadline(&self, attempt: u8) -> Moment {
        Moment::after(self.now, self.policy.wait(attempt, self.draw))
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
