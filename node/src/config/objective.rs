//! `service.slo.objective`: the part of the time in which a service is to be up. It travels as a tag of the service's instances, so that every
//! agent can say what a service is held to.

use super::keys::SLO;
use super::reader::{Faults, FromToml, Section, not};
use quorate_core::{Placement, ServiceName};
use quorate_mesh::MeshView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::de::DeValue;

/// What the tag begins with; the ratio follows.
pub const TAG: &str = "slo.objective=";

/// In millionths, so that one is told from another exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Objective(u32);

/// The objective of the guide that has budgets.
impl Default for Objective {
    fn default() -> Self {
        Self(995_000)
    }
}

impl Objective {
    /// As a share of the whole.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// Among the tags of an instance: what it says there by itself is replaced.
    pub fn tell(self, placement: &mut Placement) {
        placement.tags.retain(|tag| !tag.starts_with(TAG));
        let tag = format!("{TAG}{}", self.ratio());
        let place = placement.tags.partition_point(|known| *known < tag);
        placement.tags.insert(place, tag);
    }

    /// The one that an instance's tags tell.
    pub fn told(placement: &Placement) -> Option<Self> {
        placement.tags.iter().find_map(|tag| read_ratio(tag.strip_prefix(TAG)?))
    }

    /// The strictest that the instances of each service tell, wherever they are.
    pub fn all_told(view: &MeshView) -> BTreeMap<&ServiceName, Self> {
        let mut all = BTreeMap::new();
        for instance in view.instances.values() {
            let placement = instance.registration.as_ref().map(|registration| &registration.placement);
            let Some(told) = placement.and_then(Self::told) else { continue };
            all.entry(&instance.service).and_modify(|known: &mut Self| *known = told.max(*known)).or_insert(told);
        }
        all
    }

    /// The share of the error budget that is left at this uptime; less than zero when it is overspent.
    pub fn budget_left(self, uptime_percent: f64) -> f64 {
        1.0 - (100.0 - uptime_percent) * 1e4 / f64::from(1_000_000 - self.0)
    }
}

impl FromToml for Objective {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let number = match value {
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            other => return Err(not("a number such as 0.999, without quotes", other)),
        };
        read_ratio(&number).ok_or_else(|| format!("{number} is not allowed; use 0.9 to 0.999999, such as 0.999"))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range that was looked at")]
fn read_ratio(text: &str) -> Option<Objective> {
    let millionths = text.parse::<f64>().map(|ratio| (ratio * 1e6).round()).ok();
    let allowed = millionths.filter(|number| (900_000.0..=999_999.0).contains(number));
    allowed.map(|number| Objective(number as u32))
}

/// Reads `[service.slo]`; nothing where no objective is stated.
pub fn read(service: &Section<'_>, faults: &mut Faults) -> Option<Objective> {
    service.table("slo", &SLO, faults)?.take("objective", faults).map(|found| found.value)
}

#[cfg(test)]
mod tests {
    use super::Objective;
    use crate::config::file::parse;
    use quorate_core::Placement;

    fn read(settings: &str) -> Result<Option<Objective>, String> {
        let text = format!("[[service]]\nname = \"x\"\ninstance = [{{}}]\n[service.slo]\n{settings}\n");
        parse("x", &text).map(|found| found.services[0].objective).map_err(|errors| errors.to_string())
    }

    #[test]
    fn it_is_read_and_what_it_leaves_is_told() {
        assert_eq!(read(""), Ok(None));
        for (text, millionths) in [("0.9", 900_000), ("0.999", 999_000), ("0.999999", 999_999), ("9.95e-1", 995_000)] {
            assert_eq!(read(&format!("objective = {text}")), Ok(Some(Objective(millionths))), "{text}");
        }
        assert_eq!(format!("{}", Objective(999_000).ratio()), "0.999");
        let left = |uptime: f64| (Objective::default().budget_left(uptime) * 1e9).round() / 1e9;
        assert_eq!((left(100.0), left(99.75), left(99.5), left(99.0)), (1.0, 0.5, 0.0, -1.0));
    }

    #[test]
    fn a_tag_tells_it() {
        let tags = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let mut placement = Placement { tags: tags(&["blue", "zone=b"]), ..Placement::default() };
        assert_eq!(Objective::told(&placement), None);
        for (millionths, tag) in [(999_000, "slo.objective=0.999"), (950_000, "slo.objective=0.95")] {
            Objective(millionths).tell(&mut placement);
            assert_eq!(placement.tags, tags(&["blue", tag, "zone=b"]));
            assert_eq!(Objective::told(&placement), Some(Objective(millionths)));
            assert!(placement.validate().is_empty());
        }
        for other in ["slo.objective=1", "slo.objective=", "slo.objective=x", "slo.objective"] {
            assert_eq!(Objective::told(&Placement { tags: tags(&[other]), ..Placement::default() }), None, "{other}");
        }
    }

    #[test]
    fn each_mistake_is_told_at_its_key() {
        for text in ["1", "0.89", "0.9999999", "99.9", "-0.9", "nan"] {
            let errors = read(&format!("objective = {text}")).unwrap_err();
            assert!(errors.contains("x:5:13: service[0].slo.objective: ") && errors.contains("use 0.9 to"), "{errors}");
        }
        assert!(read("objective = \"0.999\"").unwrap_err().contains("without quotes, not a text"));
        assert!(read("target = 0.999").unwrap_err().contains("slo.target: is not a known key"));
    }
}
