//! A disk that is full or read-only, under a hub that has things to keep: it serves, says so, and nothing is corrupted;
//! once there is room, everything that waited is there.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Daemon, LIMIT, TempDir, Ws, pinwire};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const KEY: &str = "the-operators-key-for-tests-0123456789";

/// A hub with a disk of its own: a small file system in name space of its own, seen from here below `/proc/PID/root`.
struct Hub {
    daemon: Daemon,
    state: PathBuf,
}

/// Starts a hub on a file system of 1 MiB, with what `before` does as a shell script in its directory `$2` first (`$1` is
/// the program); `None` where nothing can be mounted.
fn hub(before: &str) -> Option<Hub> {
    hub_with(before, "1m", "")
}

/// The same on a file system of this size, with more settings of the store.
fn hub_with(before: &str, size: &str, store: &str) -> Option<Hub> {
    let own_mounts = ["-m", "sh", "-c", "mount -t tmpfs none /mnt"];
    if !Command::new("unshare").args(own_mounts).output().is_ok_and(|output| output.status.success()) {
        common::skipped("no file system can be mounted here (it needs root)");
        return None;
    }
    let dir = TempDir::new();
    let state = dir.path().join("state");
    fs::create_dir_all(&state).expect("a directory");
    let config = format!("[store]\nflush_interval = \"1s\"\n{store}\n[hub]\nown_server = false\n");
    let config = dir.file("pinwire.toml", &config);
    let key = dir.file("operator.key", KEY);
    let script = format!(
        "mount -t tmpfs -o size={size} none \"$2\" && {before}exec \"$1\" serve --listen 127.0.0.1:0 --gpio sim --config \"$3\" \
         --api-key-file \"$4\" --state-dir \"$2\""
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]).arg(pinwire().get_program());
    command.args([&state, &config, &key]);
    ["API_KEY", "PORT"].iter().for_each(|name| {
        command.env_remove(name);
    });
    let daemon = Daemon::launch(dir, command);
    let state = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), state.display()));
    Some(Hub { daemon, state })
}

impl Hub {
    fn rest(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("X-API-Key", KEY), ("Content-Type", "application/json")];
        let answer = self.daemon.http(method, &format!("/api/v1{path}"), &headers, &body);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// A server with so many bytes of what its owner says of it.
    fn add(&self, name: &str, bytes: usize) -> (u16, Value) {
        self.rest("POST", "/servers", &json!({"name": name, "metadata": {"text": "x".repeat(bytes)}}))
    }

    fn server(&self) -> String {
        let (status, made) = self.add("greenhouse", 1);
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().expect("an id").to_owned()
    }

    fn sample(&self, server: &str) {
        let body = json!({
            "cpu": {"usage_percent": 12.5, "cores": 4},
            "memory": {"usage_percent": 30.2},
            "disk": {"usage_percent": 29.0},
            "network": {"bytes_sent": 1200, "bytes_recv": 3400},
        });
        let (status, answer) = self.rest("POST", &format!("/metrics/{server}"), &body);
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// How many samples the history knows of.
    fn samples(&self, server: &str) -> u64 {
        let (status, points) = self.rest("GET", &format!("/metrics/{server}/history"), &Value::Null);
        assert_eq!(status, 200, "{points}");
        points.as_array().expect("points").iter().map(|point| point["samples"].as_u64().expect("a number")).sum()
    }

    fn health(&self) -> Value {
        self.daemon.get("/health").json()["store"].clone()
    }

    fn until_health(&self, wanted: &str) -> Value {
        let begun = Instant::now();
        loop {
            let health = self.health();
            if health["state"] == wanted {
                return health;
            }
            assert!(begun.elapsed() < LIMIT, "{health}\n{}", self.daemon.log());
            self.pause();
        }
    }

    /// Waits until an alert about the store is open, or none is.
    fn until_alert(&self, wanted: bool) {
        let begun = Instant::now();
        loop {
            let (_, alerts) = self.rest("GET", "/alerts?resolved=false", &Value::Null);
            if alerts.to_string().contains("store") == wanted {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{alerts}");
            self.pause();
        }
    }

    /// So many rows are in the table, as it is on the disk.
    fn until_rows(&self, query: &str, wanted: i64) {
        let begun = Instant::now();
        while self.open().query_row(query, [], |row| row.get::<_, i64>(0)).expect("a number") != wanted {
            assert!(begun.elapsed() < LIMIT, "{query}: not {wanted}\n{}", self.daemon.log());
            self.pause();
        }
    }

    /// Asks for something else, so that the loop around it does not take all of a small machine.
    fn pause(&self) {
        let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(Duration::from_millis(50));
    }

    /// A copy of the database as it is in the files now: SQLite does not find its way through `/proc/PID/root`. The hub
    /// writes only to the log meanwhile, which it folds into the file when it has 4 MiB; here is room for one.
    fn open(&self) -> Connection {
        let copy = self.daemon.dir.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir_all(&copy).expect("a directory");
        fs::copy(self.state.join("pinwire.db"), copy.join("pinwire.db")).expect("copied");
        let log = fs::read(self.state.join("pinwire.db-wal")).unwrap_or_default();
        fs::write(copy.join("pinwire.db-wal"), log).expect("copied");
        Connection::open_with_flags(copy.join("pinwire.db"), OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens")
    }

    fn assert_sound(&self) {
        let found: String = self.open().pragma_query_value(None, "integrity_check", |row| row.get(0)).expect("a check");
        assert_eq!(found, "ok");
    }

    /// Leaves no room at all; returns the file that takes it.
    fn fill(&self) -> PathBuf {
        let path = self.state.join("fill");
        let mut file = fs::File::create(&path).expect("a file");
        for size in [65536, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

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
