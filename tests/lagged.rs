//! A client that reads too slowly is told what it missed, and fetches it; its answers are never dropped.

mod common;
mod robust;

use common::{Daemon, Ws};
use robust::{small_tcp, upgraded};
use serde_json::{Value, json};
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

/// Little room, so that few events fill it.
const CONFIG: &str = "[session]\nbacklog_bytes = 16384\n[history]\ncount = 100000\nbytes = 67108864\n";

/// Far more than the room and the sockets' buffers hold.
const EVENTS: u64 = 6000;

/// A client with a small window.
fn slow(daemon: &Daemon, path: &str) -> Ws {
    let stream = upgraded(small_tcp(daemon.addr), daemon.addr, path);
    Ws(WebSocket::from_raw_socket(stream, Role::Client, None))
}

fn flood(daemon: &Daemon) {
    let mut ws = daemon.ws("/publish?clientName=flood");
    let padding = "x".repeat(500);
    for n in 0..EVENTS {
        ws.send(&json!({"event": "load", "data": format!("{n}:{padding}")}).to_string());
    }
    ws.sync();
}

fn toggle(daemon: &Daemon) {
    let mut ws = daemon.ws("/");
    for n in 0..EVENTS {
        let pins = json!({"GPIO4": {"io": "OUTPUT", "state": (n + 1) % 2}});
        ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string());
    }
}

fn offset(value: &Value) -> u64 {
    value["offset"].as_u64().unwrap_or_else(|| panic!("no offset: {value}"))
}

/// What a client has read: the offsets of events, and of each hole what the daemon said of it.
struct Seen {
    epoch: String,
    offsets: Vec<u64>,
    holes: Vec<Value>,
}

/// Reads up to the event that was published last.
fn read(ws: &mut Ws, begin: &Value, last: u64, hole: fn(&Value) -> Option<Value>) -> Seen {
    let mut seen =
        Seen { epoch: begin["epoch"].as_str().expect("an epoch").to_owned(), offsets: Vec::new(), holes: Vec::new() };
    while seen.offsets.last() != Some(&last) {
        let value = ws.json();
        if let Some(hole) = hole(&value) {
            assert_eq!(hole["epoch"], seen.epoch);
            assert!(seen.offsets.last().is_none_or(|seen| *seen < hole["first"].as_u64().expect("a number")), "{hole}");
            if hole["last"] == last {
                seen.holes.push(hole);
                return seen;
            }
            seen.holes.push(hole);
        } else if value["offset"].is_u64() {
            assert!(seen.offsets.last().is_none_or(|before| *before < offset(&value)), "in order: {value}");
            seen.offsets.push(offset(&value));
        }
    }
    seen
}

fn lost(seen: &Seen) -> u64 {
    seen.holes.iter().map(|hole| hole["count"].as_u64().expect("a number")).sum()
}

/// Together with the holes nothing is missing, and the holes are as large as they are said to be.
fn check(seen: &Seen, first: u64) {
    let lost = lost(seen);
    assert!(lost > 0, "it was not slow enough to miss anything");
    assert_eq!(seen.offsets.len() as u64 + lost, EVENTS, "what came and what was missed");
    for hole in &seen.holes {
        let (from, to) = (hole["first"].as_u64().expect("a number"), hole["last"].as_u64().expect("a number"));
        assert!(from >= first && !seen.offsets.iter().any(|offset| (from..=to).contains(offset)), "{hole}");
    }
}

#[test]
fn endrpi_is_told_what_it_missed_and_fetches_it_and_no_answer_is_dropped() {
    let daemon = Daemon::with_config(CONFIG, &[]);
    let mut ws = slow(&daemon, "/");
    let begin = ws.ask(r#"{"action":"SUBSCRIBE","params":{"topics":["load"],"position":true}}"#)["data"].clone();
    flood(&daemon);
    // Asked while nothing is read: their sender waits for room, and they come, all of them.
    for id in 0..20 {
        ws.send(&json!({"action": "READ_MEMORY", "id": id}).to_string());
    }
    let head = daemon.ws("/").ask(r#"{"action":"READ_SNAPSHOT"}"#)["data"].clone();
    let mut answers = Vec::new();
    let mut seen = Seen { epoch: begin["epoch"].as_str().expect("text").to_owned(), offsets: vec![], holes: vec![] };
    while answers.len() < 20 || seen.offsets.len() as u64 + lost(&seen) < EVENTS {
        let value = ws.json();
        match value["action"].as_str() {
            Some("EVENT") => seen.offsets.push(offset(&value)),
            Some("LAGGED") => seen.holes.push(value["data"].clone()),
            _ => answers.push(value["id"].as_u64().expect("its mark")),
        }
    }
    assert_eq!(answers, (0..20).collect::<Vec<u64>>());
    check(&seen, offset(&begin) + 1);
    // What was missed is fetched from before the first hole, in order, and then it is live.
    let hole = seen.holes[0]["first"].as_u64().expect("a number");
    let before: Vec<u64> = seen.offsets.iter().copied().filter(|offset| *offset < hole).collect();
    let since = format!("{}:{}", seen.epoch, before.last().copied().unwrap_or_else(|| offset(&begin)));
    ws.send(&json!({"action": "SUBSCRIBE", "params": {"topics": ["load"], "since": since}}).to_string());
    let answer = ws.until(|value| value["action"] == "SUBSCRIBE")["data"].clone();
    assert_eq!(answer["recovered"], true, "{answer}");
    let mut missing = EVENTS - before.len() as u64;
    assert_eq!(answer["missed"], missing, "{answer}");
    let mut next = before.len() as u64;
    while missing > 0 {
        let value = ws.json();
        let data = value["data"]["data"].as_str().unwrap_or_else(|| panic!("not an event: {value}"));
        assert_eq!(data.split(':').next(), Some(next.to_string().as_str()), "in order, and each once");
        (next, missing) = (next + 1, missing - 1);
    }
    assert!(offset(&head) >= next, "{head}");
    let body = json!({"event": "load", "data": "live"}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=x", &[], &body).status, 201);
    assert_eq!(ws.json()["data"]["data"], "live");
    let presence = daemon.ws("/").ask(r#"{"action":"READ_PRESENCE"}"#)["data"].clone();
    assert!(presence["clients"][0]["lagged"].as_u64().is_some_and(|lagged| lagged > 0), "{presence}");
}

#[test]
fn the_events_socket_is_told_before_the_next_event() {
    let daemon = Daemon::with_config(CONFIG, &[]);
    let mut ws = slow(&daemon, "/ws?types=gpio.state.changed&positions=1");
    let begin = ws.until(|value| value["type"] == "subscribed")["payload"].clone();
    toggle(&daemon);
    let head = daemon.get("/snapshot").json();
    let seen = read(&mut ws, &begin, offset(&head), |value| {
        (value["type"] == "lagged").then(|| {
            assert!(value["timestamp"].is_string(), "{value}");
            value["data"].clone()
        })
    });
    check(&seen, offset(&begin) + 1);
}

#[test]
fn picloud_s_subscriber_is_cut_with_4008_and_resumes() {
    let daemon = Daemon::with_config(CONFIG, &[]);
    let mut ws = slow(&daemon, "/subscribe?clientName=slow");
    let begin = ws.ask(r#"{"action":"subscribe","event":"load","position":true}"#);
    flood(&daemon);
    let mut at = offset(&begin);
    let mut read = 0;
    let code = loop {
        match ws.0.read() {
            Ok(tungstenite::Message::Text(text)) => {
                let value: Value = serde_json::from_str(&text).expect("JSON");
                assert!(offset(&value) > at, "in order: {value}");
                assert!(value["data"].as_str().is_some_and(|data| data.starts_with(&format!("{read}:"))), "{read}");
                (at, read) = (offset(&value), read + 1);
            }
            Ok(tungstenite::Message::Close(frame)) => break frame.map(|frame| u16::from(frame.code)),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(code, Some(4008));
    assert!(read < EVENTS, "it was not slow enough");
    let mut again = daemon.ws("/subscribe?clientName=slow");
    let since = format!("{}:{at}", begin["epoch"].as_str().expect("an epoch"));
    let answer = again.ask(&json!({"action": "subscribe", "event": "load", "since": since}).to_string());
    assert_eq!((&answer["recovered"], &answer["missed"]), (&json!(true), &json!(EVENTS - read)));
    for n in read..EVENTS {
        let value = again.json();
        assert!(value["data"].as_str().is_some_and(|data| data.starts_with(&format!("{n}:"))), "{n}");
    }
}
