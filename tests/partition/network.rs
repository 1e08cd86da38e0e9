//! Hosts in network namespaces, joined by a bridge, and cuts between them.
//!
//! The namespace of the test is the hub: it holds the bridge and an address of its own, from which agents are asked, cut or not. A cut
//! drops, at the receiver, what comes from the sender's address (silence, as on a broken path: no ICMP, no reset).

use quorate_tests::{Finished, Host, MEASURED, Process, agent_binary, eventually, measured, run, run_within, tell};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

/// Set in the test that runs inside.
const INSIDE: &str = "QUORATE_TEST_INSIDE";
/// Names the built agent for the test inside.
const AGENT: &str = "QUORATE_TEST_AGENT";
/// Makes a skipped test a failure.
const REQUIRE_ALL: &str = "QUORATE_TEST_REQUIRE_ALL";
/// The longest a test inside may take.
const TEST_MAX: Duration = Duration::from_secs(300);

/// What every host refuses to hear.
const RULES: &str = "table inet quorate {
  set cut { type ipv4_addr; }
  chain arrivals { type filter hook input priority 0; policy accept; ip saddr @cut drop; }
}";

/// Runs `body`, the test `name` of this program, in a network of its own, where agents can be started.
pub fn with_agents(name: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    run_inside(name, &[format!("{AGENT}={}", agent_binary().display())]);
}

/// Runs `body`, the test `name` of this program, in a network of its own.
pub fn in_own_network(name: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    run_inside(name, &[]);
}

/// Starts this program again in a new namespace, to run the test `name` alone.
fn run_inside(name: &str, settings: &[String]) {
    let unshare = match permitted() {
        Ok(unshare) => unshare,
        Err(reason) => {
            let required = std::env::var_os(REQUIRE_ALL).is_some_and(|value| value != "0");
            assert!(!required, "{REQUIRE_ALL} is set, and {name} cannot run: {reason}");
            tell(&format!("SKIPPED {name}: {reason}"));
            return;
        }
    };
    let test = std::env::current_exe().expect("the path of the test");
    let mut words = vec!["env".to_owned(), format!("{INSIDE}=1")];
    words.extend_from_slice(settings);
    words.extend(unshare.into_iter().map(str::to_owned));
    words.push(test.display().to_string());
    words.extend(["--exact", name, "--nocapture", "--test-threads=1"].map(str::to_owned));
    let Finished { code, stdout, stderr } = run_within(TEST_MAX, words);
    assert_eq!(code, Some(0), "{name} failed inside its network\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{name} is not the name of a test\n{stdout}");
    stderr
        .lines()
        .filter_map(|line| line.strip_prefix(MEASURED))
        .for_each(|figure| measured(&format!("{name}: {figure}")));
}

/// The command that makes a namespace in which everything needed works; as another's root in a user namespace, or as root itself.
fn permitted() -> Result<Vec<&'static str>, String> {
    let trial = format!(
        "ip link set lo up && ip link add trial type bridge && ip link add left type veth peer name right && \
         nft '{RULES}' && nsenter --net --target $$ true"
    );
    let mut reasons = Vec::new();
    for unshare in [["unshare", "-Urn"].as_slice(), &["unshare", "-n"]] {
        let words = unshare.iter().copied().chain(["sh", "-c", &trial]);
        let finished = run(words);
        if finished.code == Some(0) {
            return Ok(unshare.to_vec());
        }
        reasons.push(format!("`{}`: {}", unshare.join(" "), finished.stderr.trim().replace('\n', "; ")));
    }
    Err(format!("no network namespaces here ({})", reasons.join(", ")))
}

/// Hosts joined by a bridge. They go with the test.
pub struct Network {
    hosts: Vec<Host>,
    holders: Vec<Process>,
}

impl Network {
    /// Sets up `count` hosts, 10.77.0.1 and so on.
    pub fn new(count: u8, folder: &Path) -> Self {
        shell("ip link set lo up; ip link add hub type bridge; ip addr add 10.77.0.254/24 dev hub; ip link set hub up");
        let mut network = Self { hosts: Vec::new(), holders: Vec::new() };
        for number in 1..=count {
            let words = ["unshare", "-n", "sleep", "infinity"].map(Into::into);
            let holder = Process::start(&format!("namespace {number}"), &words, &folder.join("namespaces.log"));
            let id = holder.id();
            eventually("the namespace is another one", Duration::from_secs(10), || {
                let seen = (namespace(&id.to_string()), namespace("self"));
                if seen.0.is_some() && seen.0 != seen.1 { Ok(()) } else { Err(format!("{seen:?}")) }
            });
            let address = Ipv4Addr::new(10, 77, 0, number);
            shell(&format!("ip link add port{number} type veth peer name eth0 netns {id}"));
            shell(&format!("ip link set port{number} master hub up"));
            let host = Host::in_namespace_of(id, IpAddr::V4(address));
            network.hosts.push(host);
            network.holders.push(holder);
            let set_up = format!(
                "ip link set lo up && ip addr add {address}/24 dev eth0 && ip link set eth0 up && nft '{RULES}'"
            );
            network.on(usize::from(number - 1), &set_up);
        }
        network
    }

    /// The hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Runs a command on host `index`.
    fn on(&self, index: usize, command: &str) {
        let words = self.hosts[index].inside(&["sh".into(), "-c".into(), command.into()]);
        let _output = run(words).success();
    }

    /// From now on nothing that `from` sends reaches `to`.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let address = self.hosts[from].address();
        self.on(to, &format!("nft add element inet quorate cut '{{ {address} }}'"));
    }

    /// From now on nothing passes between one side and the other.
    pub fn cut(&self, one: &[usize], other: &[usize]) {
        for &a in one {
            for &b in other {
                self.cut_one_way(a, b);
                self.cut_one_way(b, a);
            }
        }
    }

    /// Everything passes again.
    pub fn heal(&self) {
        for index in 0..self.hosts.len() {
            self.on(index, "nft flush set inet quorate cut");
        }
    }
}

fn namespace(process: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

fn shell(command: &str) {
    let _output = run(["sh", "-ec", command]).success();
}
