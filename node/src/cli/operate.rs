//! `quorate drain`, `undrain`, `maintenance` and `forget`: what an operator tells the mesh. Each takes a token with the scope `operate`.

use super::client::{Client, path_part};
use super::question::print;
use crate::answers::{ChangedAnswer, ForgetAnswer, InstancesAnswer, IntentRequest, Wish};
use crate::usage::usage;
use hyper::Method;
use std::process::ExitCode;

/// Which agent.
#[derive(Debug, clap::Args)]
pub struct At {
    /// The API of the instances' home agent
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
    On {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
    /// End
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
