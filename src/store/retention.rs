//! What goes, and when: points after what their step is kept for, log entries and events after a month, resolved alerts
//! after three; and the oldest of points, entries and events before that, where the database has become too large.
//!
//! Its size is that of the pages in use. Freed ones are used again, so the file does not grow beyond the largest that it
//! was; it does not shrink either. SQLite's write-ahead log is beside it, a few MiB.
//!
//! A sweep goes from server to server, a bounded piece at a time: other writes come in between.

use rusqlite::{Connection, TransactionBehavior, params};

use super::points::{self, SLACK, STEPS};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// How long log entries and events are kept.
const RECORDS_KEPT: i64 = 31 * DAY;

/// How long resolved alerts are kept.
const ALERTS_KEPT: i64 = 92 * DAY;

/// How long it is known how far a stream has come that is silent: longer than any agent keeps what it could not hand
/// over.
const STREAMS_KEPT: i64 = 92 * DAY;

/// Entries or events that go at a time.
const PIECE: usize = 500;

/// A sweep that makes room takes this part of the time there is something of, again and again.
const PART: i64 = 16;

/// A sweep for lack of room ends when the database is this much of what it may be, in percent.
const ENOUGH: u64 = 90;

/// One way through all servers.
pub struct Sweep {
    servers: Vec<i64>,
    /// Points of each step, entries and events go that are older.
    points: [i64; 3],
    records: i64,
    /// Whether it is for room.
    trims: bool,
}

impl Sweep {
    /// What is to go because of its age.
    pub fn by_age(sql: &Connection, now: i64) -> rusqlite::Result<Sweep> {
        sql.execute("DELETE FROM alerts WHERE resolved < ?1 AND muted = 0", [now - ALERTS_KEPT])?;
        sql.execute("DELETE FROM streams WHERE updated < ?1", [now - STREAMS_KEPT])?;
        let rolled_up = points::rolled_up(sql)?;
        let [fine, middle, long] = STEPS.map(|step| now - step.kept - SLACK);
        let points = [fine.min(rolled_up), middle, long];
        Ok(Sweep { servers: servers(sql)?, points, records: now - RECORDS_KEPT, trims: false })
    }

    /// What is to go for room; `None` where nothing is left that could.
    pub fn for_room(sql: &Connection, now: i64) -> rusqlite::Result<Option<Sweep>> {
        let servers = servers(sql)?;
        let mut oldest: Option<i64> = None;
        for server in &servers {
            let mut note = |query: &str| -> rusqlite::Result<()> {
                let found: Option<i64> = sql.prepare(query)?.query_row([server], |row| row.get(0))?;
                oldest = oldest.into_iter().chain(found).min();
                Ok(())
            };
            for step in STEPS {
                note(&format!("SELECT min(at) FROM points WHERE server = ?1 AND step = {}", step.seconds))?;
            }
            note("SELECT min(at) FROM logs WHERE server = ?1")?;
            note("SELECT min(at) FROM events WHERE server = ?1")?;
        }
        let Some(oldest) = oldest else { return Ok(None) };
        let before = oldest + ((now - oldest) / PART).max(60_000);
        Ok(Some(Sweep { servers, points: [before; 3], records: before, trims: true }))
    }

    /// Whether it is for room.
    pub fn trims(&self) -> bool {
        self.trims
    }

    /// Takes a piece away; whether there may be more.
    pub fn go_on(&mut self, sql: &mut Connection) -> rusqlite::Result<bool> {
        const LOGS: &str = "DELETE FROM logs WHERE number IN
             (SELECT number FROM logs WHERE server = ?1 AND at < ?2 ORDER BY at LIMIT ?3)";
        const EVENTS: &str = "DELETE FROM events WHERE number IN
             (SELECT number FROM events WHERE server = ?1 AND at < ?2 ORDER BY at LIMIT ?3)";
        const POINTS: &str = "DELETE FROM points WHERE server = ?1 AND step = ?2 AND at < ?3";
        let Some(server) = self.servers.last().copied() else { return Ok(false) };
        let piece = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (step, before) in STEPS.iter().zip(self.points) {
            piece.prepare(POINTS)?.execute(params![server, step.seconds, before])?;
        }
        let mut more = false;
        for query in [LOGS, EVENTS] {
            let gone = piece.prepare(query)?.execute(params![server, self.records, PIECE as i64])?;
            more |= gone == PIECE;
        }
        piece.commit()?;
        if !more {
            self.servers.pop();
        }
        Ok(!self.servers.is_empty())
    }
}

/// Bytes of the pages in use.
pub fn size(sql: &Connection) -> rusqlite::Result<u64> {
    let number = |name| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = (number("page_count")? - number("freelist_count")?).max(0) * number("page_size")?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Whether a database of this size is small enough again, once it was too large.
pub fn is_enough(size: u64, most: u64) -> bool {
    size <= most / 100 * ENOUGH
}

/// All servers of which there is something. Each costs a look into an index.
fn servers(sql: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut found = points::servers(sql)?;
    for table in ["logs", "events"] {
        let mut next = sql.prepare(&format!("SELECT min(server) FROM {table} WHERE server > ?1"))?;
        let mut after = i64::MIN;
        while let Some(server) = next.query_row([after], |row| row.get::<_, Option<i64>>(0))? {
            found.push(server);
            after = server;
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::db::Db;
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    /// Points, entries and events of `servers`, one each per age.
    fn filled(servers: i64, ages: &[i64], text: usize) -> Db {
        let db = Db::in_memory().expect("memory");
        let text = "x".repeat(text);
        for server in 1..=servers {
            for age in ages {
                let at = NOW - age;
                for step in STEPS {
                    let point = "INSERT INTO points (server, step, at, samples) VALUES (?1, ?2, ?3, 1)";
                    db.sql.execute(point, params![server, step.seconds, at]).expect("a point");
                }
                let log = "INSERT INTO logs (id, server, at, level, source, message) VALUES ('', ?1, ?2, '', '', ?3)";
                db.sql.execute(log, params![server, at, text]).expect("an entry");
                let event = "INSERT INTO events (server, at, topic, data) VALUES (?1, ?2, '', ?3)";
                db.sql.execute(event, params![server, at, text]).expect("an event");
            }
        }
        db
    }

    fn count(db: &Db, what: &str) -> i64 {
        db.sql.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).expect("a number")
    }

    fn sweep(db: &mut Db, mut sweep: Sweep) {
        while sweep.go_on(&mut db.sql).expect("swept") {}
    }

    #[test]
    fn what_is_too_old_goes_of_every_server() {
        let mut db = filled(3, &[0, DAY / 2, 2 * DAY, 32 * DAY], 10);
        points::roll_up(&db.sql, points::due(NOW)).expect("rolled up");
        let by_age = Sweep::by_age(&db.sql, NOW).expect("a sweep");
        sweep(&mut db, by_age);
        let left = [5, 60, 900].map(|step| count(&db, &format!("points WHERE step = {step}")));
        // What was of 5 s is in the longer steps, which had points there already.
        assert_eq!(left, [3, 6, 9]);
        assert_eq!((count(&db, "logs"), count(&db, "events")), (9, 9));
    }

    #[test]
    fn for_room_the_oldest_go_until_it_is_enough() {
        let ages: Vec<i64> = (0..600).map(|n| n * DAY / 24).collect();
        let mut db = filled(2, &ages, 2000);
        let before = size(&db.sql).expect("a size");
        let most = before / 2;
        let mut sweeps = 0;
        while !is_enough(size(&db.sql).expect("a size"), most) {
            let for_room = Sweep::for_room(&db.sql, NOW).expect("reads").expect("something is left");
            sweep(&mut db, for_room);
            sweeps += 1;
        }
        assert!((2..40).contains(&sweeps), "{sweeps}");
        let oldest = |table: &str| {
            let query = format!("SELECT min(at) FROM {table}");
            db.sql.query_row(&query, [], |row| row.get::<_, i64>(0)).expect("a time")
        };
        assert_eq!((oldest("logs"), oldest("events")), (oldest("points"), oldest("points")), "all alike");
        assert_eq!(count(&db, "logs WHERE at = 1800000000000"), 2, "the newest stay");
        assert!(size(&db.sql).expect("a size") > most / 2, "no more than is needed");
        let empty = Db::in_memory().expect("memory");
        assert!(Sweep::for_room(&empty.sql, NOW).expect("reads").is_none());
    }
}
