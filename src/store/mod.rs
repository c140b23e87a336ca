//! What outlives the process: a SQLite database in the state directory. For now it holds the API keys.
//!
//! One thread owns the connection. It fills the gate's table, notes when keys were last used (together, at most once a
//! minute: an SD card wears), and notices what `pinwire key` changes in the same file. What it has to write waits in
//! the gate's table, one time per key, so there is no queue that could grow.
//!
//! **Noticing.** The kernel tells of writes to the database's files. SQLite writes its log first and publishes the
//! commit afterwards in shared memory, of which nobody is told; so the thread looks when a file is closed, which a
//! command does once it has committed, and half a second after the last write for who stays. `PRAGMA data_version`
//! says whether there is anything new.
//!
//! **A disk that fails** takes nothing away: the keys are in memory, and the log and `/health` say what is wrong.

mod db;
mod keys;
mod schema;
mod watch;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::auth::{KeyId, Keys};
use crate::rt::clock;
use crate::rt::worker::{Worker, die};
pub use db::{BUSY_LIMIT, Db, OpenError};
pub use keys::{Key, Revoked};
use watch::{Bell, Watch};

/// Uses of keys within this time are written together.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// How long the thread waits for another process's write: a key's expiry must not wait for a backup to end.
const THREAD_BUSY_LIMIT: Duration = Duration::from_millis(200);

/// When a write is tried again that another process kept from the database.
const BUSY_INTERVAL: Duration = Duration::from_secs(5);

/// From the last write to the database's files to the last look at it.
const SETTLE: Duration = Duration::from_millis(500);

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is none: no state directory.
    None,
    Ok,
    /// Something cannot be read or written; what was known is in memory.
    Degraded(String),
}

/// A handle for everyone.
pub struct Store {
    keys: Arc<Keys>,
    shared: Arc<Shared>,
    worker: Mutex<Option<Worker>>,
}

struct Shared {
    health: Mutex<Health>,
    stopping: AtomicBool,
    used: AtomicBool,
    bell: Bell,
}

impl Store {
    /// Opens the database of `dir` and knows its keys on return.
    ///
    /// # Errors
    /// A database of a newer version or of another program; no thread or descriptors to be had. A damaged one is set
    /// aside, and one that cannot be read or written is gone without: both are in the log.
    pub fn start(dir: Option<&Path>) -> Result<Store, OpenError> {
        let Some(dir) = dir else { return Store::without() };
        let no_thread = |error: std::io::Error| OpenError::Unusable(dir.into(), error.to_string());
        let shared = Shared::new(Health::Ok).map_err(no_thread)?;
        let used = Arc::clone(&shared);
        let keys = Keys::new(move || {
            used.used.store(true, Ordering::Release);
            used.bell.ring();
        });
        let store = Store { keys: Arc::clone(&keys), shared: Arc::clone(&shared), worker: Mutex::default() };
        let Some(db) = open(dir, &shared)? else {
            // Keys that cannot be read may have been made: the door stays closed.
            keys.replace(Vec::new(), db::may_exist(dir), clock::wall());
            return Ok(store);
        };
        let watch = Watch::new(shared.bell.clone(), dir).map_err(no_thread)?;
        let mut thread = Thread {
            db,
            keys,
            shared,
            watch,
            seen: None,
            look_at: None,
            unwritten: HashMap::new(),
            write_at: None,
            written: None,
        };
        thread.load();
        let worker = Worker::spawn("store", move || thread.run()).map_err(no_thread)?;
        *store.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(store)
    }

    fn without() -> Result<Store, OpenError> {
        let shared = Shared::new(Health::None);
        let shared = shared.map_err(|error| OpenError::Unusable(db::FILE.into(), error.to_string()))?;
        Ok(Store { keys: Keys::none(), shared, worker: Mutex::default() })
    }

    /// The gate's table.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what waits and closes the database, within `limit`.
    pub fn stop(&self, limit: Duration) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.bell.ring();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
    }
}

/// The database as well as it can be had; `None` where it cannot.
fn open(dir: &Path, shared: &Shared) -> Result<Option<Db>, OpenError> {
    let why = match Db::open(dir) {
        Ok(db) => return Ok(Some(db)),
        Err(fatal @ (OpenError::Newer(..) | OpenError::Foreign(_))) => return Err(fatal),
        Err(damaged @ OpenError::Damaged(..)) => match db::set_aside(dir, clock::wall()) {
            Ok(aside) => {
                log::error!(
                    "{damaged}; it was set aside as '{}', and a new one begun without its keys",
                    aside.display()
                );
                match Db::open(dir).map(|db| db.note_loss().map(|()| db)) {
                    Ok(Ok(db)) => return Ok(Some(db)),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => format!("{damaged}, and cannot be set aside: {error}"),
        },
        Err(why) => match Db::open_read_only(dir) {
            Ok(db) => {
                shared.degrade(format!("{why}; its keys are known, and nothing is written"));
                return Ok(Some(db));
            }
            Err(fatal @ (OpenError::Newer(..) | OpenError::Foreign(_))) => return Err(fatal),
            Err(_) => why.to_string(),
        },
    };
    shared.degrade(format!("{why}; nothing is kept, and keys made from now on are known after a restart"));
    Ok(None)
}

impl Shared {
    fn new(health: Health) -> std::io::Result<Arc<Shared>> {
        let (stopping, used) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Arc::new(Shared { health: Mutex::new(health), stopping, used, bell: Bell::new()? }))
    }

    fn degrade(&self, reason: String) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = !matches!(&*health, Health::Degraded(known) if *known == reason);
        *health = Health::Degraded(reason.clone());
        drop(health);
        if changed {
            log::error!("store: {reason}");
        }
    }

    fn recover(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *health, Health::Ok) != Health::Ok {
            drop(health);
            log::info!("store: the database works again");
        }
    }
}

/// What the thread has.
struct Thread {
    db: Db,
    keys: Arc<Keys>,
    shared: Arc<Shared>,
    watch: Watch,
    /// The data version that was loaded.
    seen: Option<i64>,
    /// When to look once more for what another process did.
    look_at: Option<Instant>,
    /// Uses that are not in the database, one per key.
    unwritten: HashMap<KeyId, SystemTime>,
    /// When to write them.
    write_at: Option<Instant>,
    /// When they were last written, or could not be.
    written: Option<Instant>,
}

impl Thread {
    fn run(mut self) {
        if let Err(error) = self.db.wait_at_most(THREAD_BUSY_LIMIT) {
            log::warn!("store: the wait for other processes cannot be bounded: {error}");
        }
        loop {
            if self.shared.stopping.load(Ordering::Acquire) {
                self.write();
                return;
            }
            let now = clock::now();
            if self.shared.used.swap(false, Ordering::AcqRel) && self.db.is_writable() {
                self.write_at = self.write_at.or(Some(self.written.map_or(now, |at| at + WRITE_INTERVAL)));
            }
            if self.write_at.is_some_and(|at| at <= now) {
                self.write();
            }
            if self.look_at.is_some_and(|at| at <= now) {
                self.look_at = None;
                self.look();
            }
            let wall = clock::wall();
            self.keys.turn_out(wall);
            let limit = [self.write_at, self.look_at].into_iter().flatten().min();
            let limit = limit.map(|at| at.saturating_duration_since(now));
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

    /// Loads the keys if another process has changed anything.
    fn look(&mut self) {
        match self.db.data_version() {
            Ok(Some(version)) if Some(version) == self.seen => {}
            Ok(Some(_)) => self.load(),
            Ok(None) => {
                self.db.thaw();
                self.load();
            }
            Err(error) => self.unreadable(&error),
        }
    }

    fn load(&mut self) {
        // The version is asked first: what changes in between is seen by the next look.
        let loaded = self.db.data_version().and_then(|seen| Ok((seen, self.db.keys()?, self.db.lost_keys()?)));
        match loaded {
            Ok((seen, keys, lost)) => {
                self.seen = seen;
                let records: Vec<_> = keys.iter().map(Key::record).collect();
                self.keys.replace(records, lost, clock::wall());
                let good = self.keys.good(clock::wall());
                // A write that failed is made up for by a write.
                if self.db.is_writable() && self.unwritten.is_empty() {
                    self.shared.recover();
                }
                log::info!("store: {good} of {} API keys in '{}' are good", keys.len(), self.db.path().display());
            }
            Err(error) => self.unreadable(&error),
        }
    }

    fn unreadable(&self, error: &rusqlite::Error) {
        let path = self.db.path().display();
        self.shared.degrade(format!("'{path}' cannot be read: {error}; the keys known so far stay in force"));
    }

    /// Writes what is not written; later once more if that fails.
    fn write(&mut self) {
        self.write_at = None;
        if !self.db.is_writable() {
            return;
        }
        self.unwritten.extend(self.keys.take_used());
        if self.unwritten.is_empty() {
            return;
        }
        let now = clock::now();
        self.written = Some(now);
        match self.db.note_uses(self.unwritten.iter().map(|(id, at)| (*id, *at))) {
            Ok(()) => {
                self.unwritten.clear();
                self.shared.recover();
            }
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                self.write_at = Some(now + BUSY_INTERVAL);
            }
            Err(error) => {
                self.write_at = Some(now + WRITE_INTERVAL);
                let path = self.db.path().display();
                self.shared.degrade(format!("'{path}' cannot be written: {error}; uses of keys are kept in memory"));
            }
        }
    }
}
