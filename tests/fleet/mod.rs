//! What the fleet's tests share: a hub with an operator's key, servers, and agents that are nothing but sockets.
#![allow(dead_code)] // each test file uses its part

use std::path::PathBuf;

use pinwire::auth::mint;
use serde_json::{Value, json};

use crate::common::{Answer, Daemon, TempDir, Ws, pinwire};

pub const OPERATOR: &str = "the-operators-key-for-tests-0123456789";
pub const AGENTS: &str = "/api/v1/agents/ws";

/// A hub.
pub struct Hub {
    pub daemon: Daemon,
    state: PathBuf,
}

impl Hub {
    /// Starts one with more configuration, in TOML.
    pub fn start(config: &str) -> Hub {
        Hub::start_in(TempDir::new(), config)
    }

    /// The same in a directory that may hold the state of one before.
    pub fn start_in(dir: TempDir, config: &str) -> Hub {
        let state = dir.path().join("state");
        Hub::start_at(dir, state, "127.0.0.1:0", config)
    }

    /// The same with its state anywhere, on this address.
    pub fn start_at(dir: TempDir, state: PathBuf, address: &str, config: &str) -> Hub {
        let file = dir.file("pinwire.toml", config);
        let key = dir.file("operator.key", OPERATOR);
        let mut command = pinwire();
        command.args(["serve", "--gpio", "sim", "--listen", address]);
        command.arg("--config").arg(file).arg("--state-dir").arg(&state).arg("--api-key-file").arg(key);
        Hub { daemon: Daemon::launch(dir, command), state }
    }

    /// Kills it as a power cut would.
    pub fn kill(mut self) {
        self.daemon.signal("KILL");
        self.daemon.wait();
    }

    /// Its database, for looking into.
    pub fn database(&self) -> PathBuf {
        self.state.join("pinwire.db")
    }

    pub fn rest(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.rest_with(OPERATOR, method, path, body)
    }

    pub fn rest_with(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("X-API-Key", key), ("Content-Type", "application/json")];
        self.daemon.http(method, &format!("/api/v1{path}"), &headers, &body)
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = self.rest("GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Makes a server and returns its id.
    pub fn server(&self, name: &str) -> String {
        let made = self.rest("POST", "/servers", &json!({"name": name}));
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Makes a key for a server's agent, in the store as another process would, and waits until the hub knows it.
    pub fn agent_key(&self, server_id: &str) -> String {
        let minted = mint().expect("random");
        let store = rusqlite::Connection::open(self.database()).expect("the store");
        store.busy_timeout(crate::common::LIMIT).expect("a limit");
        let sql = "INSERT INTO keys (id, name, digest, created, server_id) VALUES (?1, 'agent', ?2, 0, ?3)";
        store.execute(sql, (minted.id.as_str(), minted.digest.0, server_id)).expect("a key");
        let keys: i64 = store.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).expect("a count");
        drop(store);
        self.daemon.wait_for_log(&format!("of {keys} API keys"));
        minted.text
    }

    pub fn revoke(&self, key: &str) {
        let store = rusqlite::Connection::open(self.database()).expect("the store");
        store.busy_timeout(crate::common::LIMIT).expect("a limit");
        let id = key.trim_start_matches("pw_").split('.').next().expect("an id");
        let changed = store.execute("UPDATE keys SET revoked_at = 1 WHERE id = ?1", [id]).expect("SQL");
        assert_eq!(changed, 1);
    }

    /// A socket that has said nothing yet.
    pub fn socket(&self, headers: &[(&'static str, &str)]) -> Ws {
        self.daemon.try_ws(AGENTS, headers).expect("a socket")
    }

    /// An agent that is in.
    pub fn agent(&self, key: &str) -> Ws {
        let mut ws = self.socket(&[]);
        let welcome = ws.ask(&json!({"type": "auth", "api_key": key}).to_string());
        assert_eq!(welcome["type"], "auth_success", "{welcome}");
        ws
    }

    /// Gives an order in another thread; what comes of it.
    pub fn order(&self, path: &str, body: &Value) -> std::thread::JoinHandle<Answer> {
        let (addr, path, body) = (self.daemon.addr, format!("/api/v1{path}"), body.to_string());
        std::thread::spawn(move || request(addr, "POST", &path, &body))
    }
}

/// A request with the operator's key.
pub fn request(addr: std::net::SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    use std::io::{Read, Write};
    let mut stream = crate::common::tcp(addr);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nX-API-Key: {OPERATOR}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).expect("request sent");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("answer");
    Answer::parse(&text)
}

/// A sample in the documented form.
pub fn flat(server_id: &str, cpu: f64) -> Value {
    json!({
        "type": "metrics", "server_id": server_id, "cpu_percent": cpu, "memory_percent": 62.5,
        "disk_usage": [{"path": "/", "total": 1000, "used": 250, "free": 750, "percent": 25.0}],
        "network": [{"interface": "eth0", "bytes_sent": 10, "bytes_recv": 20}],
        "timestamp": "2024-01-01T00:00:00Z",
    })
}

/// A sample as ChatOps' own agent sends it.
pub fn nested(server_id: &str, cpu: f64) -> Value {
    json!({"type": "metrics", "data": {
        "server_id": server_id, "timestamp": "2026-03-02T08:15:30+00:00",
        "cpu": {"usage_percent": cpu, "cores": 4, "frequency_mhz": 1500},
        "memory": {"total_gb": 3.7, "used_gb": 1.1, "available_gb": 2.4, "usage_percent": 30.2},
        "disk": {"total_gb": 29.1, "used_gb": 8.0, "available_gb": 19.6, "usage_percent": 29.0},
        "network": {"bytes_sent": 1200, "bytes_recv": 3400, "packets_sent": 10, "packets_recv": 20},
        "containers": [{"id": "0123456789ab", "name": "web", "image": "nginx:1", "status": "Up 2 hours",
            "state": "running", "created": "2026-03-02T06:00:00Z",
            "ports": [{"private_port": 80, "public_port": 8080, "type": "tcp"}]}],
        "processes": [{"pid": 1, "name": "systemd", "cpu": 0.1, "memory": 11.9, "status": "sleep", "user": "root"}],
    }})
}
