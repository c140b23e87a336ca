//! Databases of older versions, and large or damaged ones, as a daemon meets them.

mod common;

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use common::{Daemon, TempDir};
use pinwire::auth::mint;
use pinwire::store::{LogFilter, Store, StoreError};
use rusqlite::{Connection, params};

/// As version 1 wrote it. It is not changed any more.
const VERSION_1: &str = "
    CREATE TABLE keys (
         id TEXT PRIMARY KEY NOT NULL,
         name TEXT NOT NULL,
         digest BLOB NOT NULL CHECK (length(digest) = 32),
         scopes TEXT NOT NULL DEFAULT 'all',
         created INTEGER NOT NULL,
         expires INTEGER,
         last_used INTEGER,
         revoked_at INTEGER
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     PRAGMA application_id = 1347897682;
     PRAGMA user_version = 1;";

const CURRENT: i64 = 3;

fn version(file: &Path) -> i64 {
    let sql = Connection::open(file).expect("opens");
    let sound: String = sql.pragma_query_value(None, "integrity_check", |row| row.get(0)).expect("a check");
    assert_eq!(sound, "ok");
    sql.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number")
}

fn serve(dir: TempDir) -> Daemon {
    let state = dir.path().join("state");
    Daemon::start_in(dir, |command| {
        command.arg("--state-dir").arg(state);
    })
}

#[test]
fn a_database_of_version_1_keeps_its_keys() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    fs::create_dir_all(&state).expect("a directory");
    let file = state.join("pinwire.db");
    let (good, ended) = (mint().expect("random"), mint().expect("random"));
    let sql = Connection::open(&file).expect("made");
    let mode: String = sql.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).expect("set");
    assert_eq!(mode, "wal");
    sql.execute_batch(VERSION_1).expect("SQL");
    for (minted, revoked) in [(&good, None), (&ended, Some(5000))] {
        let insert =
            "INSERT INTO keys (id, name, digest, created, last_used, revoked_at) VALUES (?1, 'a', ?2, 1, 2, ?3)";
        sql.execute(insert, params![minted.id.as_str(), minted.digest.0, revoked]).expect("inserted");
    }
    drop(sql);
    let mut daemon = serve(dir);
    let status = |key: &str| daemon.http("GET", "/pins", &[("X-API-Key", key)], "").status;
    assert_eq!((status(&good.text), status(&ended.text), daemon.get("/pins").status), (200, 401, 401));
    assert_eq!(daemon.get("/health").json()["store"]["state"], "ok");
    assert!(daemon.stop().success());
    assert_eq!(version(&file), CURRENT);
    let sql = Connection::open(&file).expect("opens");
    let keys: i64 =
        sql.query_row("SELECT count(*) FROM keys WHERE last_used >= 2", [], |row| row.get(0)).expect("keys");
    assert_eq!(keys, 2);
}

#[test]
fn an_empty_file_becomes_a_database() {
    let dir = TempDir::new();
    let file = dir.file("state/pinwire.db", "");
    let mut daemon = serve(dir);
    assert_eq!(daemon.get("/health").json()["store"]["state"], "ok");
    assert!(daemon.stop().success());
    assert_eq!(version(&file), CURRENT);
}

/// More than is read whole at each start.
fn large(state: &Path) {
    fs::create_dir_all(state).expect("a directory");
    let store = Store::start(Some(state)).expect("a store");
    let filled = store.write(|sql| {
        sql.execute("INSERT INTO servers (id, name, created, updated) VALUES ('a', 'a', 1, 1)", [])?;
        let mut insert = sql.prepare(
            "INSERT INTO logs (id, server, at, level, source, message) VALUES ('i', 1, ?1, 'info', 'system', ?2)",
        )?;
        let message = "x".repeat(4000);
        (0..5000).try_for_each(|at| insert.execute(params![at, message]).map(drop))
    });
    filled.expect("written");
    store.stop(Duration::from_secs(20));
}

#[test]
fn damage_that_is_met_later_is_looked_for_at_the_next_start() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    large(&state);
    let file = state.join("pinwire.db");
    // A page somewhere in the middle of the entries.
    let mut bytes = fs::OpenOptions::new().read(true).write(true).open(&file).expect("opens");
    let middle = bytes.metadata().expect("its size").len() / 2 / 4096 * 4096;
    assert!(middle > 8 * 1024 * 1024);
    bytes.seek(SeekFrom::Start(middle)).expect("there");
    let mut page = [0; 4096];
    bytes.read_exact(&mut page).expect("a page");
    bytes.seek(SeekFrom::Start(middle)).expect("there");
    bytes.write_all(&[0xA5; 4096]).expect("damaged");
    drop(bytes);

    let store = Store::start(Some(&state)).expect("starts: nobody has met it");
    let all = LogFilter { limit: 10_000, level: None, source: None, component: None };
    assert!(matches!(store.logs("a", &all), Err(StoreError::Unwritable(_))), "it is met");
    let said = format!("{:?}", store.health());
    assert!(said.contains("is damaged"), "{said}");
    assert!(store.write(|sql| sql.execute("INSERT INTO facts VALUES ('x', 'y')", [])).is_ok(), "the rest works");
    assert_eq!(format!("{:?}", store.health()), said, "and it is still said");
    store.stop(Duration::from_secs(20));

    let daemon = serve(dir);
    daemon.wait_for_log("it was set aside as");
    assert_eq!(daemon.get("/health").json()["store"]["state"], "ok");
    assert_eq!(daemon.get("/pins").status, 401, "there may have been keys");
}
