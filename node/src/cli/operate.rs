//! `quorate drain`, `undrain`, `maintenance` and `forget`: what an operator tells the mesh. Each takes a token with the scope `operate`.

use super::client::{Client, path_part};
use super::question::print;
use crate::answers::{ChangedAnswer, ForgetAnswer, InstancesAnswer, IntentRequest, Wish};
use crate::usage::usage;
use hyper::Method;
use std::process::ExitCode;

/// What takes a token says so, and how it ends.
pub const OPERATES: &str = "Takes a token of the agent with the scope `operate`, from `quorate token create --scope operate` on its host: \
    --api-token-file FILE or QUORATE_API_TOKEN. Who did it, and when, is in the agent's audit.log.\n\n\
    Exit codes:\n  0  done\n  1  refused, or the agent cannot be reached\n  2  usage";
/// Draining and what undoes it.
pub const DRAINS: &str = "Examples:\n  quorate drain web@10.0.0.1:8080 --reason \"new release\" --for 2h\n  quorate drain --all-here\n  \
    quorate undrain web@10.0.0.1:8080\n\n\
    The instance shows `draining` unless it is down; load balancers, names and breakers stop sending it new traffic, and its probes go on. \
    Ask the agent that is its home.\n\n\
    Takes a token of the agent with the scope `operate`: --api-token-file FILE or QUORATE_API_TOKEN.\n\n\
    Exit codes:\n  0  done\n  1  refused, or the agent cannot be reached\n  2  usage";
/// Maintenance.
pub const MAINTAINS: &str = "Examples:\n  quorate maintenance on web@10.0.0.1:8080 --reason \"disk\" --owner ann --for 1h\n  \
    quorate maintenance off web@10.0.0.1:8080\n\n\
    The instance shows `maintenance` whatever its health, and reports charge it no downtime. Ask the agent that is its home.\n\n\
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
    let word = match kind {
        Wish::Draining => "draining",
        Wish::Maintenance => "in maintenance",
    };
    each(which, &Method::PUT, &body, word).await
}

/// Takes that back.
///
/// # Errors
/// When the agent refuses.
pub async fn want_no_more(which: &Which) -> anyhow::Result<ExitCode> {
    each(which, &Method::DELETE, "", "in service").await
}

async fn each(which: &Which, method: &Method, body: &str, word: &str) -> anyhow::Result<ExitCode> {
    let client = &which.at.addr;
    let ids = if which.all_here { own(client).await? } else { which.instances.clone() };
    if ids.is_empty() && !which.all_here {
        return Err(usage("name an instance, or use --all-here".to_owned()));
    }
    for id in &ids {
        let path = format!("/v1/instances/{}/intent", path_part(id));
        let changed = client.change::<ChangedAnswer>(method.clone(), &path, body.to_owned()).await?.answer;
        print(&format!("{} {word}\n", changed.instance))?;
    }
    Ok(ExitCode::SUCCESS)
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
