//! The table: what the paper says, what plain foca does, what the mesh does, and what it is to do.

use serde::Serialize;
use std::fmt::Write as _;
use std::ops::Range;

/// A figure with the spread of the runs behind it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cell {
    /// As shown.
    pub text: String,
    /// The median; none when nothing was measured or it never happened.
    pub median: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// How many were measured.
    pub count: usize,
}

/// Something that does not apply.
pub fn none() -> Cell {
    Cell { text: "-".to_owned(), ..Cell::default() }
}

/// Words.
pub fn words(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), ..Cell::default() }
}

/// One number.
pub fn number(value: f64, unit: &str) -> Cell {
    Cell { text: format!("{}{unit}", shown(value)), median: Some(value), max: Some(value), count: 1 }
}

/// The median of many, with least and greatest and their number. A missing one never happened within `limit`, and sorts behind all.
pub fn spread(values: &[Option<f64>], unit: &str, limit: &str) -> Cell {
    let mut sorted: Vec<f64> = values.iter().map(|value| value.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return none() };
    let show = |value: f64| if value.is_finite() { format!("{}{unit}", shown(value)) } else { format!("> {limit}") };
    let (median, max) = (sorted[last.div_ceil(2)], sorted[last]);
    let text = if last == 0 {
        show(median)
    } else {
        format!("{} ({} to {}, n = {})", show(median), show(sorted[0]), show(max), last + 1)
    };
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    Cell { text, median: finite(median), max: finite(max), count: last + 1 }
}

/// A number with as many digits as matter.
pub fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
                    grouped.push(' ');
                }
                grouped.push(digit);
            }
            grouped
        }
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// One figure, side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// What the paper says.
    pub paper: String,
    /// Plain foca.
    pub foca: Cell,
    /// The mesh.
    pub quorate: Cell,
    /// What it is to reach.
    pub goal: String,
    /// Does it?
    pub met: Option<bool>,
}

impl Row {
    /// A row without a goal.
    pub fn new(what: impl Into<String>, paper: impl Into<String>, foca: Cell, quorate: Cell) -> Self {
        Self { what: what.into(), paper: paper.into(), foca, quorate, goal: String::new(), met: None }
    }

    /// With a goal.
    pub fn goal(self, goal: impl Into<String>, met: bool) -> Self {
        Self { goal: goal.into(), met: Some(met), ..self }
    }

    fn verdict(&self) -> String {
        match self.met {
            None => String::new(),
            Some(true) => format!("{}: met", self.goal),
            Some(false) => format!("{}: MISSED", self.goal),
        }
    }
}

/// One experiment's rows.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// How it was done: sizes, seeds, durations.
    pub how: String,
    /// What came of it.
    pub rows: Vec<Row>,
    /// How long it took, in real seconds.
    pub wall_s: f64,
}

impl Section {
    /// Was every goal met?
    pub fn met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }

    /// For people, and for the document.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n\n", self.title, self.how);
        text.push_str("| | paper | plain foca | Quorate | goal |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            let (foca, quorate) = (&row.foca.text, &row.quorate.text);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {} | {foca} | {quorate} | {} |", row.what, row.paper, row.verdict());
        }
        text
    }
}

/// The part of `document` that belongs to the section of this name: what stands between its two marks.
///
/// # Errors
/// When the marks are not there.
pub fn part(document: &str, name: &str) -> anyhow::Result<Range<usize>> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let place = |mark: &str| {
        document.find(mark).ok_or_else(|| anyhow::anyhow!("the document has no line {:?}", mark.trim_end()))
    };
    let (from, to) = (place(&begin)? + begin.len(), place(&end)?);
    anyhow::ensure!(from <= to, "the marks of {name:?} are in the wrong order");
    Ok(from..to)
}

/// Replaces the part of `document` that belongs to a section.
///
/// # Errors
/// As [`part`].
pub fn replace(document: &str, section: &Section) -> anyhow::Result<String> {
    let part = part(document, section.name)?;
    Ok(format!("{}{}{}", &document[..part.start], section.markdown(), &document[part.end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_show_what_never_happened() {
        assert_eq!(spread(&[Some(2.0)], " s", "60 s").text, "2 s");
        let cell = spread(&[Some(1.5), None, Some(0.5)], " s", "60 s");
        assert_eq!(cell.text, "1.50 s (0.50 s to > 60 s, n = 3)");
        assert_eq!((cell.median, cell.max), (Some(1.5), None));
        assert_eq!(spread(&[], " s", ""), none());
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.123, 12.34, 123.4, 9999.0, 106_919.0, 1_234_567.0];
        assert_eq!(all.map(shown), ["0", "0.12", "12.3", "123", "9999", "106 919", "1 234 567"]);
    }

    #[test]
    fn a_section_replaces_only_its_own_part() {
        let rows = vec![Row::new("x", "1", number(2.0, " s"), number(3.0, " s")).goal("4 s", true)];
        let section = Section { name: "heal", title: "T", how: "h".to_owned(), rows, wall_s: 0.0 };
        let document = "a\n<!-- heal -->\nold\n<!-- end of heal -->\nb\n";
        let new = replace(document, &section).unwrap();
        assert!(new.starts_with("a\n<!-- heal -->\n### T\n") && new.ends_with("<!-- end of heal -->\nb\n"));
        assert!(new.contains("| x | 1 | 2 s | 3 s | 4 s: met |") && !new.contains("old"));
        assert_eq!(replace(&new, &section).unwrap(), new);
        assert!(replace("nothing", &section).is_err());
    }
}
