//! Publishers that send several events at a time: what comes together goes out together.
//!
//! Sending eight events to a thousand subscribers in one go takes hardly longer than sending one, but the first of a
//! burst arrives alone, and would be sent alone while the others queue behind it. So a publisher that is known for
//! bursts is waited for: until as many events are here as came the last time, and no longer than the last sending took,
//! so that nothing comes later than if it had met a sending under way. Who sends one event after the other is never
//! waited for.

use std::time::{Duration, Instant};

use crate::rt::clock;

/// Longest wait, however many subscribers there are. A client that has got what it waited for sends on within
/// microseconds; one that is farther away is not worth a wait.
const LONGEST: Duration = Duration::from_micros(250);

/// Looks for the next event before the wait for it is the kernel's.
pub const LOOKS: u32 = 20;

/// Largest burst worth a wait: the hub sends more than this in several goes anyway.
const MOST: u32 = 64;

/// See the file's text.
#[derive(Default)]
pub struct Burst {
    /// Published and not yet sent.
    here: u32,
    /// How many came together the last time.
    lately: u32,
    /// How long sending them took.
    took: Duration,
    /// When what is here goes out.
    until: Option<Instant>,
}

impl Burst {
    /// An event was published.
    pub fn published(&mut self) {
        self.here += 1;
    }

    /// Until when to wait for more before what is here is sent.
    pub fn wait(&mut self) -> Option<Instant> {
        if self.here == 0 || self.here >= self.lately.min(MOST) {
            return None;
        }
        Some(*self.until.get_or_insert_with(|| clock::now() + self.took.min(LONGEST)))
    }

    /// The wait was in vain: so many are expected the next time.
    pub fn no_more(&mut self) {
        self.lately = self.here;
    }

    /// Sends with `send`, and notes how long that took where it will matter.
    pub fn send(&mut self, send: impl FnOnce()) {
        let here = std::mem::take(&mut self.here);
        self.until = None;
        self.lately = self.lately.max(here);
        if here == 0 || self.lately < 2 {
            return send();
        }
        let begun = clock::now();
        send();
        self.took = clock::now().duration_since(begun);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Publishes `count` events and sends them.
    fn burst(burst: &mut Burst, count: u32) {
        (0..count).for_each(|_| burst.published());
        burst.send(|| ());
    }

    #[test]
    fn who_sends_one_after_the_other_is_never_waited_for() {
        let mut single = Burst::default();
        for _ in 0..3 {
            single.published();
            assert_eq!(single.wait(), None);
            single.send(|| ());
            assert_eq!(single.wait(), None);
        }
    }

    #[test]
    fn the_rest_of_a_burst_is_waited_for_and_not_more_than_that() {
        let mut many = Burst::default();
        burst(&mut many, 7);
        assert_eq!(many.wait(), None, "nothing is here");
        many.published();
        let until = many.wait().expect("six are missing");
        assert_eq!(many.wait(), Some(until), "the wait is for all of them together");
        (0..6).for_each(|_| many.published());
        assert_eq!(many.wait(), None, "all are here");
    }

    #[test]
    fn no_wait_is_longer_than_the_last_sending_or_the_limit() {
        let mut many = Burst::default();
        burst(&mut many, 8);
        many.took = Duration::from_secs(1);
        many.published();
        assert!(many.wait().expect("more may come") <= clock::now() + LONGEST);
    }

    #[test]
    fn a_wait_in_vain_is_not_repeated() {
        let mut many = Burst::default();
        burst(&mut many, 8);
        many.published();
        assert!(many.wait().is_some());
        many.no_more();
        assert_eq!(many.wait(), None);
        many.send(|| ());
        many.published();
        assert_eq!(many.wait(), None, "one is what is expected now");
    }
}
