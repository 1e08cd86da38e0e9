//! Deliberate defects, by which the simulator's checker is itself checked: a promise that no broken engine ever breaks may be one that
//! nobody watches.
//!
//! Only under the feature `sabotage`, which the simulator alone asks for, can a defect be set, and only by a call of
//! `Engine::sabotage`: no configuration, command or packet reaches it. Without the feature every question below is answered by a constant.

macro_rules! defects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What can be broken on purpose. Each says what is broken, and which promise of the design that breaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defect { $($(#[$doc])* $variant),* }

        #[cfg(feature = "sabotage")]
        impl Defect {
            /// Every defect.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

defects! {
    /// One signature is taken for a quorum: breaks promise 1, Quorum.
    QuorumOfOne = "quorum-of-one",
    /// One signature less than a quorum decides: breaks promise 1, Quorum.
    QuorumLessOne = "quorum-less-one",
    /// Observers are counted among the reachable agents only, so that a quorum shrinks with the mesh: breaks promise 1, Quorum.
    ObserversReachable = "observers-reachable",
    /// Signatures never expire, so that those of different moments add up: breaks promise 1, Quorum.
    SignaturesKeep = "signatures-keep",
    /// Verdicts are added up from the votes at hand, without asking anybody: breaks promise 1, Quorum.
    VotesAddedUp = "votes-added-up",
    /// An observer signs whatever it is asked, without having seen it: breaks promise 1, Quorum.
    SignsUnseen = "signs-unseen",
    /// An observer that has nothing to say counts as one that saw a failure: breaks promise 1, Quorum.
    SilenceFails = "silence-fails",
    /// No roll is called, and every vantage is valid: breaks promise 2, Minority silence.
    NoRollCall = "no-roll-call",
    /// A majority of those who answer is enough, instead of one of the roster: breaks promise 2, Minority silence.
    RosterReachable = "roster-reachable",
    /// An agent does not notice that it stood still: breaks promise 3, No blame for one's own trouble.
    StallUnnoticed = "stall-unnoticed",
    /// An observer that is gone is not replaced, and its last word keeps counting: breaks promise 4, No stale health.
    LeaseIgnored = "lease-ignored",
    /// Signatures under records and certificates are not checked: breaks promise 6, Nothing forged.
    SignaturesUnchecked = "signatures-unchecked",
    /// A certificate of a lower term replaces one of a higher: breaks the order of terms in promise 8.
    LowerTermTaken = "lower-term-taken",
    /// A flapping instance is up again at once, however often it has flapped: breaks promise 10, Bounded cost.
    NoHoldDown = "no-hold-down",
    /// A peer's table may declare failed who is held alive: breaks promise 9, Convergence.
    NaiveMerge = "naive-merge",
    /// The library's misdirected `TurnUndead` is let through, so that healthy members give up their identity: breaks promise 9, Convergence.
    UndeadUnfiltered = "undead-unfiltered",
    /// A restarted agent begins to count its starts anew and does not notice: breaks promise 9, Convergence.
    BootForgotten = "boot-forgotten",
    /// A member forgets what it has promised and accepted towards the next epoch, so that two rosters may be decided for one: breaks promise 2,
    /// Minority silence, which rests on one roster per epoch.
    AcceptorForgets = "acceptor-forgets",
    /// Whoever has caught up never compares notes again, so that what got lost stays lost: breaks promise 9, Convergence.
    NoRepair = "no-repair",
    /// An owner signs two different batches under one sequence and tells some of the one, some of the other: breaks promise 9, Convergence.
    SignsTwice = "signs-twice",
    /// An older record replaces a newer one: breaks promise 9, Convergence.
    OlderRecordTaken = "older-record-taken",
    /// A record is believed whoever of the mesh has signed it, not its owner alone: breaks promise 6, Nothing forged.
    AuthorUnchecked = "author-unchecked",
    /// The life of votes, signatures, promises and hold-downs is measured by the wall clock, which leaps: breaks promise 1, Quorum, and promise 10,
    /// Bounded cost.
    LeasesByWallClock = "leases-by-wall-clock",
    /// News is passed on for ever: breaks promise 10, Bounded cost.
    GossipForever = "gossip-forever",
    /// Every caller may try an instance that is open for all, as soon as anyone may: breaks promise 10, Bounded cost.
    EveryoneTries = "everyone-tries",
    /// One caller's failures open a breaker for all: breaks promise 3, No blame for one's own trouble.
    OneCallerOpens = "one-caller-opens",
}

/// The defect an engine runs under, if any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sabotage {
    #[cfg(feature = "sabotage")]
    defect: Option<Defect>,
}

impl Sabotage {
    #[cfg(feature = "sabotage")]
    pub const fn under(defect: Defect) -> Self {
        Self { defect: Some(defect) }
    }

    /// Is this what is broken?
    #[cfg(feature = "sabotage")]
    pub fn is(self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Nothing is.
    #[cfg(not(feature = "sabotage"))]
    pub const fn is(self, _: Defect) -> bool {
        false
    }

    /// How many signatures are taken for a quorum of `quorum`.
    pub fn quorum(self, quorum: usize) -> usize {
        match quorum {
            _ if self.is(Defect::QuorumOfOne) => 1,
            2.. if self.is(Defect::QuorumLessOne) => quorum - 1,
            _ => quorum,
        }
    }
}
