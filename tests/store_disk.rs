//! A disk that is full or read-only, under a hub that has things to keep: it serves, says so, and nothing is corrupted;
//! once there is room, everything that waited is there.

mod common;
#[path = "store_disk/mod.rs"]
mod disk;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::{Daemon, LIMIT, TempDir, Ws, pinwire};
use disk::{Hub, KEY, hub, hub_with};
use serde_json::{Value, json};

#[test]
fn on_a_full_disk_the_hub_serves_says_so_and_loses_nothing() {
    let Some(mut hub) = hub("") else { return };
    let server = hub.server();
    hub.sample(&server);
    hub.until_rows("SELECT count(*) FROM points WHERE step = 5", 1);
    let fill = hub.fill();
    // Some more finds room in the log that is there already.
    let refused = (0..64).map(|n| hub.add(&format!("s{n}"), 15_000)).find(|(status, _)| *status != 201);
    let (status, answer) = refused.expect("the disk is full");
    assert_eq!(status, 507, "{answer}");
    assert!(answer["detail"].as_str().is_some_and(|why| why.contains("cannot be written")), "{answer}");
    hub.daemon.wait_for_log("cannot be written");
    for _ in 0..5 {
        hub.sample(&server);
    }
    assert_eq!(hub.samples(&server), 6, "what waits is in the history");
    assert_eq!(hub.rest("GET", "/servers", &Value::Null).0, 200);
    hub.assert_sound();

    fs::remove_file(fill).expect("removed");
    hub.daemon.wait_for_log("the database works again");
    hub.until_health("ok");
    let (status, made) = hub.add("after", 1000);
    assert_eq!(status, 201, "{made}");
    hub.until_rows("SELECT sum(samples) FROM points WHERE step = 5", 6);
    assert_eq!(hub.samples(&server), 6);
    hub.assert_sound();
    assert!(hub.daemon.stop().success());
}

#[test]
fn a_batch_that_finds_no_room_waits_in_memory_and_is_an_alert() {
    let Some(hub) = hub("") else { return };
    let server = hub.server();
    let fill = hub.fill();
    let mut sent = 0;
    let begun = Instant::now();
    // Each batch needs a little more of the log.
    while hub.health()["state"] == "ok" {
        assert!(begun.elapsed() < LIMIT, "the disk is full");
        for _ in 0..20 {
            hub.sample(&server);
        }
        sent += 20;
    }
    let health = hub.health();
    assert!(health["reason"].as_str().is_some_and(|why| why.contains("cannot be written")), "{health}");
    hub.until_alert(true);
    assert_eq!(hub.samples(&server), sent);
    hub.assert_sound();
    fs::remove_file(fill).expect("removed");
    hub.until_health("ok");
    hub.until_alert(false);
    assert_eq!(hub.samples(&server), sent);
    hub.until_rows("SELECT sum(samples) FROM points WHERE step = 5", i64::try_from(sent).expect("a number"));
    hub.assert_sound();
}

#[test]
fn a_hub_that_starts_on_a_full_disk_goes_on_from_memory_until_there_is_room() {
    let before = "\"$1\" key add --name a --state-dir \"$2\" >/dev/null 2>&1; cat /dev/zero >\"$2/fill\" 2>/dev/null; ";
    let Some(hub) = hub(before) else { return };
    let health = hub.health();
    assert_eq!(health["state"], "degraded", "{health}");
    assert_eq!(hub.add("a", 1).0, 507);
    assert_eq!(hub.rest("GET", "/servers", &Value::Null), (200, json!([])));
    assert!(hub.daemon.log().contains("ERROR"), "{}", hub.daemon.log());
    fs::remove_file(hub.state.join("fill")).expect("removed");
    hub.until_health("ok");
    let server = hub.server();
    hub.sample(&server);
    hub.until_rows("SELECT count(*) FROM points WHERE step = 5", 1);
    hub.assert_sound();
}

#[test]
fn a_read_only_directory_is_served_from_and_used_once_it_can_be_written() {
    let before = "\"$1\" key add --name a --state-dir \"$2\" >/dev/null 2>&1; mount -o remount,ro \"$2\"; ";
    let Some(hub) = hub(before) else { return };
    let health = hub.health();
    assert_eq!(health["state"], "degraded", "{health}");
    assert!(health["reason"].as_str().is_some_and(|why| why.contains("nothing is written")), "{health}");
    let (status, answer) = hub.add("a", 1);
    assert_eq!(status, 507, "{answer}");
    hub.until_alert(true);
    hub.assert_sound();
    let pid = hub.daemon.pid().to_string();
    let inside = Path::new("/").join(hub.state.strip_prefix(format!("/proc/{pid}/root")).expect("below it"));
    let remount = Command::new("nsenter").args(["-t", &pid, "-m", "mount", "-o", "remount,rw"]).arg(inside).status();
    if !remount.is_ok_and(|status| status.success()) {
        common::skipped("the file system cannot be made writable again (nsenter)");
        return;
    }
    hub.until_health("ok");
    hub.until_alert(false);
    let server = hub.server();
    hub.sample(&server);
    hub.until_rows("SELECT count(*) FROM points WHERE step = 5", 1);
    hub.assert_sound();
}

/// A device with an agent of this program that tells the hub every line of a file.
struct Device {
    daemon: Daemon,
    lines: fs::File,
    written: usize,
}

impl Device {
    fn start(hub: &Hub, server: &str) -> Device {
        let (status, made) = hub.rest("POST", "/api-keys", &json!({"server_id": server, "name": "agent"}));
        assert_eq!(status, 201, "{made}");
        let dir = TempDir::new();
        let key = dir.file("agent.key", made["key"].as_str().expect("a key"));
        let lines = dir.file("lines.log", "");
        let config = dir.file("agent.toml", &format!("[agent]\nlog_files = [{lines:?}]\n"));
        let lines = fs::OpenOptions::new().append(true).open(lines).expect("opens");
        let mut command = pinwire();
        command.args(["agent", "--gpio", "sim", "--listen", "127.0.0.1:0"]);
        command.args(["--hub", &format!("ws://{}", hub.daemon.addr)]);
        command.arg("--key-file").arg(key).arg("--config").arg(config);
        let daemon = Daemon::launch(dir, command);
        daemon.wait_for_log("connected to hub");
        Device { daemon, lines, written: 0 }
    }

    fn write(&mut self, count: usize) {
        for number in self.written..self.written + count {
            writeln!(self.lines, "{number} {}", "x".repeat(200)).expect("written");
        }
        self.written += count;
    }
}

/// The number a line carries; `None` for other log entries.
fn number(message: &str) -> Option<usize> {
    message.strip_suffix(&"x".repeat(200))?.trim().parse().ok()
}

#[test]
fn what_finds_no_room_at_the_hub_is_handed_over_again_once_there_is_and_leaves_no_gap() {
    let Some(hub) = hub_with("", "2m", "pending_bytes = 65536\n") else { return };
    let server = hub.server();
    let path = format!("/api/v1/ws/logs/{server}");
    let mut live = Ws::connect(hub.daemon.addr, &path, &[("X-API-Key", KEY)]).expect("a socket");
    assert_eq!(live.json()["type"], "auth_success");
    let mut device = Device::start(&hub, &server);
    device.write(20);
    let rows = "SELECT count(*) FROM logs WHERE message LIKE '% xxx%'";
    hub.until_rows(rows, 20);

    let fill = hub.fill();
    let begun = Instant::now();
    // Each batch needs a little more of the log.
    while hub.health()["state"] == "ok" {
        assert!(begun.elapsed() < LIMIT, "the disk is full");
        device.write(10);
        hub.pause();
    }
    // More than may wait.
    device.write(600);
    let mut seen = Vec::new();
    let mut watch = |until: usize| {
        while seen.len() < until {
            let event = live.json();
            seen.extend(event["data"]["message"].as_str().and_then(number));
        }
        seen.clone()
    };
    let all: Vec<usize> = (0..device.written).collect();
    assert_eq!(watch(all.len()), all, "everybody who watches hears of everything at once");
    let health = hub.health();
    assert!(health["reason"].as_str().is_some_and(|why| why.contains("1 agents keep their records")), "{health}");
    hub.daemon.wait_for_log("they are asked for again");

    fs::remove_file(fill).expect("removed");
    hub.until_health("ok");
    device.daemon.wait_for_log("wants them again");
    hub.until_rows(rows, i64::try_from(all.len()).expect("a number"));
    device.write(1);
    hub.until_rows(rows, i64::try_from(all.len() + 1).expect("a number"));

    let sql = hub.open();
    let mut select = sql.prepare("SELECT message FROM logs ORDER BY rowid").expect("SQL");
    let kept = select.query_map([], |row| row.get(0)).expect("rows");
    let kept: Vec<String> = kept.collect::<Result<_, _>>().expect("rows");
    let every: Vec<usize> = (0..device.written).collect();
    let kept: Vec<usize> = kept.iter().filter_map(|message| number(message)).collect();
    assert_eq!(kept, every, "each is there once, in order");
    let one = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0)).expect("a number");
    let records = one("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM logs)")
        + one("SELECT coalesce(sum(samples), 0) FROM points WHERE step = 5");
    assert_eq!(records, one("SELECT seq FROM streams"), "samples too: as many records as numbers");
    // Who watched is told of none of them again.
    assert_eq!(watch(every.len()), every);
    assert!(!hub.daemon.log().contains("are missing"), "{}", hub.daemon.log());
    assert!(!hub.daemon.log().contains("are lost"), "{}", hub.daemon.log());
    hub.assert_sound();
}
