//! Colour, and the cleaning of text that others wrote.
//!
//! Text is inked with marks of no width (invisible operators of Unicode), so that a table is laid out as if it had no colour; at the very end
//! the marks become escape sequences on a terminal, and nothing elsewhere. What comes from a peer is cleaned first: it can neither bring
//! marks of its own nor control the terminal.

use crate::answers::{BreakerState, Membership, Status};
use quorate_core::Verdict;
use std::io::IsTerminal;

const END: char = '\u{2060}';
const MARKS: [char; 5] = ['\u{2061}', '\u{2062}', '\u{2063}', '\u{2064}', END];

/// What a piece of text is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Broken.
    Red,
    /// Deserves attention.
    Yellow,
    /// Well.
    Green,
    /// Of less weight.
    Dim,
}

impl Ink {
    fn mark(self) -> char {
        match self {
            Self::Red => MARKS[0],
            Self::Yellow => MARKS[1],
            Self::Green => MARKS[2],
            Self::Dim => MARKS[3],
        }
    }

    /// `text` in this ink; it is cleaned on the way.
    pub fn on(self, text: &str) -> String {
        format!("{}{}{END}", self.mark(), clean(text))
    }

    /// The ink of a verdict.
    pub fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Up => Self::Green,
            Verdict::Down => Self::Red,
            Verdict::Draining | Verdict::Maintenance => Self::Dim,
            Verdict::Starting | Verdict::Degraded | Verdict::Partial | Verdict::Unknown => Self::Yellow,
        }
    }

    /// The ink of a status.
    pub fn of_status(status: Status) -> Self {
        match status {
            Status::Up => Self::Green,
            Status::Down => Self::Red,
            Status::Starting | Status::Degraded | Status::Unknown => Self::Yellow,
        }
    }

    /// The ink of a member's state.
    pub fn of_membership(state: Membership) -> Self {
        match state {
            Membership::Alive => Self::Green,
            Membership::Suspect => Self::Yellow,
            Membership::Failed => Self::Red,
            Membership::Left => Self::Dim,
        }
    }

    /// The ink of a breaker's state.
    pub fn of_breaker(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Green,
            BreakerState::HalfOpen => Self::Yellow,
            BreakerState::Open => Self::Red,
        }
    }
}

/// `text` without control characters and without marks.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !MARKS.contains(c))
        .map(|c| if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) { ' ' } else { c })
        .collect()
}

/// Turns marks into escape sequences, or drops them.
pub fn render(inked: &str, colour: bool) -> String {
    let mut text = String::with_capacity(inked.len());
    for c in inked.chars() {
        match MARKS.iter().position(|mark| *mark == c) {
            None => text.push(c),
            Some(place) if colour => text.push_str(["\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[0m"][place]),
            Some(_) => {}
        }
    }
    text
}

/// Is colour wanted on standard output: a terminal that has any, and no `NO_COLOR`?
pub fn colour_wanted() -> bool {
    std::io::stdout().is_terminal() && is_wanted(|name| std::env::var(name).unwrap_or_default())
}

/// The same, as the environment says it.
fn is_wanted(variable: impl Fn(&str) -> String) -> bool {
    variable("NO_COLOR").is_empty() && variable("TERM") != "dumb"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_is_for_terminals_only() {
        let text = Ink::Red.on("down");
        assert_eq!(render(&text, false), "down");
        assert_eq!(render(&text, true), "\x1b[31mdown\x1b[0m");
    }

    #[test]
    fn who_wants_no_colour_gets_none() {
        let wanted = |no_color: &str, term: &str| {
            is_wanted(|name| if name == "NO_COLOR" { no_color.to_owned() } else { term.to_owned() })
        };
        assert!(wanted("", "xterm") && wanted("", ""));
        assert!(!wanted("1", "xterm") && !wanted("0", "xterm") && !wanted("", "dumb"));
    }

    #[test]
    fn others_cannot_control_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\n\u{2061}c\u{202e}"), "a [2Jb c ");
    }
}
