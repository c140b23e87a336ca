//! What outlives the process: a SQLite database in the state directory. Without one it is in memory, and everything
//! works and is gone at the end.
//!
//! One thread owns the connection that writes. It fills the gate's table, notes when keys were last used (together, at
//! most once a minute: an SD card wears), and notices what `pinwire key` changes in the same file. What it has to write
//! of those waits in the gate's table, one time per key, so there is no queue that could grow. Others' writes
//! ([`Store::write`]) wait in a queue of [`WRITES`]; one more is refused. Who reads ([`Store::read`]) has a connection
//! beside it and waits for no write.
//!
//! **Noticing.** The kernel tells of writes to the database's files. SQLite writes its log first and publishes the
//! commit afterwards in shared memory, of which nobody is told; so the thread looks when a file is closed, which a
//! command does once it has committed, and half a second after the last write for who stays. `PRAGMA data_version`
//! says whether there is anything new. After a write of our own the keys are read before it is answered: the gate knows
//! what the caller knows.
//!
//! **A disk that fails** takes nothing away: the keys are in memory, and the log and `/health` say what is wrong.

mod alerts;
mod clusters;
mod db;
mod error;
mod keys;
mod open;
mod schema;
mod servers;
mod thread;
mod time;
mod turn;
mod users;
mod watch;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};
use rusqlite::{Connection, Transaction};

use crate::auth::{Accounts, Keys};
use crate::rt::clock;
use crate::rt::worker::Worker;
pub use alerts::KeptAlert;
pub use clusters::{Rows, Saved};
pub use db::{BUSY_LIMIT, Db, OpenError};
pub use error::StoreError;
pub use keys::{Key, Revoked};
pub use servers::ServerNumber;
use thread::Thread;
use turn::Turn;
use watch::{Bell, Watch};
use write::Job;
pub use write::{WRITE_LIMIT, WRITES};

/// Uses of keys within this time are written together.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// How long a reading waits for another one.
pub const READ_LIMIT: Duration = Duration::from_secs(5);

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is no state directory: what is kept ends with the process.
    None,
    Ok,
    /// Something cannot be read or written; what was known is in memory.
    Degraded(String),
}

/// A handle for everyone.
pub struct Store {
    keys: Arc<Keys>,
    accounts: Arc<Accounts>,
    shared: Arc<Shared>,
    jobs: Sender<Box<dyn Job>>,
    worker: Mutex<Option<Worker>>,
}

struct Shared {
    /// What `health` is while nothing is wrong.
    well: Health,
    health: Mutex<Health>,
    stopping: AtomicBool,
    used: AtomicBool,
    bell: Bell,
    /// The thread's connection; others have it only where there can be no other.
    db: Turn<Db>,
    reader: Mutex<Option<Arc<Turn<Connection>>>>,
}

impl Store {
    /// Opens the database of `dir`, or one in memory, and knows its keys on return.
    ///
    /// # Errors
    /// A database of a newer version or of another program; no thread or descriptors to be had. A damaged one is set
    /// aside, and one that cannot be read or written is gone without: both are in the log.
    pub fn start(dir: Option<&Path>) -> Result<Store, OpenError> {
        let no_thread =
            |error: std::io::Error| OpenError::Unusable(dir.unwrap_or(Path::new(db::FILE)).into(), error.to_string());
        let shared = Shared::new(dir)?;
        let used = Arc::clone(&shared);
        let keys = Keys::new(move || {
            used.used.store(true, Ordering::Release);
            used.bell.ring();
        });
        let is_file = shared.db.wait().is_file();
        if let Some(dir) = dir.filter(|_| !is_file) {
            // Keys that cannot be read may have been made: the door stays closed.
            keys.replace(Vec::new(), db::may_exist(dir), clock::wall());
        }
        let watch = Watch::new(shared.bell.clone(), dir.filter(|_| is_file)).map_err(no_thread)?;
        let (jobs, to_do) = bounded(WRITES);
        let accounts = Arc::new(Accounts::default());
        let gate = (Arc::clone(&keys), Arc::clone(&accounts));
        let mut thread = Thread::new(dir, gate, Arc::clone(&shared), watch, to_do);
        thread.load();
        let worker = Worker::spawn("store", move || thread.run()).map_err(no_thread)?;
        Ok(Store { keys, accounts, shared, jobs, worker: Mutex::new(Some(worker)) })
    }

    /// The gate's table.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The gate's other table: users and their tokens.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the database in a transaction of its own, on the store's thread, and returns once that is on the disk
    /// (`synchronous=FULL`). Keys changed by it are in force by then.
    ///
    /// `f` is called at most once, and must not wait for anything. Not to be called on the store's own thread, which
    /// turns out who is in with an ended key.
    ///
    /// # Errors
    /// See [`StoreError`]. [`StoreError::Busy`] where [`WRITES`] writes wait already, or this one had no turn within
    /// [`WRITE_LIMIT`].
    pub fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = write::job(f);
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(write::ending()),
        }
        self.shared.bell.ring();
        answer.wait()
    }

    /// Reads: what `f` sees is one state of the database, whatever is written meanwhile. In a file it waits for no
    /// write, only for another reading.
    ///
    /// # Errors
    /// See [`StoreError`]. [`StoreError::Busy`] where another reading takes more than [`READ_LIMIT`].
    pub fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match reader {
            Some(reader) => at_once(&*reader.take(READ_LIMIT).ok_or(StoreError::Busy)?, f),
            None => at_once(&self.shared.db.take(READ_LIMIT).ok_or(StoreError::Busy)?.sql, f),
        }
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

fn at_once<T>(sql: &Connection, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
    // Ended, and so rolled back, whatever happens in `f`.
    let reading = sql.unchecked_transaction()?;
    Ok(f(&reading)?)
}

impl Shared {
    fn new(dir: Option<&Path>) -> Result<Arc<Shared>, OpenError> {
        let well = open::health(dir);
        let bell = Bell::new();
        let bell = bell.map_err(|error| OpenError::Unusable(db::FILE.into(), error.to_string()))?;
        let (stopping, used) = (AtomicBool::new(false), AtomicBool::new(false));
        let health = Mutex::new(well.clone());
        let mut shared =
            Shared { well, health, stopping, used, bell, db: Turn::new(Db::in_memory()?), reader: Mutex::default() };
        if let Some(dir) = dir {
            shared.db = Turn::new(open::open(dir, &shared)?);
        }
        shared.open_reader();
        Ok(Arc::new(shared))
    }

    /// Gives those who read a connection of their own, where there can be one.
    fn open_reader(&self) {
        let db = self.db.wait();
        let reader = match db.reader() {
            Ok(reader) => reader.map(|sql| Arc::new(Turn::new(sql))),
            Err(error) => {
                log::warn!("store: '{}' is read and written by turns: {error}", db.path().display());
                None
            }
        };
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
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

    /// What is wrong, or nothing.
    fn reason(&self) -> String {
        match &*self.health.lock().unwrap_or_else(PoisonError::into_inner) {
            Health::Degraded(why) => why.clone(),
            Health::None | Health::Ok => String::new(),
        }
    }

    fn recover(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *health, self.well.clone()) != self.well {
            drop(health);
            log::info!("store: the database works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::auth::mint;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn without_a_directory_everything_works_and_no_key_closes_the_door() {
        let store = Store::start(None).expect("starts");
        let fact = |sql: &Connection| sql.query_row("SELECT value FROM facts", [], |row| row.get::<_, String>(0));
        let insert = "INSERT INTO facts (name, value) VALUES ('a', 'b')";
        assert_eq!(store.write(|sql| sql.execute(insert, [])), Ok(1));
        assert!(matches!(store.write(|sql| sql.execute(insert, [])), Err(StoreError::Conflict(_))));
        assert!(matches!(store.write(|sql| sql.execute("no SQL", [])), Err(StoreError::Sql(_))));
        assert_eq!(store.read(fact).as_deref(), Ok("b"));
        assert_eq!((store.health(), store.keys().guarded()), (Health::None, false));
        let minted = mint().expect("random");
        let add = "INSERT INTO keys (id, name, digest, created) VALUES (?1, 'a', ?2, 0)";
        let (id, digest) = (minted.id, minted.digest);
        store.write(move |sql| sql.execute(add, (id.as_str(), digest.0))).expect("written");
        assert!(store.keys().guarded(), "known once the write is answered");
        store.stop(LIMIT);
        assert_eq!(store.write(|_| Ok(())), Err(write::ending()));
    }

    #[test]
    fn what_has_no_turn_is_refused_and_never_done() {
        let store = Arc::new(Store::start(None).expect("starts"));
        let (begun, wait) = (channel(), channel::<()>());
        std::thread::scope(|scope| {
            let (slow, begun_here) = (Arc::clone(&store), begun.0);
            scope.spawn(move || {
                slow.write(move |_| {
                    let _ = begun_here.send(());
                    let _ = wait.1.recv_timeout(LIMIT);
                    Ok(())
                })
            });
            begun.1.recv_timeout(LIMIT).expect("it runs");
            // The queue is full of jobs that nobody waits for any more.
            for _ in 0..WRITES {
                let (job, answer) = write::job(|sql| sql.execute("INSERT INTO facts VALUES ('never', '')", []));
                assert!(answer.give_up());
                store.jobs.try_send(job).unwrap_or_else(|_| panic!("there is room"));
            }
            assert_eq!(store.write(|_| Ok(())), Err(StoreError::Busy));
            drop(wait.0);
        });
        store.stop(LIMIT);
        let count = |sql: &Connection| sql.query_row("SELECT count(*) FROM facts", [], |row| row.get::<_, i64>(0));
        assert_eq!(store.read(count), Ok(0));
    }
}
