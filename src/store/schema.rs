//! The database's shape, its version, and the way from every older version to this one.
//!
//! `PRAGMA user_version` holds the version; 0 is an empty file. Each step brings one version to the next, in one
//! transaction with all the others that are missing: a power cut leaves the old shape or the new one.

use rusqlite::{Connection, TransactionBehavior};

/// The version this program writes.
pub const CURRENT: i64 = MIGRATIONS.len() as i64;

/// `PRAGMA application_id`: "PWIR". A database that has tables and not this id is somebody else's.
const APPLICATION_ID: i64 = 0x5057_4952;

/// Step `n` leads from version `n` to `n + 1`. What was released is not changed any more.
const MIGRATIONS: [&str; 3] = [
    // Times are milliseconds since 1970, UTC. `digest` is the SHA-256 of the secret.
    "CREATE TABLE keys (
         id TEXT PRIMARY KEY NOT NULL,
         name TEXT NOT NULL,
         digest BLOB NOT NULL CHECK (length(digest) = 32),
         scopes TEXT NOT NULL DEFAULT 'all',
         created INTEGER NOT NULL,
         expires INTEGER,
         last_used INTEGER,
         revoked_at INTEGER
     ) STRICT, WITHOUT ROWID;
     -- Facts about the database itself.
     CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // The fleet. `server` is a server's number: rows by the thousand carry it.
    "ALTER TABLE keys ADD COLUMN server_id TEXT;
     CREATE TABLE users (
         id TEXT PRIMARY KEY NOT NULL,
         email TEXT NOT NULL UNIQUE COLLATE NOCASE,
         username TEXT NOT NULL UNIQUE COLLATE NOCASE,
         full_name TEXT,
         password TEXT NOT NULL,
         role TEXT NOT NULL,
         is_active INTEGER NOT NULL DEFAULT 1,
         created INTEGER NOT NULL,
         -- Tokens of earlier generations are worth nothing.
         generation INTEGER NOT NULL DEFAULT 1
     ) STRICT, WITHOUT ROWID;
     -- Remembered until the last token of the login has expired.
     CREATE TABLE ended_logins (
         login TEXT PRIMARY KEY NOT NULL,
         user_id TEXT NOT NULL,
         until INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE servers (
         number INTEGER PRIMARY KEY AUTOINCREMENT,
         id TEXT NOT NULL UNIQUE,
         owner TEXT,
         name TEXT NOT NULL,
         host TEXT,
         port INTEGER,
         metadata TEXT,
         last_seen INTEGER,
         created INTEGER NOT NULL,
         updated INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE points (
         server INTEGER NOT NULL,
         -- Seconds a row stands for: 5, 60 or 900.
         step INTEGER NOT NULL,
         at INTEGER NOT NULL,
         samples INTEGER NOT NULL,
         -- These five in hundredths, which is small in the file.
         cpu INTEGER,
         memory INTEGER,
         disk INTEGER,
         temperature INTEGER,
         load_1m INTEGER,
         sent INTEGER,
         received INTEGER,
         PRIMARY KEY (server, step, at)
     ) STRICT, WITHOUT ROWID;
     -- How far each of an agent's streams is kept.
     CREATE TABLE streams (
         server INTEGER NOT NULL,
         stream TEXT NOT NULL,
         seq INTEGER NOT NULL,
         updated INTEGER NOT NULL,
         PRIMARY KEY (server, stream)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE logs (
         number INTEGER PRIMARY KEY,
         id TEXT NOT NULL,
         server INTEGER NOT NULL,
         at INTEGER NOT NULL,
         level TEXT NOT NULL,
         source TEXT NOT NULL,
         component TEXT,
         message TEXT NOT NULL,
         extra TEXT
     ) STRICT;
     CREATE INDEX logs_of_server ON logs (server, at);
     CREATE TABLE events (
         number INTEGER PRIMARY KEY,
         server INTEGER NOT NULL,
         stream TEXT,
         seq INTEGER,
         at INTEGER NOT NULL,
         topic TEXT NOT NULL,
         data TEXT NOT NULL
     ) STRICT;
     CREATE INDEX events_of_server ON events (server, at);
     CREATE TABLE thresholds (
         id TEXT PRIMARY KEY NOT NULL,
         server_id TEXT NOT NULL,
         metric TEXT NOT NULL,
         value REAL NOT NULL,
         comparison TEXT NOT NULL,
         enabled INTEGER NOT NULL,
         duration INTEGER NOT NULL,
         hysteresis REAL NOT NULL,
         created INTEGER NOT NULL,
         updated INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE alerts (
         id TEXT PRIMARY KEY NOT NULL,
         server_id TEXT NOT NULL,
         cause TEXT,
         subject TEXT,
         threshold_id TEXT,
         kind TEXT NOT NULL,
         severity TEXT NOT NULL,
         message TEXT NOT NULL,
         threshold REAL,
         current_value REAL,
         created INTEGER NOT NULL,
         acknowledged INTEGER,
         resolved INTEGER,
         -- Resolved by hand, and the condition has not been gone since.
         muted INTEGER NOT NULL DEFAULT 0
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX alerts_of_server ON alerts (server_id, created);
     CREATE INDEX alerts_by_time ON alerts (created, id);
     -- What was asked for and what came of it; each hash covers its row and the hash before.
     CREATE TABLE audit (
         number INTEGER PRIMARY KEY,
         at INTEGER NOT NULL,
         phase TEXT NOT NULL,
         order_id TEXT NOT NULL,
         who TEXT NOT NULL,
         key_id TEXT,
         origin TEXT NOT NULL,
         what TEXT NOT NULL,
         result TEXT,
         previous BLOB NOT NULL,
         hash BLOB NOT NULL
     ) STRICT;
     CREATE INDEX audit_of_order ON audit (order_id);
     CREATE TABLE clusters (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         name TEXT NOT NULL UNIQUE,
         description TEXT NOT NULL,
         status TEXT NOT NULL,
         created INTEGER NOT NULL,
         updated INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE nodes (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         name TEXT NOT NULL UNIQUE,
         -- Neither is unique: two networks may use the same addresses, and machines are cloned.
         ip_address TEXT,
         mac_address TEXT,
         status TEXT NOT NULL,
         role TEXT NOT NULL,
         architecture TEXT,
         model TEXT,
         serial_number TEXT,
         cpu_cores INTEGER,
         memory INTEGER,
         cluster_id INTEGER REFERENCES clusters (id),
         os_version TEXT,
         kernel_version TEXT,
         server_id TEXT,
         last_seen INTEGER,
         created INTEGER NOT NULL,
         updated INTEGER NOT NULL
     ) STRICT;",
    // Durable topics. `place` is a number of the hub's one sequence; `at` is in nanoseconds, as PiCloud tells it.
    "CREATE TABLE durable (
         place INTEGER PRIMARY KEY,
         at INTEGER NOT NULL,
         topic TEXT NOT NULL,
         data TEXT NOT NULL,
         -- Both are the publisher's own.
         action TEXT,
         created_at TEXT
     ) STRICT;
     CREATE INDEX durable_of_topic ON durable (topic, place);
     -- The last place of each topic that is no longer kept.
     CREATE TABLE durable_lost (topic TEXT PRIMARY KEY NOT NULL, place INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
];

/// Why a database is not for us; it is left as it is.
#[derive(Debug)]
pub enum Unfit {
    /// Of a later version than [`CURRENT`].
    Newer(i64),
    /// Not one of ours.
    Foreign,
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Unfit {
        Unfit::Sql(error)
    }
}

/// The version, of a database that is ours or empty. Only reads.
///
/// # Errors
/// See [`Unfit`].
pub fn version(db: &Connection) -> Result<i64, Unfit> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if id != APPLICATION_ID && (tables > 0 || version != 0) {
        return Err(Unfit::Foreign);
    }
    if !(0..=CURRENT).contains(&version) {
        return Err(Unfit::Newer(version));
    }
    Ok(version)
}

/// Brings the database to [`CURRENT`].
///
/// # Errors
/// See [`Unfit`]; nothing has changed then.
pub fn migrate(db: &mut Connection) -> Result<(), Unfit> {
    if version(db)? == CURRENT {
        return Ok(());
    }
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again under the lock: another process may just have done it.
    let from = usize::try_from(version(&step)?).unwrap_or_default();
    for sql in MIGRATIONS.iter().skip(from) {
        step.execute_batch(sql)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", CURRENT)?;
    step.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(db: &Connection) -> Vec<(String, String)> {
        let mut query =
            db.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").expect("SQL");
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    }

    /// A database as version `n` left it.
    fn of_version(n: usize) -> Connection {
        let db = Connection::open_in_memory().expect("memory");
        MIGRATIONS.iter().take(n).for_each(|sql| db.execute_batch(sql).expect("SQL"));
        if n > 0 {
            db.pragma_update(None, "application_id", APPLICATION_ID).expect("set");
            db.pragma_update(None, "user_version", n as i64).expect("set");
        }
        db
    }

    #[test]
    fn every_older_version_becomes_the_current_one() {
        let current = shape(&of_version(MIGRATIONS.len()));
        for n in 0..=MIGRATIONS.len() {
            let mut db = of_version(n);
            migrate(&mut db).expect("migrates");
            assert_eq!((version(&db).expect("ours"), shape(&db)), (CURRENT, current.clone()), "from {n}");
            migrate(&mut db).expect("nothing left to do");
        }
    }

    #[test]
    fn a_newer_or_a_foreign_database_is_left_alone() {
        let mut newer = of_version(MIGRATIONS.len());
        newer.pragma_update(None, "user_version", CURRENT + 1).expect("set");
        assert!(matches!(migrate(&mut newer), Err(Unfit::Newer(n)) if n == CURRENT + 1));
        let mut foreign = Connection::open_in_memory().expect("memory");
        foreign.execute_batch("CREATE TABLE theirs (x)").expect("SQL");
        let before = shape(&foreign);
        assert!(matches!(migrate(&mut foreign), Err(Unfit::Foreign)));
        assert_eq!(shape(&foreign), before);
    }
}
