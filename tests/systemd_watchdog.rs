//! The watchdog: fed while the threads that matter come round, and not any more when one of them hangs; which is said
//! before the service manager acts.

mod common;
mod manager;

use std::time::Duration;

use common::{Daemon, TempDir, pinwire};
use manager::Manager;

/// `WATCHDOG_USEC`. Long enough for a busy machine to answer in a quarter of it.
const INTERVAL: Duration = Duration::from_millis(1200);

fn micros(interval: Duration) -> String {
    interval.as_micros().to_string()
}

/// The daemon with a watchdog, ready.
fn watched(manager: &Manager, interval: Duration) -> Daemon {
    let daemon = Daemon::start_in(TempDir::new(), |command| {
        command.arg("--debug-actions").arg("--state-dir").arg(TempDir::new().path());
        command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", micros(interval));
    });
    manager.until("READY=1");
    daemon
}

fn hang(daemon: &Daemon, thread: &str) {
    let text = format!(r#"{{"action":"DEBUG_HANG","params":{{"thread":"{thread}"}}}}"#);
    let answer = daemon.ws("/").ask(&text);
    assert_eq!(answer["data"], "The thread will hang", "{answer}");
}

/// It is not fed any more, and has said so; then the manager does what it does.
fn given_up(manager: &Manager, mut daemon: Daemon, thread: &str) {
    let said = manager.until(&format!("no answer from {thread}"));
    assert!(said.starts_with("STATUS="), "{said}");
    daemon
        .wait_for_log(&format!("watchdog: thread {thread} does not answer; unless it does, the service manager ends"));
    let (fed, others) = manager.fed_within(INTERVAL * 2);
    assert_eq!(fed, 0, "{others:?}");
    daemon.signal("KILL");
    daemon.wait();
}

#[test]
fn it_is_fed_twice_in_an_interval_for_as_long_as_all_come_round() {
    let manager = Manager::new();
    let daemon = watched(&manager, INTERVAL);
    let (fed, others) = manager.fed_within(INTERVAL * 4);
    assert!((7..=9).contains(&fed), "{fed} times, and {others:?}");
    // Work is no silence.
    let mut ws = daemon.ws("/");
    for _ in 0..1000 {
        ws.send(r#"{"action":"READ_MEMORY"}"#);
    }
    let (fed, _) = manager.fed_within(INTERVAL * 2);
    assert!(fed >= 3, "{fed} times under load");
    assert!(!daemon.log().contains("watchdog"), "{}", daemon.log());
}

#[test]
fn it_is_meant_for_another_process_or_for_nobody() {
    for (name, value) in [("WATCHDOG_PID", "1"), ("WATCHDOG_USEC", "0")] {
        let manager = Manager::new();
        let _daemon = Daemon::start_in(TempDir::new(), |command| {
            command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "100000").env(name, value);
        });
        manager.until("READY=1");
        assert_eq!(manager.fed_within(Duration::from_millis(500)), (0, Vec::new()));
    }
}

#[test]
fn a_hub_that_hangs_is_not_fed() {
    let manager = Manager::new();
    let daemon = watched(&manager, INTERVAL);
    hang(&daemon, "hub");
    given_up(&manager, daemon, "hub");
}

#[test]
fn lines_that_nobody_looks_after_are_not_fed() {
    let manager = Manager::new();
    let daemon = watched(&manager, INTERVAL);
    hang(&daemon, "gpio-out");
    given_up(&manager, daemon, "gpio-out");
}

/// A worn card may take its time: pins, events and readings go on, and the manager is told.
#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn a_store_that_waits_for_its_disk_is_given_longer_and_not_for_ever() {
    let (manager, interval) = (Manager::new(), Duration::from_millis(600));
    let mut daemon = watched(&manager, interval);
    hang(&daemon, "store");
    manager.until("no answer from store");
    daemon.wait_for_log("watchdog: thread store does not answer, perhaps for a slow disk; it may take 6s for that");
    let (fed, others) = manager.fed_within(interval * 5);
    assert!(fed >= 8, "{fed} times, and {others:?}");
    assert_eq!(daemon.get("/health").status, 200);
    daemon.wait_for_log("watchdog: thread store has not answered; the service manager ends this process");
    while manager.within(Duration::ZERO).is_some() {}
    let (fed, others) = manager.fed_within(interval * 3);
    // One may have been under way.
    assert!(fed <= 1, "{fed} times, and {others:?}");
    daemon.signal("KILL");
    daemon.wait();
}

/// What is written to the disk for the lines' sake does not keep the lines waiting.
#[test]
fn a_disk_that_takes_for_ever_keeps_no_line_waiting() {
    let (manager, dir) = (Manager::new(), TempDir::new());
    let pins = "[gpio.pins]\nlamp = { pin = 17, mode = \"output\", persist = true }\n";
    let config = dir.file("pinwire.toml", &format!("state_dir = {:?}\n{pins}", dir.path().join("state")));
    // Where a level is written before it takes the old one's place: to open that waits for a reader, who never comes.
    let slow = dir.file("state/outputs.new", "");
    std::fs::remove_file(&slow).expect("removed");
    assert!(std::process::Command::new("mkfifo").arg(&slow).status().expect("mkfifo").success());
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--config"]).arg(config);
    command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", micros(INTERVAL));
    let daemon = Daemon::launch(dir, command);
    manager.until("READY=1");
    let mut ws = daemon.ws("/");
    let on = r#"{"action":"PULSE_PIN","params":{"pin":"lamp","duration":"10ms"}}"#;
    assert_eq!(ws.ask(on)["success"], true);
    // It is written a second later, and that has no end.
    let (fed, others) = manager.fed_within(INTERVAL * 4);
    assert!(fed >= 7, "{fed} times, and {others:?}");
    assert!(!daemon.log().contains("watchdog"), "{}", daemon.log());
    assert_eq!(ws.ask(on)["success"], true);
    let is_on = r#"{"action":"READ_LINES","params":{"pins":["lamp"]}}"#;
    while ws.ask(is_on)["data"]["lamp"]["state"] != 0.0 {}
}
