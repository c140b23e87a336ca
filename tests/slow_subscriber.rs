//! Who does not read is cut within bounds, or told what it missed, and everybody else gets every event, in order, at full speed.

mod common;
mod robust;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Daemon, LIMIT, Ws};
use robust::{CLOSE, FIN, Held, TEXT, closed, read_frame, rss_kib, small_tcp, text, upgraded, wait_until};
use serde_json::Value;

const SUBSCRIBE: &str = r#"{"action":"subscribe","event":"load"}"#;
const ENDRPI_SUBSCRIBE: &str = r#"{"action":"SUBSCRIBE","params":{"topics":["load"]}}"#;

/// How long the daemon may take to bring one event to those who read.
const HONEST: Duration = Duration::from_secs(2);

/// The three kinds of subscribers, and how each asks.
const KINDS: [(&str, &str); 3] =
    [("/subscribe?clientName=stalled", SUBSCRIBE), ("/ws", r#"{"type":"ping"}"#), ("/", ENDRPI_SUBSCRIBE)];

/// A subscriber that never reads past its handshake, with a small window of its own.
fn stalled(daemon: &Daemon, path: &str, ask: &str) -> TcpStream {
    let mut stream = upgraded(small_tcp(daemon.addr), daemon.addr, path);
    stream.write_all(&text(ask)).expect("sent");
    stream
}

fn publish(ws: &mut Ws, data: &str) {
    ws.send(&serde_json::json!({"event": "load", "data": data}).to_string());
}

/// Everything published is numbered and padded, so that few events fill a buffer.
fn numbered(n: usize) -> String {
    format!("{n}:{}", "x".repeat(500))
}

fn number(data: &str) -> usize {
    data.split(':').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("not numbered: {data}"))
}

/// Reads `count` events in a thread, each of which must be the next one; says so after each.
fn honest(mut ws: Ws, count: usize, number: fn(&Value, usize) -> Option<usize>) -> (JoinHandle<()>, Receiver<usize>) {
    let (seen, watch): (Sender<usize>, _) = channel();
    let reader = std::thread::spawn(move || {
        for expected in 0..count {
            let n = loop {
                if let Some(n) = number(&ws.json(), expected) {
                    break n;
                }
            };
            assert_eq!(n, expected, "lost or out of order");
            let _ = seen.send(n);
        }
    });
    (reader, watch)
}

fn picloud_number(event: &Value, _: usize) -> Option<usize> {
    event["data"].as_str().map(number)
}

fn endrpi_number(message: &Value, _: usize) -> Option<usize> {
    (message["action"] == "EVENT").then(|| number(message["data"]["data"].as_str().expect("the published text")))
}

/// Levels alternate, beginning with high; a wrong one shows that an event is missing.
fn level_number(event: &Value, expected: usize) -> Option<usize> {
    (event["type"] == "gpio.state.changed").then(|| {
        let is_high = event["data"]["state"].as_str().is_some_and(|state| state.eq_ignore_ascii_case("high"));
        assert_eq!(is_high, expected.is_multiple_of(2), "lost or out of order: {event}");
        expected
    })
}

#[test]
fn subscribers_that_never_read_are_cut_with_4008_and_the_others_lose_nothing() {
    const EVENTS: usize = 3000;
    // Time enough to look at the cut ones before their sockets are ended.
    let daemon = Daemon::with_config(
        "[session]\nclose_deadline = \"15s\"\nsend_buffer_bytes = 16384\nslow_events = \"cut\"\n",
        &[],
    );
    let mut stalled = KINDS.map(|(path, ask)| stalled(&daemon, path, ask));

    let mut picloud = daemon.ws("/subscribe?clientName=honest");
    picloud.send(SUBSCRIBE);
    picloud.sync();
    let mut endrpi = daemon.ws("/");
    assert_eq!(endrpi.ask(ENDRPI_SUBSCRIBE)["success"], true);
    let mut events = daemon.ws("/ws");
    events.until(|event| event["type"] == "node.status.changed");
    let readers = [
        honest(picloud, EVENTS, picloud_number),
        honest(endrpi, EVENTS, endrpi_number),
        honest(events, EVENTS, level_number),
    ];

    let mut publisher = daemon.ws("/publish?clientName=publisher");
    let mut switch = daemon.ws("/");
    let mut slowest = Duration::ZERO;
    for n in 0..EVENTS {
        let began = Instant::now();
        publish(&mut publisher, &numbered(n));
        let state = (n + 1) % 2;
        let update = serde_json::json!({"action": "UPDATE_PIN_CONFIGURATIONS",
            "params": {"pins": {"GPIO17": {"io": "OUTPUT", "state": state}}}});
        let answer = switch.ask(&update.to_string());
        assert_eq!(answer["success"], true, "{answer}");
        // Each event is with every honest reader before the next: the stalled ones delay nobody.
        for (_, seen) in &readers {
            assert_eq!(seen.recv_timeout(LIMIT), Ok(n));
        }
        slowest = slowest.max(began.elapsed());
    }
    for (reader, _) in readers {
        reader.join().expect("lost nothing");
    }
    assert!(slowest < HONEST, "one event took {slowest:?}");

    // All three were cut; each that reads again finds whole frames, a Close that says why, and the end.
    wait_until(LIMIT, "three are cut", || daemon.log().matches("reads too slowly").count() == 3);
    for (stream, (path, _)) in stalled.iter_mut().zip(KINDS) {
        assert_eq!(closed(stream), Some(4008), "{path}");
    }
}

#[test]
fn who_does_not_read_for_a_while_is_told_what_it_missed_once_it_reads_and_goes_on() {
    const EVENTS: usize = 2000;
    let daemon = Daemon::with_config("[session]\nsend_buffer_bytes = 16384\nbacklog_bytes = 65536\n", &[]);
    let [mut endrpi, mut events] = [KINDS[2], KINDS[1]].map(|(path, ask)| stalled(&daemon, path, ask));
    let mut honest = daemon.ws("/");
    assert_eq!(honest.ask(ENDRPI_SUBSCRIBE)["success"], true);
    let mut publisher = daemon.ws("/publish?clientName=publisher");
    let mut switch = daemon.ws("/");
    let set = |switch: &mut Ws, n: usize| {
        let update = serde_json::json!({"action": "UPDATE_PIN_CONFIGURATIONS",
            "params": {"pins": {"GPIO17": {"io": "OUTPUT", "state": (n + 1) % 2}}}});
        assert_eq!(switch.ask(&update.to_string())["success"], true);
    };
    for n in 0..EVENTS {
        publish(&mut publisher, &numbered(n));
        set(&mut switch, n);
        let seen = honest.until(|message| message["action"] == "EVENT");
        assert_eq!(endrpi_number(&seen, n), Some(n));
    }
    // Nothing more is published: that there is room again is enough.
    let frame = |stream: &mut TcpStream| -> Value {
        let (kind, payload) = read_frame(stream).expect("it is not cut");
        assert_eq!(kind, FIN | TEXT);
        serde_json::from_slice(&payload).expect("JSON")
    };
    let count = |data: &Value| {
        let numbers = ["count", "first", "last"].map(|name| data[name].as_u64().expect("a number"));
        assert!(numbers[0] > 0 && numbers[1] <= numbers[2], "{data}");
        assert_eq!(data["epoch"].as_str().map(str::len), Some(16), "{data}");
        numbers[0] as usize
    };
    let mut expected = 0;
    while expected < EVENTS {
        let message = frame(&mut endrpi);
        if message["action"] == "LAGGED" {
            expected += count(&message["data"]);
        } else if message["action"] == "EVENT" {
            assert_eq!(endrpi_number(&message, expected), Some(expected), "lost without a word");
            expected += 1;
        }
    }
    let mut seen = 0;
    while seen < EVENTS {
        let event = frame(&mut events);
        match event["type"].as_str() {
            Some("lagged") => seen += count(&event["data"]),
            Some("gpio.state.changed") => seen += 1,
            _ => {}
        }
    }
    assert_eq!((expected, seen), (EVENTS, EVENTS));
    // And they are subscribed as before.
    publish(&mut publisher, &numbered(EVENTS));
    set(&mut switch, EVENTS);
    assert_eq!(endrpi_number(&frame(&mut endrpi), EVENTS), Some(EVENTS));
    assert_eq!(frame(&mut events)["type"], "gpio.state.changed");
}

#[test]
fn stalled_subscribers_that_never_come_back_are_gone_after_the_close_deadline() {
    let config = "[session]\nclose_deadline = \"300ms\"\nsend_buffer_bytes = 16384\nbacklog_bytes = 65536\nslow_events = \"cut\"\n";
    let daemon = Daemon::with_config(config, &[]);
    let mut publisher = daemon.ws("/publish?clientName=publisher");
    publisher.sync();
    let before = Held::by_idle(&daemon);
    let stalled: Vec<_> = (0..10).map(|_| stalled(&daemon, KINDS[0].0, SUBSCRIBE)).collect();
    for n in 0..1000 {
        publish(&mut publisher, &numbered(n));
    }
    publisher.sync();
    before.wait_for_return(daemon.pid());
    drop(stalled);
}

#[test]
fn memory_for_stalled_subscribers_stays_within_the_budget_and_each_is_cut_in_order() {
    const BUDGET: usize = 4 * 1024 * 1024;
    /// Threads, buffers in use, what the allocator keeps.
    const SLACK_KIB: usize = 6 * 1024;
    let config = format!(
        "[session]\nclose_deadline = \"15s\"\nsend_buffer_bytes = 16384\ntotal_backlog_bytes = {BUDGET}\n\
         backlog_bytes = 262144\n"
    );
    let daemon = Daemon::with_config(&config, &[]);
    let mut publisher = daemon.ws("/publish?clientName=publisher");
    let mut reader = daemon.ws("/subscribe?clientName=honest");
    reader.send(SUBSCRIBE);
    reader.sync();
    let mut stalled: Vec<_> = (0..40).map(|_| stalled(&daemon, KINDS[0].0, SUBSCRIBE)).collect();
    publish(&mut publisher, &numbered(0));
    assert_eq!(number(reader.json()["data"].as_str().expect("data")), 0);
    let before = rss_kib(daemon.pid());
    let mut most = before;
    for n in 1..2000 {
        publish(&mut publisher, &numbered(n));
        assert_eq!(number(reader.json()["data"].as_str().expect("data")), n, "lost or out of order");
        if n % 50 == 0 {
            most = most.max(rss_kib(daemon.pid()));
        }
    }
    let grown = most - before;
    eprintln!("{before} KiB before, {most} KiB at most");
    assert!(grown <= BUDGET / 1024 + SLACK_KIB, "grown by {grown} KiB");
    assert!(grown >= 1024, "they were really stalled: grown by {grown} KiB");
    for (n, stream) in stalled.iter_mut().enumerate() {
        assert_eq!(closed(stream), Some(4008), "stalled subscriber {n}");
    }
}

#[test]
fn eight_publishers_reach_fifty_subscribers_each_in_its_own_order() {
    const PUBLISHERS: usize = 8;
    const SUBSCRIBERS: usize = 50;
    const EACH: usize = 100;
    let daemon = Daemon::start(&[]);
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|n| {
            let mut ws = daemon.ws(&format!("/subscribe?clientName=s{n}"));
            ws.send(SUBSCRIBE);
            ws.sync();
            std::thread::spawn(move || {
                let mut next = [0; PUBLISHERS];
                for _ in 0..PUBLISHERS * EACH {
                    let event = ws.json();
                    let (publisher, n) = event["data"].as_str().and_then(|d| d.split_once('/')).expect("p/n");
                    let next = &mut next[publisher.parse::<usize>().expect("a publisher")];
                    assert_eq!(n.parse(), Ok(*next), "publisher {publisher}");
                    *next += 1;
                }
            })
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|p| {
            let mut ws = daemon.ws(&format!("/publish?clientName=p{p}"));
            std::thread::spawn(move || {
                for n in 0..EACH {
                    publish(&mut ws, &format!("{p}/{n}"));
                }
                ws.sync();
            })
        })
        .collect();
    for thread in publishers.into_iter().chain(subscribers) {
        thread.join().expect("every event, in order");
    }
}

#[test]
fn who_never_reads_its_answers_is_made_to_wait_and_then_cut_without_disturbing_others() {
    let config = "[session]\nmessage_deadline = \"1s\"\nclose_deadline = \"15s\"\nsend_buffer_bytes = 16384\n";
    let daemon = Daemon::with_config(config, &[]);
    let greedy = upgraded(small_tcp(daemon.addr), daemon.addr, "/");
    let mut writer = greedy.try_clone().expect("a second handle");
    writer.set_write_timeout(Some(Duration::from_millis(200))).expect("a limit");
    let request = text(r#"{"action":"READ_MEMORY"}"#).repeat(100);
    // It is made to wait: at some point nothing more is taken of it.
    let mut rounds = 0;
    while writer.write_all(&request).is_ok() {
        rounds += 1;
        assert!(rounds < 2000, "its requests are read without end");
    }
    let mut other = daemon.ws("/");
    let mut slowest = Duration::ZERO;
    while !daemon.log().contains("does not read its answers") {
        let began = Instant::now();
        assert_eq!(other.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
        slowest = slowest.max(began.elapsed());
        assert!(slowest < HONEST, "one answer took {slowest:?}");
    }
    let mut greedy = greedy;
    assert_eq!(closed(&mut greedy), Some(4008));
}

#[test]
fn who_reads_its_answers_late_but_in_time_gets_all_of_them() {
    let config = "[session]\nsend_buffer_bytes = 16384\nbacklog_bytes = 32768\n";
    let daemon = Daemon::with_config(config, &["--debug-echo"]);
    let stream = upgraded(small_tcp(daemon.addr), daemon.addr, "/echo");
    let mut writer = stream.try_clone().expect("a second handle");
    let (sent, all_sent) = channel();
    let sender = std::thread::spawn(move || {
        for n in 0..500_u32 {
            writer.write_all(&text(&format!("{n}:{}", "y".repeat(2000)))).expect("taken in time");
        }
        let _ = sent.send(());
    });
    // Nothing is read until the daemon has stopped taking more.
    assert!(all_sent.recv_timeout(Duration::from_secs(1)).is_err(), "a megabyte fits nowhere");
    let mut stream = BufReader::new(stream);
    for n in 0..500 {
        let (first, payload) = read_frame(&mut stream).expect("an answer");
        assert_eq!(first, FIN | TEXT);
        assert_eq!(number(std::str::from_utf8(&payload).expect("text")), n);
    }
    sender.join().expect("all sent");
}

#[test]
fn an_http_client_that_never_reads_its_answers_is_ended_without_a_websocket_frame() {
    let config = "[front]\nresponse_deadline = \"1s\"\nidle_deadline = \"1s\"\nhead_deadline = \"1s\"\n\
                  [session]\nmessage_deadline = \"1s\"\nsend_buffer_bytes = 16384\nbacklog_bytes = 16384\n\
                  close_deadline = \"15s\"\n";
    let daemon = Daemon::with_config(config, &[]);
    let before = Held::by_idle(&daemon);
    let mut greedy = small_tcp(daemon.addr);
    greedy.set_write_timeout(Some(Duration::from_millis(200))).expect("a limit");
    let requests = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    while greedy.write_all(requests.as_bytes()).is_ok() {}
    let began = Instant::now();
    assert_eq!(daemon.get("/health").status, 200);
    assert!(began.elapsed() < HONEST);
    wait_until(LIMIT, "it is cut", || daemon.log().contains("does not read its answers"));
    let mut bytes = Vec::new();
    let _ = greedy.read_to_end(&mut bytes);
    before.wait_for_return(daemon.pid());
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(!text.contains("slow:") && !bytes.contains(&(FIN | CLOSE)), "{}", &text[text.len().saturating_sub(300)..]);
}
