//! Where outcomes go: the standard output, and files. What is told on the way goes to the standard error.

use anyhow::Context;
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

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
    let fresh = !path.exists();
    File::options().append(true).create(true).open(path).with_context(|| cannot_write(path))?;
    if fresh {
        std::fs::remove_file(path).with_context(|| cannot_write(path))?;
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

fn cannot_write(path: &Path) -> String {
    format!("{} cannot be written; does its folder exist?", path.display())
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
        for path in [folder.clone(), folder.join("none/new")] {
            let error = ensure_writable(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
