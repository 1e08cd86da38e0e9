//! Exec checks: a program of the home agent's own configuration. It ends with 0 (pass), 1 (warning) or anything else (failure), as the plug-ins of
//! Nagios and Consul's scripts do.
//!
//! No shell; an environment of its own; a process group of its own, which is killed whole when the time is over and when the program has ended, so
//! that nothing it began stays behind (what starts a session of its own can escape). Output beyond the limit is read and dropped, so that
//! nobody waits for a full pipe.

use crate::failure::{Step, timeout, unprepared};
use crate::findings::Findings;
use crate::judge::Answer;
use crate::metric;
use crate::prober::Tools;
use crate::target::Target;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use quorate_core::check::ExecCheck;
use quorate_core::{Cause, Grade, Phase, hash};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

/// What every program finds, whatever the agent's own environment is.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is still in the pipe after the program's end is read for so long.
const REST: Duration = Duration::from_millis(100);
const PIECE_BYTES: usize = 4096;

/// A program with its arguments, as the agent's own configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs; the root folder if none.
    pub directory: Option<PathBuf>,
    /// Variables of its environment, beside the few that are always there.
    pub environment: BTreeMap<String, String>,
}

impl Program {
    /// Arguments of one program at most.
    pub const MAX_ARGUMENTS: usize = 64;
    /// Variables of one program at most.
    pub const MAX_VARIABLES: usize = 64;

    /// A hash of all that it consists of: the name by which a check refers to it.
    #[must_use]
    pub fn key(&self) -> u64 {
        let mut parts = vec![hash::bytes(self.path.as_os_str().as_encoded_bytes())];
        parts.extend(self.arguments.iter().map(|argument| hash::bytes(argument.as_bytes())));
        parts
            .push(self.directory.as_ref().map_or(0, |directory| hash::bytes(directory.as_os_str().as_encoded_bytes())));
        for (name, value) in &self.environment {
            parts.extend([hash::bytes(name.as_bytes()), hash::bytes(value.as_bytes())]);
        }
        parts.push(self.arguments.len() as u64);
        hash::mix(&parts)
    }

    fn command(&self, target: &Target) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().envs([("PATH", PATH), ("LANG", "C.UTF-8")]);
        command.env("QUORATE_INSTANCE", target.instance.as_str());
        command.env("QUORATE_SERVICE", target.service.as_str());
        command.env("QUORATE_ADDRESS", &target.address);
        command.envs(&self.environment);
        command.current_dir(self.directory.as_deref().unwrap_or("/".as_ref()));
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command
    }
}

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &ExecCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let program = tools.program(check.command);
    let program = program.ok_or_else(|| unprepared("the program is not in this agent's own configuration"))?;
    let begun = Instant::now();
    let mut running = Running::start(&program, target)?;
    let ended = timeout_at(deadline, running.finish(check.max_output_bytes)).await;
    findings.timings.transfer = Some(begun.elapsed());
    findings.excerpt.push(&running.output);
    let status = match ended {
        Ok(status) => status?,
        Err(_) => {
            let mut late = timeout(Phase::Body);
            late.detail = "the program did not end in time and was killed".to_owned();
            return Err(late);
        }
    };
    let (grade, ending) = graded(status);
    let first = String::from_utf8_lossy(&running.output);
    let first = first.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let detail = if first.is_empty() { ending.clone() } else { format!("{ending}: {first}") };
    findings.judge("exit status is 0", ending, grade, (Cause::Status, &detail))?;
    match &check.measure {
        Some(measure) if grade == Grade::Pass => {
            let headers = hyper::HeaderMap::new();
            let cut = running.cut.then_some("max_output_bytes");
            metric::judge(measure, &Answer { body: &running.output, cut, headers: &headers }, findings)
        }
        _ => Ok(()),
    }
}

fn graded(status: ExitStatus) -> (Grade, String) {
    match (status.code(), status.signal()) {
        (Some(0), _) => (Grade::Pass, "exit status 0".to_owned()),
        (Some(1), _) => (Grade::Warn, "exit status 1".to_owned()),
        (Some(code), _) => (Grade::Fail, format!("exit status {code}")),
        (None, signal) => (Grade::Fail, format!("killed by signal {}", signal.unwrap_or_default())),
    }
}

/// A program that runs, with everything it has started; killed when dropped.
struct Running {
    child: Child,
    group: Option<Pid>,
    pipe: Receiver,
    output: Vec<u8>,
    /// Was there more output than is kept?
    cut: bool,
}

impl Running {
    fn start(program: &Program, target: &Target) -> Step<Self> {
        let failed = |error: std::io::Error| unprepared(format!("{} cannot be run: {error}", program.path.display()));
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let pipe = Receiver::from_owned_fd(reader.into()).map_err(failed)?;
        let mut command = program.command(target);
        command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let child = command.spawn().map_err(|error| match &program.directory {
            // The system does not say which of the two it has not found.
            Some(directory) if !directory.is_dir() => {
                let directory = directory.display();
                unprepared(format!("there is no directory {directory}, in which the program is to run; create it"))
            }
            _ => failed(error),
        })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, group, pipe, output: Vec::new(), cut: false })
    }

    /// Reads until it ends, then kills what it leaves behind.
    async fn finish(&mut self, max: u32) -> Step<ExitStatus> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut piece = [0; PIECE_BYTES];
        let mut open = true;
        let status = loop {
            tokio::select! {
                read = self.pipe.read(&mut piece), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(count) => keep(&mut self.output, &mut self.cut, piece.get(..count).unwrap_or_default(), max),
                },
                status = self.child.wait() => break status,
            }
        };
        self.kill();
        let rest = Instant::now() + REST;
        while let Ok(Ok(count @ 1..)) = timeout_at(rest, self.pipe.read(&mut piece)).await {
            keep(&mut self.output, &mut self.cut, piece.get(..count).unwrap_or_default(), max);
        }
        status.map_err(|error| unprepared(format!("the program's end cannot be read: {error}")))
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // There may be nobody left in it.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn keep(output: &mut Vec<u8>, cut: &mut bool, piece: &[u8], max: usize) {
    let room = max.saturating_sub(output.len());
    *cut |= piece.len() > room;
    output.extend(piece.iter().take(room));
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_fail, assert_pass, target};
    use crate::{Limits, Own, Prober, Program};
    use quorate_core::check::{Bad, ExecCheck, Measure, Reading};
    use quorate_core::{Cause, Check, CheckKind, Level, Outcome, Phase, ProbeResult};
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            directory: None,
            environment: BTreeMap::from([("GIVEN".to_owned(), "yes".to_owned())]),
        }
    }

    fn check(program: &Program, measure: Option<Measure>) -> Check {
        let exec = ExecCheck {
            program: program.path.display().to_string(),
            command: program.key(),
            max_output_bytes: 64,
            measure,
        };
        let kind = CheckKind::Exec(exec);
        Check { kind, timeout: Duration::from_secs(5), ..Check::default() }
    }

    async fn run(program: Program, set: impl FnOnce(&mut Check)) -> Outcome {
        let mut check = check(&program, None);
        set(&mut check);
        assert_eq!(check.validate(), []);
        let own = Own { programs: BTreeMap::from([(program.key(), program)]), ..Own::default() };
        Prober::new(Limits::default(), own).run(&target("127.0.0.1:1"), &check).await
    }

    async fn said(script: &str) -> Outcome {
        run(shell(script), |_| ()).await
    }

    #[tokio::test]
    async fn the_exit_status_decides() {
        assert_pass(&said("echo fine").await);
        let outcome = said("echo; echo '  disk 91 % '; exit 1").await;
        let ProbeResult::Warn(warning) = outcome.result else { panic!("{:?}", outcome.result) };
        assert_eq!(warning.detail, "exit status 1: disk 91 %");
        let outcome = said("echo broken >&2; exit 2").await;
        assert_eq!(assert_fail(&outcome, Phase::Assert, Cause::Status), "exit status 2: broken");
        assert_eq!(assert_fail(&said("exit 77").await, Phase::Assert, Cause::Status), "exit status 77");
        assert_eq!(assert_fail(&said("kill -9 $$").await, Phase::Assert, Cause::Status), "killed by signal 9");
    }

    #[tokio::test]
    async fn what_runs_too_long_is_killed_with_all_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let (pids, late) = (folder.path().join("pids"), folder.path().join("late"));
        let script =
            format!("sleep 20 & echo $! > {0}; echo begun; sleep 20; touch {1}", pids.display(), late.display());
        let begun = Instant::now();
        let outcome = run(shell(&script), |check| check.timeout = Duration::from_millis(1500)).await;
        assert_fail(&outcome, Phase::Body, Cause::Timeout);
        assert!(outcome.excerpt.contains("begun") && begun.elapsed() < Duration::from_secs(15), "{outcome:?}");
        gone(&std::fs::read_to_string(pids).unwrap()).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_is_killed_and_not_waited_for() {
        let begun = Instant::now();
        let outcome = said("sleep 20 & echo $!").await;
        assert_pass(&outcome);
        assert!(begun.elapsed() < Duration::from_secs(15), "the pipe is still open, the program is not");
        gone(&outcome.excerpt).await;
    }

    /// Waits until the process has ended; the kernel may take a moment.
    async fn gone(pid: &str) {
        let stat = format!("/proc/{}/stat", pid.trim());
        for _ in 0..1000 {
            // Whoever should reap it may not: then it stays, dead.
            if std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{pid} still runs");
    }

    #[tokio::test]
    async fn the_environment_is_scrubbed() {
        let outcome = said("env | sort | cut -d= -f1 | tr '\\n' ' '").await;
        assert_pass(&outcome);
        let names: Vec<&str> = outcome.excerpt.split_whitespace().filter(|name| !["PWD", "_"].contains(name)).collect();
        let all = "GIVEN LANG PATH QUORATE_ADDRESS QUORATE_INSTANCE QUORATE_SERVICE";
        assert!(all.starts_with(&names.join(" ")) && names.contains(&"GIVEN") && names.len() > 3, "{names:?}");
        assert_eq!(said("pwd; cat").await.excerpt.trim(), "/", "it has no input and no folder of anyone's");
    }

    #[tokio::test]
    async fn output_is_bounded() {
        let outcome = said("head -c 300000 /dev/zero | tr '\\0' x").await;
        assert_pass(&outcome);
        assert_eq!(outcome.excerpt.len(), 64);
    }

    #[tokio::test]
    async fn a_number_in_the_output_is_held_to_limits() {
        let measure = |reading| Measure {
            reading,
            per: None,
            bad: Bad::High,
            warning: Level::new(10.0),
            critical: Level::new(50.0),
        };
        let with = |script: &'static str, reading| async move {
            let exec = |check: &mut Check| {
                let CheckKind::Exec(exec) = &mut check.kind else { panic!() };
                exec.measure = Some(measure(reading));
            };
            run(shell(script), exec).await
        };
        assert_pass(&with("echo 9", Reading::Json("$".into())).await);
        assert!(matches!(with("echo 11", Reading::Json("$".into())).await.result, ProbeResult::Warn(_)));
        assert_fail(&with("echo depth 51", Reading::Prometheus("depth".into())).await, Phase::Assert, Cause::Threshold);
        assert_fail(&with("echo 51; exit 3", Reading::Json("$".into())).await, Phase::Assert, Cause::Status);
        let long = with("printf 1; head -c 100 /dev/zero | tr '\\0' 0", Reading::Json("$".into())).await;
        let detail = assert_fail(&long, Phase::Assert, Cause::Content);
        assert!(detail.contains("longer than `max_output_bytes`"), "{detail}");
    }

    #[tokio::test]
    async fn only_programs_of_the_agents_own_configuration_run() {
        let prober = Prober::default();
        let ask = async || prober.run(&target("127.0.0.1:1"), &check(&shell("true"), None)).await;
        assert_fail(&ask().await, Phase::Prepare, Cause::Local);
        // A configuration that is read anew brings others.
        let before = prober.exchange_programs(BTreeMap::from([(shell("true").key(), shell("true"))]));
        assert_pass(&ask().await);
        prober.exchange_programs(before);
        assert_fail(&ask().await, Phase::Prepare, Cause::Local);
        let mut elsewhere = target("127.0.0.1:1");
        elsewhere.home = Some(vec!["127.0.0.1".parse().unwrap()]);
        let own = Own { programs: BTreeMap::from([(shell("true").key(), shell("true"))]), ..Own::default() };
        let outcome = Prober::new(Limits::default(), own).run(&elsewhere, &check(&shell("true"), None)).await;
        let detail = assert_fail(&outcome, Phase::Prepare, Cause::Local);
        assert!(detail.contains("home agent"), "another agent's registration runs nothing here: {detail}");
        let absent = Program { path: "/nowhere/at/all".into(), ..shell("") };
        let detail = assert_fail(&run(absent, |_| ()).await, Phase::Prepare, Cause::Local);
        assert!(detail.starts_with("/nowhere/at/all cannot be run"), "{detail}");
        let astray = Program { directory: Some("/nowhere".into()), ..shell("true") };
        let detail = assert_fail(&run(astray, |_| ()).await, Phase::Prepare, Cause::Local);
        assert!(detail.starts_with("there is no directory /nowhere,"), "{detail}");
    }
}
