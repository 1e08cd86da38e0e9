//! Where outcomes go: the standard output, and files. What is told on the way goes to the standard error.

use anyhow::{Context, bail};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Prints a line, or several.
///
/// # Errors
/// When the standard output takes no more, for another reason than that its reader has seen enough.
pub fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("the outcome could not be printed"),
    }
}

/// Tells on the standard error how it goes. Nothing depends on whether anybody reads it.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints one JSON object.
///
/// # Errors
/// As [`print()`].
pub fn print_json(outcome: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(outcome)?)
}

/// A new file, in place of what was there.
///
/// # Errors
/// Names the file that cannot be written.
pub fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| cannot_write(path))?;
    Ok(BufWriter::new(file))
}

/// Can the file, if any, be written at the end? Long work is not begun when its outcome could not be kept. What is there stays as it is.
///
/// # Errors
/// Names the file that cannot be written.
pub fn ensure_writable(path: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let there = path.metadata();
    if there.as_ref().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        // A pipe or a device: whoever reads it would take this for all there is.
        return Ok(());
    }
    File::options().append(true).create(true).open(path).with_context(|| cannot_write(path))?;
    if there.is_err() {
        // Behind a link to a file that is not there it is that which has been made.
        let made = path.canonicalize().with_context(|| cannot_write(path))?;
        std::fs::remove_file(made).with_context(|| cannot_write(path))?;
    }
    Ok(())
}

/// Writes a whole file.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| cannot_write(path))
}

/// What is said of a file that cannot be written.
pub fn cannot_write(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let hint = if folder.is_some_and(|folder| !folder.is_dir()) { "; there is no such folder" } else { "" };
    format!("{} cannot be written{hint}", path.display())
}

/// What is read stays, and what is written goes to a file each.
///
/// # Errors
/// Names two of `paths` that are the same file.
pub fn ensure_distinct(paths: &[(&str, Option<&Path>)]) -> anyhow::Result<()> {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (name, path) in paths.iter().filter_map(|(name, path)| Some((*name, (*path)?))) {
        // One that is not there yet is known by its folder.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let placed = |folder: PathBuf| path.file_name().map_or_else(|| path.to_owned(), |file| folder.join(file));
        let real =
            path.canonicalize().or_else(|_| folder.canonicalize().map(placed)).unwrap_or_else(|_| path.to_owned());
        // A device, such as the terminal, takes what it is given.
        let shared = std::fs::metadata(&real).is_ok_and(|there| !there.is_file());
        if let Some((other, _)) = seen.iter().find(|(_, known)| !shared && *known == real) {
            bail!("{other} and {name} are the same file, {}: give each its own", path.display());
        }
        seen.push((name, real));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_file_can_be_written_is_found_without_changing_anything() {
        let folder = std::env::temp_dir().join(format!("quorate-sim-writable-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (old, new) = (folder.join("old"), folder.join("new"));
        write(&old, "kept").unwrap();
        for path in [None, Some(old.as_path()), Some(new.as_path())] {
            ensure_writable(path).unwrap();
        }
        assert!(!new.exists() && std::fs::read_to_string(&old).unwrap() == "kept");
        let link = folder.join("link");
        std::os::unix::fs::symlink("new", &link).unwrap();
        ensure_writable(Some(&link)).unwrap();
        assert!(link.is_symlink() && !new.exists(), "the link is still one to nothing");
        for path in [folder.clone(), folder.join("none/new")] {
            let error = ensure_writable(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        assert!(ensure_writable(Some(&folder.join("none/new"))).unwrap_err().to_string().contains("no such folder"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn nothing_is_written_over_what_is_read_or_written_beside_it() {
        let folder = std::env::temp_dir().join(format!("quorate-sim-distinct-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (plan, new, again) =
            (folder.join("plan"), folder.join("new"), folder.join("../").join(folder.file_name().unwrap()).join("new"));
        write(&plan, "").unwrap();
        let both = |one: &Path, other: &Path| {
            ensure_distinct(&[("PLAN", Some(one)), ("--trace", Some(other)), ("--report", None)])
        };
        both(&plan, &new).unwrap();
        for (one, other) in [(&plan, &plan), (&new, &new), (&new, &again)] {
            let error = both(one, other).unwrap_err().to_string();
            assert!(error.starts_with("PLAN and --trace are the same file"), "{error}");
        }
        both(Path::new("/dev/null"), Path::new("/dev/null")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
