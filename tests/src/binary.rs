//! The agent's program, built once per test process by the very cargo that runs the tests.

use cargo_metadata::Message;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Names a built agent, so that a test which starts itself again in another namespace need not build.
pub(crate) const AGENT_VARIABLE: &str = "QUORATE_TEST_AGENT";

/// The agent's program.
///
/// # Panics
/// When it cannot be built.
pub fn agent_binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os(AGENT_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => build("quorate", &[]),
    })
}

/// The simulator's program.
///
/// # Panics
/// When it cannot be built.
pub fn simulator_binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("quorate-sim", &[]))
}

/// The agent's program as a later release would be, which speaks one wire version more.
///
/// # Panics
/// When it cannot be built.
pub fn next_agent_binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("quorate-next-wire", &["--features", "quorate/next-wire"]))
}

/// A program of this package, which cargo builds before the tests: it stands beside them.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let path = profile_folder().join(name);
    assert!(path.is_file(), "{} is missing; run the tests with cargo", path.display());
    path
}

/// A program that the system may have, by its path. Without it the test has nothing to do, unless `QUORATE_TEST_REQUIRE_ALL` is set.
///
/// # Panics
/// When it is missing though all is required.
#[must_use]
pub fn optional(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        let required = std::env::var_os("QUORATE_TEST_REQUIRE_ALL").is_some_and(|value| value != "0");
        assert!(!required, "QUORATE_TEST_REQUIRE_ALL is set, and there is no {name}");
        crate::wait::tell(&format!("SKIPPED: there is no {name}"));
    }
    found
}

/// `target/debug` or the like: the test runs in its `deps`.
fn profile_folder() -> PathBuf {
    let this = std::env::current_exe().expect("the path of the test");
    let folder = this.parent().expect("its folder");
    if folder.ends_with("deps") { folder.parent().expect("its parent").to_path_buf() } else { folder.to_path_buf() }
}

/// Builds program and package `name` with the profile and the target folder of the test itself; nothing is to be done when it is built.
/// `--workspace` makes the features of the dependencies the same as in `cargo test --workspace`, so that they need not be built twice.
fn build(name: &str, features: &[&str]) -> PathBuf {
    let folder = profile_folder();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bin", name, "--profile", profile]).args(features);
    command.arg("--message-format=json-render-diagnostics");
    command.arg("--target-dir").arg(folder.parent().expect("the target folder"));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    command.arg("--manifest-path").arg(manifest).stdout(Stdio::piped());
    let mut cargo = command.spawn().expect("cargo starts");
    let output = BufReader::new(cargo.stdout.take().expect("its output"));
    let mut executable = None;
    for message in Message::parse_stream(output) {
        if let Message::CompilerArtifact(artifact) = message.expect("cargo's output")
            && artifact.target.name == name
        {
            executable = artifact.executable.or(executable);
        }
    }
    assert!(cargo.wait().expect("cargo ends").success(), "{name} does not build");
    executable.expect("cargo names the program").into_std_path_buf()
}
