//! What outlives the process: a SQLite database in the state directory. Without one it is in memory, and everything
//! works and is gone at the end.
//!
//! One thread owns the connection that writes. It fills the gate's table, notes when keys were last used (together, at
//! most once a minute: an SD card wears), and notices what `pinwire key` changes in the same file. What it has to write
//! of those waits in the gate's table, one time per key, so there is no queue that could grow. Others' writes
//! ([`Store::write`]) wait in a queue of [`WRITES`]; one more is refused. Who reads ([`Store::read`]) has a connection
//! beside it and waits for no write. What servers hand over all the time ([`Store::keep`]) waits in memory and is written
//! together: every `store.flush_interval`, when [`FLUSH_AT`] records wait or half of the room for them is used, and at the end.
//!
//! **Noticing.** The kernel tells of writes to the database's files. SQLite writes its log first and publishes the
//! commit afterwards in shared memory, of which nobody is told; so the thread looks when a file is closed, which a
//! command does once it has committed, and half a second after the last write for who stays. `PRAGMA data_version`
//! says whether there is anything new. After a write of our own the keys are read before it is answered: the gate knows
//! what the caller knows.
//!
//! **A disk that fails** takes nothing away: the keys are in memory, records wait up to a bound (beyond it agents
//! keep theirs and hand them over again), a write says that it cannot be done, and the log, `/health` and an alert say what is wrong. Every few seconds it is
//! tried again.
//!
//! **A damaged file** is set aside when the daemon starts. A small file is read whole then; of a large one the tables
//! that say who may come in are, and the rest is when damage was met while it was used.

mod agent_keys;
mod alerts;
mod audit;
mod chores;
mod clusters;
mod db;
mod durable;
mod durable_rows;
mod error;
mod facts;
mod first_key;
mod flush;
mod health;
mod kept;
mod keys;
mod logs;
mod news;
mod open;
mod ordered;
mod points;
mod records;
mod retention;
mod schema;
mod servers;
mod shared;
mod thread;
mod time;
mod turn;
mod users;
mod watch;
mod write;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};
use rusqlite::{Connection, Transaction};

use crate::auth::{Accounts, Keys};
use crate::config;
use crate::rt::clock;
use crate::rt::pulse::Asked;
use crate::rt::worker::Worker;
pub use agent_keys::AgentKey;
pub use alerts::KeptAlert;
pub use audit::{AuditBroken, AuditRecord, hex};
pub use clusters::{Rows, Saved};
pub use db::{BUSY_LIMIT, Db, OpenError};
pub use durable::{Handed, Told};
pub use error::StoreError;
pub use health::Health;
pub use keys::{Key, Revoked};
pub use logs::{KeptEvent, LogFilter};
pub use points::{STEPS, Step};
pub use records::{FLUSH_AT, Kept, KeptWhat};
pub use servers::ServerNumber;
use shared::Shared;
use thread::Thread;
use watch::Watch;
use write::Job;
pub use write::{WRITE_LIMIT, WRITES};

/// Uses of keys within this time are written together.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// What those who are told of what was kept have at the end in any case.
const NEWS_LIMIT: Duration = Duration::from_millis(50);

/// How long a reading waits for another one.
pub const READ_LIMIT: Duration = Duration::from_secs(5);

/// A handle for everyone.
pub struct Store {
    keys: Arc<Keys>,
    accounts: Arc<Accounts>,
    shared: Arc<Shared>,
    settings: Arc<RwLock<config::Store>>,
    jobs: Sender<Box<dyn Job>>,
    durable: Arc<Mutex<durable::Durable>>,
    worker: Mutex<Option<Worker>>,
}

impl Store {
    /// Opens the database of `dir`, or one in memory, and knows its keys on return.
    ///
    /// # Errors
    /// A database of a newer version or of another program; no thread or descriptors to be had. A damaged one is set
    /// aside, and one that cannot be read or written is gone without: both are in the log.
    pub fn start(dir: Option<&Path>) -> Result<Store, OpenError> {
        Store::start_with(dir, &config::Store::default())
    }

    /// The same, with its settings.
    ///
    /// # Errors
    /// As [`Store::start`].
    pub fn start_with(dir: Option<&Path>, settings: &config::Store) -> Result<Store, OpenError> {
        let no_thread =
            |error: std::io::Error| OpenError::Unusable(dir.unwrap_or(Path::new(db::FILE)).into(), error.to_string());
        let shared = Shared::new(dir, settings.pending_bytes)?;
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
        let settings = Arc::new(RwLock::new(settings.clone()));
        let mut thread = Thread::new(dir, gate, Arc::clone(&shared), watch, to_do, Arc::clone(&settings));
        thread.load();
        let worker = Worker::spawn("store", move || thread.run()).map_err(no_thread)?;
        let (worker, durable) = (Mutex::new(Some(worker)), Arc::default());
        Ok(Store { keys, accounts, shared, settings, jobs, durable, worker })
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
        self.shared.told_health()
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

    /// Reads the keys and users again; they are in force on return.
    ///
    /// # Errors
    /// As [`Store::write`], whose way this takes: what is on the disk stays as it is.
    pub fn reread(&self) -> Result<(), StoreError> {
        self.write(|_| Ok(()))
    }

    /// How long records wait, and how large the database may become, from now on.
    pub fn set_limits(&self, config: &config::Store) {
        let config::Store { flush_interval, max_bytes, .. } = *config;
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        (settings.flush_interval, settings.max_bytes) = (flush_interval, max_bytes);
        drop(settings);
        // Something may be due already.
        self.shared.bell.ring();
    }

    /// Reads: what `f` sees is one state of the database, whatever is written meanwhile. In a file it waits for no
    /// write, only for another reading.
    ///
    /// # Errors
    /// See [`StoreError`]. [`StoreError::Busy`] where another reading takes more than [`READ_LIMIT`].
    pub fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(write::ending());
        }
        let reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let outcome = match reader {
            Some(reader) => at_once(&*reader.take(READ_LIMIT).ok_or(StoreError::Busy)?, f),
            None => at_once(&self.shared.db.take(READ_LIMIT).ok_or(StoreError::Busy)?.sql, f),
        };
        if outcome.as_ref().is_err_and(error::is_damage) {
            self.shared.met_damage();
        }
        Ok(outcome?)
    }

    /// Its thread, to be asked whether it comes round. What it waits for may be a slow disk.
    pub fn asked(&self) -> Asked {
        let shared = Arc::clone(&self.shared);
        let ask = move |answer| {
            shared.pulse.ask(answer);
            shared.bell.ring();
        };
        Asked { name: "store", ask: Box::new(ask) }
    }

    /// Has its thread hang, for tests of what becomes of the daemon then.
    pub fn debug_hang(&self) {
        self.shared.pulse.debug_hang();
        self.shared.bell.ring();
    }

    /// Writes what waits, closes the database and tells who wants to know, within `limit` but for a moment.
    pub fn stop(&self, limit: Duration) {
        let until = clock::now() + limit;
        // The thread ends by itself before it is given up.
        let _ = self.shared.stop_by.set(until.checked_sub(limit / 4).unwrap_or(until));
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.bell.ring();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
        self.shared.news.stop(until.saturating_duration_since(clock::now()).max(NEWS_LIMIT));
    }
}

fn at_once<T>(sql: &Connection, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    // Ended, and so rolled back, whatever happens in `f`.
    let reading = sql.unchecked_transaction()?;
    f(&reading)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::auth::mint;
    use crate::types::fleet::{Server, ServerStatus};

    pub const LIMIT: Duration = Duration::from_secs(10);

    /// A server for the table.
    pub fn server(id: &str) -> Server {
        let at = std::time::SystemTime::UNIX_EPOCH;
        Server {
            id: id.into(),
            owner: None,
            name: id.into(),
            host: None,
            port: None,
            metadata: None,
            status: ServerStatus::Unknown,
            health: crate::types::fleet::Health::Healthy,
            last_seen: None,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn without_a_directory_everything_works_and_no_key_closes_the_door() {
        let store = Store::start(None).expect("starts");
        let fact = |sql: &Connection| {
            sql.query_row("SELECT value FROM facts WHERE name = 'a'", [], |row| row.get::<_, String>(0))
        };
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
        // Has its turn after all of those.
        while store.write(|_| Ok(())) == Err(StoreError::Busy) {}
        let query = "SELECT count(*) FROM facts WHERE name = 'never'";
        let count = |sql: &Connection| sql.query_row(query, [], |row| row.get::<_, i64>(0));
        assert_eq!(store.read(count), Ok(0));
        store.stop(LIMIT);
        assert_eq!(store.read(count), Err(write::ending()));
    }
}
