//! Looks at the mesh with the eyes of each agent, through its own API, and waits until all of them see something.

use super::board::Board;
use super::cluster::{Cluster, WAIT_MAX};
use crate::answers::{InstanceAnswer, InstanceSummary, InstancesAnswer};
use crate::cli::client::path_part;
use anyhow::{Context, bail};
use quorate_core::Verdict;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Pause between two looks with five agents or fewer; more agents are looked at less often, so that looking costs them no more.
const LOOK_INTERVAL: Duration = Duration::from_millis(40);
/// An agent that takes longer says nothing this time, so that the others are not waited with.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What one agent says of all instances, hosts included.
#[derive(Debug, Clone)]
pub struct Sight {
    /// When its answer came.
    pub at: Instant,
    /// What it said, or why it did not.
    pub seen: Result<InstancesAnswer, String>,
}

impl Sight {
    /// What it says of one instance.
    pub fn instance(&self, id: &str) -> Option<&InstanceSummary> {
        self.seen.as_ref().ok()?.instances.iter().find(|instance| instance.instance.as_str() == id)
    }
}

/// Asks every agent at the same time.
///
/// # Errors
/// Only when a task is lost; an agent that does not answer is part of the picture.
pub async fn look(cluster: &Cluster) -> anyhow::Result<Vec<Sight>> {
    let mut asked = JoinSet::new();
    for (place, agent) in cluster.agents.iter().enumerate() {
        let client = agent.client()?;
        asked.spawn(async move {
            let asked = client.ask::<InstancesAnswer>("/v1/instances?hosts=true");
            let seen = match tokio::time::timeout(LOOK_MAX, asked).await {
                Ok(seen) => seen.map(|reply| reply.answer).map_err(|error| error.brief()),
                Err(_) => Err(format!("no answer within {} s", LOOK_MAX.as_secs())),
            };
            (place, Sight { at: Instant::now(), seen })
        });
    }
    let mut sights = asked.join_all().await;
    sights.sort_by_key(|(place, _)| *place);
    Ok(sights.into_iter().map(|(_, sight)| sight).collect())
}

/// The pause between two looks.
pub fn pause(cluster: &Cluster) -> Duration {
    LOOK_INTERVAL * u32::try_from(cluster.agents.len().div_ceil(5)).unwrap_or(1)
}

/// Waits until each agent in `among` (places) says what `condition` wants, and returns how long each took, counted from `since`.
///
/// # Errors
/// When that takes too long: with what each agent said last, and the ends of their logs.
pub async fn until(
    cluster: &Cluster,
    board: &mut Board,
    what: &str,
    among: &[usize],
    since: Instant,
    condition: impl Fn(&InstancesAnswer) -> Result<(), String>,
) -> anyhow::Result<Vec<Duration>> {
    let mut done: Vec<Option<Duration>> = vec![None; cluster.agents.len()];
    loop {
        let sights = look(cluster).await?;
        board.draw(cluster, &sights)?;
        let mut missing = Vec::new();
        for place in among.iter().copied() {
            let (Some(sight), Some(agent)) = (sights.get(place), cluster.agents.get(place)) else { continue };
            if done[place].is_some() {
                continue;
            }
            match sight.seen.as_ref().map_err(Clone::clone).and_then(&condition) {
                Ok(()) => done[place] = Some(sight.at.saturating_duration_since(since)),
                Err(state) => missing.push(format!("{}: {state}", agent.name)),
            }
        }
        if missing.is_empty() {
            return Ok(done.into_iter().flatten().collect());
        }
        if since.elapsed() > WAIT_MAX {
            let states = missing.join("\n  ");
            let logs = cluster.log_tails();
            bail!("not within {} s: {what}. These agents say otherwise:\n  {states}\n{logs}", WAIT_MAX.as_secs());
        }
        tokio::time::sleep(pause(cluster)).await;
    }
}

/// Says the agent `verdict` of the instance, decided in a term after `term`?
///
/// # Errors
/// What it says instead.
pub fn states(answer: &InstancesAnswer, id: &str, verdict: Verdict, term: u64) -> Result<(), String> {
    let Some(instance) = answer.instances.iter().find(|instance| instance.instance.as_str() == id) else {
        return Err(format!("{id} is not known"));
    };
    if instance.verdict == verdict && instance.decided == verdict && instance.term > term {
        return Ok(());
    }
    let votes = &instance.votes;
    Err(format!(
        "{id} is {} (decided {}, number {}; votes {} pass, {} warn, {} fail, {} abstain, {} silent)",
        instance.verdict,
        instance.decided,
        instance.term,
        votes.pass,
        votes.warn,
        votes.fail,
        votes.abstain,
        votes.silent
    ))
}

/// Does the agent see all of `agents` alive, itself quorate and settled?
///
/// # Errors
/// What it sees instead.
pub fn complete(answer: &InstancesAnswer, agents: usize) -> Result<(), String> {
    let view = &answer.view;
    if view.quorate && view.settled && view.alive == agents && view.roster == agents {
        return Ok(());
    }
    let words = |flag, yes: &'static str, no| if flag { yes } else { no };
    Err(format!(
        "{}/{} members alive, {}, {}",
        view.alive,
        view.roster,
        words(view.quorate, "quorate", "NOT quorate"),
        words(view.settled, "settled", "not settled")
    ))
}

/// Fetches each agent's own copy of an instance and makes sure that it holds the certificate of `verdict`, signed by a quorum.
///
/// # Errors
/// When one does not.
pub async fn certified(cluster: &Cluster, id: &str, verdict: Verdict) -> anyhow::Result<Vec<InstanceAnswer>> {
    let mut answers = Vec::new();
    for agent in &cluster.agents {
        let path = format!("/v1/instances/{}", path_part(id));
        let answer = agent.client()?.ask::<InstanceAnswer>(&path).await?.answer;
        let certificate = answer.certificate.as_ref();
        let certificate = certificate.with_context(|| format!("{} holds no certificate of {id}", agent.name))?;
        let mut signers: Vec<_> = certificate.endorsements.iter().map(|endorsement| endorsement.agent).collect();
        signers.sort_unstable();
        signers.dedup();
        let quorum = quorate_core::quorum::of(certificate.observers) as usize;
        if certificate.verdict != verdict || signers.len() < quorum {
            bail!(
                "{} holds a certificate of {}, number {}, with {} signatures of {quorum} needed, where {verdict} was expected",
                agent.name,
                certificate.verdict,
                certificate.term,
                signers.len()
            );
        }
        answers.push(answer);
    }
    Ok(answers)
}
