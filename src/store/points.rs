//! A server's history: samples folded into steps of 5 s, 1 min and 15 min.
//!
//! A sample is one row's part at the step of 5 s. Once a quarter of an hour is over, its rows are folded into those of
//! 1 min and 15 min, in one go: writing all three with every batch would wear a card three times as fast. `rolled_up`
//! says how far that has come; a sample from before (an agent was away) goes into the longer steps at once. Whoever reads
//! a longer step folds what is not rolled up yet, and what waits to be written, by the same rules.
//!
//! The five measured values are kept in hundredths.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Statement, params};

use super::facts;
use super::time::{millis, moment};
use crate::types::fleet::Point;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A length of the history's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// As the table has it.
    pub seconds: i64,
    /// How far back it goes, in milliseconds.
    pub kept: i64,
}

/// Every step, the finest first.
pub const STEPS: [Step; 3] = [
    Step { seconds: 5, kept: HOUR },
    Step { seconds: 60, kept: DAY },
    // The longest month.
    Step { seconds: 900, kept: 31 * DAY },
];

const FINEST: Step = STEPS[0];

/// How far a sample's clock may be ahead of ours, which may be the one that is wrong; more counts as so much.
const AHEAD: i64 = DAY;

/// What is rolled up together, and the longest step.
pub const WINDOW: i64 = 15 * MINUTE;

/// How much farther back than its steps say a history goes: who asks for the last hour gets all of it.
pub const SLACK: i64 = WINDOW;

/// From the end of such a window to its being rolled up: most samples are there by then.
pub const LATE: i64 = 2 * MINUTE;

/// The fact that says up to when rows of 5 s are rolled up.
const ROLLED_UP: &str = "rolled_up";

const UPSERT: &str =
    "INSERT INTO points (server, step, at, samples, cpu, memory, disk, temperature, load_1m, sent, received)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

const SELECT: &str = "SELECT at, samples, cpu, memory, disk, temperature, load_1m, sent, received FROM points
     WHERE server = ?1 AND step = ?2 AND at BETWEEN ?3 AND ?4 ORDER BY at";

impl Step {
    fn begin(self, at: i64) -> i64 {
        at - at.rem_euclid(self.seconds * SECOND)
    }
}

/// Samples of one step, taken together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folded {
    samples: i64,
    /// Sum and weight of each value, for cpu, memory, disk, temperature and load.
    values: [(f64, i64); 5],
    /// The last sample's time, and its counters.
    last: i64,
    sent: Option<i64>,
    received: Option<i64>,
}

impl Folded {
    fn of(point: &Point) -> Folded {
        let count = i64::from(point.samples.max(1));
        let value = |known: Option<f64>| match known {
            Some(known) if known.is_finite() && known.abs() < 1e12 => (known * 100.0 * count as f64, count),
            _ => (0.0, 0),
        };
        let counter = |known: Option<u64>| known.map(|known| i64::try_from(known).unwrap_or(i64::MAX));
        Folded {
            samples: count,
            values: [
                point.cpu_percent,
                point.memory_percent,
                point.disk_percent,
                point.temperature_celsius,
                point.load_1m,
            ]
            .map(value),
            last: millis(point.at),
            sent: counter(point.bytes_sent),
            received: counter(point.bytes_received),
        }
    }

    fn of_row(row: &Row<'_>) -> rusqlite::Result<(i64, Folded)> {
        let (last, samples): (i64, i64) = (row.get(0)?, row.get(1)?);
        let mut values = [(0.0, 0); 5];
        for (i, value) in values.iter_mut().enumerate() {
            if let Some(known) = row.get::<_, Option<i64>>(2 + i)? {
                *value = (known as f64 * samples as f64, samples);
            }
        }
        Ok((last, Folded { samples, values, last, sent: row.get(7)?, received: row.get(8)? }))
    }

    fn add(&mut self, other: &Folded) {
        self.samples += other.samples;
        for (mine, theirs) in self.values.iter_mut().zip(other.values) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1);
        }
        if other.last >= self.last {
            (self.last, self.sent, self.received) =
                (other.last, other.sent.or(self.sent), other.received.or(self.received));
        }
    }

    /// The means, in hundredths.
    fn means(&self) -> [Option<f64>; 5] {
        self.values.map(|(sum, weight)| (weight > 0).then(|| (sum / weight as f64).round()))
    }

    fn point(&self, at: i64) -> Point {
        let [cpu_percent, memory_percent, disk_percent, temperature_celsius, load_1m] =
            self.means().map(|mean| mean.map(|mean| mean / 100.0));
        let counter = |known: Option<i64>| known.and_then(|known| u64::try_from(known).ok());
        Point {
            at: moment(at),
            samples: u32::try_from(self.samples).unwrap_or(u32::MAX),
            cpu_percent,
            memory_percent,
            disk_percent,
            temperature_celsius,
            load_1m,
            bytes_sent: counter(self.sent),
            bytes_received: counter(self.received),
        }
    }
}

/// Samples on their way into the table: per server, step and time.
#[derive(Default)]
pub struct Batch(BTreeMap<(i64, i64, i64), Folded>);

impl Batch {
    /// Takes a sample in. `rolled_up` is how far the table's rows of 5 s are rolled up.
    pub fn add(&mut self, server: i64, point: &Point, rolled_up: i64, now: i64) {
        let at = millis(point.at).min(now + AHEAD);
        let folded = Folded::of(point);
        for step in STEPS {
            let rolled = at < rolled_up;
            let wanted = if step == FINEST { !rolled || at >= now - step.kept - SLACK } else { rolled };
            if wanted && at >= now - STEPS[2].kept - SLACK {
                self.0.entry((server, step.seconds, step.begin(at))).or_default().add(&folded);
            }
        }
    }

    /// Writes all of it, each row once.
    pub fn write(&self, sql: &Connection) -> rusqlite::Result<()> {
        let mut upsert = sql.prepare(&upsert())?;
        for ((server, step, at), folded) in &self.0 {
            execute(&mut upsert, *server, *step, *at, folded)?;
        }
        Ok(())
    }
}

fn execute(upsert: &mut Statement<'_>, server: i64, step: i64, at: i64, folded: &Folded) -> rusqlite::Result<()> {
    let [cpu, memory, disk, temperature, load] = folded.means().map(|mean| mean.map(|mean| mean as i64));
    let Folded { samples, sent, received, .. } = folded;
    upsert.execute(params![server, step, at, samples, cpu, memory, disk, temperature, load, sent, received]).map(drop)
}

/// A row that is there already becomes the mean of both, each with the weight of all its samples, also those that did not
/// know a value.
fn upsert() -> String {
    let mut text =
        format!("{UPSERT} ON CONFLICT (server, step, at) DO UPDATE SET samples = samples + excluded.samples");
    for name in ["cpu", "memory", "disk", "temperature", "load_1m"] {
        text += &format!(
            ", {name} = CASE WHEN {name} IS NULL THEN excluded.{name} WHEN excluded.{name} IS NULL THEN {name} ELSE \
             CAST(round(({name} * samples + excluded.{name} * excluded.samples) * 1.0 / (samples + excluded.samples)) \
             AS INTEGER) END"
        );
    }
    text + ", sent = coalesce(excluded.sent, sent), received = coalesce(excluded.received, received)"
}

/// How far the rows of 5 s are rolled up.
pub fn rolled_up(sql: &Connection) -> rusqlite::Result<i64> {
    Ok(facts::number(sql, ROLLED_UP)?.unwrap_or(0))
}

/// How far they are to be rolled up at this time.
pub fn due(now: i64) -> i64 {
    let at = now - LATE;
    at - at.rem_euclid(WINDOW)
}

/// Rolls up what has happened before `until`, the end of a window. To be called in a transaction.
pub fn roll_up(sql: &Connection, until: i64) -> rusqlite::Result<()> {
    let from = rolled_up(sql)?;
    if until <= from {
        return Ok(());
    }
    let mut select = sql.prepare(SELECT)?;
    let mut upsert = sql.prepare(&upsert())?;
    for server in servers(sql)? {
        let mut longer: BTreeMap<(i64, i64), Folded> = BTreeMap::new();
        let mut rows = select.query(params![server, FINEST.seconds, from, until - 1])?;
        while let Some(row) = rows.next()? {
            let (at, folded) = Folded::of_row(row)?;
            for step in &STEPS[1..] {
                longer.entry((step.seconds, step.begin(at))).or_default().add(&folded);
            }
        }
        for ((step, at), folded) in &longer {
            execute(&mut upsert, server, *step, *at, folded)?;
        }
    }
    facts::set(sql, ROLLED_UP, until)
}

/// The numbers of all servers that have points. Each costs one look into the index.
pub fn servers(sql: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut next = sql.prepare("SELECT min(server) FROM points WHERE server > ?1")?;
    let (mut found, mut after) = (Vec::new(), i64::MIN);
    while let Some(server) = next.query_row([after], |row| row.get::<_, Option<i64>>(0))? {
        found.push(server);
        after = server;
    }
    Ok(found)
}

/// The finest step that reaches back to `start` and has no more than `limit` points up to `end`; else the longest.
pub fn step_for(start: i64, end: i64, limit: usize, now: i64) -> Step {
    let fits = |step: &&Step| {
        let points = end.saturating_sub(start) / (step.seconds * SECOND);
        start >= now - step.kept - SLACK && usize::try_from(points).is_ok_and(|points| points <= limit)
    };
    STEPS.iter().find(fits).copied().unwrap_or(STEPS[2])
}

/// The points of one server from the step that holds `start` up to `end`, the oldest first, at most the last `limit`.
/// `waiting` are those that are not in the table yet.
pub fn history<'a>(
    sql: &Connection,
    server: i64,
    (start, end): (i64, i64),
    limit: usize,
    waiting: impl Iterator<Item = &'a Point>,
    now: i64,
) -> rusqlite::Result<Vec<Point>> {
    let step = step_for(start, end, limit, now);
    let start = step.begin(start);
    let mut found: BTreeMap<i64, Folded> = BTreeMap::new();
    let mut select = sql.prepare(SELECT)?;
    let mut read = |of: Step, from: i64| -> rusqlite::Result<()> {
        let mut rows = select.query(params![server, of.seconds, from, end])?;
        while let Some(row) = rows.next()? {
            let (at, folded) = Folded::of_row(row)?;
            found.entry(step.begin(at)).or_default().add(&folded);
        }
        Ok(())
    };
    read(step, start)?;
    if step != FINEST {
        read(FINEST, start.max(rolled_up(sql)?))?;
    }
    for point in waiting {
        let at = millis(point.at).min(now + AHEAD);
        if (start..=end).contains(&at) {
            found.entry(step.begin(at)).or_default().add(&Folded::of(point));
        }
    }
    let over = found.len().saturating_sub(limit);
    Ok(found.iter().skip(over).map(|(at, folded)| folded.point(*at)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::db::Db;
    use super::*;

    const NOW: i64 = 1_800_000_000 * SECOND;

    fn sample(at: i64, cpu: Option<f64>) -> Point {
        Point {
            at: moment(at),
            samples: 1,
            cpu_percent: cpu,
            memory_percent: None,
            disk_percent: None,
            temperature_celsius: None,
            load_1m: None,
            bytes_sent: u64::try_from(at / SECOND).ok(),
            bytes_received: None,
        }
    }

    fn write(db: &Db, samples: &[Point], now: i64) {
        let mut batch = Batch::default();
        let rolled_up = rolled_up(&db.sql).expect("a number");
        samples.iter().for_each(|point| batch.add(1, point, rolled_up, now));
        batch.write(&db.sql).expect("written");
    }

    fn read(db: &Db, back: i64, limit: usize, now: i64) -> Vec<Point> {
        history(&db.sql, 1, (now - back, now), limit, [].iter(), now).expect("read")
    }

    fn counts(points: &[Point]) -> Vec<u32> {
        points.iter().map(|point| point.samples).collect()
    }

    #[test]
    fn the_finest_step_that_fits_is_taken() {
        let step = |back: i64, limit| step_for(NOW - back, NOW, limit, NOW).seconds;
        assert_eq!((step(HOUR, 720), step(HOUR, 719), step(HOUR, 59)), (5, 60, 900));
        assert_eq!((step(DAY, 1440), step(DAY, 1439), step(2 * DAY, 10_000), step(99 * DAY, 1)), (60, 900, 900, 900));
    }

    #[test]
    fn nothing_changes_when_it_is_rolled_up() {
        let db = Db::in_memory().expect("memory");
        let samples: Vec<Point> =
            (1..=1440).map(|n| sample(NOW - n * 5 * SECOND, (n % 7 != 0).then_some((n % 100) as f64))).collect();
        write(&db, &samples, NOW);
        let before = [read(&db, HOUR, 2000, NOW), read(&db, 5 * HOUR, 2000, NOW), read(&db, 9 * DAY, 2000, NOW)];
        assert_eq!(counts(&before[0]).len(), 720);
        assert!(counts(&before[1]).iter().all(|samples| *samples == 12));
        assert_eq!(counts(&before[2]).iter().sum::<u32>(), 1440);
        let due = due(NOW);
        assert!(due <= NOW - LATE && due % WINDOW == 0);
        roll_up(&db.sql, due).expect("rolled up");
        roll_up(&db.sql, due - WINDOW).expect("nothing to do");
        assert_eq!(rolled_up(&db.sql), Ok(due));
        for (back, before) in [HOUR, 5 * HOUR, 9 * DAY].into_iter().zip(before) {
            let after = read(&db, back, 2000, NOW);
            assert_eq!(counts(&after), counts(&before));
            for (after, before) in after.iter().zip(&before) {
                assert_eq!((after.at, after.bytes_sent), (before.at, before.bytes_sent));
                let apart = after.cpu_percent.zip(before.cpu_percent).map(|(after, before)| (after - before).abs());
                assert!(apart.is_none_or(|apart| apart <= 0.01), "{after:?} {before:?}");
            }
        }
    }

    #[test]
    fn what_comes_late_is_folded_in_with_its_weight() {
        let db = Db::in_memory().expect("memory");
        let old = NOW - 5 * HOUR;
        let minute = old - old.rem_euclid(MINUTE);
        roll_up(&db.sql, due(NOW)).expect("nothing");
        write(&db, &[10.0, 20.0, 30.0].map(|cpu| sample(minute + SECOND, Some(cpu))), NOW);
        write(&db, &[sample(minute + 31 * SECOND, Some(80.0))], NOW);
        let found = read(&db, 6 * HOUR, 1440, NOW);
        assert_eq!((counts(&found), found[0].cpu_percent), (vec![4], Some(35.0)));
        assert_eq!(counts(&read(&db, 6 * DAY, 1440, NOW)), [4]);
        // It is not there a second time when the next window is rolled up.
        roll_up(&db.sql, due(NOW) + WINDOW).expect("rolled up");
        assert_eq!(counts(&read(&db, 6 * HOUR, 1440, NOW)), [4]);
    }

    #[test]
    fn a_clock_that_is_ahead_or_far_behind_does_no_harm() {
        let db = Db::in_memory().expect("memory");
        write(&db, &[sample(NOW + 900 * DAY, Some(1.0)), sample(0, Some(1.0)), sample(NOW, Some(f64::NAN))], NOW);
        let all = history(&db.sql, 1, (0, NOW + 2 * DAY), 10, [].iter(), NOW).expect("read");
        assert_eq!(counts(&all), [1, 1]);
        assert_eq!((all[0].cpu_percent, all[1].cpu_percent), (None, Some(1.0)));
    }
}
