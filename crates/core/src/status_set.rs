//! Sets of HTTP status codes, written as `200`, `200-299`, `2xx`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A set of status codes, kept as inclusive ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<StatusItem>", into = "Vec<StatusItem>")]
pub struct StatusSet(Vec<(u16, u16)>);

/// How one member of the set is written in a file: a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StatusItem(u16, u16);

impl StatusSet {
    /// The largest number of ranges in one set.
    pub const MAX_RANGES: usize = 64;

    /// Reads a set from its written items.
    ///
    /// # Errors
    /// Says which item is not a code (100 to 599), a range or a class.
    pub fn parse<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut ranges = Vec::new();
        for item in items {
            ranges.push(range(item.trim()).ok_or_else(|| {
                format!("{item:?} is not a status: write a code (200), a range (200-299) or a class (2xx), within 100 to 599")
            })?);
        }
        Self::checked(ranges)
    }

    fn checked(ranges: Vec<(u16, u16)>) -> Result<Self, String> {
        if ranges.len() > Self::MAX_RANGES {
            return Err(format!("at most {} statuses or ranges", Self::MAX_RANGES));
        }
        Ok(Self(ranges))
    }

    /// These codes.
    #[must_use]
    pub fn of(codes: &[u16]) -> Self {
        Self(codes.iter().map(|code| (*code, *code)).collect())
    }

    /// Is there none in the set?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is `code` in the set?
    #[must_use]
    pub fn contains(&self, code: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&code))
    }
}

fn range(item: &str) -> Option<(u16, u16)> {
    let code = |text: &str| text.parse().ok().filter(|code: &u16| (100..=599).contains(code));
    if let Some(class) = item.strip_suffix("xx").or_else(|| item.strip_suffix("XX")) {
        let class = class.parse().ok().filter(|class: &u16| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    match item.split_once('-') {
        Some((low, high)) => Some((code(low.trim())?, code(high.trim())?)).filter(|(low, high)| low <= high),
        None => code(item).map(|code| (code, code)),
    }
}

impl Default for StatusSet {
    /// `[200]`, the seed's default.
    fn default() -> Self {
        Self(vec![(200, 200)])
    }
}

impl TryFrom<Vec<StatusItem>> for StatusSet {
    type Error = String;
    fn try_from(items: Vec<StatusItem>) -> Result<Self, String> {
        if items.iter().any(|StatusItem(low, high)| low > high || *low < 100 || *high > 599) {
            return Err("a status range lies outside 100 to 599".to_owned());
        }
        Self::checked(items.into_iter().map(|StatusItem(low, high)| (low, high)).collect())
    }
}

impl From<StatusSet> for Vec<StatusItem> {
    fn from(set: StatusSet) -> Self {
        set.0.into_iter().map(|(low, high)| StatusItem(low, high)).collect()
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (low, high)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            if low == high { write!(f, "{comma}{low}")? } else { write!(f, "{comma}{low}-{high}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ranges_and_classes() {
        let set = StatusSet::parse(["200", "301-303", "4xx"]).unwrap();
        for (code, inside) in [(200, true), (201, false), (302, true), (304, false), (404, true), (500, false)] {
            assert_eq!(set.contains(code), inside, "{code}");
        }
        assert_eq!(set.to_string(), "200, 301-303, 400-499");
        for bad in ["", "20", "600", "6xx", "299-200", "x", "-", "200-"] {
            assert!(StatusSet::parse([bad]).is_err(), "{bad}");
        }
        assert!(StatusSet::parse([]).unwrap().is_empty());
    }
}
