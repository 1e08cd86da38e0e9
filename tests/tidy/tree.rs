//! The files of the repository.

use std::path::{Path, PathBuf};

/// Folders that are made, not written.
const MADE: [&str; 6] = [".git", "target", "output", "corpus", "artifacts", "node_modules"];

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the repository").to_path_buf()
}

/// One file of the repository that is text.
pub struct Text {
    /// Relative to the root, with `/`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// Every text file, ordered by path; what is not UTF-8 is no text.
pub fn texts() -> Vec<Text> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder").map(|entry| entry.expect("an entry")) {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().expect("its type");
            // In a second work tree `.git` is a file.
            if MADE.iter().any(|made| name == *made) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_none_or(|extension| extension != "log") {
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                let path = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                found.push(Text { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every text file whose name ends in `suffix`.
pub fn texts_ending(suffix: &str) -> Vec<Text> {
    texts().into_iter().filter(|file| file.path.ends_with(suffix)).collect()
}

/// Fails with one fault per line.
pub fn report(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}\n", faults.join("\n  "));
}
