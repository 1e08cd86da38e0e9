//! A table without borders, and the line under it that says how far the answer goes.

use super::span;
use super::style::{Ink, clean};
use crate::answers::ViewAnswer;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write;

/// A picture older than this is called out: an agent refreshes its picture several times a second.
const OLD_VIEW_MS: u64 = 5_000;
/// Longest cell of free text, in characters; the whole of it is in the JSON.
const CELL_MAX_CHARS: usize = 60;

/// Lays out rows under headings; columns named in `right` are aligned to the right. Cells may be inked.
pub fn layout(headings: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for (place, line) in table.to_string().lines().enumerate() {
        let line = line.trim_end();
        match place {
            0 => text.push_str(&Ink::Dim.on(line)),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Free text as a cell: cleaned, on one line, and not too long.
pub fn cell(text: &str) -> String {
    let text = clean(text);
    if text.chars().count() <= CELL_MAX_CHARS {
        return text;
    }
    let mut short: String = text.chars().take(CELL_MAX_CHARS - 1).collect();
    short.push('…');
    short
}

/// What must be read before the answer itself; empty when the answer can be taken as it stands.
pub fn banner(view: &ViewAnswer) -> String {
    let mut text = String::new();
    let mut warn = |ink: Ink, line: String| {
        let _infallible = writeln!(text, "{}", ink.on(&line));
    };
    let name = &view.name;
    if !view.quorate {
        let since = span::since(&view.quorate_since, &view.at);
        let (alive, roster) = (view.alive, view.roster);
        let few = alive * 2 <= roster;
        let (why, what) = if few {
            (
                format!("reaches {alive} of {roster} members, which is not more than half"),
                " Ask an agent on the other side.",
            )
        } else {
            ("has not made sure yet whom it reaches".to_owned(), "")
        };
        warn(Ink::Red, format!("*** NOT QUORATE{since}: {name} {why}. ***"));
        warn(Ink::Red, format!("*** It keeps the last verdicts and decides nothing new.{what} ***"));
    }
    if view.age_ms > OLD_VIEW_MS {
        let age = span::words(view.age_ms);
        warn(Ink::Red, format!("*** STALE: {name} made sure of this picture {age} ago; it may hang. ***"));
    }
    if view.stale_instances > 0 {
        let count = view.stale_instances;
        let what = if count == 1 { "1 verdict".to_owned() } else { format!("{count} verdicts") };
        warn(Ink::Yellow, format!("*** STALE: {what} cannot be confirmed; too few observers can be heard. ***"));
    }
    if !view.settled {
        warn(Ink::Yellow, format!("*** {name} has not caught up with the mesh yet. ***"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Who answers, how fresh that is, how many members it sees, and whether it is quorate.
pub fn footer(view: &ViewAnswer) -> String {
    let quorate = if view.quorate { "quorate" } else { "NOT quorate" };
    let words = format!(
        "{} ({}) answers, {} old; {}/{} members alive; {quorate}",
        view.name,
        view.agent,
        span::words(view.age_ms),
        view.alive,
        view.roster,
    );
    let ink = if view.quorate { Ink::Dim } else { Ink::Red };
    format!("{}\n", ink.on(&words))
}
