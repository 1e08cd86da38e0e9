//! A registration that comes by the API, in the words of the configuration: one service with one instance.

use super::file::parse;
use super::objective::Objective;
use quorate_core::{InstanceId, Registration};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::time::Duration;

/// Longest time without a renewal.
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
/// Shortest.
const MIN_TTL: Duration = Duration::from_secs(1);

/// What was asked for.
#[derive(Debug)]
pub struct Requested {
    /// The registration.
    pub registration: Registration,
    /// The objective of its service, where one is stated.
    pub objective: Option<Objective>,
    /// How long it holds unless it comes again.
    pub ttl: Option<Duration>,
}

/// Reads `{"service", "address", "zone", "check", "slo", "observers", "weight", "tags", "ttl"}` for the instance `id`, on an agent with the
/// address `own`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(id: &InstanceId, mut body: Map<String, Value>, own: IpAddr) -> Result<Requested, Vec<String>> {
    // What is null is as if it were not there.
    body.retain(|_, value| !value.is_null());
    let ttl = body.remove("ttl").map(ttl).transpose().map_err(|message| vec![message])?;
    let mut service = Map::new();
    let mut instance = Map::from_iter([("id".to_owned(), json!(id))]);
    for (key, value) in body {
        match key.as_str() {
            "service" => service.insert("name".to_owned(), value),
            "check" | "slo" | "observers" => service.insert(key, value),
            "address" | "zone" | "weight" | "tags" => instance.insert(key, value),
            other => {
                let known = "service, address, zone, check, slo, observers, weight, tags, ttl";
                return Err(vec![format!("{other}: is not a known field; known are {known}")]);
            }
        };
    }
    service.insert("instance".to_owned(), json!([instance]));
    let text = toml::to_string(&json!({ "service": [service] }));
    let text =
        text.map_err(|error| vec![format!("the body has a value that the configuration cannot have: {error}")])?;
    let settings = parse("body", &text).map_err(|errors| {
        let own_words =
            |said: &String| said.replace("service[0].instance[0].", "").replace("service[0].name", "service");
        errors.said().iter().map(own_words).map(|said| said.replace("service[0].", "")).collect::<Vec<_>>()
    })?;
    // What would be run is in no registration: nothing that is asked of the API runs a program.
    if settings.services.iter().any(|service| service.program.is_some()) {
        return Err(vec![
            "check.protocol: a program is run only as the configuration of its host says; name the check there"
                .to_owned(),
        ]);
    }
    let objective = settings.services.iter().find_map(|service| service.objective);
    let registration = settings.services.iter().flat_map(|service| service.registrations(own)).next();
    registration
        .map(|registration| Requested { registration, objective, ttl })
        .ok_or_else(|| vec!["no instance comes of it".to_owned()])
}

fn ttl(value: Value) -> Result<Duration, String> {
    let wrong = || format!("ttl: use a duration from {MIN_TTL:?} to 24h, such as \"30s\"");
    let span = match &value {
        Value::String(text) => humantime::parse_duration(text).ok(),
        Value::Number(seconds) => seconds.as_u64().map(Duration::from_secs),
        _ => None,
    };
    span.filter(|span| (MIN_TTL..=MAX_TTL).contains(span)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: Value) -> Result<Requested, Vec<String>> {
        let own = "10.0.0.1".parse().unwrap();
        read(&InstanceId::new("web@a").unwrap(), body.as_object().unwrap().clone(), own)
    }

    #[test]
    fn the_words_are_those_of_the_configuration() {
        let body = json!({ "service": "web", "address": "10.0.0.2:81", "observers": 3, "weight": 50, "zone": "b", "tags": ["blue"], "ttl": "30s", "slo": { "objective": 0.999 },
                           "check": { "protocol": "tcp", "period": "10s", "timeout": 2 } });
        let Requested { registration, objective, ttl } = asked(body).unwrap();
        assert_eq!(objective.map(Objective::ratio), Some(0.999));
        assert_eq!((registration.instance.as_str(), registration.address.as_str()), ("web@a", "10.0.0.2:81"));
        assert_eq!((registration.check.period.as_secs(), registration.observers), (10, 3));
        let tags = ["blue", "slo.objective=0.999", "zone=b"].map(str::to_owned);
        assert_eq!((registration.placement.weight, registration.placement.tags.as_slice()), (50, &tags[..]));
        assert_eq!(ttl, Some(Duration::from_secs(30)));
        let least = asked(json!({ "service": "web" })).unwrap();
        assert_eq!((least.registration.address.as_str(), least.objective, least.ttl), ("10.0.0.1:8000", None, None));
        let nothing = json!({ "service": "web", "address": null, "observers": null, "weight": null, "ttl": null });
        assert_eq!(asked(nothing).unwrap().registration, least.registration);
        let tags = json!({ "service": "web", "tags": ["red", "blue"] });
        assert_eq!(asked(tags).unwrap().registration.placement.tags, ["blue", "red"], "in whatever order they come");
    }

    #[test]
    fn everything_wrong_is_said_at_once_in_the_words_of_the_body() {
        let body = json!({ "service": "a b", "weight": 1001, "slo": { "objective": 1 }, "check": { "tiemout": 1, "period": 1, "timeout": 2 } });
        let said = asked(body).unwrap_err();
        for part in [
            "service: \"a b\"",
            "check.tiemout: is not a known key; did you mean `timeout`?",
            "weight: 1001",
            "slo.objective: 1 ",
        ] {
            assert!(said.iter().any(|line| line.starts_with(part)), "{part}: {said:?}");
        }
        assert!(asked(json!({})).unwrap_err()[0].starts_with("service: is missing"));
        assert!(asked(json!({ "service": "web", "region": "x" })).unwrap_err()[0].contains("not a known field"));
        assert!(asked(json!({ "service": "web", "zone": "a b" })).unwrap_err()[0].starts_with("zone: "));
        assert!(asked(json!({ "service": "web", "ttl": "2d" })).unwrap_err()[0].contains("24h"));
        assert!(asked(json!({ "service": "web", "check": { "path": null } })).is_err());
        let variable = asked(json!({ "service": "web", "check": { "path": "/${PATH}$$" } })).unwrap();
        let target = format!("{:?}", variable.registration.check);
        assert!(target.contains("/${PATH}$$"), "nobody who registers reads the agent's environment: {target}");
        let program = json!({ "service": "web", "check": { "protocol": "exec", "command": ["/bin/true"] } });
        assert!(asked(program).unwrap_err()[0].contains("only as the configuration of its host says"));
    }
}
