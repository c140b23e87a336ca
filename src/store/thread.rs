//! The store's thread: one loop that waits for writes, for other processes at the database, and for keys to expire.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;

use super::chores::Chores;
use super::db::{self, Db};
use super::error::is_damage;
use super::keys::Key;
use super::shared::Shared;
use super::watch::Watch;
use super::write::{Attempt, Job};
use super::{StoreError, WRITE_INTERVAL};
use crate::auth::{Accounts, KeyId, Keys};
use crate::config;
use crate::rt::clock;
use crate::rt::worker::die;

/// How long the thread waits for another process's write: a key's expiry must not wait for a backup to end.
const THREAD_BUSY_LIMIT: Duration = Duration::from_millis(200);

/// When uses of keys are written again that another process kept from the database.
pub(super) const BUSY_INTERVAL: Duration = Duration::from_secs(5);

/// When a write that somebody waits for is tried again that another process kept from the database.
const AGAIN: Duration = Duration::from_millis(20);

/// How often a database that cannot be written is tried again.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// From the last write to the database's files to the last look at it.
const SETTLE: Duration = Duration::from_millis(500);

/// What the thread has.
pub(super) struct Thread {
    dir: Option<PathBuf>,
    keys: Arc<Keys>,
    accounts: Arc<Accounts>,
    pub(super) shared: Arc<Shared>,
    /// What may be replaced while it runs.
    settings: Arc<RwLock<config::Store>>,
    /// Whether the database is one that can be written at all.
    pub(super) writable: bool,
    pub(super) chores: Chores,
    watch: Watch,
    jobs: Receiver<Box<dyn Job>>,
    /// The write that another process kept from the database.
    delayed: Option<Box<dyn Job>>,
    /// When to try that again.
    again_at: Option<Instant>,
    /// The data version that was loaded.
    seen: Option<i64>,
    /// How many keys there were, and how many of them good, when that was last told.
    told: Option<(usize, usize)>,
    /// When to look once more for what another process did.
    look_at: Option<Instant>,
    /// Uses that are not in the database, one per key.
    unwritten: HashMap<KeyId, SystemTime>,
    /// When to write them.
    write_at: Option<Instant>,
    /// When they were last written, or could not be.
    written: Option<Instant>,
    /// When to see whether the database can be written again; `None` while nothing says that it cannot.
    retry_at: Option<Instant>,
}

impl Thread {
    pub(super) fn new(
        dir: Option<&Path>,
        (keys, accounts): (Arc<Keys>, Arc<Accounts>),
        shared: Arc<Shared>,
        watch: Watch,
        jobs: Receiver<Box<dyn Job>>,
        settings: Arc<RwLock<config::Store>>,
    ) -> Thread {
        let writable = shared.db.wait().is_writable();
        let retry_at = (!writable).then(|| clock::now() + RETRY_INTERVAL);
        Thread {
            dir: dir.map(Path::to_owned),
            keys,
            accounts,
            shared,
            settings,
            writable,
            chores: Chores::default(),
            watch,
            jobs,
            delayed: None,
            again_at: None,
            seen: None,
            told: None,
            look_at: None,
            unwritten: HashMap::new(),
            write_at: None,
            written: None,
            retry_at,
        }
    }

    pub(super) fn settings(&self) -> RwLockReadGuard<'_, config::Store> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn run(mut self) {
        self.bound_waits();
        self.tidy_up();
        loop {
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            self.shared.is_behind();
            self.do_jobs();
            if stopping {
                self.flush();
                self.note_uses();
                let until = self.shared.stop_by.get().copied().unwrap_or_else(clock::now);
                // Another process need only let go of the database in time.
                if self.is_kept_out() && clock::now() < until && self.watch.wait(Some(AGAIN)).is_ok() {
                    continue;
                }
                self.shared.close();
                return;
            }
            let now = clock::now();
            if self.shared.used.swap(false, Ordering::AcqRel) && self.writable {
                self.write_at = self.write_at.or(Some(self.written.map_or(now, |at| at + WRITE_INTERVAL)));
            }
            if self.write_at.is_some_and(|at| at <= now) {
                self.note_uses();
            }
            if self.flush_at().is_some_and(|at| at <= now) {
                self.flush();
            }
            self.go_on();
            if self.look_at.is_some_and(|at| at <= now) {
                self.look_at = None;
                self.look();
            }
            if self.retry_at.is_some_and(|at| at <= now) {
                self.retry();
            }
            self.shared.pulse.beat();
            let wall = clock::wall();
            self.keys.turn_out(wall);
            if self.delayed.is_none() && !self.is_flush_kept_out() {
                self.shared.is_done();
            }
            let limit = self.next().map(|at| at.saturating_duration_since(clock::now()));
            let alarm = self.watch.set_alarm(self.keys.next_expiry(wall));
            match alarm.and_then(|()| self.watch.wait(limit)) {
                Ok(woken) if woken.touched => {
                    self.look();
                    self.look_at = Some(clock::now() + SETTLE);
                }
                Ok(_) => {}
                Err(error) => {
                    // Deaf, it would go on letting in who was revoked.
                    log::error!("the store cannot wait for anything: {error}; the daemon ends");
                    die();
                }
            }
        }
    }

    /// Whether something waits that another process keeps from the database.
    fn is_kept_out(&self) -> bool {
        let well = self.writable && self.retry_at.is_none();
        well && (self.delayed.is_some() || self.write_at.is_some() || self.is_flush_kept_out())
    }

    /// When there is something to do that nobody rings for.
    fn next(&self) -> Option<Instant> {
        let at_once = self.chores.is_busy().then(clock::now);
        [self.write_at, self.look_at, self.again_at, self.retry_at, self.flush_at(), at_once]
            .into_iter()
            .flatten()
            .min()
    }

    fn bound_waits(&self) {
        if let Err(error) = self.shared.db.wait().wait_at_most(THREAD_BUSY_LIMIT) {
            log::warn!("store: the wait for other processes cannot be bounded: {error}");
        }
    }

    /// Does the writes that wait, in their order.
    pub(super) fn do_jobs(&mut self) {
        self.again_at = None;
        while let Some(mut job) = self.delayed.take().or_else(|| self.jobs.try_recv().ok()) {
            let attempt = {
                let mut db = self.shared.db.wait();
                match self.writable {
                    true => job.attempt(Ok(&mut db.sql)),
                    false => job.attempt(Err(StoreError::Unwritable(self.shared.reason()))),
                }
            };
            match attempt {
                Attempt::Written(answer) => {
                    self.works();
                    self.load();
                    answer();
                }
                Attempt::Kept(answer) => {
                    self.works();
                    answer();
                }
                Attempt::Again => {
                    self.delayed = Some(job);
                    self.again_at = Some(clock::now() + AGAIN);
                    return;
                }
                Attempt::Unwritable { why, damaged } => {
                    if damaged {
                        self.shared.met_damage();
                    }
                    self.fails(&why);
                }
                Attempt::Over => {}
            }
        }
    }

    /// Loads the keys if another process has changed anything.
    fn look(&mut self) {
        let version = self.shared.db.wait().data_version();
        match version {
            Ok(Some(version)) if Some(version) == self.seen => {}
            Ok(Some(_)) => self.load(),
            Ok(None) => {
                self.shared.db.wait().thaw();
                self.load();
            }
            Err(error) => self.unreadable(&error),
        }
    }

    pub(super) fn load(&mut self) {
        let db = self.shared.db.wait();
        // The version is asked first: what changes in between is seen by the next look.
        let loaded = db.data_version().and_then(|seen| Ok((seen, db.keys()?, db.lost_keys()?, db.known_users()?)));
        let (is_file, path) = (db.is_file(), db.path().display().to_string());
        drop(db);
        match loaded {
            Ok((seen, keys, lost, users)) => {
                self.seen = seen;
                let records: Vec<_> = keys.iter().map(Key::record).collect();
                self.keys.replace(records, lost, clock::wall());
                self.accounts.replace(users.accounts, users.ended, users.secret, lost || users.had);
                let counts = (keys.len(), self.keys.good(clock::wall()));
                // A write that failed is made up for by a write.
                if self.retry_at.is_none() && self.unwritten.is_empty() {
                    self.shared.recover();
                }
                if self.told.replace(counts) != Some(counts) && is_file {
                    log::info!("store: {} of {} API keys in '{path}' are good", counts.1, counts.0);
                }
            }
            Err(error) => self.unreadable(&error),
        }
    }

    fn unreadable(&self, error: &rusqlite::Error) {
        if is_damage(error) {
            self.shared.met_damage();
        }
        let path = self.shared.db.wait().path().display().to_string();
        self.shared.degrade(format!("'{path}' cannot be read: {error}; the keys and users known so far stay in force"));
    }

    /// A write has been done. What failed before has to be made up for by its own kind: a small one may find room where
    /// a batch does not.
    pub(super) fn works(&mut self) {
        if self.chores.batch_failed || !self.unwritten.is_empty() {
            return;
        }
        self.retry_at = None;
        self.shared.recover();
    }

    /// A write could not be done.
    pub(super) fn fails(&mut self, why: &str) {
        // What is not meant to be written is known to be so.
        if self.writable {
            let path = self.shared.db.wait().path().display().to_string();
            self.shared.degrade(format!("'{path}' cannot be written: {why}; what is new is kept in memory"));
        }
        self.retry_at = self.retry_at.or(Some(clock::now() + RETRY_INTERVAL));
    }

    /// Sees whether the database can be written again.
    fn retry(&mut self) {
        self.retry_at = Some(clock::now() + RETRY_INTERVAL);
        self.tell_dropped();
        if !self.writable && !self.reopen() {
            return;
        }
        if self.chores.batch_failed {
            self.flush();
            return;
        }
        let probe = self.shared.db.wait().probe(clock::wall());
        match probe {
            Ok(()) => self.works(),
            Err(error) => self.fails(&error.to_string()),
        }
    }

    /// Opens the database anew, to be written; whether that is possible now.
    fn reopen(&mut self) -> bool {
        let Some(dir) = &self.dir else { return false };
        if !db::may_be_written(dir) {
            return false;
        }
        let Ok(db) = Db::open(dir) else { return false };
        let was_file = std::mem::replace(&mut *self.shared.db.wait(), db).is_file();
        self.writable = true;
        self.shared.opened();
        self.bound_waits();
        if !was_file {
            self.watch.begin(dir);
        }
        self.load();
        true
    }

    /// Writes the uses that are not written; later once more if that fails.
    fn note_uses(&mut self) {
        self.write_at = None;
        if !self.writable {
            return;
        }
        self.unwritten.extend(self.keys.take_used());
        if self.unwritten.is_empty() {
            return;
        }
        let now = clock::now();
        self.written = Some(now);
        let noted = self.shared.db.wait().note_uses(self.unwritten.iter().map(|(id, at)| (*id, *at)));
        match noted {
            Ok(()) => {
                self.unwritten.clear();
                self.works();
            }
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                self.write_at = Some(now + BUSY_INTERVAL);
            }
            Err(error) => {
                self.write_at = Some(now + WRITE_INTERVAL);
                self.fails(&error.to_string());
            }
        }
    }
}
