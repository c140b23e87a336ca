//! The hub is killed under twenty agents that go on telling it what they measure and see: when it is back, every sample
//! and every event is there once, in order. A short outage; with `PINWIRE_FULL=1` a whole minute.

mod common;
mod fleet;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use common::{Daemon, TempDir, Ws, pinwire};
use fleet::{Hub, OPERATOR};
use rusqlite::Connection;
use serde_json::{Value, json};

const AGENTS: usize = 20;

/// How long everything together may take to come back: an agent may wait a minute between two attempts.
const BACK: Duration = Duration::from_secs(180);

/// A line that changes all the time, and one that says that it is over.
const BLINKING: &str = "GPIO17";
const LAST: u64 = 6;

/// The device's own view of what happened to its lines: time and data of each event, in order.
#[derive(Default)]
struct Seen {
    events: Mutex<Vec<(String, String)>>,
    more: Condvar,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.events.lock().expect("unpoisoned")
    }

    /// Waits, woken by each event, until this holds.
    fn until(&self, what: &str, mut holds: impl FnMut(usize) -> bool) {
        let (events, waited) =
            self.more.wait_timeout_while(self.lock(), BACK, |events| !holds(events.len())).expect("unpoisoned");
        assert!(!waited.timed_out(), "not within {BACK:?}: {what}, after {} events", events.len());
    }
}

struct Agent {
    daemon: Daemon,
    server_id: String,
    seen: Arc<Seen>,
    sequence: Value,
}

impl Agent {
    fn start(hub: &Hub, number: usize) -> Agent {
        let server_id = hub.server(&format!("pi{number}"));
        let key = hub.agent_key(&server_id);
        let dir = TempDir::new();
        let config = dir.file("agent.toml", "[agent]\nmetrics_interval = \"200ms\"\n");
        let key = dir.file("key", &key);
        let mut command = pinwire();
        command.args(["agent", "--gpio", "sim", "--listen", "127.0.0.1:0", "--name", &format!("pi{number}")]);
        command.args(["--hub", &format!("ws://{}", hub.daemon.addr)]);
        command.arg("--key-file").arg(key).arg("--config").arg(config);
        // Half of them have a place for files.
        if number.is_multiple_of(2) {
            command.arg("--state-dir").arg(dir.path().join("state"));
        }
        let daemon = Daemon::launch(dir, command);
        let seen = Arc::new(Seen::default());
        let mut events = daemon.ws("/ws");
        events.sync();
        let (own, last) = (Arc::clone(&seen), LAST);
        std::thread::spawn(move || {
            loop {
                let event = events.json();
                if event["type"] != "gpio.state.changed" {
                    continue;
                }
                let time = event["timestamp"].as_str().expect("a time").to_owned();
                own.lock().push((time, event["data"].to_string()));
                own.more.notify_all();
                if event["data"]["pin"] == last {
                    return;
                }
            }
        });
        let blink = json!({"pin": BLINKING, "on": "50ms", "off": "50ms"});
        let sequence = done(&daemon, "BLINK_PIN", &blink)["sequence"].clone();
        Agent { daemon, server_id, seen, sequence }
    }

    fn connections(&self) -> usize {
        self.daemon.log().matches("connected to hub").count()
    }

    /// Its lines stay as they are from now on, but for one that says so.
    fn finish(&self) {
        done(&self.daemon, "CANCEL_SEQUENCE", &json!({"sequence": self.sequence}));
        done(&self.daemon, "SIMULATE_INPUT", &json!({"pin": format!("GPIO{LAST}"), "level": "high"}));
        let is_last = |events: &[(String, String)]| {
            let data = events.last().map(|(_, data)| serde_json::from_str::<Value>(data).expect("JSON"));
            data.is_some_and(|data| data["pin"] == LAST)
        };
        let events = self.seen.lock();
        let waited = self.seen.more.wait_timeout_while(events, common::LIMIT, |events| !is_last(events));
        assert!(!waited.expect("unpoisoned").1.timed_out(), "the last event is not seen");
    }
}

#[track_caller]
fn done(daemon: &Daemon, action: &str, params: &Value) -> Value {
    // A connection for each would end the sequence with it; the device's own one stays.
    let body = json!({"action": action, "params": params});
    let mut ws = daemon.ws("/");
    let answer = ws.ask(&body.to_string());
    assert_eq!(answer["success"], true, "{answer}");
    answer["data"].clone()
}

/// Reads the hub's events until the last one of every agent has come.
fn all_last_ones(mut ws: Ws) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut missing: BTreeMap<String, ()> =
            (0..AGENTS).map(|number| (format!("agent.pi{number}.gpio.state.changed"), ())).collect();
        while !missing.is_empty() {
            let event = ws.json();
            if event["data"]["pin"] == LAST {
                missing.remove(event["type"].as_str().expect("a topic"));
            }
        }
    })
}

#[test]
fn what_twenty_agents_have_to_say_while_the_hub_is_dead_is_there_once_and_in_order() {
    let full = std::env::var_os("PINWIRE_FULL").is_some();
    // So many events pass during the outage, and at least once as many before and after: 20 a second.
    let outage = if full { 60 * 20 } else { 3 * 20 };
    let home = TempDir::new();
    let state = home.path().join("state");
    let config = "[session]\nbacklog_bytes = 16777216\ntotal_backlog_bytes = 67108864\n";
    let hub = Hub::start_at(TempDir::new(), state.clone(), "127.0.0.1:0", config);
    let address = hub.daemon.addr.to_string();
    let agents: Vec<Agent> = (0..AGENTS).map(|number| Agent::start(&hub, number)).collect();
    for agent in &agents {
        agent.seen.until("connected", |events| events > 40 && agent.connections() == 1);
    }

    hub.kill();
    let before: Vec<usize> = agents.iter().map(|agent| agent.seen.lock().len()).collect();
    for (agent, before) in agents.iter().zip(before) {
        agent.seen.until("the outage", |events| events >= before + outage);
        agent.daemon.wait_for_log("records are kept meanwhile");
    }

    let mut hub = Hub::start_at(TempDir::new(), state, &address, config);
    let watching = Ws::connect(hub.daemon.addr, "/ws", &[("X-API-Key", OPERATOR)]).expect("a socket");
    let last_ones = all_last_ones(watching);
    for agent in &agents {
        agent.seen.until("connected again", |_| agent.connections() == 2);
        let now = agent.seen.lock().len();
        agent.seen.until("more", |events| events > now + 20);
    }
    agents.iter().for_each(Agent::finish);
    last_ones.join().expect("every agent's last event");
    assert!(!hub.daemon.log().contains("are missing"), "{}", hub.daemon.log());

    // What is kept is looked at when the hub has ended in good order; the agents go on meanwhile.
    let database = hub.database();
    assert!(hub.daemon.stop().success());
    assert!(!hub.daemon.log().contains("did not end"), "{}", hub.daemon.log());
    let sql = Connection::open(database).expect("the database");
    let mut all = (0, 0);
    for agent in &agents {
        let id = &agent.server_id;
        let number = |what: &str| -> i64 {
            let sql_text = what.replace("$", "(SELECT number FROM servers WHERE id = ?1)");
            sql.query_row(&sql_text, [id], |row| row.get(0)).unwrap_or_else(|error| panic!("{what}: {error}"))
        };
        let streams = number("SELECT count(*) FROM streams WHERE server = $");
        assert_eq!(streams, 1, "one run, one stream");
        let position = number("SELECT seq FROM streams WHERE server = $");
        let samples = number("SELECT coalesce(sum(samples), 0) FROM points WHERE step = 5 AND server = $");
        let events = number("SELECT count(*) FROM events WHERE server = $");
        let logs = number("SELECT count(*) FROM logs WHERE server = $");
        assert_eq!(samples + events + logs, position, "{id}: {samples} samples, {events} events, {logs} log lines");

        let mut rows = sql
            .prepare(
                &"SELECT seq, at, data FROM events WHERE server = $ AND topic = 'gpio.state.changed' ORDER BY seq"
                    .replace('$', "(SELECT number FROM servers WHERE id = ?1)"),
            )
            .expect("SQL");
        let kept: Vec<(i64, i64, String)> = rows
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("rows");
        let times = |text: &str| {
            let at = humantime::parse_rfc3339(text).expect("a time");
            at.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as i64
        };
        let seen = agent.seen.lock();
        let seen: Vec<(i64, Value)> =
            seen.iter().map(|(time, data)| (times(time), serde_json::from_str(data).expect("JSON"))).collect();
        let there: Vec<(i64, Value)> =
            kept.into_iter().map(|(_, at, data)| (at, serde_json::from_str(&data).expect("JSON"))).collect();
        let at = there.iter().zip(&seen).position(|(there, seen)| there != seen);
        assert_eq!(
            there.len(),
            seen.len(),
            "{id}: they differ from {at:?}: {:?}",
            at.map(|at| (&there[at], &seen[at]))
        );
        assert!(there == seen, "{id}: the events differ");
        all = (all.0 + samples, all.1 + events);
    }
    println!("{} samples and {} events of {AGENTS} agents are there once, in order", all.0, all.1);
}
