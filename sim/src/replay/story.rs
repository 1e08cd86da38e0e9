//! A replayed event in words.

use super::Told;
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId, UnixMs};
use quorate_mesh::recording::Opening;
use quorate_mesh::{EventKind, MeshView, VerdictChange};
use std::sync::Arc;

/// The proof of a change, if it still is what the agent holds.
pub fn verdict(view: &MeshView, instance: &InstanceId, term: u64) -> Option<Arc<Certificate>> {
    let certificate = view.instances.get(instance)?.certificate.clone()?;
    Some(certificate).filter(|certificate| certificate.decision.term == term)
}

/// A moment of a wall clock: `2026-01-31T12:00:00.000Z`.
pub fn moment(at: UnixMs) -> String {
    let time = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{} ms", at.0), |time| format!("{time:.3}"))
}

/// What a recording begins with.
pub fn about(opening: &Opening) -> String {
    let Opening { software, agent, name, boot, at, stored_bytes } = opening;
    let state = match stored_bytes {
        0 => "nothing stored".to_owned(),
        bytes => format!("{bytes} bytes of stored state"),
    };
    format!("{name} ({agent}), start {boot}, quorate {software}, recorded from {} with {state}", moment(*at))
}

fn name(view: &MeshView, agent: AgentId) -> String {
    view.members.get(&agent).map_or_else(|| agent.to_string(), |member| member.name.clone())
}

/// A name within an instance's: hosts are named after their agents.
fn instance_name(view: &MeshView, instance: &InstanceId) -> String {
    match view.instances.get(instance) {
        Some(known) if known.registration.is_none() => format!("{instance} ({})", known.home_name),
        _ => instance.to_string(),
    }
}

fn signers(view: &MeshView, change: &VerdictChange) -> String {
    let proof = verdict(view, &change.instance, change.term);
    let signer = |agent: &AgentId| {
        let vote = proof.as_ref().and_then(|proof| proof.endorsements.iter().find(|signed| signed.agent == *agent));
        match vote {
            Some(signed) => format!("{}: {}", name(view, *agent), signed.vote),
            None => name(view, *agent),
        }
    };
    change.signers.iter().map(signer).collect::<Vec<_>>().join("; ")
}

/// An event in one line, or several.
pub fn line(view: &MeshView, told: &Told) -> String {
    let when = format!("{}  +{:>10.3}s  ", moment(told.event.at), told.after.as_secs_f64());
    let what = match &told.event.kind {
        EventKind::Verdicts { changes, .. } => changes.iter().map(|change| verdict_line(view, change)).collect(),
        EventKind::Member { name, from, to, .. } => {
            let from = from.map_or_else(String::new, |from| format!("{from:?} -> ").to_lowercase());
            vec![format!("member   {name}: {from}{}", format!("{to:?}").to_lowercase())]
        }
        EventKind::Registered { instance, home, .. } => vec![format!("register {instance} at {}", name(view, *home))],
        EventKind::Withdrawn { instance } => vec![format!("withdraw {instance}")],
        EventKind::Vote { instance, observation } => {
            let detail =
                if observation.detail.is_empty() { String::new() } else { format!(": {}", observation.detail) };
            vec![format!("vote     {}: {}{detail}", instance_name(view, instance), observation.vote)]
        }
        EventKind::Quorate { quorate, alive, roster } => {
            let word = if *quorate { "reached" } else { "lost" };
            vec![format!("quorum   {word}: {alive} of {roster} alive")]
        }
        EventKind::Roster { epoch, roster, admitted, removed } => {
            let names =
                |agents: &[AgentId]| agents.iter().map(|agent| name(view, *agent)).collect::<Vec<_>>().join(", ");
            let part = |word: &str, agents: &[AgentId]| match agents {
                [] => String::new(),
                agents => format!(", {word} {}", names(agents)),
            };
            let (admitted, removed) = (part("now with", admitted), part("no longer", removed));
            vec![format!("roster   epoch {epoch}: {roster} count{admitted}{removed}")]
        }
        EventKind::Breaker { instance, state, cause, first, zone, .. } => {
            let zone = zone.as_ref().map(|zone| format!(" for zone {zone}")).unwrap_or_default();
            let first = name(view, *first);
            vec![
                format!("breaker  {instance}: {state:?}{zone} ({}, first seen by {first})", cause.as_str())
                    .to_lowercase(),
            ]
        }
        EventKind::Override { instance, mode, owner, reason, .. } => {
            vec![format!("override {instance}: {mode:?} by {}: {reason}", name(view, *owner))]
        }
        EventKind::Stalled { late_ms } => vec![format!("stall    held up for {late_ms} ms")],
        EventKind::IdentityConflict { detail } => vec![format!("conflict {detail}")],
    };
    what.into_iter().map(|what: String| format!("{when}{what}")).collect::<Vec<_>>().join("\n")
}

fn verdict_line(view: &MeshView, change: &VerdictChange) -> String {
    let folded = match &change.folded_under {
        Some(host) => format!(", because of {}", instance_name(view, host)),
        None => String::new(),
    };
    format!(
        "verdict  {}: {} -> {} (term {}, {}{folded}, decided {})\n{:>42}signed by {}",
        instance_name(view, &change.instance),
        change.from,
        change.to,
        change.term,
        change.class,
        moment(change.decided_at),
        "",
        signers(view, change)
    )
}
