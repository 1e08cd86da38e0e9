//! A child process of this program that never outlives it: killed when dropped, and by the kernel when this program is killed itself.

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::TryRng;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

/// Lines of a log shown when something went wrong.
const LOG_TAIL_LINES: usize = 15;
/// Bytes at the end of a log that are looked at for them.
const LOG_TAIL_BYTES: usize = 16 << 10;

/// What to run on a tether.
#[derive(Debug, clap::Args)]
pub struct TetherArgs {
    /// The process to end with
    #[arg(long)]
    parent: i32,
    /// A command of this program and its arguments
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

/// Asks the kernel to kill this process when its starter ends, then becomes the command.
///
/// # Errors
/// When the command cannot be run.
pub fn tether(args: &TetherArgs) -> anyhow::Result<ExitCode> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("asking to end with the starter")?;
    if nix::unistd::getppid() != Pid::from_raw(args.parent) {
        anyhow::bail!("the starter is gone already");
    }
    Err(Command::new(std::env::current_exe()?).args(&args.words).exec().into())
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command of this program, with both outputs appended to the file `log`. To be called on the main thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<S: Into<OsString>>(words: impl IntoIterator<Item = S>, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log).context("opening a log")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["demo-tether", "--parent", &std::process::id().to_string(), "--"]);
        command.args(words.into_iter().map(Into::into));
        settle(&mut command, log);
        // A group of its own: Ctrl-C on the terminal is for the starter, who then ends the children.
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        Ok(Self { child: command.spawn().context("starting a process")?, log: log.to_path_buf() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("sending {signal} to process {pid}"))
    }

    /// Kills it at once, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may be gone already, which is as good.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// Has it ended, and how?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of what it said.
    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command of this program to its end and takes its standard output.
///
/// # Errors
/// When it fails, with what it said.
pub fn output<S: Into<OsString>>(words: impl IntoIterator<Item = S>, folder: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words.into_iter().map(Into::into)).stdin(Stdio::null());
    settle(&mut command, folder);
    let output = command.output().context("starting a process")?;
    if !output.status.success() {
        anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The surroundings of a child: a folder that exists, and none of the settings that the user made for an agent of his own.
fn settle(command: &mut Command, near: &Path) {
    if let Some(folder) = if near.is_dir() { Some(near) } else { near.parent() } {
        command.current_dir(folder);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUORATE_") {
            command.env_remove(name);
        }
    }
}

/// A number nobody can guess, so that several demonstrations at once do not meet.
///
/// # Errors
/// When the system has none.
pub fn random() -> anyhow::Result<u32> {
    rand::rngs::SysRng.try_next_u32().context("asking the system for a random number")
}

/// A folder of our own below the system's temporary one, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it, readable by nobody else.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let base = std::env::temp_dir();
        let base = std::path::absolute(base).context("the temporary folder")?;
        for _ in 0..100 {
            let path = base.join(format!("quorate-demo-{:08x}", random()?));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("making {}", path.display())),
            }
        }
        anyhow::bail!("no free name for a folder in {}", base.display())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
