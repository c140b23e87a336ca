//! An agent towards whatever answers at its hub's address: what it shows whom, what it obeys, and what it says again.
//! The hub is played by the test here, because it misbehaves; `fleet_resume.rs` has the real one.

mod common;

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Daemon, LIMIT, TempDir, pinwire, run};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

const KEY: &str = "pw_0123456789.c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDE";

/// A hub's port, with the test behind it.
struct Hub(TcpListener);

/// One agent's connection to it.
struct Link {
    socket: WebSocket<TcpStream>,
    path: String,
}

impl Hub {
    fn new() -> Hub {
        Hub(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn url(&self) -> String {
        format!("ws://{}", self.0.local_addr().expect("bound"))
    }

    /// The next connection.
    fn accept(&self) -> Link {
        let (stream, _) = self.0.accept().expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut path = String::new();
        // Its type is tungstenite's.
        #[allow(clippy::result_large_err)]
        let note = |request: &Request, response: Response| {
            path = request.uri().path().to_owned();
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(stream, note).expect("a handshake");
        Link { socket, path }
    }

    /// The next connection, proven and welcomed; and the agent's introduction.
    fn welcome(&self, positions: &Value) -> (Link, Value) {
        let mut link = self.accept();
        let hello = link.json();
        link.say(&json!({ "type": "proof", "proof": proof(KEY, &hello) }));
        let auth = link.json();
        assert_eq!((&auth["type"], &auth["api_key"]), (&json!("auth"), &json!(KEY)));
        link.say(&json!({ "type": "auth_success", "server_id": "s1", "message": "Connected successfully",
            "streams": positions }));
        (link, auth["agent"].clone())
    }
}

impl Link {
    fn json(&mut self) -> Value {
        loop {
            match self.socket.read().expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next message of this type; samples are acknowledged on the way.
    fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = self.json();
            if message["type"] == "metrics" {
                self.say(&json!({ "type": "metrics_received", "status": "ok" }));
            }
            if message["type"] == kind {
                return message;
            }
        }
    }

    fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).expect("sent");
    }

    /// Reads to the agent's end of the connection; whatever it says first must not have the key in it.
    fn gone_without_the_key(mut self) {
        while let Ok(message) = self.socket.read() {
            assert!(!message.to_string().contains("c2VjcmV0"), "{message}");
        }
    }
}

fn proof(key: &str, hello: &Value) -> String {
    let secret = key.split('.').nth(1).expect("a secret");
    let nonce = URL_SAFE_NO_PAD.decode(hello["nonce"].as_str().expect("a nonce")).expect("Base64");
    assert_eq!(nonce.len(), 32);
    let mut mac = Hmac::<Sha256>::new_from_slice(&Sha256::digest(secret)).expect("any length");
    mac.update(b"pinwire hub proof 1\0");
    mac.update(&nonce);
    mac.update(hello["key_id"].as_str().expect("an id").as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn key_file(dir: &TempDir) -> PathBuf {
    let file = dir.file("key", &format!("{KEY}\n"));
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    file
}

/// `pinwire agent` with a listener of its own, for the test to play with its lines.
fn agent(hub: &str, more: &str) -> Daemon {
    agent_in(TempDir::new(), hub, more)
}

fn agent_in(dir: TempDir, hub: &str, more: &str) -> Daemon {
    let config = dir.file("agent.toml", &format!("[agent]\nmetrics_interval = \"200ms\"\n{more}"));
    let mut command = pinwire();
    command.args(["agent", "--listen", "127.0.0.1:0", "--gpio", "sim", "--hub", hub, "--name", "pi1"]);
    command.arg("--key-file").arg(key_file(&dir)).arg("--config").arg(config);
    Daemon::launch(dir, command)
}

fn simulate(agent: &Daemon, level: &str) {
    let answer =
        agent.ws("/").ask(&format!(r#"{{"action":"SIMULATE_INPUT","params":{{"pin":"GPIO5","level":"{level}"}}}}"#));
    assert_eq!(answer["success"], true, "{answer}");
}

#[test]
fn the_key_is_shown_to_nobody_who_does_not_know_it() {
    let hub = Hub::new();
    let agent = agent(&hub.url(), "");
    let mut link = hub.accept();
    assert_eq!(link.path, "/api/v1/agents/ws");
    let hello = link.json();
    assert_eq!((&hello["type"], &hello["key_id"]), (&json!("hello"), &json!("0123456789")));
    // Orders before the proof are not answered, and a wrong proof ends it.
    link.say(&json!({ "type": "execute_command", "request_id": "1", "command": "id" }));
    link.say(&json!({ "type": "action", "command_id": "2", "request": { "action": "READ_MEMORY" } }));
    link.say(&json!({ "type": "auth_success", "server_id": "s1" }));
    link.say(&json!({ "type": "proof", "proof": proof("pw_0123456789.another", &hello) }));
    link.gone_without_the_key();
    agent.wait_for_log("was not shown it: check agent.hub, and whether the key in --key-file");
    assert!(!agent.log().contains("c2VjcmV0"));
}

#[test]
fn records_are_numbered_and_said_again_from_where_the_hub_has_them() {
    let hub = Hub::new();
    let agent = agent(&hub.url(), "cluster = \"lab\"\n");
    let (mut link, info) = hub.welcome(&json!({}));
    assert_eq!((&info["name"], &info["cluster"]), (&json!("pi1"), &json!("lab")));
    let stream = info["streams"][0].as_str().expect("a stream").to_owned();
    assert_eq!(info["streams"].as_array().map(Vec::len), Some(1));
    assert!(info["node"]["kernel_version"].is_string() && info["node"]["cpu_cores"].is_u64(), "{info}");
    let sample = link.next("metrics");
    assert_eq!(sample["stream"], stream.as_str());
    assert!(sample["data"]["memory"]["total"].is_u64() || sample["data"]["memory"].is_object(), "{sample}");
    assert!(sample["monotonic_ns"].is_u64() && sample["boot_id"].is_string() && sample["clock"].is_string());
    let last = sample["seq"].as_u64().expect("a number");

    simulate(&agent, "high");
    let event = link.next("event");
    assert_eq!(event["event"]["type"], "gpio.state.changed", "{event}");
    assert_eq!((&event["event"]["data"]["pin"], &event["event"]["data"]["state"]), (&json!(5), &json!("high")));
    let event_seq = event["seq"].as_u64().expect("a number");
    assert!(event_seq > last);

    // The hub is gone in the middle, and what it had for good ends just before the event.
    drop(link);
    simulate(&agent, "low");
    let (mut link, info) = hub.welcome(&json!({ stream.clone(): event_seq - 1 }));
    assert_eq!(info["streams"], json!([stream]));
    let (mut expected, mut levels) = (event_seq, Vec::new());
    while levels.len() < 2 {
        let record = link.json();
        assert_eq!((&record["stream"], &record["seq"]), (&json!(stream), &json!(expected)), "{record}");
        expected += 1;
        match record["type"].as_str() {
            Some("metrics") => link.say(&json!({ "type": "metrics_received", "status": "ok" })),
            Some("event") => levels.push(record["event"]["data"]["state"].clone()),
            _ => {}
        }
    }
    assert_eq!(levels, [json!("high"), json!("low")]);
    assert!(agent.log().contains("records are kept meanwhile"), "{}", agent.log());
}

#[test]
fn no_more_samples_are_under_way_than_the_hub_can_acknowledge() {
    let hub = Hub::new();
    let dir = TempDir::new();
    let config = "[agent]\nmetrics_interval = \"100ms\"\n";
    let file = dir.file("agent.toml", config);
    let mut command = pinwire();
    command.args(["agent", "--listen", "127.0.0.1:0", "--gpio", "sim", "--hub", &hub.url()]);
    command.arg("--key-file").arg(key_file(&dir)).arg("--config").arg(file);
    let agent = Daemon::launch(dir, command);
    let (mut link, _) = hub.welcome(&json!({}));
    for _ in 0..64 {
        while link.json()["type"] != "metrics" {}
    }
    // An answer to an order gets through all the same, and no sample before it.
    link.say(&json!({ "type": "execute_command", "request_id": "1", "command": "id" }));
    let next = link.json();
    assert_eq!((&next["type"], &next["denied"]), (&json!("error"), &json!(true)), "{next}");
    link.say(&json!({ "type": "metrics_received", "status": "ok" }));
    let last = link.json();
    assert_eq!(last["type"], "metrics");
    // What the hub has for good is not under way any more, whether or not each was acknowledged.
    link.say(&json!({ "type": "stored", "stream": last["stream"], "seq": last["seq"] }));
    for _ in 0..64 {
        while link.json()["type"] != "metrics" {}
    }
    drop(agent);
}

#[test]
fn the_hub_may_use_the_device_s_actions_unless_the_device_says_no() {
    let hub = Hub::new();
    let ask = |link: &mut Link, who: &str, request: Value| {
        let issuer = json!({ "who": who, "id": "u1", "from": "192.0.2.1" });
        link.say(&json!({ "type": "action", "command_id": who, "request": request, "issued_by": issuer }));
        let result = link.next("action_result");
        assert_eq!(result["command_id"], who);
        result["response"].clone()
    };
    let lease = json!({ "action": "LEASE_PINS", "params": { "pins": ["GPIO17"], "lease": 600, "grace": 0 } });
    {
        let agent = agent(&hub.url(), "");
        let (mut link, _) = hub.welcome(&json!({}));
        let answer = ask(&mut link, "ann", json!({ "action": "READ_MEMORY", "id": 5 }));
        assert_eq!((&answer["success"], &answer["id"]), (&json!(true), &json!(5)), "{answer}");
        let answer = ask(&mut link, "ann", json!({ "action": "SUBSCRIBE", "params": { "topics": ["**"] } }));
        assert_eq!((&answer["success"], &answer["error"]), (&json!(false), &json!("Not possible through a hub")));
        assert_eq!(ask(&mut link, "ann", json!({ "action": "NONSENSE" }))["success"], false);
        // What was taken through the hub is its issuer's, and ends with the connection.
        let answer = ask(&mut link, "ann", lease.clone());
        assert_eq!(answer["success"], true, "{answer}");
        let answer = ask(&mut link, "bob", lease.clone());
        assert!(answer["error"].as_str().is_some_and(|error| error.contains("hub:ann")), "{answer}");
        drop(link);
        let (mut link, _) = hub.welcome(&json!({}));
        let answer = ask(&mut link, "bob", lease);
        assert_eq!(answer["success"], true, "{answer}");
        drop(agent);
    }
    let agent = agent(&hub.url(), "actions = false\n");
    let (mut link, _) = hub.welcome(&json!({}));
    let answer = ask(&mut link, "ann", json!({ "action": "READ_MEMORY" }));
    let no = "Not allowed by this device's configuration (agent.actions)";
    assert_eq!((&answer["success"], &answer["error"]), (&json!(false), &json!(no)), "{answer}");
    drop(agent);
}

#[test]
fn a_refusal_is_told_with_its_reason_and_a_path_before_the_hub_s_own_is_kept() {
    let hub = Hub::new();
    let agent = agent(&format!("{}/fleet/", hub.url()), "");
    let mut link = hub.accept();
    assert_eq!(link.path, "/fleet/api/v1/agents/ws");
    let hello = link.json();
    link.say(&json!({ "type": "proof", "proof": proof(KEY, &hello) }));
    assert_eq!(link.json()["type"], "auth");
    link.say(&json!({ "type": "error", "message": "Invalid or inactive API key" }));
    let frame = CloseFrame { code: 1008.into(), reason: "Invalid or inactive API key".into() };
    link.socket.close(Some(frame)).expect("closed");
    while link.socket.read().is_ok() {}
    agent.wait_for_log("it refuses this device: Invalid or inactive API key; check the key in --key-file");
}

#[test]
fn a_close_from_4500_on_is_told_and_ends_the_attempts_but_not_the_agent() {
    let hub = Hub::new();
    let mut agent = agent(&hub.url(), "");
    let (mut link, _) = hub.welcome(&json!({}));
    let frame = CloseFrame { code: 4510.into(), reason: "this site is closed".into() };
    link.socket.close(Some(frame)).expect("closed");
    while link.socket.read().is_ok() {}
    agent.wait_for_log("it wants this device not to come back (4510 this site is closed)");
    assert!(agent.stop().success());
}

#[test]
fn chatops_itself_gets_the_key_at_once_and_is_obeyed_in_nothing() {
    let hub = Hub::new();
    let agent = agent(&hub.url(), "protocol = \"chatops\"\n");
    let mut link = hub.accept();
    assert_eq!(link.json(), json!({ "type": "auth", "api_key": KEY }));
    link.say(&json!({ "type": "auth_success", "server_id": "s1", "message": "Connected successfully" }));
    let sample = link.next("metrics");
    assert!(sample["data"]["cpu"].is_object(), "{sample}");
    link.say(&json!({ "type": "execute_command", "request_id": "1", "command": "id" }));
    let answer = link.next("error");
    assert_eq!((&answer["denied"], &answer["request_id"]), (&json!(true), &json!("1")), "{answer}");
    link.say(&json!({ "type": "action", "command_id": "2", "request": { "action": "READ_MEMORY" } }));
    // Acknowledged samples are not said again after a new connection.
    let mut acknowledged = sample["seq"].as_u64().expect("a number");
    for _ in 0..3 {
        acknowledged = link.next("metrics")["seq"].as_u64().expect("a number");
    }
    link.socket.send(Message::Ping("sync".into())).expect("sent");
    while !matches!(link.socket.read().expect("a message"), Message::Pong(_)) {}
    drop(link);
    let mut link = hub.accept();
    assert_eq!(link.json()["type"], "auth");
    link.say(&json!({ "type": "auth_success", "server_id": "s1" }));
    let again = link.next("metrics");
    assert!(again["seq"].as_u64() > Some(acknowledged), "{again} after {acknowledged}");
    drop(agent);
}

#[test]
fn what_the_hub_does_not_have_when_the_agent_ends_is_said_after_its_next_start() {
    let hub = Hub::new();
    let state = TempDir::new();
    let more = format!("state_dir = {:?}\n", state.path());
    let start = || {
        let dir = TempDir::new();
        let text = format!("{more}[agent]\nmetrics_interval = \"1h\"\n");
        let config = dir.file("agent.toml", &text);
        let mut command = pinwire();
        command.args(["agent", "--listen", "127.0.0.1:0", "--gpio", "sim", "--hub", &hub.url()]);
        command.arg("--key-file").arg(key_file(&dir)).arg("--config").arg(config);
        Daemon::launch(dir, command)
    };
    let mut first = start();
    let (mut link, info) = hub.welcome(&json!({}));
    let stream = info["streams"][0].as_str().expect("a stream").to_owned();
    simulate(&first, "high");
    let event = link.next("event");
    let event_seq = event["seq"].as_u64().expect("a number");
    assert!(first.stop().success());
    drop(link);

    let second = start();
    let (mut link, info) = hub.welcome(&json!({ stream.clone(): event_seq - 1 }));
    let streams = info["streams"].as_array().expect("streams").clone();
    assert_eq!((streams.len(), &streams[0]), (2, &json!(stream)));
    let again = link.next("event");
    assert_eq!((&again["seq"], &again["event"]), (&event["seq"], &event["event"]));
    // And then what belongs to the end of the first run, and the second's own.
    link.say(&json!({ "type": "stored", "stream": stream, "seq": 1000 }));
    simulate(&second, "high");
    let event = loop {
        let event = link.next("event");
        if event["stream"] == streams[1] && event["event"]["type"] == "gpio.state.changed" {
            break event;
        }
    };
    assert_eq!(event["event"]["data"]["state"], "high", "{event}");
    assert_eq!(std::fs::read_dir(state.path().join("spool")).expect("a directory").count(), 0);
    drop(second);
}

/// The next log line that is not the agent's own.
fn next_log(link: &mut Link) -> (String, Value) {
    loop {
        let log = link.next("log")["data"].clone();
        if log["source"] != "agent" {
            return (log["message"].as_str().expect("a text").to_owned(), log);
        }
    }
}

#[test]
fn log_files_are_followed_as_they_grow_are_replaced_and_cut_off() {
    let hub = Hub::new();
    let logs = TempDir::new();
    let (there, later) = (logs.file("app.log", "before\n"), logs.path().join("later.log"));
    let files = format!("log_files = [{there:?}, {later:?}, \"/nonexistent/x.log\"]\n");
    let agent = agent(&hub.url(), &files);
    agent.wait_for_log("agent.log_files: '/nonexistent/x.log' cannot be followed");
    let (mut link, _) = hub.welcome(&json!({}));
    let append = |file: &PathBuf, text: &str| {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).expect("opens");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    };
    append(&there, "one\ntw");
    let (message, log) = next_log(&mut link);
    assert_eq!((message.as_str(), &log["source"]), ("one", &json!("application")));
    assert_eq!(log["component"], there.to_str().expect("UTF-8"));
    // A line that comes in parts, in a file that is renamed before its end.
    let old = logs.path().join("app.log.1");
    std::fs::rename(&there, &old).expect("renamed");
    append(&old, "o\n");
    append(&there, "three\n");
    assert_eq!([next_log(&mut link).0, next_log(&mut link).0], ["two", "three"]);
    // logrotate's copytruncate.
    std::fs::write(&there, "4\n").expect("written");
    assert_eq!(next_log(&mut link).0, "4");
    append(&later, "from its beginning\n");
    assert_eq!(next_log(&mut link).0, "from its beginning");
    let long = "x".repeat(16 * 1024 + 1);
    append(&later, &format!("{long}\n"));
    assert_eq!([next_log(&mut link).0.len(), next_log(&mut link).0.len()], [16 * 1024, 1]);
    drop(agent);
}

/// A `journalctl` that prints two entries behind the cursor it is given and then crashes.
const JOURNALCTL: &str = r#"#!/bin/sh
cursor=0
while [ $# -gt 0 ]; do
    [ "$1" = --after-cursor ] && cursor=$2
    shift
done
for i in 1 2; do
    cursor=$((cursor + 1))
    printf '{"__CURSOR":"%s","PRIORITY":"4","_PID":"1","SYSLOG_IDENTIFIER":"sshd","MESSAGE":"entry %s"}\n' $cursor $cursor
done
echo 'a crash' >&2
exit 1
"#;

#[test]
fn the_journal_goes_on_where_it_was_when_its_program_crashes_and_after_the_next_start() {
    let hub = Hub::new();
    let (bin, state) = (TempDir::new(), TempDir::new());
    let program = bin.file("journalctl", JOURNALCTL);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").expect("set"));
    let start = || {
        let dir = TempDir::new();
        let text = format!("state_dir = {:?}\n[agent]\nmetrics_interval = \"1h\"\njournal = true\n", state.path());
        let config = dir.file("agent.toml", &text);
        let mut command = pinwire();
        command.env("PATH", &path);
        command.args(["agent", "--listen", "127.0.0.1:0", "--gpio", "sim", "--hub", &hub.url()]);
        command.arg("--key-file").arg(key_file(&dir)).arg("--config").arg(config);
        Daemon::launch(dir, command)
    };
    let mut first = start();
    let (mut link, _) = hub.welcome(&json!({}));
    for number in 1..=5 {
        let (message, log) = next_log(&mut link);
        assert_eq!((message, &log["level"]), (format!("entry {number}"), &json!("warning")));
        assert_eq!((&log["component"], &log["source"]), (&json!("sshd"), &json!("system")));
    }
    first.wait_for_log("agent.journal: journalctl has ended (a crash); it is started again");
    assert!(first.stop().success());
    let kept: u64 =
        std::fs::read_to_string(state.path().join("journal.cursor")).expect("kept").parse().expect("a number");
    // Everything from the first run comes again, since this hub said nothing of what it has; then what is new.
    let second = start();
    let (mut link, _) = hub.welcome(&json!({}));
    for number in 1..=kept + 3 {
        assert_eq!(next_log(&mut link).0, format!("entry {number}"), "{kept} were kept");
    }
    drop(second);
}

#[test]
fn an_agent_ends_at_once_also_while_its_hub_says_nothing() {
    let hub = Hub::new();
    for scheme in ["ws", "wss"] {
        let mut agent = agent(&hub.url().replace("ws", scheme), "");
        // It is connected, and waits for the rest of a handshake that never comes.
        let (mut stream, _) = hub.0.accept().expect("a connection");
        std::io::Read::read_exact(&mut stream, &mut [0; 16]).expect("its beginning");
        assert!(agent.stop().success());
        assert!(!agent.log().contains("did not end"), "{}", agent.log());
    }
}

#[test]
fn an_agent_that_cannot_work_says_why() {
    let dir = TempDir::new();
    let key = key_file(&dir);
    let key = key.to_str().expect("UTF-8");
    let chatops = dir.file("chatops", "no-key-of-ours\n");
    for (arguments, parts) in [
        (vec![], &["--hub", "an agent needs its hub"][..]),
        (vec!["--hub", "wss://hub.example"], &["--key-file FILE"]),
        (vec!["--hub", "hub.example:9000", "--key-file", key], &["--hub", "wss://hub.example:9000"]),
        (vec!["--hub", "ws://127.0.0.1:1", "--key-file", key, "--pin", "abc"], &["--pin", "SHA-256"]),
        (vec!["--hub", "wss://127.0.0.1:1", "--key-file", "/nonexistent"], &["--key-file", "/nonexistent"]),
        (
            vec!["--hub", "wss://127.0.0.1:1", "--key-file", chatops.to_str().expect("UTF-8")],
            &["--key-file", "agent.protocol = \"chatops\""],
        ),
    ] {
        let output = run(pinwire().args(["agent", "--gpio", "sim"]).args(&arguments));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: {part:?} is missing in {text}");
        }
    }
}
