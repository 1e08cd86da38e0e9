//! The name server of a real agent: it has what can be used, and no longer what died. And the glance that `quorate top` gives of the same.

use quorate_tests::{AgentSetup, Host, Mesh, Target, agent_binary, eventually, folder, free_tcp_port, run};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

/// Asks for the A records of a name by datagram (RFC 1035, section 4.1).
fn addresses(server: SocketAddr, name: &str) -> Result<Vec<Ipv4Addr>, String> {
    let mut question = vec![0x51, 0x52, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).map_err(|error| error.to_string())?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let failed = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(failed)?;
    socket.send_to(&question, server).map_err(failed)?;
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).map_err(failed)?;
    let answer = &answer[..length];
    if answer[..2] != question[..2] || answer[3] & 0x0f != 0 {
        return Err(format!("no answer to it: {answer:?}"));
    }
    // Each record is a pointer to the name, then type, class, time to live, length and the four bytes of the address.
    let count = usize::from(answer[7]);
    let records = &answer[question.len()..][..count * 16];
    Ok(records.chunks(16).map(|record| Ipv4Addr::new(record[12], record[13], record[14], record[15])).collect())
}

#[test]
fn a_service_has_a_name_as_long_as_it_can_be_used() {
    let folder = folder();
    let mut target = Target::start("http", &Host::loopback(), folder.path());
    let names: SocketAddr = format!("127.0.0.1:{}", free_tcp_port()).parse().expect("an address");
    let setup =
        AgentSetup::new("alone", Host::loopback()).api(&format!("[dns]\nlisten = \"{names}\"")).serving("web", &target);
    let mesh = Mesh::start(&[setup], folder);
    let are = |wanted: &[Ipv4Addr]| {
        eventually(&format!("the addresses are {wanted:?}"), PATIENCE, || {
            let found = addresses(names, "web.service.quorate")?;
            if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
        });
    };
    are(&[Ipv4Addr::LOCALHOST]);
    target.kill();
    are(&[]);
    assert!(addresses(names, "nobody.service.quorate").is_err());
    let api = mesh.agents[0].api.to_string();
    let words: [OsString; 4] = [agent_binary().into(), "top".into(), "--addr".into(), api.into()];
    let printed = run(words).success();
    assert!(printed.contains("web") && printed.contains("down") && printed.contains("1/1 members alive"), "{printed}");
}
