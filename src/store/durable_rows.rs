//! The rows of durable events: what there is of a topic, and what goes.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};

use super::time::{from_nanos, nanos};
use crate::config::Topic;
use crate::types::durable::Past;
use crate::types::event::{Body, Event};

/// What is kept of a topic.
pub fn past(sql: &Connection, topic: String) -> rusqlite::Result<Past> {
    const EVENTS: &str = "SELECT place, at, data, action, created_at FROM durable WHERE topic = ?1 ORDER BY place";
    const LOST: &str = "SELECT place FROM durable_lost WHERE topic = ?1";
    let mut select = sql.prepare(EVENTS)?;
    let events = select.query_map([&topic], |row| {
        let text = |index| row.get::<_, Option<String>>(index).map(|text| text.map(Into::into));
        let body = Body::Published {
            event: topic.as_str().into(),
            data: text(2)?.unwrap_or_default(),
            action: text(3)?,
            created_at: text(4)?,
        };
        let at = from_nanos(row.get(1)?);
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), Arc::new(Event { at, body })))
    })?;
    let events = events.collect::<rusqlite::Result<Vec<_>>>()?;
    let lost: Option<i64> = sql.prepare(LOST)?.query_row([&topic], |row| row.get(0)).optional()?;
    Ok(Past { topic: topic.into(), lost_to: lost.map_or(0, i64::cast_unsigned), events })
}

/// Takes away what a topic has beyond its rule, and notes the last of it; how many bytes that were.
pub fn cut(sql: &Connection, topic: &str, rule: &Topic, now: SystemTime) -> rusqlite::Result<i64> {
    const MANY: &str = "SELECT place FROM durable WHERE topic = ?1 ORDER BY place DESC LIMIT 1 OFFSET ?2";
    const OLD: &str = "SELECT max(place) FROM durable WHERE topic = ?1 AND at < ?2";
    let keep = i64::try_from(rule.keep).unwrap_or(i64::MAX);
    let many: Option<i64> = sql.prepare(MANY)?.query_row(params![topic, keep], |row| row.get(0)).optional()?;
    let before = nanos(now.checked_sub(rule.keep_for).unwrap_or(SystemTime::UNIX_EPOCH));
    let old: Option<i64> = sql.prepare(OLD)?.query_row(params![topic, before], |row| row.get(0))?;
    let Some(last) = many.max(old) else { return Ok(0) };
    lose(sql, "topic = ?2 AND place <= ?1", params![last, topic])
}

/// Takes the oldest of all topics away, at least so many bytes; how many that were.
pub fn make_room(sql: &Connection, wanted: i64) -> rusqlite::Result<i64> {
    let mut select = sql.prepare(&format!("SELECT place, {BYTES} FROM durable ORDER BY place"))?;
    let mut rows = select.query([])?;
    let (mut last, mut freed) = (0_i64, 0_i64);
    while freed < wanted {
        let Some(row) = rows.next()? else { break };
        last = row.get(0)?;
        freed += row.get::<_, i64>(1)?;
    }
    drop(rows);
    lose(sql, "place <= ?1", params![last])
}

/// Bytes of one event, as `Durable::write` counts them.
const BYTES: &str = "200 + length(CAST(topic AS BLOB)) + length(CAST(data AS BLOB))
     + length(CAST(ifnull(action, '') AS BLOB)) + length(CAST(ifnull(created_at, '') AS BLOB))";

pub fn bytes(sql: &Connection) -> rusqlite::Result<i64> {
    bytes_of(sql, "1", [])
}

pub fn bytes_of(sql: &Connection, which: &str, values: impl rusqlite::Params) -> rusqlite::Result<i64> {
    let mut select = sql.prepare(&format!("SELECT ifnull(sum({BYTES}), 0) FROM durable WHERE {which}"))?;
    select.query_row(values, |row| row.get(0))
}

/// Deletes these events, and notes for each topic the last that has gone; how many bytes that were.
fn lose(sql: &Connection, which: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<i64> {
    let freed = bytes_of(sql, which, values)?;
    let note = format!(
        "INSERT INTO durable_lost (topic, place)
         SELECT topic, max(place) FROM durable WHERE {which} GROUP BY topic
         ON CONFLICT (topic) DO UPDATE SET place = max(place, excluded.place)"
    );
    sql.prepare(&note)?.execute(values)?;
    sql.prepare(&format!("DELETE FROM durable WHERE {which}"))?.execute(values)?;
    Ok(freed)
}

pub fn strings(sql: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    let mut select = sql.prepare(query)?;
    let rows = select.query_map([], |row| row.get(0))?;
    rows.collect()
}
