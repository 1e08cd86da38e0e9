//! A bench for the invariants' own tests: a small fabricated history, certificates and views to show them.

use super::{Finding, Invariant, Sight};
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::time::SimTime;
use crate::truth::{Probed, Truth};
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AgentId, Cause, Class, InstanceId, Phase, ServiceName, UnixMs, Verdict, Vote, Zone};
use quorate_mesh::{Glance, InstanceView, MemberState, ObserverView, Standing, Stats};
use std::sync::Arc;
use std::time::Duration;

/// A partition of three and two, from 20 s to 40 s.
pub const SPLIT: &str =
    "[[faults]]\nkind = \"partition\"\ngroups = [[0, 1, 2], [3, 4]]\nfrom = \"20s\"\nto = \"40s\"\n";

const SERVICE: &str = "summary = \"t\"\n[[services]]\nname = \"web\"\nhomes = [0, 4]\n";

/// Five agents that have run since the start, web@0 and web@4, and some faults.
pub struct Bench {
    pub truth: Truth,
}

impl Bench {
    pub fn new(faults: &str) -> Self {
        let plan = Plan::parse(&format!("{SERVICE}{faults}")).unwrap();
        let mut truth = Truth::new(Scenario::new("t", &plan, 1).unwrap());
        (0..5).for_each(|agent| truth.started(agent));
        Self { truth }
    }

    /// The same with callers of api@1, whose breaker a person holds open from 60 s to 120 s.
    pub fn with_calls() -> Self {
        Self::new(
            "[[calls]]\ninstance = \"api@1\"\nfrom = \"20s\"\nto = \"200s\"\n\
             [[calls.words]]\nat = \"60s\"\nthrough = 1\nmode = \"forced-open\"\n",
        )
    }

    pub fn at(&mut self, secs: u64) {
        self.truth.now = SimTime::from_ms(secs * 1000);
    }

    pub fn id(&self, name: &str) -> InstanceId {
        InstanceId::new(name).unwrap()
    }

    pub fn number(&self, agent: AgentId) -> usize {
        self.truth.scenario.agent(agent).unwrap()
    }

    /// Notes a probe that took 10 ms.
    pub fn probe(&mut self, observer: usize, instance: usize, ms: u64, passed: bool) {
        let finished = SimTime::from_ms(ms);
        let started = finished.minus(Duration::from_millis(10));
        self.truth.probed(observer, instance, Probed { started, finished, passed });
    }

    pub fn certificate(&self, name: &str, verdict: Verdict, signers: &[usize], ms: u64) -> Certificate {
        self.certify(self.id(name), verdict, signers, ms, 5)
    }

    pub fn host_certificate(&self, agent: usize, verdict: Verdict, signers: &[usize], ms: u64) -> Certificate {
        self.certify(InstanceId::host(self.truth.scenario.agents[agent].id), verdict, signers, ms, 4)
    }

    fn certify(
        &self,
        instance: InstanceId,
        verdict: Verdict,
        signers: &[usize],
        ms: u64,
        observers: u32,
    ) -> Certificate {
        let vote = match verdict {
            Verdict::Down => Vote::Fail { phase: Phase::Connect, cause: Cause::Refused },
            _ => Vote::Pass,
        };
        let endorse = |signer: &usize| {
            let agent = &self.truth.scenario.agents[*signer];
            Endorsement {
                agent: agent.id,
                vote,
                signed_at: UnixMs(agent.clock.calendar(SimTime::from_ms(ms)).0),
                signature: Vec::new(),
            }
        };
        Certificate {
            decision: Decision { instance, incarnation: 0, term: 1, verdict, observers },
            class: Class::Undetermined,
            decided_at: UnixMs(0),
            endorsements: signers.iter().map(endorse).collect(),
        }
    }

    pub fn instance_view(&self, name: &str, verdict: Verdict, term: u64, proof: Option<Certificate>) -> InstanceView {
        let home = self.truth.scenario.instances[self.truth.scenario.instance(&self.id(name)).unwrap()].home;
        let observers = self.truth.scenario.agents.iter().enumerate().map(|(number, agent)| ObserverView {
            agent: agent.id,
            name: agent.name.clone(),
            zone: Zone::default(),
            home: number == home,
            state: MemberState::Alive,
            heard: true,
            observation: None,
        });
        InstanceView {
            instance: self.id(name),
            incarnation: 1,
            service: ServiceName::new("web").unwrap(),
            home: self.truth.scenario.agents[home].id,
            home_name: String::new(),
            zone: Zone::default(),
            address: String::new(),
            check: "http",
            registration: None,
            verdict,
            decided: verdict,
            term,
            class: Class::Undetermined,
            since: UnixMs(0),
            stale_since: None,
            flapping: false,
            changes: 0,
            folded_under: None,
            assigned: 5,
            quorum: 3,
            observers: observers.collect(),
            certificate: proof.map(Arc::new),
        }
    }

    pub fn mesh_view(&self, agent: usize, quorate: bool, instances: &[InstanceView]) -> Glance {
        let this = &self.truth.scenario.agents[agent];
        let standing = |other: &crate::scenario::Agent| Standing { agent: other.id, state: MemberState::Alive };
        Glance {
            agent: this.id,
            at: UnixMs(60_000),
            index: 1,
            quorate,
            quorate_since: UnixMs(0),
            alive: 5,
            roster: 5,
            epoch: 1,
            roster_digest: 1,
            settled: true,
            members: Arc::new(self.truth.scenario.agents.iter().map(standing).collect()),
            instances: Arc::new(instances.iter().map(|i| (i.instance.clone(), Arc::new(i.clone()))).collect()),
            stats: Stats::default(),
        }
    }

    pub fn look(&self, invariant: &mut dyn Invariant, sight: &Sight<'_>) -> Vec<String> {
        let mut found: Vec<Finding> = Vec::new();
        invariant.look(&self.truth, sight, &mut found);
        found.into_iter().map(|finding| finding.detail).collect()
    }

    /// Shows a certificate, held by agent 0, whose instance has all five observers.
    pub fn shown(&self, invariant: &mut dyn Invariant, certificate: &Certificate) -> Vec<String> {
        let instance = self.instance_view("web@0", certificate.decision.verdict, 1, Some(certificate.clone()));
        self.look(invariant, &Sight::Certificate { holder: 0, instance: &instance, certificate })
    }

    /// Shows a survey in which the given views are placed by their agents.
    pub fn survey(&self, invariant: &mut dyn Invariant, views: &[&Glance]) -> Vec<String> {
        let mut placed: Vec<Option<&Glance>> = vec![None; self.truth.agents()];
        for view in views {
            placed[self.number(view.agent)] = Some(view);
        }
        self.look(invariant, &Sight::Survey { views: &placed })
    }
}
