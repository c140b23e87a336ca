//! PiCloud: `/subscribe`, `/publish` and `POST /publish`. `/info` and the refusals are in their own files.

mod common;

use common::{Daemon, Ws};
use serde_json::{Value, json};
use tungstenite::Message;

fn subscribe(ws: &mut Ws, event: &str) {
    ws.send(&json!({"action": "subscribe", "event": event}).to_string());
    ws.sync();
}

fn subscriber(daemon: &Daemon, events: &[&str]) -> Ws {
    let mut ws = daemon.ws("/subscribe?clientName=subscriber");
    events.iter().for_each(|event| subscribe(&mut ws, event));
    ws
}

fn post(daemon: &Daemon, body: &str) -> u16 {
    daemon.http("POST", "/publish?clientName=poster", &[], body).status
}

fn publish(daemon: &Daemon, event: &str, data: &str) {
    assert_eq!(post(daemon, &json!({"event": event, "data": data}).to_string()), 201, "{event}");
}

/// The event and data of the next message.
fn next(ws: &mut Ws) -> (String, String) {
    let message = ws.json();
    let text = |name: &str| message[name].as_str().unwrap_or_else(|| panic!("{message}")).to_owned();
    (text("event"), text("data"))
}

#[track_caller]
fn assert_next(ws: &mut Ws, event: &str, data: &str) {
    assert_eq!(next(ws), (event.to_owned(), data.to_owned()));
}

#[test]
fn a_message_reaches_its_subscribers_in_picloud_s_form() {
    let daemon = Daemon::start(&[]);
    let (mut one, mut two) = (subscriber(&daemon, &["door"]), subscriber(&daemon, &["window", "door"]));
    let before = std::time::SystemTime::now();
    let answer = daemon.http("POST", "/publish?clientName=poster", &[], r#"{"event":"door","data":"open"}"#);
    assert_eq!((answer.status, answer.body.as_str()), (201, ""));
    for ws in [&mut one, &mut two] {
        let text = ws.text();
        let message: Value = serde_json::from_str(&text).expect("JSON");
        let stamp = message["created_at"].as_str().expect("a timestamp").to_owned();
        assert_eq!(text, format!(r#"{{"action":"publish","event":"door","data":"open","created_at":"{stamp}"}}"#));
        let at = humantime::parse_rfc3339(&stamp).expect("RFC 3339");
        assert!(at >= before && at <= std::time::SystemTime::now(), "the time of its receipt: {stamp}");
    }
}

#[test]
fn a_socket_publishes_text_and_binary_and_is_never_answered() {
    let daemon = Daemon::start(&[]);
    let mut reader = subscriber(&daemon, &["door"]);
    let mut publisher = daemon.ws("/publish?clientName=publisher");
    publisher.send(r#"{"event":"door","data":"text"}"#);
    publisher.0.send(Message::binary(&br#"{"event":"door","data":"binary"}"#[..])).expect("sent");
    // Frames without an event are ignored; `null` and `{}` are harmless.
    for harmless in [r#"{"event":"","data":"x"}"#, r#"{"data":"x"}"#, "{}", "null"] {
        publisher.send(harmless);
    }
    publisher.send(r#"{"event":"door"}"#);
    for data in ["text", "binary", ""] {
        assert_next(&mut reader, "door", data);
    }
    publisher.0.send(Message::Ping("p".into())).expect("sent");
    assert_eq!(publisher.0.read().expect("the pong"), Message::Pong("p".into()), "nothing came before it");
}

#[test]
fn a_client_gets_its_own_messages_and_each_once() {
    let daemon = Daemon::start(&[]);
    let mut ws = subscriber(&daemon, &["door", "door", "door"]);
    let mut publisher = daemon.ws("/publish?clientName=subscriber");
    publisher.send(r#"{"event":"door","data":"1"}"#);
    assert_next(&mut ws, "door", "1");
    publish(&daemon, "door", "2");
    assert_next(&mut ws, "door", "2");
    publisher.send(r#"{"event":"door","data":"3"}"#);
    assert_next(&mut ws, "door", "3");
}

#[test]
fn messages_of_one_publisher_come_in_order() {
    let daemon = Daemon::start(&[]);
    let mut readers: Vec<Ws> = (0..3).map(|_| subscriber(&daemon, &["a", "b"])).collect();
    let mut publisher = daemon.ws("/publish?clientName=publisher");
    for n in 0..500 {
        let event = if n % 3 == 0 { "a" } else { "b" };
        let text = json!({"event": event, "data": n.to_string()}).to_string();
        publisher.0.write(Message::text(text)).expect("queued");
    }
    publisher.0.flush().expect("sent");
    for reader in &mut readers {
        for n in 0..500 {
            assert_eq!(next(reader).1, n.to_string());
        }
    }
}

#[test]
fn bursts_of_any_size_come_whole_and_in_order_and_whoever_ends_in_one_has_published_it() {
    let daemon = Daemon::start(&[]);
    let mut reader = subscriber(&daemon, &["burst"]);
    let mut publisher = daemon.ws("/publish?clientName=bursts");
    let mut sent = 0..;
    // Each burst is published when the one before has come: the daemon learns its size, and is wrong about the next.
    for size in [1, 8, 8, 3, 1, 70, 70, 1, 2, 8, 1] {
        for n in sent.by_ref().take(size) {
            publisher.send(&json!({"event": "burst", "data": n.to_string()}).to_string());
        }
        let first = sent.start - size;
        (first..sent.start).for_each(|n| assert_next(&mut reader, "burst", &n.to_string()));
    }
    publisher.send(r#"{"event":"burst","data":"the last"}"#);
    drop(publisher);
    assert_next(&mut reader, "burst", "the last");
}

#[test]
fn names_are_exact_and_may_be_any_text() {
    let daemon = Daemon::start(&[]);
    let names = ["door", "Door", "door ", "a.*", "*", "türe \"1\"", "gpio", "\u{1f600}"];
    let mut readers: Vec<Ws> = names.iter().map(|name| subscriber(&daemon, &[name])).collect();
    for name in names {
        publish(&daemon, name, name);
    }
    publish(&daemon, "a.b", "");
    for (reader, name) in readers.iter_mut().zip(names) {
        assert_next(reader, name, name);
        publish(&daemon, name, "again");
        assert_next(reader, name, "again");
    }
}

#[test]
fn both_forms_of_unsubscribe_work_and_unknown_actions_are_ignored() {
    let daemon = Daemon::start(&[]);
    let mut ws = subscriber(&daemon, &["a", "b", "c", "d"]);
    ws.send(r#"{"action":"unsubscribe","event":"a"}"#);
    ws.send(r#"{"action":"unsubscribe","event":"never"}"#);
    for ignored in [r#"{"action":"publish","event":"b","data":"x"}"#, r#"{"action":"dance"}"#, "{}", "null"] {
        ws.send(ignored);
    }
    ws.send(r#"{"action":"Subscribe","event":"e"}"#);
    ws.sync();
    for event in ["a", "e", "b"] {
        publish(&daemon, event, "");
    }
    assert_next(&mut ws, "b", "");
    ws.send(r#"{"action":"unsubscribe:all"}"#);
    subscribe(&mut ws, "d");
    for event in ["b", "c", "d"] {
        publish(&daemon, event, "");
    }
    assert_next(&mut ws, "d", "");
}

#[test]
fn a_valid_time_and_an_action_of_the_publisher_s_own_are_forwarded() {
    let daemon = Daemon::start(&[]);
    let mut ws = subscriber(&daemon, &["door"]);
    let mut publisher = daemon.ws("/publish?clientName=publisher");
    for stamp in ["2015-11-25T03:40:13.433493056Z", "2026-03-02T08:15:30+01:00"] {
        let own = json!({"event": "door", "data": "x", "created_at": stamp, "action": "ring"}).to_string();
        publisher.send(&own);
        assert_eq!(ws.text(), format!(r#"{{"action":"ring","event":"door","data":"x","created_at":"{stamp}"}}"#));
        assert_eq!(post(&daemon, &own), 201);
        assert_eq!(ws.json()["created_at"], stamp);
    }
    publisher.send(r#"{"event":"door","action":"","created_at":null,"data":null}"#);
    let message = ws.json();
    assert_eq!((&message["action"], &message["data"]), (&json!("publish"), &json!("")));
    assert!(message["created_at"].as_str().is_some_and(|text| humantime::parse_rfc3339(text).is_ok()), "{message}");
}

#[test]
fn members_are_found_in_any_case_and_the_last_of_equals_counts() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/subscribe?clientName=subscriber");
    ws.send(r#"{"ACTION":"subscribe","Event":"other","eVENT":"door","x":{"event":"deep"}}"#);
    ws.sync();
    assert_eq!(post(&daemon, r#"{"event":"other","EVENT":"door","Data":"1","extra":[1,{"data":2}]}"#), 201);
    assert_next(&mut ws, "door", "1");
    daemon.ws("/publish?clientName=p").send(r#"{"DATA":"x","Event":"door","data":"2"}"#);
    assert_next(&mut ws, "door", "2");
    assert_eq!(post(&daemon, "{\"event\":\"door\",\"data\":\"3\"} and the rest is not read"), 201);
    assert_next(&mut ws, "door", "3");
}

#[test]
fn a_bad_frame_closes_its_socket_with_1007_and_a_reason() {
    let daemon = Daemon::start(&[]);
    let mut reader = subscriber(&daemon, &["door"]);
    let common = ["", "{", "[]", "1", "\"x\"", "{\"event\":1}", "{\"action\":[]}", "{\"created_at\":\"now\"}"];
    for path in ["/subscribe?clientName=x", "/publish?clientName=x"] {
        for text in common.iter().chain(&["{\"event\":\"door\",\"data\":1}", "{\"event\":\"door\",\"data\":{}}"]) {
            let mut ws = daemon.ws(path);
            ws.send(text);
            let (code, reason) = ws.closed();
            assert!(code == 1007 && !reason.is_empty(), "{path} {text:?} → {code} {reason:?}");
        }
    }
    publish(&daemon, "door", "still here");
    assert_next(&mut reader, "door", "still here");
}

#[test]
fn asking_for_the_same_event_often_is_no_reason_to_end() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/subscribe?clientName=subscriber");
    for _ in 0..1500 {
        ws.send(r#"{"action":"subscribe","event":"door"}"#);
    }
    ws.sync();
    publish(&daemon, "door", "x");
    assert_next(&mut ws, "door", "x");
}

#[test]
fn the_limit_on_subscriptions_counts_names() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/subscribe?clientName=subscriber");
    for n in 0..1000 {
        // What was never subscribed does not make room.
        ws.send(&json!({"action": "unsubscribe", "event": format!("never{n}")}).to_string());
        ws.send(&json!({"action": "subscribe", "event": format!("e{n}")}).to_string());
    }
    ws.send(r#"{"action":"unsubscribe","event":"e7"}"#);
    subscribe(&mut ws, "e1000");
    publish(&daemon, "e1000", "");
    assert_next(&mut ws, "e1000", "");
    ws.send(r#"{"action":"subscribe","event":"e7"}"#);
    assert_eq!(ws.closed(), (1008, "too many subscriptions: at most 1000".into()));
}
