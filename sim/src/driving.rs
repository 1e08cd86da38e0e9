//! How processes are driven: one input after the other, each when the process has time for it, and a wake-up when one is due.

use crate::host::clocks;
use crate::invariants::{CONTRACT, Finding};
use crate::plan::WakeOrder;
use crate::queue::Rank;
use crate::time::SimTime;
use crate::truth::Probed;
use crate::world::{Happening, Proof, SMALL_MESH, World};
use quorate_core::{Mono, Outcome, ProbeResult, Verdict};
use quorate_mesh::{Event, EventKind, Input, Output};
use std::time::Duration;

/// More inputs than this in one second of one agent mean that it spins: the clock goes on by a microsecond for each deadline that is still in the past
/// after it was handled, so that this is a twentieth of a second of it.
const RUNAWAY: u64 = 50_000;

impl World {
    /// Gives an input to an agent's process; one that stands still or is busy gets it later.
    pub(crate) fn deliver(&mut self, agent: usize, input: Input, digest: u64) {
        let now = self.truth.now;
        let Some(process) = &mut self.hosts[agent].process else { return };
        if process.paused || now < process.busy_until {
            process.inbox.keep(input, digest);
        } else {
            self.handle(agent, input, digest);
        }
    }

    fn handle(&mut self, agent: usize, input: Input, digest: u64) {
        let now = self.truth.now;
        let Some(process) = &mut self.hosts[agent].process else { return };
        let second = now.0 / 1_000_000_000;
        process.handled = if process.handled.1 == second { (process.handled.0 + 1, second) } else { (1, second) };
        if process.handled.0 > RUNAWAY {
            let finding = Finding::new(Some(agent), format!("it handles more than {RUNAWAY} inputs in one second"));
            self.checks.report(&self.truth, CONTRACT, finding);
            self.stop(agent);
            return;
        }
        if let Input::Probe { id, outcome } = &input
            && let Some((instance, started)) = process.probing.remove(id)
        {
            self.note_probe(agent, instance, started, outcome);
        }
        self.tally.inputs += 1;
        self.trace.input(now, agent, &input, digest);
        let woken = matches!(input, Input::Wake);
        let Some(process) = &mut self.hosts[agent].process else { return };
        process.node.handle(clocks(&self.truth.scenario, agent, process.started, now), input);
        self.drain(agent, woken);
        if !self.truth.scenario.loads.is_empty() {
            self.occupy(agent);
        }
    }

    /// A slow process is busy for a while with what it has just been given.
    fn occupy(&mut self, agent: usize) {
        let now = self.truth.now;
        let takes = self.truth.scenario.per_input(self.truth.scenario.role(agent), now);
        let host = &mut self.hosts[agent];
        let (run, Some(process)) = (host.run, &mut host.process) else { return };
        if !takes.is_zero() {
            process.busy_until = now.plus(takes);
            let until = process.busy_until;
            self.plan(until, Rank::Action, agent, agent, Happening::Free { agent, run });
        }
    }

    /// A slow process has time again.
    pub(crate) fn free(&mut self, agent: usize, run: u64) {
        loop {
            let host = &mut self.hosts[agent];
            let Some(process) = host.process.as_mut().filter(|process| !process.paused && host.run == run) else {
                return;
            };
            if self.truth.now < process.busy_until {
                return;
            }
            match process.inbox.next() {
                Some((input, digest)) => self.handle(agent, input, digest),
                None => return self.wake_if_due(agent),
            }
        }
    }

    /// A process that stood still goes on, unless another pause holds it.
    pub(crate) fn resume(&mut self, agent: usize, order: WakeOrder) {
        if self.truth.scenario.held(agent, self.truth.now) {
            return;
        }
        let Some(process) = &mut self.hosts[agent].process else { return };
        if !process.paused {
            return;
        }
        process.paused = false;
        let mut inbox = process.inbox.take();
        if agent < self.truth.agents() {
            self.truth.resumed(agent);
        }
        self.network.set_process(self.truth.now, agent, true, true);
        self.after_network();
        let before = match order {
            WakeOrder::Packets => inbox.len(),
            WakeOrder::Timers => 0,
            WakeOrder::Mixed => inbox.len() / 2,
        };
        let after = inbox.split_off(before);
        for (input, digest) in inbox {
            self.deliver(agent, input, digest);
        }
        self.wake_if_due(agent);
        for (input, digest) in after {
            self.deliver(agent, input, digest);
        }
    }

    fn note_probe(&mut self, agent: usize, instance: usize, started: SimTime, outcome: &Outcome) {
        let passed = !matches!(outcome.result, ProbeResult::Fail(_));
        let observer = self.truth.scenario.role(agent);
        let probed = Probed { started, finished: self.truth.now, passed };
        self.truth.probed(observer, instance, probed);
        self.tell_probe(agent, instance, probed, &outcome.result);
    }

    /// Takes all outputs of an agent, looks at its picture, and plans its next wake-up.
    pub(crate) fn drain(&mut self, agent: usize, woken: bool) {
        let mut look = self.hosts.len() <= SMALL_MESH;
        while let Some(output) = self.hosts[agent].process.as_mut().and_then(|process| process.node.poll_output()) {
            self.tally.outputs += 1;
            look |= self.tells_of_new_down(&output);
            self.carry_out(agent, output);
        }
        self.after_network();
        let now = self.truth.now;
        let clock = &self.truth.scenario.agents[self.truth.scenario.role(agent)].clock;
        let Some(process) = &mut self.hosts[agent].process else { return };
        let due = match process.node.next_wakeup() {
            Mono(u64::MAX) => SimTime::NEVER,
            Mono(own) => clock.moment(clock.running(process.started).saturating_add(own)),
        };
        // A deadline that is still in the past after it was handled would stop time.
        let due = due.max(if woken { now.plus(Duration::from_micros(1)) } else { now });
        let look = look && self.watched && process.node.view_changed();
        if due < process.wake_at && due < SimTime::NEVER {
            process.wake_at = due;
            self.plan(due, Rank::Wake, agent, 0, Happening::Wake(agent));
        }
        if look {
            self.look_at(agent);
        }
    }

    /// Does an output tell of a `down` of which nobody has told before?
    fn tells_of_new_down(&self, output: &Output) -> bool {
        let Output::Event(Event { kind: EventKind::Verdicts { changes, .. }, .. }) = output else { return false };
        changes.iter().any(|change| {
            let known = self.proofs.get(&change.instance);
            let same = |proof: &Proof| proof.1 == change.term && proof.2 == Verdict::Down;
            change.to == Verdict::Down && !known.is_some_and(|proofs| proofs.iter().any(same))
        })
    }

    pub(crate) fn wake(&mut self, agent: usize) {
        let now = self.truth.now;
        let Some(process) = &mut self.hosts[agent].process else { return };
        if process.wake_at != now {
            return;
        }
        process.wake_at = SimTime::NEVER;
        if !process.paused {
            self.wake_if_due(agent);
        }
    }

    /// A busy process is woken when it has time.
    pub(crate) fn wake_if_due(&mut self, agent: usize) {
        let now = self.truth.now;
        let Some(process) = self.hosts[agent].process.as_mut().filter(|process| process.busy_until <= now) else {
            return;
        };
        let clock = clocks(&self.truth.scenario, agent, process.started, now);
        if process.node.next_wakeup() <= clock.mono {
            self.deliver(agent, Input::Wake, 0);
        } else {
            self.drain(agent, false);
        }
    }
}
