//! Every defect, with the ground on which it shows and the invariants that must notice.

use super::{Case, Ground};
use quorate_mesh::Defect;

const QUORUM: &str = "1 quorum";
const MINORITY: &str = "2 minority silence";
const BLAME: &str = "3 no blame";
const STALE: &str = "4 no stale health";
const FORGED: &str = "6 nothing forged";
const ORDER: &str = "8 order of terms";
const CONVERGENCE: &str = "9 convergence";
const COST: &str = "10 bounded cost";

macro_rules! own {
    ($name:literal) => {
        Ground::Own($name, include_str!(concat!("../../sabotage/", $name, ".toml")))
    };
}

const fn case(
    defect: Defect,
    promise: &'static str,
    ground: Ground,
    seeds: u64,
    found_by: &'static [&'static str],
) -> Case {
    Case { defect, promise, ground, seeds, found_by }
}

/// All cases, the quick ones first.
pub const CASES: &[Case] = &[
    case(Defect::QuorumOfOne, QUORUM, Ground::Library("killed-instance"), 2, &["quorum"]),
    case(Defect::QuorumLessOne, QUORUM, Ground::Library("killed-instance"), 2, &["quorum"]),
    case(Defect::ObserversReachable, QUORUM, own!("halved"), 3, &["quorum"]),
    case(Defect::SignsUnseen, QUORUM, own!("seen-by-three"), 3, &["quorum"]),
    case(Defect::SilenceFails, QUORUM, own!("successors"), 3, &["quorum", "truth wins"]),
    case(Defect::NoRollCall, MINORITY, Ground::Library("split-3-2"), 3, &["minority silence", "no blame"]),
    case(Defect::RosterReachable, MINORITY, Ground::Library("split-3-2"), 3, &["minority silence", "no blame"]),
    case(Defect::StallUnnoticed, BLAME, own!("nap"), 5, &["no blame"]),
    case(Defect::LeaseIgnored, STALE, own!("observers-lost"), 8, &["no stale health"]),
    case(
        Defect::SignaturesUnchecked,
        FORGED,
        Ground::Library("faulty-forger"),
        3,
        &["nothing forged", "quorum", "truth wins"],
    ),
    case(Defect::NaiveMerge, CONVERGENCE, Ground::Library("split-3-2"), 3, &["identity"]),
    case(Defect::BootForgotten, CONVERGENCE, Ground::Library("restart-empty"), 3, &["convergence"]),
    case(Defect::NoHoldDown, COST, Ground::Library("flapping-instance"), 3, &["hold-down"]),
    case(Defect::LowerTermTaken, ORDER, Ground::Library("faulty-replayer"), 6, &["order of terms"]),
    case(Defect::AcceptorForgets, MINORITY, own!("duel"), 24, &["one roster per epoch", "one side"]),
    case(Defect::NoRepair, CONVERGENCE, own!("overheard"), 3, &["convergence"]),
    case(Defect::SignsTwice, CONVERGENCE, Ground::Library("killed-instance"), 3, &["nothing without a cause"]),
    case(Defect::OlderRecordTaken, CONVERGENCE, own!("overtaken"), 3, &["convergence"]),
    case(Defect::AuthorUnchecked, FORGED, Ground::Library("faulty-forger"), 3, &["nothing forged"]),
    case(Defect::LeasesByWallClock, COST, own!("calendars"), 3, &["hold-down", "quorum", "one word a term"]),
    case(Defect::VotesAddedUp, QUORUM, own!("storm"), 3, &["quorum", "nothing forged"]),
    // Whom the misdirected word reaches at the wrong moment is a matter of chance.
    case(Defect::UndeadUnfiltered, CONVERGENCE, own!("rumours"), 30, &["identity"]),
    case(Defect::GossipForever, COST, Ground::Library("steady"), 2, &["bounded cost"]),
    case(Defect::EveryoneTries, COST, Ground::Library("calls-hung"), 3, &["bounded trials"]),
    case(Defect::OneCallerOpens, BLAME, Ground::Library("calls-one-broken-caller"), 2, &["one caller"]),
    case(Defect::SignaturesKeep, QUORUM, own!("storm"), 16, &["quorum"]),
];
