//! `quorate demo-service`: a small real service, to be probed and killed.

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};

/// What kind of service, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// What to speak
    #[arg(long, value_enum)]
    kind: Kind,
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Answers `GET /health` and `GET /`.
    Http,
    /// Sends back what it gets.
    Tcp,
}

impl Kind {
    /// The protocol of its check, and the argument.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// Serves until it is killed.
///
/// # Errors
/// When it cannot listen.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("listening on {}", args.listen))?;
    match args.kind {
        Kind::Http => {
            let router = Router::new()
                .route("/health", get(|| async { "ok\n" }))
                .route("/", get(|| async { "a service of the demonstration; ask /health\n" }));
            axum::serve(listener, router).await?;
        }
        Kind::Tcp => loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(echo(stream))),
                // Out of file descriptors, most likely: leave time for some to be closed.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

async fn echo(mut stream: TcpStream) {
    let (mut from, mut to) = stream.split();
    // A client that breaks off is no concern of ours.
    let _bytes = copy(&mut from, &mut to).await;
}
