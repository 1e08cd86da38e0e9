//! The traps of SWIM and of its library, each one on its own.

use super::settings::MAX_SWIM_BYTES;
use super::*;
use foca::Identity;
use quorate_wire::{MemberMark, encode_value};
use rand::SeedableRng;

const S: u64 = 1_000_000_000;

fn swim(agent: u64, members: &[u64]) -> Swim {
    let timing = Timing::default();
    let mut swim = Swim::new(SwimId::first(AgentId(agent), 1), &timing, ChaCha8Rng::seed_from_u64(agent));
    for member in members {
        swim.admit(Mono(0), AgentId(*member), 1, &BTreeSet::new());
    }
    swim.outputs();
    swim
}

fn mark(agent: u64, counter: u64, incarnation: u16, state: u8) -> MemberMark {
    MemberMark { agent: AgentId(agent), counter, incarnation, state }
}

fn first(boot: u32) -> u64 {
    u64::from(boot) << 32
}

fn sends(swim: &mut Swim) -> Vec<(AgentId, Message<SwimId>)> {
    let header = |bytes: &[u8]| decode_prefix::<Header<SwimId>>(bytes).unwrap().0.message;
    let sent = swim.outputs().into_iter().filter_map(|output| match output {
        SwimOutput::Send { to, bytes } => {
            assert!(bytes.len() <= MAX_SWIM_BYTES);
            Some((to, header(&bytes)))
        }
        _ => None,
    });
    sent.collect()
}

/// Runs the timers until `seconds`, each at its own time.
fn run(swim: &mut Swim, seconds: u64) -> Vec<SwimOutput> {
    let mut outputs = Vec::new();
    while let Some(at) = swim.next_wakeup().filter(|at| at.0 <= seconds * S) {
        swim.wake(at, &BTreeSet::new());
        outputs.extend(swim.outputs());
    }
    outputs
}

#[test]
fn an_identity_is_copied_in_sixteen_bytes() {
    fn copied<T: Copy>() -> usize {
        std::mem::size_of::<T>()
    }
    assert_eq!(copied::<SwimId>(), 16);
    assert!(SwimId::first(AgentId(1), 2).win_addr_conflict(&SwimId { agent: AgentId(1), counter: first(1) + 99 }));
}

/// foca 2.0.0 sends `TurnUndead` when a suspicion's timer fires, even if the member has refuted it meanwhile. Without the filter this
/// healthy member would give up its identity.
#[test]
fn a_refuted_suspicion_sends_no_turn_undead() {
    let mut swim = swim(1, &[2]);
    run(&mut swim, 4);
    assert!(swim.suspected().contains(&AgentId(2)), "2 never answers");
    swim.merge(Mono(4 * S), &[mark(2, first(1), 1, 0)], &BTreeSet::new());
    assert!(swim.suspected().is_empty(), "2 has refuted");
    let token = swim.doubts[&AgentId(2)].own.unwrap().token;
    let member_id = SwimId::first(AgentId(2), 1);
    let timer = Timer::ChangeSuspectToDown { member_id, incarnation: 0, token };
    swim.outputs();
    swim.drive(Mono(5 * S), &BTreeSet::new(), |foca, sink| foca.handle_timer(timer, sink));
    assert!(sends(&mut swim).iter().all(|(_, message)| *message != Message::TurnUndead));
    assert_eq!(swim.undead_filtered, 1, "if this is 0, the library has been mended and the filter can go");
    assert!(swim.is_active(AgentId(2)));
}

/// The filter holds back only what is misdirected: a member that is held failed is still told.
#[test]
fn a_failed_member_is_told() {
    let mut swim = swim(1, &[2]);
    run(&mut swim, 60);
    assert!(!swim.is_active(AgentId(2)));
    let header = Header {
        src: SwimId::first(AgentId(2), 1),
        src_incarnation: 0,
        dst: SwimId::first(AgentId(1), 1),
        message: Message::Ping(foca::ProbeNumber::default()),
    };
    swim.receive(Mono(61 * S), AgentId(2), &encode_value(&header), &BTreeSet::new());
    assert_eq!(sends(&mut swim), [(AgentId(2), Message::TurnUndead)]);
}

#[test]
fn a_table_never_declares_failed_whom_we_hold_alive() {
    let mut swim = swim(1, &[2, 3]);
    let held_failed = swim.merge(Mono(S), &[mark(2, first(1), 0, 2), mark(3, first(1), 0, 0)], &BTreeSet::new());
    let held = |failed| HeldFailed { agent: AgentId(2), failed, alive: first(1) };
    assert_eq!(held_failed, [held(first(1))]);
    // It went on under a later identity, and failed under that: we have missed both.
    assert_eq!(swim.merge(Mono(S), &[mark(2, first(1) + 1, 0, 2)], &BTreeSet::new()), [held(first(1) + 1)]);
    assert!(swim.is_active(AgentId(2)));
    // What failed before the identity that is held alive says nothing of it.
    swim.merge(Mono(S), &[mark(2, first(1) + 2, 0, 0)], &BTreeSet::new());
    assert_eq!(swim.merge(Mono(S), &[mark(2, first(1) + 1, 0, 2)], &BTreeSet::new()), []);
    assert!(swim.is_active(AgentId(2)));
}

#[test]
fn being_held_failed_renews_the_identity_once() {
    let mut swim = swim(1, &[2]);
    let held_failed = |swim: &mut Swim| swim.merge(Mono(S), &[mark(1, first(1), 0, 2)], &BTreeSet::new());
    held_failed(&mut swim);
    assert_eq!(swim.foca.identity().counter, first(1) + 1);
    held_failed(&mut swim);
    swim.held_failed(Mono(S), first(1), &BTreeSet::new());
    assert_eq!(swim.foca.identity().counter, first(1) + 1, "the old identity no longer concerns us");
    swim.held_failed(Mono(S), first(1) + 1, &BTreeSet::new());
    assert_eq!(swim.foca.identity().counter, first(1) + 2);
}

/// foca 2.0.0 does nothing under a new identity before it is spoken to by that name. Who can hear and not be heard never is.
#[test]
fn under_a_new_identity_probing_goes_on() {
    let mut swim = swim(1, &[2, 3]);
    let told = encode_value(&Header {
        src: SwimId::first(AgentId(2), 1),
        src_incarnation: 0,
        dst: SwimId::first(AgentId(1), 1),
        message: Message::TurnUndead,
    });
    assert!(swim.receive(Mono(S), AgentId(2), &told, &BTreeSet::new()));
    assert_eq!(swim.foca.identity().counter, first(1) + 1);
    let outputs = run(&mut swim, 6);
    assert!(outputs.iter().any(|output| matches!(output, SwimOutput::ProbeFailed(_))), "{outputs:?}");
    assert!(outputs.iter().any(|output| matches!(output, SwimOutput::Alone)), "{outputs:?}");
}

#[test]
fn strangers_are_ignored_whoever_speaks_of_them() {
    let mut swim = swim(1, &[2]);
    swim.merge(Mono(S), &[mark(9, first(1), 0, 0)], &BTreeSet::new());
    assert!(!swim.is_active(AgentId(9)));
    let mut packet = encode_value(&Header {
        src: SwimId::first(AgentId(2), 1),
        src_incarnation: 0,
        dst: SwimId::first(AgentId(1), 1),
        message: Message::Gossip,
    });
    packet.extend([0, 1]);
    packet.extend(encode_value(&Member::alive(SwimId::first(AgentId(9), 1))));
    assert!(swim.receive(Mono(S), AgentId(2), &packet, &BTreeSet::new()));
    assert!(!swim.is_active(AgentId(9)) && swim.active_count() == 1);
}

/// Whoever was cut off declares the others failed, and has that news at hand when it returns.
#[test]
fn what_a_returning_member_says_of_the_others_makes_them_suspect_only() {
    let gossip = |boot: u32| {
        let src = SwimId::first(AgentId(2), boot);
        let dst = SwimId::first(AgentId(1), 1);
        let mut packet = encode_value(&Header { src, src_incarnation: 0, dst, message: Message::Gossip });
        packet.extend([0, 1]);
        packet.extend(encode_value(&Member::down(SwimId::first(AgentId(3), 1))));
        packet
    };
    let heard = |mut swim: Swim, seconds: u64, boot: u32| {
        swim.know(AgentId(2), boot);
        assert!(swim.receive(Mono(seconds * S), AgentId(2), &gossip(boot), &BTreeSet::new()));
        (swim.is_active(AgentId(2)), swim.is_active(AgentId(3)), swim.suspected().contains(&AgentId(3)))
    };
    let lost = |at: u64| {
        let mut swim = swim(1, &[2, 3]);
        swim.condemn(Mono(at * S), AgentId(2), first(1), &BTreeSet::new());
        assert!(!swim.is_active(AgentId(2)));
        swim
    };
    assert_eq!(heard(swim(1, &[2, 3]), 5, 1), (true, false, false), "it was never lost");
    let mut forgetful = swim(1, &[2, 3]);
    forgetful.dismiss(Mono(S), AgentId(2), &BTreeSet::new());
    assert_eq!(heard(forgetful, 60, 2), (true, true, true), "it was lost, and forgotten meanwhile");
    assert_eq!(heard(lost(1), 2, 2), (true, true, true), "it returns with this packet");
    let returned = |seconds: u64| {
        let mut swim = lost(1);
        swim.admit(Mono(2 * S), AgentId(2), 2, &BTreeSet::new());
        heard(swim, seconds, 2)
    };
    assert_eq!(returned(6), (true, true, true), "it has just returned");
    assert_eq!(returned(7), (true, false, false), "it has been back long enough to know better");
}

#[test]
fn a_packet_speaks_for_its_sender_alone() {
    let mut swim = swim(1, &[2, 3]);
    let header = |src: u64, dst: u64| {
        encode_value(&Header {
            src: SwimId::first(AgentId(src), 1),
            src_incarnation: 0,
            dst: SwimId::first(AgentId(dst), 1),
            message: Message::Ping(foca::ProbeNumber::default()),
        })
    };
    assert!(!swim.receive(Mono(S), AgentId(3), &header(2, 1), &BTreeSet::new()), "3 speaks as 2");
    assert!(!swim.receive(Mono(S), AgentId(2), &header(2, 3), &BTreeSet::new()), "meant for another");
    assert!(swim.receive(Mono(S), AgentId(2), &header(2, 1), &BTreeSet::new()));
    assert!(!swim.receive(Mono(S), AgentId(2), &[0xff; 40], &BTreeSet::new()));
}

#[test]
fn an_unconfirmed_suspicion_lasts_longer() {
    let wait = |confirmed: usize| {
        let swim = swim(1, &[2, 3, 4, 5]);
        // Of those who suspect an earlier incarnation nothing follows.
        let reported_by = (0..4).map(|n| (AgentId(n), u16::from(n < confirmed as u64))).collect();
        let own = Some(Own { since: Mono(0), incarnation: 1, token: 0, shortest: Duration::from_secs(4) });
        let doubt = Doubt { counter: 0, reported_by, at: Mono(0), certified: false, own };
        swim.deadline(&doubt).unwrap().0 / 1_000_000
    };
    // 4 s shortest, 24 s longest: 24 - 20 ln(c + 1) / ln 3.
    assert_eq!([wait(0), wait(1), wait(2), wait(3)], [24_000, 11_382, 4_000, 4_000]);
}

/// What others say about incarnations that this agent has never heard of must not keep its own suspicion from ending.
#[test]
fn a_suspicion_of_an_invented_incarnation_delays_nothing_for_ever() {
    for before in [true, false] {
        let mut swim = swim(1, &[2, 3, 4, 5]);
        let invented = Suspicion { by: AgentId(3), of: AgentId(2), counter: first(1), incarnation: 9 };
        if before {
            assert!(swim.hear_suspicion(Mono(0), invented));
        }
        let mut failed = false;
        for seconds in 1..120 {
            for output in run(&mut swim, seconds) {
                failed |= matches!(output, SwimOutput::Down(AgentId(2)));
                if matches!(output, SwimOutput::Suspects(Suspicion { of: AgentId(2), .. })) && !before {
                    assert!(swim.hear_suspicion(Mono(seconds * S), invented));
                    assert!(!swim.hear_suspicion(Mono(seconds * S), invented), "once is news, twice is not");
                }
            }
        }
        assert!(failed, "2 never answers, and was told of before: {before}");
    }
}

/// When half of a mesh is gone everyone suspects everyone there: of each, as many suspicions are passed on as confirm one, until it refutes.
#[test]
fn of_one_suspect_only_so_many_suspicions_are_news() {
    let mut swim = swim(1, &[2, 3, 4, 5, 6, 7]);
    let by = |by, incarnation| Suspicion { by: AgentId(by), of: AgentId(2), counter: first(1), incarnation };
    let heard: Vec<_> = (3..=7).map(|agent| swim.hear_suspicion(Mono(0), by(agent, 0))).collect();
    assert_eq!(heard, [true, true, true, false, false]);
    assert!(swim.is_common(&by(1, 0)), "ours would be one more");
    assert!(!swim.is_common(&by(1, 1)), "it has refuted those");
    assert!(swim.hear_suspicion(Mono(0), by(7, 1)), "and is suspected again");
    assert!(!swim.is_common(&Suspicion { of: AgentId(3), ..by(1, 0) }));
}

#[test]
fn a_ping_is_told_from_what_needs_no_answer() {
    let (src, dst) = (SwimId::first(AgentId(1), 1), SwimId::first(AgentId(2), 1));
    let said = |message| {
        crate::is_ping(&quorate_wire::encode(&quorate_wire::Packet::Swim(encode_value(&Header {
            src,
            src_incarnation: 0,
            dst,
            message,
        }))))
    };
    assert!(said(Message::Ping(7)) && said(Message::IndirectPing { origin: src, probe_number: 7 }));
    assert!(!said(Message::Ack(7)) && !said(Message::Gossip));
    assert!(crate::is_ping(&quorate_wire::encode(&quorate_wire::Packet::Ping { nonce: 1 })));
    assert!(!crate::is_ping(&quorate_wire::encode(&quorate_wire::Packet::Pong { nonce: 1 })));
    assert!(!crate::is_ping(&[]));
}

/// Whoever missed a refutation, and tells the suspect so, is told by the suspect itself: nobody else would any more.
#[test]
fn an_old_refutation_is_told_again_to_whoever_missed_it() {
    let others: Vec<u64> = std::iter::once(1).chain(3..=30).collect();
    let (mut one, mut two) = (swim(1, &[2, 3]), swim(2, &others));
    let rumour = Suspicion { by: AgentId(1), of: AgentId(2), counter: first(1), incarnation: 0 };
    let mut answer = || {
        two.refute(Mono(S), AgentId(1), rumour, &BTreeSet::new());
        two.outputs().into_iter().find_map(|output| match output {
            SwimOutput::Send { to: AgentId(1), bytes } => Some(bytes),
            _ => None,
        })
    };
    // The library itself tells a few, drawn at random.
    let bytes = (0..20).map(|_| answer().unwrap()).next_back().unwrap();
    let suspect = Member::new(SwimId::first(AgentId(2), 1), 0, State::Suspect);
    one.drive(Mono(S), &BTreeSet::new(), |foca, sink| foca.apply_many(std::iter::once(suspect), true, sink));
    assert!(one.suspected().contains(&AgentId(2)));
    assert!(one.receive(Mono(S), AgentId(2), &bytes, &BTreeSet::new()));
    assert!(one.suspected().is_empty());
}

/// Whoever answers a stream ping during the suspicion is not declared failed, whatever was lost before.
#[test]
fn an_answer_ends_our_suspicion() {
    let mut swim = swim(1, &[2, 3, 4, 5]);
    for seconds in 1..300 {
        for output in run(&mut swim, seconds) {
            match output {
                SwimOutput::Suspects(suspicion) => assert_eq!(swim.answered(suspicion.of), Some(suspicion)),
                SwimOutput::Down(agent) => panic!("{agent} was declared failed"),
                _ => {}
            }
        }
    }
}

#[test]
fn whoever_hears_nobody_doubts_himself() {
    let mut deaf = swim(1, &[2, 3, 4]);
    run(&mut deaf, 20);
    assert!(deaf.local_health > 0);
}

#[test]
fn the_wait_for_an_answer_starts_when_the_link_can_be_up() {
    let wait = |links: &BTreeSet<AgentId>| {
        let mut swim = swim(1, &[2]);
        let at = swim.next_wakeup().unwrap();
        swim.wake(at, links);
        swim.timers
            .iter()
            .find(|(_, timer)| matches!(timer, Timer::SendIndirectProbe { .. }))
            .map(|((due, ..), _)| due.since(at))
            .unwrap()
    };
    let timing = Timing::default();
    assert_eq!(wait(&BTreeSet::from([AgentId(2)])), timing.swim_rtt);
    assert_eq!(wait(&BTreeSet::new()), timing.swim_rtt + timing.dial_allowance);
}

#[test]
fn logarithms_are_integers_and_close() {
    for n in 1..5000u64 {
        let exact = (n as f64).log10() * 1000.0;
        assert!((log10_thousandths(n) as f64 - exact).abs() <= 28.0, "{n}: {} {exact}", log10_thousandths(n));
    }
}

/// Gossip is not signed: a claim that nobody can have come to is ignored, whoever makes it.
#[test]
fn an_inflated_counter_pushes_nobody_out() {
    let claims = [u64::MAX, first(2), first(1) + u64::from(claims::MAX_RENEWALS) + 1];
    for counter in claims {
        let mut swim = swim(1, &[2, 3]);
        for state in 0..3 {
            swim.merge(Mono(S), &[mark(2, counter, 7, state)], &BTreeSet::new());
        }
        assert_eq!(swim.active.get(&AgentId(2)), Some(&first(1)), "{counter:x} in a table");
        let header = Header {
            src: SwimId::first(AgentId(3), 1),
            src_incarnation: 0,
            dst: SwimId::first(AgentId(1), 1),
            message: Message::Gossip,
        };
        let rumour = Member::down(SwimId { agent: AgentId(2), counter });
        let bytes = [encode_value(&header), vec![0, 1], encode_value(&rumour)].concat();
        assert!(swim.receive(Mono(S), AgentId(3), &bytes, &BTreeSet::new()));
        assert_eq!(swim.active.get(&AgentId(2)), Some(&first(1)), "{counter:x} as a rumour");
    }
}

/// Whoever speaks as one started again is believed once its signed records say so.
#[test]
fn a_new_start_needs_the_owners_records() {
    let mut swim = swim(1, &[2]);
    let src = SwimId::first(AgentId(2), 2);
    let header = Header { src, src_incarnation: 0, dst: SwimId::first(AgentId(1), 1), message: Message::Gossip };
    let bytes = [encode_value(&header), vec![0, 0]].concat();
    assert!(swim.receive(Mono(S), AgentId(2), &bytes, &BTreeSet::new()));
    assert!(matches!(swim.outputs().as_slice(), [SwimOutput::Unheard(AgentId(2))]));
    assert_eq!(swim.active.get(&AgentId(2)), Some(&first(1)));
    swim.know(AgentId(2), 2);
    assert!(swim.receive(Mono(S), AgentId(2), &bytes, &BTreeSet::new()));
    assert_eq!(swim.active.get(&AgentId(2)), Some(&first(2)));
}

#[test]
fn a_claim_ahead_of_ourselves_is_outbid() {
    let last = first(1) + u64::from(claims::MAX_RENEWALS);
    let mut swim = swim(1, &[2]);
    swim.know(AgentId(1), 1);
    swim.merge(Mono(S), &[mark(1, first(1) + 40, 0, 0)], &BTreeSet::new());
    assert_eq!(swim.foca.identity().counter, first(1) + 41);
    swim.merge(Mono(S + 1), &[mark(1, first(1) + 60, 0, 0)], &BTreeSet::new());
    assert_eq!(swim.foca.identity().counter, first(1) + 41, "not twice within a second");
    swim.outputs();
    swim.merge(Mono(3 * S), &[mark(1, last, 0, 2)], &BTreeSet::new());
    assert!(swim.outputs().iter().any(|output| matches!(output, SwimOutput::Exhausted)));
    for beyond in [first(2), last + 1] {
        swim.merge(Mono(9 * S), &[mark(1, beyond, 0, 0)], &BTreeSet::new());
        assert_eq!(swim.foca.identity().counter, first(1) + 41, "nobody believes {beyond:x}");
    }
}

#[test]
fn nobody_is_pinged_who_does_not_exist() {
    let mut swim = swim(1, &[2]);
    let message = Message::PingReq { target: SwimId::first(AgentId(99), 1), probe_number: 1 };
    let (src, dst) = (SwimId::first(AgentId(2), 1), SwimId::first(AgentId(1), 1));
    let bytes = encode_value(&Header { src, src_incarnation: 0, dst, message });
    assert!(swim.receive(Mono(S), AgentId(2), &[bytes, vec![0, 0]].concat(), &BTreeSet::new()));
    assert!(sends(&mut swim).iter().all(|(to, _)| *to == AgentId(2)));
}

/// Whoever is known by a later identity is told which: `TurnUndead` would make it renew one step at a time, a storm of packets for each.
#[test]
fn an_outdated_speaker_is_told_how_far_it_is_behind() {
    let mut swim = swim(1, &[2]);
    swim.merge(Mono(S), &[mark(2, first(1) + 1000, 0, 2)], &BTreeSet::new());
    swim.merge(Mono(S), &[mark(2, first(1) + 1000, 0, 0)], &BTreeSet::new());
    swim.outputs();
    let (src, dst) = (SwimId::first(AgentId(2), 1), SwimId::first(AgentId(1), 1));
    let bytes = encode_value(&Header { src, src_incarnation: 0, dst, message: Message::Gossip });
    assert!(swim.receive(Mono(S), AgentId(2), &[bytes, vec![0, 0]].concat(), &BTreeSet::new()));
    let outputs = swim.outputs();
    let told = |output: &SwimOutput| matches!(output, SwimOutput::Outdated { agent: AgentId(2), counter } if *counter == first(1) + 999);
    assert!(outputs.iter().any(told), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, SwimOutput::Send { to: AgentId(2), .. })));
}

/// A late word of its former identity, or a suspicion of that which ran out, must not cost an agent the present one.
#[test]
fn an_echo_of_a_former_identity_costs_nothing() {
    let mut swim = swim(1, &[2]);
    swim.merge(Mono(S), &[mark(2, first(1) + 3, 0, 0)], &BTreeSet::new());
    swim.outputs();
    let (src, dst) = (SwimId::first(AgentId(2), 1), SwimId::first(AgentId(1), 1));
    let bytes = encode_value(&Header { src, src_incarnation: 0, dst, message: Message::Gossip });
    assert!(swim.receive(Mono(S), AgentId(2), &[bytes, vec![0, 0]].concat(), &BTreeSet::new()));
    let told = swim.outputs().into_iter().find_map(|output| match output {
        SwimOutput::Outdated { agent: AgentId(2), counter } => Some(counter),
        _ => None,
    });
    assert_eq!(told, Some(first(1) + 2), "all before the one that is held alive");
    let mut two = self::swim(2, &[1]);
    two.know(AgentId(2), 1);
    for second in [1, 3] {
        two.held_failed(Mono(second * S), first(1) + 2, &BTreeSet::new());
        assert_eq!(two.foca.identity().counter, first(1) + 3);
    }
}

#[test]
fn whoever_hears_how_far_it_is_behind_outbids_it() {
    let mut swim = swim(2, &[1]);
    swim.know(AgentId(2), 1);
    swim.held_failed(Mono(S), first(1) + 1000, &BTreeSet::new());
    assert_eq!(swim.foca.identity().counter, first(1) + 1001);
}
