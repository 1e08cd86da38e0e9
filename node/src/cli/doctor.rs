//! `quorate doctor`: goes through what must be right for a mesh to be relied on, and says what to do about the rest.

use super::question::{Format, Source, print, yaml};
use super::span;
use super::style::{self, Ink, clean};
use crate::answers::{AgentAnswer, HealthAnswer, MembersAnswer, Membership, ProbeAnswer, VotesAnswer};
use jiff::Timestamp;
use quorate_core::Verdict;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// What to ask.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With -o name: only the examinations that did not end well.\n\nExit codes:\n  0  nothing is wrong; there may be warnings\n  1  something is wrong\n  2  usage"
)]
pub struct Args {
    #[command(flatten)]
    source: Source,
}

/// Fewer days left than this deserve a warning.
const CERTIFICATE_DAYS: i64 = 21;
/// A picture older than this is called out.
const OLD_VIEW_MS: u64 = 5_000;

/// An agent calls the roll within this time of its start.
const ROLL_CALLED_MS: u64 = 30_000;

/// How one examination ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    Well(String),
    Warning(String, &'static str),
    Wrong(String, &'static str),
}
use Finding::{Warning, Well, Wrong};

/// Everything that the agent was asked.
struct Answers {
    agent: AgentAnswer,
    ready: ProbeAnswer,
    members: MembersAnswer,
    health: HealthAnswer,
    votes: VotesAnswer,
    metrics: String,
}

/// Examines the agent and, through it, the mesh.
///
/// # Errors
/// When the agent does not answer at all.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let client = &args.source.addr;
    let (_, ready) = client.text("/readyz").await?;
    let answers = Answers {
        agent: client.ask("/v1/agent").await?.answer,
        ready: serde_json::from_str(&ready)?,
        members: client.ask("/v1/members").await?.answer,
        health: client.ask("/v1/health").await?.answer,
        votes: client.ask("/v1/votes").await?.answer,
        metrics: client.text("/metrics").await?.1,
    };
    let findings = examine(&answers);
    print(&match args.source.output {
        Format::Table | Format::Wide => style::render(&text(&findings), style::colour_wanted()),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&told(&findings))?),
        Format::Yaml => yaml(&serde_json::to_string(&told(&findings))?)?,
        Format::Name => told(&findings)
            .iter()
            .filter(|told| told.remedy.is_some())
            .map(|told| format!("{}\n", told.check))
            .collect(),
    })?;
    let wrong = findings.iter().any(|(_, finding)| matches!(finding, Wrong(..)));
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One finding for programs.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Told<'a> {
    check: &'static str,
    status: &'static str,
    finding: &'a str,
    remedy: Option<&'static str>,
}

fn told<'a>(findings: &'a [(&'static str, Finding)]) -> Vec<Told<'a>> {
    let told = |(check, finding): &'a (&'static str, Finding)| {
        let (status, finding, remedy) = match finding {
            Well(words) => ("ok", words, None),
            Warning(words, remedy) => ("warning", words, Some(*remedy)),
            Wrong(words, remedy) => ("failed", words, Some(*remedy)),
        };
        Told { check, status, finding, remedy }
    };
    findings.iter().map(told).collect()
}

fn text(findings: &[(&'static str, Finding)]) -> String {
    let mut text = String::new();
    for (name, finding) in findings {
        let (mark, words, remedy) = match finding {
            Well(words) => (Ink::Green.on("[ok]  "), words, None),
            Warning(words, remedy) => (Ink::Yellow.on("[warn]"), words, Some(remedy)),
            Wrong(words, remedy) => (Ink::Red.on("[FAIL]"), words, Some(remedy)),
        };
        text.push_str(&format!("{mark} {name}: {}\n", clean(words)));
        if let Some(remedy) = remedy {
            text.push_str(&format!("       {remedy}\n"));
        }
    }
    text
}

fn examine(answers: &Answers) -> Vec<(&'static str, Finding)> {
    vec![
        ("agent", readiness(answers)),
        ("quorum", quorum(answers)),
        ("configuration", configuration(answers)),
        ("picture", picture(answers)),
        ("members", members(answers)),
        ("versions", versions(answers)),
        ("certificate", certificate(answers)),
        ("services", services(answers)),
        ("observers", observers(answers)),
        ("limits", limits(answers)),
        ("metrics", metrics(answers)),
    ]
}

fn readiness(answers: &Answers) -> Finding {
    let agent = &answers.agent;
    if answers.ready.reasons.is_empty() {
        let up = span::words(agent.uptime_ms);
        return Well(format!("{} {} runs for {up} and is ready", agent.view.name, agent.version));
    }
    Wrong(answers.ready.reasons.join("; "), "`quorate agent` logs why; a new agent needs some seconds to catch up")
}

fn quorum(answers: &Answers) -> Finding {
    let view = &answers.agent.view;
    let words = format!("{} of {} agents that count are alive", view.alive, view.roster);
    // More than half are held alive, so only its own roll call is missing.
    let calling = view.alive * 2 > view.roster && answers.agent.uptime_ms < ROLL_CALLED_MS;
    match view.roster {
        _ if !view.quorate && calling => Wrong(
            format!("not quorate yet: {words}, and this agent has not called the roll since its start"),
            "wait some seconds and ask again",
        ),
        _ if !view.quorate => Wrong(
            format!("not quorate: {words}"),
            "look at the network between the hosts, and ask an agent on the other side",
        ),
        1 => Warning(
            format!("{words}; nobody else sees what this agent sees"),
            "join two more hosts: `quorate token create`",
        ),
        2 => Warning(
            format!("{words}; when either host is lost, nothing is decided"),
            "join a third host: `quorate token create`",
        ),
        _ => Well(words),
    }
}

fn configuration(answers: &Answers) -> Finding {
    let file = answers.agent.config_file.as_deref();
    if series(&answers.metrics, "quorate_config_last_reload_successful").any(|value| value <= 0.0) {
        let of = file.map(|file| format!(" of {file}")).unwrap_or_default();
        return Warning(
            format!("the last reload{of} was refused; what was read before it stays in use"),
            "run `quorate config check` on the file, put right what it tells, and reload again; the agent's log says why it was refused",
        );
    }
    Well(file.map_or_else(
        || "no file, only flags and the environment".to_owned(),
        |file| format!("{file}, read without an error"),
    ))
}

fn picture(answers: &Answers) -> Finding {
    let view = &answers.agent.view;
    if view.age_ms > OLD_VIEW_MS {
        let words = format!("confirmed {} ago", span::words(view.age_ms));
        return Wrong(words, "the agent hangs or its host is overloaded; its log says more");
    }
    match view.stale_instances {
        0 => Well(format!("index {}, confirmed {} ago", view.index, span::words(view.age_ms))),
        count => Warning(
            format!("{count} verdicts are stale"),
            "too few of their observers can be heard; `quorate instances` shows which",
        ),
    }
}

fn members(answers: &Answers) -> Finding {
    let lost =
        |member: &&crate::answers::MemberAnswer| matches!(member.state, Membership::Failed | Membership::Suspect);
    let lost: Vec<_> = answers.members.members.iter().filter(lost).map(|member| member.name.as_str()).collect();
    if lost.is_empty() {
        return Well(format!("{} alive, none failed", answers.members.counts.alive));
    }
    Wrong(format!("{} out of reach", lost.join(", ")), "`quorate explain NAME` says what is known of a host")
}

fn versions(answers: &Answers) -> Finding {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let here = answers.members.members.iter().filter(|member| member.state != Membership::Left);
    here.for_each(|member| *found.entry(member.version.as_str()).or_default() += 1);
    let words = found.iter().map(|(version, count)| format!("{count} x {version}")).collect::<Vec<_>>().join(", ");
    if found.len() <= 1 { Well(words) } else { Warning(words, "finish the upgrade: one agent after the other") }
}

fn certificate(answers: &Answers) -> Finding {
    let expires = &answers.agent.certificate_expires;
    let (Ok(end), Ok(now)) = (expires.parse::<Timestamp>(), answers.agent.started_at.parse::<Timestamp>()) else {
        return Warning(format!("{expires} is not a time"), "is the agent of another version?");
    };
    let uptime = i64::try_from(answers.agent.uptime_ms / 1000).unwrap_or(i64::MAX);
    let days = end.as_second().saturating_sub(now.as_second().saturating_add(uptime)) / 86_400;
    let words = format!("this agent's certificate expires in {days} days, {}", span::clock(expires));
    match days {
        ..0 => Wrong(words, "join the host again with a fresh token"),
        0..CERTIFICATE_DAYS => Warning(words, "join the host again with a fresh token before that"),
        _ => Well(words),
    }
}

fn services(answers: &Answers) -> Finding {
    let health = &answers.health;
    if health.services.is_empty() {
        return Warning("none is registered".to_owned(), "give an agent a configuration with a [[service]]");
    }
    let of = |verdict: Verdict| health.verdicts.get(&verdict).copied().unwrap_or_default();
    let (down, unknown) = (of(Verdict::Down), of(Verdict::Unknown));
    if down + unknown == 0 {
        let instances: usize = health.verdicts.values().sum();
        return Well(format!("{} with {instances} instances, none down or unknown", health.services.len()));
    }
    let instances = if down == 1 { "instance" } else { "instances" };
    Wrong(format!("{down} {instances} down, {unknown} unknown"), "`quorate explain INSTANCE` says why")
}

fn observers(answers: &Answers) -> Finding {
    let thin: Vec<_> = answers.votes.instances.iter().filter(|instance| instance.votes.len() < 3).collect();
    match thin.first() {
        None if answers.votes.instances.is_empty() => Well("there is no instance to watch".to_owned()),
        None => Well("each instance is watched by three agents or more".to_owned()),
        Some(first) => Warning(
            format!("{} instances have fewer than three observers, {} among them", thin.len(), first.instance),
            "join more hosts, or raise `service.observers`",
        ),
    }
}

/// The values of all series of a metric.
fn series(metrics: &str, name: &str) -> impl Iterator<Item = f64> {
    let of_it = move |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    metrics.lines().filter(of_it).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
}

/// The same together.
fn total(metrics: &str, name: &str) -> f64 {
    series(metrics, name).sum()
}

fn limits(answers: &Answers) -> Finding {
    let hit: Vec<_> =
        ["quorate_engine_limits_hit_total", "quorate_api_limits_hit_total", "quorate_probe_limit_reached_total"]
            .into_iter()
            .filter(|name| total(&answers.metrics, name) > 0.0)
            .collect();
    if hit.is_empty() {
        return Well("none was hit since the start".to_owned());
    }
    Warning(format!("some were hit: {}", hit.join(", ")), "`docs/metrics.md` names them; the label says which")
}

fn metrics(answers: &Answers) -> Finding {
    if answers.metrics.contains("\nquorate_build_info{") || answers.metrics.starts_with("quorate_build_info{") {
        return Well(format!("{} lines for Prometheus", answers.metrics.lines().count()));
    }
    Wrong("/metrics does not answer as it should".to_owned(), "the agent's log says more")
}

#[cfg(test)]
mod tests {
    use super::super::fabricated::{agent, counts, member, view};
    use super::*;
    use crate::answers::{MemberCounts, Status};

    fn answers() -> Answers {
        let health = HealthAnswer {
            view: view(),
            status: Status::Up,
            verdicts: counts(&[]),
            services: Vec::new(),
            hosts: Vec::new(),
            members: MemberCounts::default(),
        };
        let counts = MemberCounts::default();
        Answers {
            agent: agent(),
            ready: ProbeAnswer { status: "ok".to_owned(), reasons: Vec::new() },
            members: MembersAnswer { view: view(), counts, members: vec![member()], total: 1, next: None },
            health,
            votes: VotesAnswer { view: view(), observers: Vec::new(), instances: Vec::new(), total: 0, next: None },
            metrics: "quorate_config_last_reload_successful 1\n".to_owned(),
        }
    }

    #[test]
    fn a_refused_reload_is_told() {
        let mut answers = answers();
        assert!(matches!(configuration(&answers), Well(_)));
        answers.agent.config_file = Some("/etc/quorate.toml".to_owned());
        answers.metrics = "quorate_config_last_reload_successful 0\n".to_owned();
        let Warning(words, remedy) = configuration(&answers) else { panic!("a warning") };
        assert!(words.contains("/etc/quorate.toml was refused") && remedy.contains("config check"), "{words}");
    }

    #[test]
    fn a_fresh_start_and_an_empty_mesh_are_no_faults_of_the_network() {
        let mut answers = answers();
        assert_eq!(observers(&answers), Well("there is no instance to watch".to_owned()));
        answers.agent.view.quorate = false;
        answers.agent.uptime_ms = 2_000;
        let Wrong(words, remedy) = quorum(&answers) else { panic!("not quorate") };
        assert!(words.contains("has not called the roll") && remedy.contains("wait"), "{words}: {remedy}");
        answers.agent.view.alive = 2;
        let Wrong(words, remedy) = quorum(&answers) else { panic!("not quorate") };
        assert!(!words.contains("roll") && remedy.contains("network"), "{words}: {remedy}");
    }

    #[test]
    fn series_are_added_up() {
        let text = "# TYPE a counter\na{limit=\"x\"} 2\na{limit=\"y\"} 1\nab 7\nc 4\n";
        assert_eq!((total(text, "a"), total(text, "c"), total(text, "d")), (3.0, 4.0, 0.0));
    }

    #[test]
    fn findings_say_what_to_do() {
        let findings = [("quorum", Well("3 of 3".to_owned())), ("members", Wrong("b out of reach".to_owned(), "look"))];
        let expected = "[ok]   quorum: 3 of 3\n[FAIL] members: b out of reach\n       look\n";
        assert_eq!(style::render(&text(&findings), false), expected);
        let [well, wrong] = &told(&findings)[..] else { panic!("two findings") };
        assert_eq!(*well, Told { check: "quorum", status: "ok", finding: "3 of 3", remedy: None });
        let members = Told { check: "members", status: "failed", finding: "b out of reach", remedy: Some("look") };
        assert_eq!(*wrong, members);
    }
}
