//! `service.slo.objective`: the part of the time in which a service is to be up.

use super::keys::SLO;
use super::reader::{Faults, FromToml, Section, not};
use serde::{Deserialize, Serialize};
use toml::de::DeValue;

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

    /// The share of the error budget that is left at this uptime; less than zero when it is overspent.
    pub fn budget_left(self, uptime_percent: f64) -> f64 {
        1.0 - (100.0 - uptime_percent) * 1e4 / f64::from(1_000_000 - self.0)
    }
}

impl FromToml for Objective {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range that was looked at")]
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let number = match value {
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            other => return Err(not("a number such as 0.999, without quotes", other)),
        };
        let millionths = number.parse::<f64>().map(|ratio| (ratio * 1e6).round()).ok();
        match millionths.filter(|number| (900_000.0..=999_999.0).contains(number)) {
            Some(number) => Ok(Self(number as u32)),
            None => Err(format!("{number} is not allowed; use 0.9 to 0.999999, such as 0.999")),
        }
    }
}

/// Reads `[service.slo]`; nothing where no objective is stated.
pub fn read(service: &Section<'_>, faults: &mut Faults) -> Option<Objective> {
    service.table("slo", &SLO, faults)?.take("objective", faults).map(|found| found.value)
}

#[cfg(test)]
mod tests {
    use super::Objective;
    use crate::config::file::parse;

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
    fn each_mistake_is_told_at_its_key() {
        for text in ["1", "0.89", "0.9999999", "99.9", "-0.9", "nan"] {
            let errors = read(&format!("objective = {text}")).unwrap_err();
            assert!(errors.contains("x:5:13: service[0].slo.objective: ") && errors.contains("use 0.9 to"), "{errors}");
        }
        assert!(read("objective = \"0.999\"").unwrap_err().contains("without quotes, not a text"));
        assert!(read("target = 0.999").unwrap_err().contains("slo.target: is not a known key"));
    }
}
