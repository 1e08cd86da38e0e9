//! HAProxy's agent-check: a server's name comes in, one line about it goes out, from what the whole mesh concludes.
//!
//! HAProxy says with `agent-send` which server it means. Who asks for nothing, or for what nobody knows, gets an empty line, which changes
//! nothing there; so does who asks about an instance that nobody can judge now: an agent in trouble must not empty a pool.

use super::published::Published;
use crate::config::Restricted;
use crate::metrics::Metrics;
use quorate_core::Verdict;
use quorate_mesh::{InstanceView, MeshView};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 128;
/// Longest name read.
const MAX_NAME_BYTES: usize = 256;
/// Longest time for the name to come, and then for the line to go.
const PATIENCE: Duration = Duration::from_secs(1);
/// After the system could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers every connection from where it may come, for ever.
pub async fn run(listener: TcpListener, whom: Restricted, published: Arc<Published>, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let place = Arc::clone(&places).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((_, peer)) if !whom.admits(peer.ip()) => metrics.agent_check("refused"),
            Ok((stream, _)) => {
                let (published, metrics) = (Arc::clone(&published), Arc::clone(&metrics));
                tokio::spawn(async move {
                    let _place = place;
                    answer(stream, &published, &metrics).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "no connection could be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, published: &Published, metrics: &Metrics) {
    let mut sent = Vec::new();
    // Who ends the name with no line break waits for the answer: what has come by then is the name.
    let _ = timeout(PATIENCE, receive(&mut stream, &mut sent)).await;
    let (word, line) = line(&published.view(), &name(&sent));
    metrics.agent_check(word);
    let _ = timeout(PATIENCE, async {
        let _ = stream.write_all(line.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await;
}

/// Takes what comes up to the end of a line.
async fn receive(stream: &mut TcpStream, sent: &mut Vec<u8>) {
    let mut part = [0; MAX_NAME_BYTES];
    while sent.len() < MAX_NAME_BYTES && !sent.contains(&b'\n') {
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => sent.extend_from_slice(&part[..read]),
            _ => break,
        }
    }
}

/// The first line of what was sent.
fn name(sent: &[u8]) -> String {
    String::from_utf8_lossy(sent).lines().next().unwrap_or_default().trim().to_owned()
}

/// The line about what is called `name`, and its word in the metric.
fn line(view: &MeshView, name: &str) -> (&'static str, String) {
    let Some(instance) = find(view, name) else { return ("not_found", "\n".to_owned()) };
    match instance.verdict {
        Verdict::Up => ("up", "up ready 100%\n".to_owned()),
        Verdict::Degraded | Verdict::Partial => ("degraded", "up ready 50%\n".to_owned()),
        Verdict::Down => ("down", format!("down#{}\n", instance.class)),
        Verdict::Starting => ("starting", "down#starting\n".to_owned()),
        Verdict::Draining => ("draining", "drain\n".to_owned()),
        Verdict::Maintenance => ("maintenance", "maint\n".to_owned()),
        Verdict::Unknown => ("unknown", "\n".to_owned()),
    }
}

/// By its id, its address, or its service and address with a slash between.
fn find<'a>(view: &'a MeshView, name: &str) -> Option<&'a InstanceView> {
    let all = || view.instances.values().map(AsRef::as_ref);
    let (service, address) = name.rsplit_once('/').map_or((None, name), |(service, address)| (Some(service), address));
    all().find(|instance| instance.instance.as_str() == name).or_else(|| {
        let of_service = |instance: &&InstanceView| service.is_none_or(|service| service == instance.service.as_str());
        all().filter(of_service).find(|instance| instance.address == address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::clock::Clock;
    use crate::api::fixture::view;

    #[tokio::test]
    async fn haproxy_reads_a_line() {
        let published = Arc::new(Published::new(Clock::new(), view(), true));
        let metrics = Arc::new(Metrics::new().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(run(listener, Restricted { address, from: Vec::new() }, published, metrics));
        for (sent, expected) in [
            ("web@10.0.0.1:80\n", "up ready 100%\n"),
            ("10.0.0.1:80\r\n", "up ready 100%\n"),
            ("web/10.0.0.3:80\n", "down#instance_fault\n"),
            ("db/10.0.0.3:80\n", "\n"),
            // Nobody can judge it.
            ("db@10.0.0.2:5432\n", "\n"),
            ("nothing\n", "\n"),
            // An `agent-send` without a line break.
            ("web@10.0.0.1:80", "up ready 100%\n"),
            ("", "\n"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let mut line = String::new();
            stream.read_to_string(&mut line).await.unwrap();
            assert_eq!(line, expected, "{sent:?}");
        }
    }
}
