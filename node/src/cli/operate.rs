//! `quorate drain`, `undrain`, `maintenance` and `forget`: what an operator tells the mesh. Each takes a token with the scope `operate`.

use super::client::{Client, path_part};
use super::question::print;
use super::style::clean;
use crate::answers::{
    ChangedAnswer, ForgetAnswer, InstanceAnswer, InstanceSummary, InstancesAnswer, IntentRequest, Wish,
};
use crate::usage::usage;
use hyper::Method;
use jiff::Timestamp;
use std::process::ExitCode;

/// What takes a token says so, and how it ends.
pub const OPERATES: &str = "Takes a token of the agent with the scope `operate`, from `quorate token create --scope operate` on its host: \
    --api-token-file FILE or QUORATE_API_TOKEN. Who did it, and when, is in the agent's audit.log.\n\n\
    Exit codes:\n  0  done\n  1  refused, or the agent cannot be reached\n  2  usage";
/// Draining and what undoes it.
pub const DRAINS: &str = "Examples:\n  quorate drain web@10.0.0.1:8080 --reason \"new release\" --for 2h\n  quorate drain --all-here\n  \
    quorate undrain web@10.0.0.1:8080\n\n\
    The instance shows `draining` unless it is down; load balancers, names and breakers stop sending it new traffic, and its probes go on. \
    Undrain ends no maintenance: `quorate maintenance off` does. Ask the agent that is its home.\n\n\
    Takes a token of the agent with the scope `operate`: --api-token-file FILE or QUORATE_API_TOKEN.\n\n\
    Exit codes:\n  0  done\n  1  refused, or the agent cannot be reached\n  2  usage";
/// Maintenance.
pub const MAINTAINS: &str = "Examples:\n  quorate maintenance on web@10.0.0.1:8080 --reason \"disk\" --owner ann --for 1h\n  \
    quorate maintenance off web@10.0.0.1:8080\n\n\
    The instance shows `maintenance` whatever its health, and reports charge it no downtime. Off ends no drain: `quorate undrain` does. \
    Ask the agent that is its home.\n\n\
    Takes a token of the agent with the scope `operate`: --api-token-file FILE or QUORATE_API_TOKEN.\n\n\
    Exit codes:\n  0  done\n  1  refused, or the agent cannot be reached\n  2  usage";
/// Giving up an agent.
pub const FORGETS: &str = "For a host that is gone for good without having left. Until it is forgotten it counts, and the others need more of \
    one another to be quorate. It is forgotten at once if a quorum has found its host down, else as soon as one has; by itself it would be \
    after ten minutes. Any agent may be asked. An agent that works leaves by `quorate leave`.\n\n\
    Takes a token of the agent with the scope `operate`: --api-token-file FILE or QUORATE_API_TOKEN.\n\n\
    Exit codes:\n  0  done\n  1  refused, or the agent cannot be reached\n  2  usage";

/// Which agent.
#[derive(Debug, clap::Args)]
pub struct At {
    /// The agent's API; of instances, that of their home agent
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
}

/// Which instances.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Ids of instances
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,
    /// Every instance of which the agent asked is the home
    #[arg(long, conflicts_with = "instances")]
    all_here: bool,
    #[command(flatten)]
    at: At,
}

/// Why, by whom, for how long.
#[derive(Debug, clap::Args)]
pub struct Why {
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
    /// Who wants it [default: the name of the token]
    #[arg(long)]
    owner: Option<String>,
    /// For how long, such as 2h [default: until it is taken back]
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<String>,
}

/// On or off.
#[derive(Debug, clap::Subcommand)]
pub enum Maintenance {
    /// Begin: the health of the instances means nothing for now
    #[command(after_help = MAINTAINS)]
    On {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
    /// End
    #[command(after_help = MAINTAINS)]
    Off {
        #[command(flatten)]
        which: Which,
    },
}

/// Takes instances out of service on purpose.
///
/// # Errors
/// When the agent refuses.
pub async fn want(which: &Which, kind: Wish, why: &Why) -> anyhow::Result<ExitCode> {
    let request =
        IntentRequest { kind, owner: why.owner.clone(), reason: why.reason.clone(), lasts: why.lasts.clone() };
    let body = serde_json::to_string(&request)?;
    for id in &chosen(which).await? {
        tell(&which.at.addr, id, &Method::PUT, &body, state(kind)).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes that back, and nothing else that may be wanted of an instance.
///
/// # Errors
/// When the agent refuses, or when something else is wanted of an instance that was named.
pub async fn want_no_more(which: &Which, kind: Wish) -> anyhow::Result<ExitCode> {
    let client = &which.at.addr;
    for id in &chosen(which).await? {
        let known = client.ask::<InstanceAnswer>(&format!("/v1/instances/{}", path_part(id))).await?.answer.summary;
        match other(&known, kind, Timestamp::now()) {
            None => tell(client, id, &Method::DELETE, "", "in service").await?,
            Some((what, ends)) if which.all_here => eprintln!("left as it is: {what}; `{ends}` ends that"),
            Some((what, ends)) => anyhow::bail!("{what}; `{ends}` ends that"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The state that a wish is about.
fn state(kind: Wish) -> &'static str {
    match kind {
        Wish::Draining => "draining",
        Wish::Maintenance => "in maintenance",
    }
}

/// What is wanted of an instance now that is not of this kind, by whom and why; and the command that ends it.
fn other(known: &InstanceSummary, kind: Wish, now: Timestamp) -> Option<(String, &'static str)> {
    let intent = known.intent.as_ref().filter(|intent| intent.kind != kind)?;
    let until = intent.until.as_deref().and_then(|until| until.parse::<Timestamp>().ok());
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    let why = if intent.reason.is_empty() { String::new() } else { format!(": {}", intent.reason) };
    let ends = match intent.kind {
        Wish::Draining => "quorate undrain",
        Wish::Maintenance => "quorate maintenance off",
    };
    let what = format!("{} is {} ({}{why})", known.instance, state(intent.kind), intent.owner);
    Some((clean(&what), ends))
}

async fn chosen(which: &Which) -> anyhow::Result<Vec<String>> {
    if !which.all_here {
        return match which.instances.as_slice() {
            [] => Err(usage("name an instance, or use --all-here".to_owned())),
            named => Ok(named.to_vec()),
        };
    }
    let ids = own(&which.at.addr).await?;
    if ids.is_empty() {
        eprintln!("this agent is home to no instance");
    }
    Ok(ids)
}

async fn tell(client: &Client, id: &str, method: &Method, body: &str, word: &str) -> anyhow::Result<()> {
    let path = format!("/v1/instances/{}/intent", path_part(id));
    let changed = client.change::<ChangedAnswer>(method.clone(), &path, body.to_owned()).await?.answer;
    print(&format!("{} {word}\n", changed.instance))
}

async fn own(client: &Client) -> anyhow::Result<Vec<String>> {
    let agent = client.ask::<crate::answers::AgentAnswer>("/v1/agent").await?.answer.view.agent;
    let answer = client.ask::<InstancesAnswer>(&format!("/v1/instances?home={agent}")).await?.answer;
    Ok(answer.instances.iter().map(|instance| instance.instance.to_string()).collect())
}

/// Gives up an agent that will not come back.
///
/// # Errors
/// When the agent refuses.
pub async fn forget(member: &str, at: &At) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/members/{}", path_part(member));
    let answer = at.addr.change::<ForgetAnswer>(Method::DELETE, &path, String::new()).await?.answer;
    let when = if answer.waits { " once a quorum has found its host down" } else { " now" };
    print(&format!("{} is forgotten{when}\n", answer.agent))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::super::fabricated::{SINCE, instance};
    use super::*;
    use crate::answers::IntentAnswer;
    use quorate_core::{Class, Verdict};

    #[test]
    fn nobody_lifts_what_another_command_wanted() {
        let mut known = instance("web@10.0.0.2:8080", Verdict::Maintenance, Class::Healthy);
        let now = "2026-11-21T08:00:00Z".parse::<Timestamp>().unwrap();
        assert_eq!(other(&known, Wish::Draining, now), None);
        let (owner, reason, until) = ("alice".to_owned(), "disk swap".to_owned(), None);
        known.intent = Some(IntentAnswer { kind: Wish::Maintenance, owner, reason, since: SINCE.to_owned(), until });
        assert_eq!(other(&known, Wish::Maintenance, now), None);
        let (what, ends) = other(&known, Wish::Draining, now).unwrap();
        assert_eq!(what, "web@10.0.0.2:8080 is in maintenance (alice: disk swap)");
        assert_eq!(ends, "quorate maintenance off");
        if let Some(intent) = &mut known.intent {
            intent.until = Some("2026-11-21T07:30:00Z".to_owned());
        }
        assert_eq!(other(&known, Wish::Draining, now), None, "its time is over");
    }
}
