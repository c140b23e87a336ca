//! The hub's parts against models that are too simple to be wrong, over many random orders of what may happen.
//!
//! Everything random comes from a number that is printed when a test fails: with it alone the same run comes again.

mod held;
mod history;
mod live;
mod resume;
mod table;

use std::net::{TcpListener, TcpStream};

use super::*;
use crate::config;
use crate::conn::{Conn, Shared};
use crate::rt::clock;
use crate::types::event::{Body, Dialect};
use crate::types::position::Lagged;

/// Numbers that look random and are the same for the same seed (xorshift64*).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// Runs `test` with many seeds, or with the one in `SEED`.
pub fn with_seeds(count: u64, test: impl Fn(&mut Rng)) {
    let one = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    for seed in one.map_or(1..=count, |seed| seed..=seed) {
        let failed = Failed(seed);
        test(&mut Rng::new(seed));
        std::mem::forget(failed);
    }
}

/// Says which seed it was.
struct Failed(u64);

impl Drop for Failed {
    fn drop(&mut self) {
        eprintln!("again with SEED={}", self.0);
    }
}

pub fn message(topic: &str, data: &str) -> Event {
    let body = Body::Published { event: topic.into(), data: data.into(), action: None, created_at: None };
    Event { at: clock::wall(), body }
}

/// A fact under any topic.
pub fn fact(topic: &str) -> Event {
    let (server_id, at) = ("s".into(), clock::wall());
    let event = crate::types::fleet::DeviceEvent { topic: topic.into(), at, data: "{}".into() };
    Event { at, body: Body::Device { topic: topic.into(), server_id, event: Arc::new(event) } }
}

pub fn pattern(text: &str) -> Filter {
    Filter::Pattern(Pattern::new(text).expect("a valid pattern"))
}

/// What connections share, with room for so many bytes each.
pub fn shared(backlog_bytes: usize) -> Arc<Shared> {
    let limits = config::Session { backlog_bytes, ..config::Session::default() };
    Arc::new(Shared::new(&limits).expect("a flusher"))
}

/// A connection and its client's end.
pub fn pair(shared: &Arc<Shared>) -> (Arc<Conn>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
    let (socket, peer) = listener.accept().expect("a client");
    (Conn::new(socket, peer, None, Arc::clone(shared)), client)
}

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
    let core = hub.hand.lock();
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
