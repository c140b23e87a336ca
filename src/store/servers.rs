//! The table of servers, and what goes with one that is removed.

use std::time::SystemTime;

use rusqlite::{Row, params};

use super::time::{millis, moment};
use super::{Store, StoreError, facts};
use crate::types::fleet::{Health, Server, ServerStatus};

/// A server's number: rows by the thousand carry it instead of the id. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerNumber(pub i64);

/// The fact that says which server is the hub's own machine.
const OWN: &str = "own_server";

/// What carries a server's number, and what carries its id.
const BY_NUMBER: [&str; 4] = ["points", "streams", "logs", "events"];
const BY_ID: [&str; 3] = ["keys", "thresholds", "alerts"];

impl Store {
    /// All servers, the oldest first. Status and health are not kept.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn servers(&self) -> Result<Vec<(ServerNumber, Server)>, StoreError> {
        // Who has been heard of since the last orderly end is known by what was kept of it.
        const SQL: &str = "SELECT number, id, owner, name, host, port, metadata, created, updated,
                (SELECT max(at) FROM (
                    SELECT last_seen AS at UNION ALL SELECT max(updated) FROM streams WHERE server = number
                    UNION ALL SELECT max(at) FROM points WHERE server = number AND step = 5
                    UNION ALL SELECT max(at) FROM points WHERE server = number AND step = 60
                    UNION ALL SELECT max(at) FROM points WHERE server = number AND step = 900)) AS seen
            FROM servers ORDER BY created, number";
        self.read(|sql| sql.prepare(SQL)?.query_map([], server)?.collect())
    }

    /// # Errors
    /// See [`StoreError`].
    pub fn add_server(&self, server: &Server) -> Result<ServerNumber, StoreError> {
        const SQL: &str = "INSERT INTO servers (id, owner, name, host, port, metadata, created, updated)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let server = server.clone();
        self.write(move |sql| {
            let Server { id, owner, name, host, port, metadata, created_at, updated_at, .. } = server;
            sql.execute(SQL, params![id, owner, name, host, port, metadata, millis(created_at), millis(updated_at)])?;
            Ok(ServerNumber(sql.last_insert_rowid()))
        })
    }

    /// The number of the server that is the hub's own machine, if it was made.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn own_server(&self) -> Result<Option<ServerNumber>, StoreError> {
        self.read(|sql| Ok(facts::number(sql, OWN)?.map(ServerNumber)))
    }

    /// Notes which server is the hub's own machine.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn note_own_server(&self, number: ServerNumber) -> Result<(), StoreError> {
        self.write(move |sql| facts::set(sql, OWN, number.0))
    }

    /// Writes what its owner says of a server.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn change_server(&self, number: ServerNumber, server: &Server) -> Result<(), StoreError> {
        const SQL: &str =
            "UPDATE servers SET name = ?2, host = ?3, port = ?4, metadata = ?5, updated = ?6 WHERE number = ?1";
        let Server { name, host, port, metadata, updated_at, .. } = server.clone();
        self.write(move |sql| {
            sql.execute(SQL, params![number.0, name, host, port, metadata, millis(updated_at)]).map(drop)
        })
    }

    /// Removes a server, its keys, its thresholds and alerts, and everything its agents handed over.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn remove_server(&self, number: ServerNumber, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |sql| {
            for table in BY_NUMBER {
                sql.execute(&format!("DELETE FROM {table} WHERE server = ?1"), [number.0])?;
            }
            for table in BY_ID {
                sql.execute(&format!("DELETE FROM {table} WHERE server_id = ?1"), [&id])?;
            }
            sql.execute("DELETE FROM servers WHERE number = ?1", [number.0]).map(drop)
        })
    }

    /// Notes when servers were last heard of, all or none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn note_seen(&self, seen: Vec<(ServerNumber, SystemTime)>) -> Result<(), StoreError> {
        self.write(move |sql| {
            let mut statement = sql.prepare("UPDATE servers SET last_seen = ?2 WHERE number = ?1")?;
            seen.iter().try_for_each(|(number, at)| statement.execute(params![number.0, millis(*at)]).map(drop))
        })
    }
}

fn server(row: &Row<'_>) -> rusqlite::Result<(ServerNumber, Server)> {
    let seen: Option<SystemTime> = row.get::<_, Option<i64>>("seen")?.map(moment);
    let server = Server {
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        host: row.get("host")?,
        port: row.get("port")?,
        metadata: row.get::<_, Option<String>>("metadata")?.map(Into::into),
        status: if seen.is_some() { ServerStatus::Offline } else { ServerStatus::Unknown },
        health: Health::Healthy,
        last_seen: seen,
        created_at: moment(row.get("created")?),
        updated_at: moment(row.get("updated")?),
    };
    Ok((ServerNumber(row.get("number")?), server))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn servers_are_kept_changed_and_removed_with_what_is_theirs() {
        let store = Store::start(None).expect("starts");
        let at = moment(5000);
        let made = |id: &str, name: &str| Server {
            id: id.into(),
            owner: Some("u".into()),
            name: name.into(),
            host: None,
            port: Some(65535),
            metadata: Some("{\"a\":1}".into()),
            status: ServerStatus::Unknown,
            health: Health::Healthy,
            last_seen: None,
            created_at: at,
            updated_at: at,
        };
        let (a, b) = (made("a", "one"), made("b", "two"));
        let (first, second) = (store.add_server(&a).expect("a"), store.add_server(&b).expect("b"));
        assert!(matches!(store.add_server(&a), Err(StoreError::Conflict(_))), "an id is there once");
        assert_eq!(store.servers().expect("read"), [(first, a), (second, b.clone())]);

        let changed = Server { name: "three".into(), host: Some("h".into()), updated_at: moment(6000), ..b };
        store.change_server(second, &changed).expect("changed");
        store.note_seen(vec![(second, moment(7000))]).expect("noted");
        let all = "INSERT INTO points (server, step, at, samples) VALUES (?1, 60, 9000, 1)";
        store.write(move |sql| sql.execute(all, [first.0])).expect("a point");
        let seen: Vec<_> = store.servers().expect("read").into_iter().map(|(_, server)| server.last_seen).collect();
        assert_eq!(seen, [Some(moment(9000)), Some(moment(7000))]);

        assert_eq!(store.own_server(), Ok(None));
        store.note_own_server(second).expect("noted");
        assert_eq!(store.own_server(), Ok(Some(second)));
        store.remove_server(second, "b").expect("removed");
        let third = store.add_server(&changed).expect("again");
        assert!(third > second, "a number is not given twice");
        store.remove_server(first, "a").expect("removed");
        let points = |sql: &rusqlite::Connection| sql.query_row("SELECT count(*) FROM points", [], |row| row.get(0));
        assert_eq!(store.read(points), Ok(0));
        store.stop(Duration::from_secs(5));
    }
}
