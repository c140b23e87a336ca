//! Slows whoever fails: after some failed logins or handshakes an address has to wait before it may try again.
//!
//! [`Slow`] is a table without a clock: `now` is passed in. It is bounded. When it is full and another address fails, those
//! whose failures are forgotten leave, and if there are none, the eighth with the fewest failures, the oldest of them
//! first: addresses are cheap (a single /48 has 65,536 networks), so many light ones must not drive out the one that
//! keeps trying.
//!
//! Who has to wait is not counted again for asking: an honest device with an old key is slowed and never shut out.
//! Use a table per purpose, so that an agent's wrong key does not delay its owner's login.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::rt::clock;

/// How fast whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures without any delay.
    pub free: u32,
    /// After the next one; doubled by each that follows.
    pub first_delay: Duration,
    /// No delay is longer.
    pub longest_delay: Duration,
    /// One failure is forgotten per such time without another. Not shorter than the longest delay.
    pub forget: Duration,
    /// Addresses remembered; at least 8.
    pub capacity: usize,
}

/// What failed logins and handshakes cost.
pub const RULES: Rules = Rules {
    free: 5,
    first_delay: Duration::from_secs(1),
    longest_delay: Duration::from_secs(30),
    forget: Duration::from_secs(60),
    // About 80 KiB when it is full.
    capacity: 1024,
};

/// Whether somebody may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Allow,
    /// Not before this time has passed. Never zero.
    RetryAfter(Duration),
}

/// Who failed of late.
pub struct Slow {
    rules: Rules,
    failed: HashMap<Network, Record>,
}

/// A table for several threads, by the daemon's clock.
pub struct Slowed(Mutex<Slow>);

impl Slowed {
    pub fn new(rules: Rules) -> Slowed {
        Slowed(Mutex::new(Slow::new(rules)))
    }

    /// As [`Slow::attempt`].
    ///
    /// # Errors
    /// How long the address has to wait.
    pub fn attempt(&self, address: IpAddr) -> Result<(), Duration> {
        match self.lock().attempt(address, clock::now()) {
            Answer::Allow => Ok(()),
            Answer::RetryAfter(wait) => Err(wait),
        }
    }

    /// As [`Slow::succeeded`].
    pub fn succeeded(&self, address: IpAddr) {
        self.lock().succeeded(address);
    }

    pub fn has_to_wait(&self, address: IpAddr) -> bool {
        self.lock().ask(address, clock::now()) != Answer::Allow
    }

    /// The lock guards a table that is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, Slow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who are slowed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    /// A /64: one household, or one machine that has as many addresses as it likes.
    V6(u64),
}

impl Network {
    fn of(address: IpAddr) -> Network {
        // A dual-stack socket says ::ffff:192.0.2.1.
        match address.to_canonical() {
            IpAddr::V4(address) => Network::V4(address.to_bits()),
            IpAddr::V6(address) => Network::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Clone, Copy)]
struct Record {
    failures: u32,
    /// The last one, from which both the delay and the forgetting count.
    last: Instant,
}

impl Record {
    /// What is left of its failures.
    fn failures(&self, now: Instant, rules: &Rules) -> u32 {
        let forgotten = now.saturating_duration_since(self.last).as_nanos() / rules.forget.as_nanos().max(1);
        self.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

impl Rules {
    /// What has to be waited after the last of so many failures.
    fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free + 1) {
            None => Duration::ZERO,
            Some(doublings) => self.first_delay.saturating_mul(1 << doublings.min(31)).min(self.longest_delay),
        }
    }

    /// More failures than these change nothing, and are not counted: a long attack is forgotten as soon as a short one.
    fn most_failures(&self) -> u32 {
        let more = (1..32).find(|more| self.delay(self.free + more) >= self.longest_delay);
        self.free + more.unwrap_or(32)
    }
}

impl Slow {
    pub fn new(rules: Rules) -> Slow {
        debug_assert!(rules.forget >= rules.longest_delay && rules.capacity >= 8);
        Slow { rules, failed: HashMap::new() }
    }

    /// Whether `address` may try now. Asking costs nothing.
    pub fn ask(&self, address: IpAddr, now: Instant) -> Answer {
        let Some(record) = self.failed.get(&Network::of(address)) else { return Answer::Allow };
        let delay = self.rules.delay(record.failures);
        match delay.saturating_sub(now.saturating_duration_since(record.last)) {
            Duration::ZERO => Answer::Allow,
            left => Answer::RetryAfter(left),
        }
    }

    /// Counts a failure.
    pub fn failed(&mut self, address: IpAddr, now: Instant) {
        let network = Network::of(address);
        if !self.failed.contains_key(&network) && self.failed.len() >= self.rules.capacity {
            self.make_room(now);
        }
        let (rules, most) = (self.rules, self.rules.most_failures());
        let record = self.failed.entry(network).or_insert(Record { failures: 0, last: now });
        record.failures = (record.failures(now, &rules) + 1).min(most);
        record.last = record.last.max(now);
    }

    /// [`ask`](Slow::ask), and where the answer is to allow it, counts a failure in advance; [`succeeded`](Slow::succeeded)
    /// takes it back. So nobody gains by trying a hundred passwords at once.
    pub fn attempt(&mut self, address: IpAddr, now: Instant) -> Answer {
        let answer = self.ask(address, now);
        if answer == Answer::Allow {
            self.failed(address, now);
        }
        answer
    }

    /// Takes back what [`attempt`](Slow::attempt) counted, and no more: who has an account of their own cannot wash off
    /// failures with others'.
    pub fn succeeded(&mut self, address: IpAddr) {
        let network = Network::of(address);
        if let Some(record) = self.failed.get_mut(&network) {
            record.failures = record.failures.saturating_sub(1);
            if record.failures == 0 {
                self.failed.remove(&network);
            }
        }
    }

    /// As the top of this file says. Frees an eighth at least, so that a flood pays for one look at the whole table
    /// with many entries.
    fn make_room(&mut self, now: Instant) {
        let rules = self.rules;
        self.failed.retain(|_, record| record.failures(now, &rules) > 0);
        let goal = rules.capacity - (rules.capacity / 8).max(1);
        if self.failed.len() <= goal {
            return;
        }
        let mut lightest: Vec<_> =
            self.failed.iter().map(|(network, record)| (record.failures(now, &rules), record.last, *network)).collect();
        lightest.sort_unstable_by_key(|(failures, last, _)| (*failures, *last));
        for (_, _, network) in &lightest[..self.failed.len() - goal] {
            self.failed.remove(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn after(seconds: u64) -> Answer {
        Answer::RetryAfter(Duration::from_secs(seconds))
    }

    #[test]
    fn each_failure_doubles_the_delay_up_to_the_longest() {
        let (mut slow, mut now, who) = (Slow::new(RULES), Instant::now(), ip("192.0.2.1"));
        for _ in 0..RULES.free {
            assert_eq!(slow.ask(who, now), Answer::Allow);
            slow.failed(who, now);
        }
        assert_eq!(slow.ask(who, now), Answer::Allow);
        for delay in [1, 2, 4, 8, 16, 30, 30, 30] {
            slow.failed(who, now);
            assert_eq!(slow.ask(who, now), after(delay));
            now += Duration::from_secs(delay) - Duration::from_nanos(1);
            assert_eq!(slow.ask(who, now), Answer::RetryAfter(Duration::from_nanos(1)));
            now += Duration::from_nanos(1);
            assert_eq!(slow.ask(who, now), Answer::Allow);
        }
        assert_eq!(slow.ask(ip("192.0.2.2"), now), Answer::Allow);
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let (mut slow, start, who) = (Slow::new(RULES), Instant::now(), ip("192.0.2.1"));
        // However long it went on.
        (0..1000).for_each(|_| slow.failed(who, start));
        assert_eq!(slow.ask(who, start), after(30));
        // 11 failures reach the longest delay; three forgotten and one more are 9.
        let later = start + 3 * RULES.forget;
        slow.failed(who, later);
        assert_eq!(slow.ask(who, later), after(8));
        let much_later = later + 9 * RULES.forget;
        slow.failed(who, much_later);
        assert_eq!(slow.ask(who, much_later), Answer::Allow);
        assert_eq!(slow.failed[&Network::of(who)].failures, 1);
    }

    #[test]
    fn who_tries_in_parallel_gains_nothing() {
        let (mut slow, now, who) = (Slow::new(RULES), Instant::now(), ip("192.0.2.1"));
        let allowed = (0..100).filter(|_| slow.attempt(who, now) == Answer::Allow).count();
        assert_eq!(allowed, RULES.free as usize + 1);
        assert_eq!(slow.ask(who, now), after(1));
        // Being told to wait did not count.
        assert_eq!(slow.attempt(who, now + SECOND), Answer::Allow);
        assert_eq!(slow.ask(who, now + SECOND), after(2));
    }

    #[test]
    fn a_success_takes_back_itself_only() {
        let (mut slow, now, who) = (Slow::new(RULES), Instant::now(), ip("192.0.2.1"));
        for _ in 0..100 {
            assert_eq!(slow.attempt(who, now), Answer::Allow);
            slow.succeeded(who);
        }
        assert!(slow.failed.is_empty());
        (0..=RULES.free).for_each(|_| slow.failed(who, now));
        assert_eq!(slow.attempt(who, now + SECOND), Answer::Allow);
        slow.succeeded(who);
        slow.failed(who, now + SECOND);
        assert_eq!(slow.ask(who, now + SECOND), after(2));
        slow.succeeded(ip("192.0.2.9"));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_mapped_ipv4_is_ipv4() {
        let (mut slow, now) = (Slow::new(RULES), Instant::now());
        for host in 0..=RULES.free {
            slow.failed(ip(&format!("2001:db8:1:2::{host:x}")), now);
            slow.failed(ip("::ffff:192.0.2.1"), now);
        }
        assert_eq!(slow.ask(ip("2001:db8:1:2:ffff:ffff:ffff:ffff"), now), after(1));
        assert_eq!(slow.ask(ip("2001:db8:1:3::"), now), Answer::Allow);
        assert_eq!(slow.ask(ip("192.0.2.1"), now), after(1));
        // IPv4 by the address, and no IPv6 network is taken for one.
        assert_eq!(slow.ask(ip("192.0.2.0"), now), Answer::Allow);
        assert_eq!(slow.ask(ip("::c000:201"), now), Answer::Allow);
    }

    #[test]
    fn a_flood_of_addresses_does_not_drive_out_who_keeps_trying() {
        let (mut slow, start, worst) = (Slow::new(RULES), Instant::now(), ip("198.51.100.1"));
        (0..20).for_each(|_| slow.failed(worst, start));
        for n in 0..10 * RULES.capacity as u32 {
            slow.failed(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), start + Duration::from_micros(n.into()));
            assert!(slow.failed.len() <= RULES.capacity);
        }
        assert_eq!(slow.ask(worst, start), after(30));
        // Of the light ones the oldest went.
        let last = 10 * RULES.capacity as u32 - 1;
        assert!(slow.failed.contains_key(&Network::V4(0x0a00_0000 + last)));
        assert!(!slow.failed.contains_key(&Network::V4(0x0a00_0000)));
    }

    #[test]
    fn those_who_are_forgotten_go_first() {
        let rules = Rules { capacity: 8, ..RULES };
        let (mut slow, start) = (Slow::new(rules), Instant::now());
        let light = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 0..7 {
            slow.failed(light(n), start);
        }
        let later = start + RULES.forget;
        slow.failed(light(7), later);
        slow.failed(light(8), later);
        let mut left: Vec<_> = slow.failed.keys().copied().map(|network| format!("{network:?}")).collect();
        left.sort();
        assert_eq!(left, [light(7), light(8)].map(|address| format!("{:?}", Network::of(address))));
    }

    #[test]
    fn a_clock_read_earlier_by_another_thread_is_no_crash() {
        let (mut slow, now, who) = (Slow::new(RULES), Instant::now() + SECOND, ip("192.0.2.1"));
        (0..=RULES.free).for_each(|_| slow.failed(who, now));
        assert_eq!(slow.ask(who, now - SECOND), after(1));
        slow.failed(who, now - SECOND);
        assert_eq!(slow.ask(who, now), after(2));
    }
}
