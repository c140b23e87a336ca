//! The hand-over by itself: what was left in the inbox is always done by somebody. Main waits for exactly that and wakes
//! nobody.

use shuttle::thread;

use self::original::{Handover, Work};
use crate::explore::{Count, Tests};
use crate::rt::sync::{Arc, AtomicBool, Ordering, Receiver, bounded};

#[allow(dead_code, reason = "the model needs not all of it")]
#[allow(clippy::duplicate_mod, reason = "the hub keeps its own to itself")]
#[path = "../../src/hub/handover.rs"]
mod original;

pub const TESTS: Tests =
    &[("what_was_left_while_the_lock_was_held_is_done_by_somebody", what_was_left_is_done_by_somebody)];

struct Counting(Arc<Count>);

impl Work for Counting {
    type Command = ();

    const BATCH: usize = 2;

    fn work(&mut self, inbox: &Receiver<()>) {
        self.0.add(inbox.try_iter().take(Self::BATCH).count());
    }
}

fn what_was_left_is_done_by_somebody() {
    let done = Arc::new(Count::default());
    let (nudge, nudged) = bounded(1);
    // So small that it is full at times.
    let hand = Arc::new(Handover::new(Counting(Arc::clone(&done)), 3, nudge));
    let stop = Arc::new(AtomicBool::new(false));
    let (own, end) = (Arc::clone(&hand), Arc::clone(&stop));
    let hub = thread::spawn(move || {
        while !end.load(Ordering::Acquire) {
            nudged.recv().expect("alive");
            own.serve(|| {});
        }
    });
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
}
