//! The hand-over and the lobby, the same sources, with locks and queues whose every step shuttle puts in every order.
//!
//! What is to show: what was left in the inbox is always done by somebody, and whoever was dropped for is told once there
//! is room, although nobody publishes any more. Main waits for exactly that and wakes nobody: were something forgotten, all
//! threads would wait, which shuttle calls a deadlock. The connection itself is a stand-in (its sockets and epoll are not
//! shuttle's): a flag for room, and who asked for it, under one lock as in `conn::Outbox`.

use std::sync::Arc;

use shuttle::thread;

use self::handover::{Handover, Work};
use self::lobby::Lobby;
use self::sync::{AtomicBool, Condvar, Mutex, Ordering, Receiver, bounded};
use crate::conn::Bell;
use crate::hub::member;

#[allow(dead_code, reason = "the model needs not all of it")]
#[allow(clippy::duplicate_mod, reason = "the same source on purpose, with other locks")]
#[path = "../handover.rs"]
mod handover;

#[allow(clippy::duplicate_mod, reason = "the same source on purpose, with other locks")]
#[path = "../lobby.rs"]
mod lobby;

/// Runs of each kind.
const RUNS: usize = 1500;

/// What the hand-over is made of here.
mod sync {
    use std::collections::VecDeque;
    use std::sync::Arc;

    pub use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

    /// A bounded queue as crossbeam's, as far as it is used.
    pub struct Queue<T> {
        items: Mutex<VecDeque<T>>,
        size: usize,
        filled: Condvar,
    }

    pub struct Sender<T>(Arc<Queue<T>>);
    pub struct Receiver<T>(Arc<Queue<T>>);

    pub enum TrySendError<T> {
        Full(T),
    }

    pub fn bounded<T>(size: usize) -> (Sender<T>, Receiver<T>) {
        let queue = Arc::new(Queue { items: Mutex::new(VecDeque::new()), size, filled: Condvar::new() });
        (Sender(Arc::clone(&queue)), Receiver(queue))
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Sender<T> {
            Sender(Arc::clone(&self.0))
        }
    }

    impl<T> Sender<T> {
        pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
            let mut items = self.0.items.lock().expect("nobody panics");
            if items.len() == self.0.size {
                return Err(TrySendError::Full(item));
            }
            items.push_back(item);
            self.0.filled.notify_one();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub fn len(&self) -> usize {
            self.0.items.lock().expect("nobody panics").len()
        }

        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub fn try_recv(&self) -> Option<T> {
            self.0.items.lock().expect("nobody panics").pop_front()
        }

        pub fn recv(&self) -> T {
            let mut items = self.0.items.lock().expect("nobody panics");
            loop {
                if let Some(item) = items.pop_front() {
                    return item;
                }
                items = self.0.filled.wait(items).expect("nobody panics");
            }
        }
    }
}

/// What main waits for.
#[derive(Default)]
struct Count {
    reached: Mutex<usize>,
    changed: Condvar,
}

impl Count {
    fn add(&self, more: usize) {
        *self.reached.lock().expect("nobody panics") += more;
        self.changed.notify_all();
    }

    fn wait_for(&self, all: usize) {
        let mut reached = self.reached.lock().expect("nobody panics");
        while *reached < all {
            reached = self.changed.wait(reached).expect("nobody panics");
        }
        assert_eq!(*reached, all, "something was done twice");
    }
}

/// Runs `test` in many orders, of two kinds.
fn explore(test: fn()) {
    shuttle::check_random(test, RUNS);
    shuttle::check_pct(test, RUNS, 3);
}

/// The hub's thread.
fn serve<W: Work + Send + 'static>(
    hand: &Arc<Handover<W>>,
    nudged: Receiver<()>,
    stop: &Arc<AtomicBool>,
) -> thread::JoinHandle<()>
where
    W::Command: Send,
{
    let (hand, stop) = (Arc::clone(hand), Arc::clone(stop));
    thread::spawn(move || {
        while !stop.load(Ordering::Acquire) {
            nudged.recv();
            hand.serve(|| {});
        }
    })
}

struct Counting(Arc<Count>);

impl Work for Counting {
    type Command = ();

    const BATCH: usize = 2;

    fn work(&mut self, inbox: &Receiver<()>) {
        let done = (0..Self::BATCH).take_while(|_| inbox.try_recv().is_some()).count();
        self.0.add(done);
    }
}

#[test]
fn what_was_left_while_the_lock_was_held_is_done_by_somebody() {
    explore(|| {
        let done = Arc::new(Count::default());
        let (nudge, nudged) = bounded(1);
        // So small that it is full at times.
        let hand = Arc::new(Handover::new(Counting(Arc::clone(&done)), 3, nudge));
        let stop = Arc::new(AtomicBool::new(false));
        let hub = serve(&hand, nudged, &stop);
        let publishers = [1, 16].map(|most| {
            let hand = Arc::clone(&hand);
            thread::spawn(move || {
                for _ in 0..2 {
                    hand.put(());
                    hand.combine(most);
                }
            })
        });
        let edge = Arc::clone(&hand);
        let edges = thread::spawn(move || {
            let left = edge.leave(());
            edge.combine_few(|_| true);
            usize::from(left)
        });
        let looker = Arc::clone(&hand);
        let looker = thread::spawn(move || looker.with(|_| ()));
        let left = edges.join().expect("edges");
        done.wait_for(4 + left);
        stop.store(true, Ordering::Release);
        hand.wake();
        publishers.into_iter().for_each(|publisher| publisher.join().expect("a publisher"));
        looker.join().expect("a looker");
        hub.join().expect("the hub");
    });
}

/// A connection's outbox: whether there is room, and who wants to hear of it.
#[derive(Default)]
struct Outbox {
    has_room: bool,
    asking: Option<Arc<dyn Bell>>,
}

/// Sends to one who is slow.
struct Dropping {
    lobby: Arc<Lobby>,
    outbox: Arc<Mutex<Outbox>>,
    lost: usize,
    is_lagging: bool,
    /// Events it got, and those it was told of.
    told: Arc<Count>,
}

impl Dropping {
    fn offer(&self) -> bool {
        let mut outbox = self.outbox.lock().expect("nobody panics");
        if !outbox.has_room {
            outbox.asking = Some(Arc::clone(&self.lobby) as Arc<dyn Bell>);
        }
        outbox.has_room
    }
}

impl Work for Dropping {
    type Command = ();

    const BATCH: usize = 2;

    fn work(&mut self, inbox: &Receiver<()>) {
        for _ in self.lobby.take() {
            self.is_lagging = !self.offer();
            if !self.is_lagging {
                self.told.add(std::mem::take(&mut self.lost));
            }
        }
        for () in (0..Self::BATCH).map_while(|_| inbox.try_recv()) {
            self.is_lagging = self.is_lagging || !self.offer();
            if self.is_lagging {
                self.lost += 1;
            } else {
                assert_eq!(self.lost, 0, "it is told before anything else comes");
                self.told.add(1);
            }
        }
    }
}

#[test]
fn who_was_dropped_for_is_told_once_there_is_room_although_nobody_publishes_any_more() {
    explore(|| {
        let (nudge, nudged) = bounded(1);
        let (told, outbox) = (Arc::new(Count::default()), Arc::new(Mutex::new(Outbox::default())));
        let lobby = Arc::new(Lobby::new(nudge.clone()));
        let core = Dropping { lobby, outbox: Arc::clone(&outbox), lost: 0, is_lagging: false, told: Arc::clone(&told) };
        let hand = Arc::new(Handover::new(core, 8, nudge));
        let stop = Arc::new(AtomicBool::new(false));
        let hub = serve(&hand, nudged, &stop);
        let publishers = [0, 1].map(|_| {
            let hand = Arc::clone(&hand);
            thread::spawn(move || {
                for _ in 0..2 {
                    hand.put(());
                    hand.combine(16);
                }
            })
        });
        // The flusher: room for a moment, then none, then for good.
        let flusher = thread::spawn(move || {
            for has_room in [true, false, true] {
                let mut outbox = outbox.lock().expect("nobody panics");
                outbox.has_room = has_room;
                let asking = outbox.asking.take_if(|_| has_room);
                drop(outbox);
                if let Some(bell) = asking {
                    bell.ring(1);
                }
                thread::yield_now();
            }
        });
        told.wait_for(4);
        stop.store(true, Ordering::Release);
        hand.wake();
        publishers.into_iter().for_each(|publisher| publisher.join().expect("a publisher"));
        flusher.join().expect("the flusher");
        hub.join().expect("the hub");
    });
}
