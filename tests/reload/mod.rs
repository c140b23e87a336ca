//! A daemon's file written anew, and the daemon told so.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::common::{Daemon, LIMIT};

/// What a reload says last.
const ENDS: [&str; 2] = ["reload done", "everything in use stays"];

/// Writes the daemon's configuration anew: whole, as an editor does, so that nobody reads half of it.
pub fn rewrite(daemon: &Daemon, text: &str) {
    let whole = daemon.dir.file("pinwire.toml.new", text);
    std::fs::rename(whole, daemon.dir.path().join("pinwire.toml")).expect("renamed");
}

/// Tells the daemon to reload, waits until it has, and returns what it said.
pub fn reload(daemon: &Daemon) -> String {
    let ends = |log: &str| ENDS.iter().map(|end| log.matches(end).count()).sum::<usize>();
    let before = daemon.log();
    let had = ends(&before);
    daemon.signal("HUP");
    let (_never, pace) = channel::<()>();
    let until = Instant::now() + LIMIT;
    while ends(&daemon.log()) == had {
        assert!(Instant::now() < until, "the reload is not over within {LIMIT:?}:\n{}", daemon.log());
        assert_eq!(pace.recv_timeout(Duration::from_millis(2)), Err(RecvTimeoutError::Timeout));
    }
    daemon.log().split_off(before.len())
}
