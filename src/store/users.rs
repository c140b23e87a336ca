//! Users, ended logins and what tokens are signed with, in the database.

use std::collections::HashSet;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db::Db;
use super::time::{millis, moment};
use super::{Store, StoreError};
use crate::auth::Account;
use crate::auth::jwt::Secret;
use crate::types::fleet::{Role, User};

/// Logins of one user that are remembered as ended. One more, and all of that user's logins end instead.
const MAX_ENDED: i64 = 200;

/// The fact that is the secret.
const TOKEN_SECRET: &str = "token_secret";

/// The fact that there were users: the door that nobody decided about stays closed.
const HAD_USERS: &str = "had_users";

/// All that the gate must know.
pub(super) struct Known {
    pub accounts: Vec<Account>,
    pub ended: HashSet<Box<str>>,
    pub secret: Option<Secret>,
    /// There is or was a user.
    pub had: bool,
}

impl Db {
    /// All users, the oldest first.
    ///
    /// # Errors
    /// SQLite's; so for all others.
    pub fn users(&self) -> rusqlite::Result<Vec<Account>> {
        users(&self.sql)
    }

    /// The user with this e-mail address, name or id.
    pub fn user(&self, name: &str) -> rusqlite::Result<Option<Account>> {
        let is = |user: &User| {
            user.id == name || user.email.eq_ignore_ascii_case(name) || user.username.eq_ignore_ascii_case(name)
        };
        Ok(self.users()?.into_iter().find(|account| is(&account.user)))
    }

    pub fn add_user(&self, account: &Account) -> rusqlite::Result<()> {
        add(&self.sql, account)
    }

    /// Whether there was such a user; so for the others.
    pub fn set_password(&self, id: &str, hash: &str) -> rusqlite::Result<bool> {
        set_password(&self.sql, id, hash)
    }

    /// A disabled user's tokens are worth nothing, also after it is enabled again.
    pub fn set_active(&self, id: &str, active: bool) -> rusqlite::Result<bool> {
        const SQL: &str = "UPDATE users SET is_active = ?2, generation = generation + (is_active <> ?2) WHERE id = ?1";
        Ok(self.sql.execute(SQL, params![id, active])? == 1)
    }

    /// What somebody was let in to with another role ends: all tokens are worth nothing. The same role changes nothing.
    pub fn set_role(&self, id: &str, role: Role) -> rusqlite::Result<bool> {
        const SQL: &str = "UPDATE users SET role = ?2, generation = generation + (role <> ?2) WHERE id = ?1";
        Ok(self.sql.execute(SQL, [id, role.as_str()])? == 1)
    }

    pub fn remove_user(&self, id: &str) -> rusqlite::Result<bool> {
        self.sql.execute("DELETE FROM ended_logins WHERE user_id = ?1", [id])?;
        Ok(self.sql.execute("DELETE FROM users WHERE id = ?1", [id])? == 1)
    }

    pub(super) fn known_users(&self) -> rusqlite::Result<Known> {
        if !self.has_fleet()? {
            return Ok(Known { accounts: Vec::new(), ended: HashSet::new(), secret: None, had: false });
        }
        let mut logins = self.sql.prepare("SELECT login FROM ended_logins")?;
        let ended = logins.query_map([], |row| row.get::<_, String>(0).map(Box::from))?.collect::<Result<_, _>>()?;
        let had = "SELECT EXISTS (SELECT 1 FROM facts WHERE name = ?1)";
        let had = self.sql.query_row(had, [HAD_USERS], |row| row.get(0))?;
        Ok(Known { accounts: self.users()?, ended, secret: secret(&self.sql)?, had })
    }

    /// Whether the fleet's tables are there: a file of the first version that cannot be written stays one.
    pub(super) fn has_fleet(&self) -> rusqlite::Result<bool> {
        self.sql.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).map(|version| version > 1)
    }
}

impl Store {
    /// # Errors
    /// [`StoreError::Conflict`] where another user has the address or the name; so all others, for other reasons.
    pub fn add_user(&self, account: Account) -> Result<(), StoreError> {
        self.write(move |sql| add(sql, &account))
    }

    /// A new password; all tokens issued before are worth nothing.
    pub fn set_password(&self, id: &str, hash: String) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |sql| set_password(sql, &id, &hash))
    }

    /// The same password at today's cost.
    pub fn renew_hash(&self, id: &str, before: Box<str>, hash: String) -> Result<bool, StoreError> {
        let id = id.to_owned();
        const SQL: &str = "UPDATE users SET password = ?3 WHERE id = ?1 AND password = ?2";
        self.write(move |sql| Ok(sql.execute(SQL, params![id, before, hash])? == 1))
    }

    pub fn set_full_name(&self, id: &str, full_name: Option<String>) -> Result<bool, StoreError> {
        let id = id.to_owned();
        const SQL: &str = "UPDATE users SET full_name = ?2 WHERE id = ?1";
        self.write(move |sql| Ok(sql.execute(SQL, params![id, full_name])? == 1))
    }

    /// Ends logins of a user, to be remembered until the last of their tokens has expired.
    pub fn end_logins(
        &self,
        user: &str,
        logins: Vec<String>,
        now: SystemTime,
        until: SystemTime,
    ) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM ended_logins WHERE until < ?1";
        const END: &str = "INSERT OR REPLACE INTO ended_logins (login, user_id, until) VALUES (?1, ?2, ?3)";
        const COUNT: &str = "SELECT count(*) FROM ended_logins WHERE user_id = ?1";
        const END_ALL: &str = "UPDATE users SET generation = generation + 1 WHERE id = ?1";
        let user = user.to_owned();
        self.write(move |sql| {
            sql.execute(FORGET, [millis(now)])?;
            for login in &logins {
                sql.execute(END, params![login, user, millis(until)])?;
            }
            if sql.query_row(COUNT, [&user], |row| row.get::<_, i64>(0))? > MAX_ENDED {
                sql.execute(END_ALL, [&user])?;
                sql.execute("DELETE FROM ended_logins WHERE user_id = ?1", [&user])?;
            }
            Ok(())
        })
    }

    /// What tokens are signed with: what is kept, or `fresh` from now on.
    pub fn token_secret(&self, fresh: Secret) -> Result<Secret, StoreError> {
        self.write(move |sql| {
            if let Some(kept) = secret(sql)? {
                return Ok(kept);
            }
            let text = URL_SAFE_NO_PAD.encode(fresh.expose());
            sql.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)", [TOKEN_SECRET, &text])?;
            Ok(fresh)
        })
    }
}

fn add(sql: &Connection, account: &Account) -> rusqlite::Result<()> {
    const SQL: &str =
        "INSERT INTO users (id, email, username, full_name, password, role, is_active, created, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let Account { user, password, generation } = account;
    let generation = i64::try_from(*generation).unwrap_or(i64::MAX);
    let values = params![
        user.id,
        user.email,
        user.username,
        user.full_name,
        password,
        user.role.as_str(),
        user.is_active,
        millis(user.created_at),
        generation
    ];
    sql.execute(SQL, values)?;
    sql.execute("INSERT OR IGNORE INTO facts (name, value) VALUES (?1, '')", [HAD_USERS]).map(drop)
}

fn set_password(sql: &Connection, id: &str, hash: &str) -> rusqlite::Result<bool> {
    const SQL: &str = "UPDATE users SET password = ?2, generation = generation + 1 WHERE id = ?1";
    Ok(sql.execute(SQL, [id, hash])? == 1)
}

fn users(sql: &Connection) -> rusqlite::Result<Vec<Account>> {
    const SQL: &str = "SELECT id, email, username, full_name, password, role, is_active, created, generation FROM users
         ORDER BY created, id";
    let mut statement = sql.prepare(SQL)?;
    let rows = statement.query_map([], account)?;
    rows.collect()
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let user = User {
        id: row.get("id")?,
        email: row.get("email")?,
        username: row.get("username")?,
        full_name: row.get("full_name")?,
        is_active: row.get("is_active")?,
        // A word of a later version: less than it meant rather than more.
        role: Role::from_word(&row.get::<_, String>("role")?).unwrap_or(Role::Viewer),
        created_at: moment(row.get("created")?),
    };
    let generation = u64::try_from(row.get::<_, i64>("generation")?).unwrap_or_default();
    Ok(Account { user, password: row.get::<_, String>("password")?.into(), generation })
}

/// One that cannot be read is as good as none: another is made, and all tokens are worth nothing.
fn secret(sql: &Connection) -> rusqlite::Result<Option<Secret>> {
    const SQL: &str = "SELECT value FROM facts WHERE name = ?1";
    let text = sql.query_row(SQL, [TOKEN_SECRET], |row| row.get::<_, String>(0)).optional()?;
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(Secret::new))
}
