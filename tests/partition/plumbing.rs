//! The network under the scenarios does what they rely on: hosts hear each other, a cut is silent, and it ends.

use crate::network::{Network, in_own_network};
use quorate_tests::{Host, Target, folder, run};
use std::net::SocketAddr;

/// Connects from a host: 0 when accepted, 124 when there is only silence.
fn connect(host: &Host, to: SocketAddr) -> Option<i32> {
    let script = format!("exec 3<>/dev/tcp/{}/{}", to.ip(), to.port());
    run(host.inside(&["timeout", "1", "bash", "-c", &script].map(Into::into))).code
}

#[test]
fn cuts_are_silent_directed_and_end() {
    in_own_network("plumbing::cuts_are_silent_directed_and_end", || {
        let folder = folder();
        let network = Network::new(3, folder.path());
        let hosts = network.hosts();
        let targets: Vec<_> = hosts.iter().map(|host| Target::start("tcp", host, folder.path())).collect();
        let reaches = |from: usize, to: usize| connect(&hosts[from], targets[to].address());
        assert_eq!(reaches(0, 1), Some(0));
        assert_eq!(reaches(1, 0), Some(0));
        network.cut(&[0], &[1]);
        assert_eq!(reaches(0, 1), Some(124));
        assert_eq!(reaches(1, 0), Some(124));
        assert_eq!(reaches(0, 2), Some(0));
        assert_eq!(reaches(2, 1), Some(0));
        network.heal();
        assert_eq!(reaches(0, 1), Some(0));
        assert_eq!(reaches(1, 0), Some(0));
    });
}
