//! Settings of metric checks.

use super::super::reader::{Faults, Section};
use super::exchange::one_of;
use super::{choice, http, set, set_some};
use crate::spelling::nearest;
use quorate_core::Scheme;
use quorate_core::check::{Bad, Level, Measure, MetricCheck, PRESETS, Reading};

/// Reads them.
pub(super) fn read(section: &Section<'_>, scheme: Scheme, faults: &mut Faults) -> MetricCheck {
    let number = reading(section, "json", "prometheus", faults);
    if number.is_none() && !section.has("json") && !section.has("prometheus") {
        let message = "is missing; say where the number stands, with `json` or `prometheus`";
        faults.add(section.at, section.key("json"), message);
    }
    let mut http = http::read(section, scheme, faults);
    if !section.has("path") {
        http.path = "/metrics".to_owned();
    }
    MetricCheck { http, measure: measure(section, number, faults) }
}

/// Those of the number that a program writes, if one is to be looked for. The whole output is one unless it is said where it stands.
pub(super) fn of_output(section: &Section<'_>, faults: &mut Faults) -> Option<Measure> {
    let wanted = ["json", "prometheus", "preset", "warning", "critical"].iter().any(|name| section.has(name));
    wanted.then(|| {
        let number = reading(section, "json", "prometheus", faults);
        measure(section, number, faults)
    })
}

fn measure(section: &Section<'_>, number: Option<Reading>, faults: &mut Faults) -> Measure {
    let mut measure = Measure {
        reading: number.unwrap_or_else(|| Reading::Json("$".to_owned())),
        per: reading(section, "per_json", "per_prometheus", faults),
        bad: Bad::High,
        warning: None,
        critical: None,
    };
    if let Some(name) = section.take::<String>("preset", faults) {
        match PRESETS.iter().find(|preset| preset.name == name.value) {
            Some(preset) => {
                measure.bad = preset.bad;
                (measure.warning, measure.critical) = (Level::new(preset.warning), Level::new(preset.critical));
            }
            None => {
                let names = || PRESETS.iter().map(|preset| preset.name);
                let near = nearest(&name.value, names(), 1).first().map(|near| format!("did you mean \"{near}\"?"));
                let all = || format!("use one of {}", names().collect::<Vec<_>>().join(", "));
                let message = format!("{:?} is not a preset; {}", name.value, near.unwrap_or_else(all));
                faults.add(name.at, section.key("preset"), message);
            }
        }
    }
    set(&mut measure.bad, choice(section, "bad", Bad::ALL, Bad::as_str, faults));
    set_some(&mut measure.warning, section.take("warning", faults));
    set_some(&mut measure.critical, section.take("critical", faults));
    // What is wrong with the limits that are there was noted already; a stand-in spares a second fault, that there are none.
    let given = ["preset", "warning", "critical"].iter().any(|name| section.has(name));
    if given && measure.warning.is_none() && measure.critical.is_none() {
        measure.critical = Level::new(0.0);
    }
    measure
}

fn reading(section: &Section<'_>, json: &str, prometheus: &str, faults: &mut Faults) -> Option<Reading> {
    one_of(section, json, prometheus, faults);
    let path = section.take::<String>(json, faults).map(|path| Reading::Json(path.value));
    path.or(section.take::<String>(prometheus, faults).map(|sample| Reading::Prometheus(sample.value)))
}
