//! Beginning as a member of a mesh that has long been formed, for simulations: a thousand agents that join one after the other cost more to
//! simulate than whatever is to be seen after that.

use super::assigning::{Order, SPARE_PLACES};
use super::instance::{Instance, Votes};
use super::repair::{fingerprint, owner_bucket};
use super::{Agent, Engine};
use crate::api::{MemberState, Output};
use crate::namespace::Namespace;
use quorate_core::assignment::Candidate;
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AgentId, Class, InstanceId, Registration, Roster, Verdict, Vote, quorum};
use quorate_wire::{Batch, Digest, Record, RecordKey, Reply, Sealed};
use rand::RngExt;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An agent as the others know it, when they have known it for long.
#[derive(Debug, Clone)]
pub struct Acquaintance {
    owner: AgentId,
    credential: Arc<[u8]>,
    batches: Vec<Arc<Batch>>,
}

/// What an agent has said and signed of the instances that it observes, when all of them have been up for long.
#[derive(Debug, Clone)]
pub struct Testimony {
    known: Acquaintance,
    signed: Vec<(InstanceId, Endorsement)>,
}

/// Agents that have known each other for long. What all of them know alike is worked out by the first one that is made one of them, and shared.
#[derive(Debug)]
pub struct Formation {
    agents: Vec<Acquaintance>,
    /// Signatures for `up`, where instances have their verdicts already.
    signed: BTreeMap<InstanceId, Vec<Endorsement>>,
    common: OnceCell<Common>,
}

/// What every member of a formed mesh knows of the members.
#[derive(Debug)]
struct Common {
    agents: BTreeMap<AgentId, Agent>,
    namespaces: BTreeMap<AgentId, Arc<Namespace>>,
    owner_hashes: [u64; Digest::OWNER_BUCKETS],
    records: usize,
    boots: BTreeMap<AgentId, u32>,
    members: BTreeSet<AgentId>,
    roster: Roster,
    instances: Vec<Registered>,
}

#[derive(Debug)]
struct Registered {
    registration: Arc<Registration>,
    home: AgentId,
    incarnation: u64,
    /// How many observers are assigned.
    assigned: u32,
    order: Order,
    /// What its observers say of it.
    votes: Votes,
    /// Its verdict, if it has one, with the hash of its encoding.
    certificate: Option<(Arc<Certificate>, u64)>,
}

impl Registered {
    /// What is decided of an instance that has always been up.
    fn decision(&self) -> Decision {
        Decision {
            instance: self.registration.instance.clone(),
            incarnation: self.incarnation,
            term: 1,
            verdict: Verdict::Up,
            observers: self.assigned,
        }
    }

    fn is_observed_by(&self, agent: AgentId) -> bool {
        agent == self.home || self.may_be_signed_by(agent)
    }

    fn may_be_signed_by(&self, agent: AgentId) -> bool {
        self.order.places().iter().take(self.assigned as usize).any(|place| *place == agent)
    }
}

impl Formation {
    /// A mesh of these agents.
    #[must_use]
    pub fn new(agents: Vec<Acquaintance>) -> Self {
        Self { agents, signed: BTreeMap::new(), common: OnceCell::new() }
    }

    /// The same agents, which have all testified that their instances are up.
    #[must_use]
    pub fn settled(testimonies: Vec<Testimony>) -> Self {
        let mut settled = Self::new(Vec::with_capacity(testimonies.len()));
        for Testimony { known, signed } in testimonies {
            settled.agents.push(known);
            for (instance, endorsement) in signed {
                settled.signed.entry(instance).or_default().push(endorsement);
            }
        }
        settled
    }
}

impl Engine {
    /// This agent, which has just started, as the others are to know it.
    #[must_use]
    pub fn acquaintance(&self) -> Acquaintance {
        let batches = self.log.copy().batches();
        Acquaintance { owner: self.me(), credential: self.config.credential.as_slice().into(), batches }
    }

    /// Makes this agent, which has just started from nothing, an observer that has long found up whatever it will observe in `mesh`. Home checks
    /// are left to their own first look.
    pub fn testify(&mut self, mesh: &Formation) -> Testimony {
        let me = self.me();
        let common = mesh.common.get_or_init(|| self.meet_all(mesh));
        let mine = |known: &&Registered| known.is_observed_by(me) && !known.registration.check.kind.home_only();
        let mut signed = Vec::new();
        for known in common.instances.iter().filter(mine) {
            let id = &known.registration.instance;
            self.insert_known(known);
            self.find_up(id);
            if known.may_be_signed_by(me)
                && let Reply::Signed(endorsement) = self.sign(&known.decision(), Vote::Pass)
            {
                signed.push((id.clone(), endorsement));
            }
        }
        self.flush_log();
        Testimony { known: self.acquaintance(), signed }
    }

    /// Makes this agent, which has just started from nothing, a member of a mesh that has compared notes long ago, itself included: the same
    /// state as after joining, without what joining costs. Where the others are is not put out: whoever forms a mesh knows that.
    pub fn form(&mut self, mesh: &Formation) {
        let me = self.me();
        let common = mesh.common.get_or_init(|| self.meet_all(mesh));
        let timing = &self.config.timing;
        let period = u64::try_from(timing.swim_period.as_nanos()).unwrap_or(u64::MAX);
        let first_probe = self.now.mono + std::time::Duration::from_nanos(self.rng.random_range(0..=period));
        self.next_sync = self.now.mono + timing.sync_interval * self.rng.random_range(0..=100) / 100;
        self.swim.form(first_probe, &common.boots, &self.links);
        if let Some(own) = self.agents.remove(&me) {
            self.agents = common.agents.clone();
            self.agents.values_mut().for_each(|agent| agent.since = self.now.wall);
            self.agents.insert(me, Agent { placed: true, ..own });
        }
        self.namespaces = common.namespaces.clone();
        (self.owner_hashes, self.records_copied) = (common.owner_hashes, common.records);
        self.drop_namespace(me);
        for known in &common.instances {
            self.insert_known(known);
        }
        self.members.clone_from(&common.members);
        self.roster = common.roster.clone();
        self.roster_changed();
        // Everybody has its place in every order already.
        self.roster_moved = false;
        self.synced = true;
        self.vouch();
        self.expects_members = true;
        self.stored_roster = self.roster.len();
        self.persist_now();
        self.settle_down();
        self.out.retain(|output| !matches!(output, Output::Event(_)));
        self.cut.clear();
        self.cut_due = None;
        self.event_index = 0;
    }

    fn insert_known(&mut self, known: &Registered) {
        let (me, now) = (self.me(), self.now);
        let id = &known.registration.instance;
        if !self.instances.contains_key(id) {
            let registration = Some(Arc::clone(&known.registration));
            self.insert_instance(Instance::new(id.clone(), known.home, known.incarnation, registration, now));
        }
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.order = Some(known.order.clone());
        instance.votes =
            known.votes.iter().filter(|(agent, _)| *agent != me).map(|(a, vote)| (a, vote.clone())).collect();
        if let Some((certificate, digest)) = &known.certificate {
            instance.signer.certify(certificate.decision.term);
            instance.believed = certificate.decision.term;
            (instance.learnt, instance.certificate_digest) = (now.mono, *digest);
            instance.certificate = Some(Arc::clone(certificate));
            self.exchange_certificates(None, Some(certificate));
        }
    }

    /// Checks what all agents have published so far; who is not genuine is left out.
    fn meet_all(&self, mesh: &Formation) -> Common {
        let mut common = Common {
            agents: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            owner_hashes: [0; Digest::OWNER_BUCKETS],
            records: 0,
            boots: BTreeMap::new(),
            members: BTreeSet::new(),
            roster: Roster::default(),
            instances: Vec::new(),
        };
        let mut registered = BTreeMap::new();
        let mut votes: BTreeMap<InstanceId, Vec<_>> = BTreeMap::new();
        for other in &mesh.agents {
            if let Some((agent, namespace)) = self.meet(other) {
                common.owner_hashes[owner_bucket(other.owner)] ^= fingerprint(other.owner, &namespace);
                common.records += namespace.len();
                common.boots.insert(other.owner, namespace.epoch());
                let own = namespace.records().filter_map(|record| registration_in(other.owner, record));
                // Where two claim one name, the lower identity has it.
                own.for_each(|(id, known)| _ = registered.entry(id).or_insert(known));
                for record in namespace.records() {
                    if let Record::Observed { instance, incarnation, observation } = record {
                        let vote = (other.owner, (*incarnation, observation.clone()));
                        votes.entry(instance.clone()).or_default().push(vote);
                    }
                }
                common.agents.insert(other.owner, agent);
                common.namespaces.insert(other.owner, Arc::new(namespace));
            }
        }
        // Each agent gets its copies: packed, they are little more than half as large.
        common.agents = std::mem::take(&mut common.agents).into_iter().collect();
        common.namespaces = std::mem::take(&mut common.namespaces).into_iter().collect();
        common.boots = std::mem::take(&mut common.boots).into_iter().collect();
        common.members = common.agents.keys().copied().collect();
        common.roster = Roster::new(1, common.members.clone());
        let zone = |(agent, known): (&AgentId, &Agent)| Some((*agent, known.profile.as_ref()?.zone.clone()));
        let zones: Vec<_> = common.agents.iter().filter_map(zone).collect();
        let candidates: Vec<_> = zones.iter().map(|(agent, zone)| Candidate { agent: *agent, zone }).collect();
        let order = |(id, (registration, home, incarnation)): (InstanceId, Claim)| {
            let assigned = (registration.wanted_observers() as usize).min(candidates.len()).max(1);
            let order = Order::among(&id, &candidates, assigned + SPARE_PLACES);
            let mut said = votes.remove(&id).unwrap_or_default();
            said.sort_unstable_by_key(|(agent, _)| *agent);
            let votes = said.into_iter().collect();
            let assigned = assigned as u32;
            let known = Registered { registration, home, incarnation, assigned, order, votes, certificate: None };
            let certificate = mesh.signed.get(&id).and_then(|signed| certificate_of(&known, signed));
            Registered { certificate, ..known }
        };
        common.instances = registered.into_iter().map(order).collect();
        common
    }

    /// An agent as the others know it, if all that it has published is genuine.
    fn meet(&self, Acquaintance { owner, credential, batches }: &Acquaintance) -> Option<(Agent, Namespace)> {
        let mut namespace = Namespace::default();
        for batch in batches {
            if !self.keys.verify(credential, &batch.signing_bytes(), &batch.signature) {
                return None;
            }
            namespace.take(Arc::clone(batch));
        }
        let Some(Record::Profile(profile)) = namespace.record(&RecordKey::Profile).cloned() else { return None };
        let agent = Agent {
            credential: Arc::clone(credential),
            profile: Some(profile),
            state: MemberState::Alive,
            since: self.now.wall,
            placed: true,
            host_hash: InstanceId::host(*owner).hash64(),
        };
        (self.keys.admit(credential) == Some(*owner)).then_some((agent, namespace))
    }
}

/// The verdict of those of a settled mesh who have signed; none when they are too few.
fn certificate_of(known: &Registered, signed: &[Endorsement]) -> Option<(Arc<Certificate>, u64)> {
    let mut endorsements = signed.to_vec();
    endorsements.truncate(quorum::of(known.assigned) as usize);
    let decided_at = endorsements.iter().map(|endorsement| endorsement.signed_at).max()?;
    let certificate = Certificate { decision: known.decision(), class: Class::Healthy, decided_at, endorsements };
    certificate.check().ok()?;
    let digest = Sealed::new(&certificate).digest();
    Some((Arc::new(certificate), digest))
}

/// As whom an agent registers it, and as which copy.
type Claim = (Arc<Registration>, AgentId, u64);

fn registration_in(owner: AgentId, record: &Record) -> Option<(InstanceId, Claim)> {
    match record {
        Record::Instance { registration, incarnation } => {
            Some((registration.instance.clone(), (Arc::clone(registration), owner, *incarnation)))
        }
        _ => None,
    }
}
