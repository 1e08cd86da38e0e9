//! Links come up, lose, hold, die and close as the real ones do.

use super::*;
use crate::plan::Plan;
use crate::queue::{Key, Queue, Rank};

/// A network whose steps are carried out in order of time; notes what agents are told and get.
struct Bench {
    scenario: Scenario,
    network: Network,
    queue: Queue<Step>,
    seq: u32,
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
        self.network.set_process(self.now, agent, present, awake);
        self.settle();
    }

    fn send(&mut self, from: usize, to: usize, class: Class) {
        let packet = Packet { class, bytes: vec![0; 10], digest: 0 };
        self.network.send(self.now, from, to, packet, true);
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
            let end = SimTime::from_ms(second * 1000);
            while self.queue.next_at().is_some_and(|at| at < end) {
                let Some((at, step)) = self.queue.pop() else { break };
                self.now = at;
                self.take(step);
                self.settle();
            }
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
            step => self.network.step(self.now, step),
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
    bench.network.close(bench.now, 2);
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

impl Bench {
    fn count(&self, what: &str) -> usize {
        self.log.iter().filter(|(_, entry)| entry == what).count()
    }

    /// Sends so many of `class` each way between 0 and 1, one every millisecond from the start of the running second.
    fn both_ways(&mut self, class: Class, each: u64) {
        let start = self.now;
        for ms in 0..each {
            self.now = start.plus(Duration::from_millis(ms));
            self.send(0, 1, class);
            self.send(1, 0, class);
        }
        self.now = start;
    }
}

/// A bench with one fault from 5 s to 50 s and a link between 0 and 1, at 6 s.
fn harmed(fault: &str) -> Bench {
    let mut bench = Bench::new(&format!("[[faults]]\n{fault}\nfrom = \"5s\"\nto = \"50s\"\n"));
    bench.send(0, 1, Class::Message);
    bench.run(6);
    bench.log.clear();
    bench
}

#[test]
fn loss_can_be_one_agents_and_one_kinds_alone() {
    let mut bench = harmed("kind = \"loss\"\nper_mille = 300\nreceivers = [1]\nonly = \"datagram\"");
    bench.both_ways(Class::Datagram, 500);
    bench.both_ways(Class::Message, 50);
    bench.run(9);
    assert!((310..390).contains(&bench.count("Datagram 0->1")), "{}", bench.count("Datagram 0->1"));
    assert_eq!(bench.count("Datagram 1->0"), 500);
    let late = bench.log.iter().filter(|(ms, entry)| entry == "Message 0->1" && *ms > 6055).count();
    assert_eq!((bench.count("Message 0->1"), late), (50, 0));
}

#[test]
fn what_is_too_large_for_a_path_does_not_arrive() {
    let mut bench = harmed("kind = \"loss\"\nper_mille = 1000\nonly = \"datagram\"\nlarger_than = 9");
    bench.both_ways(Class::Datagram, 20);
    let small = Packet { class: Class::Datagram, bytes: vec![0; 9], digest: 0 };
    bench.network.send(bench.now, 0, 1, small, true);
    bench.settle();
    bench.run(8);
    assert_eq!(bench.count("Datagram 0->1"), 1);
}

#[test]
fn bursts_take_everything_and_then_nothing() {
    let mut bench = harmed("kind = \"loss\"\nper_mille = 1000\nburst = { bad = \"100ms\", good = \"400ms\" }");
    for second in 6..46 {
        bench.run(second);
        bench.both_ways(Class::Datagram, 1000);
    }
    bench.run(48);
    let arrived: Vec<u64> = bench.log.iter().filter(|(_, entry)| entry == "Datagram 0->1").map(|(ms, _)| *ms).collect();
    let lost = 40_000 - arrived.len();
    assert!((6000..10_000).contains(&lost), "a fifth of the time: {lost}");
    let gaps: Vec<u64> = arrived.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 3).collect();
    assert!((60..=80).contains(&gaps.len()), "about one burst in every half second: {}", gaps.len());
    assert!(gaps.iter().all(|gap| *gap <= 401) && gaps.iter().any(|gap| *gap > 120), "{gaps:?}");
}

#[test]
fn all_lost_is_a_cut_and_flaps() {
    let fault = "kind = \"loss\"\nper_mille = 1000\nreceivers = [1]\ncycle = { on = \"3s\", off = \"2s\" }";
    let mut bench = harmed(fault);
    let mut arrived = Vec::new();
    for second in 6..16 {
        bench.run(second);
        bench.log.clear();
        bench.send(0, 1, Class::Datagram);
        bench.run(second + 1);
        arrived.push(bench.count("Datagram 0->1"));
    }
    assert_eq!(arrived, [0, 0, 1, 1, 0, 0, 0, 1, 1, 0]);
    assert_eq!(bench.network.counters.idle_deaths, 0);
}

#[test]
fn delays_hold_back_a_share_which_is_then_overtaken() {
    let mut bench = harmed("kind = \"delay\"\nextra_us = [50000, 60000]\nper_mille = 200\nsenders = [0]");
    bench.both_ways(Class::Datagram, 500);
    bench.run(9);
    let arrivals: Vec<u64> =
        bench.log.iter().filter(|(_, entry)| entry == "Datagram 0->1").map(|(ms, _)| *ms).collect();
    let back = bench.log.iter().filter(|(ms, entry)| entry == "Datagram 1->0" && *ms > 6500).count();
    assert_eq!((arrivals.len(), back), (500, 0));
    let tail = arrivals.iter().filter(|ms| **ms > 6501).count();
    assert!((5..25).contains(&tail), "a fifth of those of the last 55 ms: {tail}");
}

#[test]
fn datagrams_can_arrive_twice() {
    let mut bench = harmed("kind = \"duplicate\"\nper_mille = 100\nreceivers = [1]");
    bench.both_ways(Class::Datagram, 1000);
    bench.both_ways(Class::Message, 10);
    bench.run(9);
    assert!((1070..1130).contains(&bench.count("Datagram 0->1")), "{}", bench.count("Datagram 0->1"));
    assert_eq!([bench.count("Datagram 1->0"), bench.count("Message 0->1")], [1000, 10]);
}

#[test]
fn a_narrow_line_delays_messages_and_drops_datagrams() {
    let mut bench = harmed("kind = \"throttle\"\nagents = [0]\nbytes_per_s = 1000\nqueue_bytes = 500");
    for _ in 0..100 {
        bench.send(0, 1, Class::Datagram);
        bench.send(1, 0, Class::Datagram);
    }
    for _ in 0..100 {
        bench.send(0, 1, Class::Message);
    }
    bench.run(9);
    assert_eq!([bench.count("Datagram 0->1"), bench.count("Datagram 1->0")], [50, 100]);
    assert_eq!(bench.count("Message 0->1"), 100);
    let last = bench.log.iter().rfind(|(_, entry)| entry == "Message 0->1").map(|(ms, _)| *ms);
    assert!(last.is_some_and(|ms| (7490..7510).contains(&ms)), "1,500 bytes at 1,000 a second: {last:?}");
}

#[test]
fn messages_keep_their_order_when_told_so() {
    let inversions = |ordered: bool| {
        let mut bench = Bench::new(&format!("[network]\nlatency_us = [1000, 90000]\nordered = {ordered}\n"));
        bench.send(0, 1, Class::Message);
        bench.run(6);
        for number in 0..50 {
            let packet = Packet { class: Class::Message, bytes: vec![0; number + 1], digest: 0 };
            bench.network.send(bench.now, 0, 1, packet, true);
        }
        let sizes = |step: &Step| if let Step::Arrive { packet, .. } = step { Some(packet.bytes.len()) } else { None };
        let mut arrivals: Vec<(SimTime, usize)> =
            bench.network.later.iter().filter_map(|(at, step)| Some((*at, sizes(step)?))).collect();
        arrivals.sort();
        arrivals.windows(2).filter(|pair| pair[0].1 > pair[1].1).count()
    };
    assert!(inversions(false) > 10);
    assert_eq!(inversions(true), 0);
}

#[test]
fn a_handshake_takes_its_setup_time() {
    let mut bench = Bench::new("[network]\nsetup = \"300ms\"\n");
    bench.send(0, 1, Class::Datagram);
    bench.run(1);
    assert!(bench.saw("Up(0, 1)").is_some_and(|ms| (300..303).contains(&ms)), "{:?}", bench.log);
}

#[test]
fn a_reset_breaks_the_links_it_names_at_both_ends() {
    let fault = "[[faults]]\nkind = \"reset\"\nagents = [0]\npeers = [1]\nat = \"7s\"\n";
    let mut bench = Bench::new(fault);
    bench.send(0, 1, Class::Datagram);
    bench.send(0, 2, Class::Datagram);
    bench.run(7);
    bench.send(0, 1, Class::Message);
    let reset = bench.scenario.resets[0].clone();
    bench.network.reset(bench.now, &reset);
    bench.settle();
    bench.run(8);
    assert_eq!(
        [bench.saw("Down(0, 1)"), bench.saw("Down(1, 0)"), bench.saw("Down(0, 2)")],
        [Some(7000), Some(7000), None]
    );
    assert_eq!(bench.saw("Message 0->1"), None, "what was on its way is gone with the link");
    bench.send(1, 0, Class::Message);
    bench.run(9);
    assert!(bench.saw("Message 1->0").is_some());
}
