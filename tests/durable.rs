//! Durable topics and acknowledged publishes: what an answer has promised holds after `kill -9`, on a disk that is full,
//! and on one that is slow.

mod common;
#[path = "store_disk/mod.rs"]
mod disk;
#[path = "durable/hang.rs"]
mod hang;
#[path = "watch_since/watcher.rs"]
mod watcher;
#[path = "durable/watching.rs"]
mod watching;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Answer, Daemon, TempDir, Ws};
use rusqlite::Connection;
use serde_json::{Value, json};
use tungstenite::Message;

const CONFIG: &str = "[hub]\nown_server = false\n[topics.\"door.**\"]\ndurable = true\n";

/// A state directory that outlives the daemons in it.
struct Place {
    dir: TempDir,
    config: PathBuf,
}

impl Place {
    fn new(config: &str) -> Place {
        let dir = TempDir::new();
        let config = dir.file("pinwire.toml", config);
        Place { dir, config }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn start(&self) -> Daemon {
        self.start_at("127.0.0.1:0")
    }

    fn start_at(&self, address: &str) -> Daemon {
        let mut command = common::pinwire();
        command.args(["serve", "--listen", address, "--gpio", "sim", "--state-dir"]);
        command.arg(self.state()).arg("--config").arg(&self.config);
        Daemon::launch(TempDir::new(), command)
    }
}

/// What an answer says of where something stands.
fn position(value: &Value) -> (String, u64) {
    let epoch = value["epoch"].as_str().unwrap_or_else(|| panic!("no epoch: {value}"));
    assert!(epoch.len() == 16 && u64::from_str_radix(epoch, 16).is_ok(), "{value}");
    (epoch.to_owned(), value["offset"].as_u64().unwrap_or_else(|| panic!("no offset: {value}")))
}

/// Subscribes to a pattern, behind a position where one is given; the answer.
fn subscribe(daemon: &Daemon, pattern: &str, since: Option<&(String, u64)>) -> (Ws, Value) {
    let path = "/subscribe?clientName=reader";
    let mut socket = daemon.try_ws(path, &[("X-API-Key", disk::KEY)]).expect("a socket");
    let mut ask = json!({"action": "subscribe", "event": pattern, "pattern": true, "position": true});
    if let Some((epoch, offset)) = since {
        ask["since"] = json!({"epoch": epoch, "offset": offset});
    }
    let answer = socket.ask(&ask.to_string());
    assert_eq!((&answer["action"], &answer["event"]), (&json!("subscribed"), &json!(pattern)), "{answer}");
    (socket, answer)
}

/// An event with the number it came under.
type Event = (u64, String, String);

fn event(value: &Value) -> Event {
    let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned();
    (position(value).1, text("event"), text("data"))
}

fn publisher(daemon: &Daemon) -> Ws {
    daemon.try_ws("/publish?clientName=writer", &[("X-API-Key", disk::KEY)]).expect("a socket")
}

/// The next message, unless the connection has ended.
fn next(socket: &mut Ws) -> Option<Value> {
    loop {
        match socket.0.read().ok()? {
            Message::Text(text) => return serde_json::from_str(&text).ok(),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

fn message(topic: &str, data: &str, id: Value) -> String {
    json!({"event": topic, "data": data, "ack": true, "id": id}).to_string()
}

fn post(daemon: &Daemon, path: &str, topic: &str, data: &str) -> Answer {
    daemon.http("POST", path, &[("X-API-Client-Name", "writer")], &json!({"event": topic, "data": data}).to_string())
}

#[test]
fn what_was_acknowledged_survives_kill_9_in_order_and_once() {
    const WRITERS: usize = 8;
    const ENOUGH: usize = 400;
    let place = Place::new(CONFIG);
    let mut daemon = place.start();
    let (mut live, begun) = subscribe(&daemon, "door.**", None);
    let begun = position(&begun);
    let acked: Arc<Mutex<BTreeMap<u64, (String, String)>>> = Arc::default();
    let (count, mut unacked) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    let mut seen: Vec<Event> = Vec::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = Vec::new();
            while let Some(value) = next(&mut live) {
                seen.push(event(&value));
            }
            seen
        });
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let mut socket = publisher(&daemon);
            let (acked, count) = (Arc::clone(&acked), Arc::clone(&count));
            writers.push(scope.spawn(move || {
                // Some share a topic, each has one under way all the time.
                let topic = format!("door.{}", writer % 3);
                for n in 0.. {
                    let data = format!("{writer}-{n}");
                    if socket.0.send(Message::text(message(&topic, &data, json!({"n": n})))).is_err() {
                        return data;
                    }
                    let Some(answer) = next(&mut socket) else { return data };
                    assert_eq!((&answer["status"], &answer["id"]["n"]), (&json!("durable"), &json!(n)), "{answer}");
                    let before = acked.lock().expect("unpoisoned").insert(position(&answer).1, (topic.clone(), data));
                    assert_eq!(before, None, "one number for two");
                    count.fetch_add(1, Ordering::AcqRel);
                }
                unreachable!("it is killed before that");
            }));
        }
        let until = std::time::Instant::now() + common::LIMIT;
        while count.load(Ordering::Acquire) < ENOUGH {
            assert!(std::time::Instant::now() < until, "{}", daemon.log());
            std::thread::yield_now();
        }
        daemon.signal("KILL");
        unacked.extend(writers.into_iter().map(|writer| writer.join().expect("a writer")));
        seen = reader.join().expect("the reader");
    });
    daemon.wait();
    let acked = std::mem::take(&mut *acked.lock().expect("unpoisoned"));
    assert!(acked.len() >= ENOUGH);

    let daemon = place.start();
    let (mut again, answer) = subscribe(&daemon, "door.**", Some(&begun));
    assert_eq!((&answer["recovered"], position(&answer)), (&json!(true), begun.clone()), "{answer}");
    let missed = answer["missed"].as_u64().expect("a number");
    let replayed: Vec<Event> = (0..missed).map(|_| event(&again.json())).collect();
    assert!(replayed.windows(2).all(|two| two[0].0 < two[1].0), "in order, none twice");
    let there: BTreeMap<u64, (String, String)> =
        replayed.iter().map(|(offset, topic, data)| (*offset, (topic.clone(), data.clone()))).collect();
    for (offset, event) in &acked {
        assert_eq!(there.get(offset), Some(event), "acknowledged at {offset}");
    }
    // What a subscriber saw no restart forgets; and nothing is there that nobody wrote, or twice.
    assert_eq!(seen, replayed[..seen.len()]);
    let mut rest: Vec<&String> = there.values().map(|(_, data)| data).collect();
    rest.sort_unstable();
    rest.dedup();
    assert_eq!(rest.len(), replayed.len());
    let written = |data: &String| acked.values().any(|(_, acked)| acked == data) || unacked.contains(data);
    assert!(rest.into_iter().all(written));
    for writer in 0..WRITERS {
        let own = replayed.iter().filter_map(|(_, _, data)| data.strip_prefix(&format!("{writer}-"))?.parse().ok());
        let own: Vec<usize> = own.collect();
        assert_eq!(own, (0..own.len()).collect::<Vec<_>>(), "of one publisher in its order");
    }

    // It goes on behind everything that was.
    let mut writer = publisher(&daemon);
    let answer = writer.ask(&message("door.0", "after", Value::Null));
    let (epoch, offset) = position(&answer);
    assert_eq!((&epoch, &answer["status"]), (&begun.0, &json!("durable")), "{answer}");
    assert!(offset > replayed.last().expect("something").0);
    assert_eq!(event(&again.json()), (offset, "door.0".into(), "after".into()));
}

#[test]
fn other_topics_are_known_to_have_begun_anew() {
    let place = Place::new(CONFIG);
    let mut daemon = place.start();
    let (_, begun) = subscribe(&daemon, "**", None);
    let begun = position(&begun);
    let mut writer = publisher(&daemon);
    for topic in ["door.front", "bell"] {
        let status = if topic == "bell" { "accepted" } else { "durable" };
        assert_eq!(writer.ask(&message(topic, "x", Value::Null))["status"], status);
    }
    drop(writer);
    assert!(daemon.stop().success());
    let daemon = place.start();
    let said = |pattern: &str| subscribe(&daemon, pattern, Some(&begun)).1;
    for (pattern, recovered, missed) in
        [("door.**", true, 1), ("door.front", true, 1), ("door.other", true, 0), ("bell", false, 0), ("**", false, 0)]
    {
        let answer = said(pattern);
        let told = (&answer["recovered"], answer["missed"].as_u64().unwrap_or(0), position(&answer).0);
        assert_eq!(told, (&json!(recovered), missed, begun.0.clone()), "{pattern}: {answer}");
    }
}

#[test]
fn without_a_wish_http_answers_as_before_and_with_one_what_became_of_it() {
    let place = Place::new(CONFIG);
    let daemon = place.start();
    let (mut reader, _) = subscribe(&daemon, "**", None);
    for topic in ["bell", "door.front"] {
        let plain = post(&daemon, "/publish", topic, "1");
        assert_eq!((plain.status, plain.body.as_str()), (201, ""));
        assert_eq!(plain.header("content-type"), Some("text/plain; charset=utf-8"));
        let before = event(&reader.until(|value| value["event"] == topic));
        assert_eq!((before.1.as_str(), before.2.as_str()), (topic, "1"));
        let status = if topic == "bell" { "accepted" } else { "durable" };
        let asked = post(&daemon, "/publish?ack=1", topic, "2");
        assert_eq!((asked.status, asked.header("content-type")), (201, Some("application/json")));
        let answer = asked.json();
        assert_eq!(answer["status"], status, "{answer}");
        let (_, offset) = position(&answer);
        assert_eq!(event(&reader.until(|value| value["event"] == topic)), (offset, topic.into(), "2".into()));
        assert!(offset > before.0);
        let body = message(topic, "3", Value::Null);
        let by_body = daemon.http("POST", "/publish", &[("X-API-Client-Name", "writer")], &body).json();
        assert_eq!((&by_body["status"], by_body.as_object().map(|members| members.len())), (&json!(status), Some(3)));
        reader.until(|value| value["event"] == topic);
    }
    let wrong = r#"{"event":"bell","data":"x","ack":"yes"}"#;
    let wrong = daemon.http("POST", "/publish", &[("X-API-Client-Name", "writer")], wrong);
    assert!(wrong.status == 400 && wrong.body.contains("ack"), "{wrong:?}");
    let wrong = post(&daemon, "/publish?ack=yes", "bell", "x");
    assert!(wrong.status == 400 && wrong.body.contains("'ack' must be 1 or 0"), "{wrong:?}");
    // Who waits for an answer gets one, also to a message that PiCloud ignores.
    let mut ws = daemon.ws("/publish?clientName=writer");
    ws.send(r#"{"data":"x","ack":true,"id":4}"#);
    let refused = ws.json();
    assert_eq!((&refused["action"], &refused["id"]), (&json!("error"), &json!(4)), "{refused}");
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("'event'")), "{refused}");
}

/// Another process that has the database, so that nobody else can write it.
fn hold(state: &Path) -> Connection {
    let other = Connection::open(state.join("pinwire.db")).expect("opens");
    other.busy_timeout(common::LIMIT).expect("a limit");
    other.execute_batch("BEGIN IMMEDIATE").expect("it has the database");
    other
}

#[test]
fn a_disk_that_does_not_come_to_it_holds_up_nobody_else_and_is_told() {
    let place = Place::new(CONFIG);
    let daemon = place.start();
    let (mut reader, begun) = subscribe(&daemon, "**", None);
    let mut writer = publisher(&daemon);
    let other = hold(&place.state());
    writer.send(&message("door.front", "late", json!(1)));
    writer.send(&message("bell", "at once", json!(2)));
    // The answers are not in the order of the questions.
    let answer = writer.json();
    assert_eq!((&answer["id"], &answer["status"]), (&json!(2), &json!("accepted")), "{answer}");
    assert_eq!(event(&reader.json()).2, "at once");
    let http = post(&daemon, "/publish?ack=1", "door.front", "late too");
    assert!(http.status == 503 && http.body.contains("the store is busy ("), "{http:?}");
    assert_eq!(http.header("retry-after"), Some("1"));
    let refused = writer.json();
    assert_eq!((&refused["action"], &refused["id"]), (&json!("error"), &json!(1)), "{refused}");
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("another process has the database")), "{refused}");
    drop(other);
    // What was refused nobody has seen, nor will.
    let answer = writer.ask(&message("door.front", "again", json!(3)));
    assert_eq!(answer["status"], "durable", "{answer}");
    let (next, offset) = (event(&reader.json()), position(&answer).1);
    assert_eq!(next, (offset, "door.front".into(), "again".into()));
    let (_, all) = subscribe(&daemon, "door.**", Some(&position(&begun)));
    assert_eq!((&all["recovered"], &all["missed"]), (&json!(true), &json!(1)), "{all}");
}

#[test]
fn a_batch_that_others_have_overtaken_gets_numbers_behind_them() {
    // More than are left to others while a batch is at the store.
    const OTHERS: usize = 6000;
    let place = Place::new(CONFIG);
    let mut daemon = place.start();
    let (mut reader, begun) = subscribe(&daemon, "**", None);
    let mut writer = publisher(&daemon);
    let other = hold(&place.state());
    writer.send(&message("door.front", "slow", json!("slow")));
    let mut all = Vec::new();
    for n in 0..OTHERS {
        writer.send(&json!({"event": "bell", "data": n.to_string()}).to_string());
        if n % 100 == 99 {
            all.extend((0..100).map(|_| event(&reader.json())));
        }
    }
    drop(other);
    let answer = writer.json();
    assert_eq!((&answer["id"], &answer["status"]), (&json!("slow"), &json!("durable")), "{answer}");
    let slow = event(&reader.json());
    assert_eq!(slow, (position(&answer).1, "door.front".into(), "slow".into()));
    all.push(slow.clone());
    assert!(all.windows(2).all(|two| two[0].0 < two[1].0), "in the order of their numbers");
    assert_eq!(all.len(), OTHERS + 1);
    daemon.signal("KILL");
    daemon.wait();
    let daemon = place.start();
    let (mut again, answer) = subscribe(&daemon, "door.**", Some(&position(&begun)));
    assert_eq!((&answer["recovered"], &answer["missed"]), (&json!(true), &json!(1)), "{answer}");
    assert_eq!(event(&again.json()), slow);
}

#[test]
fn on_a_full_disk_a_durable_publish_is_refused_and_others_go_on() {
    let Some(hub) = disk::hub_with("", "1m", "[topics.\"door.**\"]\ndurable = true") else { return };
    let key = [("X-API-Key", disk::KEY), ("X-API-Client-Name", "writer")];
    let publish = |topic: &str, data: &str| {
        hub.daemon.http("POST", "/publish?ack=1", &key, &json!({"event": topic, "data": data}).to_string())
    };
    let first = publish("door.front", "first").json();
    assert_eq!(first["status"], "durable", "{first}");
    let (mut reader, _) = subscribe(&hub.daemon, "door.**", None);
    let fill = hub.fill();
    let large = "x".repeat(20_000);
    // Some more finds room in the log that is there already.
    let mut kept = Vec::new();
    let refused = (0..100).find_map(|_| {
        let answer = publish("door.front", &large);
        if answer.status == 201 {
            kept.push(position(&answer.json()).1);
        }
        (answer.status != 201).then_some(answer)
    });
    let refused = refused.expect("the disk is full");
    assert_eq!(refused.status, 507, "{refused:?}");
    assert!(refused.body.contains("the event was not published: ") && refused.body.contains("full"), "{refused:?}");
    assert_eq!(publish("bell", "x").json()["status"], "accepted");
    std::fs::remove_file(fill).expect("removed");
    let last = publish("door.front", "last");
    assert_eq!(last.status, 201, "{last:?}");
    kept.push(position(&last.json()).1);
    // The refused one is not among what subscribers got.
    let got: Vec<u64> = kept.iter().map(|_| position(&reader.json()).1).collect();
    assert_eq!(got, kept);
    assert!(position(&first).1 < kept[0] && kept.windows(2).all(|two| two[0] < two[1]));
}
