//! Many clients of the event stream.

use crate::scene::Agent;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(60);

/// Opens so many streams, lets the instances fail, and says how many were told of it, and how long the last one was behind the first.
pub fn follow(agent: &Agent, count: usize) -> (usize, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (told, mut hear) = mpsc::channel(count);
        let (opened, mut open) = watch::channel(0);
        for _ in 0..count {
            tokio::spawn(client(agent.api, told.clone(), opened.clone()));
        }
        drop(told);
        let _ = tokio::time::timeout(PATIENCE, open.wait_for(|open| *open == count)).await;
        agent.fail();
        let mut times = Vec::new();
        while let Ok(Some(at)) = tokio::time::timeout(PATIENCE, hear.recv()).await {
            times.push(at);
        }
        let (first, last) = (times.iter().min(), times.iter().max());
        (times.len(), last.zip(first).map_or(Duration::ZERO, |(last, first)| last.duration_since(*first)))
    })
}

async fn client(api: std::net::SocketAddr, told: mpsc::Sender<Instant>, opened: watch::Sender<usize>) -> Option<()> {
    let mut stream = TcpStream::connect(api).await.ok()?;
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n").await.ok()?;
    let mut read = Vec::new();
    let mut is_open = false;
    loop {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&read);
        if !is_open && text.contains("\r\n\r\n") {
            if !text.starts_with("HTTP/1.1 200") {
                return None;
            }
            is_open = true;
            opened.send_modify(|open| *open += 1);
        }
        // The first word that an instance failed.
        if text.contains("event: vote") {
            told.send(Instant::now()).await.ok()?;
            return Some(());
        }
    }
}
