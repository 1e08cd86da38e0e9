//! A child process that does not outlive the test: its own group, killed on drop, tethered to this process, its output in a file.

use crate::binary::tool;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How many lines of a log are printed when a test fails.
const LOG_TAIL_LINES: usize = 60;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a child that has ended left.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The output of a command that succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}

/// `tether` in front of the words of a command.
fn tethered(words: &[OsString]) -> Command {
    let mut command = Command::new(tool("tether"));
    command.args(words).stdin(Stdio::null()).process_group(0);
    command
}

impl Process {
    /// Starts `words`, a program and its arguments, with both outputs appended to the file `log`. The child dies with the calling thread.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, words: &[OsString], log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the log opens");
        let mut command = tethered(words);
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log: log.to_path_buf() }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        let _gone_already = killpg(self.pid(), Signal::SIGKILL);
        let _status = self.child.wait();
    }

    /// Has it ended, and how?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        crate::wait::eventually(&format!("the end of {}", self.name), limit, || {
            self.ended().ok_or_else(|| "still running".to_owned())
        })
    }

    /// Everything it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.ended();
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
            let state = ended.map_or_else(|| "running".to_owned(), |status| status.to_string());
            eprintln!("---- {} ({state}), the last {} lines\n{}", self.name, tail.len(), tail.join("\n"));
        }
    }
}

/// Runs a command to its end and takes its output; half a minute is enough for any.
///
/// # Panics
/// As [`run_within`].
#[must_use]
pub fn run<S: Into<OsString>>(words: impl IntoIterator<Item = S>) -> Finished {
    run_within(Duration::from_secs(30), words)
}

/// Runs a command to its end and takes its output.
///
/// # Panics
/// When it cannot be started, or does not end within `limit`.
#[must_use]
pub fn run_within<S: Into<OsString>>(limit: Duration, words: impl IntoIterator<Item = S>) -> Finished {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (out, err) = (folder.path().join("stdout"), folder.path().join("stderr"));
    let mut command = tethered(&words);
    command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
    let mut child = command.spawn().expect("the command starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("its state") {
            break status;
        }
        if start.elapsed() > limit {
            let _gone = child.kill();
            let _status = child.wait();
            let said = std::fs::read_to_string(&err).unwrap_or_default();
            panic!("{words:?} does not end within {limit:?}; it said: {said}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    Finished { code: status.code(), stdout: text(&out), stderr: text(&err) }
}
