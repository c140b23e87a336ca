//! Facts about the database itself that are numbers, such as how far it is rolled up.

use rusqlite::{Connection, OptionalExtension};

/// A fact that is no number counts as missing.
pub fn number(sql: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut select = sql.prepare("SELECT value FROM facts WHERE name = ?1")?;
    let text: Option<String> = select.query_row([name], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

pub fn set(sql: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    let mut insert = sql.prepare("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)")?;
    insert.execute((name, value.to_string())).map(drop)
}
