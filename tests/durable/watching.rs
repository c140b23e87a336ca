//! `pinwire watch --since` on a durable topic, while the daemon is killed and started again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::common::{LIMIT, pinwire};
use crate::watcher::Watcher;
use crate::{CONFIG, Place, message, next, position, publisher};

/// The daemon's kills.
const KILLS: usize = 3;

/// Numbers acknowledged from one kill to the next, at least.
const ENOUGH: usize = 60;

/// What was published, on whichever daemon there was.
#[derive(Default)]
struct Published {
    acked: Mutex<Vec<u64>>,
    end: AtomicBool,
}

/// The next event's; there is one epoch over all starts.
fn number(watcher: &mut Watcher, epoch: &str) -> u64 {
    let (n, at) = watcher.next().expect("an event");
    assert!(at.starts_with(epoch), "{at}");
    n
}

#[test]
fn a_watcher_goes_on_by_itself_over_kills_of_the_daemon() {
    let place = Place::new(CONFIG);
    let mut daemon = place.start();
    let address = daemon.addr.to_string();
    let mut writer = publisher(&daemon);
    let begun = position(&writer.ask(&message("door.a", "0", Value::Null)));
    let mut command = pinwire();
    command.args(["watch", "--url", &format!("ws://{address}"), "door.**"]);
    command.args(["--since", &format!("{}:{}", begun.0, begun.1)]);
    let mut watcher = Watcher::start(command);
    assert_eq!(watcher.ready(), format!("watching door.** --since {}:{}\n", begun.0, begun.1));
    // What it says of the daemon's ends, at the end of the test.
    let said = watcher.said();

    let published = Arc::new(Published::default());
    let (mut first, mut seen) = (1, Vec::new());
    for kill in 0..=KILLS {
        let (own, from) = (Arc::clone(&published), first);
        // Several under way at a time: of these nobody knows whether they are kept.
        let writing = std::thread::spawn(move || {
            let mut sent = from;
            while !own.end.load(Ordering::Relaxed) {
                let text = message(&format!("door.{}", sent % 3), &sent.to_string(), json!(sent));
                if writer.0.send(Message::text(text)).is_err() {
                    break;
                }
                sent += 1;
                if sent - from >= 8 {
                    let Some(answer) = next(&mut writer) else { break };
                    assert_eq!(answer["status"], "durable", "{answer}");
                    own.acked.lock().expect("unpoisoned").push(answer["id"].as_u64().expect("a number"));
                }
            }
            sent
        });
        let before = std::time::Instant::now();
        while published.acked.lock().expect("unpoisoned").len() < (kill + 1) * ENOUGH {
            assert!(before.elapsed() < LIMIT, "{}", daemon.log());
            std::thread::yield_now();
        }
        // It is connected again.
        while seen.last().is_none_or(|last| *last < first) {
            seen.push(number(&mut watcher, &begun.0));
        }
        if kill == KILLS {
            published.end.store(true, Ordering::Relaxed);
            first = writing.join().expect("the publisher");
            break;
        }
        daemon.signal("KILL");
        daemon.wait();
        first = writing.join().expect("the publisher");
        daemon = place.start_at(&address);
        writer = publisher(&daemon);
    }
    // The last of all: everything before it is known by then.
    let mut last = publisher(&daemon);
    assert_eq!(last.ask(&message("door.end", &first.to_string(), Value::Null))["status"], "durable");
    while seen.last() != Some(&first) {
        seen.push(number(&mut watcher, &begun.0));
    }
    assert!(seen.windows(2).all(|two| two[0] < two[1]), "in order, none twice: {seen:?}");
    let acked = published.acked.lock().expect("unpoisoned");
    let missing: Vec<_> = acked.iter().filter(|n| seen.binary_search(n).is_err()).collect();
    assert_eq!(missing, Vec::<&u64>::new(), "acknowledged, and not seen");
    crate::common::kill(watcher.child.id(), "KILL");
    let _ = watcher.child.wait();
    let said = said.join().expect("text");
    assert!(said.matches("; trying again").count() >= KILLS, "{said}");
    assert!(!said.contains("does not know"), "{said}");
}
