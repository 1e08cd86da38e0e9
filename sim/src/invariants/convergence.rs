//! Promise 9, Convergence: after the last fault all live agents agree, within a bound, on the roster and on every verdict, and agree with
//! the truth where it is plain.

use super::detection::enough_honest;
use super::epochs::forgotten;
use super::{Finding, Invariant, Sight, observations};
use crate::scenario::{Cut, Interval, Subject, Windows};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::{AgentId, InstanceId, Roster, UnixMs, Verdict, quorum};
use quorate_mesh::{Glance, InstanceView, MemberState, Standings};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What has been so for this long is plain.
const PLAIN: Duration = Duration::from_secs(15);

/// What is decided late, such as the end of a hold-down, is known to all this soon, and so is what follows from it: who watched a host that was down
/// pings it a few times more.
const NEWS: Duration = Duration::from_secs(5);

/// So many changes may make the next one wait: others may have seen two more.
pub(super) fn held_down_changes(truth: &Truth) -> u32 {
    truth.scenario.timing.flap_threshold.saturating_sub(2).max(1)
}

/// A host flaps from half as many, and what is decided of it everybody hears.
fn held_down_host_changes(truth: &Truth) -> u32 {
    truth.scenario.timing.flap_threshold.div_ceil(2).max(1)
}

/// The invariant.
pub struct Convergence {
    /// Since when all agree, but for moments in which news travels.
    since: Option<SimTime>,
    /// Since when they do not.
    lost: Option<SimTime>,
    /// Why they do not.
    complaint: Option<Finding>,
    /// What was found in order at the last look: it need not be looked at again.
    seen: Seen,
}

/// From when on the truth of each instance is plain, after the last fault.
pub fn plain_from(truth: &Truth) -> SimTime {
    if truth.scenario.last_fault == SimTime::START {
        return SimTime::START;
    }
    let longest = (0..truth.scenario.instances.len()).map(|index| plain(truth, index)).max().unwrap_or(PLAIN);
    truth.scenario.last_fault.plus(longest)
}

/// How long an instance must have been as it is, to be known as that.
fn plain(truth: &Truth, index: usize) -> Duration {
    PLAIN.max(truth.scenario.bounds.settled(&truth.scenario.instances[index].registration.check))
}

/// An agent's picture; the same one is shared until something in it changes.
type Picture = (Arc<Standings>, Arc<BTreeMap<InstanceId, Arc<InstanceView>>>, usize);

/// Pictures that were found in order, and what they were compared with.
#[derive(Default)]
struct Seen {
    /// Who should count, and who of all is within reach.
    expected: (BTreeSet<usize>, Vec<bool>),
    model: Option<Picture>,
    pictures: Vec<Option<Picture>>,
}

impl Seen {
    /// Forgets what was compared with something else.
    fn compare_with(&mut self, expected: (&BTreeSet<usize>, &[bool]), model: &Glance) {
        let as_before = (&self.expected.0, &*self.expected.1) == expected && same(self.model.as_ref(), model);
        if !as_before {
            self.expected = (expected.0.clone(), expected.1.to_vec());
            self.model = Some(picture(model));
            self.pictures = vec![None; expected.1.len()];
        }
    }
}

fn picture(view: &Glance) -> Picture {
    (Arc::clone(&view.members), Arc::clone(&view.instances), view.roster)
}

fn same(picture: Option<&Picture>, view: &Glance) -> bool {
    picture.is_some_and(|(members, instances, roster)| {
        Arc::ptr_eq(members, &view.members) && Arc::ptr_eq(instances, &view.instances) && *roster == view.roster
    })
}

impl Convergence {
    /// Nobody agrees yet.
    pub fn new() -> Self {
        Self { since: None, lost: None, complaint: None, seen: Seen::default() }
    }

    /// How long all have agreed.
    pub fn calm_for(&self, now: SimTime) -> Duration {
        self.since.filter(|_| self.lost.is_none()).map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How long after the last fault all agreed for good.
    pub fn took(&self, truth: &Truth) -> Option<Duration> {
        self.since.map(|since| since.since(truth.scenario.last_fault))
    }
}

impl Invariant for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Survey { views } if truth.now >= truth.scenario.last_fault => {
                match disagreement(truth, views, &mut self.seen) {
                    None => {
                        self.since.get_or_insert(truth.now);
                        self.lost = None;
                    }
                    Some(complaint) => {
                        let lost = *self.lost.get_or_insert(truth.now);
                        self.since = self.since.filter(|_| truth.now.since(lost) <= NEWS);
                        self.complaint = Some(complaint);
                    }
                }
            }
            Sight::End => {
                let bound = truth.scenario.bounds.convergence.0;
                let late = truth.now.since(truth.scenario.last_fault) >= bound;
                if late && self.took(truth).is_none_or(|took| took > bound) {
                    let finding = self.complaint.clone().unwrap_or_else(|| Finding::new(None, "nothing is known"));
                    let detail = format!("{bound:?} after the last fault: {}", finding.detail);
                    found.push(Finding { detail, ..finding });
                }
            }
            _ => {}
        }
    }
}

/// What the live agents do not agree about, if anything.
fn disagreement(truth: &Truth, views: &[Option<&Glance>], seen: &mut Seen) -> Option<Finding> {
    let now = truth.now;
    let roster = expected(truth, views);
    let known = views.iter().flatten().map(|view| view.epoch).max().unwrap_or(0);
    let latest = truth.rosters.latest();
    let lost = known < latest && (forgotten(truth, latest) || !truth.scenario.doubles.is_empty());
    if known == 0 || lost || decided_anew(truth, views) {
        // Every disk was lost: there is no mesh any more to which anybody could return. Or all who knew who counts came back with older ones, or were
        // clones: nobody can tell the rest that those for whom it waits have left.
        return None;
    }
    let sound = |agent: &usize| truth.awake(*agent, now) && !truth.scenario.faulty(*agent, now);
    // Whoever is lost for good need not agree: the connected part that holds more than half of the roster must.
    let core = core(truth, &roster)?;
    let live: Vec<usize> = roster.iter().copied().filter(|agent| core[*agent] && sound(agent)).collect();
    if !quorum::majority(live.len(), roster.len()) {
        return None;
    }
    let first = *live.first()?;
    let Some(model) = views[first] else { return Some(Finding::new(Some(first), "it has published no view")) };
    seen.compare_with((&roster, &core), model);
    let mut members: Vec<_> = roster.iter().map(|agent| (truth.scenario.agents[*agent].id, *agent)).collect();
    members.sort_unstable();
    let moment = |agent: AgentId, at: UnixMs| {
        let number = truth.scenario.agent(agent);
        number.map_or_else(|| at.0.to_string(), |number| truth.moment_of(number, at.0).to_string())
    };
    let speaks = |agent: AgentId| truth.scenario.agent(agent).is_some_and(|agent| live.contains(&agent));
    for agent in &live {
        let complain = |detail: String| Some(Finding::new(Some(*agent), detail));
        let Some(view) = views[*agent] else { return complain("it has published no view".to_owned()) };
        if !view.quorate {
            return complain(format!("it is not quorate ({} alive of {})", view.alive, view.roster));
        }
        // What faulty members show is judged by the moment.
        if truth.scenario.faulty.is_empty() && same(seen.pictures[*agent].as_ref(), view) {
            continue;
        }
        if let Some(detail) = wrong_roster(truth, view, &members, &core) {
            return complain(detail);
        }
        if let Some(detail) = differing(model, view).or_else(|| observations::differing(model, view, speaks, moment)) {
            return complain(format!("{detail}, on {}", truth.scenario.agent_name(first)));
        }
        let stale = |instance: &&Arc<InstanceView>| {
            instance.stale_since.is_some() && observers_left(truth, &instance.instance, &live, roster.len())
        };
        if let Some(stale) = view.instances.values().find(stale) {
            return complain(format!("{} is stale", stale.instance));
        }
        seen.pictures[*agent] = Some(picture(view));
    }
    let pictures: Vec<&Glance> = live.iter().filter_map(|agent| views[*agent]).collect();
    let wrong = wrong(truth, &pictures, &roster, &core).map(|detail| Finding::new(Some(first), detail));
    wrong.or_else(|| {
        live.iter().find_map(|agent| suspecting(truth, views[*agent]?, &live).map(|s| Finding::new(Some(*agent), s)))
    })
}

/// Was an epoch decided once more, because all of those who had decided it have forgotten it?
fn decided_anew(truth: &Truth, views: &[Option<&Glance>]) -> bool {
    let id = |agent: &usize| truth.scenario.agents[*agent].id;
    let digest = |epoch: u64| Some(Roster::new(epoch, truth.rosters.of(epoch)?.iter().map(id).collect()).digest());
    let mut held: Vec<(u64, u64)> = views.iter().flatten().map(|view| (view.epoch, view.roster_digest)).collect();
    held.sort_unstable();
    held.dedup();
    let differs = |(epoch, held): &&(u64, u64)| digest(*epoch).is_some_and(|digest| digest != *held);
    held.iter().filter(differs).any(|(epoch, _)| forgotten(truth, *epoch))
}

/// Who should count now: all that joined and did not leave, but for those that were lost and have been forgotten, and with those that left
/// while nobody could hear it. While more than half of those that count by agreement are gone, nothing can be agreed any more, and that is how
/// it is.
fn expected(truth: &Truth, views: &[Option<&Glance>]) -> BTreeSet<usize> {
    let now = truth.now;
    let heard = |agent: usize| {
        let id = truth.scenario.agents[agent].id;
        views.iter().flatten().any(|view| view.members.get(&id).is_some_and(|m| m.state == MemberState::Left))
    };
    // Who is cut off for good may be forgotten, and lives on all the same.
    let abandoned = |agent: usize| truth.scenario.abandoned.iter().any(|(who, at)| *who == agent && *at <= now);
    let counts = |agent: &usize| match truth.member(*agent, now) {
        true => truth.counts(*agent, now) || truth.awake(*agent, now) && !abandoned(*agent),
        false => truth.counts(*agent, now) && !heard(*agent),
    };
    (0..truth.agents()).filter(counts).collect()
}

/// Are there agents enough among the live ones to make a quorum of the observers? A small mesh that has lost a few is short of them for ever.
fn observers_left(truth: &Truth, id: &InstanceId, live: &[usize], roster: usize) -> bool {
    let (assigned, candidates) = match truth.scenario.subject(id) {
        None => return true,
        Some(Subject::Host(_)) => {
            ((quorum::DEFAULT_OBSERVERS as usize).min(roster.saturating_sub(1)), live.len().saturating_sub(1))
        }
        Some(Subject::Instance(index)) if truth.scenario.instances[index].registration.check.kind.home_only() => {
            return live.contains(&truth.scenario.instances[index].home);
        }
        Some(Subject::Instance(index)) => {
            ((truth.scenario.instances[index].registration.observers as usize).min(roster), live.len())
        }
    };
    candidates >= quorum::of(u32::try_from(assigned).unwrap_or(u32::MAX)) as usize
}

/// The part of the mesh, connected now, that holds more than half of the roster.
fn core(truth: &Truth, roster: &BTreeSet<usize>) -> Option<Vec<bool>> {
    let agreed: Vec<usize> = (0..truth.agents()).filter(|agent| truth.counts(*agent, truth.now)).collect();
    let holds_most = |part: &[bool]| {
        let size = roster.iter().filter(|member| part[**member]).count();
        let agree = agreed.iter().filter(|member| part[**member]).count();
        quorum::majority(size, roster.len()) && quorum::majority(agree, agreed.len())
    };
    truth.parts(truth.now).all().find(|part| holds_most(part)).map(<[bool]>::to_vec)
}

/// A live agent that is suspected, if any. Looked for last: suspicion alone decides nothing.
fn suspecting(truth: &Truth, view: &Glance, live: &[usize]) -> Option<String> {
    if view.members.suspects() == 0 {
        return None;
    }
    live.iter().find_map(|agent| {
        let state = view.members.get(&truth.scenario.agents[*agent].id)?.state;
        let name = truth.scenario.agent_name(*agent);
        (state == MemberState::Suspect).then(|| format!("it shows {name} as suspect, which lives and is reachable"))
    })
}

/// What is wrong about an agent's membership, if anything. `expected` holds who should count, ascending by id.
fn wrong_roster(truth: &Truth, view: &Glance, expected: &[(AgentId, usize)], core: &[bool]) -> Option<String> {
    let named = || view.members.values().filter(|member| member.state != MemberState::Left);
    if view.roster != expected.len() || !named().map(|member| member.agent).eq(expected.iter().map(|(id, _)| *id)) {
        let named: BTreeSet<AgentId> = named().map(|member| member.agent).collect();
        let expected: BTreeSet<AgentId> = expected.iter().map(|(id, _)| *id).collect();
        let odd = named.symmetric_difference(&expected).map(|id| {
            let name = truth.scenario.agent(*id).map_or("?", |agent| truth.scenario.agent_name(agent));
            let state = view.members.get(id).map(|member| member.state);
            format!(", {name} is {state:?} there")
        });
        return Some(format!(
            "its roster holds {} ({} named); it should hold {}{}",
            view.roster,
            named.len(),
            expected.len(),
            odd.take(3).collect::<String>()
        ));
    }
    named().zip(expected).find_map(|(member, (_, agent))| {
        let (state, alive) = (member.state, core[*agent]);
        // A member that lies on may have it that the dead have spoken; until that is refuted by silence they are suspect.
        let right = match state {
            MemberState::Alive => alive,
            MemberState::Suspect => alive || truth.scenario.anyone_faulty(truth.now),
            _ => !alive && state == MemberState::Failed,
        };
        (!right && !truth.scenario.faulty(*agent, truth.now))
            .then(|| format!("{} is {state:?} in its eyes; alive: {alive}", truth.scenario.agent_name(*agent)))
    })
}

/// What an agent says of an instance: stated, decided, and the term.
type Told = (Verdict, Verdict, u64);

/// Of a host of which there is nothing to say, membership speaks.
fn told(view: &Glance, id: &InstanceId) -> Option<Told> {
    let known = view.instances.get(id).map(|i| (i.verdict, i.decided, i.term));
    known.or_else(|| view.host(id.host_of()?))
}

fn differing(model: &Glance, view: &Glance) -> Option<String> {
    if let Some(id) = model.instances.keys().find(|id| told(view, id).is_none()) {
        return Some(format!("{id} is not known"));
    }
    view.instances.keys().chain(model.instances.keys()).find_map(|id| match (told(view, id), told(model, id)) {
        (_, None) => Some(format!("{id} is known only here")),
        (Some(here), Some(there)) if here != there => {
            let say = |(verdict, decided, term): Told| format!("{verdict} (decided {decided}, term {term})");
            Some(format!("{id} is {} here and {} there", say(here), say(there)))
        }
        _ => None,
    })
}

/// What is plainly not so, of what all agree about; `views` is what they see.
fn wrong(truth: &Truth, views: &[&Glance], roster: &BTreeSet<usize>, core: &[bool]) -> Option<String> {
    let instances = truth.scenario.instances.iter().enumerate();
    let mut homed = instances.filter(|(_, instance)| roster.contains(&instance.home));
    let of_instance = homed.find_map(|(index, _)| wrong_instance(truth, views, core, index));
    let alive = core.iter().filter(|inside| **inside).count();
    of_instance.or_else(|| {
        let judged = |agent: &&usize| enough_honest(truth, Subject::Host(**agent), alive, roster.len());
        roster.iter().filter(judged).find_map(|agent| wrong_host(truth, views, core, *agent))
    })
}

/// Was the path between `home` and everyone of the core clear all the time since `from`, or cut all the time?
fn paths(truth: &Truth, core: &[bool], home: usize, from: SimTime, clear: bool) -> bool {
    let now = truth.now;
    let stops = |cut: &Cut, agent: usize| cut.stops(agent, home) || cut.stops(home, agent);
    let lasting = |when: Windows| when.holds(from) && when.holds(now);
    let cut = |agent: usize| truth.scenario.cuts.iter().any(|cut| lasting(cut.when) && stops(cut, agent));
    let mut inside = (0..core.len()).filter(|agent| core[*agent]);
    inside.all(|agent| if clear { truth.path_clear(agent, home, from, now) } else { agent != home && cut(agent) })
}

/// Does anyone have reason to let it wait for its next `up`? Whoever was cut off has missed some of its changes.
fn held_down(views: &[&Glance], id: &InstanceId, changes: u32) -> bool {
    views.iter().filter_map(|view| view.instances.get(id)).any(|told| told.flapping || told.changes >= changes)
}

/// Is so much of its service down already that a further `down` needs all observers but one, while two of them may lie?
fn one_may_save(truth: &Truth, view: &Glance, told: &InstanceView) -> bool {
    let of_service = view.instances.values().filter(|other| other.service == told.service);
    let others_down =
        of_service.clone().filter(|other| other.instance != told.instance && other.decided == Verdict::Down);
    let (down, all) = (others_down.count(), of_service.count());
    let strained = down > 0 && down * 100 >= all * truth.scenario.timing.max_down_percent as usize;
    strained && (0..truth.agents()).filter(|agent| truth.scenario.suspect(*agent, truth.now)).count() > 1
}

/// Must all know the instance, or nobody? Nobody can tell where its home may not have told the others what it registers by now.
fn expected_known(truth: &Truth, core: &[bool], index: usize) -> Option<bool> {
    let scenario = &truth.scenario;
    let home = scenario.instances[index].home;
    let always = scenario.registered_throughout(index, SimTime::START, truth.now);
    let tells = || core[home] && truth.awake(home, truth.now) && !scenario.suspect(home, truth.now);
    (always || tells()).then(|| scenario.registered(index, truth.now))
}

fn wrong_instance(truth: &Truth, views: &[&Glance], core: &[bool], index: usize) -> Option<String> {
    let from = truth.now.minus(plain(truth, index));
    let view = views.first()?;
    let instance = &truth.scenario.instances[index];
    let expected = expected_known(truth, core, index);
    let Some(told) = view.instances.get(&instance.id) else {
        return (expected == Some(true)).then(|| format!("{} is not known", instance.id));
    };
    if expected == Some(false) {
        return Some(format!("{} is withdrawn, but decided {}", instance.id, told.decided));
    }
    let held_down = || held_down(views, &instance.id, held_down_changes(truth));
    let alive = core.iter().filter(|inside| **inside).count();
    if !enough_honest(truth, Subject::Instance(index), alive, view.roster) {
        return None;
    }
    let registered = truth.scenario.registered_throughout(index, from, truth.now);
    let home_long = truth.settled_member(instance.home, from) && registered;
    let well = || truth.seen_well_throughout(index, from, truth.now) && paths(truth, core, instance.home, from, true);
    if told.decided != Verdict::Up && home_long && well() && !held_down() {
        return Some(format!("{} is well, but decided {}", instance.id, told.decided));
    }
    if instance.registration.check.kind.home_only() && !core[instance.home] {
        // Nobody can say anything of it any more, and it is shown so.
        let unknown = matches!(told.verdict, Verdict::Unknown | Verdict::Maintenance);
        return (!unknown).then(|| format!("{} cannot be seen by anyone, but is {}", instance.id, told.verdict));
    }
    let lost = || dead_for_good(truth, index, from) || paths(truth, core, instance.home, from, false);
    (told.decided != Verdict::Down && registered && lost() && !one_may_save(truth, view, told))
        .then(|| format!("{} is dead, but decided {}", instance.id, told.decided))
}

fn wrong_host(truth: &Truth, views: &[&Glance], core: &[bool], agent: usize) -> Option<String> {
    let view = views.first()?;
    let (from, now) = (truth.now.minus(PLAIN), truth.now);
    let id = truth.scenario.agents[agent].id;
    let (_, decided, _) = view.host(id)?;
    let held_down = || held_down(views, &InstanceId::host(id), held_down_host_changes(truth));
    if truth.scenario.faulty(agent, from) {
        return None;
    }
    let (name, down) = (truth.scenario.agent_name(agent), decided == Verdict::Down);
    let condemned = down || decided == Verdict::Partial;
    let well = || truth.awake_throughout(agent, from, now) && paths(truth, core, agent, from, true);
    if condemned && core[agent] && well() && !held_down() {
        return Some(format!("{name} lives, but its host is decided {decided}"));
    }
    let dark = || truth.scenario.crashes.iter().any(|c| c.agent == agent && c.when.holds(from) && c.when.holds(now));
    let gone = !down && (dark() || paths(truth, core, agent, from, false));
    gone.then(|| format!("{name} is gone, but its host is decided {decided}"))
}

fn dead_for_good(truth: &Truth, index: usize, from: SimTime) -> bool {
    let home = truth.scenario.instances[index].home;
    let lasting = |when: Interval| when.holds(from) && when.holds(truth.now);
    let target =
        truth.scenario.targets.iter().any(|fault| fault.instance == index && fault.kills() && lasting(fault.when));
    target || truth.scenario.crashes.iter().any(|c| c.agent == home && !c.targets_survive && lasting(c.when))
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;

    /// Surveys at 41 s and, the split having ended at 40 s, again past the bound; returns what is found at the end.
    fn end(change: impl Fn(&mut Bench, &mut Vec<Glance>)) -> Vec<String> {
        let mut bench = Bench::new(SPLIT);
        bench.at(71);
        let up = |bench: &Bench, name: &str| bench.instance_view(name, Verdict::Up, 1, None);
        let instances = [up(&bench, "web@0"), up(&bench, "web@4")];
        let mut views: Vec<Glance> = (0..5).map(|agent| bench.mesh_view(agent, true, &instances)).collect();
        change(&mut bench, &mut views);
        let views: Vec<Option<&Glance>> = views.iter().map(Some).collect();
        let mut convergence = Convergence::new();
        let mut found = Vec::new();
        convergence.look(&bench.truth, &Sight::Survey { views: &views }, &mut found);
        convergence.look(&bench.truth, &Sight::End, &mut found);
        found.into_iter().map(|finding| finding.detail).collect()
    }

    #[test]
    fn agreement_in_time_passes_and_agreement_too_late_is_found() {
        assert!(end(|bench, _| bench.at(69)).is_empty());
        assert_eq!(end(|bench, _| bench.at(71)).len(), 1);
    }

    #[test]
    fn what_is_withdrawn_must_be_known_to_nobody_and_what_is_back_to_all() {
        let found = |times: &str, known: &[&str]| {
            let withdraw = format!("[[faults]]\nkind = \"withdraw\"\ninstance = \"web@4\"\n{times}\n");
            let mut bench = Bench::new(&format!("{SPLIT}{withdraw}"));
            bench.at(71);
            let all: Vec<_> = known.iter().map(|name| bench.instance_view(name, Verdict::Up, 1, None)).collect();
            let views: Vec<Glance> = (0..5).map(|agent| bench.mesh_view(agent, true, &all)).collect();
            let views: Vec<Option<&Glance>> = views.iter().map(Some).collect();
            disagreement(&bench.truth, &views, &mut Seen::default()).map_or(String::new(), |finding| finding.detail)
        };
        let (gone, back) = ("from = \"30s\"", "from = \"30s\"\nto = \"35s\"");
        assert_eq!(found(gone, &["web@0"]), "");
        assert!(found(gone, &["web@0", "web@4"]).contains("web@4 is withdrawn"));
        assert_eq!(found(back, &["web@0", "web@4"]), "");
        assert!(found(back, &["web@0"]).contains("web@4 is not known"));
    }

    #[test]
    fn each_kind_of_disagreement_is_named() {
        let found = end(|bench, views| {
            views[3] = bench.mesh_view(3, true, &[bench.instance_view("web@0", Verdict::Up, 2, None)]);
        });
        assert!(found[0].contains("web@4 is not known"), "{found:?}");
        let found = end(|_, views| views[2].quorate = false);
        assert!(found[0].contains("not quorate"), "{found:?}");
        let found = end(|_, views| views[2].roster = 4);
        assert!(found[0].contains("its roster holds 4"), "{found:?}");
        let found = end(|bench, views| {
            let down = ["web@0", "web@4"].map(|name| bench.instance_view(name, Verdict::Down, 1, None));
            *views = (0..5).map(|agent| bench.mesh_view(agent, true, &down)).collect();
        });
        assert!(found[0].contains("web@0 is well, but decided down"), "{found:?}");
    }
}
