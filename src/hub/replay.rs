//! A subscription that begins in the past: chunk by chunk, and then live, in one step under the send lock.
//!
//! The session pulls chunks and sends them as answers, which wait for room. While more is left than one chunk, what was
//! taken is sent without the lock; the last chunk goes out under it, and the subscription begins in the same step. So
//! nothing is missing between what was kept and what is live, and nothing comes twice.

use std::collections::VecDeque;
use std::sync::Arc;

use super::core::Core;
use super::cursor::{CursorId, Select};
use super::history::Numbered;
use super::member::{Answer, Filter, MemberId, Slow, TooMany, Wish};
use super::{Encode, Hub};
use crate::conn::{CLOSE_SLOW, Offered};
use crate::types::event::Dialect;
use crate::types::position::{Epoch, Position};

/// Events in a chunk.
const CHUNK: usize = 256;

/// Bytes of events in a chunk, about.
const CHUNK_BYTES: usize = 32 * 1024;

/// Events beyond those there were at the beginning: publishers may be as quick as the client reads, for ever, and
/// meanwhile its session reads nothing.
const EXTRA: u64 = 16_384;

/// What is left to do after a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Send what was appended, wait for room, and pull again.
    More,
    /// The subscription is live.
    Live,
}

/// See the module's text. Dropped before it is live, it leaves the client without the subscription.
pub struct Replay {
    hub: Arc<Hub>,
    id: MemberId,
    dialect: Dialect,
    filters: Vec<Filter>,
    cursor: CursorId,
    /// Last values, to be sent before what the cursor brings.
    last: VecDeque<Numbered>,
    /// Events that may still be brought before it is live.
    left: u64,
    /// Room for the filters that was reserved and is not used yet.
    reserved: usize,
}

impl Hub {
    /// Prepares a subscription that begins where the client wishes. Nothing is subscribed yet: the session sends the
    /// answer and then pulls the [`Replay`] until it is live. From then on the client's events carry their positions.
    ///
    /// Filters the client has already begin anew; what its others have brought does not come again.
    ///
    /// # Errors
    /// There are too many subscriptions.
    pub fn resume(
        self: &Arc<Hub>,
        id: MemberId,
        filters: Vec<Filter>,
        wish: Wish,
    ) -> Result<(Answer, Replay), TooMany> {
        self.reserve(filters.len())?;
        // What was left before, its joining among it, comes first.
        self.drain();
        let (answer, dialect, cursor, last) = self.hand.with(|core| core.resume(id, &filters, wish));
        let left = answer.missed + EXTRA;
        let reserved = filters.len();
        Ok((answer, Replay { hub: Arc::clone(self), id, dialect, filters, cursor, last, left, reserved }))
    }
}

impl Replay {
    /// Appends the next frames to send, or begins the subscription.
    pub fn pull(&mut self, out: &mut Vec<u8>) -> Pulled {
        let encode = self.hub.encode;
        // The last chunk overtakes what has not been sent.
        if !out.is_empty() {
            return Pulled::More;
        }
        if !self.last.is_empty() {
            let epoch = self.hub.position().epoch;
            while out.len() < CHUNK_BYTES
                && let Some(numbered) = self.last.pop_front()
            {
                write(encode, self.dialect, epoch, &numbered, out);
            }
            return Pulled::More;
        }
        let hub = Arc::clone(&self.hub);
        let (chunk, pulled) = hub.hand.with(|core| self.pull_from(core, out));
        for numbered in chunk {
            write(encode, self.dialect, numbered.0, &numbered.1, out);
        }
        pulled
    }

    fn pull_from(&mut self, core: &mut Core, out: &mut Vec<u8>) -> (Vec<(Epoch, Numbered)>, Pulled) {
        let epoch = core.sequence.epoch;
        let chunk = core.pull(self.id, self.cursor, CHUNK, CHUNK_BYTES);
        let lost = core.history.cursor(self.cursor).map(|cursor| cursor.lost()).unwrap_or_default();
        self.left = self.left.saturating_sub(chunk.events.len() as u64);
        if lost.count > 0 || (self.left == 0 && !chunk.is_last) {
            self.give_up(core, chunk.events);
            return (Vec::new(), Pulled::Live);
        }
        if !chunk.is_last {
            return (chunk.events.into_iter().map(|numbered| (epoch, numbered)).collect(), Pulled::More);
        }
        let mut frames = Vec::new();
        for numbered in &chunk.events {
            write(core.encode, self.dialect, epoch, numbered, &mut frames);
        }
        let bell = Arc::clone(&core.bell);
        let Some((ready, _)) = core.table.member(self.id) else { return (Vec::new(), Pulled::Live) };
        if !frames.is_empty() && ready.conn.offer(&frames, &bell, self.id) == Ok(Offered::Full) {
            out.append(&mut frames);
            return (Vec::new(), Pulled::More);
        }
        self.begin(core);
        (Vec::new(), Pulled::Live)
    }

    /// The subscription is live from here on.
    fn begin(&mut self, core: &mut Core) {
        // What the cursor has not brought by now it never will.
        let from = core.history.cursor(self.cursor).map_or(u64::MAX, |cursor| cursor.since);
        for filter in self.filters.drain(..) {
            if core.table.subscribe(self.id, filter, from) {
                self.reserved = self.reserved.saturating_sub(1);
            }
        }
    }

    /// Its client reads more slowly than others publish, or than the history forgets.
    fn give_up(&mut self, core: &mut Core, next: Vec<Numbered>) {
        let mut lost = core.history.cursor(self.cursor).map(|cursor| cursor.lost()).unwrap_or_default();
        next.iter().for_each(|numbered| lost.add(numbered.offset));
        loop {
            let chunk = core.pull(self.id, self.cursor, usize::MAX, usize::MAX);
            chunk.events.iter().for_each(|numbered| lost.add(numbered.offset));
            if chunk.is_last {
                break;
            }
        }
        let Some((ready, entry)) = core.table.member(self.id) else { return };
        if ready.slow == Slow::Cut {
            log::info!("{} reads too slowly what it has missed; cut", ready.conn.peer());
            ready.conn.close(CLOSE_SLOW, "slow: what was missed is not read");
            return;
        }
        let first = if entry.lag.count == 0 { lost.first } else { entry.lag.first.min(lost.first) };
        entry.lag.add(lost.count, first, lost.last.max(entry.lag.last));
        entry.lag.first = first;
        self.begin(core);
        core.tell_lag(self.id);
    }
}

impl Core {
    fn resume(
        &mut self,
        id: MemberId,
        filters: &[Filter],
        wish: Wish,
    ) -> (Answer, Dialect, CursorId, VecDeque<Numbered>) {
        let dialect = self.table.member(id).map_or(Dialect::Endrpi, |(_, entry)| entry.dialect);
        self.table.with_positions(id);
        for filter in filters {
            if self.table.unsubscribe(id, filter) {
                self.release(1);
            }
        }
        let now = self.age();
        self.history.expire(now);
        let head = self.sequence.position();
        let select = Select::new(filters.to_vec(), dialect);
        let recovered = wish
            .since
            .map(|since| since.epoch == head.epoch && self.history.has_all_since(since.offset, head.offset, &select));
        let position = wish.since.filter(|_| recovered == Some(true)).unwrap_or(head);
        let last: VecDeque<Numbered> = match wish.last && recovered != Some(true) {
            true => self.history.last(&select).into(),
            false => VecDeque::new(),
        };
        let cursor = self.history.open(position.offset, select);
        let missed = self.count(id, cursor);
        let answer = Answer { position, recovered, missed, last: last.len() as u64 };
        (answer, dialect, cursor, last)
    }

    /// How many events a cursor has before it that this client has not had.
    fn count(&mut self, id: MemberId, cursor: CursorId) -> u64 {
        let (table, history) = (&self.table, &self.history);
        let any = table.has_any(id);
        history.count(cursor, |numbered| any && table.has_had(id, numbered.event.topic(), numbered.offset))
    }

    fn pull(&mut self, id: MemberId, cursor: CursorId, most: usize, bytes: usize) -> super::history::Chunk {
        let (table, history) = (&self.table, &mut self.history);
        let any = table.has_any(id);
        let had = |numbered: &Numbered| any && table.has_had(id, numbered.event.topic(), numbered.offset);
        history.pull(cursor, most, bytes, had)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let (cursor, reserved) = (self.cursor, self.reserved);
        self.hub.hand.with(|core| {
            core.history.close(cursor);
            core.release(reserved);
        });
    }
}

fn write(encode: Encode, dialect: Dialect, epoch: Epoch, numbered: &Numbered, out: &mut Vec<u8>) {
    let position = Position { epoch, offset: numbered.offset };
    (encode.event)(dialect, &numbered.event, Some(position), out);
}
