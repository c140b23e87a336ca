//! Events of durable topics, and the numbers of the hub's sequence.
//!
//! Every batch is a transaction of its own and synchronised; its events have the numbers that the hub gave them. Numbers
//! are reserved in blocks, so that none is given twice whatever the process's end. The epoch is the database's and stays,
//! while the same topics are durable: what was published to one while it was not is nowhere. Where a start could not
//! reserve, the hub has begun an epoch of its own, which the first batch that can be written makes the database's.
//!
//! Of each topic the latest `keep` events stay, for `keep_for`; of all together `store.durable_mib`, the oldest go first.
//! What has gone is known by its last number, so that nobody takes the rest for the whole.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::TrySendError;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::error::is_damage;
use super::write::{Attempt, Job};
use super::{Store, StoreError, durable_rows as rows, facts};
use crate::config::Topic;
use crate::rt::{clock, random};
use crate::types::durable::{BLOCK, Batch, MOST_TOPICS, NotKept, Sequence};
use crate::types::event::Body;

/// The facts that hold the sequence.
const EPOCH: &str = "sequence_epoch";
const RESERVED: &str = "sequence_reserved";
const TOPICS: &str = "sequence_topics";

/// How often what is too old is looked for, while anything is published.
const AGE_INTERVAL: Duration = Duration::from_secs(3600);

/// A topic may have this part more than it is to keep before the rest goes: that is looked for less often.
const SLACK: u64 = 8;

/// What an event takes besides its texts, about: in memory, where it is as well.
const OVERHEAD: i64 = 200;

/// When the database has more than it may, it is brought down to this, in percent.
const ENOUGH: i64 = 90;

/// Hears what became of a batch; called on the store's thread, and must not wait.
pub type Told = Box<dyn FnOnce(Result<(), NotKept>) + Send>;

/// A batch that was handed in.
#[derive(Clone)]
pub struct Handed(Arc<AtomicU8>);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;
/// Begun, and not to be begun again.
const UNWANTED: u8 = 3;

impl Handed {
    /// Whether it is certain that it will not be kept any more. Else it is not tried again, and its end is told.
    pub fn give_up(&self) -> bool {
        let turn = |from, to| self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
        turn(WAITING, GIVEN_UP) || {
            turn(BEGUN, UNWANTED);
            false
        }
    }
}

/// What the store knows of durable topics while it runs.
#[derive(Default)]
pub(super) struct Durable {
    rules: Vec<Topic>,
    epoch: u64,
    /// Where this start began.
    first: u64,
    /// Numbers below are taken, as the database says.
    reserved: u64,
    /// Every topic of which something is kept, and how many events came since it was last cut.
    topics: HashMap<Box<str>, u64>,
    /// Of all events, about.
    bytes: i64,
    most_bytes: i64,
    aged: Option<SystemTime>,
}

impl Store {
    /// Begins the hub's sequence for this start, with what is kept of the topics of these rules; what is kept of others
    /// goes. Where the database cannot be written the epoch is a new one, and the log says so. `None`: nothing is durable.
    pub fn begin_sequence(&self, rules: &[Topic]) -> Option<Sequence> {
        if !rules.iter().any(|rule| rule.durable) {
            self.end_sequence();
            return None;
        }
        let most = self.settings.read().unwrap_or_else(PoisonError::into_inner).durable_bytes;
        let own = Durable {
            rules: rules.to_vec(),
            most_bytes: i64::try_from(most).unwrap_or(i64::MAX),
            ..Durable::default()
        };
        let durable = Arc::clone(&self.durable);
        let begun = self.write(move |sql| {
            let mut own = own;
            let (mut sequence, reserved) = own.begin(sql)?;
            if !own.same_topics(sql)? || sequence.epoch == 0 {
                sequence.epoch = new_epoch();
            }
            own.epoch = sequence.epoch;
            facts::set(sql, EPOCH, own.epoch.cast_signed())?;
            own.reserve(sql, reserved)?;
            *lock(&durable) = own;
            Ok(sequence)
        });
        Some(begun.unwrap_or_else(|error| {
            log::error!("durable topics: {error}; nothing durable can be published until the database can be written");
            let mut own = Durable { rules: rules.to_vec(), ..Durable::default() };
            let mut sequence = self
                .read(|sql| own.begin(sql))
                .map_or_else(|_| Sequence { first: 1, ..Sequence::default() }, |(sequence, _)| sequence);
            sequence.epoch = new_epoch();
            (own.epoch, own.first) = (sequence.epoch, sequence.first);
            own.most_bytes = i64::try_from(most).unwrap_or(i64::MAX);
            *lock(&self.durable) = own;
            sequence
        }))
    }

    /// Nothing is durable any more: should it be again, everything of before is out of date.
    fn end_sequence(&self) {
        let known = self.read(|sql| facts::number(sql, EPOCH));
        if !matches!(known, Ok(Some(_))) {
            return;
        }
        let ended = self.write(|sql| {
            sql.execute("DELETE FROM durable", [])?;
            sql.execute("DELETE FROM durable_lost", [])?;
            sql.execute("DELETE FROM facts WHERE name = ?1", [EPOCH])
        });
        if let Err(error) = ended {
            log::warn!("events of topics that are no longer durable are still in the database: {error}");
        }
    }

    /// Has a batch kept, and `told` called once it is on the disk or cannot be. Never waits.
    pub fn keep_events(&self, batch: Batch, told: Told) -> Handed {
        let handed = Handed(Arc::new(AtomicU8::new(WAITING)));
        let keep = Keep { batch, told: Some(told), state: handed.clone(), durable: Arc::clone(&self.durable) };
        match self.jobs.try_send(Box::new(keep)) {
            Ok(()) => self.shared.bell.ring(),
            // A job is dropped with its answer.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
        handed
    }
}

/// Anything but zero.
fn new_epoch() -> u64 {
    let drawn = random::bytes()
        .map_or_else(|_| u64::try_from(super::time::nanos(clock::wall())).unwrap_or(1), u64::from_ne_bytes);
    drawn.max(1)
}

/// The store's thread alone writes it, and between any two statements it is whole.
fn lock(durable: &Mutex<Durable>) -> std::sync::MutexGuard<'_, Durable> {
    durable.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The job that keeps a batch.
struct Keep {
    batch: Batch,
    told: Option<Told>,
    state: Handed,
    durable: Arc<Mutex<Durable>>,
}

/// Whoever waits hears of its end in any case.
impl Drop for Keep {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            told(Err(NotKept::Busy("too much waits to be written, or the daemon is ending".into())));
        }
    }
}

impl Job for Keep {
    fn attempt(&mut self, sql: Result<&mut Connection, StoreError>) -> Attempt {
        if self.state.0.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return Attempt::Over;
        }
        let mut damaged = false;
        let kept = sql.and_then(|sql| {
            lock(&self.durable).keep(sql, &self.batch).map_err(|error| match error {
                Fault::Sql(error) => {
                    damaged = is_damage(&error);
                    error.into()
                }
                Fault::Other(why) => StoreError::Conflict(why.into()),
            })
        });
        let error = match kept {
            Ok(()) => {
                let told = self.told.take();
                return Attempt::Kept(Box::new(move || told.into_iter().for_each(|told| told(Ok(())))));
            }
            Err(StoreError::Busy) => {
                if self.state.0.compare_exchange(BEGUN, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                    return Attempt::Again;
                }
                if let Some(told) = self.told.take() {
                    told(Err(NotKept::Busy("another process has the database".into())));
                }
                return Attempt::Over;
            }
            Err(error) => error,
        };
        if let Some(told) = self.told.take() {
            told(Err(NotKept::Unwritable(error.to_string())));
        }
        match error {
            StoreError::Unwritable(why) => Attempt::Unwritable { why, damaged },
            _ => Attempt::Over,
        }
    }
}

enum Fault {
    Sql(rusqlite::Error),
    Other(&'static str),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sql(error)
    }
}

impl Durable {
    /// What the database has, and up to which number it has reserved. Where it can be written, what is not to be kept
    /// any longer goes first.
    fn begin(&mut self, sql: &Connection) -> rusqlite::Result<(Sequence, u64)> {
        let number = |name| facts::number(sql, name);
        let epoch = number(EPOCH)?.map_or(0, i64::cast_unsigned);
        let first = number(RESERVED)?.and_then(|reserved| u64::try_from(reserved).ok()).unwrap_or(1).max(1);
        (self.first, self.reserved) = (first, first);
        let mut sequence = Sequence { epoch, first, topics: Vec::new() };
        let names = rows::strings(sql, "SELECT topic FROM durable UNION SELECT topic FROM durable_lost")?;
        let writable = !sql.is_readonly("main")?;
        for topic in names {
            let rule = self.rule(&topic);
            if writable {
                match &rule {
                    Some(rule) => drop(rows::cut(sql, &topic, rule, clock::wall())?),
                    None => {
                        sql.execute("DELETE FROM durable WHERE topic = ?1", [&topic])?;
                        sql.execute("DELETE FROM durable_lost WHERE topic = ?1", [&topic])?;
                    }
                }
            }
            if rule.is_some() {
                let past = rows::past(sql, topic)?;
                self.topics.insert(past.topic.clone(), 0);
                sequence.topics.push(past);
            }
        }
        // Names of which nothing is left do not take up room for ever. What of them was lost is not known any more then.
        if writable && sequence.topics.len() > MOST_TOPICS / 2 {
            let there = sequence.topics.len();
            sequence.topics.retain(|past| !past.events.is_empty());
            if sequence.topics.len() < there {
                self.topics.retain(|topic, _| sequence.topics.iter().any(|past| past.topic == *topic));
                sql.execute("DELETE FROM durable_lost WHERE topic NOT IN (SELECT topic FROM durable)", [])?;
                sequence.epoch = 0;
            }
        }
        self.bytes = rows::bytes(sql)?;
        Ok((sequence, first))
    }

    /// What holds for a topic: of several rules the most that any of them keeps.
    fn rule(&self, topic: &str) -> Option<Topic> {
        let fits = self.rules.iter().filter(|rule| rule.durable && rule.pattern.matches(topic));
        fits.cloned().reduce(|one, other| Topic {
            keep: one.keep.max(other.keep),
            keep_for: one.keep_for.max(other.keep_for),
            ..one
        })
    }

    /// Whether the same topics were durable at the last start; noted for the next.
    fn same_topics(&self, sql: &Connection) -> rusqlite::Result<bool> {
        let durable = self.rules.iter().filter(|rule| rule.durable).map(|rule| rule.pattern.as_str());
        let topics = durable.collect::<Vec<_>>().join("\n");
        let query = "SELECT value FROM facts WHERE name = ?1";
        let before: Option<String> = sql.query_row(query, [TOPICS], |row| row.get(0)).optional()?;
        if before.as_ref() == Some(&topics) {
            return Ok(true);
        }
        sql.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)", [TOPICS, &topics])?;
        Ok(false)
    }

    /// Reserves a block from `next` on.
    fn reserve(&mut self, sql: &Connection, next: u64) -> rusqlite::Result<()> {
        let reserved = next.saturating_add(BLOCK);
        facts::set(sql, RESERVED, i64::try_from(reserved).unwrap_or(i64::MAX))?;
        self.reserved = reserved;
        Ok(())
    }

    fn keep(&mut self, sql: &mut Connection, batch: &Batch) -> Result<(), Fault> {
        let all = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (reserved, known) = (self.reserved, self.bytes);
        let kept = self.write(&all, batch).and_then(|()| Ok(all.commit()?));
        if kept.is_err() {
            (self.reserved, self.bytes) = (reserved, known);
        }
        kept
    }

    fn write(&mut self, sql: &Transaction<'_>, batch: &Batch) -> Result<(), Fault> {
        const INSERT: &str = "INSERT INTO durable (place, at, topic, data, action, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        if facts::number(sql, EPOCH)?.map(i64::cast_unsigned) != Some(self.epoch) {
            self.take_over(sql)?;
        }
        let numbers = batch.numbers();
        if numbers.end > self.reserved.saturating_sub(BLOCK / 2) {
            self.reserve(sql, numbers.end)?;
        }
        if let Some(before) = &batch.instead_of {
            let [from, to] = [before.start, before.end].map(u64::cast_signed);
            self.bytes -= rows::bytes_of(sql, "place >= ?1 AND place < ?2", params![from, to])?;
            sql.execute("DELETE FROM durable WHERE place >= ?1 AND place < ?2", [from, to])?;
        }
        let mut insert = sql.prepare(INSERT)?;
        for (place, event) in numbers.zip(&batch.events) {
            let Body::Published { event: topic, data, action, created_at } = &event.body else { continue };
            insert.execute(params![
                place.cast_signed(),
                super::time::nanos(event.at),
                topic,
                data,
                action,
                created_at
            ])?;
            let texts = [Some(data), action.as_ref(), created_at.as_ref(), Some(topic)];
            self.bytes += OVERHEAD + texts.into_iter().flatten().map(|text| text.len() as i64).sum::<i64>();
            *self.topics.entry(topic.clone()).or_default() += 1;
        }
        drop(insert);
        self.tidy(sql, batch)?;
        Ok(())
    }

    /// This start's epoch becomes the database's: it could not be written when the sequence was begun.
    fn take_over(&mut self, sql: &Connection) -> Result<(), Fault> {
        let reserved = facts::number(sql, RESERVED)?.and_then(|number| u64::try_from(number).ok()).unwrap_or(1);
        if reserved > self.first {
            let why = "the database has come back with events that were not known when the daemon started; restart it";
            return Err(Fault::Other(why));
        }
        facts::set(sql, EPOCH, self.epoch.cast_signed())?;
        self.reserved = 0;
        Ok(())
    }

    /// Takes away what this batch is too much, and once in a while what is too old.
    fn tidy(&mut self, sql: &Connection, batch: &Batch) -> rusqlite::Result<()> {
        let now = clock::wall();
        let aged = self.aged.is_some_and(|aged| now.duration_since(aged).is_ok_and(|since| since < AGE_INTERVAL));
        let mut named: Vec<Box<str>> = match aged {
            true => batch.events.iter().map(|event| event.topic().into()).collect(),
            false => self.topics.keys().cloned().collect(),
        };
        named.sort_unstable();
        named.dedup();
        for topic in named {
            let Some(rule) = self.rule(&topic) else { continue };
            let came = self.topics.get(&topic).copied().unwrap_or_default();
            if !aged || came > rule.keep as u64 / SLACK {
                self.bytes -= rows::cut(sql, &topic, &rule, now)?;
                self.topics.insert(topic, 0);
            }
        }
        self.aged = if aged { self.aged } else { Some(now) };
        if self.bytes > self.most_bytes {
            let too_many = self.bytes - self.most_bytes / 100 * ENOUGH;
            self.bytes -= rows::make_room(sql, too_many)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "durable_tests.rs"]
mod tests;
