//! What clients see of a shutdown while others keep the hub busy.

mod common;

use common::Daemon;
use tungstenite::Message;

#[test]
fn a_busy_daemon_says_that_it_stops_before_it_closes() {
    // Whether the hub is busy at the very moment is a matter of luck: so, several times.
    for _ in 0..5 {
        // The publishers do not read their Close, so each end takes this long.
        let mut daemon = Daemon::with_config("[session]\nclose_deadline = \"200ms\"\n", &[]);
        let mut watcher = daemon.ws("/ws?types=node.**");
        watcher.until(|event| event["data"]["status"] == "ready");
        watcher.sync();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let mut subscriber = daemon.ws(&format!("/subscribe?clientName={name}"));
                subscriber.send(r#"{"action":"subscribe","event":"flood"}"#);
                subscriber.sync();
                scope.spawn(move || while subscriber.0.read().is_ok() {});
                let mut publisher = daemon.ws(&format!("/publish?clientName={name}"));
                scope.spawn(move || while publisher.0.send(Message::text(r#"{"event":"flood"}"#)).is_ok() {});
            }
            let mut first = daemon.ws("/subscribe?clientName=first");
            first.send(r#"{"action":"subscribe","event":"flood"}"#);
            first.json();
            drop(first);
            daemon.signal("TERM");
            let event = watcher.json();
            assert_eq!(event["data"]["status"], "stopping", "{event}");
            assert_eq!(watcher.closed().0, 1001);
        });
        assert!(daemon.wait().success());
    }
}
