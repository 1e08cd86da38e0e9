//! What a plan says of one agent must go together: when it is there, when its host is dark, when it joins and leaves.

use super::{Disk, Fault, Plan};
use crate::scenario::parts;
use crate::time::{LONGEST, Span};
use anyhow::{anyhow, bail};
use std::time::Duration;

/// Unless a mesh starts formed, all start within this time and make contact with agent 0.
const STARTING: Duration = Duration::from_secs(1);

/// What happens to an agent, in the order in which it counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Its host goes dark, until then or for good.
    Dark(Option<Span>),
    /// It is abandoned: dark for good, or alive and cut off.
    Lost { alive: bool },
    /// It leaves.
    Leaves,
    /// It joins.
    Joins,
}

/// Something that happens to an agent, by the fault with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Deed {
    agent: usize,
    at: Span,
    what: What,
    number: usize,
}

impl Deed {
    /// When the host is no longer dark by it; none when it never is.
    fn dark_until(&self) -> Option<Duration> {
        match self.what {
            What::Dark(until) => Some(until.map_or(Duration::MAX, |until| until.0)),
            What::Lost { alive } => (!alive).then_some(Duration::MAX),
            What::Leaves | What::Joins => None,
        }
    }

    fn changes_roster(&self) -> bool {
        matches!(self.what, What::Leaves | What::Joins)
    }

    fn told(&self) -> String {
        let at = String::from(self.at);
        match self.what {
            What::Dark(None) => format!("its host is dark from {at} on"),
            What::Dark(Some(until)) => format!("its host is dark from {at} to {}", String::from(until)),
            What::Lost { .. } => format!("it is abandoned at {at}"),
            What::Leaves => format!("it leaves at {at}"),
            What::Joins => format!("it joins at {at}"),
        }
    }
}

/// Checks what all faults together say of each agent; each alone has been checked before.
pub(super) fn check(plan: &Plan) -> anyhow::Result<()> {
    let deeds = deeds(plan);
    let end = |deed: &Deed| if let What::Dark(Some(until)) = deed.what { until } else { deed.at };
    if let Some(late) = deeds.iter().find(|deed| end(deed) > LONGEST) {
        let (number, end) = (late.number, String::from(end(late)));
        bail!("faults: number {number} is wrong: it goes on until {end}; a plan ends after 7 days, which is 10080m");
    }
    mesh_begins(plan, &deeds)?;
    deeds.chunk_by(same_agent).try_for_each(go_together)
}

/// What happens to the agents, by agent and time.
fn deeds(plan: &Plan) -> Vec<Deed> {
    let mut deeds = Vec::new();
    for (index, fault) in plan.faults.iter().enumerate() {
        let mut add = |agent, at, what| deeds.push(Deed { agent, at, what, number: index + 1 });
        for part in parts(fault, plan.mesh.agents) {
            match part {
                Fault::Crash { agent, at, restart_at, .. } => add(agent, at, What::Dark(restart_at)),
                Fault::Abandon { agents, at, alive } => {
                    agents.into_iter().for_each(|agent| add(agent, at, What::Lost { alive }));
                }
                Fault::Leave { agent, at } => add(agent, at, What::Leaves),
                Fault::Join { agent, at } => add(agent, at, What::Joins),
                _ => {}
            }
        }
    }
    deeds.sort_unstable();
    deeds
}

fn same_agent(one: &Deed, other: &Deed) -> bool {
    one.agent == other.agent
}

/// Someone must be there with whom it begins: whoever joins is let in by a member.
fn mesh_begins(plan: &Plan, deeds: &[Deed]) -> anyhow::Result<()> {
    let firsts = deeds.chunk_by(same_agent).filter_map(|own| own.iter().find(|deed| deed.changes_roster()));
    let joining: Vec<&Deed> = firsts.filter(|deed| deed.what == What::Joins).collect();
    if plan.mesh.start.is_formed() {
        if joining.len() == plan.mesh.agents {
            bail!("faults: every agent joins later, and no mesh begins; let one of them be there from the start");
        }
        return Ok(());
    }
    let remedy = "let agent 0 be there from the start, or use start = \"formed\"";
    if let Some(deed) = joining.first().filter(|deed| deed.agent == 0) {
        let (number, at) = (deed.number, String::from(deed.at));
        bail!("faults: number {number} is wrong: no mesh begins without agent 0, which joins at {at}; {remedy}");
    }
    let gone = |deed: &&Deed| {
        let for_good = !matches!(deed.what, What::Dark(Some(_)) | What::Joins);
        deed.agent == 0 && deed.at.0 <= STARTING && for_good
    };
    if let Some(deed) = deeds.iter().find(gone) {
        let number = deed.number;
        bail!(
            "faults: number {number} is wrong: agent 0 is gone before all have started, and no mesh begins; {remedy}"
        );
    }
    Ok(())
}

impl Fault {
    /// Does it stop, remove, return or copy `wanted`?
    pub fn moves(&self, wanted: usize) -> bool {
        match self {
            Self::Crash { agent, .. }
            | Self::Leave { agent, .. }
            | Self::Join { agent, .. }
            | Self::Clone { agent, .. } => *agent == wanted,
            Self::RollingRestart { agents, .. } => agents.as_ref().is_none_or(|agents| agents.contains(&wanted)),
            Self::Replace { agents, by, .. } => agents.contains(&wanted) || by.contains(&wanted),
            Self::JoinStorm { agents, .. } | Self::MassLeave { agents, .. } => agents.contains(&wanted),
            _ => false,
        }
    }

    /// Do several agents come back by it with other disks than they had?
    pub fn forgets_together(&self) -> bool {
        matches!(self, Self::RollingRestart { disk, .. } if *disk != Disk::Keep)
    }

    /// If so, they come back with those that they had.
    pub fn keep_disks(&mut self) {
        if let Self::RollingRestart { disk, .. } = self {
            *disk = Disk::Keep;
        }
    }

    /// Do agents join or leave by it?
    pub fn changes_roster(&self) -> bool {
        matches!(
            self,
            Self::Leave { .. }
                | Self::Join { .. }
                | Self::Replace { .. }
                | Self::JoinStorm { .. }
                | Self::MassLeave { .. }
        )
    }
}

/// Can everything be that happens to one agent?
fn go_together(deeds: &[Deed]) -> anyhow::Result<()> {
    let (mut dark, mut change): (Option<&Deed>, Option<&Deed>) = (None, None);
    for deed in deeds {
        let covering = dark.filter(|dark| dark.dark_until().is_some_and(|until| deed.at.0 < until));
        if let Some(before) = covering {
            let remedy = match (before.what, deed.what) {
                // Whoever is abandoned may be down already, and need not come back as was meant.
                (_, What::Lost { .. }) | (What::Lost { .. }, What::Dark(_)) => None,
                (_, What::Dark(_)) => Some("let one end before the other begins, or make one of both"),
                (_, What::Leaves | What::Joins) => {
                    Some("from a dark host nobody leaves or joins: let it restart before")
                }
            };
            if let Some(remedy) = remedy {
                return Err(clash(before, deed, remedy));
            }
        }
        if deed.changes_roster() {
            if let Some(before) = change.filter(|before| before.what == deed.what) {
                return Err(clash(before, deed, "leave one of both out"));
            }
            change = Some(deed);
        }
        if deed.dark_until() > dark.and_then(Deed::dark_until) {
            dark = Some(deed);
        }
    }
    Ok(())
}

fn clash(before: &Deed, after: &Deed, remedy: &str) -> anyhow::Error {
    let (first, last) = (before.number.min(after.number), before.number.max(after.number));
    let (agent, before, after) = (before.agent, before.told(), after.told());
    anyhow!("faults: numbers {first} and {last} cannot both be: of agent {agent}, {before}, and {after}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::{self, Profile};

    /// What is said of a plan with these faults, each a line of keys; nothing when it may be.
    fn said(mesh: &str, faults: &[&str]) -> String {
        let faults: Vec<String> = faults.iter().map(|fault| format!("{{ {fault} }}")).collect();
        let text = format!("summary = \"t\"\nmesh = {{ {mesh} }}\nfaults = [{}]\n", faults.join(", "));
        Plan::parse(&text).map_or_else(|error| format!("{error:#}"), |_| String::new())
    }

    const JOINING: &str = "agents = 5";
    const FORMED: &str = "agents = 5, start = \"formed\"";
    const CRASH: &str = "kind = \"crash\", agent = 1, at = \"30s\", restart_at = \"40s\"";
    const LOST: &str = "kind = \"crash\", agent = 1, at = \"15s\"";
    const JOIN: &str = "kind = \"join\", agent = 1, at = \"40s\"";
    const LEAVE: &str = "kind = \"leave\", agent = 1, at = \"39s\"";

    #[test]
    fn what_cannot_both_be_is_refused_with_both() {
        let again = "kind = \"crash\", agent = 1, at = \"35s\", restart_at = \"60s\"";
        let rolling = "kind = \"rolling-restart\", from = \"29s\", every = \"10s\", down = \"2s\"";
        let early = "kind = \"join\", agent = 1, at = \"35s\"";
        let abandoned = "kind = \"abandon\", agents = [1, 2], at = \"20s\"";
        let leave_all = "kind = \"mass-leave\", agents = [0, 1], from = \"10s\", to = \"20s\"";
        for (faults, wanted) in [
            ([CRASH, again], "its host is dark from 30s to 40s, and its host is dark from 35s to 60s"),
            ([again, LOST], "its host is dark from 15s on, and its host is dark from 35s to 60s"),
            ([CRASH, rolling], "its host is dark from 30s to 40s, and its host is dark from 39s to 41s"),
            ([LOST, JOIN], "its host is dark from 15s on, and it joins at 40s; from a dark host nobody"),
            ([CRASH, early], "its host is dark from 30s to 40s, and it joins at 35s; from a dark host nobody"),
            ([CRASH, LEAVE], "its host is dark from 30s to 40s, and it leaves at 39s; from a dark host nobody"),
            ([abandoned, JOIN], "it is abandoned at 20s, and it joins at 40s"),
            ([JOIN, early], "it joins at 35s, and it joins at 40s; leave one of both out"),
            ([leave_all, LEAVE], "it leaves at 20s, and it leaves at 39s"),
        ] {
            let said = said(JOINING, &faults);
            let head = "faults: numbers 1 and 2 cannot both be: of agent 1, ";
            assert!(said.starts_with(head) && said.contains(wanted), "{faults:?}: {said}");
        }
    }

    #[test]
    fn what_can_both_be_is_not() {
        let next = "kind = \"crash\", agent = 1, at = \"40s\", restart_at = \"60s\"";
        let other = "kind = \"crash\", agent = 2, at = \"35s\"";
        let early = "kind = \"join\", agent = 1, at = \"20s\"";
        let abandoned =
            |at: &str, alive: bool| format!("kind = \"abandon\", agents = [1], at = \"{at}\", alive = {alive}");
        let (late, before, alive) = (abandoned("35s", false), abandoned("20s", false), abandoned("20s", true));
        let pause = "kind = \"pause\", agent = 1, from = \"20s\", to = \"35s\"";
        let clone = "kind = \"clone\", agent = 1, from = \"35s\", to = \"50s\"";
        for faults in [
            vec![CRASH, next],
            vec![CRASH, other],
            vec![CRASH, JOIN],
            vec![LEAVE, JOIN],
            vec![early, LEAVE, JOIN],
            vec![early, CRASH],
            vec![CRASH, late.as_str()],
            vec![CRASH, before.as_str()],
            vec![alive.as_str(), JOIN],
            vec![pause, pause, CRASH],
            vec![clone, CRASH],
        ] {
            assert_eq!(said(JOINING, &faults), "", "{faults:?}");
        }
    }

    #[test]
    fn a_mesh_begins_with_someone() {
        let joins = "kind = \"join\", agent = 0, at = \"20s\"";
        let storm = "kind = \"join-storm\", agents = [0, 1, 2, 3, 4], from = \"20s\", to = \"21s\"";
        let replaced = "kind = \"replace\", agents = [1], by = [0], from = \"20s\", every = \"5s\", after = \"2s\"";
        let remedy = "let agent 0 be there from the start, or use start = \"formed\"";
        for (fault, wanted) in [(joins, "joins at 20s"), (storm, "joins at 20s"), (replaced, "joins at 22s")] {
            let said = said(JOINING, &[fault]);
            assert!(said.contains(wanted) && said.ends_with(remedy), "{fault}: {said}");
        }
        for gone in [
            "kind = \"crash\", agent = 0, at = \"0s\"",
            "kind = \"leave\", agent = 0, at = \"1s\"",
            "kind = \"abandon\", agents = [0], at = \"500ms\", alive = true",
        ] {
            let joining = said(JOINING, &[gone]);
            assert!(
                joining.contains("agent 0 is gone before all have started") && joining.ends_with(remedy),
                "{joining}"
            );
            assert_eq!(said(FORMED, &[gone]), "", "{gone}");
        }
        assert_eq!([said(FORMED, &[joins]), said(FORMED, &[replaced])], ["", ""]);
        assert!(said(FORMED, &[storm]).contains("every agent joins later"));
        let returns = ["kind = \"leave\", agent = 0, at = \"20s\"", "kind = \"join\", agent = 0, at = \"40s\""];
        assert_eq!(said(JOINING, &returns), "");
        assert_eq!(said(JOINING, &["kind = \"crash\", agent = 0, at = \"0s\", restart_at = \"9s\""]), "");
    }

    #[test]
    fn nothing_is_drawn_out_beyond_a_week() {
        let rolling =
            |every: &str| format!("kind = \"rolling-restart\", from = \"1s\", every = \"{every}\", down = \"2s\"");
        assert_eq!(said(JOINING, &[rolling("2500m").as_str()]), "");
        let said = said(JOINING, &[rolling("2600m").as_str()]);
        assert!(said.starts_with("faults: number 1 is wrong: it goes on until 624003s"), "{said}");
    }

    #[test]
    fn drawn_plans_of_few_agents_keep_all_rules() {
        for agents in 1..=4 {
            for seed in 0..150 {
                let checked = swarm::plan(Profile::Swarm, seed, Some(agents)).check();
                assert!(checked.is_ok(), "{agents} agents, seed {seed}: {checked:?}");
            }
        }
    }
}
