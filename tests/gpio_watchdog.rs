//! A watchdog that is fed while edges are read, by either backend, and not any more when nobody reads them.

mod common;
mod manager;
mod rig;

use std::time::Duration;

use common::{Daemon, TempDir, pinwire};
use manager::Manager;
use rig::bench::{done, on_both};
use serde_json::json;

/// `WATCHDOG_USEC`. Long enough for a busy machine to answer in a quarter of it.
const INTERVAL: Duration = Duration::from_millis(1200);

#[test]
fn edges_that_nobody_reads_are_not_fed() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let (manager, dir) = (Manager::new(), TempDir::new());
        let mut command = pinwire();
        command.args(["serve", "--listen", "127.0.0.1:0", "--debug-actions", "--gpio", bench.backend]);
        command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", INTERVAL.as_micros().to_string());
        let mut daemon = Daemon::launch(dir, command);
        manager.until("READY=1");
        assert!(manager.fed_within(INTERVAL * 2).0 >= 3, "{}", daemon.log());
        done(&mut daemon.ws("/"), "DEBUG_HANG", json!({ "thread": "gpio-in" }));
        manager.until("no answer from gpio-in");
        daemon.wait_for_log("watchdog: thread gpio-in does not answer; unless it does, the service manager ends");
        assert_eq!(manager.fed_within(INTERVAL * 2).0, 0);
        daemon.signal("KILL");
        daemon.wait();
    });
}
