//! `quorate probe run CHECK --from AGENT`: asks an agent to probe what it knows.

use super::{Form, RunArgs, code, report, tell};
use crate::answers::{MembersAnswer, ProbedAnswer};
use crate::cli::client::{Client, path_part};
use crate::cli::explain;
use crate::cli::question::print;
use crate::cli::style::clean;
use crate::spelling::nearest;
use crate::usage::usage;
use hyper::Method;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Asks and tells.
pub fn run(args: &RunArgs, agent: &str) -> anyhow::Result<ExitCode> {
    if args.check.contains("://") {
        return Err(usage("an agent probes only what it knows: with --from name an instance or a service".to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reply = runtime.block_on(async {
        let client = find(&args.addr, agent).await?;
        let instance = explain::find(&client, &args.check).await?.instance;
        let path = format!("/v1/instances/{}/probe", path_part(instance.as_str()));
        anyhow::Ok(client.change::<ProbedAnswer>(Method::POST, &path, String::new()).await?)
    })?;
    let ProbedAnswer { name, instance, target, probe, .. } = &reply.answer;
    match args.output {
        Form::Json => print(&format!("{}\n", serde_json::to_string_pretty(&reply.answer)?))?,
        Form::Text => {
            tell(&format!("by {} of {}:", clean(name), clean(instance.as_str())))?;
            tell(&report::text(target, probe, args.explain))?;
        }
    }
    Ok(code(probe))
}

/// The API of `agent`: an address as it is, a name or id as the agent at `known` has it.
async fn find(known: &Client, agent: &str) -> anyhow::Result<Client> {
    if agent.contains(':') {
        return Client::new(agent).map_err(usage);
    }
    // The token is that of the agent which is looked for.
    let members = known.anonymous().ask::<MembersAnswer>("/v1/members").await?.answer;
    at(&members, known, agent)
}

fn at(members: &MembersAnswer, known: &Client, agent: &str) -> anyhow::Result<Client> {
    let is_meant = |name: &str, id: &str| name == agent || id == agent;
    let meant: Vec<_> =
        members.members.iter().filter(|member| is_meant(&member.name, &member.agent.to_string())).collect();
    let member = match meant.as_slice() {
        [one] => *one,
        [] => {
            let names = members.members.iter().map(|member| member.name.as_str());
            let near = nearest(agent, names, 1).first().map(|near| format!("; did you mean {}?", clean(near)));
            anyhow::bail!("there is no agent {:?}{}", clean(agent), near.unwrap_or_default());
        }
        several => anyhow::bail!("{} agents have the name {:?}; name one by its id", several.len(), clean(agent)),
    };
    if member.this {
        return Ok(known.clone());
    }
    let elsewhere = |host: &str| host != member.address.rsplit_once(':').map_or("", |(host, _)| host);
    let loopback = member.api_address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    if loopback && elsewhere("127.0.0.1") {
        anyhow::bail!(
            "the API of {} is at {}, which only its own host reaches; give it `api.tls_listen` and name that: --from https://HOST:PORT",
            clean(&member.name),
            clean(&member.api_address)
        );
    }
    Client::new(&member.api_address).map_err(|_| {
        anyhow::anyhow!("{} does not say where its API is; name that: --from https://HOST:PORT", member.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{MemberAnswer, MemberCounts};
    use crate::cli::fabricated::{member, view};

    #[test]
    fn agents_are_found_by_name_and_id() {
        let named = |name: &str, address: &str, api: &str| MemberAnswer {
            name: name.to_owned(),
            address: address.to_owned(),
            api_address: api.to_owned(),
            ..member()
        };
        let mut this = named("host-a", "10.0.0.1:7700", "127.0.0.1:7701");
        (this.this, this.agent) = (true, quorate_core::AgentId(0xa));
        let open = named("host-b", "10.0.0.2:7700", "10.0.0.2:7701");
        let mut shut = named("host-c", "10.0.0.3:7700", "127.0.0.1:7701");
        shut.agent = quorate_core::AgentId(0xc);
        let mut here = named("host-d", "127.0.0.1:7710", "127.0.0.1:7711");
        here.agent = quorate_core::AgentId(0xd);
        let members = vec![this, open, shut, here];
        let members = MembersAnswer { view: view(), counts: MemberCounts::default(), members, total: 4, next: None };
        let known = Client::new("127.0.0.1:9").unwrap();
        let found = |agent: &str| at(&members, &known, agent).map(|client| client.address().to_owned());
        assert_eq!(found("host-a").unwrap(), "127.0.0.1:9", "the one that is asked anyway");
        assert_eq!(found("host-b").unwrap(), "10.0.0.2:7701");
        assert_eq!(found("000000000000000b").unwrap(), "10.0.0.2:7701");
        assert_eq!(found("host-d").unwrap(), "127.0.0.1:7711", "all on one host, as in a demonstration");
        assert!(found("host-c").unwrap_err().to_string().contains("--from https://"));
        assert!(found("host-x").unwrap_err().to_string().contains("did you mean host-"));
    }
}
