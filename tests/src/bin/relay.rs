//! `relay FROM TO`: passes on what comes to the TCP address FROM to the address TO, and back. By it a test asks an agent whose API is on the
//! loopback of a network namespace.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: relay FROM TO");
        return ExitCode::from(2);
    };
    let listener = match TcpListener::bind(from) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("relay: {from}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for near in listener.incoming().flatten() {
        // Who cannot be passed on sees the connection end.
        let Ok(far) = TcpStream::connect(to) else { continue };
        let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { continue };
        std::thread::spawn(move || pass_on(near, far));
        std::thread::spawn(move || pass_on(far_too, near_too));
    }
    ExitCode::SUCCESS
}

/// Until one end is closed.
fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _closed_already = to.shutdown(Shutdown::Write);
}
