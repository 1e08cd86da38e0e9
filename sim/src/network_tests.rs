//! Links come up, lose, hold, die and close as the real ones do.

use super::*;
use crate::plan::Plan;
use crate::queue::{Key, Queue, Rank};

/// A network whose steps are carried out in order of time; notes what agents are told and get.
struct Bench {
    scenario: Scenario,
    network: Network,
    queue: Queue<Step>,
    seq: u64,
    now: SimTime,
    log: Vec<(u64, String)>,
}

impl Bench {
    fn new(faults: &str) -> Self {
        let plan = Plan::parse(&format!("summary = \"t\"\n{faults}")).unwrap();
        let scenario = Scenario::new("t", &plan, 1).unwrap();
        let network = Network::new(&scenario);
        let mut bench = Self { network, scenario, queue: Queue::new(), seq: 0, now: SimTime::START, log: Vec::new() };
        (0..5).for_each(|agent| bench.process(agent, true, true));
        bench
    }

    fn process(&mut self, agent: usize, present: bool, awake: bool) {
        self.network.set_process(&self.scenario, self.now, agent, present, awake);
        self.settle();
    }

    fn send(&mut self, from: usize, to: usize, class: Class) {
        let packet = Packet { class, bytes: vec![0; 10], digest: 0 };
        self.network.send(&self.scenario, self.now, from, to, packet, true);
        self.settle();
    }

    fn settle(&mut self) {
        let ms = self.now.0 / 1_000_000;
        for told in self.network.told.drain(..) {
            self.log.push((ms, format!("{told:?}")));
        }
        for (at, step) in self.network.later.drain(..) {
            self.seq += 1;
            self.queue.push(Key { at, rank: Rank::Link, dst: 0, src: 0, seq: self.seq }, step);
        }
    }

    /// Runs to `secs`, looking at the cuts every second.
    fn run(&mut self, secs: u64) {
        for second in self.now.0 / 1_000_000_000 + 1..=secs {
            let mut later = Vec::new();
            while let Some((key, step)) = self.queue.pop() {
                if key.at >= SimTime::from_ms(second * 1000) {
                    later.push((key, step));
                    continue;
                }
                self.now = key.at;
                self.take(step);
                self.settle();
            }
            later.into_iter().for_each(|(key, step)| self.queue.push(key, step));
            self.second(second);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive { from, to, generation, packet } => {
                if self.network.arrives(from, to, generation) {
                    self.log.push((self.now.0 / 1_000_000, format!("{:?} {from}->{to}", packet.class)));
                }
            }
            step => self.network.step(&self.scenario, self.now, step),
        }
    }

    fn second(&mut self, second: u64) {
        self.now = SimTime::from_ms(second * 1000);
        self.network.refresh(&self.scenario, self.now);
        self.settle();
    }

    fn saw(&self, what: &str) -> Option<u64> {
        self.log.iter().find(|(_, entry)| entry == what).map(|(ms, _)| *ms)
    }
}

const CUT: &str = "[[faults]]\nkind = \"partition\"\ngroups = [[0], [1]]\nfrom = \"5s\"\n";

#[test]
fn the_first_send_dials_and_both_ends_are_told() {
    let mut bench = Bench::new("");
    bench.send(0, 1, Class::Datagram);
    bench.run(1);
    let log: Vec<&str> = bench.log.iter().map(|(_, entry)| entry.as_str()).collect();
    assert_eq!(log, ["Up(0, 1)", "Up(1, 0)", "Datagram 0->1"]);
    bench.send(1, 0, Class::Message);
    bench.run(2);
    assert!(bench.saw("Message 1->0").is_some());
    assert_eq!(bench.network.counters.dials, 1, "the link serves both ways");
}

#[test]
fn a_dial_to_nobody_is_given_up_and_what_waited_is_bounded() {
    let mut bench = Bench::new("");
    bench.process(1, false, false);
    (0..40).for_each(|_| bench.send(0, 1, Class::Datagram));
    (0..80).for_each(|_| bench.send(0, 1, Class::Message));
    bench.run(5);
    assert_eq!(bench.saw("Down(0, 1)"), Some(2000));
    assert_eq!(bench.network.counters.most_waiting, PENDING_DATAGRAMS + PENDING_MESSAGES);
    assert_eq!(bench.network.counters.dropped, 24 + 16);
}

#[test]
fn a_short_cut_loses_datagrams_and_delays_messages() {
    let mut bench = Bench::new(&format!("{CUT}to = \"9s\"\n"));
    bench.send(0, 1, Class::Datagram);
    bench.run(6);
    bench.log.clear();
    bench.send(0, 1, Class::Datagram);
    bench.send(0, 1, Class::Message);
    bench.run(30);
    assert_eq!(bench.saw("Datagram 0->1"), None);
    let late = bench.saw("Message 0->1").unwrap();
    assert!((9000..11_100).contains(&late), "{late}");
    assert_eq!(bench.saw("Down(0, 1)"), None, "the link outlives a cut shorter than its idle timeout");
}

#[test]
fn a_long_cut_kills_both_ends_and_what_was_held() {
    let mut bench = Bench::new(&format!("{CUT}to = \"30s\"\n"));
    bench.send(0, 1, Class::Datagram);
    bench.run(6);
    bench.send(0, 1, Class::Message);
    bench.run(40);
    assert_eq!(bench.saw("Down(0, 1)"), Some(15_000));
    assert_eq!(bench.saw("Down(1, 0)"), Some(15_000));
    assert_eq!(bench.saw("Message 0->1"), None);
}

#[test]
fn a_one_way_cut_kills_the_deaf_end_first() {
    let cut = "[[faults]]\nkind = \"cut\"\nsenders = [0]\nreceivers = [1]\nfrom = \"5s\"\nto = \"60s\"\n";
    let mut bench = Bench::new(cut);
    bench.send(0, 1, Class::Datagram);
    bench.run(50);
    assert_eq!(bench.saw("Down(1, 0)"), Some(15_000));
    assert_eq!(bench.saw("Down(0, 1)"), Some(25_000));
}

#[test]
fn a_crash_is_noticed_after_the_idle_timeout_and_a_close_at_once() {
    let mut bench = Bench::new("");
    bench.send(0, 1, Class::Datagram);
    bench.send(2, 1, Class::Datagram);
    bench.run(5);
    bench.process(0, false, false);
    bench.network.close(&bench.scenario, bench.now, 2);
    bench.process(2, false, false);
    bench.run(30);
    assert_eq!(bench.saw("Down(1, 0)"), Some(15_000));
    assert_eq!(bench.saw("Down(1, 2)"), Some(5000));
}

#[test]
fn a_restarted_peer_replaces_the_link() {
    let mut bench = Bench::new("");
    bench.send(0, 1, Class::Datagram);
    bench.run(5);
    bench.process(0, false, false);
    bench.process(0, true, true);
    bench.log.clear();
    bench.send(1, 0, Class::Datagram);
    bench.run(6);
    assert_eq!(bench.saw("Datagram 1->0"), None, "sent into the old link");
    let down = bench.saw("Down(1, 0)").unwrap();
    assert!(down < 5003, "the new process does not know the link and says so");
    bench.send(0, 1, Class::Message);
    bench.run(7);
    assert!(bench.saw("Message 0->1").is_some() && bench.saw("Up(1, 0)").is_some());
}

#[test]
fn a_restarted_process_ends_the_links_of_the_one_before_at_the_next_sign_of_life() {
    let mut bench = Bench::new("");
    bench.send(0, 1, Class::Datagram);
    bench.run(5);
    bench.process(0, false, false);
    bench.process(0, true, true);
    bench.run(9);
    let down = bench.saw("Down(1, 0)").unwrap();
    assert!((5000..=8000).contains(&down), "{down}");
}

#[test]
fn loss_takes_its_share_of_datagrams_and_only_delays_messages() {
    let mut bench = Bench::new("[network]\nloss_per_mille = 200\n");
    bench.send(0, 1, Class::Message);
    bench.run(5);
    bench.log.clear();
    for _ in 0..500 {
        bench.send(0, 1, Class::Datagram);
        bench.send(0, 1, Class::Message);
    }
    bench.run(60);
    let count = |what: &str| bench.log.iter().filter(|(_, entry)| entry == what).count();
    assert!((360..440).contains(&count("Datagram 0->1")), "{}", count("Datagram 0->1"));
    assert_eq!(count("Message 0->1"), 500);
}
