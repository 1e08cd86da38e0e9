//! x
#[derive(Debug, clap::Args)]
pub struct Args {}
pub async fn run(_a: &Args) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("x")
}
