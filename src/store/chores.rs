//! What the store's thread does with records: writes batches, rolls up, takes away what is too old or too much.

use std::time::Instant;

use rusqlite::{ErrorCode, TransactionBehavior};

use super::error::is_damage;
use super::records::FLUSH_AT;
use super::retention::{self, Sweep};
use super::thread::{BUSY_INTERVAL, RETRY_INTERVAL, Thread};
use super::time::millis;
use super::{StoreError, WRITE_INTERVAL, flush, points};
use crate::rt::clock;

/// How large a database in memory may become, whatever one in a file may.
const MEMORY_BYTES: u64 = 32 * 1024 * 1024;

/// What there is to do later.
#[derive(Default)]
pub struct Chores {
    /// The last batch could not be written.
    pub batch_failed: bool,
    /// Not before this is the next one tried.
    flush_after: Option<Instant>,
    /// Up to when everything is rolled up, as far as this thread knows.
    rolled_up: i64,
    sweep: Option<Sweep>,
    /// How many records that found no room were told of, and when.
    told: ((u64, u64), Option<Instant>),
    /// It was said that nothing can be taken away any more.
    told_full: bool,
}

impl Chores {
    /// Whether something is being done a piece at a time.
    pub fn is_busy(&self) -> bool {
        self.sweep.is_some()
    }
}

impl Thread {
    /// When the next batch is to be written.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        if !self.writable {
            return None;
        }
        let pending = self.shared.pending();
        let since = pending.since?;
        let at = if pending.is_many() { since } else { since + self.settings().flush_interval };
        Some(self.chores.flush_after.map_or(at, |after| at.max(after)))
    }

    /// Whether the last batch was kept from the database by another process.
    pub(super) fn is_flush_kept_out(&self) -> bool {
        !self.chores.batch_failed && self.chores.flush_after.is_some()
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) {
        while self.writable && self.flush_share() {
            // Who waits for a write does not wait for all of it.
            self.do_jobs();
        }
        self.tell_dropped();
        if !self.chores.batch_failed {
            self.tidy_up();
        }
    }

    /// Writes one share; whether there is another to be written at once.
    fn flush_share(&mut self) -> bool {
        let Some(share) = self.shared.pending().share() else { return false };
        let outcome = flush::write(&mut self.shared.db.wait().sql, &share, millis(clock::wall()));
        let now = clock::now();
        self.chores.flush_after = None;
        match outcome.map_err(|error| (error.sqlite_error_code(), error)) {
            Ok(flushed) => {
                let resend = {
                    let mut pending = self.shared.pending();
                    pending.written(&share, now);
                    pending.take_resends()
                };
                self.chores.batch_failed = false;
                self.works();
                self.shared.news.kept(flushed.positions);
                self.shared.news.room(resend);
                if flushed.homeless > 0 {
                    log::debug!("store: {} records of servers that are no more were not kept", flushed.homeless);
                }
                return share.records.len() == FLUSH_AT;
            }
            Err((Some(ErrorCode::DatabaseBusy), _)) => self.chores.flush_after = Some(now + BUSY_INTERVAL),
            Err((_, error)) => {
                if is_damage(&error) {
                    self.shared.met_damage();
                }
                let why = error.to_string();
                match StoreError::from(error) {
                    StoreError::Unwritable(_) => {
                        self.chores.batch_failed = true;
                        self.chores.flush_after = Some(now + RETRY_INTERVAL);
                        self.fails(&why);
                    }
                    // It would never be taken, and would keep everything after it out.
                    _ => {
                        log::error!("store: {} records are not kept: {why}", share.records.len());
                        let resend = {
                            let mut pending = self.shared.pending();
                            pending.written(&share, now);
                            pending.take_resends()
                        };
                        self.shared.news.room(resend);
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Says, once in a while, that records found no room.
    pub(super) fn tell_dropped(&mut self) {
        let all = {
            let pending = self.shared.pending();
            (pending.dropped, pending.put_off)
        };
        let (told, at) = self.chores.told;
        let now = clock::now();
        if all == told || at.is_some_and(|at| at + WRITE_INTERVAL > now) {
            return;
        }
        let (dropped, put_off) = (all.0 - told.0, all.1 - told.1);
        if dropped > 0 {
            log::warn!("store: {dropped} records found no room (store.pending_bytes), and are lost");
        }
        if put_off > 0 {
            log::warn!(
                "store: {put_off} records of agents found no room (store.pending_bytes); they are asked for again"
            );
        }
        self.chores.told = (all, Some(now));
    }

    /// Rolls up and begins a sweep when that is due, and when the database has become too large.
    pub(super) fn tidy_up(&mut self) {
        if !self.writable {
            return;
        }
        let now = millis(clock::wall());
        let outcome = if points::due(now) > self.chores.rolled_up {
            self.roll_up(now)
        } else if self.chores.sweep.is_none() {
            self.make_room(now, false)
        } else {
            Ok(())
        };
        if let Err(error) = outcome {
            if is_damage(&error) {
                self.shared.met_damage();
            }
            // The next batch leads here again.
            log::warn!("store: the history cannot be rolled up or swept now: {error}");
        }
    }

    fn roll_up(&mut self, now: i64) -> rusqlite::Result<()> {
        let due = points::due(now);
        let mut db = self.shared.db.wait();
        let all = db.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        points::roll_up(&all, due)?;
        let sweep = Sweep::by_age(&all, now)?;
        all.commit()?;
        self.chores.rolled_up = due;
        self.chores.sweep = Some(sweep);
        Ok(())
    }

    /// Begins a sweep where the database is too large, or, while room is being made, not small enough yet.
    fn make_room(&mut self, now: i64, making: bool) -> rusqlite::Result<()> {
        let db = self.shared.db.wait();
        let most = self.settings().max_bytes;
        let most = if db.is_file() { most } else { most.min(MEMORY_BYTES) };
        let size = retention::size(&db.sql)?;
        if if making { retention::is_enough(size, most) } else { size <= most } {
            self.chores.told_full = false;
            return Ok(());
        }
        self.chores.sweep = Sweep::for_room(&db.sql, now)?;
        if self.chores.sweep.is_none() && !std::mem::replace(&mut self.chores.told_full, true) {
            let path = db.path().display();
            log::warn!("store: '{path}' is larger than store.max_mib, and nothing is left in it that goes by itself");
        }
        Ok(())
    }

    /// Goes on with what is done a piece at a time.
    pub(super) fn go_on(&mut self) {
        let Some(mut sweep) = self.chores.sweep.take() else { return };
        let more = sweep.go_on(&mut self.shared.db.wait().sql);
        let outcome = match more {
            Ok(true) => {
                self.chores.sweep = Some(sweep);
                Ok(())
            }
            Ok(false) => self.make_room(millis(clock::wall()), sweep.trims()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            if is_damage(&error) {
                self.shared.met_damage();
            }
            log::warn!("store: what is too old cannot be taken away now: {error}");
        }
    }
}
