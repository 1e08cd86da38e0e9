//! Faulty members do what they are named for, and only while they are faulty.

use super::craft::FAIL;
use super::*;
use crate::plan::Plan;
use crate::scenario::Scenario;
use quorate_core::verdict::{Decision, supports};
use quorate_core::{InstanceId, Outcome, UnixMs, Verdict, Vote};
use quorate_mesh::{Engine, EngineConfig, Formation, Glance, Keys, MemberState, ProbeId, Timing};
use quorate_wire::{Answer, Reply};
use std::sync::{Arc, Mutex};

const S: u64 = 1_000_000_000;
const PEER: AgentId = AgentId(77);

/// Stands in for the engine: notes what it is given, and shows a picture with one peer and its host.
struct Stub {
    heard: Arc<Mutex<Vec<Input>>>,
    view: MeshView,
    out: VecDeque<Output>,
}

impl Node for Stub {
    fn handle(&mut self, _now: Now, input: Input) {
        self.heard.lock().unwrap().push(input);
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn next_wakeup(&self) -> Mono {
        Mono(u64::MAX)
    }
    fn view_changed(&self) -> bool {
        false
    }
    fn glance(&mut self) -> Glance {
        unreachable!("only asked by the world")
    }
    fn view(&mut self) -> MeshView {
        self.view.clone()
    }
    fn acquaintance(&self) -> Option<Acquaintance> {
        None
    }
    fn form(&mut self, _all: &Formation) {}
}

fn view(keys: &SimKeys, agent: AgentId) -> MeshView {
    let plan = Plan::parse("summary = \"t\"\n[[services]]\nname = \"web\"\nhomes = [0]\n").unwrap();
    let scenario = Scenario::new("t", &plan, 1).unwrap();
    let config = EngineConfig {
        agent,
        name: "a".to_owned(),
        zone: Default::default(),
        address: scenario.agents[0].address,
        api_address: String::new(),
        version: String::new(),
        credential: keys.credential(),
        founder: true,
        boot_floor: 0,
        registrations: Vec::new(),
        seed: 1,
        timing: Timing::default(),
    };
    let mut view = Engine::new(config, None, Box::new(keys.clone()), Now::default()).unwrap().view();
    let mut peer = view.members[&agent].clone();
    (peer.agent, peer.state) = (PEER, MemberState::Alive);
    view.members = Arc::new([(agent, view.members[&agent].clone()), (PEER, peer)].into());
    view
}

struct Stage {
    node: Box<dyn Node>,
    heard: Arc<Mutex<Vec<Input>>>,
    keys: SimKeys,
}

impl Stage {
    /// Faulty from the tenth to the twentieth second.
    fn new(behaviour: Behaviour) -> Self {
        let me = AgentId(5);
        let keys = SimKeys::new(9, me);
        let heard = Arc::default();
        let stub = Stub { heard: Arc::clone(&heard), view: view(&keys, me), out: VecDeque::new() };
        let windows = vec![Window { from: Mono(10 * S), to: Mono(20 * S), behaviour }];
        let node = Faulty::wrap(Box::new(stub), windows, keys.clone(), me, (Draws::new(1), 3, 1));
        Self { node, heard, keys }
    }

    fn give(&mut self, second: u64, input: Input) -> Vec<Packet> {
        self.node.handle(Now { mono: Mono(second * S), wall: UnixMs(second * 1000) }, input);
        self.said()
    }

    fn said(&mut self) -> Vec<Packet> {
        let mut said = Vec::new();
        while let Some(output) = self.node.poll_output() {
            if let Output::Datagram { bytes, .. } | Output::Message { bytes, .. } = output {
                said.extend(quorate_wire::decode(&bytes));
            }
        }
        said
    }

    /// Lets it act by itself for its whole window.
    fn rage(&mut self) -> Vec<Packet> {
        (10..20).flat_map(|second| self.give(second, Input::Wake)).collect()
    }
}

fn decision(verdict: Verdict) -> Decision {
    Decision { instance: InstanceId::new("web@0").unwrap(), incarnation: 1, term: 2, verdict, observers: 5 }
}

fn proposal(verdict: Verdict) -> Input {
    let bytes = quorate_wire::encode(&Packet::Propose { nonce: 4, decisions: vec![decision(verdict)] });
    Input::Message { from: PEER, bytes }
}

#[test]
fn an_honest_agent_and_one_before_and_after_its_fault_are_left_alone() {
    let mut stage = Stage::new(Behaviour::AlwaysDown);
    for second in [1, 9, 20, 30] {
        assert_eq!(stage.give(second, proposal(Verdict::Down)), vec![], "{second}");
    }
    assert_eq!(stage.heard.lock().unwrap().len(), 4, "the engine gets everything");
    assert_eq!(stage.node.next_wakeup(), Mono(u64::MAX));
}

#[test]
fn a_liar_votes_and_signs_as_it_lies() {
    for (behaviour, signed, refused, vote) in [
        (Behaviour::AlwaysDown, Verdict::Down, Verdict::Up, FAIL),
        (Behaviour::AlwaysUp, Verdict::Up, Verdict::Down, Vote::Pass),
    ] {
        let mut stage = Stage::new(behaviour);
        let mut answer = |verdict| {
            let said = stage.give(11, proposal(verdict));
            said.into_iter().find_map(|packet| match packet {
                Packet::Answers { nonce: 4, answers } => answers.into_iter().next().map(|Answer { reply, .. }| reply),
                _ => None,
            })
        };
        let Some(Reply::Signed(endorsement)) = answer(signed) else { panic!("it does not sign") };
        assert!(supports(endorsement.vote, signed));
        assert_eq!(answer(refused), Some(Reply::Disagrees(vote)));
        let bytes =
            quorate_wire::signing_bytes("quorate endorsement 1", &(&decision(signed), vote, endorsement.signed_at));
        assert!(stage.keys.verify(&stage.keys.credential(), &bytes, &endorsement.signature), "by its own key");
        stage.heard.lock().unwrap().clear();
        let outcome = Outcome::fail(quorate_core::Phase::Connect, quorate_core::Cause::Timeout, "", Duration::ZERO);
        stage.give(12, Input::Probe { id: ProbeId(1), outcome });
        let heard = stage.heard.lock().unwrap();
        let [Input::Probe { outcome, .. }] = heard.as_slice() else { panic!("{heard:?}") };
        let passed = matches!(outcome.result, quorate_core::ProbeResult::Pass);
        assert_eq!(passed, behaviour == Behaviour::AlwaysUp);
    }
}

#[test]
fn a_replayer_says_only_what_it_heard() {
    let mut stage = Stage::new(Behaviour::Replayer);
    let heard = Packet::RollCall { nonce: 11 };
    for _ in 0..9 {
        stage.give(10, Input::Datagram { from: PEER, bytes: quorate_wire::encode(&heard) });
    }
    let said = stage.rage();
    assert!(
        said.len() > 10
            && said.iter().all(|packet| matches!(packet, Packet::RollCall { nonce: 11 } | Packet::Push { .. }))
    );
}

#[test]
fn a_forger_never_has_anothers_signature() {
    let mut stage = Stage::new(Behaviour::Forger);
    let victim = SimKeys::new(9, PEER);
    let (mut batches, mut certificates) = (0, 0);
    for packet in stage.rage() {
        let Packet::Push { batches: sealed, certificates: forged } = packet else { continue };
        for batch in sealed.iter().map(|news| news.batch.open().unwrap()) {
            assert_eq!(batch.owner, PEER);
            assert!(!stage.keys.verify(&victim.credential(), &batch.signing_bytes(), &batch.signature));
            batches += 1;
        }
        certificates += forged.len();
    }
    assert!(batches > 10 && certificates > 0, "{batches} {certificates}");
}

#[test]
fn an_inflater_and_a_sender_of_garbage_keep_at_it() {
    let said = Stage::new(Behaviour::Inflater).rage();
    let enormous = |packet: &Packet| matches!(packet, Packet::HeldFailed { counter: u64::MAX } | Packet::Swim(_));
    assert!(said.iter().filter(|packet| enormous(packet)).count() > 5, "{said:?}");
    let mut stage = Stage::new(Behaviour::Garbage);
    for second in 10..20 {
        stage.node.handle(Now { mono: Mono(second * S), wall: UnixMs(0) }, Input::Wake);
    }
    let outputs: Vec<Output> = std::iter::from_fn(|| stage.node.poll_output()).collect();
    let readable = |output: &&Output| matches!(output, Output::Datagram { bytes, .. } | Output::Message { bytes, .. } if quorate_wire::decode(bytes).is_ok());
    assert!(outputs.len() >= 30 && outputs.iter().filter(readable).count() < outputs.len() / 2);
}

#[test]
fn the_same_seed_misbehaves_the_same() {
    for behaviour in Behaviour::ALL {
        assert_eq!(Stage::new(behaviour).rage(), Stage::new(behaviour).rage(), "{behaviour:?}");
    }
}
