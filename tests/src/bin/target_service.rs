//! A small real service to be probed: `target-service http|tcp ADDRESS`.
//!
//! The HTTP kind answers `GET` with the status it was last told, 200 at first; `PUT /status/503` tells it another. The TCP kind accepts
//! and closes. Standard library only, one thread per connection, so that nothing of the project is under test here.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, address] = &arguments[..] else {
        eprintln!("usage: target-service http|tcp ADDRESS");
        return ExitCode::from(2);
    };
    let listener = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("target-service: {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("ready {address}");
    let status = Arc::new(AtomicU16::new(200));
    for stream in listener.incoming().flatten() {
        if kind == "http" {
            let status = Arc::clone(&status);
            std::thread::spawn(move || answer(&stream, &status));
        }
    }
    ExitCode::SUCCESS
}

/// Reads one request and answers it; a caller that says nothing for five seconds is dropped.
fn answer(mut stream: &TcpStream, status: &AtomicU16) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    if method == "PUT" {
        status.store(path.strip_prefix("/status/")?.parse().ok()?, Ordering::Relaxed);
    }
    let code = if method == "PUT" { 200 } else { status.load(Ordering::Relaxed) };
    let body = if method == "HEAD" { "" } else { "hello\n" };
    write!(stream, "HTTP/1.1 {code} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).ok()
}
