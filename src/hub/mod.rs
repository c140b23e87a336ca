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

mod table;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::conn::Conn;
use crate::rt::clock;
use crate::rt::pulse::{Asked, Pulse};
use crate::rt::worker::Worker;
use crate::types::event::{Body, Dialect, Event};
use crate::types::topic::Pattern;
use table::Table;

/// Commands the inbox holds.
const INBOX: usize = 1024;

/// Commands sent on in one batch; bounds the buffers, and how many events one send may carry.
const BATCH: usize = 64;

/// Bytes of encoded events after which a batch is sent without waiting for its end.
const SEND_BYTES: usize = 32 * 1024;

/// Batches a publisher sends before it hands over to the hub's own thread, so that a busy hub does not keep
/// a session from reading its own socket.
const BATCHES_PER_VISIT: usize = 16;

/// Subscribers, to whatever, with whom a thread in a hurry sends by itself. It is a system call for each, which never
/// waits; to wake another thread for them costs as much as several.
const FEW: usize = 16;

/// Writes an event as a whole WebSocket frame in one dialect; given by the wiring, so that the hub knows no JSON.
pub type Encode = fn(Dialect, &Event, &mut Vec<u8>);

/// Hears of every event within the process; must not wait, since nothing is sent meanwhile.
pub type Tap = Box<dyn Fn(&Arc<Event>) + Send>;

/// A subscriber's number; one connection may be several subscribers (in several dialects).
pub type MemberId = u64;

/// Who subscribes.
pub struct Member {
    pub conn: Arc<Conn>,
    pub dialect: Dialect,
    /// PiCloud's client name; empty elsewhere.
    pub name: String,
    pub since: SystemTime,
    /// Frames to send first, at the moment it joins: whoever has read them is subscribed.
    pub greeting: Vec<u8>,
    /// Send the last `node.status.changed` next: a newcomer cannot have seen it.
    pub replay_status: bool,
    /// What it is subscribed to from the beginning.
    pub patterns: Vec<Pattern>,
}

impl Member {
    /// A subscriber since now, without name, greeting or subscriptions.
    pub fn new(conn: &Arc<Conn>, dialect: Dialect) -> Member {
        Member {
            conn: Arc::clone(conn),
            dialect,
            name: String::new(),
            since: clock::wall(),
            greeting: Vec::new(),
            replay_status: false,
            patterns: Vec::new(),
        }
    }
}

/// What a subscriber wants.
pub enum Filter {
    /// Topics with exactly this name (PiCloud).
    Exact(Box<str>),
    /// Topics selected by this pattern.
    Pattern(Pattern),
}

enum Command {
    Publish(Arc<Event>),
    Join(MemberId, Box<Member>),
    Subscribe(MemberId, Box<Filter>),
    Unsubscribe(MemberId, Box<Filter>),
    UnsubscribeAll(MemberId),
    Leave(MemberId),
}

/// A handle for everyone; see the module's text.
pub struct Hub {
    inbox: (Sender<Command>, Receiver<Command>),
    core: Mutex<Core>,
    /// Wakes the hub's own thread; one pending wake-up is as good as many.
    nudge: Sender<()>,
    stopping: AtomicBool,
    next_member: AtomicU64,
    /// Events that threads which must not wait found no room for.
    dropped: AtomicU64,
    debug_panic: AtomicBool,
    pulse: Pulse,
    worker: Mutex<Option<Worker>>,
}

/// What only the holder of the send lock touches.
struct Core {
    table: Table,
    taps: Vec<Tap>,
    encode: Encode,
    /// The last status of this node, for newcomers.
    status: Option<Arc<Event>>,
    /// One buffer of encoded frames per dialect, reused.
    frames: [Vec<u8>; Dialect::ALL.len()],
    batch: Vec<Command>,
}

impl Hub {
    /// # Errors
    /// No thread to be had.
    pub fn start(encode: Encode) -> std::io::Result<Arc<Hub>> {
        let (nudge, nudged) = bounded(1);
        let hub = Arc::new(Hub {
            inbox: bounded(INBOX),
            core: Mutex::new(Core {
                table: Table::default(),
                taps: Vec::new(),
                encode,
                status: None,
                frames: Default::default(),
                batch: Vec::new(),
            }),
            nudge,
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

    /// Leaves an event for whoever combines next. The caller must call [`Hub::combine`] before it waits for
    /// anything; sessions do so before each blocking read.
    pub fn publish(&self, event: Event) {
        self.put(Command::Publish(Arc::new(event)));
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
        self.inbox.0.try_send(Command::Publish(Arc::new(event))).is_ok()
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

    /// Takes in a subscriber.
    pub fn join(&self, member: Member) -> MemberId {
        let id = self.next_member.fetch_add(1, Ordering::Relaxed);
        self.put(Command::Join(id, Box::new(member)));
        id
    }

    pub fn subscribe(&self, id: MemberId, filter: Filter) {
        self.put(Command::Subscribe(id, Box::new(filter)));
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

    /// PiCloud's view of who is connected: every PiCloud member with the events it subscribes to.
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

/// One connected PiCloud client.
#[derive(Clone, Debug)]
pub struct Presence {
    pub id: MemberId,
    pub name: String,
    pub peer: std::net::SocketAddr,
    pub since: SystemTime,
    pub events: Vec<String>,
}

impl Core {
    /// Takes one batch from the inbox and does it.
    fn work(&mut self, inbox: &Receiver<Command>) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.extend(inbox.try_iter().take(BATCH));
        let mut rest = batch.as_mut_slice();
        while let Some(first) = rest.first() {
            // Neighbours on the same topic go out together: one send carries them all.
            let run = match first {
                Command::Publish(event) => {
                    let topic = event.topic();
                    rest.iter().take_while(|c| matches!(c, Command::Publish(e) if e.topic() == topic)).count()
                }
                _ => 1,
            };
            let (now, later) = rest.split_at_mut(run);
            if matches!(now, [Command::Publish(_), ..]) {
                self.deliver(now);
            } else if let [command] = now {
                self.change(command);
            }
            rest = later;
        }
        batch.clear();
        self.batch = batch;
    }

    /// Encodes a run of events of one topic, once per dialect that somebody wants, and sends it to everyone.
    fn deliver(&mut self, all: &[Command]) {
        let Some(Command::Publish(first)) = all.first() else { return };
        for tap in &self.taps {
            for command in all {
                if let Command::Publish(event) = command {
                    tap(event);
                }
            }
        }
        let mut run = all;
        let route = self.table.route(first.topic(), first.audience());
        while !run.is_empty() {
            self.frames.iter_mut().for_each(Vec::clear);
            // Large events go out in several sends: the buffers stay small, and so does what a send may queue.
            let mut taken = 0;
            while taken < run.len() && self.frames.iter().all(|frames| frames.len() < SEND_BYTES) {
                if let Command::Publish(event) = &run[taken] {
                    for dialect in route.dialects() {
                        (self.encode)(dialect, event, &mut self.frames[dialect as usize]);
                    }
                }
                taken += 1;
            }
            route.for_each(|dialect, conn| {
                // A receiver that is gone leaves by itself: its session sends Leave.
                let _ = conn.send(&self.frames[dialect as usize]);
            });
            run = &run[taken..];
        }
        self.keep_status(all);
    }

    fn keep_status(&mut self, run: &[Command]) {
        if let Some(Command::Publish(event)) = run.last()
            && matches!(event.body, Body::NodeStatus { .. })
        {
            self.status = Some(Arc::clone(event));
        }
    }

    fn change(&mut self, command: &mut Command) {
        match command {
            Command::Publish(_) => {}
            Command::Join(id, member) => {
                if !member.greeting.is_empty() {
                    let _ = member.conn.send(&member.greeting);
                }
                if member.replay_status
                    && let Some(status) = &self.status
                {
                    let frames = &mut self.frames[member.dialect as usize];
                    frames.clear();
                    (self.encode)(member.dialect, status, frames);
                    let _ = member.conn.send(frames);
                }
                self.table.join(*id, member);
                for pattern in member.patterns.drain(..) {
                    self.table.subscribe(*id, &mut Filter::Pattern(pattern));
                }
            }
            Command::Subscribe(id, filter) => self.table.subscribe(*id, filter),
            Command::Unsubscribe(id, filter) => self.table.unsubscribe(*id, filter),
            Command::UnsubscribeAll(id) => self.table.unsubscribe_all(*id),
            Command::Leave(id) => self.table.leave(*id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_refuses_and_counts_only_what_nobody_else_accounts_for() {
        let hub = Hub::start(|_, _, _| {}).expect("a thread");
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
