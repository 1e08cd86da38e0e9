//! When an observer probes next: on its own grid of periods; sooner while its vote is about to change; at another pace while the instance is
//! down; and at once when a fellow observer asks for a second opinion.
//!
//! Whoever sees the first failure, or the first answer of an instance that is down, asks the other observers to look at once: detection then
//! waits for the first observer's period and for nobody else's. Nothing is believed on request. Who is asked probes what it watches anyway,
//! counts what it sees itself, and does not pass the request on. Envoy and HAProxy probe faster after a first failure, each for itself
//! (`unhealthy_edge_interval`, `fastinter`); the request is what a mesh adds.

use super::instance::Watch;
use super::signing::MOMENT;
use super::{Engine, limits};
use quorate_core::{AgentId, Check, InstanceId, Mono, Verdict};
use quorate_wire::Packet;
use std::collections::BTreeMap;
use std::time::Duration;

/// Without a fast interval, a request is not followed sooner after a probe than this part of the period.
const REQUEST_GAP: u32 = 4;
/// Instances named in one packet, so that it fits into a datagram unless names are long.
const PER_PACKET: usize = 8;

/// Requests for second opinions: those to be sent, and how many of each kind this second has seen.
#[derive(Debug, Default)]
pub(crate) struct SecondOpinions {
    outgoing: BTreeMap<AgentId, Vec<InstanceId>>,
    asked: Allowance,
    given: Allowance,
}

/// How much of a second's allowance is used.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    since: Mono,
    used: usize,
}

impl Allowance {
    /// One more, if the second allows it.
    pub(super) fn take(&mut self, now: Mono, limit: usize) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, used: 0 };
        }
        let fits = self.used < limit;
        self.used += usize::from(fits);
        fits
    }
}

impl Watch {
    /// When to probe next, as things stand: after the probe that began last.
    fn next_due(&mut self, check: &Check, down: bool, now: Mono) -> Mono {
        self.regular = next_on_grid(self.regular, check.period, now);
        // What is set aside was no look.
        if self.overdue && (self.set_aside || !self.in_doubt(check)) {
            return now;
        }
        let slowed = check.down_interval.filter(|_| down && self.vote.fails() && self.successes == 0);
        // Whatever counts in a row is that far apart, also after a look that was asked for between two places of the grid.
        let counting = self.in_doubt(check).then(|| check.fast_interval.unwrap_or(check.period));
        let after = |pace: Duration| self.began.map_or(self.regular, |began| began + pace);
        slowed.or(counting).map_or(self.regular, after).max(now)
    }

    /// Has something been seen that does not fit the vote, and not often enough yet to change it?
    fn in_doubt(&self, check: &Check) -> bool {
        let first = self.vote.abstains() && self.failures == 0;
        if self.vote.fails() || first {
            (1..check.success_threshold).contains(&self.successes)
        } else {
            (1..check.failure_threshold).contains(&self.failures)
        }
    }
}

/// The next place after `now`. A late timer, or a probe in between, does not shift those that follow.
fn next_on_grid(place: Mono, period: Duration, now: Mono) -> Mono {
    if place > now {
        return place;
    }
    let step = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    let steps = (now.0 - place.0) / step + 1;
    Mono(place.0.saturating_add(steps.saturating_mul(step)))
}

/// So soon after its last look an agent does not look again because another asks: it does a little later.
pub(super) fn request_gap(check: &Check) -> Duration {
    check.fast_interval.unwrap_or(check.period / REQUEST_GAP)
}

impl Engine {
    /// Plans the probe after the one that begins now; or, while another is still running, a further attempt, unless its outcome comes before.
    pub(super) fn plan_next(&mut self, id: &InstanceId) {
        let now = self.now.mono;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let Some((check, watch)) = instance.check.as_ref().zip(instance.watch.as_mut()) else { return };
        if watch.running {
            watch.overdue |= watch.regular <= now;
            watch.regular = next_on_grid(watch.regular, check.period, now);
            watch.due = watch.regular;
            self.schedule.insert((watch.due, id.clone()));
        } else {
            (watch.began, watch.overdue) = (Some(now), false);
            self.replan(id);
        }
    }

    /// Plans the next probe anew, after an outcome or a verdict. A host's pings have a pace of their own.
    pub(super) fn replan(&mut self, id: &InstanceId) {
        let now = self.now.mono;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let down = instance.decided() == Verdict::Down;
        let (Some(check), Some(watch)) = (&instance.check, &mut instance.watch) else { return };
        if !check.enabled {
            return;
        }
        if watch.due <= now && self.schedule.contains(&(watch.due, id.clone())) {
            // One that is due at this very moment is not to be put off.
            return;
        }
        let due = watch.next_due(check, down, now);
        let was = std::mem::replace(&mut watch.due, due);
        if was != due {
            self.schedule.remove(&(was, id.clone()));
        }
        self.schedule.insert((due, id.clone()));
    }

    /// What was seen is news: the other observers are to look at once.
    pub(super) fn ask_second_opinion(&mut self, id: &InstanceId, requested: bool) {
        let (me, now) = (self.me(), self.now.mono);
        let Some(instance) = self.instances.get(id) else { return };
        let Some(watch) = instance.watch.as_ref() else { return };
        let others: Vec<_> = instance.observers.iter().copied().filter(|agent| *agent != me).collect();
        // Whoever asked for this look has asked the others as well.
        let on_request = requested || watch.asked.is_some() && watch.asked >= watch.began;
        if on_request || others.is_empty() {
            return;
        }
        if !self.second_opinions.asked.take(now, limits::MAX_SECOND_OPINIONS_PER_S) {
            self.stats.limits_hit += 1;
            return;
        }
        self.stats.second_opinions_asked += 1;
        for agent in others.into_iter().filter(|agent| self.swim.is_active(*agent)) {
            self.second_opinions.outgoing.entry(agent).or_default().push(id.clone());
        }
    }

    /// Sends what was asked in this turn.
    pub(super) fn flush_second_opinions(&mut self) {
        for (to, instances) in std::mem::take(&mut self.second_opinions.outgoing) {
            for some in instances.chunks(PER_PACKET) {
                self.send(to, &Packet::LookNow { instances: some.to_vec() });
            }
        }
    }

    pub(super) fn receive_look_now(&mut self, from: AgentId, instances: &[InstanceId]) {
        for id in instances.iter().take(PER_PACKET) {
            let fellow = self.instances.get(id).is_some_and(|instance| instance.observers.contains(&from));
            if fellow {
                self.look_now(id, true);
            }
        }
    }

    /// The owner has news of an instance.
    pub(super) fn look_anew(&mut self, id: &InstanceId) {
        if let Some(watch) = self.instances.get_mut(id).and_then(|instance| instance.watch.as_mut()) {
            watch.began = None;
        }
        self.look_now(id, false);
    }

    /// Probes at once; where another asks for it, not so soon after the last time.
    pub(super) fn look_now(&mut self, id: &InstanceId, asked: bool) {
        let now = self.now.mono;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let (Some(check), Some(watch)) = (&instance.check, &mut instance.watch) else { return };
        let gap = request_gap(check);
        // What this agent looks for itself is worth a look whenever the last one may be out of date.
        let gap = if asked { gap } else { gap.min(MOMENT) };
        let at = watch.began.map_or(now, |began| now.max(began + gap));
        if asked {
            watch.asked = Some(now);
        }
        let refused = !asked && at > now;
        // Who counts already looks again at its own pace: a threshold of three is passed in no less than two intervals.
        let counting = watch.began.is_some() && watch.in_doubt(check);
        if !check.enabled || watch.running || refused || counting || watch.due <= at {
            return;
        }
        if !self.second_opinions.given.take(now, limits::MAX_SECOND_OPINIONS_PER_S) {
            self.stats.limits_hit += 1;
            return;
        }
        self.stats.second_opinions_given += u64::from(asked);
        watch.requested |= asked;
        let was = std::mem::replace(&mut watch.due, at);
        self.schedule.remove(&(was, id.clone()));
        self.schedule.insert((at, id.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Cause, Phase, UnixMs, Vote};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn check() -> Check {
        Check {
            period: ms(1000),
            fast_interval: Some(ms(200)),
            down_interval: Some(ms(5000)),
            success_threshold: 2,
            ..Check::default()
        }
    }

    /// A watch that probed at 3,100 ms, on a grid that begins at 100 ms.
    fn watch(vote: Vote, failures: u32, successes: u32) -> Watch {
        let mut watch = Watch::new(UnixMs(0), at(100));
        (watch.vote, watch.failures, watch.successes) = (vote, failures, successes);
        (watch.began, watch.regular) = (Some(at(3100)), at(3100));
        watch
    }

    #[test]
    fn the_next_probe_depends_on_what_was_seen() {
        let fail = Vote::Fail { phase: Phase::Connect, cause: Cause::Refused };
        let due = |vote, failures, successes, down| watch(vote, failures, successes).next_due(&check(), down, at(3150));
        assert_eq!(due(Vote::Pass, 0, 9, false), at(4100), "all is well: on the grid");
        assert_eq!(due(Vote::Pass, 1, 0, false), at(3300), "a first failure: soon");
        assert_eq!(due(Vote::Pass, 2, 0, false), at(3300), "a second one: soon");
        assert_eq!(due(Vote::Pass, 3, 0, false), at(4100), "enough for a vote, which cannot be given now: on the grid");
        assert_eq!(due(fail, 3, 0, false), at(4100), "the vote is given, nothing is decided: on the grid");
        assert_eq!(due(fail, 3, 0, true), at(8100), "it is down: at its own pace");
        assert_eq!(due(fail, 0, 1, true), at(3300), "a first success of two: soon");
        assert_eq!(due(Vote::Pass, 0, 2, true), at(4100), "enough of them: on the grid");
    }

    #[test]
    fn without_settings_of_its_own_everything_is_on_the_grid() {
        let plain = Check { fast_interval: None, down_interval: None, ..check() };
        for (failures, down) in [(0, false), (1, false), (3, true)] {
            assert_eq!(watch(Vote::Pass, failures, 0).next_due(&plain, down, at(3150)), at(4100));
        }
    }

    #[test]
    fn after_a_look_on_request_the_next_that_counts_is_an_interval_later() {
        let mut watch = watch(Vote::Pass, 1, 0);
        watch.began = Some(at(4050));
        assert_eq!(watch.next_due(&check(), false, at(4060)), at(4250), "the grid has a place at 4,100");
        assert_eq!(watch.next_due(&check(), false, at(4300)), at(4300), "what is overdue is due now");
        let plain = Check { fast_interval: None, ..check() };
        assert_eq!(watch.next_due(&plain, false, at(4060)), at(5050));
    }

    #[test]
    fn a_look_that_was_due_during_another_follows_it_at_once() {
        let plain = Check { fast_interval: None, down_interval: None, ..check() };
        let mut watch = Watch { overdue: true, ..watch(Vote::Pass, 1, 0) };
        assert_eq!(watch.next_due(&plain, false, at(4150)), at(4150));
        assert_eq!(watch.regular, at(5100), "the grid stays");
    }

    #[test]
    fn the_grid_keeps_its_phase() {
        assert_eq!(next_on_grid(at(100), ms(1000), at(50)), at(100));
        assert_eq!(next_on_grid(at(100), ms(1000), at(100)), at(1100));
        assert_eq!(next_on_grid(at(100), ms(1000), at(7350)), at(8100));
        assert_eq!(next_on_grid(Mono(5), Duration::ZERO, Mono(9)), Mono(10));
    }

    #[test]
    fn an_allowance_lasts_a_second() {
        let mut allowance = Allowance::default();
        let taken = |allowance: &mut Allowance, now| (0..5).filter(|_| allowance.take(now, 3)).count();
        assert_eq!(taken(&mut allowance, at(2000)), 3);
        assert_eq!(taken(&mut allowance, at(2999)), 0);
        assert_eq!(taken(&mut allowance, at(3000)), 3);
    }
}
