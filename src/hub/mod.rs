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
//! Order: an event is delivered in the inbox's order, to every subscriber alike. Subscribing goes through the
//! same inbox: what is published after a subscription was taken in, in anybody's eyes, is delivered to it.

mod core;
mod cursor;
mod history;
mod lobby;
mod member;
mod replay;
mod table;
mod trie;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::config;
use crate::rt::pulse::{Asked, Pulse};
use crate::rt::random;
use crate::rt::worker::Worker;
use crate::types::event::{Dialect, Event};
use crate::types::position::{Epoch, Lagged, Position};
use crate::types::topic::Pattern;
pub use core::Tap;
use core::{BATCH, Core, Sequence};
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

/// Writes whole WebSocket frames in one dialect; given by the wiring, so that the hub knows no JSON.
#[derive(Clone, Copy)]
pub struct Encode {
    /// An event; with its position for those who have asked for positions.
    pub event: fn(Dialect, &Event, Option<Position>, &mut Vec<u8>),
    /// What somebody is told for whom events were dropped.
    pub lagged: fn(Dialect, &Lagged, &mut Vec<u8>),
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    pub history: config::History,
    pub slow_events: Slow,
}

/// Where the sequence of an earlier run goes on; see [`Hub::begin`].
pub struct Origin {
    pub epoch: Epoch,
    /// The first number of this run: larger than any that was ever given out under this epoch.
    pub next: u64,
    /// Topics whose events outlive the process. A position of before this start is recovered for these alone.
    pub kept: Vec<(Pattern, Bounds)>,
}

/// What became of an event whose publisher wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    pub position: Position,
    /// It is on disk.
    pub durable: bool,
}

/// An event was not taken: why, in words for its publisher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unkept(pub String);

/// Hears what became of an event, under the hub's lock: it must not wait, and not call the hub.
pub type Ack = Box<dyn FnOnce(Result<Acked, Unkept>) + Send>;

enum Command {
    Publish(Arc<Event>, Option<Ack>),
    Join(MemberId, Box<Member>),
    Subscribe(MemberId, Box<Filter>),
    Unsubscribe(MemberId, Box<Filter>),
    UnsubscribeAll(MemberId),
    WithPositions(MemberId),
    Leave(MemberId),
}

/// A handle for everyone; see the module's text.
pub struct Hub {
    inbox: (Sender<Command>, Receiver<Command>),
    core: Mutex<Core>,
    encode: Encode,
    /// Wakes the hub's own thread; one pending wake-up is as good as many.
    nudge: Sender<()>,
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
            inbox: bounded(INBOX),
            encode,
            nudge,
            stopping: AtomicBool::new(false),
            next_member: AtomicU64::new(1),
            subscriptions: Arc::clone(&core.reserved),
            core: Mutex::new(core),
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
        let mut core = self.lock();
        let now = core.age();
        let last = core.history.begin(origin.next - 1, origin.kept, now);
        core.sequence = Sequence { epoch: origin.epoch, next: last + 1 };
        drop(core);
        self.look_again();
    }

    /// Puts into the history what is known of a kept topic from before this start, in order; after [`Hub::begin`].
    /// `lost_to` is the offset of the topic's last event that is not among them, 0 if none is missing.
    pub fn preload(&self, topic: &str, lost_to: u64, events: Vec<Numbered>) {
        let mut core = self.lock();
        let now = core.age();
        core.history.preload(topic, lost_to, events, now);
        drop(core);
        self.look_again();
    }

    /// Where the hub is: everything up to here was published before this call, or while it was under way.
    pub fn position(&self) -> Position {
        let position = self.lock().sequence.position();
        self.look_again();
        position
    }

    /// Leaves an event for whoever combines next. The caller must call [`Hub::combine`] before it waits for
    /// anything; sessions do so before each blocking read.
    pub fn publish(&self, event: Event) {
        self.put(Command::Publish(Arc::new(event), None));
    }

    /// The same for who wants to know what becomes of it.
    pub fn publish_acked(&self, event: Event, ack: Ack) {
        self.put(Command::Publish(Arc::new(event), Some(ack)));
    }

    /// Publishes an event, and waits until it is known what becomes of it; `None` when that is not within `limit`.
    pub fn publish_and_wait(&self, event: Event, limit: Duration) -> Option<Result<Acked, Unkept>> {
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
            let _ = self.nudge.try_send(());
        }
        taken
    }

    /// As [`Hub::offer`] without waking anybody: the caller calls [`Hub::send_few`] next.
    pub fn leave_here(&self, event: Event) -> bool {
        self.inbox.0.try_send(Command::Publish(Arc::new(event), None)).is_ok()
    }

    /// Sends what waits, if that is little and for few; else wakes the hub's thread for it. Never waits. For the
    /// reader of edges: while it sends the kernel keeps the next ones, so it may send to a few, but not to a crowd.
    pub fn send_few(&self) {
        if self.inbox.1.is_empty() {
            return;
        }
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Its holder looks again, but may have many to send to; the hub's thread has nothing else to do.
            Err(TryLockError::WouldBlock) => return self.look_again(),
        };
        if self.inbox.1.len() <= BATCH && core.table.len() <= FEW {
            core.work(&self.inbox.1);
        }
        drop(core);
        self.look_again();
    }

    /// Tells `tap` of every event from now on, before it is sent.
    pub fn tap(&self, tap: Tap) {
        self.lock().taps.push(tap);
        self.look_again();
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
        self.put(Command::Join(id, Box::new(member)));
        id
    }

    /// From now on. See [`Hub::resume`] for subscriptions that begin in the past.
    ///
    /// # Errors
    /// There are too many subscriptions.
    pub fn subscribe(&self, id: MemberId, filter: Filter) -> Result<(), TooMany> {
        self.reserve(1)?;
        self.put(Command::Subscribe(id, Box::new(filter)));
        Ok(())
    }

    /// From now on its events carry their positions.
    pub fn with_positions(&self, id: MemberId) {
        self.put(Command::WithPositions(id));
    }

    pub fn unsubscribe(&self, id: MemberId, filter: Filter) {
        self.put(Command::Unsubscribe(id, Box::new(filter)));
    }

    pub fn unsubscribe_all(&self, id: MemberId) {
        self.put(Command::UnsubscribeAll(id));
    }

    pub fn leave(&self, id: MemberId) {
        self.put(Command::Leave(id));
    }

    /// Sends all that waits, unless somebody else is at it (who then sends it for us).
    pub fn combine(&self) {
        let mut batches = 0;
        // Looking again after letting go is what makes it safe to walk away from a held lock: whoever holds
        // it will look after we left our event.
        while !self.inbox.1.is_empty() {
            if batches == BATCHES_PER_VISIT {
                let _ = self.nudge.try_send(());
                return;
            }
            let mut core = match self.core.try_lock() {
                Ok(core) => core,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            core.work(&self.inbox.1);
            batches += 1;
        }
    }

    /// Sends all that waits now, and waits for whoever is at it: afterwards everything left in the hub before
    /// this call is done. For the shutdown, whose next step ends the connections, and for whoever looks at the table.
    pub fn drain(&self) {
        // The inbox is in order and bounded, so this many batches reach past what is in it; more may be coming.
        for _ in 0..=INBOX / BATCH {
            let mut core = self.lock();
            if self.inbox.1.is_empty() {
                break;
            }
            core.work(&self.inbox.1);
        }
        self.look_again();
    }

    /// To be called after letting go of the send lock by whoever does not look for more itself: those who met it held
    /// have left their events to its holder.
    fn look_again(&self) {
        if !self.inbox.1.is_empty() {
            let _ = self.nudge.try_send(());
        }
    }

    /// Who is connected, and subscribed to what.
    pub fn presence(&self) -> Vec<Presence> {
        // What others left while the lock was held is part of the picture.
        self.drain();
        let mut list: Vec<Presence> = self.lock().table.presence().collect();
        self.look_again();
        list.sort_by_key(|p| p.id);
        list
    }

    /// Makes the hub's thread panic, for tests of what becomes of the daemon then.
    pub fn debug_panic(&self) {
        self.debug_panic.store(true, Ordering::Release);
        let _ = self.nudge.try_send(());
    }

    /// Its thread, to be asked whether it comes round: it does while the send lock is let go of, also to a busy hub.
    pub fn asked(self: &Arc<Hub>) -> Asked {
        let hub = Arc::clone(self);
        let ask = move |answer| {
            hub.pulse.ask(answer);
            let _ = hub.nudge.try_send(());
        };
        Asked { name: "hub", ask: Box::new(ask) }
    }

    /// Has the hub's thread hang, for tests of what becomes of the daemon then.
    pub fn debug_hang(&self) {
        self.pulse.debug_hang();
        let _ = self.nudge.try_send(());
    }

    /// Sends what is left, then stops the hub's thread, within `limit`.
    pub fn stop(&self, limit: Duration) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.nudge.try_send(());
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
    }

    fn run(&self, nudged: &Receiver<()>) {
        while nudged.recv().is_ok() {
            assert!(!self.debug_panic.load(Ordering::Acquire), "a debug action asked for this");
            loop {
                self.lock().work(&self.inbox.1);
                self.pulse.beat();
                if self.inbox.1.is_empty() {
                    break;
                }
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                log::error!("the hub's inbox was full: {dropped} of the daemon's own events were dropped");
            }
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Takes room for subscriptions, which the table gives back when they end or were none.
    fn reserve(&self, count: usize) -> Result<(), TooMany> {
        let more = |now: usize| Some(now + count).filter(|sum| *sum <= MAX_SUBSCRIPTIONS);
        self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(drop).map_err(|_| TooMany)
    }

    fn put(&self, command: Command) {
        let Err(TrySendError::Full(mut command)) = self.inbox.0.try_send(command) else { return };
        // Full: wait for the lock, help, and try again. Terminates because helping makes room.
        loop {
            self.lock().work(&self.inbox.1);
            match self.inbox.0.try_send(command) {
                Err(TrySendError::Full(back)) => command = back,
                _ => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock;
    use crate::types::event::Body;

    #[test]
    fn a_full_inbox_refuses_and_counts_only_what_nobody_else_accounts_for() {
        let encode = Encode { event: |_, _, _, _| {}, lagged: |_, _, _| {} };
        let settings = Settings { history: config::History::default(), slow_events: Slow::Drop };
        let hub = Hub::start(encode, &settings).expect("a thread");
        let event = || {
            let body = Body::Log { level: log::Level::Warn, target: "x".into(), message: "x".into() };
            Event { at: clock::wall(), body }
        };
        // With the lock held here nothing leaves the inbox.
        let core = hub.lock();
        for _ in 0..INBOX {
            assert!(hub.offer(event()));
        }
        assert!(!hub.offer(event()));
        assert_eq!(hub.dropped.load(Ordering::Relaxed), 0);
        assert!(!hub.post(event()));
        assert_eq!(hub.dropped.load(Ordering::Relaxed), 1);
        drop(core);
        hub.drain();
        assert!(hub.offer(event()));
        hub.stop(Duration::from_secs(20));
    }
}
