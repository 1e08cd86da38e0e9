//! Links between the documents lead somewhere: files exist, and headings do.

use crate::tree::{report, root, texts_ending};
use regex::Regex;
use std::path::{Path, PathBuf};

#[test]
fn relative_links_resolve() {
    let link = Regex::new(r"\]\(<?([^)>\s]+)>?\)").expect("a pattern");
    let mut faults = Vec::new();
    for file in texts_ending(".md") {
        let here = root().join(&file.path);
        for (number, line) in outside_code(&file.text) {
            for target in link.captures_iter(line).map(|found| found[1].to_owned()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
                let target_file = if path.is_empty() { here.clone() } else { beside(&here, path) };
                if !target_file.exists() {
                    faults.push(format!("{}:{number}: {target} does not exist", file.path));
                } else if !heading.is_empty() && !has_heading(&target_file, heading) {
                    faults.push(format!("{}:{number}: no heading for {target}", file.path));
                }
            }
        }
    }
    report("relative links resolve", &faults);
}

fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().expect("a folder").join(path)
}

/// The lines that are not in a fenced block, numbered from one.
fn outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        (!fenced).then_some((index + 1, line))
    })
}

fn has_heading(file: &Path, wanted: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    outside_code(&text).any(|(_, line)| line.starts_with('#') && anchor(line.trim_start_matches('#')) == wanted)
}

/// How a heading is named in a link: small letters, words joined by dashes, other marks gone.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
