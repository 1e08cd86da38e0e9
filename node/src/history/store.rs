//! The history on the disk: a redb file, each second's news one transaction that is durable when it is done.

use super::bucket::{Bucket, Width};
use super::timeline::{Moment, State};
use anyhow::{Context, bail};
use quorate_core::UnixMs;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

const FILE: &str = "history.redb";
/// What redb may keep in memory.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// How often is looked for what is too old, milliseconds.
const PRUNE_EVERY_MS: u64 = 10 * 60 * 1000;
/// Rows that one look removes at most, so that no second's writing takes long.
const PRUNE_ROWS: usize = 20_000;
/// What a disk must take before a file that it failed is opened anew.
const TRIAL_BYTES: usize = 64 * 1024;
const CLOSED: &str = "the history's file could not be opened anew since it failed";

type Rows = TableDefinition<'static, (&'static str, u64), &'static [u8]>;
const FIVE_MINUTES: Rows = TableDefinition::new("probes_5m");
const HOURS: Rows = TableDefinition::new("probes_1h");
const MOMENTS: Rows = TableDefinition::new("states");
const NOTES: TableDefinition<'static, &'static str, u64> = TableDefinition::new("notes");
/// When the agent last wrote.
const ALIVE: &str = "alive";
/// How the rows are written. A file without the note is of format 1.
const FORMAT_NOTE: &str = "format";
const FORMAT: u64 = 1;

fn table(width: Width) -> Rows {
    match width {
        Width::FiveMinutes => FIVE_MINUTES,
        Width::Hour => HOURS,
    }
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// None when it could not be opened anew.
    database: RwLock<Option<Database>>,
    /// Has it failed? Then redb refuses all that follows, until the file is opened anew.
    failed: AtomicBool,
    max_bytes: u64,
    pruned: AtomicU64,
}

fn create(path: &Path) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create(path)
}

/// Is it the file that is at fault? Not the disk, nor another process that holds it.
fn is_damaged(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => false,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => true,
    }
}

impl Store {
    /// Opens the file in `dir`, or begins it. One that is damaged is renamed and begun anew: no history is worth an agent.
    ///
    /// # Errors
    /// When none can be made, or a later release has written it, or it cannot be had now; then it is left as it is.
    pub fn open(dir: &Path, max_bytes: u64) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let database = match create(&path) {
            Ok(database) => database,
            Err(error) if !is_damaged(&error) => return Err(error).with_context(|| path.display().to_string()),
            Err(error) => {
                let aside = path.with_extension("damaged");
                tracing::error!(%error, aside = %aside.display(), "the history cannot be read; it is put aside and begun anew");
                std::fs::rename(&path, &aside).with_context(|| path.display().to_string())?;
                create(&path).with_context(|| path.display().to_string())?
            }
        };
        let write = database.begin_write()?;
        for rows in [FIVE_MINUTES, HOURS, MOMENTS] {
            write.open_table(rows)?;
        }
        {
            let mut notes = write.open_table(NOTES)?;
            let found = notes.get(FORMAT_NOTE)?.map_or(1, |found| found.value());
            if found > FORMAT {
                bail!(
                    "{} has format {found}, this release knows up to {FORMAT}: run the release that wrote it, or move the file away",
                    path.display()
                );
            }
            notes.insert(FORMAT_NOTE, FORMAT)?;
        }
        write.commit()?;
        let (database, failed, pruned) = (RwLock::new(Some(database)), AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { path, database, failed, max_bytes, pruned })
    }

    /// Did the last writing fail?
    pub fn is_failing(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// As after a failure of the disk.
    #[cfg(test)]
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file anew, once the disk takes something again: until then what redb still knows can be read.
    fn open_again(&self) -> anyhow::Result<()> {
        let trial = self.path.with_extension("trial");
        let tried = std::fs::write(&trial, vec![0; TRIAL_BYTES]);
        let _ = std::fs::remove_file(&trial);
        tried.with_context(|| trial.display().to_string())?;
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Nobody can have it twice.
        drop(database.take());
        *database = Some(create(&self.path).with_context(|| self.path.display().to_string())?);
        Ok(())
    }

    /// The file's size.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Between its last word and now the agent did not run: nobody is charged for that time.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close_the_gap(&self, now: UnixMs) -> anyhow::Result<()> {
        let database = self.database();
        let write = database.as_ref().context(CLOSED)?.begin_write()?;
        {
            let mut notes = write.open_table(NOTES)?;
            let alive = notes.get(ALIVE)?.map(|found| found.value());
            let mut moments = write.open_table(MOMENTS)?;
            let mut last: BTreeMap<String, Moment> = BTreeMap::new();
            for row in moments.iter()? {
                let (key, value) = row?;
                last.insert(key.value().0.to_owned(), serde_json::from_slice(value.value())?);
            }
            for (instance, moment) in last.iter().filter(|(_, moment)| moment.state != State::Absent) {
                let at = alive.map_or(moment.at, UnixMs).max(UnixMs(moment.at.0 + 1));
                let absent = serde_json::to_vec(&Moment { at, state: State::Absent, class: None })?;
                moments.insert((instance.as_str(), at.0), absent.as_slice())?;
            }
            notes.insert(ALIVE, now.0)?;
        }
        write.commit()?;
        Ok(())
    }

    /// Writes the news of a second, and removes what is too old or too much. After a failure the file is opened anew before the next one.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is there then.
    pub fn write(
        &self,
        buckets: &BTreeMap<(Width, String, u64), Bucket>,
        moments: &[(String, Moment)],
        now: UnixMs,
    ) -> anyhow::Result<()> {
        if self.is_failing() {
            self.open_again()?;
        }
        let written = self.commit(buckets, moments, now);
        self.failed.store(written.is_err(), Ordering::Relaxed);
        written
    }

    fn commit(
        &self,
        buckets: &BTreeMap<(Width, String, u64), Bucket>,
        moments: &[(String, Moment)],
        now: UnixMs,
    ) -> anyhow::Result<()> {
        let database = self.database();
        let write = database.as_ref().context(CLOSED)?.begin_write()?;
        for width in Width::ALL {
            let mut rows = write.open_table(table(width))?;
            for ((_, instance, start), bucket) in buckets.iter().filter(|((of, ..), _)| *of == width) {
                let key = (instance.as_str(), *start);
                let mut whole: Bucket = match rows.get(key)? {
                    Some(known) => serde_json::from_slice(known.value())?,
                    None => Bucket::default(),
                };
                whole.merge(bucket);
                rows.insert(key, serde_json::to_vec(&whole)?.as_slice())?;
            }
        }
        {
            let mut rows = write.open_table(MOMENTS)?;
            for (instance, moment) in moments {
                rows.insert((instance.as_str(), moment.at.0), serde_json::to_vec(moment)?.as_slice())?;
            }
            write.open_table(NOTES)?.insert(ALIVE, now.0)?;
        }
        if now.0.saturating_sub(self.pruned.load(Ordering::Relaxed)) >= PRUNE_EVERY_MS {
            self.pruned.store(now.0, Ordering::Relaxed);
            self.prune(&write, now)?;
        }
        write.commit()?;
        Ok(())
    }

    /// Removes what is older than it is kept; when the file is larger than it may be, the older half of the buckets too. redb uses the room again.
    fn prune(&self, write: &WriteTransaction, now: UnixMs) -> anyhow::Result<()> {
        let too_large = self.bytes() > self.max_bytes;
        for width in Width::ALL {
            let kept = u64::try_from(width.kept().as_millis()).unwrap_or(u64::MAX);
            let kept = if too_large { kept / 2 } else { kept };
            remove_before(write, table(width), now.0.saturating_sub(kept), false)?;
        }
        let kept = u64::try_from(super::MAX_AGE.as_millis()).unwrap_or(u64::MAX);
        remove_before(write, MOMENTS, now.0.saturating_sub(kept), true)
    }

    /// The buckets of an instance between two times, by when they begin.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn buckets(
        &self,
        instance: &str,
        width: Width,
        from: UnixMs,
        to: UnixMs,
    ) -> anyhow::Result<BTreeMap<u64, Bucket>> {
        let database = self.database();
        let rows = database.as_ref().context(CLOSED)?.begin_read()?.open_table(table(width))?;
        let mut found = BTreeMap::new();
        for row in rows.range((instance, width.start(from))..(instance, to.0))? {
            let (key, value) = row?;
            found.insert(key.value().1, serde_json::from_slice(value.value())?);
        }
        Ok(found)
    }

    /// The states of an instance between two times, and before them the one it had at the first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn moments(&self, instance: &str, from: UnixMs, to: UnixMs) -> anyhow::Result<Vec<Moment>> {
        let database = self.database();
        let rows = database.as_ref().context(CLOSED)?.begin_read()?.open_table(MOMENTS)?;
        let mut found = Vec::new();
        if let Some(row) = rows.range((instance, 0)..=(instance, from.0))?.next_back() {
            found.push(serde_json::from_slice(row?.1.value())?);
        }
        for row in rows.range((instance, from.0 + 1)..(instance, to.0.max(from.0 + 1)))? {
            found.push(serde_json::from_slice(row?.1.value())?);
        }
        Ok(found)
    }
}

/// Removes rows from before `horizon`. `keep_last`: not the last one of an instance before it, which tells what was at the horizon; unless
/// that is nothing.
fn remove_before(write: &WriteTransaction, rows: Rows, horizon: u64, keep_last: bool) -> anyhow::Result<()> {
    let mut rows = write.open_table(rows)?;
    let mut old: Vec<(String, u64)> = Vec::new();
    // The last row from before the horizon that was seen, and whether it may go although no other comes after it.
    let mut last: Option<(String, u64, bool)> = None;
    for row in rows.iter()? {
        let (key, value) = row?;
        let (instance, at) = key.value();
        if at >= horizon {
            continue;
        }
        let goes = !keep_last || serde_json::from_slice::<Moment>(value.value())?.state == State::Absent;
        if let Some((before, at, goes)) = last.replace((instance.to_owned(), at, goes))
            && (goes || before == instance)
        {
            old.push((before, at));
        }
        if old.len() >= PRUNE_ROWS {
            break;
        }
    }
    old.extend(last.filter(|(.., goes)| *goes).map(|(instance, at, _)| (instance, at)));
    for (instance, at) in &old {
        rows.remove((instance.as_str(), *at))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(path: &Path, format: Option<u64>) -> Option<u64> {
        let database = Database::create(path).unwrap();
        let write = database.begin_write().unwrap();
        let before = {
            let mut notes = write.open_table(NOTES).unwrap();
            let before = match format {
                Some(format) => notes.insert(FORMAT_NOTE, format).unwrap(),
                None => notes.remove(FORMAT_NOTE).unwrap(),
            };
            before.map(|found| found.value())
        };
        write.commit().unwrap();
        before
    }

    #[test]
    fn a_history_without_a_number_is_read_and_a_later_one_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        // The rows as they are written since the first format, in their own words.
        let moment = br#"{"at":1700000000000,"state":"up","class":null}"#;
        drop(Store::open(dir.path(), 1 << 20).unwrap());
        assert_eq!(note(&path, None), Some(1));
        let database = Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(MOMENTS).unwrap().insert(("web@1", 1_700_000_000_000), moment.as_slice()).unwrap();
        write.commit().unwrap();
        drop(database);

        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let moments = store.moments("web@1", UnixMs(0), UnixMs(1_800_000_000_000)).unwrap();
        assert_eq!((moments.len(), moments[0].at), (1, UnixMs(1_700_000_000_000)));
        drop(store);

        assert_eq!(note(&path, Some(2)), Some(1));
        let refused = Store::open(dir.path(), 1 << 20).unwrap_err().to_string();
        assert!(refused.contains("has format 2, this release knows up to 1"), "{refused}");
        assert_eq!(note(&path, Some(1)), Some(2), "it was left as it was");
    }

    #[test]
    fn a_file_that_another_has_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let _store = Store::open(dir.path(), 1 << 20).unwrap();
        assert!(Store::open(dir.path(), 1 << 20).is_err());
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [FILE]);
    }

    #[test]
    fn a_file_that_failed_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let trial = dir.path().join("history.trial");
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let write = |at| {
            let moment = Moment { at: UnixMs(at), state: State::Up, class: None };
            store.write(&BTreeMap::new(), &[("web@1".to_owned(), moment)], UnixMs(at))
        };
        let known = || store.moments("web@1", UnixMs(0), UnixMs(9_000)).map(|moments| moments.len());
        write(1_000).unwrap();
        store.fail();
        // The disk takes nothing yet.
        std::fs::create_dir(&trial).unwrap();
        assert!(write(2_000).is_err());
        assert_eq!(known().unwrap(), 1, "what is known can be read");
        std::fs::remove_dir(&trial).unwrap();
        write(3_000).unwrap();
        assert_eq!(known().unwrap(), 2);
        // It could be closed, and not be opened.
        store.fail();
        drop(store.database.write().unwrap().take());
        assert!(known().is_err());
        write(4_000).unwrap();
        assert_eq!(known().unwrap(), 3);
        assert!(!trial.exists());
    }
}
