//! `quorate check`: one service as a monitoring plug-in tells it, in one line and an exit code.

use super::client::{AskError, Client, path_part};
use super::question::print;
use crate::answers::{ServiceAnswer, ServiceSummary, Status};
use quorate_core::Verdict;
use std::process::ExitCode;

/// What to check.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes:\n  0  up or degraded\n  1  anything else, or no answer\n  2  usage\n\
                  With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, wrong usage too")]
pub struct Args {
    /// The service
    service: String,
    /// Exit codes and performance data as Nagios and its kin read them
    #[arg(long)]
    nagios: bool,
    /// The agent's API
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
}

/// The states of a plug-in, with their exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

/// Asks and tells.
///
/// # Errors
/// Without `--nagios`, when there is no answer; with it, that is an answer too.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let asked = args.addr.ask::<ServiceAnswer>(&format!("/v1/services/{}", path_part(&args.service))).await;
    if !args.nagios {
        let answer = asked?.answer;
        let summary = &answer.summary;
        print(&format!("{}\n", sentence(summary, answer.view.quorate)))?;
        let well = matches!(summary.status, Status::Up | Status::Degraded) && answer.view.quorate;
        return Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let (state, words) = tell(asked.map(|reply| reply.answer));
    print(&format!("{words}\n"))?;
    Ok(ExitCode::from(state as u8))
}

fn tell(asked: Result<ServiceAnswer, AskError>) -> (State, String) {
    let (state, words) = match asked {
        Ok(answer) => {
            let summary = &answer.summary;
            let state = match summary.status {
                _ if !answer.view.quorate => State::Unknown,
                Status::Up => State::Ok,
                Status::Degraded | Status::Starting => State::Warning,
                Status::Down => State::Critical,
                Status::Unknown => State::Unknown,
            };
            (state, format!("{} | {}", sentence(summary, answer.view.quorate), figures(summary)))
        }
        Err(error) => (State::Unknown, error.brief()),
    };
    let word = match state {
        State::Ok => "OK",
        State::Warning => "WARNING",
        State::Critical => "CRITICAL",
        State::Unknown => "UNKNOWN",
    };
    (state, format!("QUORATE {word}: {words}"))
}

fn sentence(summary: &ServiceSummary, quorate: bool) -> String {
    let up = count(summary, Verdict::Up);
    let (service, status, total) = (&summary.service, summary.status.as_str(), summary.total);
    let doubt = if quorate { "" } else { "; the agent is not quorate, so this may be old" };
    format!("{service} is {status}, {up} of {total} instances up{doubt}")
}

/// `label=value;warn;crit;min;max`, the limits left open.
fn figures(summary: &ServiceSummary) -> String {
    let total = summary.total;
    let shown = [Verdict::Up, Verdict::Degraded, Verdict::Partial, Verdict::Down, Verdict::Unknown];
    let figures = shown.iter().map(|verdict| format!("{verdict}={};;;0;{total}", count(summary, *verdict)));
    let stale = format!("stale={};;;0;{total}", summary.stale);
    figures.chain([stale]).collect::<Vec<_>>().join(" ")
}

fn count(summary: &ServiceSummary, verdict: Verdict) -> usize {
    summary.verdicts.get(&verdict).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::fabricated::{counts, minority, view};
    use super::*;
    use crate::answers::ViewAnswer;

    fn answer(status: Status, verdicts: &[(Verdict, usize)], view: ViewAnswer) -> ServiceAnswer {
        let verdicts = counts(verdicts);
        let total = verdicts.values().sum();
        let service = "web".parse().unwrap();
        let summary = ServiceSummary { service, status, total, verdicts, folded: 0, stale: 1, flapping: 0 };
        ServiceAnswer { view, summary, instances: Vec::new() }
    }

    #[test]
    fn plug_ins_read_a_line_and_a_code() {
        let mixed = [(Verdict::Up, 4), (Verdict::Down, 1)];
        let (state, line) = tell(Ok(answer(Status::Degraded, &mixed, view())));
        assert_eq!(state, State::Warning);
        assert_eq!(
            line,
            "QUORATE WARNING: web is degraded, 4 of 5 instances up | up=4;;;0;5 degraded=0;;;0;5 partial=0;;;0;5 down=1;;;0;5 \
             unknown=0;;;0;5 stale=1;;;0;5"
        );
        for (status, expected) in [
            (Status::Up, State::Ok),
            (Status::Starting, State::Warning),
            (Status::Down, State::Critical),
            (Status::Unknown, State::Unknown),
        ] {
            assert_eq!(tell(Ok(answer(status, &mixed, view()))).0, expected);
            assert_eq!(tell(Ok(answer(status, &mixed, minority()))).0, State::Unknown);
        }
        let lost = AskError::Unreachable { address: "127.0.0.1:1".to_owned(), detail: "refused".to_owned() };
        assert_eq!(
            tell(Err(lost)),
            (State::Unknown, "QUORATE UNKNOWN: no agent answers at 127.0.0.1:1: refused".to_owned())
        );
    }
}
