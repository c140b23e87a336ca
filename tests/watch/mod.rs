//! A hub with a configured key, its REST, and agents that speak ChatOps' documented form.
#![allow(dead_code)] // each test file uses its part

use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Answer, Daemon, TempDir, Ws};

/// The configured key: whoever shows it runs the hub.
pub const KEY: &str = "the-key-of-the-hub-and-no-other";

/// A hub with this configuration, on a state directory of its own.
pub fn hub(config: &str) -> Daemon {
    hub_in(TempDir::new(), config)
}

/// The same on what another hub has left. It is no server itself: what this machine is like is none of the tests'.
pub fn hub_in(dir: TempDir, config: &str) -> Daemon {
    let config = match config.contains("[hub]\n") {
        true => config.replace("[hub]\n", "[hub]\nown_server = false\n"),
        false => format!("{config}\n[hub]\nown_server = false\n"),
    };
    let file = dir.file("pinwire.toml", &config);
    let state = dir.path().join("state");
    Daemon::start_in(dir, move |command: &mut Command| {
        command.env("API_KEY", KEY).arg("--config").arg(file).arg("--state-dir").arg(state);
    })
}

/// Stops a hub and gives back its directory.
pub fn stop(mut daemon: Daemon) -> TempDir {
    assert!(daemon.stop().success(), "{}", daemon.log());
    std::mem::replace(&mut daemon.dir, TempDir::new())
}

/// One request with the hub's key; the path is that below `/api/v1/`.
pub fn ask(daemon: &Daemon, method: &str, path: &str, body: &Value) -> Answer {
    ask_as(daemon, &format!("Bearer {KEY}"), method, path, body)
}

/// One request with this `Authorization`.
pub fn ask_as(daemon: &Daemon, who: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("Authorization", who), ("Content-Type", "application/json")];
    daemon.http(method, &format!("/api/v1/{path}"), &headers, &body)
}

/// The same, which has to go well; its answer.
#[track_caller]
pub fn good(daemon: &Daemon, method: &str, path: &str, body: &Value) -> Value {
    let answer = ask(daemon, method, path, body);
    assert!(matches!(answer.status, 200 | 201), "{method} {path}: {answer:?}");
    answer.json()
}

#[track_caller]
pub fn get(daemon: &Daemon, path: &str) -> Value {
    good(daemon, "GET", path, &Value::Null)
}

/// The text in a JSON value.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A new server; its id.
pub fn server(daemon: &Daemon, name: &str) -> String {
    text(&good(daemon, "POST", "servers", &json!({"name": name}))["id"])
}

/// A key for a server's agent.
pub fn agent_key(daemon: &Daemon, server_id: &str) -> String {
    text(&good(daemon, "POST", "api-keys", &json!({"server_id": server_id, "name": "agent"}))["key"])
}

/// A server's agent, let in.
pub struct Agent(pub Ws);

impl Agent {
    pub fn connect(daemon: &Daemon, key: &str) -> Agent {
        let mut ws = daemon.ws("/api/v1/agents/ws");
        let welcome = ws.ask(&json!({"type": "auth", "api_key": key}).to_string());
        assert_eq!(welcome["type"], "auth_success", "{welcome}");
        Agent(ws)
    }

    /// A server of this name, and its agent.
    pub fn new(daemon: &Daemon, name: &str) -> (String, Agent) {
        let id = server(daemon, name);
        let key = agent_key(daemon, &id);
        let agent = Agent::connect(daemon, &key);
        (id, agent)
    }

    /// Hands over a sample with these members, and waits until it was taken.
    pub fn sample(&mut self, members: Value) {
        let mut message = json!({"type": "metrics"});
        let members = members.as_object().expect("members").clone();
        message.as_object_mut().expect("an object").extend(members);
        self.0.send(&message.to_string());
        let taken = self.0.until(|answer| answer["type"] == "metrics_received" || answer["type"] == "error");
        assert_eq!(taken["type"], "metrics_received", "{taken}");
    }

    pub fn cpu(&mut self, percent: f64) {
        self.sample(json!({"cpu_percent": percent}));
    }

    pub fn log(&mut self, level: &str, message: &str) {
        self.0.send(&json!({"type": "log", "data": {"level": level, "message": message}}).to_string());
    }

    /// Whatever was sent before has been acted on.
    pub fn sync(&mut self) {
        self.0.sync();
    }
}

/// A subscriber to the alerts' events.
pub fn alert_events(daemon: &Daemon) -> Ws {
    let mut ws = daemon.try_ws("/ws?types=system.alert.*", &[("X-API-Key", KEY)]).expect("the events' socket");
    assert_eq!(ws.json()["type"], "pong");
    ws
}
