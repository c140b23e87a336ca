//! A batch of records into the tables, with how far each stream has come, in one transaction: nothing is there twice,
//! and nothing counts as kept that is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, TransactionBehavior, params};

use super::records::{Kept, KeptWhat, Share, StreamKey};
use super::time::millis;
use super::{facts, points};
use crate::types::fleet::{DeviceEvent, LogEntry, Stamp};

/// The fact that says up to which number records are in the database.
const WRITTEN: &str = "records_written";

/// Streams of a server whose positions are kept, the latest: no honest agent has so many that it could go on with.
const MOST_STREAMS: i64 = 256;

/// What a batch came to.
#[derive(Default)]
pub struct Flushed {
    /// How far each stream that was in it is kept.
    pub positions: Vec<(StreamKey, u64)>,
    /// Records of servers that are no more.
    pub homeless: usize,
}

/// Where streams are, while a batch is written.
#[derive(Default)]
struct Streams {
    servers: BTreeMap<Arc<str>, Option<i64>>,
    positions: BTreeMap<StreamKey, Position>,
}

struct Position {
    server: i64,
    before: u64,
    now: u64,
}

/// Writes a share of what waits. What an agent will be told to forget must survive a power cut, so a batch with numbered
/// records is synchronised when it is committed; one without may be lost with the last minute.
pub fn write(sql: &mut Connection, share: &Share, now: i64) -> rusqlite::Result<Flushed> {
    let numbered = share.records.iter().any(|kept| kept.stamp.is_some());
    sql.pragma_update(None, "synchronous", if numbered { "FULL" } else { "NORMAL" })?;
    let flushed = write_all(sql, share, now);
    sql.pragma_update(None, "synchronous", "FULL")?;
    flushed
}

fn write_all(sql: &mut Connection, share: &Share, now: i64) -> rusqlite::Result<Flushed> {
    let tx = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rolled_up = points::rolled_up(&tx)?;
    let (mut streams, mut batch, mut flushed) = (Streams::default(), points::Batch::default(), Flushed::default());
    let mut rows = Rows::new(&tx)?;
    for kept in &share.records {
        let Kept { server_id, stamp, what } = &**kept;
        let Some(server) = streams.server(&tx, server_id)? else {
            flushed.homeless += 1;
            continue;
        };
        if let Some(stamp) = stamp
            && !streams.advance(&tx, server, server_id, stamp)?
        {
            continue;
        }
        match what {
            KeptWhat::Point(point) => batch.add(server, point, rolled_up, now),
            KeptWhat::Log(entry) => rows.log(server, entry)?,
            KeptWhat::Event(event) => rows.event(server, stamp.as_ref(), event)?,
        }
    }
    drop(rows);
    batch.write(&tx)?;
    for key in &share.repeated {
        if let Some(server) = streams.server(&tx, &key.0)? {
            streams.find(&tx, server, key)?;
        }
    }
    flushed.positions = streams.write(&tx, now)?;
    facts::set(&tx, WRITTEN, i64::try_from(share.up_to).unwrap_or(i64::MAX))?;
    tx.commit()?;
    Ok(flushed)
}

impl Streams {
    fn server(&mut self, sql: &Transaction<'_>, id: &Arc<str>) -> rusqlite::Result<Option<i64>> {
        if let Some(known) = self.servers.get(id) {
            return Ok(*known);
        }
        let number = number(sql, id)?;
        self.servers.insert(Arc::clone(id), number);
        Ok(number)
    }

    fn find(&mut self, sql: &Transaction<'_>, server: i64, key: &StreamKey) -> rusqlite::Result<&mut Position> {
        use std::collections::btree_map::Entry;
        match self.positions.entry(key.clone()) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let before = position(sql, server, &key.1)?.unwrap_or(0);
                Ok(entry.insert(Position { server, before, now: before }))
            }
        }
    }

    /// Whether a record is new; its stream is that far then.
    fn advance(
        &mut self,
        sql: &Transaction<'_>,
        server: i64,
        server_id: &Arc<str>,
        stamp: &Stamp,
    ) -> rusqlite::Result<bool> {
        let key = (Arc::clone(server_id), Arc::clone(&stamp.stream));
        let position = self.find(sql, server, &key)?;
        let new = stamp.seq > position.now;
        if new {
            position.now = stamp.seq;
        }
        Ok(new)
    }

    fn write(self, sql: &Transaction<'_>, now: i64) -> rusqlite::Result<Vec<(StreamKey, u64)>> {
        const SQL: &str = "INSERT INTO streams (server, stream, seq, updated) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (server, stream) DO UPDATE SET seq = excluded.seq, updated = excluded.updated";
        let mut upsert = sql.prepare(SQL)?;
        for (key, position) in self.positions.iter().filter(|(_, position)| position.now > position.before) {
            let seq = i64::try_from(position.now).unwrap_or(i64::MAX);
            upsert.execute(params![position.server, key.1, seq, now])?;
        }
        // An agent has one per run: whoever makes more has the latest.
        const BEYOND: &str = "DELETE FROM streams WHERE server = ?1 AND stream IN
             (SELECT stream FROM streams WHERE server = ?1 ORDER BY updated DESC, stream LIMIT -1 OFFSET ?2)";
        let servers: BTreeSet<i64> = self.positions.values().map(|position| position.server).collect();
        let mut forget = sql.prepare(BEYOND)?;
        for server in servers {
            forget.execute(params![server, MOST_STREAMS])?;
        }
        let known = self.positions.into_iter().filter(|(_, position)| position.now > 0);
        Ok(known.map(|(key, position)| (key, position.now)).collect())
    }
}

/// Up to which number records are in the database.
pub fn written(sql: &Connection) -> rusqlite::Result<u64> {
    Ok(facts::number(sql, WRITTEN)?.and_then(|written| u64::try_from(written).ok()).unwrap_or(0))
}

/// A server's number.
pub fn number(sql: &Connection, server_id: &str) -> rusqlite::Result<Option<i64>> {
    let mut select = sql.prepare("SELECT number FROM servers WHERE id = ?1")?;
    select.query_row([server_id], |row| row.get(0)).optional()
}

/// How far a stream is kept.
pub fn position(sql: &Connection, server: i64, stream: &str) -> rusqlite::Result<Option<u64>> {
    let mut select = sql.prepare("SELECT seq FROM streams WHERE server = ?1 AND stream = ?2")?;
    let seq: Option<i64> = select.query_row(params![server, stream], |row| row.get(0)).optional()?;
    Ok(seq.and_then(|seq| u64::try_from(seq).ok()))
}

/// Appends to the tables of entries and events.
struct Rows<'a> {
    logs: Statement<'a>,
    events: Statement<'a>,
}

impl Rows<'_> {
    fn new<'a>(sql: &'a Transaction<'_>) -> rusqlite::Result<Rows<'a>> {
        const LOGS: &str = "INSERT INTO logs (id, server, at, level, source, component, message, extra)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        const EVENTS: &str =
            "INSERT INTO events (server, stream, seq, at, topic, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        Ok(Rows { logs: sql.prepare(LOGS)?, events: sql.prepare(EVENTS)? })
    }

    fn log(&mut self, server: i64, entry: &LogEntry) -> rusqlite::Result<()> {
        let LogEntry { id, at, level, source, component, message, extra, .. } = entry;
        let values = params![id, server, millis(*at), level.as_str(), source.as_str(), component, message, extra];
        self.logs.execute(values).map(drop)
    }

    fn event(&mut self, server: i64, stamp: Option<&Stamp>, event: &DeviceEvent) -> rusqlite::Result<()> {
        let (stream, seq) = (stamp.map(|stamp| &stamp.stream), stamp.and_then(|stamp| i64::try_from(stamp.seq).ok()));
        self.events.execute(params![server, stream, seq, millis(event.at), event.topic, event.data]).map(drop)
    }
}
