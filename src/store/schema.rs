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
const MIGRATIONS: [&str; 1] = [
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
