//! A disk that hangs, as another process that holds the database does it: whoever needs the disk waits or is refused, and
//! everybody else goes on. The daemon ends in time all the same.

mod common;
mod fleet;

use std::sync::mpsc::channel;
use std::thread::spawn;
use std::time::{Duration, Instant};

use common::Ws;
use fleet::{Hub, flat, request};
use rusqlite::Connection;
use serde_json::json;

/// What nobody should have to wait for.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The daemon's own limit on its end.
const BUDGET: Duration = Duration::from_secs(5);

/// Holds the database against every writer, until dropped.
fn hold(hub: &Hub) -> Connection {
    let database = Connection::open(hub.database()).expect("the store");
    database.busy_timeout(common::LIMIT).expect("a limit");
    database.execute_batch("BEGIN IMMEDIATE").expect("held");
    database
}

/// Writers that have sent their request and wait, and their answers' statuses as they come.
fn writers(hub: &Hub, count: usize) -> std::sync::mpsc::Receiver<u16> {
    let (done, answers) = channel();
    for n in 0..count {
        let (addr, done) = (hub.daemon.addr, done.clone());
        spawn(move || {
            let body = json!({"name": format!("server {n}")}).to_string();
            let _ = done.send(request(addr, "POST", "/api/v1/servers", &body).status);
        });
    }
    answers
}

#[test]
fn who_needs_no_disk_waits_for_none() {
    // Shorter than a write may wait: the front door asks then whether the HTTP server is alive.
    let hub = Hub::start("[hub]\nown_server = false\n[front]\nresponse_deadline = \"2s\"\n");
    let held = hold(&hub);
    let answers = writers(&hub, 40);
    let mut ws: Ws = hub.daemon.ws(&format!("/ws?apiKey={}", fleet::OPERATOR));
    let began = Instant::now();
    let (mut told, mut said) = (Vec::new(), Vec::new());
    // Until all writers have been answered, one way or another.
    while told.len() < 40 {
        assert!(began.elapsed() < common::LIMIT, "{told:?}");
        let asked = Instant::now();
        let health = hub.daemon.get("/health");
        assert_eq!(health.status, 200, "{}", health.body);
        said.push(health.json()["store"].clone());
        let pins = hub.daemon.http("GET", "/pins", &[("X-API-Key", fleet::OPERATOR)], "");
        assert!(pins.status < 500, "{} {}", pins.status, pins.body);
        ws.ask(r#"{"action":"READ_MEMORY"}"#);
        assert!(asked.elapsed() < AT_ONCE, "{:?} {told:?}", asked.elapsed());
        told.extend(answers.try_iter());
    }
    assert!(told.iter().all(|status| matches!(status, 503 | 504)), "{told:?}");
    let behind = said.iter().find(|store| store["state"] == "degraded").unwrap_or_else(|| panic!("{said:?}"));
    let why = behind["reason"].as_str().expect("a reason");
    assert!(why.starts_with("nothing could be written for ") && why.contains("another process holds"), "{why}");
    drop(held);
    hub.server("afterwards");
    let until = Instant::now() + common::LIMIT;
    while hub.daemon.get("/health").json()["store"]["state"] != "ok" {
        assert!(Instant::now() < until, "it works again");
    }
}

#[test]
fn the_end_comes_in_time_whatever_the_disk_does() {
    let mut hub = Hub::start("[hub]\nown_server = true\n");
    let agents: Vec<(String, String)> = (0..5)
        .map(|n| {
            let id = hub.server(&format!("agent {n}"));
            let key = hub.agent_key(&id);
            (id, key)
        })
        .collect();
    let agents: Vec<_> = agents
        .into_iter()
        .map(|(id, key)| {
            let mut ws = hub.agent(&key);
            ws.send(&flat(&id, 5.0).to_string());
            assert_eq!(ws.json()["type"], "metrics_received");
            spawn(move || ws.closed().0)
        })
        .collect();
    let _held = hold(&hub);
    let _answers = writers(&hub, 20);
    // They are in, and wait.
    assert_eq!(hub.daemon.get("/health").status, 200);
    let began = Instant::now();
    let status = hub.daemon.stop();
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{}", hub.daemon.log());
    assert!(took < BUDGET + AT_ONCE, "{took:?}\n{}", hub.daemon.log());
    for agent in agents {
        assert_eq!(agent.join().expect("not stuck"), 1001);
    }
}

#[test]
fn what_waits_is_written_at_the_end_once_the_database_is_free() {
    let dir = common::TempDir::new();
    let state = dir.path().join("state");
    let mut hub = Hub::start_in(dir, "[hub]\nown_server = false\n");
    let server = hub.server("attic");
    let held = hold(&hub);
    let mut sample = flat(&server, 5.0);
    sample.as_object_mut().expect("an object").remove("type");
    let answer = hub.rest("POST", &format!("/metrics/{server}"), &sample);
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.body);
    let (let_go, wait) = channel::<()>();
    let holder = spawn(move || {
        // Longer than a single attempt of the daemon's.
        let _ = wait.recv_timeout(Duration::from_millis(800));
        drop(held);
    });
    assert_eq!(hub.daemon.stop().code(), Some(0), "{}", hub.daemon.log());
    drop(let_go);
    holder.join().expect("let go");
    let database = Connection::open(state.join("pinwire.db")).expect("the store");
    let points = database.query_row("SELECT count(*) FROM points", [], |row| row.get::<_, i64>(0)).expect("SQL");
    assert!(points > 0, "{}", hub.daemon.log());
}
