//! A subscription that begins in the past: chunk by chunk, and then live, in one step under the send lock.
//!
//! The session pulls chunks and sends them as answers, which wait for room. While more is left than one chunk, what was
//! taken is sent without the lock; the last chunk goes out under it, and the subscription begins in the same step. So
//! nothing is missing between what was kept and what is live, and nothing comes twice.
//!
//! How it begins is known before the first chunk, and found out in parts too (see [`Survey`]): nobody else waits longer
//! for who has missed a lot.

use std::collections::VecDeque;
use std::sync::Arc;

use super::core::Core;
use super::cursor::{CursorId, Had, Lost, Select};
use super::history::{Chunk, Found, Numbered, PART, Portion, Survey};
use super::member::{Answer, Filter, MemberId, Slow, TooMany, Wish};
use super::{Encode, Hub};
use crate::conn::{CLOSE_SLOW, Offered};
use crate::types::event::Dialect;
use crate::types::position::{Epoch, Position};

/// Events in a chunk.
const CHUNK: usize = 256;

/// Bytes of events in a chunk, about.
const CHUNK_BYTES: usize = 32 * 1024;

/// Places in the history that are looked at for a chunk.
const CHUNK_LOOK: usize = 2048;

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
    /// Its client is too slow: what is left is counted, so many at a time, and not brought.
    passing: Option<(Lost, usize)>,
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
        let (dialect, cursor, mut survey) = self.hand.with(|core| core.open(id, &filters, wish));
        let (hub, reserved) = (Arc::clone(self), filters.len());
        let (last, left, passing) = (VecDeque::new(), 0, None);
        let mut replay = Replay { hub, id, dialect, filters, cursor, last, left, reserved, passing };
        let (answer, last) = loop {
            match self.hand.with(|core| core.look(&replay, wish, survey)) {
                Ok(found) => break found,
                Err(more) => survey = more,
            }
            // What others left meanwhile is ours to send, and who waits gets the lock.
            self.combine();
            std::thread::yield_now();
        };
        replay.last = last.into();
        replay.left = answer.missed + EXTRA;
        Ok((answer, replay))
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
        if self.passing.is_some() {
            return (Vec::new(), self.pass(core));
        }
        let portion = Portion { most: CHUNK, bytes: CHUNK_BYTES, look: CHUNK_LOOK };
        let chunk = core.pull(self.id, self.cursor, portion);
        let lost = core.lost(self.cursor);
        self.left = self.left.saturating_sub(chunk.events.len() as u64);
        if lost.count > 0 || (self.left == 0 && !chunk.is_last) {
            return (Vec::new(), self.give_up(core, &chunk));
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
    fn give_up(&mut self, core: &mut Core, next: &Chunk) -> Pulled {
        let Some((ready, _)) = core.table.member(self.id) else { return Pulled::Live };
        if ready.slow == Slow::Cut {
            log::info!("{} reads too slowly what it has missed; cut", ready.conn.peer());
            ready.conn.close(CLOSE_SLOW, "slow: what was missed is not read");
            return Pulled::Live;
        }
        let mut lost = Lost::default();
        next.events.iter().for_each(|numbered| lost.add(numbered.offset));
        self.passing = Some((lost, CHUNK_LOOK));
        if next.is_last { self.begin_behind(core, lost) } else { Pulled::More }
    }

    /// Passes over what it will not be brought, to where it is live.
    fn pass(&mut self, core: &mut Core) -> Pulled {
        let Some((mut lost, look)) = self.passing else { return Pulled::Live };
        let chunk = core.pull(self.id, self.cursor, Portion { most: look, bytes: usize::MAX, look });
        chunk.events.iter().for_each(|numbered| lost.add(numbered.offset));
        // More each time: others may publish as quickly as this counts.
        self.passing = Some((lost, look * 2));
        if chunk.is_last { self.begin_behind(core, lost) } else { Pulled::More }
    }

    /// The subscription is live, and its client is told what it was not brought.
    fn begin_behind(&mut self, core: &mut Core, passed: Lost) -> Pulled {
        let lost = passed.and(core.lost(self.cursor));
        let Some((_, entry)) = core.table.member(self.id) else { return Pulled::Live };
        let first = if entry.lag.count == 0 { lost.first } else { entry.lag.first.min(lost.first) };
        entry.lag.add(lost.count, first, lost.last.max(entry.lag.last));
        entry.lag.first = first;
        self.begin(core);
        core.tell_lag(self.id);
        Pulled::Live
    }
}

impl Core {
    fn open(&mut self, id: MemberId, filters: &[Filter], wish: Wish) -> (Dialect, CursorId, Survey) {
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
        let since = wish.since.filter(|since| since.epoch == head.epoch && since.offset <= head.offset);
        let survey = match since {
            Some(since) => Survey::missed(since.offset, head.offset),
            None => Survey::newcomer(head.offset, wish.last),
        };
        let cursor = self.history.open(since.unwrap_or(head).offset, Select::new(filters.to_vec(), dialect));
        (dialect, cursor, survey)
    }

    /// Looks at the next part of what there is; how the subscription begins, with its last values, or what is left to
    /// look at.
    fn look(&mut self, replay: &Replay, wish: Wish, mut survey: Survey) -> Result<(Answer, Vec<Numbered>), Survey> {
        let (table, history) = (&self.table, &mut self.history);
        let had = &|topic: &str| table.had_behind(replay.id, topic);
        let had = Had { filters: table.filters_of(replay.id), behind: had };
        if !history.survey(replay.cursor, &mut survey, &had, PART) {
            return Err(survey);
        }
        let position = self.sequence.at(survey.head());
        let newcomer = Answer { position, recovered: wish.since.map(|_| false), missed: 0, last: 0 };
        match (survey.found(), wish.since) {
            (Found::Missed { all: true, count }, Some(position)) => {
                Ok((Answer { position, recovered: Some(true), missed: count, last: 0 }, Vec::new()))
            }
            (Found::Missed { .. }, _) => {
                // It begins now, as who has never been here.
                let head = self.sequence.position().offset;
                history.cursor(replay.cursor).into_iter().for_each(|cursor| cursor.restart(head));
                Err(Survey::newcomer(head, wish.last))
            }
            (Found::Last(last), _) => Ok((Answer { last: last.len() as u64, ..newcomer }, last)),
            (Found::Nothing, _) => Ok((newcomer, Vec::new())),
        }
    }

    fn pull(&mut self, id: MemberId, cursor: CursorId, portion: Portion) -> Chunk {
        let (table, history) = (&self.table, &mut self.history);
        let had = &|topic: &str| table.had_behind(id, topic);
        history.pull(cursor, portion, &Had { filters: table.filters_of(id), behind: had })
    }

    fn lost(&mut self, cursor: CursorId) -> Lost {
        self.history.cursor(cursor).map(|cursor| cursor.lost()).unwrap_or_default()
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
