//! Which files of the data directory could not be stored when they last were to be: what an agent says of its disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The files whose last write failed, with the reasons; as many at most as an agent stores. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Storing(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl Storing {
    /// A file was written, or could not be. What is said of it holds until it is written again.
    pub fn note<T>(&self, path: &Path, written: &io::Result<T>) {
        match written {
            Ok(_) => drop(self.lock().remove(path)),
            Err(error) => drop(self.lock().insert(path.to_path_buf(), error.to_string())),
        }
    }

    /// Could this file not be written the last time?
    pub fn fails(&self, path: &Path) -> bool {
        self.lock().contains_key(path)
    }

    /// How many could not.
    pub fn failing(&self) -> usize {
        self.lock().len()
    }

    /// Every one of them and why, in words; nothing while all is well.
    pub fn fault(&self) -> Option<String> {
        let failing = self.lock();
        let said: Vec<_> =
            failing.iter().map(|(path, error)| format!("{} cannot be stored: {error}", path.display())).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_fails_until_it_is_written_again() {
        let storing = Storing::default();
        let (state, words) = (Path::new("/data/state.bin"), Path::new("/data/pushes.json"));
        let full = || Err::<(), _>(io::Error::from_raw_os_error(28));
        assert_eq!((storing.fault(), storing.failing()), (None, 0));
        storing.note(words, &full());
        storing.note(state, &full());
        storing.note(state, &full());
        assert_eq!((storing.fails(state), storing.failing()), (true, 2));
        storing.note(state, &Ok(()));
        assert_eq!((storing.fails(state), storing.fails(words)), (false, true), "another file is another matter");
        let said = "/data/pushes.json cannot be stored: No space left on device (os error 28)";
        assert_eq!(storing.clone().fault().as_deref(), Some(said));
        storing.note(words, &Ok(()));
        assert_eq!(storing.fault(), None);
    }
}
