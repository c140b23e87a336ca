//! A hub on a file system of its own, small enough to be filled.
#![allow(dead_code)] // each test file uses its part

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::common::{self, Daemon, LIMIT, TempDir, pinwire};

pub const KEY: &str = "the-operators-key-for-tests-0123456789";

/// A hub with a disk of its own: a small file system in name space of its own, seen from here below `/proc/PID/root`.
pub struct Hub {
    pub daemon: Daemon,
    pub state: PathBuf,
}

/// Starts a hub on a file system of 1 MiB, with what `before` does as a shell script in its directory `$2` first (`$1` is
/// the program); `None` where nothing can be mounted.
pub fn hub(before: &str) -> Option<Hub> {
    hub_with(before, "1m", "")
}

/// The same on a file system of this size, with more settings of the store.
pub fn hub_with(before: &str, size: &str, store: &str) -> Option<Hub> {
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
    pub fn rest(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("X-API-Key", KEY), ("Content-Type", "application/json")];
        let answer = self.daemon.http(method, &format!("/api/v1{path}"), &headers, &body);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// A server with so many bytes of what its owner says of it.
    pub fn add(&self, name: &str, bytes: usize) -> (u16, Value) {
        self.rest("POST", "/servers", &json!({"name": name, "metadata": {"text": "x".repeat(bytes)}}))
    }

    pub fn server(&self) -> String {
        let (status, made) = self.add("greenhouse", 1);
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().expect("an id").to_owned()
    }

    pub fn sample(&self, server: &str) {
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
    pub fn samples(&self, server: &str) -> u64 {
        let (status, points) = self.rest("GET", &format!("/metrics/{server}/history"), &Value::Null);
        assert_eq!(status, 200, "{points}");
        points.as_array().expect("points").iter().map(|point| point["samples"].as_u64().expect("a number")).sum()
    }

    pub fn health(&self) -> Value {
        self.daemon.get("/health").json()["store"].clone()
    }

    pub fn until_health(&self, wanted: &str) -> Value {
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
    pub fn until_alert(&self, wanted: bool) {
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
    pub fn until_rows(&self, query: &str, wanted: i64) {
        let begun = Instant::now();
        while self.open().query_row(query, [], |row| row.get::<_, i64>(0)).expect("a number") != wanted {
            assert!(begun.elapsed() < LIMIT, "{query}: not {wanted}\n{}", self.daemon.log());
            self.pause();
        }
    }

    /// Asks for something else, so that the loop around it does not take all of a small machine.
    pub fn pause(&self) {
        let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(Duration::from_millis(50));
    }

    /// A copy of the database as it is in the files now: SQLite does not find its way through `/proc/PID/root`. The hub
    /// writes only to the log meanwhile, which it folds into the file when it has 4 MiB; here is room for one.
    pub fn open(&self) -> Connection {
        let copy = self.daemon.dir.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir_all(&copy).expect("a directory");
        fs::copy(self.state.join("pinwire.db"), copy.join("pinwire.db")).expect("copied");
        let log = fs::read(self.state.join("pinwire.db-wal")).unwrap_or_default();
        fs::write(copy.join("pinwire.db-wal"), log).expect("copied");
        Connection::open_with_flags(copy.join("pinwire.db"), OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens")
    }

    pub fn assert_sound(&self) {
        let found: String = self.open().pragma_query_value(None, "integrity_check", |row| row.get(0)).expect("a check");
        assert_eq!(found, "ok");
    }

    /// Leaves no room at all; returns the file that takes it.
    pub fn fill(&self) -> PathBuf {
        let path = self.state.join("fill");
        let mut file = fs::File::create(&path).expect("a file");
        for size in [65536, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}
