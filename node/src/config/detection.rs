//! Reads `[service.detection]`: when outcomes become failure events.

use super::keys::DETECTION;
use super::reader::{Fault, Faults, FromToml, Section, entries};
use crate::spelling::nearest;
use quorate_core::FailureType;
use quorate_core::detection::{Rules, Severity};
use toml::Spanned;
use toml::de::DeValue;

/// Severities by failure type.
struct Severities(Vec<(FailureType, Severity)>);

impl FromToml for Severities {
    fn from_toml(_: &DeValue<'_>) -> Result<Self, String> {
        Err("is read entry by entry".to_owned())
    }

    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        entries(value, "a table such as { health_check_timeout = \"high\" }", fault, severity).map(Self)
    }
}

fn severity(name: &str, value: &DeValue<'_>) -> Result<(FailureType, Severity), String> {
    let word = String::from_toml(value).map_err(|why| format!("the severity of `{name}` {why}"))?;
    let failures = || FailureType::ALL.iter().map(|failure| failure.as_str());
    let failure = FailureType::ALL.iter().find(|failure| failure.as_str() == name);
    let severity = Severity::ALL.iter().find(|severity| severity.as_str() == word);
    match (failure, severity) {
        (Some(failure), Some(severity)) => Ok((*failure, *severity)),
        (None, _) => Err(match nearest(name, failures(), 1).first() {
            Some(near) => format!("knows no failure type `{name}`; did you mean `{near}`?"),
            None => format!("knows no failure type `{name}`; use one of {}", failures().collect::<Vec<_>>().join(", ")),
        }),
        (_, None) => {
            let all: Vec<&str> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
            Err(format!("knows no severity {word:?}; use one of {}", all.join(", ")))
        }
    }
}

/// Reads them; what is absent has the defaults of [`Rules`].
pub fn read(service: &Section<'_>, faults: &mut Faults) -> Rules {
    let mut rules = Rules::default();
    let Some(section) = service.table("detection", &DETECTION, faults) else { return rules };
    if let Some(found) = section.take("window", faults) {
        rules.window = found.value;
    }
    if let Some(found) = section.take("max_error_rate_percent", faults) {
        rules.max_error_rate_percent = found.value;
    }
    for (name, target) in [
        ("min_volume", &mut rules.min_volume),
        ("consecutive_failure_limit", &mut rules.consecutive_failure_limit),
        ("flap_percent", &mut rules.flap_percent),
    ] {
        if let Some(found) = section.take(name, faults) {
            *target = found.value;
        }
    }
    rules.deadlock_rounds = section.take("deadlock_rounds", faults).map(|found| found.value);
    rules.memory_leak_window = section.take("memory_leak_window", faults).map(|found| found.value);
    if let Some(found) = section.take::<Severities>("severities", faults) {
        rules.severities = found.value.0;
    }
    for (name, message) in rules.validate() {
        let (at, key) = section.place(name);
        faults.add(at, key, message);
    }
    rules
}

#[cfg(test)]
mod tests {
    use crate::config::file::parse;
    use quorate_core::detection::{Rules, Severity};
    use quorate_core::{FailureType, Level};
    use std::time::Duration;

    fn read(settings: &str) -> Result<Rules, String> {
        let text = format!("[[service]]\nname = \"x\"\ninstance = [{{}}]\n[service.detection]\n{settings}\n");
        let found = parse("x", &text).map_err(|errors| errors.to_string())?;
        Ok(found.services[0].check.detection.clone())
    }

    #[test]
    fn each_threshold_is_read_and_the_guides_are_the_defaults() {
        let rules = read("").unwrap();
        assert_eq!((rules.window, rules.max_error_rate_percent.value()), (Duration::from_secs(600), 5.0));
        assert_eq!((rules.consecutive_failure_limit, rules.deadlock_rounds, rules.memory_leak_window), (3, None, None));
        let text = "failure_rate_window = '5min'\nmax_error_rate_percent = 2.5\nmin_volume = 9\nconsecutive_failure_limit = 4\n\
            deadlock_rounds = 6\nmemory_leak_window = '1h'\nflap_percent = 30\nseverities = { health_check_timeout = 'critical' }";
        let expected = Rules {
            window: Duration::from_secs(300),
            max_error_rate_percent: Level::new(2.5).unwrap(),
            min_volume: 9,
            consecutive_failure_limit: 4,
            deadlock_rounds: Some(6),
            memory_leak_window: Some(Duration::from_secs(3600)),
            flap_percent: 30,
            severities: vec![(FailureType::HealthCheckTimeout, Severity::Critical)],
        };
        assert_eq!(read(text).as_ref(), Ok(&expected));
    }

    #[test]
    fn each_mistake_is_told_at_its_key() {
        for (text, says) in [
            ("window = '0s'", "window: 0ns is not allowed; use 1s to 24h"),
            ("max_error_rate_percent = 101", "max_error_rate_percent: 101 is not a share"),
            ("min_volume = 0", "min_volume: 0 is not allowed"),
            ("consecutive_failure_limit = 0", "consecutive_failure_limit: 0 is not allowed"),
            ("deadlock_rounds = 0", "deadlock_rounds: 0 is not allowed"),
            ("memory_leak_window = '1s'", "memory_leak_window: 1s is not allowed"),
            ("flap_percent = 0", "flap_percent: 0 is not a share"),
            ("severities = { down = 'low' }", "severities: knows no failure type `down`"),
            ("severities = { container_stopped = 'bad' }", "severities: knows no severity \"bad\""),
            ("windwo = '1s'", "did you mean `window`?"),
        ] {
            let errors = read(text).unwrap_err();
            assert!(errors.contains(says) && errors.contains("x:5:"), "{text}: {errors}");
        }
    }
}
