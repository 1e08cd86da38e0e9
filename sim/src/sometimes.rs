//! *Sometimes* assertions: rare paths that a sweep should really take. A promise that was never put to the test has not been kept but spared.
//!
//! Paths are recognised from events, pictures, counters and packets; nothing here influences a run.

use crate::calls::CallSight;
use crate::invariants::Sight;
use crate::truth::Truth;
use quorate_core::signing::Refusal;
use quorate_core::{AbstainReason, Class, Verdict, Vote};
use quorate_mesh::{BreakerCause, BreakerState, EventKind, Glance, InstanceView, MemberState, Stats};
use quorate_wire::{Delta, Packet, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

macro_rules! paths {
    ($($path:ident: $name:literal,)*) => {
        /// A rare path.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Path { $($path),* }

        impl Path {
            /// All of them, in the order in which they are listed.
            pub const ALL: &'static [Self] = &[$(Self::$path),*];

            /// In words.
            pub fn name(self) -> &'static str {
                match self { $(Self::$path => $name),* }
            }
        }
    };
}

paths! {
    Refuted: "a suspicion was refuted",
    Failed: "a member failed and came back",
    Renewed: "an identity was renewed",
    UndeadFiltered: "a misdirected TurnUndead was held back",
    LocalHealth: "an agent doubted its own health",
    Stalled: "a stall was noticed",
    Inconclusive: "an outcome was set aside as inconclusive",
    SecondOpinion: "a second opinion was asked for and given",
    Clone: "a cloned identity was detected",
    RollCallFailed: "a roll call found its caller isolated",
    NotQuorate: "an agent lost sight of the majority",
    Isolated: "a failure was seen and kept back for want of a vantage",
    Impaired: "an observer doubted itself since too much failed",
    MissedByOne: "a quorum was missed by exactly one vote",
    Disagreed: "an observer refused to sign since it saw otherwise",
    NotNow: "an observer was in no position to sign",
    Taken: "a proposal was refused since its term was taken",
    AlreadyCertified: "a proposal was answered with a certificate",
    ShownUsedUp: "a proposal was answered with the proof that its term is used up",
    UnknownToSigner: "a signer did not know what was proposed",
    Superseded: "a certificate was superseded within its term",
    TermSkipped: "a term was skipped",
    Thin: "a thin certificate was renewed",
    Replaced: "observers were replaced",
    Partial: "a verdict was partial",
    HomeOnly: "only home reached an instance",
    Degraded: "a verdict was degraded",
    Down: "a verdict was down",
    HostDown: "a host was down",
    Folded: "an instance folded under its host",
    AgentDead: "an agent was dead and its service alive",
    HoldDown: "a flapping instance was held down",
    Stale: "a verdict was stale",
    Unheard: "a verdict was unknown since nobody who watches was heard",
    Repaired: "a repair brought records that gossip had lost",
    CertificateRepaired: "a repair brought a certificate",
    CertificateRefused: "a certificate was refused",
    BatchRefused: "a batch was refused",
    Malformed: "a packet could not be read",
    Refused: "a packet was refused for its sender",
    RosterShrank: "a roster shrank",
    RosterGrew: "a roster grew in a formed mesh",
    CallRejected: "a call was rejected",
    TrialLent: "the mesh lent a trial",
    ResultLate: "a result came after its breaker had turned",
    BreakerOpened: "callers together opened a breaker",
    BreakerFollowed: "a breaker opened since peers held it open",
    BreakerForZone: "a breaker opened for one zone",
    BreakerHeld: "a verdict held a breaker open",
    BreakerRecovered: "a breaker recovered",
    Overridden: "a person overrode a breaker",
}

/// Which paths a run has taken.
#[derive(Debug, Default)]
pub struct Coverage {
    taken: BTreeSet<Path>,
    seen: BTreeMap<usize, Glance>,
}

impl Coverage {
    /// The names of the paths taken.
    pub fn names(&self) -> Vec<&'static str> {
        self.taken.iter().map(|path| path.name()).collect()
    }

    fn take(&mut self, path: Path, taken: bool) {
        if taken {
            self.taken.insert(path);
        }
    }

    /// Looks at what the invariants are shown.
    pub fn look(&mut self, truth: &Truth, sight: &Sight<'_>) {
        match sight {
            Sight::Event { kind, .. } => self.event(kind),
            Sight::Instance { before, after, .. } => self.instance(truth, before.as_deref(), after),
            Sight::Survey { views } => {
                for (agent, view) in views.iter().enumerate() {
                    if let Some(view) = view.filter(|_| !truth.scenario.suspect(agent, truth.now)) {
                        self.picture(truth, agent, view);
                    }
                }
            }
            Sight::Call { call, .. } => self.call(*call),
            Sight::Certificate { .. } | Sight::End => {}
        }
    }

    fn call(&mut self, call: CallSight) {
        match call {
            CallSight::Admitted { lent } => self.take(Path::TrialLent, lent),
            CallSight::Rejected => self.take(Path::CallRejected, true),
            CallSight::Ended { stale, .. } => self.take(Path::ResultLate, stale),
        }
    }

    fn event(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Breaker { state, cause, zone, .. } => {
                let open = *state == BreakerState::Open;
                let pooled = matches!(cause, BreakerCause::CallersAnswered | BreakerCause::CallersSilent);
                self.take(Path::BreakerOpened, open && pooled);
                self.take(Path::BreakerFollowed, open && *cause == BreakerCause::Peers);
                self.take(Path::BreakerForZone, open && zone.is_some());
                self.take(Path::BreakerHeld, open && *cause == BreakerCause::Verdict);
                self.take(Path::BreakerRecovered, *state == BreakerState::Closed);
            }
            EventKind::Override { .. } => self.take(Path::Overridden, true),
            EventKind::Stalled { .. } => self.take(Path::Stalled, true),
            EventKind::IdentityConflict { .. } => self.take(Path::Clone, true),
            EventKind::Quorate { quorate, .. } => self.take(Path::NotQuorate, !quorate),
            EventKind::Member { from, to, .. } => {
                self.take(Path::Failed, *from == Some(MemberState::Failed) && *to == MemberState::Alive);
            }
            EventKind::Vote { observation, .. } => {
                self.take(Path::Isolated, observation.vote == Vote::Abstain(AbstainReason::Isolated));
                self.take(Path::Impaired, observation.vote == Vote::Abstain(AbstainReason::Impaired));
            }
            EventKind::Verdicts { changes, .. } => {
                for change in changes {
                    self.take(Path::Folded, change.folded_under.is_some());
                    self.take(Path::Down, change.to == Verdict::Down);
                    self.take(Path::Partial, change.to == Verdict::Partial);
                    self.take(Path::Degraded, change.to == Verdict::Degraded);
                    self.take(Path::HostDown, change.to == Verdict::Down && change.instance.host_of().is_some());
                }
            }
            _ => {}
        }
    }

    fn instance(&mut self, truth: &Truth, before: Option<&InstanceView>, after: &InstanceView) {
        let proof = |view: &InstanceView| view.certificate.clone();
        let (Some(old), Some(new)) = (before.and_then(proof), proof(after)) else { return };
        if Arc::ptr_eq(&old, &new) || old.decision.incarnation != new.decision.incarnation {
            return;
        }
        let (old_term, new_term) = (old.decision.term, new.decision.term);
        self.take(Path::Superseded, old_term == new_term && old.rank() < new.rank());
        self.take(Path::TermSkipped, new_term > old_term + 1 && truth.now > truth.scenario.first_fault);
        let thicker =
            old.endorsements.len() < new.endorsements.len() && old.decision.observers < new.decision.observers;
        self.take(Path::Thin, thicker && old.decision.verdict == new.decision.verdict);
    }

    fn picture(&mut self, truth: &Truth, agent: usize, view: &Glance) {
        self.counters(&view.stats);
        let before = self.seen.insert(agent, view.clone());
        let formed = truth.now >= truth.scenario.first_fault;
        if let Some(before) = &before {
            self.take(Path::RosterShrank, view.roster < before.roster);
            self.take(Path::RosterGrew, formed && view.roster > before.roster);
            if !Arc::ptr_eq(&before.members, &view.members) {
                let state = |view: &Glance, agent| view.members.get(&agent).map(|member| member.state);
                let refuted = before.members.values().any(|member| {
                    member.state == MemberState::Suspect && state(view, member.agent) == Some(MemberState::Alive)
                });
                self.take(Path::Refuted, refuted);
            }
            if Arc::ptr_eq(&before.instances, &view.instances) {
                return;
            }
        }
        for (id, instance) in view.instances.iter() {
            let old = before.as_ref().and_then(|before| before.instances.get(id));
            if old.is_none_or(|old| !Arc::ptr_eq(old, instance)) {
                self.shown(old.map(Arc::as_ref).filter(|_| formed), instance);
            }
        }
    }

    fn counters(&mut self, stats: &Stats) {
        self.take(Path::Renewed, stats.renewals > 0);
        self.take(Path::UndeadFiltered, stats.undead_filtered > 0);
        self.take(Path::LocalHealth, stats.local_health > 0);
        self.take(Path::Inconclusive, stats.probes_inconclusive > 0);
        self.take(Path::SecondOpinion, stats.second_opinions_given > 0);
        // One roll call may still be running.
        self.take(Path::RollCallFailed, stats.roll_calls > stats.roll_calls_quorate + 1);
        self.take(Path::CertificateRefused, stats.certificates_refused > 0);
        self.take(Path::BatchRefused, stats.batches_refused > 0);
        self.take(Path::Malformed, stats.packets_malformed > 0);
        self.take(Path::Refused, stats.packets_refused > 0);
    }

    fn shown(&mut self, before: Option<&InstanceView>, instance: &InstanceView) {
        let votes = || instance.observers.iter().filter_map(|o| o.observation.as_ref().map(|seen| seen.vote));
        let fails = votes().filter(|vote| vote.fails()).count();
        let short = instance.quorum > 1 && fails + 1 == instance.quorum as usize && instance.decided == Verdict::Up;
        self.take(Path::MissedByOne, short);
        self.take(Path::HoldDown, instance.flapping);
        self.take(Path::Stale, instance.stale_since.is_some());
        self.take(Path::Unheard, instance.verdict == Verdict::Unknown && instance.decided != Verdict::Starting);
        self.take(Path::HomeOnly, instance.class == Class::NetworkUnreachable);
        self.take(Path::AgentDead, instance.class == Class::AgentDead);
        let places = |view: &InstanceView| view.observers.iter().map(|o| o.agent).collect::<BTreeSet<_>>();
        let replaced =
            before.is_some_and(|b| b.assigned == instance.assigned && !places(instance).is_subset(&places(b)));
        self.take(Path::Replaced, replaced);
    }

    /// Looks at a packet that is sent. Only the few kinds that tell something are read.
    pub fn packet(&mut self, bytes: &[u8]) {
        /// The packets' kinds by their places in the format; see the test.
        const DELTA: u8 = 6;
        const ANSWERS: u8 = 13;
        if !matches!(bytes.get(1), Some(&(DELTA | ANSWERS))) {
            return;
        }
        match quorate_wire::decode(bytes) {
            Ok(Packet::Delta(delta)) => self.delta(&delta),
            Ok(Packet::Answers { answers, .. }) => answers.iter().for_each(|answer| self.reply(&answer.reply)),
            _ => {}
        }
    }

    fn delta(&mut self, delta: &Delta) {
        // Whoever is introduced is new; who is not has missed something.
        self.take(
            Path::Repaired,
            delta.owners.iter().any(|owner| owner.credential.is_none() && !owner.batches.is_empty()),
        );
        self.take(Path::CertificateRepaired, !delta.certificates.is_empty());
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Disagrees(_) => self.take(Path::Disagreed, true),
            Reply::NotNow => self.take(Path::NotNow, true),
            Reply::Promised(Refusal::Taken { .. }) => self.take(Path::Taken, true),
            Reply::Certified(_) => self.take(Path::AlreadyCertified, true),
            Reply::UsedUp(_) => self.take(Path::ShownUsedUp, true),
            Reply::Unknown => self.take(Path::UnknownToSigner, true),
            Reply::Signed(_) | Reply::Promised(_) => {}
        }
    }
}

/// In how many runs each path was taken.
#[derive(Debug, Clone)]
pub struct Table(BTreeMap<&'static str, u64>);

impl Default for Table {
    fn default() -> Self {
        Self(Path::ALL.iter().map(|path| (path.name(), 0)).collect())
    }
}

impl serde::Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Path::ALL.iter().map(|path| (path.name(), self.runs(*path))))
    }
}

impl Table {
    /// Adds the paths that one run has taken.
    pub fn add(&mut self, names: &[&'static str]) {
        for name in names {
            *self.0.entry(name).or_default() += 1;
        }
    }

    fn runs(&self, path: Path) -> u64 {
        self.0.get(path.name()).copied().unwrap_or(0)
    }

    /// For people: a line each, those that were never taken last.
    pub fn text(&self) -> String {
        let line = |path: &Path| format!("{:>8}  {}", self.runs(*path), path.name());
        let taken = Path::ALL.iter().filter(|path| self.runs(**path) > 0).map(line);
        let never =
            Path::ALL.iter().filter(|path| self.runs(**path) == 0).map(|path| format!("   never  {}", path.name()));
        taken.chain(never).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;
    use quorate_core::{InstanceId, Observation, UnixMs};
    use quorate_wire::{Answer, OwnerDelta};

    fn paths(look: impl Fn(&mut Coverage)) -> Vec<&'static str> {
        let mut coverage = Coverage::default();
        look(&mut coverage);
        coverage.names()
    }

    #[test]
    fn packets_are_recognised_by_their_kind() {
        let answers = |reply| {
            let instance = InstanceId::new("web@0").unwrap();
            quorate_wire::encode(&Packet::Answers { nonce: 1, answers: vec![Answer { instance, term: 1, reply }] })
        };
        let taken = answers(Reply::Promised(Refusal::Taken { term: 3 }));
        assert_eq!(paths(|coverage| coverage.packet(&taken)), [Path::Taken.name()]);
        assert_eq!(paths(|coverage| coverage.packet(&answers(Reply::NotNow))), [Path::NotNow.name()]);
        let mut bench = Bench::new("");
        bench.at(1);
        let certificate = Arc::new(bench.certificate("web@0", Verdict::Up, &[1], 1));
        let owner = OwnerDelta { owner: certificate.endorsements[0].agent, credential: None, batches: Vec::new() };
        let delta = Delta { certificates: vec![certificate], owners: vec![owner], ..Delta::default() };
        let bytes = quorate_wire::encode(&Packet::Delta(delta));
        assert_eq!(paths(|coverage| coverage.packet(&bytes)), [Path::CertificateRepaired.name()]);
        assert!(paths(|coverage| coverage.packet(&quorate_wire::encode(&Packet::RollCall { nonce: 1 }))).is_empty());
    }

    #[test]
    fn a_quorum_missed_by_one_is_seen() {
        let mut bench = Bench::new("");
        bench.at(30);
        let mut instance = bench.instance_view("web@0", Verdict::Up, 1, None);
        let vote = Vote::Fail { phase: quorate_core::Phase::Connect, cause: quorate_core::Cause::Refused };
        let fail = Observation { vote, detail: String::new(), since: UnixMs(0) };
        let taken = |instance: &InstanceView| {
            let view = bench.mesh_view(0, true, std::slice::from_ref(instance));
            paths(|coverage| coverage.look(&bench.truth, &Sight::Survey { views: &[Some(&view)] }))
        };
        instance.observers[0].observation = Some(fail.clone());
        assert!(taken(&instance).is_empty());
        instance.observers[1].observation = Some(fail);
        assert_eq!(taken(&instance), [Path::MissedByOne.name()]);
    }

    #[test]
    fn the_table_tells_what_was_never_taken() {
        let mut table = Table::default();
        table.add(&[Path::Stalled.name(), Path::Thin.name()]);
        table.add(&[Path::Stalled.name()]);
        let text = table.text();
        assert!(
            text.contains("       2  a stall was noticed")
                && text.contains("   never  a quorum was missed by exactly one vote")
        );
        assert!(text.find("never").unwrap() > text.find("a thin certificate").unwrap());
        let json = serde_json::to_value(&table).unwrap();
        assert_eq!((json.as_object().unwrap().len(), json["a stall was noticed"].as_u64()), (Path::ALL.len(), Some(2)));
    }
}
