//! Levels that outlive the process: one line of text per output, `NAME low|high`, in the state directory.
//!
//! Written whole beside the old file, synced and renamed over it, so a power cut leaves the one or the other. An SD
//! card wears: it is written at most once in [`WRITE_INTERVAL`]. And it takes its time, for which no lease's end and no
//! sequence waits: the thread `gpio-keep` writes, and of files that wait for it there is the newest only.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use crate::rt::worker::Worker;
use crate::types::line::Level;

/// Changes within this time are written together.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// What the last file has at the end in any case.
const END: Duration = Duration::from_secs(2);

const FILE: &str = "outputs";

/// Twenty-eight names of 64 bytes and a bit; a longer file is not ours.
const MAX_BYTES: u64 = 64 * 1024;

/// What is to be kept, and whether the disk knows it.
pub struct Persist {
    path: Option<PathBuf>,
    levels: BTreeMap<String, Level>,
    dirty_since: Option<Instant>,
}

impl Persist {
    /// Reads what the last process left. A file that cannot be read is no reason not to start.
    pub fn open(state_dir: Option<&Path>) -> Persist {
        let path = state_dir.map(|dir| dir.join(FILE));
        let levels = path.as_deref().map(read).unwrap_or_default();
        Persist { path, levels, dirty_since: None }
    }

    /// Whether there is somewhere to keep levels.
    pub fn has_place(&self) -> bool {
        self.path.is_some()
    }

    pub fn level(&self, name: &str) -> Option<Level> {
        self.levels.get(name).copied()
    }

    pub fn keep(&mut self, name: &str, level: Level, now: Instant) {
        if self.path.is_some() && self.levels.insert(name.to_owned(), level) != Some(level) {
            self.dirty_since.get_or_insert(now);
        }
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.dirty_since.map(|since| since + WRITE_INTERVAL)
    }

    /// What has to be written now, to be written without any lock held.
    pub fn due(&mut self, now: Instant) -> Option<Pending> {
        if self.next_due()? > now {
            return None;
        }
        self.take()
    }

    /// What has not been written yet, due or not.
    pub fn take(&mut self) -> Option<Pending> {
        self.dirty_since.take()?;
        let text = self.levels.iter().map(|(name, level)| format!("{name} {}\n", level.as_str())).collect();
        Some(Pending { path: self.path.clone()?, text })
    }
}

/// A file to be written.
pub struct Pending {
    path: PathBuf,
    text: String,
}

impl Pending {
    /// Writes it; a disk that does not take it is reported and changes nothing else.
    pub fn write(self) {
        if let Err(error) = self.replace() {
            log::error!("the outputs' levels cannot be kept in '{}': {error}", self.path.display());
        }
    }

    fn replace(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(self.text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The thread that writes, from the first file on.
#[derive(Default)]
pub struct Writer(Mutex<Option<Running>>);

struct Running {
    /// What is to be written next.
    next: Arc<Mutex<Option<Pending>>>,
    nudge: Sender<()>,
    worker: Worker,
}

impl Writer {
    /// Hands it over. Where there is no thread to be had it is written here.
    pub fn write(&self, file: Pending) {
        let mut running = lock(&self.0);
        if running.is_none() {
            *running = start().inspect_err(|error| log::warn!("no thread to keep levels: {error}")).ok();
        }
        let Some(Running { next, nudge, .. }) = &*running else { return file.write() };
        *lock(next) = Some(file);
        let _ = nudge.try_send(());
    }

    /// Waits until all is written, at most `limit` or [`END`].
    pub fn stop(&self, limit: Duration) {
        let Some(Running { nudge, worker, .. }) = lock(&self.0).take() else { return };
        drop(nudge);
        worker.join(limit.max(END));
    }
}

fn start() -> io::Result<Running> {
    let (nudge, nudged) = bounded::<()>(1);
    let next: Arc<Mutex<Option<Pending>>> = Arc::default();
    let own = Arc::clone(&next);
    let worker = Worker::spawn("gpio-keep", move || {
        while nudged.recv().is_ok() {
            let file = lock(&own).take();
            if let Some(file) = file {
                file.write();
            }
        }
    })?;
    Ok(Running { next, nudge, worker })
}

/// The locks guard plain values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> BTreeMap<String, Level> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            log::error!("the outputs' last levels in '{}' cannot be read: {error}", path.display());
            return BTreeMap::new();
        }
    }
    // A name may have spaces in it; the level has none.
    let line = |line: &str| {
        let (name, level) = line.rsplit_once(' ')?;
        let level = [Level::Low, Level::High].into_iter().find(|known| known.as_str() == level)?;
        Some((name.to_owned(), level))
    };
    let levels: BTreeMap<String, Level> = text.lines().filter_map(line).collect();
    let wrong = text.lines().filter(|text| line(text).is_none()).count();
    if wrong > 0 {
        log::error!("{wrong} lines of '{}' make no sense and are left out: those outputs start as new", path.display());
    }
    levels
}
