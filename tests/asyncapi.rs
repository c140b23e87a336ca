//! The description of the sockets against the daemon it describes: every example a client may say is said, and every example
//! of what the daemon says is heard.
//!
//! Each channel has a scene, a list of lines:
//!
//! | line | |
//! |---|---|
//! | `NAME = CHANNEL ?QUERY` | opens a socket |
//! | `NAME > MESSAGE/EXAMPLE` | says the example |
//! | `NAME < MESSAGE/EXAMPLE` | waits for a message of this kind that is like the example; all others that come must be described |
//! | `NAME ! TEXT` | says what is no message |
//! | `NAME .` | closes the socket |
//! | `POST PATH BODY` | asks by HTTP, `{server}` being the server's id |
//! | `& STATUS POST PATH BODY` | the same in the background; it has to be answered so in the end |
//!
//! A scene is whole when it has used every example of its channel. What the daemon chooses itself (ids, positions) is put into the
//! examples in place of what stands there.

mod common;
#[path = "asyncapi/document.rs"]
mod document;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Answer, Daemon, TempDir, Ws};
use document::{Chosen, Document, like};
use serde_json::Value;
use tungstenite::Message;

const KEY: &str = "front-door-key";
/// Large events that are more than anything holds for a client that does not read.
const FLOOD: usize = 400;
/// The server in the examples, and its agent's key.
const SERVER: &str = "20e709ce-0000-4000-8000-000000000001";
const AGENT_KEY: &str = "pw_0989bfb943.c2VjcmV0";

/// A socket, and what has come that nobody waited for yet.
struct Socket {
    ws: Ws,
    channel: String,
    waiting: Vec<Value>,
}

/// A daemon, and a scene that is being played on it.
struct Stage<'d> {
    daemon: &'d Daemon,
    document: Document,
    sockets: BTreeMap<String, Socket>,
    chosen: Chosen,
    used: BTreeMap<String, BTreeSet<String>>,
    asked: Vec<(u16, JoinHandle<Answer>)>,
}

impl<'d> Stage<'d> {
    fn on(daemon: &'d Daemon) -> Stage<'d> {
        let document = Document::parse(&daemon.get("/asyncapi.yaml").body);
        Stage {
            daemon,
            document,
            sockets: BTreeMap::new(),
            chosen: Chosen::default(),
            used: BTreeMap::new(),
            asked: Vec::new(),
        }
    }

    fn play(&mut self, scene: &str) {
        for line in scene.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        let server = self.chosen.text(SERVER).unwrap_or_default();
        let line = &line.replace("{server}", &server);
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words[..] {
            ["&", status, request] => {
                let (addr, request) = (self.daemon.addr, request.to_owned());
                let asking = std::thread::spawn(move || http(addr, &request));
                self.asked.push((status.parse().expect("a status"), asking));
            }
            ["GET" | "POST" | "PUT", ..] => {
                let answer = http(self.daemon.addr, line);
                assert!(matches!(answer.status, 200 | 201), "{line}: {answer:?}");
            }
            [name, "=", channel] => {
                let (channel, query) = channel.split_once(' ').unwrap_or((channel, ""));
                let address = self.document.at(&format!("/channels/{channel}/address")).as_str().expect("text");
                let ws = self.daemon.ws(&format!("{}{query}", address.replace("{server_id}", &server)));
                let socket = Socket { ws, channel: channel.to_owned(), waiting: Vec::new() };
                self.sockets.insert(name.to_owned(), socket);
            }
            [name, ">", what] => self.say(name, what),
            [name, "<", what] => self.hear(name, what),
            [name, "!", text] => self.socket(name).ws.send(text),
            [name, "."] => drop(self.sockets.remove(name)),
            _ => panic!("no such line: {line}"),
        }
    }

    fn socket(&mut self, name: &str) -> &mut Socket {
        self.sockets.get_mut(name).unwrap_or_else(|| panic!("no socket {name}"))
    }

    fn use_up(&mut self, name: &str, what: &str) -> (String, Value) {
        let channel = self.socket(name).channel.clone();
        let (message, example) = what.split_once('/').expect("a message and its example");
        let value = self.document.example(&channel, message, example);
        self.document
            .is(&channel, message, &value)
            .unwrap_or_else(|fault| panic!("example {what} of {channel}: {fault}"));
        self.used.entry(channel.clone()).or_default().insert(what.to_owned());
        (channel, value)
    }

    fn say(&mut self, name: &str, what: &str) {
        let (channel, mut value) = self.use_up(name, what);
        let (message, _) = what.split_once('/').expect("checked");
        assert!(self.document.said(&channel, "receive").contains(message), "{channel}: nobody may say {message}");
        self.chosen.put_in(&mut value);
        self.socket(name).ws.send(&value.to_string());
    }

    fn hear(&mut self, name: &str, what: &str) {
        let (channel, example) = self.use_up(name, what);
        let (message, _) = what.split_once('/').expect("checked");
        let described = self.document.said(&channel, "send");
        assert!(described.contains(message), "{channel}: the daemon does not say {message}");
        let fault = |document: &Document, value: &Value| {
            document.is(&channel, message, value).and_then(|()| like(value, &example)).err()
        };
        let (document, waiting) = (&self.document, &self.sockets[name].waiting);
        if let Some(at) = waiting.iter().position(|value| fault(document, value).is_none()) {
            let value = self.socket(name).waiting.remove(at);
            return self.chosen.learn(&example, &value);
        }
        let (mut passed, until) = (Vec::new(), Instant::now() + common::LIMIT);
        loop {
            // Pings come too, so a limit on each read is none.
            let read = self.socket(name).ws.0.read();
            assert!(read.is_ok() && Instant::now() < until, "{name} < {what}: {read:?}, behind {passed:#?}");
            let Ok(Message::Text(text)) = read else { continue };
            let value: Value = serde_json::from_str(&text).expect("JSON");
            let Some(fault) = fault(&self.document, &value) else {
                return self.chosen.learn(&example, &value);
            };
            let known = described.iter().any(|message| self.document.is(&channel, message, &value).is_ok());
            assert!(known, "{name} < {what}: {fault}; and nothing that is described is {value}");
            passed.push(format!("{fault}: {value}"));
            self.socket(name).waiting.push(value);
        }
    }

    /// Publishes far more than a client that does not read may have waiting.
    fn flood(&self, event: &str) {
        let message = format!(r#"{{"event":"{event}","data":"{}"}}"#, "x".repeat(50_000));
        let mut ws = self.daemon.ws(&format!("/publish?clientName=flood&apiKey={KEY}"));
        for _ in 0..FLOOD {
            ws.send(&message);
        }
        ws.sync();
    }

    /// The scene has used every example of these channels.
    fn whole(&mut self, channels: &[&str]) {
        for (status, asking) in self.asked.drain(..) {
            let answer = asking.join().expect("an answer");
            assert_eq!(answer.status, status, "{answer:?}");
        }
        for channel in channels {
            let used = self.used.get(*channel).cloned().unwrap_or_default();
            let left: Vec<_> = self.document.examples(channel).difference(&used).cloned().collect();
            assert!(left.is_empty(), "{channel}: not played: {left:?}");
        }
    }
}

/// Asks what a line says: method, path, body.
fn http(addr: SocketAddr, line: &str) -> Answer {
    let mut words = line.splitn(3, ' ');
    let [method, path, body] = std::array::from_fn(|_| words.next().unwrap_or_default());
    let mut stream = common::tcp(addr);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nX-API-Key: {KEY}\r\n\
         X-API-Client-Name: test\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).expect("request sent");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("answer");
    Answer::parse(&text)
}

/// A Raspberry Pi with the firmware's values, whose visitors show a key.
fn start(config: &str) -> Daemon {
    start_at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pi4"), config)
}

fn start_at(root: &Path, config: &str) -> Daemon {
    const VCGENCMD: &str = "#!/bin/sh\ncase \"$1 $2\" in\n\"get_throttled \") echo throttled=0x0;;\n\
        \"measure_clock arm\") echo 'frequency(48)=1800000000';;\n*) echo 'frequency(1)=250000496';;\nesac\n";
    let dir = TempDir::new();
    let (text, program) = (dir.file("vcgencmd.sh", VCGENCMD), dir.path().join("vcgencmd"));
    // Another process makes the copy: a descriptor that is open for writing here would make the program "busy".
    let mut copy = std::process::Command::new("sh");
    copy.args(["-c", "cp \"$0\" \"$1\" && chmod 755 \"$1\""]).arg(&text).arg(&program);
    assert!(common::run(&mut copy).status.success());
    let key = dir.file("key", KEY);
    let state = dir.path().join("state");
    let file = dir.file(
        "pinwire.toml",
        &format!("node_id = \"porch\"\n{config}\n[telemetry]\nvcgencmd = \"{}\"\n", program.display()),
    );
    Daemon::start_in(dir, |command| {
        command.arg("--config").arg(file).arg("--root").arg(root).arg("--api-key-file").arg(key);
        command.arg("--state-dir").arg(state);
    })
}

/// A server, and the key of its agent.
fn server(daemon: &Daemon) -> (String, String) {
    let made = |path: &str, body: String, member: &str| {
        let answer = http(daemon.addr, &format!("POST /api/v1/{path} {body}"));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()[member].as_str().expect("text").to_owned()
    };
    let id = made("servers", r#"{"name":"attic"}"#.to_owned(), "id");
    let key = made("api-keys", format!(r#"{{"server_id":"{id}","name":"agent"}}"#), "key");
    (id, key)
}

#[test]
fn every_example_is_what_its_message_says_and_every_message_is_said_by_somebody() {
    let daemon = Daemon::start(&[]);
    let document = Document::parse(&daemon.get("/asyncapi.yaml").body);
    assert_eq!(document.at("/info/version"), env!("CARGO_PKG_VERSION"));
    let hub = ["agents", "logsPage", "metricsPage"];
    let all = ["endrpi", "events", "picloudInfo", "picloudPublish", "picloudSubscribe"];
    let expected: BTreeSet<&str> = all.into_iter().chain(hub.into_iter().filter(|_| cfg!(feature = "hub"))).collect();
    assert_eq!(document.channels().collect::<BTreeSet<_>>(), expected);
    for channel in document.channels() {
        let mut said = document.said(channel, "send");
        said.extend(document.said(channel, "receive"));
        for what in document.examples(channel) {
            let (message, example) = what.split_once('/').expect("both");
            assert!(said.contains(message), "{channel}: nobody says {message}");
            let value = document.example(channel, message, example);
            document.is(channel, message, &value).unwrap_or_else(|fault| panic!("{channel}: {what}: {fault}"));
        }
    }
}

#[test]
fn endrpi_is_as_described() {
    let daemon = start("");
    let mut stage = Stage::on(&daemon);
    stage.play(
        "pi = endrpi
         pi > auth/key
         pi < done/authenticated
         pi > subscribe/plain
         pi < done/subscribed
         pi > updatePins/both
         pi < event/pin
         pi < done/updated
         pi > updatePins/withoutPull
         pi < failure/withoutPull
         pi > readPins/two
         pi < pins/two
         pi > simulateInput/low
         pi < done/simulated
         pi > readLines/one
         pi < lines/one
         pi > readLines/all
         pi < lines/one
         pi > leasePins/panel
         pi < lease/granted
         pi > leaseId/renew
         pi < lease/granted
         pi > leaseId/release
         pi < done/released
         pi > pulsePin/bell
         pi < sequence/pulse
         pi > playPins/two
         pi < sequence/endless
         pi > blinkPin/forever
         pi < sequence/endless
         pi > cancelSequence/blinking
         pi < done/cancelled
         pi > setPwm/lamp
         pi < pwm/lamp
         pi > read/memory
         pi < reading/memory
         pi > read/temperature
         pi < reading/temperature
         pi > read/uptime
         pi < reading/uptime
         POST /publish {\"event\":\"door\",\"data\":\"open\"}
         pi < event/published
         pi > unsubscribe/all
         pi < done/unsubscribed",
    );
    for reading in ["throttle", "frequency", "platform", "system"] {
        stage.line(&format!("pi > read/{reading}"));
        // What was on its way to the hub before `unsubscribe` may still come.
        let answer = std::iter::repeat_with(|| stage.socket("pi").ws.json()).find(|answer| answer["action"] != "EVENT");
        let answer = answer.expect("one comes");
        stage
            .document
            .is("endrpi", "reading", &answer)
            .unwrap_or_else(|fault| panic!("{reading}: {fault} in {answer}"));
    }
    stage.play(
        r#"pi > subscribe/positions
         pi < subscribed/positions
         POST /publish {"event":"window","data":"shut"}
         pi < event/withPosition
         pi > subscribe/since
         pi < subscribed/recovered
         pi > subscribe/sinceLongAgo
         pi < subscribed/lost
         pi > unsubscribe/some
         pi < done/unsubscribed
         pi > publish/plain
         pi < done/published
         pi > publish/acknowledged
         pi < published/accepted
         pi > look/presence
         pi < presence/one
         pi > look/snapshot
         pi < snapshot/now"#,
    );
    stage.flood("window");
    stage.play("pi < lagged/three");
    stage.whole(&["endrpi"]);
}

#[test]
fn picloud_is_as_described() {
    let daemon = start("");
    let mut stage = Stage::on(&daemon);
    let client = format!("?clientName=panel&apiKey={KEY}");
    stage.play(&format!(
        "panel = picloudSubscribe {client}
         who = picloudInfo {client}
         door = picloudPublish {client}
         panel > subscribe/exact
         door > publish/reserved
         door < refused/reserved"
    ));
    // Nothing says that a subscription is live, so it is asked for until it is.
    loop {
        stage.line("door > publish/door");
        let socket = stage.socket("panel");
        socket.ws.0.get_mut().set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
        let came = catch_unwind(AssertUnwindSafe(|| socket.ws.json()));
        socket.ws.0.get_mut().set_read_timeout(Some(common::LIMIT)).expect("a limit");
        if let Ok(event) = came {
            socket.waiting.push(event);
            break;
        }
    }
    stage.play(
        "panel < event/door
         who < info/panel
         panel > unsubscribe/door
         panel > unsubscribeAll/all",
    );
    stage.play(
        "panel ! {\"action\":\"subscribe\",\"event\":\"x\",\"since\":17}
         panel < refused/reserved
         panel > subscribe/pattern
         panel < subscribed/pattern
         door > publish/gate
         door < ack/gate
         panel < event/withPosition
         panel > subscribe/since
         panel < subscribed/recovered",
    );
    stage.whole(&["picloudSubscribe", "picloudPublish", "picloudInfo"]);
}

#[test]
fn the_events_socket_is_as_described() {
    // How busy a machine is, only one that runs can tell.
    let daemon = start_at(Path::new("/"), "");
    let mut stage = Stage::on(&daemon);
    stage.play(
        r#"all = events
         all > auth/key
         all < pong/welcome
         all < event/node
         all > ping/marked
         all < pong/marked
         all ! {"type":"nonsense"}
         all < error/unknown
         all > subscribe/pushes
         all > subscribe/nodes
         all > subscribe/clusters
         all > subscribe/system
         all > ping/marked
         all < pong/marked
         PUT /pins/GPIO17 {"io":"OUTPUT","state":1}
         all < event/pin
         all < gpioReading/high
         all > unsubscribe/pushes
         all < systemMetrics/quiet
         all > subscribe/presence
         all > ping/marked
         all < pong/marked"#,
    );
    stage.line(&format!("panel = picloudSubscribe ?clientName=panel&apiKey={KEY}"));
    stage.play("all < presence/joined\npanel .\nall < presence/left");
    let agent = cfg!(feature = "hub").then(|| {
        let (_, key) = server(&daemon);
        let agent = r#"{"name":"attic","version":"0.1.0","cluster":"house","node":{"ip_address":"10.0.0.9"}}"#;
        let mut ws = daemon.ws("/api/v1/agents/ws");
        ws.send(&format!(r#"{{"type":"auth","api_key":"{key}","agent":{agent}}}"#));
        stage.play("all < nodeStatus/offline\nall < clusterStatus/house");
        ws
    });
    stage.play("all > subscribe/pattern");
    stage.play(
        r#"all > subscribe/positions
         all < subscribed/positions
         PUT /pins/GPIO17 {"io":"OUTPUT","state":0}
         all < event/withPosition
         all > subscribe/since
         all < subscribed/recovered"#,
    );
    // What agents hand over is as large as one likes.
    if let Some(mut agent) = agent {
        let large = "x".repeat(50_000);
        for _ in 0..FLOOD {
            agent.send(&format!(r#"{{"type":"event","event":{{"type":"flood","data":{{"x":"{large}"}}}}}}"#));
        }
        agent.sync();
        stage.play("all < lagged/three");
        stage.whole(&["events"]);
    }
}

#[test]
fn chatops_is_as_described() {
    if !cfg!(feature = "hub") {
        return;
    }
    let daemon = start("[hub]\nown_server = false\n[store]\nflush_interval = \"1s\"\n");
    let mut stage = Stage::on(&daemon);
    let (server, key) = server(&daemon);
    stage.chosen.note(SERVER, &server);
    stage.chosen.note(AGENT_KEY, &key);
    stage.play(
        r#"POST /api/v1/alerts/thresholds {"server_id":"{server}","metric_type":"cpu","threshold_value":40,"comparison":"gt"}
         old = agents
         old > hello/hello
         old < proof/proof
         old > auth/chatops
         old < authSuccess/chatops
         charts = metricsPage
         charts > auth/token
         charts < authSuccess/in
         charts > ping/ping
         charts < pong/pong
         charts ! {}
         charts < error/invalid
         log = logsPage
         log > auth/token
         log < authSuccess/in
         log > ping/ping
         log < pong/pong
         log ! {}
         log < error/invalid
         old > metrics/documented
         old < metricsReceived/ok
         charts < metrics/both
         charts < alert/raised
         old > log/warning
         log < log/warning
         old > event/pin
         old > ping/ping
         old < pong/pong
         old ! {"type":"metrics","cpu_percent":"much"}
         old < error/invalid
         & 200 POST /api/v1/commands/{server} {"command":"uptime"}
         old < order/documentedCommand
         old > outcome/documentedCommand
         & 200 POST /api/v1/docker/{server}/containers/web/stop
         old < order/documentedContainer
         old > outcome/documentedContainer
         old > metrics/code
         old < metricsReceived/ok
         new = agents
         new > auth/own
         new < authSuccess/own
         new > metrics/numbered
         new < metricsReceived/numbered
         new < stored/one
         & 200 POST /api/v1/commands/{server} {"command":"uptime"}
         new < order/executeCommand
         new > commandOutput/begin
         new > outcome/commandResult
         & 200 POST /api/v1/docker/{server}/containers/web/start
         new < order/startContainer
         new > outcome/started
         & 403 POST /api/v1/commands/{server} {"command":"reboot"}
         new < order/executeCommand
         new > outcome/denied
         & 200 GET /api/v1/docker/{server}/containers/web/logs?tail=500
         new < order/containerLogs
         new > outcome/logs
         & 200 POST /api/v1/servers/{server}/actions {"action":"READ_UPTIME"}
         new < action/uptime
         new > actionResult/pins"#,
    );
    stage.whole(&["agents", "metricsPage", "logsPage"]);
}
