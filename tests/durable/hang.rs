//! A disk that hangs: the daemon's `fsync` does not return, for longer than anybody is let wait. strace holds it where the
//! kernel would.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{self, Daemon, LIMIT};
use crate::{CONFIG, Event, Place, disk, event, message, position, post, publisher, subscribe};

/// While it is there no `fsync` of the daemon comes to its end.
struct Hang {
    strace: Child,
    /// Kept open: it says more than its first line.
    _said: BufReader<ChildStderr>,
    trace: PathBuf,
}

impl Hang {
    /// `None` where another process may not be traced.
    fn begin(daemon: &Daemon) -> Option<Hang> {
        let trace = daemon.dir.path().join("hang");
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=600000000", "-o"]);
        command.arg(&trace).args(["-p", &daemon.pid().to_string()]).stderr(Stdio::piped());
        let Ok(mut strace) = command.spawn() else {
            common::skipped("strace is not installed");
            return None;
        };
        let (mut said, mut lines) = (String::new(), BufReader::new(strace.stderr.take().expect("piped")));
        let _ = lines.read_line(&mut said);
        let hang = Hang { strace, _said: lines, trace };
        if !said.contains("attached") {
            common::skipped(&format!("no process can be traced here: {said}"));
            return None;
        }
        Some(hang)
    }

    /// Waits until the daemon has asked the disk for something.
    fn until_asked(&self) {
        let begun = Instant::now();
        while std::fs::metadata(&self.trace).map_or(0, |trace| trace.len()) == 0 {
            assert!(begun.elapsed() < LIMIT, "nothing is written");
            std::thread::yield_now();
        }
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        // The kernel lets go of whom a tracer that is gone has held.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// What the README says: the disk has 5 s to come to it, and one more where it has begun.
fn assert_in_time(begun: Instant) {
    let after = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(10)).contains(&after), "told after {after:?}");
}

/// Everything of `door.**` since `begun` is this, and it is so after `kill -9` as well.
fn assert_kept(place: &Place, mut daemon: Daemon, begun: &(String, u64), kept: &[Event]) {
    let check = |daemon: &Daemon| {
        let (mut again, answer) = subscribe(daemon, "door.**", Some(begun));
        assert_eq!((&answer["recovered"], &answer["missed"]), (&json!(true), &json!(kept.len())), "{answer}");
        assert_eq!(Vec::from_iter(kept.iter().map(|_| event(&again.json()))), kept);
    };
    check(&daemon);
    daemon.signal("KILL");
    daemon.wait();
    check(&place.start());
}

#[test]
fn over_http_it_is_told_with_504_and_what_it_had_begun_with_comes_once_it_goes_on() {
    let place = Place::new(CONFIG);
    let daemon = place.start();
    let (mut reader, begun) = subscribe(&daemon, "**", None);
    let mut writer = publisher(&daemon);
    let Some(hang) = Hang::begin(&daemon) else { return };
    std::thread::scope(|scope| {
        let asked = Instant::now();
        let hung = scope.spawn(|| (post(&daemon, "/publish?ack=1", "door.front", "hung"), Instant::now()));
        hang.until_asked();
        // Others go on, and a later one waits its time.
        writer.send(&message("door.front", "later", json!(1)));
        writer.send(&message("bell", "1", json!(2)));
        let answer = writer.json();
        assert_eq!((&answer["id"], &answer["status"]), (&json!(2), &json!("accepted")), "{answer}");
        assert_eq!(event(&reader.json()).2, "1");
        let refused = writer.json();
        assert_eq!((&refused["action"], &refused["id"]), (&json!("error"), &json!(1)), "{refused}");
        let why = refused["error"].as_str().unwrap_or_default();
        assert!(why.contains("the disk has not come to it within 5 s"), "{refused}");
        let (answer, _) = hung.join().expect("an answer");
        assert_in_time(asked);
        assert_eq!(answer.status, 504, "{answer:?}");
        assert!(answer.body.contains("it may still be, and is delivered then"), "{answer:?}");
    });
    // It still hangs. One that comes now waits; `bell` says that the hub has it.
    writer.send(&message("door.front", "last", json!(3)));
    assert_eq!(writer.ask(&message("bell", "2", json!(4)))["status"], "accepted");
    assert_eq!(event(&reader.json()).2, "2");
    drop(hang);
    let answer = writer.json();
    assert_eq!((&answer["id"], &answer["status"]), (&json!(3), &json!("durable")), "{answer}");
    let kept = [event(&reader.json()), event(&reader.json())];
    assert_eq!(kept[0].2, "hung");
    assert_eq!(kept[1], (position(&answer).1, "door.front".into(), "last".into()));
    assert!(kept[0].0 < kept[1].0);
    // Each once, and nothing of what was refused.
    assert_eq!(writer.ask(&message("bell", "3", Value::Null))["status"], "accepted");
    assert_eq!(event(&reader.json()).2, "3");
    assert_kept(&place, daemon, &position(&begun), &kept);
}

/// Publishes, and waits for the answer.
type Publish = fn(&Daemon) -> Value;

#[test]
fn on_sockets_it_is_told_in_the_words_of_each() {
    let both: [(&str, Publish); 2] = [
        ("PiCloud", |daemon| publisher(daemon).ask(&message("door.front", "hung", json!(1)))),
        ("Endrpi", |daemon| {
            let mut socket = daemon.try_ws("/", &[("X-API-Key", disk::KEY)]).expect("a socket");
            let params = json!({"topic": "door.front", "data": "hung", "ack": true});
            socket.ask(&json!({"action": "PUBLISH", "params": params}).to_string())
        }),
    ];
    std::thread::scope(|scope| {
        for (name, publish) in both {
            scope.spawn(move || {
                let place = Place::new(CONFIG);
                let daemon = place.start();
                let (mut reader, begun) = subscribe(&daemon, "door.**", None);
                let Some(hang) = Hang::begin(&daemon) else { return };
                let asked = Instant::now();
                let told = publish(&daemon);
                assert_in_time(asked);
                assert!(told.to_string().contains("it may still be, and is delivered then"), "{name}: {told}");
                assert!(!told.to_string().contains("durable"), "{name}: {told}");
                drop(hang);
                let kept = event(&reader.json());
                assert_eq!((kept.1.as_str(), kept.2.as_str()), ("door.front", "hung"), "{name}");
                assert_kept(&place, daemon, &position(&begun), &[kept]);
            });
        }
    });
}
