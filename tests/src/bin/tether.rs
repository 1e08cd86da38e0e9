//! `tether PROGRAM [ARGUMENT...]`: becomes the program, after asking the kernel to kill it when the starter dies.
//!
//! A test that is itself killed leaves no agents behind that way. The wish survives `exec` (prctl(2), PR_SET_PDEATHSIG).

use nix::sys::{prctl, signal::Signal};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: tether PROGRAM [ARGUMENT...]");
        return ExitCode::from(2);
    };
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
        eprintln!("tether: {error}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("tether: {}: {error}", program.display());
    ExitCode::FAILURE
}
