//! What callers and operators are told about an instance beside its health: how much of the traffic it should get, by which words it is found,
//! and whether it is being taken out of service on purpose.

use crate::check::CheckError;
use crate::time::UnixMs;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// As its home agent states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its share of the traffic beside others of the service, 0 to [`Placement::MAX_WEIGHT`]; 100 is usual, 0 takes none.
    pub weight: u32,
    /// Words by which it is found, in order, each once.
    pub tags: Vec<String>,
    /// What its operator wants, if anything.
    pub intent: Option<Intent>,
}

impl Default for Placement {
    fn default() -> Self {
        Self { weight: 100, tags: Vec::new(), intent: None }
    }
}

/// An operator's wish for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What is wanted.
    pub kind: IntentKind,
    /// Who wants it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Since when, by the home agent's clock.
    pub since: UnixMs,
    /// Until when; none: until it is taken back.
    pub until: Option<UnixMs>,
}

/// What an operator can want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentKind {
    /// No new traffic; what runs may end.
    Draining,
    /// It is worked on: its health means nothing for now.
    Maintenance,
}

impl IntentKind {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }
}

impl Intent {
    /// Longest owner, in bytes.
    pub const MAX_OWNER_BYTES: usize = 64;
    /// Longest reason, in bytes.
    pub const MAX_REASON_BYTES: usize = 256;

    /// What may be stated at `now` of an instance whose health is `health`. One that is drained and dies is down all the same.
    #[must_use]
    pub fn applied(&self, health: Verdict, now: UnixMs) -> Verdict {
        if self.until.is_some_and(|until| until <= now) {
            return health;
        }
        match (self.kind, health) {
            (IntentKind::Maintenance, _) => Verdict::Maintenance,
            (IntentKind::Draining, Verdict::Up | Verdict::Degraded | Verdict::Partial | Verdict::Starting) => {
                Verdict::Draining
            }
            (IntentKind::Draining, _) => health,
        }
    }
}

impl Placement {
    /// Largest weight.
    pub const MAX_WEIGHT: u32 = 1000;
    /// Most tags.
    pub const MAX_TAGS: usize = 16;
    /// Longest tag, in bytes.
    pub const MAX_TAG_BYTES: usize = 64;

    /// Returns every rule it breaks.
    #[must_use]
    pub fn validate(&self) -> Vec<CheckError> {
        let mut errors = Vec::new();
        let mut add = |key, message: String| errors.push(CheckError { key, message });
        if self.weight > Self::MAX_WEIGHT {
            add("weight", format!("{} is not allowed; use 0 to {}", self.weight, Self::MAX_WEIGHT));
        }
        if self.tags.len() > Self::MAX_TAGS {
            add("tags", format!("are {}; at most {}", self.tags.len(), Self::MAX_TAGS));
        }
        if let Some(tag) = self.tags.iter().find(|tag| !is_tag(tag)) {
            let shown: String = tag.chars().take(80).collect();
            let most = Self::MAX_TAG_BYTES;
            add(
                "tags",
                format!("{shown:?} is not a tag: use 1 to {most} letters, digits, `-`, `_`, `.`, `:`, `=` or `/`"),
            );
        }
        if !self.tags.is_sorted_by(|a, b| a < b) {
            add("tags", "name each tag once, in order".to_owned());
        }
        if let Some(intent) = &self.intent {
            let fits =
                |text: &str, most| !text.trim().is_empty() && text.len() <= most && !text.chars().any(char::is_control);
            if !fits(&intent.owner, Intent::MAX_OWNER_BYTES) {
                add("owner", format!("use 1 to {} bytes without control characters", Intent::MAX_OWNER_BYTES));
            }
            if !intent.reason.is_empty() && !fits(&intent.reason, Intent::MAX_REASON_BYTES) {
                add("reason", format!("use at most {} bytes without control characters", Intent::MAX_REASON_BYTES));
            }
        }
        errors
    }
}

fn is_tag(tag: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:=/".contains(&b);
    (1..=Placement::MAX_TAG_BYTES).contains(&tag.len()) && tag.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(kind: IntentKind) -> Intent {
        let (owner, reason) = ("ann".to_owned(), "new disk".to_owned());
        Intent { kind, owner, reason, since: UnixMs(1), until: Some(UnixMs(100)) }
    }

    #[test]
    fn the_table_of_intents() {
        use Verdict::{Degraded, Down, Draining, Maintenance, Partial, Starting, Unknown, Up};
        let drained = |health| intent(IntentKind::Draining).applied(health, UnixMs(99));
        assert_eq!([Up, Degraded, Partial, Starting].map(drained), [Draining; 4]);
        assert_eq!([Down, Unknown].map(drained), [Down, Unknown], "who is drained and dies is down");
        let maintained = |health| intent(IntentKind::Maintenance).applied(health, UnixMs(99));
        assert_eq!([Up, Down, Unknown].map(maintained), [Maintenance; 3]);
        assert_eq!(intent(IntentKind::Maintenance).applied(Down, UnixMs(100)), Down, "its time is over");
        let endless = Intent { until: None, ..intent(IntentKind::Maintenance) };
        assert_eq!(endless.applied(Up, UnixMs(u64::MAX)), Maintenance);
    }

    #[test]
    fn what_is_not_allowed_is_said() {
        assert!(Placement::default().validate().is_empty());
        let tags = |tags: &[&str]| Placement {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Placement::default()
        };
        assert!(tags(&["blue", "release=7", "team/a"]).validate().is_empty());
        for bad in [tags(&[""]), tags(&["a b"]), tags(&["b", "a"]), tags(&["a", "a"]), tags(&["x"; 17])] {
            assert!(!bad.validate().is_empty(), "{bad:?}");
        }
        let long = Intent { owner: "x".repeat(65), reason: "\n".to_owned(), ..intent(IntentKind::Draining) };
        let bad = Placement { weight: 1001, tags: Vec::new(), intent: Some(long) };
        let keys: Vec<_> = bad.validate().iter().map(|error| error.key).collect();
        assert_eq!(keys, ["weight", "owner", "reason"]);
    }
}
