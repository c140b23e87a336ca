//! An event's way from publisher to socket, with every thread's every step in every order.
//!
//! The rooms `hub` and `conn` are built here once more, from the same sources, on locks, queues, threads, a clock and a
//! kernel of the test's own (`rt`), whose every step shuttle orders: at random, and with few but nasty changes of threads.
//! What runs is the program's: the outbox and what decides whether it is watched, the flusher, the hand-over, the lobby,
//! the hub. A wake-up that is lost leaves all threads waiting, which shuttle calls a deadlock; the rest is asserted.
//!
//! Memory orderings are not explored: each access counts as sequentially consistent. A word in the arguments selects the
//! tests whose names contain it; `RUNS` says how many orders of each kind there are.

/// The rooms' own tests are run with the library.
macro_rules! unit_tests {
    ($($anything:tt)*) => {};
}

/// Where shuttle can be built: it switches stacks in assembler.
macro_rules! where_it_runs {
    ($($item:item)*) => {
        $(#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] $item)*
    };
}

where_it_runs! {
    #[path = "../../src/conn/mod.rs"]
    #[allow(dead_code, unused_imports, reason = "not all of it is run")]
    mod conn;
    #[path = "../common/mod.rs"]
    mod common;
    mod closing;
    mod explore;
    mod handover;
    #[path = "../../src/hub/mod.rs"]
    #[allow(dead_code, unused_imports, reason = "not all of it is run")]
    mod hub;
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS needs all of it"))]
    mod line;
    #[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
    mod over_tls;
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS needs all of it"))]
    mod rt;
    mod sending;
    mod telling;

    use pinwire::{config, types, wire};

    fn main() {
        let plain = [handover::TESTS, sending::TESTS, telling::TESTS, closing::TESTS].map(|tests| (tests, 1));
        match over_tls::prepare() {
            Some(_certificate) => explore::run(&[&plain[..], &[(over_tls::TESTS, 5)]].concat()),
            None => explore::run(&plain),
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn main() {
    println!("skipped: shuttle is not to be had for this processor");
}
