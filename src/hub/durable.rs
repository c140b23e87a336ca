//! Durable events on their way from a publisher to the store, and from there to the subscribers.
//!
//! **Kept, then delivered.** A durable event is held here until it is on the disk. What a subscriber has seen no restart
//! forgets, and what its publisher was told is refused nobody has seen. The price is the disk's time.
//!
//! **One order for all.** There is one sequence, and everybody is brought everything in the order of its numbers, so that
//! one number says what somebody has. A batch at the store has its numbers already, and others must not wait for it: it
//! has those behind a gap ([`GAP`]), and what is published meanwhile uses up the gap. Once it is kept the sequence goes on
//! behind it, and what is left of the gap is never given. A disk so slow that the gap is used up costs a second write:
//! the batch is moved to numbers behind what was delivered meanwhile.
//!
//! **Together.** One batch is at the store; what comes meanwhile is the next one. So many publishers share one commit.
//!
//! **Bounded.** [`MOST_HELD`] events and [`MOST_HELD_BYTES`] are held; one more is refused. So is what has waited for
//! [`KEEP_LIMIT`]; what the disk has begun with by then is of unknown end, and told so. Whoever did not ask is not told,
//! but the log is.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::core::Core;
use super::history::Numbered;
use super::{Ack, Acked};
use crate::rt::clock;
use crate::rt::sync::{Arc, Mutex, PoisonError};
use crate::types::durable::{BLOCK, Batch, KEEP_LIMIT, MOST_TOPICS, NotKept};
use crate::types::event::{Audience, Event};
use crate::types::topic::Pattern;

/// Numbers that are left to others while a batch is at the store.
const GAP: u64 = 4096;

/// A batch that was overtaken gets a larger gap each time, up to this many doublings.
const MOST_DOUBLINGS: u32 = 16;

/// Events that may be held.
const MOST_HELD: usize = 1024;

/// And their bytes, about; one event is held however large.
const MOST_HELD_BYTES: usize = 4 * 1024 * 1024;

/// Events that are kept in one go.
const MOST_TOGETHER: usize = 256;

/// What the disk has begun with gets so much longer before its publishers are told that its end is not known.
const GRACE: Duration = Duration::from_secs(1);

/// From one try to reserve numbers to the next.
const RESERVE_INTERVAL: Duration = Duration::from_secs(5);

/// From one line in the log about refused events to the next.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Hears what became of a batch, on whatever thread; does not wait.
pub type Told = Box<dyn FnOnce(Result<(), NotKept>) + Send>;

/// Has a batch kept; never waits. What it returns says whether it is certain, when called, that it will not be kept.
pub type Keeper = Box<dyn Fn(Batch, Told) -> Box<dyn Fn() -> bool + Send> + Send>;

/// Wakes the hub's thread.
type Wake = Arc<dyn Fn() + Send + Sync>;

/// See the module's text.
pub struct Durable {
    patterns: Vec<Pattern>,
    /// Of which something was kept.
    topics: HashSet<Box<str>>,
    keeper: Keeper,
    wake: Wake,
    /// When that looks for who has waited for too long.
    looks_at: Option<Instant>,
    waiting: VecDeque<Held>,
    bytes: usize,
    at_store: Option<AtStore>,
    /// From here on more numbers are to be reserved, and not before the moment.
    reserve: (u64, Option<Instant>),
    /// Refused with nobody to tell but the log, and when that was last told.
    refused: (u64, Option<Instant>),
}

/// An event that is not delivered yet.
struct Held {
    event: Arc<Event>,
    ack: Option<Ack>,
    since: Instant,
}

/// A batch that is being kept.
struct AtStore {
    batch: Batch,
    held: Vec<Held>,
    since: Instant,
    /// Others have used up its gap, so often.
    overtaken: bool,
    doublings: u32,
    outcome: Arc<Mutex<Option<Result<(), NotKept>>>>,
    give_up: Box<dyn Fn() -> bool + Send>,
    /// It is not to be tried any longer.
    unwanted: bool,
    /// Its publishers know that its end is not known.
    told: bool,
    /// It is on the disk under other numbers and could not be moved; when to try again.
    again: Option<Instant>,
}

impl Durable {
    pub fn new(patterns: Vec<Pattern>, topics: HashSet<Box<str>>, keeper: Keeper, wake: Wake, first: u64) -> Durable {
        Durable {
            patterns,
            topics,
            keeper,
            wake,
            looks_at: None,
            waiting: VecDeque::new(),
            bytes: 0,
            at_store: None,
            reserve: (first.saturating_add(BLOCK / 2), None),
            refused: (0, None),
        }
    }

    /// Whether this event is to be kept before it is delivered.
    pub fn keeps(&self, event: &Event) -> bool {
        event.audience() == Audience::Messages && self.patterns.iter().any(|pattern| pattern.matches(event.topic()))
    }

    /// Whether nothing is held.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.at_store.is_none()
    }

    /// When somebody will have waited for too long; the hub's thread asks, and looks then.
    pub fn look_at(&mut self) -> Option<Instant> {
        self.looks_at = self.due();
        self.looks_at
    }

    fn due(&self) -> Option<Instant> {
        let oldest = self.waiting.front().map(|held| held.since);
        let at_store = self.at_store.as_ref().filter(|at| !at.told);
        let at_store = at_store.map(|at| if at.unwanted { at.since + GRACE } else { at.since });
        let again = self.at_store.as_ref().and_then(|at| at.again);
        oldest.into_iter().chain(at_store).map(|since| since + KEEP_LIMIT).chain(again).min()
    }

    /// The first number that is the batch's at the store.
    pub fn barrier(&self) -> u64 {
        let numbers = self.at_store.as_ref().filter(|at| !at.overtaken).map(|at| at.batch.numbers());
        numbers.filter(|numbers| !numbers.is_empty()).map_or(u64::MAX, |numbers| numbers.start)
    }

    /// The gap is used up: the next number is behind the batch, which will have to be moved.
    pub fn overtake(&mut self, next: u64) -> u64 {
        let Some(at) = &mut self.at_store else { return next };
        at.overtaken = true;
        at.batch.numbers().end
    }

    /// Takes an event in, or refuses it.
    pub fn hold(&mut self, event: Arc<Event>, ack: Option<Ack>) {
        let weight = event.weight();
        let full = self.waiting.len() >= MOST_HELD || (self.bytes > 0 && self.bytes + weight > MOST_HELD_BYTES);
        let known = self.topics.contains(event.topic());
        if full {
            let why = format!("{} durable events wait for the disk", self.waiting.len());
            return self.refuse(ack, NotKept::Busy(why));
        }
        if !known && self.topics.len() >= MOST_TOPICS {
            let why = format!("there are {MOST_TOPICS} durable topics already");
            return self.refuse(ack, NotKept::Unwritable(why));
        }
        if !known {
            self.topics.insert(event.topic().into());
        }
        self.bytes += weight;
        self.waiting.push_back(Held { event, ack, since: clock::now() });
    }

    fn refuse(&mut self, ack: Option<Ack>, why: NotKept) {
        if let Some(ack) = ack {
            return ack(Err(why));
        }
        self.refused.0 += 1;
        let now = clock::now();
        if self.refused.1.is_none_or(|told| told + TELL_INTERVAL <= now) {
            log::error!("{} durable events were not kept, and so not published; the last: {why}", self.refused.0);
            self.refused = (0, Some(now));
        }
    }

    /// Hands in what waits, if the store has nothing at hand.
    fn hand_in(&mut self, next: u64) {
        if self.at_store.is_some() {
            return;
        }
        let now = clock::now();
        let to_reserve = next > self.reserve.0 && self.reserve.1.is_none_or(|not_before| not_before <= now);
        if self.waiting.is_empty() && !to_reserve {
            return;
        }
        let together = self.waiting.len().min(MOST_TOGETHER);
        let held: Vec<Held> = self.waiting.drain(..together).collect();
        self.bytes -= held.iter().map(|held| held.event.weight()).sum::<usize>();
        if held.is_empty() {
            self.reserve.1 = Some(now + RESERVE_INTERVAL);
        }
        let since = held.first().map_or(now, |held| held.since);
        self.give(held, next, 0, None, since);
    }

    fn give(&mut self, held: Vec<Held>, next: u64, doublings: u32, before: Option<Range<u64>>, since: Instant) {
        let gap = if held.is_empty() { 0 } else { GAP << doublings.min(MOST_DOUBLINGS) };
        let batch = Batch {
            first: next.saturating_add(gap),
            events: held.iter().map(|held| Arc::clone(&held.event)).collect(),
            instead_of: before,
        };
        let outcome = Arc::new(Mutex::new(None));
        let (there, wake) = (Arc::clone(&outcome), Arc::clone(&self.wake));
        let told: Told = Box::new(move |result| {
            *there.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            wake();
        });
        let give_up = (self.keeper)(batch.clone(), told);
        let told = held.iter().all(|held| held.ack.is_none()) && doublings > 0;
        self.at_store = Some(AtStore {
            batch,
            held,
            since,
            overtaken: false,
            doublings,
            outcome,
            give_up,
            unwanted: false,
            told,
            again: None,
        });
        // Whoever has the lock may be a session, which sees to its own limits only.
        if self.looks_at.is_none() {
            (self.wake)();
        }
    }

    /// Moves a batch once more that could not be moved.
    fn try_again(&mut self, next: u64) {
        let is_due = |at: &AtStore| at.again.is_some_and(|again| again <= clock::now());
        if !self.at_store.as_ref().is_some_and(is_due) {
            return;
        }
        if let Some(AtStore { batch, held, since, doublings, told, .. }) = self.at_store.take() {
            // It is where it was before.
            let before = batch.instead_of.clone();
            self.give(held, next, doublings, before, since);
            self.at_store.iter_mut().for_each(|at| at.told = told);
        }
    }

    /// What has waited for too long is refused; what the disk has begun with, its publishers are told.
    fn give_up_late(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|held| held.since + KEEP_LIMIT <= now) {
            let Some(held) = self.waiting.pop_front() else { break };
            self.bytes -= held.event.weight();
            self.refuse(held.ack, late());
        }
        let Some(at) = self.at_store.as_mut().filter(|at| !at.told && at.since + KEEP_LIMIT <= now) else { return };
        // A batch that is to be moved is on the disk already.
        if at.batch.instead_of.is_none() && !at.unwanted {
            at.unwanted = true;
            if (at.give_up)() {
                let mut outcome = at.outcome.lock().unwrap_or_else(PoisonError::into_inner);
                outcome.get_or_insert(Err(late()));
            }
            return;
        }
        if at.unwanted && at.since + KEEP_LIMIT + GRACE > now {
            return;
        }
        at.told = true;
        for held in &mut at.held {
            if let Some(ack) = held.ack.take() {
                ack(Err(NotKept::Unknown));
            }
        }
    }
}

fn late() -> NotKept {
    NotKept::Busy(format!("the disk has not come to it within {} s", KEEP_LIMIT.as_secs()))
}

impl Core {
    /// The numbers up to the batch at the store are used up.
    pub fn overtake(&mut self) {
        if let Some(durable) = &mut self.durable {
            self.sequence.next = durable.overtake(self.sequence.next);
        }
        self.barrier = u64::MAX;
    }

    /// Does what there is to do for durable events; called under the lock whenever somebody works.
    pub fn tend(&mut self) {
        let has_work = |durable: &Durable| !durable.is_idle() || self.sequence.next > durable.reserve.0;
        let Some(mut durable) = self.durable.take_if(|durable| has_work(durable)) else { return };
        if durable.at_store.is_some() || !durable.waiting.is_empty() {
            durable.give_up_late(clock::now());
        }
        durable.try_again(self.sequence.next);
        let outcome = durable.at_store.as_ref().and_then(|at| {
            let mut outcome = at.outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.take()
        });
        if let Some(outcome) = outcome
            && let Some(at) = durable.at_store.take()
        {
            self.kept(&mut durable, at, outcome);
        }
        durable.hand_in(self.sequence.next);
        self.barrier = durable.barrier();
        self.durable = Some(durable);
    }

    /// A batch is on the disk, or cannot be.
    fn kept(&mut self, durable: &mut Durable, at: AtStore, outcome: Result<(), NotKept>) {
        let (numbers, overtaken) = (at.batch.numbers(), at.overtaken);
        if !at.held.is_empty() && !overtaken {
            // Also of what could not be written: nobody knows what the disk has of it.
            self.sequence.next = self.sequence.next.max(numbers.end);
        }
        if let Err(why) = outcome {
            if at.batch.instead_of.is_some() {
                log::warn!("durable events are kept and cannot be delivered yet: {why}");
                let again = Some(clock::now() + RESERVE_INTERVAL);
                durable.at_store = Some(AtStore { overtaken: true, again, ..at });
                return;
            }
            at.held.into_iter().for_each(|held| durable.refuse(held.ack, why.clone()));
            return;
        }
        if numbers.end > durable.reserve.0 {
            durable.reserve = (numbers.end.saturating_add(BLOCK / 2), None);
        }
        if overtaken {
            return durable.give(at.held, self.sequence.next, at.doublings + 1, Some(numbers), at.since);
        }
        let mut run: Vec<Numbered> = Vec::with_capacity(at.held.len());
        let mut acks = Vec::new();
        for (offset, Held { event, ack, .. }) in numbers.zip(at.held) {
            acks.extend(ack.map(|ack| (ack, offset)));
            if run.last().is_some_and(|last| last.event.topic() != event.topic()) {
                self.deliver(&run);
                run.clear();
            }
            run.push(Numbered { offset, event });
        }
        self.deliver(&run);
        for (ack, offset) in acks {
            ack(Ok(Acked { position: self.sequence.at(offset), durable: true }));
        }
    }
}

unit_tests! {
    #[path = "durable_tests.rs"]
    mod tests;
}
