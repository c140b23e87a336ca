//! A daemon's file written anew, and the daemon told so.

use crate::common::{Daemon, LIMIT};
use crate::robust::wait_until;

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
    wait_until(LIMIT, "the reload is over", || ends(&daemon.log()) > had);
    daemon.log().split_off(before.len())
}
