//! A file that is begun anew when it is full: `name`, and before it `name.1` to `name.N`, the oldest last. Small enough to be our own: the
//! library that does it brings a second library for dates.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that could not be written, over all files of the process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines could not be written.
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Such a file. Cheap to clone; a line is written as a whole.
#[derive(Debug, Clone)]
pub struct Rotated(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Does it end within a line?
    torn: bool,
    max_bytes: u64,
    max_files: u32,
}

impl Rotated {
    /// Goes on with the file at `path`, or begins it: at most `max_bytes` in each, and `max_files` beside the one that is written.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, max_bytes: u64, max_files: u32) -> io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        let torn = bytes > 0 && ends_within_a_line(path);
        Ok(Self(Arc::new(Mutex::new(Inner { path: path.to_path_buf(), file, bytes, torn, max_bytes, max_files }))))
    }

    /// Writes one line, with its end.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn line(&self, line: &[u8]) -> io::Result<()> {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line);
        written.inspect_err(|_| {
            LOST.fetch_add(1, Ordering::Relaxed);
        })
    }
}

impl Inner {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes.saturating_add(length) > self.max_bytes {
            self.rotate()?;
        }
        // What a full disk took of an earlier line is a line of its own, and spoils no other.
        let whole = if self.torn { Cow::Owned([b"\n".as_slice(), line].concat()) } else { Cow::Borrowed(line) };
        let (taken, ended) = put(&mut self.file, &whole);
        self.bytes = self.bytes.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        if let Some(last) = whole.get(..taken).and_then(<[u8]>::last) {
            self.torn = *last != b'\n';
        }
        ended
    }

    fn rotate(&mut self) -> io::Result<()> {
        // It is not there when an earlier turn came no further than here: the old ones have moved on already then.
        if fs::exists(&self.path)? {
            self.move_on()?;
        }
        self.file = append(&self.path)?;
        (self.bytes, self.torn) = (0, false);
        Ok(())
    }

    fn move_on(&self) -> io::Result<()> {
        for n in (0..self.max_files).rev() {
            let (from, to) = (self.numbered(n), self.numbered(n + 1));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.max_files == 0 {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }

    fn numbered(&self, n: u32) -> PathBuf {
        if n == 0 {
            return self.path.clone();
        }
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{n}"));
        self.path.with_file_name(name)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// Of what cannot be read nothing is known.
fn ends_within_a_line(path: &Path) -> bool {
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)
    });
    read.is_ok() && last != [b'\n']
}

/// Writes as much as goes; how much that was, and what kept the rest away.
fn put(file: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => taken += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (taken, Err(error)),
        }
    }
    (taken, Ok(()))
}

/// One line on its way.
#[derive(Debug)]
pub struct Line<'a>(&'a Rotated);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.line(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Rotated {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_move_on_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        let log = Rotated::open(&path, 10, 2).unwrap();
        for n in 0..4 {
            log.line(format!("line {n}\n").as_bytes()).unwrap();
        }
        assert_eq!(read("a.log").as_deref(), Some("line 3\n"));
        assert_eq!((read("a.log.1").as_deref(), read("a.log.2").as_deref()), (Some("line 2\n"), Some("line 1\n")));
        assert_eq!(read("a.log.3"), None);
        // The next run goes on with what is there; a line longer than a file has one of its own.
        let log = Rotated::open(&path, 10, 2).unwrap();
        log.line(b"x\n").unwrap();
        assert_eq!(read("a.log").as_deref(), Some("line 3\nx\n"));
        log.line(b"a very long line\n").unwrap();
        assert_eq!(read("a.log").as_deref(), Some("a very long line\n"));
    }

    #[test]
    fn a_line_that_is_lost_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let log = Rotated::open(&path, 10, 1).unwrap();
        log.line(b"123456789\n").unwrap();
        fs::create_dir_all(dir.path().join("a.log.1").join("in the way")).unwrap();
        let before = lost_lines();
        assert!(log.line(b"next\n").is_err());
        assert!(lost_lines() > before);
    }

    /// A disk with room for so many bytes.
    struct Nearly(usize, Vec<u8>);

    impl Write for Nearly {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.0 - self.1.len());
            self.1.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_part_of_a_line_spoils_no_other() {
        let mut disk = Nearly(4, Vec::new());
        let (taken, ended) = put(&mut disk, b"line 1\n");
        assert_eq!(
            (taken, ended.unwrap_err().kind(), disk.1.as_slice()),
            (4, io::ErrorKind::StorageFull, &b"line"[..])
        );
        let (taken, ended) = put(&mut Nearly(9, Vec::new()), b"line 1\n");
        assert!(taken == 7 && ended.is_ok());

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        fs::write(&path, "line 0\nli").unwrap();
        let log = Rotated::open(&path, 100, 1).unwrap();
        log.line(b"line 2\n").unwrap();
        log.line(b"line 3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 0\nli\nline 2\nline 3\n");
    }

    #[test]
    fn a_file_that_cannot_be_begun_costs_no_older_one() {
        for max_files in [0, 3] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.log");
            let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
            let log = Rotated::open(&path, 10, max_files).unwrap();
            for n in 0..4 {
                log.line(format!("line {n}\n").as_bytes()).unwrap();
            }
            // As when the process had no file to spare: the full one has moved on, and the next is not there.
            log.0.lock().unwrap().move_on().unwrap();
            assert_eq!(read("a.log"), None);
            let old = ["a.log.1", "a.log.2", "a.log.3"].map(read);
            log.line(b"line 4\n").unwrap();
            assert_eq!(read("a.log").as_deref(), Some("line 4\n"));
            assert_eq!(["a.log.1", "a.log.2", "a.log.3"].map(read), old);
        }
    }
}
