//! The keys in the database: one statement per purpose.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db::Db;
use super::time::{millis, moment};
use crate::auth::{Digest, KeyId, Minted, Record};
use crate::types::rights::Rights;

/// A key as the database holds it.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: KeyId,
    pub name: String,
    pub digest: Digest,
    pub created: SystemTime,
    pub expires: Option<SystemTime>,
    pub last_used: Option<SystemTime>,
    pub revoked_at: Option<SystemTime>,
    /// The server whose agent it is for.
    pub server_id: Option<Arc<str>>,
    pub rights: Arc<Rights>,
}

impl Key {
    /// What the gate must know of it.
    pub fn record(&self) -> Record {
        Record {
            id: self.id,
            digest: self.digest,
            expires: self.expires,
            revoked: self.revoked_at.is_some(),
            server_id: self.server_id.clone(),
            rights: Arc::clone(&self.rights),
        }
    }
}

/// What a revocation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    Now,
    Before,
    /// There is no such key.
    Unknown,
}

/// Said of a database that was begun after another one was lost.
const LOST: &str = "keys_lost";

impl Db {
    /// # Errors
    /// SQLite's.
    pub fn add_key(
        &self,
        minted: &Minted,
        name: &str,
        rights: &Rights,
        created: SystemTime,
        expires: Option<SystemTime>,
    ) -> rusqlite::Result<()> {
        add(&self.sql, minted, name, rights, None, created, expires)
    }

    /// All keys, the oldest first, also those that open nothing any more. A row with an id that nobody could show is
    /// left out.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keys(&self) -> rusqlite::Result<Vec<Key>> {
        let server = if self.has_fleet()? { "server_id" } else { "NULL AS server_id" };
        let mut statement = self.sql.prepare(&format!(
            "SELECT id, name, digest, scopes, created, expires, last_used, revoked_at, {server} FROM keys
             ORDER BY created, id"
        ))?;
        let rows = statement.query_map([], key)?;
        rows.filter_map(Result::transpose).collect()
    }

    /// # Errors
    /// SQLite's.
    pub fn revoke_key(&self, id: KeyId, at: SystemTime) -> rusqlite::Result<Revoked> {
        const REVOKE: &str = "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
        const KNOWN: &str = "SELECT 1 FROM keys WHERE id = ?1";
        if self.sql.execute(REVOKE, params![id.as_str(), millis(at)])? == 1 {
            return Ok(Revoked::Now);
        }
        let known = self.sql.query_row(KNOWN, [id.as_str()], |_| Ok(())).optional()?;
        Ok(if known.is_some() { Revoked::Before } else { Revoked::Unknown })
    }

    /// Notes when keys were last used, all or none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn note_uses(&mut self, uses: impl IntoIterator<Item = (KeyId, SystemTime)>) -> rusqlite::Result<()> {
        const SQL: &str = "UPDATE keys SET last_used = max(coalesce(last_used, 0), ?2) WHERE id = ?1";
        let batch = self.sql.transaction()?;
        {
            let mut statement = batch.prepare(SQL)?;
            for (id, at) in uses {
                statement.execute(params![id.as_str(), millis(at)])?;
            }
        }
        batch.commit()
    }

    /// Notes that keys were lost with an earlier database: the door that nobody decided about stays closed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn note_loss(&self) -> rusqlite::Result<()> {
        self.sql.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, '')", [LOST]).map(drop)
    }

    /// # Errors
    /// SQLite's.
    pub fn lost_keys(&self) -> rusqlite::Result<bool> {
        self.sql.query_row("SELECT EXISTS (SELECT 1 FROM facts WHERE name = ?1)", [LOST], |row| row.get(0))
    }
}

/// Keeps a new key; one of a server's agent opens nothing but that agent's part.
pub(super) fn add(
    sql: &Connection,
    minted: &Minted,
    name: &str,
    rights: &Rights,
    server_id: Option<&str>,
    created: SystemTime,
    expires: Option<SystemTime>,
) -> rusqlite::Result<()> {
    const SQL: &str = "INSERT INTO keys (id, name, digest, scopes, created, expires, server_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (created, expires) = (millis(created), expires.map(millis));
    let values = params![minted.id.as_str(), name, minted.digest.0, rights.kept(), created, expires, server_id];
    sql.execute(SQL, values).map(drop)
}

fn key(row: &Row<'_>) -> rusqlite::Result<Option<Key>> {
    let time = |n: &str| row.get::<_, Option<i64>>(n).map(|millis| millis.map(moment));
    let Some(id) = KeyId::parse(&row.get::<_, String>("id")?) else { return Ok(None) };
    Ok(Some(Key {
        id,
        name: row.get("name")?,
        digest: Digest(row.get("digest")?),
        created: moment(row.get("created")?),
        expires: time("expires")?,
        last_used: time("last_used")?,
        revoked_at: time("revoked_at")?,
        server_id: row.get::<_, Option<String>>("server_id")?.map(Arc::from),
        rights: Arc::new(Rights::from_kept(&row.get::<_, String>("scopes")?)),
    }))
}
