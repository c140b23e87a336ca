//! How many may be in at once: in all, per address, and by descriptors.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Descriptors kept free for everything that is not a connection: files read for telemetry, the state
/// directory, certificates on reload, a child's pipes, the connection being turned away.
pub const RESERVED_DESCRIPTORS: usize = 16;

/// Descriptors an HTTP request under way needs besides its connection's own: our end of the private connection,
/// and the HTTP server's two (it duplicates the one it accepts).
pub const RELAY_DESCRIPTORS: usize = 3;

/// The counters.
pub struct Slots {
    max_per_address: usize,
    state: Mutex<State>,
}

struct State {
    connections_left: usize,
    descriptors_left: usize,
    per_address: HashMap<IpAddr, usize>,
}

/// Why there is no room, in the words of the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Full {
    Connections,
    Address,
    Descriptors,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Full::Connections => "front.max_connections are in",
            Full::Address => "front.max_per_address connections of this address are in",
            Full::Descriptors => "the limit of open files (ulimit -n) allows no more",
        })
    }
}

impl Slots {
    /// `descriptors` is how many the process may still open.
    pub fn new(max_connections: usize, max_per_address: usize, descriptors: usize) -> Slots {
        let state = State {
            connections_left: max_connections,
            descriptors_left: descriptors.saturating_sub(RESERVED_DESCRIPTORS),
            per_address: HashMap::new(),
        };
        Slots { max_per_address, state: Mutex::new(state) }
    }

    /// Counts one more connection of `address`; loopback has no limit of its own.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn enter(self: &Arc<Slots>, address: IpAddr) -> Result<Slot, Full> {
        let mut state = self.lock();
        if state.connections_left == 0 {
            return Err(Full::Connections);
        }
        // Were the last ones given to connections that have asked nothing yet, none of them could be served.
        if state.descriptors_left <= RELAY_DESCRIPTORS {
            return Err(Full::Descriptors);
        }
        if !address.is_loopback() {
            let count = state.per_address.entry(address).or_default();
            if *count >= self.max_per_address {
                return Err(Full::Address);
            }
            *count += 1;
        }
        state.connections_left -= 1;
        state.descriptors_left -= 1;
        Ok(Slot { slots: Arc::clone(self), address, descriptors: 1 })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place; given back when dropped.
pub struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
    descriptors: usize,
}

impl Slot {
    /// Takes the descriptors a request under way needs.
    ///
    /// # Errors
    /// There are not enough.
    pub fn widen(&mut self) -> Result<(), Full> {
        let mut state = self.slots.lock();
        state.descriptors_left = state.descriptors_left.checked_sub(RELAY_DESCRIPTORS).ok_or(Full::Descriptors)?;
        self.descriptors += RELAY_DESCRIPTORS;
        Ok(())
    }

    /// Gives back what [`Slot::widen`] took.
    pub fn narrow(&mut self) {
        self.descriptors -= RELAY_DESCRIPTORS;
        self.slots.lock().descriptors_left += RELAY_DESCRIPTORS;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.connections_left += 1;
        state.descriptors_left += self.descriptors;
        if let Some(count) = state.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.per_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_limit_is_kept_and_places_are_given_back() {
        let slots = Arc::new(Slots::new(3, 2, RESERVED_DESCRIPTORS + 100));
        let first = slots.enter(ip("10.0.0.1")).ok();
        let _second = slots.enter(ip("10.0.0.1")).ok();
        assert_eq!(slots.enter(ip("10.0.0.1")).err(), Some(Full::Address));
        let _third = slots.enter(ip("10.0.0.2")).ok();
        assert_eq!(slots.enter(ip("10.0.0.3")).err(), Some(Full::Connections));
        drop(first);
        assert!(slots.enter(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn loopback_has_no_limit_per_address() {
        let slots = Arc::new(Slots::new(10, 1, RESERVED_DESCRIPTORS + 100));
        let inside: Vec<_> = (0..5).map(|_| slots.enter(ip("127.0.0.1"))).collect();
        assert!(inside.iter().all(Result::is_ok));
    }

    #[test]
    fn descriptors_are_counted_by_kind() {
        let slots = Arc::new(Slots::new(100, 100, RESERVED_DESCRIPTORS + 2 + RELAY_DESCRIPTORS));
        let mut relayed = slots.enter(ip("127.0.0.1")).expect("room");
        let mut other = slots.enter(ip("127.0.0.1")).expect("room");
        assert_eq!(slots.enter(ip("127.0.0.1")).err(), Some(Full::Descriptors));
        assert!(relayed.widen().is_ok(), "there is always room to serve one of those who are in");
        assert_eq!(other.widen(), Err(Full::Descriptors));
        relayed.narrow();
        assert!(other.widen().is_ok());
        drop((relayed, other));
        let (mut third, _fourth) = (slots.enter(ip("127.0.0.1")).expect("room"), slots.enter(ip("127.0.0.1")));
        assert!(third.widen().is_ok(), "all of it was given back");
    }
}
