//! Keys of servers' agents, in the database.

use std::time::SystemTime;

use rusqlite::{Connection, Row, params};

use super::keys::add;
use super::time::{millis, moment};
use super::{Store, StoreError};
use crate::auth::{KeyId, Minted};
use crate::rt::clock;
use crate::types::fleet::ApiKey;
use crate::types::rights::Rights;

/// Keys of one server that may be good at once.
const MOST_GOOD: usize = 2;

/// What became of a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentKey {
    Added,
    /// The server has as many good keys as it may have: these.
    TooMany(Vec<ApiKey>),
}

impl Store {
    /// # Errors
    /// See [`StoreError`]; so for all others.
    pub fn add_agent_key(&self, minted: Minted, key: ApiKey) -> Result<AgentKey, StoreError> {
        self.write(move |sql| {
            let mut good = of(sql, Some(&key.server_id))?;
            good.retain(|key| key.is_active);
            if good.len() >= MOST_GOOD {
                return Ok(AgentKey::TooMany(good));
            }
            let name = key.name.as_deref().unwrap_or_default();
            // An agent's key opens what is its server's, so there is nothing for scopes to say.
            let rights = Rights::none();
            add(sql, &minted, name, &rights, Some(&key.server_id), key.created_at, key.expires_at)?;
            Ok(AgentKey::Added)
        })
    }

    /// Those of one server, or all, the oldest first.
    pub fn agent_keys(&self, server_id: Option<&str>) -> Result<Vec<ApiKey>, StoreError> {
        self.read(|sql| of(sql, server_id))
    }

    pub fn agent_key(&self, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.agent_keys(None)?.into_iter().find(|key| key.id == id.as_str()))
    }

    /// Ends a key: its agent is turned out.
    pub fn deactivate_agent_key(&self, id: KeyId, at: SystemTime) -> Result<bool, StoreError> {
        const SQL: &str =
            "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND server_id IS NOT NULL AND revoked_at IS NULL";
        self.write(move |sql| Ok(sql.execute(SQL, params![id.as_str(), millis(at)])? == 1))
    }

    /// Ends a key and forgets it.
    pub fn remove_agent_key(&self, id: KeyId) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM keys WHERE id = ?1 AND server_id IS NOT NULL";
        self.write(move |sql| Ok(sql.execute(SQL, [id.as_str()])? == 1))
    }
}

fn of(sql: &Connection, server_id: Option<&str>) -> rusqlite::Result<Vec<ApiKey>> {
    const SQL: &str = "SELECT id, name, created, expires, last_used, revoked_at, server_id FROM keys
         WHERE server_id IS NOT NULL AND (?1 IS NULL OR server_id = ?1) ORDER BY created, id";
    let now = clock::wall();
    let mut statement = sql.prepare(SQL)?;
    let rows = statement.query_map([server_id], |row| key(row, now))?;
    rows.collect()
}

fn key(row: &Row<'_>, now: SystemTime) -> rusqlite::Result<ApiKey> {
    let time = |n: &str| row.get::<_, Option<i64>>(n).map(|millis| millis.map(moment));
    let (expires_at, revoked) = (time("expires")?, time("revoked_at")?.is_some());
    Ok(ApiKey {
        id: row.get("id")?,
        server_id: row.get("server_id")?,
        name: Some(row.get::<_, String>("name")?).filter(|name| !name.is_empty()),
        is_active: !revoked && expires_at.is_none_or(|at| at > now),
        expires_at,
        last_used: time("last_used")?,
        created_at: moment(row.get("created")?),
    })
}
