//! `quorate leave`: an agent leaves its mesh for good.

use super::client::Client;
use super::question::print;
use super::style::clean;
use crate::answers::{AgentAnswer, InstancesAnswer, LeaveAnswer};
use crate::usage::CODE;
use hyper::Method;
use std::process::ExitCode;

/// Instances that are named; the others are counted.
const NAMED: usize = 5;

/// Which agent, and is it meant?
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The others are told, and agree that it no longer counts: nothing of it is called down, and the quorum is that of \
    the agents that remain. Its instances are withdrawn, its process ends, and its next start does not bring it back: `quorate agent \
    --join HOST:PORT` does, with any member. To stop an agent for a while, end its process (SIGTERM) instead.\n\n\
    Takes a token with the scope `operate` (--api-token-file, QUORATE_API_TOKEN).\n\n\
    Exit codes:\n  0  it has left\n  1  it has left, but the mesh has not agreed to it; or it could not be asked\n  2  usage; or --yes is missing"
)]
pub struct Args {
    /// Do it. Without this flag the command only says what would happen
    #[arg(short, long)]
    yes: bool,
    /// The agent's API
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
}

/// Says what it means, or has it done.
///
/// # Errors
/// When the agent cannot be reached or refuses.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.yes {
        let agent = args.addr.ask::<AgentAnswer>("/v1/agent").await?.answer;
        let own = format!("/v1/instances?home={}", agent.view.agent);
        let instances = args.addr.ask::<InstancesAnswer>(&own).await?.answer;
        let names: Vec<String> = instances.instances.iter().map(|one| one.instance.to_string()).collect();
        eprint!("{}", clean_lines(&consequences(&agent, &names)));
        return Ok(ExitCode::from(CODE));
    }
    let left = args.addr.change::<LeaveAnswer>(Method::POST, "/v1/agent/leave", String::new()).await?.answer;
    print(&format!("{} ({}) has left the mesh\n", clean(&left.name), left.agent))?;
    if !left.agreed {
        eprintln!(
            "The mesh has not agreed to it in time: agents that have not heard of it take it for failed. Look with `quorate members` at \
             another agent, and give it up there: quorate forget {}",
            left.agent
        );
    }
    if !left.noted {
        eprintln!("It could not be noted on its disk: its next start brings it back.");
    }
    Ok(if left.agreed && left.noted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn clean_lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", clean(line))).collect()
}

/// What a leave would mean, for people.
fn consequences(agent: &AgentAnswer, instances: &[String]) -> String {
    let view = &agent.view;
    if view.roster == 1 {
        return format!(
            "{} ({}) is the only member of its mesh: a leave is refused, for nobody could let it in again.\n\
             To end it, stop its process {} (SIGTERM); its data directory {} is the mesh, and its next start goes on with it.\n",
            view.name, view.agent, agent.pid, agent.data_dir
        );
    }
    let remain = view.roster.saturating_sub(1);
    let mut text = format!("{} ({}) would leave its mesh for good:\n", view.name, view.agent);
    text.push_str(&format!(
        "  the mesh would count {remain} instead of {} agents, and be quorate where {} of them are reached\n",
        view.roster,
        remain / 2 + 1
    ));
    if !view.quorate {
        text.push_str("  it is cut off now: most of the mesh would not hear of it, and take it for failed\n");
    }
    match instances.len() {
        0 => text.push_str("  it is home to no instance\n"),
        count => {
            let named = instances.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
            let noun = if count == 1 { "instance" } else { "instances" };
            text.push_str(&format!("  {count} {noun} would be withdrawn: {named}{more}\n"));
        }
    }
    if agent.issuer {
        text.push_str("  it alone can admit new hosts; no token can be made while it is gone\n");
    }
    text.push_str("  its process would end; `quorate agent --join HOST:PORT` brings it back\nNothing was done. To do it: quorate leave --yes\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fabricated::agent;

    #[test]
    fn what_it_means_is_said() {
        let mut agent = agent();
        let text = consequences(&agent, &[]);
        assert!(text.contains("count 4 instead of 5 agents, and be quorate where 3 of them"), "{text}");
        assert!(text.contains("home to no instance") && !text.contains("admit") && !text.contains("cut off"), "{text}");
        agent.view.quorate = false;
        agent.issuer = true;
        let many: Vec<_> = (0..7).map(|n| format!("web-{n}")).collect();
        let text = consequences(&agent, &many);
        assert!(
            text.contains("7 instances would be withdrawn: web-0, web-1, web-2, web-3, web-4 and 2 more"),
            "{text}"
        );
        assert!(text.contains("cut off now") && text.contains("alone can admit"), "{text}");
        agent.view.roster = 1;
        let text = consequences(&agent, &many);
        assert!(text.contains("only member") && text.contains("stop its process"), "{text}");
        assert!(!text.contains("would count") && !text.contains("--yes"), "{text}");
    }
}
