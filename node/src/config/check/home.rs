//! Settings of checks that only an instance's own host can make: exec, Unix sockets, containers, systemd units, push.

use super::super::reader::{Faults, Section, Strings, Variables};
use super::{exchange, metric, set, set_some};
use quorate_core::check::{
    ContainerCheck, ExecCheck, PushCheck, Secret, SecretSource, SystemdCheck, UnixCheck, UsageLimits,
};
use quorate_probe::Program;
use std::path::PathBuf;
use std::time::Duration;

/// Reads those of an exec check, and the program that stays in this agent's own configuration.
pub(super) fn exec(section: &Section<'_>, faults: &mut Faults) -> (ExecCheck, Program) {
    let words = section.take::<Strings>("command", faults).map(|found| found.value.0);
    if words.is_none() && !section.has("command") {
        let message = "is missing; write the program and its arguments, such as [\"/usr/lib/nagios/plugins/check_disk\", \"-w\", \"10%\"]";
        faults.add(section.at, section.key("command"), message);
    }
    // What is wrong with it otherwise was noted already.
    let words = words.unwrap_or_else(|| vec!["/".to_owned()]);
    let (path, arguments) =
        words.split_first().map_or_else(Default::default, |(path, rest)| (path.clone(), rest.to_vec()));
    bounded(section, "command", arguments.len(), Program::MAX_ARGUMENTS, faults);
    let environment = section.take::<Variables>("environment", faults).map(|found| found.value.0).unwrap_or_default();
    bounded(section, "environment", environment.len(), Program::MAX_VARIABLES, faults);
    let directory = section.take::<String>("directory", faults).map(|found| {
        if !found.value.starts_with('/') {
            let message = format!("{:?} is not an absolute path; write one, such as \"/var/lib/app\"", found.value);
            faults.add(found.at, section.key("directory"), message);
        }
        PathBuf::from(found.value)
    });
    let program = Program { path: path.clone().into(), arguments, directory, environment };
    let mut check = ExecCheck {
        program: path,
        command: program.key(),
        max_output_bytes: ExecCheck::DEFAULT_OUTPUT_BYTES,
        measure: metric::of_output(section, faults),
    };
    set(&mut check.max_output_bytes, section.take("max_output_bytes", faults));
    (check, program)
}

fn bounded(section: &Section<'_>, name: &str, count: usize, max: usize, faults: &mut Faults) {
    if count > max {
        let (at, key) = section.place(name);
        faults.add(at, key, format!("holds {count}; at most {max}"));
    }
}

/// Reads those of a Unix socket.
pub(super) fn unix(section: &Section<'_>, faults: &mut Faults) -> UnixCheck {
    let tcp = exchange::tcp(section, faults);
    needed(section, "socket", "the path of the socket, such as \"/run/app.sock\"", faults);
    let path = section.take::<String>("socket", faults).map_or_else(|| "/".to_owned(), |found| found.value);
    UnixCheck { path, send: tcp.send, expect: tcp.expect, max_read_bytes: tcp.max_read_bytes }
}

/// Reads those of a container.
pub(super) fn container(section: &Section<'_>, faults: &mut Faults) -> ContainerCheck {
    needed(section, "container", "the container's name or id", faults);
    let mut name = "unnamed".to_owned();
    set(&mut name, section.take("container", faults));
    ContainerCheck { container: name, limits: usage_limits(section, faults) }
}

/// Reads those of a systemd unit. A name without a type is a service's, as `systemctl` has it.
pub(super) fn systemd(section: &Section<'_>, faults: &mut Faults) -> SystemdCheck {
    needed(section, "unit", "the unit's name, such as \"nginx.service\"", faults);
    let mut unit = "unnamed.service".to_owned();
    set(&mut unit, section.take("unit", faults));
    if !unit.is_empty() && !unit.contains('.') {
        unit.push_str(".service");
    }
    SystemdCheck { unit, limits: usage_limits(section, faults) }
}

fn usage_limits(section: &Section<'_>, faults: &mut Faults) -> UsageLimits {
    let mut limits = UsageLimits::default();
    set_some(&mut limits.max_cpu_percent, section.take("max_cpu_percent", faults));
    set_some(&mut limits.max_memory_percent, section.take("max_memory_percent", faults));
    set(&mut limits.max_restart_count, section.take("max_restart_count", faults));
    set(&mut limits.restart_window, section.take("restart_window", faults));
    limits
}

/// Reads those of a push check.
pub(super) fn push(section: &Section<'_>, faults: &mut Faults) -> PushCheck {
    needed(section, "token", "where the token is that instances must know, such as { file = \"push-token\" }", faults);
    let unread = Secret { prefix: String::new(), source: SecretSource::File("unread".to_owned()) };
    let mut push = PushCheck { ttl: Duration::from_secs(60), token: unread };
    set(&mut push.token, section.take("token", faults));
    set(&mut push.ttl, section.take("ttl", faults));
    push
}

fn needed(section: &Section<'_>, name: &str, what: &str, faults: &mut Faults) {
    if !section.has(name) {
        faults.add(section.at, section.key(name), format!("is missing; write {what}"));
    }
}
