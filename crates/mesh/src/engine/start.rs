//! Starting from what was stored, registering instances, and noticing that what was stored is old or is used by another process too.

use super::epochs::Epochs;
use super::gone::Gone;
use super::instance::Instance;
use super::{Agent, Engine, limits};
use crate::api::{EventKind, Keys, MemberState, Output, StartError};
use crate::config::EngineConfig;
use crate::gossip::GossipQueue;
use crate::namespace::OwnLog;
use crate::sabotage::{Defect, Sabotage};
use crate::swim::{Swim, SwimId};
use crate::view::Stats;
use quorate_core::roster::Acceptor;
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId, Mono, Now, Registration, Roster, hash};
use quorate_wire::{OwnerDelta, Record, RecordKey, RosterProof};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// So many signs of another process with this identity within [`CONFLICT_WINDOW`] are a cloned data directory.
const MAX_CONFLICTS: usize = 3;
const CONFLICT_WINDOW: Duration = Duration::from_secs(60);
/// No agent is ever started this often: a counter beyond it is a damaged one.
const MAX_EPOCH: u32 = u32::MAX / 2;
/// An incarnation holds the start in which it was given out above so many bits of the wall clock in milliseconds: 34 years, then they wrap.
const INCARNATION_CLOCK_BITS: u32 = 40;
/// Starts beyond this are not told apart by incarnations: those only grow by one then.
const MAX_INCARNATION_BOOT: u32 = (1 << 19) - 1;
/// No start and no clock gives out higher ones.
const HONEST_INCARNATIONS: u64 = (MAX_INCARNATION_BOOT as u64 + 1) << INCARNATION_CLOCK_BITS;

/// What an agent needs to come back by itself: its counter, the roster with everyone's last address, and what was decided.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    agent: AgentId,
    boot: u32,
    /// Its own instances with their incarnations.
    instances: Vec<(Arc<Registration>, u64)>,
    /// The others' records, by owner, with their credentials.
    owners: Vec<OwnerDelta>,
    certificates: Vec<Arc<Certificate>>,
    /// Who counts, as of which epoch; zero when that is not known yet.
    epoch: u64,
    roster: Vec<AgentId>,
    /// Promised and accepted towards the next epoch.
    acceptor: Acceptor,
    /// The latest changes with their proofs.
    proofs: Vec<Arc<RosterProof>>,
    gone: Vec<(AgentId, Gone)>,
}

/// The first bytes of a stored state, since format 2.
const STATE_MARK: &[u8; 8] = b"QRTSTATE";
/// The format that is written, in two bytes after the mark. Format 1 had neither mark nor number.
const STATE_FORMAT: u16 = 2;

impl Stored {
    pub(super) fn write(&self) -> Vec<u8> {
        [&STATE_MARK[..], &STATE_FORMAT.to_le_bytes(), &quorate_wire::encode_value(self)].concat()
    }

    /// Reads what this release or an earlier one has written.
    fn read(bytes: &[u8]) -> Result<Self, StartError> {
        let content = match bytes.strip_prefix(STATE_MARK).and_then(<[u8]>::split_first_chunk) {
            Some((format, content)) => match u16::from_le_bytes(*format) {
                STATE_FORMAT => content,
                found => return Err(StartError::Newer { found, known: STATE_FORMAT }),
            },
            None => bytes,
        };
        quorate_wire::decode_value(content).map_err(|error| StartError::Stored(error.to_string()))
    }
}

impl Engine {
    /// Starts an agent at `now`, from the state it stored before, if any.
    ///
    /// # Errors
    /// When the stored state cannot be used; nothing has been changed.
    pub fn new(config: EngineConfig, stored: Option<&[u8]>, keys: Box<dyn Keys>, now: Now) -> Result<Self, StartError> {
        let me = config.agent;
        if keys.admit(&config.credential) != Some(me) {
            return Err(StartError::Credential);
        }
        let stored = stored.map(Stored::read).transpose()?;
        if let Some(other) = stored.as_ref().filter(|stored| stored.agent != me) {
            return Err(StartError::OtherAgent { stored: other.agent, this: me });
        }
        let boot = stored.as_ref().map_or(0, |stored| stored.boot).max(config.boot_floor).saturating_add(1);
        let mut engine = Self::empty(config, keys, now, boot);
        engine.begin(stored);
        Ok(engine)
    }

    fn empty(config: EngineConfig, keys: Box<dyn Keys>, now: Now, boot: u32) -> Self {
        let me = config.agent;
        let seed = hash::mix(&[config.seed, me.0, u64::from(boot)]);
        let swim = Swim::new(SwimId::first(me, boot), &config.timing, ChaCha8Rng::seed_from_u64(hash::spread(seed)));
        let settle_until = now.mono + config.timing.settle;
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            keys,
            now,
            boot,
            wakeup: now.mono,
            out: VecDeque::new(),
            stats: Stats::default(),
            sabotage: Sabotage::default(),
            swim,
            links: BTreeSet::new(),
            versions: BTreeMap::new(),
            speaking: None,
            agents: BTreeMap::new(),
            members: BTreeSet::new(),
            roster: Roster::default(),
            epochs: Epochs::default(),
            adoption: super::adoption::Adoption::default(),
            reached: 0,
            recount: true,
            gone: BTreeMap::new(),
            next_reconnect: now.mono,
            contacts: BTreeSet::new(),
            addresses_in_turn: BTreeMap::new(),
            strays: BTreeMap::new(),
            sync_began: BTreeMap::new(),
            syncs_paid: now.mono,
            log: OwnLog::new(me, boot),
            next_flush: now.mono,
            namespaces: BTreeMap::new(),
            records_copied: 0,
            owner_hashes: [0; quorate_wire::Digest::OWNER_BUCKETS],
            certificate_hashes: [0; quorate_wire::Digest::CERTIFICATE_BUCKETS],
            gossip: GossipQueue::default(),
            next_gossip: now.mono,
            next_sync: now.mono + config.timing.sync_interval,
            orphans: BTreeMap::new(),
            digest_sent: None,
            shown: super::pacing::Allowance::default(),
            instances: BTreeMap::new(),
            services: BTreeMap::new(),
            schedule: BTreeSet::new(),
            probes: BTreeMap::new(),
            pings: super::pings::Pings::default(),
            proposals_due: BTreeSet::new(),
            ripening: BTreeSet::new(),
            rounds: BTreeMap::new(),
            asked: BTreeMap::new(),
            awaiting_roll: BTreeSet::new(),
            second_opinions: super::pacing::SecondOpinions::default(),
            relayed: super::pacing::Allowance::default(),
            dirty: BTreeSet::new(),
            assign_all: true,
            assigned_by: super::assigning::Basis::default(),
            unassigned: BTreeSet::new(),
            roster_moved: true,
            hosts_due: None,
            evaluate_all: true,
            nonce: 0,
            breakers: super::breakers::Breakers::default(),
            roll: super::roll_call::Roll::default(),
            stalled_at: None,
            settle_until,
            synced: false,
            compared_since: None,
            compared_with: BTreeSet::new(),
            syncs_accepted: BTreeMap::new(),
            stored_roster: 0,
            sync_pending: None,
            floors: BTreeMap::new(),
            last_incarnation: 0,
            expects_members: false,
            was_quorate: false,
            was_settled: false,
            quorate_since: now.wall,
            conflicts: VecDeque::new(),
            leaving: None,
            left: false,
            persist_due: None,
            persist_next: now.mono,
            cut: Vec::new(),
            cut_due: None,
            cut_number: 0,
            event_index: 0,
            view_index: 0,
            view_dirty: true,
            members_dirty: true,
            shown_suspects: BTreeMap::new(),
            suspects_seen: Mono(0),
            pictures: super::publishing::Pictures::default(),
            views_dirty: BTreeSet::new(),
            config,
        }
    }

    fn begin(&mut self, mut stored: Option<Stored>) {
        let me = self.me();
        // The counter is stored before anything is said under it.
        let profile = Arc::new(self.own_profile(false));
        let own = Agent {
            credential: self.config.credential.as_slice().into(),
            profile: Some(Arc::clone(&profile)),
            state: MemberState::Alive,
            since: self.now.wall,
            placed: false,
            host_hash: InstanceId::host(me).hash64(),
        };
        self.agents.insert(me, own);
        self.members.insert(me);
        self.swim.know(me, self.boot);
        self.log.write(Record::Profile(profile));
        self.begin_roster(stored.as_mut());
        self.roster_changed();
        // A mesh that has just begun is known to its founder whole.
        self.synced = self.config.founder && stored.is_none();
        let mut incarnations = BTreeMap::new();
        let mut certificates = Vec::new();
        if let Some(stored) = stored {
            // A disk that others have seen the future of may have forgotten later copies, and so may one of before the first roster.
            let current = stored.boot >= self.config.boot_floor && stored.epoch > 0;
            for (registration, incarnation) in stored.instances.into_iter().filter(|_| current) {
                incarnations.insert(registration.instance.clone(), (registration, incarnation));
            }
            for owner in stored.owners {
                if owner.owner == me {
                    self.restore_words(&owner);
                } else {
                    self.take_restored(owner);
                }
            }
            self.stored_roster = self.roster.len();
            certificates = stored.certificates;
        }
        self.expects_members = !self.began_alone();
        let registrations = std::mem::take(&mut self.config.registrations);
        self.register_with(registrations, &incarnations);
        for certificate in certificates {
            self.take_certificate(certificate, super::certificates::Origin::Repaired);
        }
        self.cut.clear();
        self.cut_due = None;
        self.out.retain(|output| matches!(output, Output::Address { .. }));
        self.event_index = 0;
        self.persist_now();
        self.settle_down();
    }

    /// Who counts: as stored; or, in a mesh that begins, its founder; or nobody until others are met.
    fn begin_roster(&mut self, stored: Option<&mut Stored>) {
        match stored {
            Some(stored) => {
                let members = std::mem::take(&mut stored.roster).into_iter().collect();
                self.roster = Roster::new(stored.epoch, members);
                self.gone = std::mem::take(&mut stored.gone).into_iter().take(limits::MAX_GONE).collect();
                let acceptor = std::mem::take(&mut stored.acceptor);
                self.epochs = Epochs::restored(acceptor, std::mem::take(&mut stored.proofs));
                self.begin_recovery(true);
            }
            None if self.config.founder => self.roster = Roster::new(1, BTreeSet::from([self.me()])),
            None => {}
        }
    }

    /// Replaces the set of instances this agent is home to.
    pub(super) fn register(&mut self, registrations: Vec<Registration>) {
        // Who leaves has withdrawn all it had.
        if !self.gives_up() {
            self.register_with(registrations, &BTreeMap::new());
        }
    }

    fn register_with(
        &mut self,
        registrations: Vec<Registration>,
        stored: &BTreeMap<InstanceId, (Arc<Registration>, u64)>,
    ) {
        let (me, last) = (self.me(), self.last_incarnation);
        let wanted: BTreeSet<_> = registrations.iter().map(|registration| registration.instance.clone()).collect();
        let mine = self.log.records().filter_map(|record| match record {
            Record::Instance { registration, .. } => Some(&registration.instance),
            _ => None,
        });
        let withdrawn: Vec<_> = mine.filter(|id| !wanted.contains(*id)).cloned().collect();
        let withdrew = !withdrawn.is_empty();
        for id in withdrawn {
            self.log.write(Record::InstanceGone(id.clone()));
            self.withdraw(&id, me);
        }
        for registration in registrations {
            if !registration.validate().is_empty() || wanted.len() > limits::MAX_INSTANCES_PER_HOME {
                self.stats.limits_hit += 1;
                continue;
            }
            let incarnation = self.incarnation_of(&registration, stored);
            let registration = Arc::new(registration);
            self.log.write(Record::Instance { registration: Arc::clone(&registration), incarnation });
            self.adopt(registration, me, incarnation);
        }
        // A copy that is told and then forgotten would come back as the former one, and so would one whose end is.
        if withdrew || self.last_incarnation > last { self.persist_now() } else { self.persist_soon() }
    }

    /// The same copy keeps its incarnation; another address or check is another copy.
    fn incarnation_of(
        &mut self,
        registration: &Registration,
        stored: &BTreeMap<InstanceId, (Arc<Registration>, u64)>,
    ) -> u64 {
        let same = |known: &Registration| same_copy(known, registration);
        let key = RecordKey::Instance(registration.instance.clone());
        let known = match self.log.record(&key) {
            Some(Record::Instance { registration, incarnation }) => Some((same(registration), *incarnation)),
            _ => stored.get(&registration.instance).map(|(known, incarnation)| (same(known), *incarnation)),
        };
        // One that claims the same name may have made up a number which nobody believes from anyone else.
        let plausible = |instance: &&Instance| instance.home == self.me() || instance.incarnation < HONEST_INCARNATIONS;
        let highest = self
            .instances
            .get(&registration.instance)
            .map(Box::as_ref)
            .filter(plausible)
            .map_or(0, |known| known.incarnation);
        match known {
            Some((true, incarnation)) if incarnation >= highest => incarnation,
            Some((_, incarnation)) => self.fresh_incarnation(incarnation.max(highest)),
            None => self.fresh_incarnation(highest),
        }
    }

    /// An incarnation above `highest` and above all that were given out before, whatever the wall clock shows. It does show in it, since two agents may
    /// claim one name one after the other.
    fn fresh_incarnation(&mut self, highest: u64) -> u64 {
        let clock = self.now.wall.0 % (1 << INCARNATION_CLOCK_BITS);
        let started = u64::from(self.boot.min(MAX_INCARNATION_BOOT)) << INCARNATION_CLOCK_BITS;
        self.last_incarnation = (started | clock).max(highest.max(self.last_incarnation).saturating_add(1));
        self.last_incarnation
    }

    /// What was registered at a time that this agent has forgotten may have been other copies, of which verdicts are known; and of what was registered
    /// before the others forgot this agent, some hold verdicts that others have seen the end of. Each instance is another copy from now on.
    pub(super) fn renew_copies(&mut self) {
        if self.gives_up() {
            return;
        }
        let me = self.me();
        let own = self.log.records().filter_map(|record| match record {
            Record::Instance { registration, incarnation } => Some((Arc::clone(registration), *incarnation)),
            _ => None,
        });
        for (registration, incarnation) in own.collect::<Vec<_>>() {
            let incarnation = self.fresh_incarnation(incarnation);
            self.log.write(Record::Instance { registration: Arc::clone(&registration), incarnation });
            self.adopt(registration, me, incarnation);
        }
        self.persist_now();
    }

    /// Someone holds records of ours that we have not written: our stored counter is old, or another process runs as us.
    pub(super) fn notice_own_future(&mut self, epoch: u32) {
        if self.leaving.is_some() || epoch >= MAX_EPOCH || self.defective(Defect::BootForgotten) {
            return;
        }
        let now = self.now.mono;
        self.conflicts.push_back(now);
        self.conflicts.retain(|at| now.since(*at) < CONFLICT_WINDOW);
        self.start_anew(epoch);
        self.renew_copies();
        if self.conflicts.len() >= MAX_CONFLICTS {
            let detail = "another process runs with this agent's identity: its data directory has been copied. Give one of the two an \
                          empty data directory and join it anew"
                .to_owned();
            self.event(EventKind::IdentityConflict { detail });
        }
    }

    /// Goes on as if started again, beyond `epoch`: what others say of this agent has come further than the agent itself.
    pub(super) fn start_anew(&mut self, epoch: u32) {
        self.boot = epoch.max(self.boot).saturating_add(1);
        self.log.restart(self.boot);
        self.swim.restart_as(self.now.mono, self.boot, &self.links);
        self.persist_now();
    }

    pub(super) fn stored(&self) -> Stored {
        // Who leaves takes its instances along: when it returns, each is another copy, whatever was decided and signed of this one.
        let taken = |instance: &Instance| self.gives_up() && instance.home == self.me();
        let own = self.instances.values().filter(|i| i.home == self.me() && !taken(i));
        let instances = own.filter_map(|i| Some((i.registration.clone()?, i.incarnation))).collect();
        let owner = |(owner, namespace): (&AgentId, &Arc<crate::namespace::Namespace>)| {
            let credential = Some(self.agents.get(owner)?.credential.clone());
            Some(OwnerDelta { owner: *owner, credential, batches: namespace.batches() })
        };
        Stored {
            agent: self.me(),
            boot: if self.defective(Defect::BootForgotten) { 0 } else { self.boot },
            instances,
            owners: self.namespaces.iter().filter_map(owner).chain(self.words_to_store()).collect(),
            certificates: self.instances.values().filter(|i| !taken(i)).filter_map(|i| i.certificate.clone()).collect(),
            epoch: self.roster.epoch(),
            roster: self.roster.iter().collect(),
            acceptor: self.epochs.acceptor.clone(),
            proofs: self.epochs.proofs().cloned().collect(),
            gone: self.gone.iter().map(|(agent, gone)| (*agent, gone.clone())).collect(),
        }
    }
}

/// Another address, or another kind of check, is another copy.
pub(super) fn same_copy(a: &Registration, b: &Registration) -> bool {
    a.address == b.address && a.check.kind == b.check.kind
}
