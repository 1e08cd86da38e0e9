//! A member that speaks for others: their records, their votes, their signatures, under its own signature or a made-up one.

use super::craft::{FAIL, Hand};
use super::{Mischief, packet};
use quorate_core::{AgentId, Observation, Verdict};
use quorate_mesh::{Input, InstanceView, MeshView};
use quorate_wire::{Answer, Packet, Profile, Record, Reply, Suspicion};
use std::sync::Arc;

/// Forgeries at a time.
const FORGERIES: usize = 4;

/// The forger.
pub struct Forger;

impl Mischief for Forger {
    fn hear(&mut self, hand: &mut Hand, input: Input) -> Option<Input> {
        if let Some((from, Packet::Propose { nonce, decisions })) = packet(&input) {
            // The other observers' answers, as it would like them.
            let answers = decisions.iter().map(|decision| {
                let reply = Reply::Signed(hand.forge(from, decision, FAIL));
                Answer { instance: decision.instance.clone(), term: decision.term, reply }
            });
            let answers = answers.collect();
            hand.send(from, &Packet::Answers { nonce, answers });
        }
        Some(input)
    }

    fn act(&mut self, hand: &mut Hand, view: &MeshView) {
        let instances: Vec<_> = view.instances.values().collect();
        let others = hand.others(view);
        for _ in 0..FORGERIES {
            let (Some(victim), Some(instance)) = (hand.pick(&others), hand.pick(&instances)) else { return };
            let packet = match hand.below(4) {
                0 => certificate(hand, instance),
                1 => suspicions(hand, &others, victim),
                _ => record(hand, view, victim, instance),
            };
            hand.tell_all(view, &packet);
        }
    }
}

/// A proof that everybody saw it fail.
fn certificate(hand: &mut Hand, instance: &InstanceView) -> Packet {
    let mut certificates = Vec::new();
    if let Some(decision) = hand.decision(instance, Verdict::Down, 1) {
        let signers: Vec<AgentId> = instance.observers.iter().map(|observer| observer.agent).collect();
        let endorsements = signers.into_iter().map(|signer| hand.forge(signer, &decision, FAIL)).collect();
        certificates.push(hand.certificate(decision, endorsements));
    }
    Packet::push(&[], &certificates)
}

/// Everybody suspects the victim.
fn suspicions(hand: &mut Hand, others: &[AgentId], of: AgentId) -> Packet {
    let incarnation = u16::try_from(hand.below(4)).unwrap_or(0);
    let boot = u64::from(hand.below(3) as u32 + 1) << 32;
    let by = others.iter().copied().filter(|agent| *agent != of).chain([hand.me]);
    Packet::Suspicions(by.map(|by| Suspicion { by, of, counter: boot, incarnation }).collect())
}

/// A record of the victim's: that it has left, that its instance is gone, that it sees something fail.
fn record(hand: &mut Hand, view: &MeshView, victim: AgentId, instance: &InstanceView) -> Packet {
    let member = view.members.get(&victim);
    let profile = |left| {
        let member = member?;
        let address = member.address.parse().ok()?;
        let (name, zone) = (member.name.clone(), member.zone.clone());
        let version = member.version.clone();
        Some(Arc::new(Profile { name, zone, address, api_address: String::new(), version, left }))
    };
    let fails = Observation { vote: FAIL, detail: "a forgery".to_owned(), since: hand.now.wall };
    let incarnation = instance.certificate.as_ref().map_or(1, |certificate| certificate.decision.incarnation);
    let record = match hand.below(4) {
        0 => profile(true).map(Record::Profile),
        1 => profile(false).map(Record::Profile),
        2 => Some(Record::InstanceGone(instance.instance.clone())),
        _ => Some(Record::Observed { instance: instance.instance.clone(), incarnation, observation: fails }),
    };
    let epoch = member.map_or(1, |member| member.boot) + u32::try_from(hand.below(2)).unwrap_or(0);
    let seq = u32::try_from(hand.below(1000)).unwrap_or(0) + 1;
    Packet::push(&[hand.forge_batch(victim, (epoch, seq), record.into_iter().collect())], &[])
}
