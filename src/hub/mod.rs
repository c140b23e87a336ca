//! The hub: facts and published messages come in once and go out to everyone who wants them.
//!
//! **Flat combining.** A publisher leaves its event in the inbox and tries the send lock. Whoever holds the
//! lock sends all that waits, in order, for everyone; the others go on with their work. With one publisher
//! that is its own thread and no hand-over; with many, the holder finds a batch and makes one send per
//! subscriber of several events. Threads that must not spend their time sending (log, GPIO, telemetry) post
//! and wake the hub's own thread instead; edges, which are in a hurry, are sent by their reader where that is short.
//!
//! The inbox is bounded. Full, it makes publishing sessions wait for the lock and help (so they never
//! deadlock); posts from threads that must not wait are dropped, counted and reported in the log.
//!
//! **Positions.** The combiner numbers every event; with the epoch of the sequence that number says how far a client has
//! come, whatever it is subscribed to. What was published lately is kept (`history`), so a client that names its position
//! gets what it has missed, chunk by chunk, and the last chunk goes out in the same step in which its subscription begins
//! (`replay`): nothing is missing in between and nothing comes twice. Whether everything is there is known exactly.
//!
//! **Slow subscribers** delay nobody. One that has no room is cut, or the event is dropped for it (see [`Slow`]): then it
//! is told how many it missed, and their numbers, before anything else and as soon as there is room, which its connection
//! says (`lobby`).
//!
//! Order: an event is delivered in the inbox's order, to every subscriber alike. Subscribing goes through the
//! same inbox: what is published after a subscription was taken in, in anybody's eyes, is delivered to it.

mod core;
mod cursor;
mod durable;
mod given;
mod handover;
mod history;
mod lobby;
mod member;
mod replay;
mod table;
mod trie;

use std::time::Duration;

use crate::rt::clock;
use crate::rt::pulse::{Asked, Pulse};
use crate::rt::random;
use crate::rt::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, PoisonError, Receiver, RecvTimeoutError, bounded,
};
use crate::rt::worker::Worker;
use crate::types::durable::{self as kept, NotKept};
use crate::types::event::Event;
use crate::types::position::{Epoch, Position};
use crate::types::topic::Pattern;
pub use core::Tap;
use core::{Command, Core, Sequence};
use durable::Durable;
pub use durable::{Keeper, Told};
pub use given::{Ack, Acked, Encode, Origin, Settings};
use handover::Handover;
use history::Limits;
pub use history::{Bounds, Numbered};
use lobby::Lobby;
pub use member::{Answer, Filter, MAX_SUBSCRIPTIONS, Member, MemberId, Presence, Slow, TooMany, Wish};
pub use replay::{Pulled, Replay};

/// Commands the inbox holds.
const INBOX: usize = 1024;

/// Batches a publisher sends before it hands over to the hub's own thread, so that a busy hub does not keep
/// a session from reading its own socket.
const BATCHES_PER_VISIT: usize = 16;

/// Subscribers, to whatever, with whom a thread in a hurry sends by itself. It is a system call for each, which never
/// waits; to wake another thread for them costs as much as several.
const FEW: usize = 16;

/// How long the hub's end waits for durable events to be kept.
const LAST_MOMENT: Duration = Duration::from_millis(300);

/// A handle for everyone; see the module's text.
pub struct Hub {
    hand: Handover<Core>,
    encode: Encode,
    stopping: AtomicBool,
    next_member: AtomicU64,
    /// Subscriptions there are, or may be about to be.
    subscriptions: Arc<AtomicUsize>,
    /// Events that threads which must not wait found no room for.
    dropped: AtomicU64,
    debug_panic: AtomicBool,
    pulse: Pulse,
    worker: Mutex<Option<Worker>>,
}

impl Hub {
    /// # Errors
    /// No thread to be had.
    pub fn start(encode: Encode, settings: &Settings) -> std::io::Result<Arc<Hub>> {
        let (nudge, nudged) = bounded(1);
        let history = &settings.history;
        let each = Bounds { count: history.count, age: Some(history.age) };
        let limits = Limits { each, bytes: history.bytes, topics: history.topics };
        let lobby = Arc::new(Lobby::new(nudge.clone()));
        let epoch = Epoch(random::bytes().map(u64::from_ne_bytes)?);
        let core = Core::new(encode, limits, settings.slow_events, lobby, epoch);
        let hub = Arc::new(Hub {
            subscriptions: Arc::clone(&core.reserved),
            hand: Handover::new(core, INBOX, nudge),
            encode,
            stopping: AtomicBool::new(false),
            next_member: AtomicU64::new(1),
            dropped: AtomicU64::new(0),
            debug_panic: AtomicBool::new(false),
            pulse: Pulse::default(),
            worker: Mutex::new(None),
        });
        let own = Arc::clone(&hub);
        let worker = Worker::spawn("hub", move || own.run(&nudged))?;
        *hub.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(hub)
    }

    /// Goes on with the sequence of an earlier run. Before anybody has been told a position: what was published until
    /// now (log lines) gets new numbers.
    pub fn begin(&self, origin: Origin) {
        self.drain();
        self.hand.with(|core| {
            let now = core.age();
            let last = core.history.begin(origin.next - 1, origin.kept, now);
            core.sequence = Sequence { epoch: origin.epoch, next: last + 1 };
        });
    }

    /// Puts into the history what is known of a kept topic from before this start, in order; after [`Hub::begin`].
    /// `lost_to` is the offset of the topic's last event that is not among them, 0 if none is missing.
    pub fn preload(&self, topic: &str, lost_to: u64, events: Vec<Numbered>) {
        self.hand.with(|core| {
            let now = core.age();
            core.history.preload(topic, lost_to, events, now);
        });
    }

    /// The same with a store: from now on what clients publish under one of these patterns is kept by `keeper` before it
    /// is delivered; what is known of such topics is put into the history, which they share in `bytes` of their own.
    pub fn keep_with(
        self: &Arc<Hub>,
        past: kept::Sequence,
        patterns: Vec<(Pattern, Bounds)>,
        bytes: usize,
        keeper: Keeper,
    ) {
        let kept::Sequence { epoch, first, topics } = past;
        let names = patterns.iter().map(|(pattern, _)| pattern.clone()).collect();
        self.hand.with(|core| core.history.bound_kept(bytes));
        self.begin(Origin { epoch: Epoch(epoch), next: first, kept: patterns });
        let known = topics.iter().map(|past| past.topic.clone()).collect();
        for kept::Past { topic, lost_to, events } in topics {
            let events = events.into_iter().map(|(offset, event)| Numbered { offset, event }).collect();
            self.preload(&topic, lost_to, events);
        }
        let hub = Arc::downgrade(self);
        let wake = move || {
            if let Some(hub) = hub.upgrade() {
                hub.hand.wake();
            }
        };
        let durable = Durable::new(names, known, keeper, Arc::new(wake), first);
        self.hand.with(|core| core.durable = Some(durable));
    }

    /// Where the hub is: everything up to here was published before this call, or while it was under way.
    pub fn position(&self) -> Position {
        self.hand.with(|core| core.sequence.position())
    }

    /// Leaves an event for whoever combines next. The caller must call [`Hub::combine`] before it waits for
    /// anything; sessions do so before each blocking read.
    pub fn publish(&self, event: Event) {
        self.hand.put(Command::Publish(Arc::new(event), None));
    }

    /// The same for who wants to know what becomes of it.
    pub fn publish_acked(&self, event: Event, ack: Ack) {
        self.hand.put(Command::Publish(Arc::new(event), Some(ack)));
    }

    /// Publishes an event, and waits until it is known what becomes of it; `None` when that is not within `limit`.
    pub fn publish_and_wait(&self, event: Event, limit: Duration) -> Option<Result<Acked, NotKept>> {
        let (done, result) = bounded(1);
        self.publish_acked(event, Box::new(move |acked| drop(done.try_send(acked))));
        // Mostly it is this thread that sends it.
        self.combine();
        result.recv_timeout(limit).ok()
    }

    /// Leaves an event and wakes the hub's thread; never waits. For threads that must not spend their time
    /// sending. A full inbox drops the event and says so; the count is logged when there is room again.
    pub fn post(&self, event: Event) -> bool {
        let taken = self.offer(event);
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// The same for who accounts for refused events itself: nothing is logged of them.
    pub fn offer(&self, event: Event) -> bool {
        let taken = self.leave_here(event);
        if taken {
            self.hand.wake();
        }
        taken
    }

    /// As [`Hub::offer`] without waking anybody: the caller calls [`Hub::send_few`] next.
    pub fn leave_here(&self, event: Event) -> bool {
        self.hand.leave(Command::Publish(Arc::new(event), None))
    }

    /// Sends what waits, if that is little and for few; else wakes the hub's thread for it. Never waits. For the
    /// reader of edges: while it sends the kernel keeps the next ones, so it may send to a few, but not to a crowd.
    pub fn send_few(&self) {
        self.hand.combine_few(|core| core.table.len() <= FEW);
    }

    /// Tells `tap` of every event from now on, before it is sent.
    pub fn tap(&self, tap: Tap) {
        self.hand.with(|core| core.taps.push(tap));
    }

    /// Takes in a subscriber that is not subscribed to anything yet; its `patterns` do not count.
    pub fn join(&self, member: Member) -> MemberId {
        self.take_member(Member { patterns: Vec::new(), ..member })
    }

    /// Takes in a subscriber with its patterns.
    ///
    /// # Errors
    /// There are too many subscriptions.
    pub fn join_subscribed(&self, member: Member) -> Result<MemberId, TooMany> {
        self.reserve(member.patterns.len())?;
        Ok(self.take_member(member))
    }

    fn take_member(&self, member: Member) -> MemberId {
        let id = self.next_member.fetch_add(1, Ordering::Relaxed);
        self.hand.put(Command::Join(id, Box::new(member)));
        id
    }

    /// From now on. See [`Hub::resume`] for subscriptions that begin in the past.
    ///
    /// # Errors
    /// There are too many subscriptions.
    pub fn subscribe(&self, id: MemberId, filter: Filter) -> Result<(), TooMany> {
        self.reserve(1)?;
        self.hand.put(Command::Subscribe(id, Box::new(filter)));
        Ok(())
    }

    /// From now on its events carry their positions.
    pub fn with_positions(&self, id: MemberId) {
        self.hand.put(Command::WithPositions(id));
    }

    pub fn unsubscribe(&self, id: MemberId, filter: Filter) {
        self.hand.put(Command::Unsubscribe(id, Box::new(filter)));
    }

    pub fn unsubscribe_all(&self, id: MemberId) {
        self.hand.put(Command::UnsubscribeAll(id));
    }

    pub fn leave(&self, id: MemberId) {
        self.hand.put(Command::Leave(id));
    }

    /// Sends all that waits, unless somebody else is at it (who then sends it for us).
    pub fn combine(&self) {
        self.hand.combine(BATCHES_PER_VISIT);
    }

    /// Sends all that waits now, and waits for whoever is at it: afterwards everything left in the hub before
    /// this call is done. For the shutdown, whose next step ends the connections, and for whoever looks at the table.
    pub fn drain(&self) {
        self.hand.drain();
    }

    /// Who is connected, and subscribed to what.
    pub fn presence(&self) -> Vec<Presence> {
        // What others left while the lock was held is part of the picture.
        self.drain();
        let mut list: Vec<Presence> = self.hand.with(|core| core.table.presence().collect());
        list.sort_by_key(|p| p.id);
        list
    }

    /// Makes the hub's thread panic, for tests of what becomes of the daemon then.
    pub fn debug_panic(&self) {
        self.debug_panic.store(true, Ordering::Release);
        self.hand.wake();
    }

    /// Its thread, to be asked whether it comes round: it does while the send lock is let go of, also to a busy hub.
    pub fn asked(self: &Arc<Hub>) -> Asked {
        let hub = Arc::clone(self);
        let ask = move |answer| {
            hub.pulse.ask(answer);
            hub.hand.wake();
        };
        Asked { name: "hub", ask: Box::new(ask) }
    }

    /// Has the hub's thread hang, for tests of what becomes of the daemon then.
    pub fn debug_hang(&self) {
        self.pulse.debug_hang();
        self.hand.wake();
    }

    /// Sends what is left, then stops the hub's thread, within `limit`.
    pub fn stop(&self, limit: Duration) {
        self.stopping.store(true, Ordering::Release);
        self.hand.wake();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
    }

    fn run(&self, nudged: &Receiver<()>) {
        let mut stop_by = None;
        loop {
            let due = self.hand.with(|core| core.durable.as_mut().and_then(Durable::look_at));
            let due = due.into_iter().chain(stop_by).min();
            let woken = match due.map(|due| due.saturating_duration_since(clock::now())) {
                Some(limit) => nudged.recv_timeout(limit),
                None => nudged.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            assert!(!self.debug_panic.load(Ordering::Acquire), "a debug action asked for this");
            self.hand.serve(|| self.pulse.beat());
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                log::error!("the hub's inbox was full: {dropped} of the daemon's own events were dropped");
            }
            if self.stopping.load(Ordering::Acquire) {
                // What is durable and was taken in is given a moment.
                let until = *stop_by.get_or_insert_with(|| clock::now() + LAST_MOMENT);
                if until <= clock::now() || self.hand.with(|core| core.durable.as_ref().is_none_or(Durable::is_idle)) {
                    return;
                }
            }
        }
    }

    /// Takes room for subscriptions, which the table gives back when they end or were none.
    fn reserve(&self, count: usize) -> Result<(), TooMany> {
        let more = |now: usize| Some(now + count).filter(|sum| *sum <= MAX_SUBSCRIPTIONS);
        self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(drop).map_err(|_| TooMany)
    }
}

unit_tests! {
    mod tests;
}
