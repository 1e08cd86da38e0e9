//! The scene of every scenario: five hosts, an agent and an HTTP service on each.

use crate::network::Network;
use quorate_tests::{Agent, AgentSetup, Host, Instance, Mesh, Target, folder, instance_id};
use std::collections::BTreeMap;
use std::time::Duration;

/// Agents and hosts.
pub const COUNT: usize = 5;
/// Longer than any detection should take; what it took is printed.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// All agents agree this long after a heal.
pub const AGREEMENT_MAX: Duration = Duration::from_secs(10);

/// A mesh in its network.
pub struct Scene {
    pub network: Network,
    pub mesh: Mesh,
    /// The id of the instance on each host.
    pub instances: Vec<String>,
    /// The id of each agent.
    pub agents: Vec<String>,
    _targets: Vec<Target>,
}

impl Scene {
    /// Sets everything up, and waits until every agent holds everything up.
    pub fn set() -> Self {
        let folder = folder();
        let network = Network::new(u8::try_from(COUNT).expect("a small number"), folder.path());
        let targets: Vec<_> = network.hosts().iter().map(|host| Target::start("http", host, folder.path())).collect();
        let setup = |(place, host): (usize, &Host)| {
            AgentSetup::new(format!("host-{place}"), host.clone()).serving("web", &targets[place])
        };
        let setups: Vec<_> = network.hosts().iter().enumerate().map(setup).collect();
        let mesh = Mesh::start(&setups, folder);
        let instances = targets.iter().map(|target| instance_id("web", target)).collect();
        let agents = mesh.agents.iter().map(|agent| agent.id().expect("its id")).collect();
        let scene = Self { network, mesh, instances, agents, _targets: targets };
        scene.mesh.each("everything is up at first", PATIENCE, all_up);
        scene
    }

    /// The agents at these places.
    pub fn some(&self, places: &[usize]) -> Vec<&Agent> {
        places.iter().map(|&place| &self.mesh.agents[place]).collect()
    }

    /// The instance that stands for the host at this place.
    pub fn host(&self, place: usize) -> String {
        format!("quorate-agent@{}", self.agents[place])
    }

    /// Does the agent hold the host at `place` down, and the instance there folded under it?
    pub fn lost(&self, agent: &Agent, place: usize) -> Result<(), String> {
        let host = agent.instance(&self.host(place))?;
        let instance = agent.instance(&self.instances[place])?;
        let folded = instance.folded_under.as_ref() == Some(&host.instance);
        if host.verdict == "down" && instance.verdict == "down" && folded {
            Ok(())
        } else {
            Err(format!("{host:?}\n    {instance:?}"))
        }
    }

    /// Waits for agreement after a heal, and returns how long it took.
    pub fn heal(&self) -> Duration {
        let watch = quorate_tests::Stopwatch::start();
        self.network.heal();
        quorate_tests::eventually("all agents agree after the heal", AGREEMENT_MAX, || {
            let mut terms: Vec<BTreeMap<String, u64>> = Vec::new();
            for agent in &self.mesh.agents {
                all_up(agent).map_err(|state| format!("{}: {state}", agent.name))?;
                terms.push(agent.instances()?.into_iter().map(|seen| (seen.instance, seen.term)).collect());
            }
            if terms.windows(2).all(|pair| pair[0] == pair[1]) { Ok(()) } else { Err(format!("{terms:?}")) }
        });
        watch.elapsed()
    }
}

/// Does the agent see all five agents alive, and everything up and fresh?
pub fn all_up(agent: &Agent) -> Result<(), String> {
    quorate_tests::complete(agent, COUNT as u64)?;
    let instances = agent.instances()?;
    let bad: Vec<_> = instances.iter().filter(|seen| seen.verdict != "up" || seen.stale).collect();
    if bad.is_empty() && instances.len() == 2 * COUNT { Ok(()) } else { Err(format!("{bad:?}")) }
}

/// Fails if the agent states or decided `down` for anything that `allowed` does not excuse.
pub fn nothing_down(agent: &Agent, allowed: impl Fn(&Instance) -> bool) -> Result<(), String> {
    for seen in agent.instances()? {
        if (seen.verdict == "down" || seen.decided == "down") && !allowed(&seen) {
            return Err(format!("{} says {seen:?}", agent.name));
        }
    }
    Ok(())
}

/// The verdicts `down` that an agent has told in its events, over its whole run.
pub fn downs_told(agent: &Agent) -> Result<usize, String> {
    let answer = agent.ask("/v1/events?format=json")?;
    let events = answer["events"].as_array().ok_or("no events")?;
    let changes = events.iter().filter_map(|event| event["changes"].as_array()).flatten();
    Ok(changes.filter(|change| change["to"] == "down").count())
}
