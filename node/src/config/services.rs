//! Services and the instances on this host, as settings and as registrations.

use super::check::{self, ReadCheck};
use super::detection;
use super::file::parsed;
use super::keys::{CHECK, INSTANCE, SERVICE};
use super::objective::{self, Objective};
use super::place;
use super::reader::{Faults, Section};
use quorate_core::registration::host_and_port;
use quorate_core::{Check, InstanceId, Placement, Registration, ServiceName, Zone, quorum};
use quorate_probe::Program;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Most services in one file.
pub const MAX_SERVICES: usize = 1000;
/// Most instances of one agent.
pub const MAX_INSTANCES: usize = 4096;

/// A service with instances on this host.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// How many observers each instance should have.
    pub observers: u32,
    /// The part of the time in which it is to be up, where that is stated.
    pub objective: Option<Objective>,
    /// How its instances are probed.
    pub check: Arc<Check>,
    /// The program that the check runs, if it does.
    pub program: Option<Program>,
    /// Its instances here.
    pub instances: Vec<Instance>,
}

/// What a configuration makes an agent home to.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    /// The instances.
    pub registrations: Vec<Registration>,
    /// The objectives that are stated.
    pub objectives: BTreeMap<ServiceName, Objective>,
}

impl Configured {
    /// Of these services, on an agent with the address `own`.
    pub fn of(services: &[Service], own: IpAddr) -> Self {
        let objectives = services.iter().filter_map(|service| Some((service.name.clone(), service.objective?)));
        let registrations = services.iter().flat_map(|service| service.registrations(own));
        Self { registrations: registrations.collect(), objectives: objectives.collect() }
    }
}

/// One instance on this host.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Where; the agent's own advertised address when absent.
    pub host: Option<String>,
    /// On which port.
    pub port: u16,
    /// Its name; `<service>@<host:port>` when absent.
    pub id: Option<InstanceId>,
    /// Where it is, if not in the agent's own zone.
    pub zone: Option<Zone>,
    /// What is told about it beside its health.
    pub placement: Placement,
}

impl Service {
    /// The registrations of its instances, on an agent with the address `own`. An instance whose name is not allowed is left out; the
    /// file was checked for that.
    pub fn registrations(&self, own: IpAddr) -> Vec<Registration> {
        self.instances.iter().filter_map(|instance| self.registration(instance, own).ok()).collect()
    }

    fn registration(&self, instance: &Instance, own: IpAddr) -> Result<Registration, String> {
        let host = instance.host.clone().unwrap_or_else(|| own.to_string());
        let address = if host.parse::<Ipv6Addr>().is_ok() {
            format!("[{host}]:{}", instance.port)
        } else {
            format!("{host}:{}", instance.port)
        };
        let id = match &instance.id {
            Some(id) => id.clone(),
            None => InstanceId::new(format!("{}@{address}", self.name)).map_err(|error| error.to_string())?,
        };
        let mut placement = instance.placement.clone();
        if let Some(zone) = &instance.zone {
            place::tell(zone, &mut placement);
        }
        if let Some(objective) = self.objective {
            objective.tell(&mut placement);
        }
        Ok(Registration {
            instance: id,
            service: self.name.clone(),
            address,
            check: Arc::clone(&self.check),
            observers: self.observers,
            placement,
        })
    }
}

/// Reads every `[[service]]`.
pub fn read(root: &Section<'_>, faults: &mut Faults) -> Vec<Service> {
    let sections = root.tables("service", &SERVICE, faults);
    if let Some(extra) = sections.get(MAX_SERVICES) {
        faults.add(extra.at, extra.path.clone(), format!("is one too many; at most {MAX_SERVICES} services"));
    }
    let mut taken = Taken::default();
    let services: Vec<_> = sections.iter().filter_map(|section| read_service(section, &mut taken, faults)).collect();
    if let Some((at, key)) = taken.overflow {
        faults.add(at, key, format!("is one too many; at most {MAX_INSTANCES} instances on one agent"));
    }
    services
}

/// Names already given in the file, and by which key.
#[derive(Default)]
struct Taken {
    services: BTreeMap<ServiceName, String>,
    instances: BTreeMap<InstanceId, String>,
    overflow: Option<(usize, String)>,
}

fn read_service(section: &Section<'_>, taken: &mut Taken, faults: &mut Faults) -> Option<Service> {
    let name = read_name(section, taken, faults);
    let observers = section.take::<u32>("observers", faults).map_or(quorum::DEFAULT_OBSERVERS, |found| found.value);
    let objective = objective::read(section, faults);
    let check = section.table("check", &CHECK, faults);
    let check = check.unwrap_or_else(|| Section::absent(section.key("check"), section.at));
    let ReadCheck { mut check, port, program } = check::read(&check, faults);
    check.detection = detection::read(section, faults);
    let sections = section.tables("instance", &INSTANCE, faults);
    if sections.is_empty() && !section.has("instance") {
        let message = "has no instance: add [[service.instance]]; without an address it is this host's own copy";
        faults.add(section.at, section.path.clone(), message);
    }
    // Without a usable name the rest is still checked, under a stand-in.
    let named = name.is_some();
    let name = name.or_else(|| ServiceName::new("unnamed").ok())?;
    let check = check.into();
    let mut service = Service { name, observers, objective, check, program, instances: Vec::new() };
    for instance in &sections {
        let read = read_instance(instance, port, faults);
        examine(&service, &read, (section, instance), named, taken, faults);
        service.instances.push(read);
    }
    named.then_some(service)
}

fn read_name(section: &Section<'_>, taken: &mut Taken, faults: &mut Faults) -> Option<ServiceName> {
    if !section.has("name") {
        faults.add(section.at, section.key("name"), "is missing; give the service a name, such as \"web\"");
        return None;
    }
    let found = section.take::<String>("name", faults)?;
    let name = match ServiceName::new(found.value) {
        Ok(name) => name,
        Err(error) => {
            faults.add(found.at, section.key("name"), error.to_string());
            return None;
        }
    };
    if let Some(other) = taken.services.get(&name) {
        let message = format!("\"{name}\" is {other} already; put its instances under that one");
        faults.add(found.at, section.key("name"), message);
        return None;
    }
    taken.services.insert(name.clone(), section.path.clone());
    Some(name)
}

fn read_instance(section: &Section<'_>, default_port: u16, faults: &mut Faults) -> Instance {
    let mut instance =
        Instance { host: None, port: default_port, id: None, zone: None, placement: Placement::default() };
    instance.zone = read_zone(section, faults);
    if let Some(address) = section.take::<String>("address", faults) {
        match split(&address.value) {
            _ if is_link_local(&address.value) => {
                let message = format!(
                    "{:?} means something on one link only, and no probe can be told on which; write a routable address",
                    address.value
                );
                faults.add(address.at, section.key("address"), message);
            }
            Some((host, _)) if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) => {
                let message = format!(
                    "{:?} means another host on each one that probes it; write the address at which others reach it, or none",
                    address.value
                );
                faults.add(address.at, section.key("address"), message);
            }
            Some((host, port)) => {
                instance.host = Some(host);
                instance.port = port.unwrap_or(default_port);
            }
            None => {
                let message = format!("{:?} is not HOST:PORT or HOST; the port is 1 to 65535", address.value);
                faults.add(address.at, section.key("address"), message);
            }
        }
    }
    if let Some(id) = section.take::<String>("id", faults) {
        match InstanceId::new(id.value) {
            Ok(name) => instance.id = Some(name),
            Err(error) => faults.add(id.at, section.key("id"), error.to_string()),
        }
    }
    if let Some(weight) = section.take("weight", faults) {
        instance.placement.weight = weight.value;
    }
    if let Some(tags) = section.take::<Vec<String>>("tags", faults) {
        instance.placement.tags = tags.value;
        instance.placement.tags.sort();
        instance.placement.tags.dedup();
    }
    instance
}

/// It must fit into a tag.
fn read_zone(section: &Section<'_>, faults: &mut Faults) -> Option<Zone> {
    let most = Placement::MAX_TAG_BYTES - place::TAG.len();
    parsed(section, "zone", faults, |text| match Zone::new(text) {
        Ok(zone) if text.len() <= most => Ok(zone),
        Ok(_) => Err(format!("{text:?} is too long; at most {most} bytes")),
        Err(error) => Err(error.to_string()),
    })
}

/// `host`, `host:port`, an IPv6 address with brackets and a port, or without both.
fn split(address: &str) -> Option<(String, Option<u16>)> {
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare.parse::<IpAddr>().is_ok() {
        return Some((bare.to_owned(), None));
    }
    if address.contains(':') {
        return host_and_port(address).map(|(host, port)| (host.to_owned(), Some(port)));
    }
    host_and_port(&format!("{address}:1")).map(|(host, _)| (host.to_owned(), None))
}

/// Is the host an IPv6 address that means something on one link only, be it with the link's name or without?
fn is_link_local(address: &str) -> bool {
    let host = address.strip_prefix('[').unwrap_or(address);
    let host = host.split([']', '%']).next().unwrap_or(host);
    host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_unicast_link_local())
}

/// Holds one instance to the rules of a registration. The agent's own address is not known yet; any will do.
fn examine(
    service: &Service,
    instance: &Instance,
    (of_service, of_instance): (&Section<'_>, &Section<'_>),
    named: bool,
    taken: &mut Taken,
    faults: &mut Faults,
) {
    let registration = match service.registration(instance, IpAddr::V4(Ipv4Addr::LOCALHOST)) {
        Ok(registration) => registration,
        Err(message) => {
            let (at, key) = of_instance.place("address");
            return faults.add(at, key, format!("makes no instance id ({message}); give it one with `id`"));
        }
    };
    let told_besides = usize::from(service.objective.is_some()) + usize::from(instance.zone.is_some());
    let has_room = instance.placement.tags.len() + told_besides <= Placement::MAX_TAGS;
    for mut error in registration.validate() {
        if error.key == "tags" && told_besides > 0 && !has_room {
            error.message = format!("{}, and `slo.objective` and `zone` are told by one each", error.message);
        }
        let (at, key) = match error.key {
            "address" => of_instance.place("address"),
            "weight" => of_instance.place("weight"),
            "tags" => of_instance.place("tags"),
            "observers" => of_service.place("observers"),
            "name" if of_instance.has("id") => of_instance.place("id"),
            "name" => of_service.place("name"),
            // The check was examined once for all instances.
            _ => continue,
        };
        faults.add(at, key, error.message);
    }
    if !named {
        return;
    }
    if let Some(other) = taken.instances.get(&registration.instance) {
        let message = format!("{} is {other} already; give one of them another address or `id`", registration.instance);
        return faults.add(of_instance.at, of_instance.path.clone(), message);
    }
    taken.instances.insert(registration.instance, of_instance.path.clone());
    if taken.instances.len() > MAX_INSTANCES && taken.overflow.is_none() {
        taken.overflow = Some((of_instance.at, of_instance.path.clone()));
    }
}
