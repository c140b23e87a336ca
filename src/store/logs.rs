//! Log entries and events, as they are asked for.

use rusqlite::{Connection, Row, params};

use super::time::moment;
use crate::types::fleet::{DeviceEvent, LogEntry, LogLevel, LogSource};

/// Which entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// At most so many, the newest.
    pub limit: usize,
    /// Of exactly this level.
    pub level: Option<LogLevel>,
    pub source: Option<LogSource>,
    pub component: Option<String>,
}

impl LogFilter {
    pub(super) fn fits(&self, entry: &LogEntry) -> bool {
        self.level.is_none_or(|level| level == entry.level)
            && self.source.is_none_or(|source| source == entry.source)
            && self.component.as_ref().is_none_or(|component| entry.component.as_ref() == Some(component))
    }
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Grows with each event that is kept, of whatever server.
    pub number: u64,
    /// The agent's stream and number, where it numbers.
    pub stamp: Option<(String, u64)>,
    pub event: DeviceEvent,
}

/// The newest first.
pub(super) fn logs(
    sql: &Connection,
    server: i64,
    server_id: &str,
    filter: &LogFilter,
) -> rusqlite::Result<Vec<LogEntry>> {
    const SQL: &str = "SELECT id, at, level, source, component, message, extra FROM logs
         WHERE server = ?1 AND (?2 IS NULL OR level = ?2) AND (?3 IS NULL OR source = ?3)
         AND (?4 IS NULL OR component = ?4)
         ORDER BY at DESC, number DESC LIMIT ?5";
    let mut select = sql.prepare(SQL)?;
    let (level, source) = (filter.level.map(LogLevel::as_str), filter.source.map(LogSource::as_str));
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let rows =
        select.query_map(params![server, level, source, filter.component, limit], |row| entry(row, server_id))?;
    rows.collect()
}

fn entry(row: &Row<'_>, server_id: &str) -> rusqlite::Result<LogEntry> {
    let (level, source): (String, String) = (row.get("level")?, row.get("source")?);
    Ok(LogEntry {
        id: row.get("id")?,
        server_id: server_id.to_owned(),
        at: moment(row.get("at")?),
        // Other words only somebody else's hand writes.
        level: LogLevel::from_word(&level).unwrap_or(LogLevel::Info),
        source: LogSource::from_word(&source).unwrap_or(LogSource::System),
        component: row.get("component")?,
        message: row.get("message")?,
        extra: row.get("extra")?,
    })
}

/// Those with numbers above `since`, in their order.
pub(super) fn events(sql: &Connection, server: i64, since: u64, limit: usize) -> rusqlite::Result<Vec<KeptEvent>> {
    // By number, which is how they are stored: whoever asks on and on is near the end.
    const SQL: &str = "SELECT number, stream, seq, at, topic, data FROM events NOT INDEXED
         WHERE number > ?2 AND server = ?1 ORDER BY number LIMIT ?3";
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let mut select = sql.prepare(SQL)?;
    let rows = select.query_map(params![server, since, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        let stamp = row.get::<_, Option<String>>("stream")?.zip(row.get::<_, Option<i64>>("seq")?);
        Ok(KeptEvent {
            number: count(row.get("number")?),
            stamp: stamp.map(|(stream, seq)| (stream, count(seq))),
            event: DeviceEvent { at: moment(row.get("at")?), topic: row.get("topic")?, data: row.get("data")? },
        })
    })?;
    rows.collect()
}
