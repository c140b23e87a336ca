//! `pinwire watch --since`: killed, started again, cut off: nothing is missing, nothing comes twice.

mod common;
#[path = "watch_since/watcher.rs"]
mod watcher;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use common::{Daemon, kill, pinwire};
use serde_json::json;
use watcher::Watcher;

/// Publishes numbers until it is told to end; how many it were.
fn publisher(daemon: &Daemon, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (mut ws, stop) = (daemon.ws("/publish?clientName=p"), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            ws.send(&json!({"event": "load.a", "data": n.to_string()}).to_string());
            n += 1;
            if n % 8 == 0 {
                ws.sync();
            }
        }
        ws.send(&json!({"event": "load.a", "data": n.to_string()}).to_string());
        ws.sync();
        n + 1
    })
}

#[test]
fn a_watcher_that_was_killed_goes_on_where_it_was() {
    let daemon = Daemon::with_config("[history]\ncount = 100000\nbytes = 67108864\n", &[]);
    let watch = |since: &str| {
        let mut command = daemon.client("watch");
        command.args(["load.**", "--since", since]);
        Watcher::start(command)
    };
    let mut watcher = watch("now");
    let said = watcher.ready();
    assert!(said.starts_with("watching load.** --since "), "{said}");
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = publisher(&daemon, &stop);
    let mut seen = 0;
    for _ in 0..3 {
        let mut position = String::new();
        for _ in 0..100 {
            let (n, at) = watcher.next().expect("an event");
            assert_eq!(n, seen, "nothing is missing and nothing comes twice");
            (seen, position) = (seen + 1, at);
        }
        kill(watcher.child.id(), "KILL");
        assert!(!watcher.child.wait().expect("its end").success());
        watcher = watch(&position);
    }
    stop.store(true, Ordering::Relaxed);
    let written = publishing.join().expect("the publisher");
    while seen < written {
        let (n, _) = watcher.next().expect("an event");
        assert_eq!(n, seen);
        seen += 1;
    }
    kill(watcher.child.id(), "KILL");
    let _ = watcher.child.wait();
}

#[test]
fn a_watcher_that_was_killed_before_its_first_event_has_told_where_to_go_on() {
    let daemon = Daemon::start(&[]);
    let watch = |since: &str| {
        let mut command = daemon.client("watch");
        command.args(["load.**", "--count", "1", "--since", since]);
        Watcher::start(command)
    };
    let mut watcher = watch("now");
    let said = watcher.ready();
    let position = said.trim_end().strip_prefix("watching load.** --since ").unwrap_or_else(|| panic!("{said}"));
    kill(watcher.child.id(), "KILL");
    let _ = watcher.child.wait();
    let body = json!({"event": "load.a", "data": "7"}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=x", &[], &body).status, 201);
    let mut watcher = watch(position);
    assert_eq!(watcher.next().expect("an event").0, 7);
    assert!(watcher.child.wait().expect("its end").success());
}

/// Stands between a client and the daemon, and cuts the cable.
struct Cable {
    addr: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn to(daemon: SocketAddr) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let list = Arc::clone(&open);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(daemon).expect("the daemon");
                let both = [(&near, &far), (&far, &near)].map(|(from, to)| (clone(from), clone(to)));
                list.lock().expect("unpoisoned").extend([near, far]);
                for (mut from, mut to) in both {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Cable { addr, open }
    }

    fn cut(&self) {
        for stream in self.open.lock().expect("unpoisoned").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor")
}

#[test]
fn a_watcher_that_was_cut_off_comes_back_by_itself() {
    let daemon = Daemon::with_config("[history]\ncount = 100000\nbytes = 67108864\n", &[]);
    let cable = Cable::to(daemon.addr);
    let mut command = pinwire();
    command.args(["watch", "--url", &format!("ws://{}", cable.addr), "load.*", "--since", "now", "--count", "400"]);
    let mut watcher = Watcher::start(command);
    assert!(watcher.ready().starts_with("watching load.* --since "));
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = publisher(&daemon, &stop);
    for expected in 0..400 {
        let (n, _) = watcher.next().expect("an event");
        assert_eq!(n, expected, "nothing is missing and nothing comes twice");
        if expected % 150 == 100 {
            cable.cut();
        }
    }
    assert!(watcher.child.wait().expect("its end").success());
    stop.store(true, Ordering::Relaxed);
    publishing.join().expect("the publisher");
}

#[test]
fn a_position_of_another_start_is_said_to_be_lost_and_it_goes_on_from_now() {
    let daemon = Daemon::start(&[]);
    let mut command = daemon.client("watch");
    command.args(["load.*", "--count", "1", "--since", "00c0ffee00c0ffee:7"]);
    let mut watcher = Watcher::start(command);
    let said = watcher.ready();
    assert!(said.contains("does not know what happened since 00c0ffee00c0ffee:7"), "{said}");
    let body = json!({"event": "load.a", "data": "0"}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=x", &[], &body).status, 201);
    assert_eq!(watcher.next().expect("an event").0, 0);
    assert!(watcher.child.wait().expect("its end").success());
}

#[test]
fn a_watcher_that_was_stopped_goes_on() {
    let daemon = Daemon::start(&[]);
    let mut command = daemon.client("watch");
    command.args(["load.*", "--count", "1"]);
    let mut watcher = Watcher::start(command);
    assert_eq!(watcher.ready(), "watching load.*\n");
    let state = format!("/proc/{}/stat", watcher.child.id());
    for signal in ["STOP", "CONT"] {
        kill(watcher.child.id(), signal);
        let began = std::time::Instant::now();
        // That it is so is all there is to see of it.
        while std::fs::read_to_string(&state).expect("it lives").contains(") T ") != (signal == "STOP") {
            assert!(began.elapsed() < common::LIMIT, "{signal}");
        }
    }
    let body = json!({"event": "load.a", "data": "7"}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=x", &[], &body).status, 201);
    assert_eq!(watcher.next().expect("an event").0, 7);
    assert!(watcher.child.wait().expect("its end").success());
}
