//! What the store's thread and everybody's handle have in common.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::db::{self, Db, FILE, OpenError};
use super::news::News;
use super::records::Pending;
use super::turn::Turn;
use super::watch::Bell;
use super::{Health, READ_LIMIT, flush, open};
use crate::rt::clock;
use crate::rt::pulse::Pulse;

/// What takes longer is told whoever asks how the store is. A worn card stalls for a second at times.
const SLOW: Duration = Duration::from_secs(2);

/// See the module's text.
pub struct Shared {
    dir: Option<PathBuf>,
    /// Damage was met.
    suspected: AtomicBool,
    /// What `health` is while nothing is wrong.
    well: Health,
    health: Mutex<Health>,
    pub stopping: AtomicBool,
    /// Until when it is tried, at the end, to write what another process keeps from the database.
    pub stop_by: OnceLock<Instant>,
    /// The database was closed.
    pub closed: AtomicBool,
    /// A key was used.
    pub used: AtomicBool,
    pub bell: Bell,
    /// Of the thread.
    pub pulse: Pulse,
    /// Since when something waits to be written, or the thread is at it, on the monotonic clock; 0: nothing does.
    behind: AtomicU64,
    /// The thread's connection; others have it only where there can be no other.
    pub db: Turn<Db>,
    pub reader: Mutex<Option<Arc<Turn<Connection>>>>,
    pending: Mutex<Pending>,
    pub news: News,
}

impl Shared {
    /// # Errors
    /// See [`open::open`]; no descriptors or thread to be had.
    pub fn new(dir: Option<&Path>, pending_bytes: usize) -> Result<Arc<Shared>, OpenError> {
        let well = dir.map_or(Health::None, |_| Health::Ok);
        let none = |error: std::io::Error| OpenError::Unusable(FILE.into(), error.to_string());
        let mut shared = Shared {
            dir: dir.map(Path::to_owned),
            suspected: AtomicBool::new(false),
            health: Mutex::new(well.clone()),
            well,
            stopping: AtomicBool::new(false),
            stop_by: OnceLock::new(),
            closed: AtomicBool::new(false),
            used: AtomicBool::new(false),
            bell: Bell::new().map_err(none)?,
            pulse: Pulse::default(),
            behind: AtomicU64::new(0),
            db: Turn::new(Db::in_memory()?),
            reader: Mutex::default(),
            pending: Mutex::new(Pending::new(pending_bytes)),
            news: News::start().map_err(none)?,
        };
        if let Some(dir) = dir {
            shared.db = Turn::new(open::open(dir, &shared)?);
        }
        shared.opened();
        Ok(Arc::new(shared))
    }

    /// There is another database than before: those who read get a connection of their own where there can be one, and
    /// records are numbered on from what it holds.
    pub fn opened(&self) {
        let db = self.db.wait();
        let reader = match db.reader() {
            Ok(reader) => reader.map(|sql| Arc::new(Turn::new(sql))),
            Err(error) => {
                log::warn!("store: '{}' is read and written by turns: {error}", db.path().display());
                None
            }
        };
        match flush::written(&db.sql) {
            Ok(written) => self.pending().count_from(written),
            Err(error) => log::warn!("store: '{}' cannot be read: {error}", db.path().display()),
        }
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
    }

    /// Closes the database, those that read first: only a connection that writes can fold SQLite's log into the file.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever reads now has his time; the connection is closed with the last of them.
        drop(reader.as_ref().map(|reader| reader.take(READ_LIMIT)));
        drop(reader);
        let mut db = self.db.wait();
        if let Ok(nothing) = Db::nothing(Path::new("")) {
            *db = nothing;
        }
    }

    /// Its lock guards plain values, and nobody waits while holding it.
    pub fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Said by the thread: it begins with something, or something is left that could not be done.
    pub fn is_behind(&self) {
        let _ = self.behind.compare_exchange(0, clock::monotonic_ns(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Said by the thread: all is done.
    pub fn is_done(&self) {
        self.behind.store(0, Ordering::Relaxed);
    }

    /// For how long that has been, if it is too long.
    fn hung(&self) -> Option<Duration> {
        let since = Some(self.behind.load(Ordering::Relaxed)).filter(|since| *since != 0)?;
        let hung = Duration::from_nanos(clock::monotonic_ns().saturating_sub(since));
        Some(hung).filter(|hung| *hung >= SLOW)
    }

    /// What is wrong, and what came of it.
    pub fn told_health(&self) -> Health {
        let health = self.health().clone();
        if health == Health::Ok
            && let Some(hung) = self.hung()
        {
            let seconds = hung.as_secs();
            let why = "another process holds the database, or the disk hangs; what has to be written waits";
            return Health::Degraded(format!("nothing could be written for {seconds} s: {why}"));
        }
        let (dropped, holes) = {
            let pending = self.pending();
            (pending.dropped, pending.holes())
        };
        let Health::Degraded(mut why) = health else { return health };
        if dropped > 0 {
            why.push_str(&format!("; {dropped} records found no room and were dropped"));
        }
        if holes > 0 {
            why.push_str(&format!("; {holes} agents keep their records until there is room"));
        }
        Health::Degraded(why)
    }

    pub fn degrade(&self, reason: String) {
        let degraded = Health::Degraded(reason.clone());
        let changed = std::mem::replace(&mut *self.health(), degraded.clone()) != degraded;
        if changed {
            log::error!("store: {reason}");
            self.news.health(degraded);
        }
    }

    /// The file is damaged where it was just used: the next start looks at all of it, and sets it aside.
    pub fn met_damage(&self) {
        if self.suspected.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(dir) = &self.dir else { return };
        let path = dir.join(FILE);
        self.degrade(format!("'{}' is damaged: the next start looks at all of it and sets it aside", path.display()));
        if let Err(error) = db::suspect(dir) {
            log::warn!("store: the next start cannot be told to look at all of '{}': {error}", path.display());
        }
    }

    /// What is wrong, or nothing.
    pub fn reason(&self) -> String {
        match &*self.health() {
            Health::Degraded(why) => why.clone(),
            Health::None | Health::Ok => String::new(),
        }
    }

    pub fn recover(&self) {
        if self.suspected.load(Ordering::Acquire) {
            return;
        }
        if std::mem::replace(&mut *self.health(), self.well.clone()) != self.well {
            log::info!("store: the database works again");
            self.news.health(self.well.clone());
        }
    }
}
