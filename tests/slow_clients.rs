//! Slow and half-open clients disturb nobody, and nothing of them is left.
//!
//! Some seconds with short limits; with `PINWIRE_FULL=1` thirty seconds with the default ones.

mod common;
mod robust;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Daemon, tcp};
use robust::{Held, has_ended, repeat};

/// How many of each kind of slow client there are.
const EACH: usize = 100;

/// How long an honest client may have to wait for one answer; a fair share of two busy cores, in a debug build.
const HONEST: Duration = Duration::from_secs(2);

const SHORT: &str = "[front]\nhead_deadline = \"1s\"\nbody_deadline = \"1s\"\nidle_deadline = \"1s\"\n\
                     [session]\nmessage_deadline = \"1s\"\nping_interval = \"1s\"\npong_deadline = \"1s\"\n";

const HEAD: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Filler: ";

/// What a slow client does.
#[derive(Clone, Copy)]
enum Kind {
    /// Sends a head byte by byte, without end.
    Head,
    /// Announces a body and sends none of it.
    Body,
    /// Begins a frame and does not go on.
    Frame,
}

struct Slow {
    kind: Kind,
    stream: TcpStream,
    sent: usize,
}

impl Slow {
    fn open(kind: Kind, addr: SocketAddr) -> Slow {
        let mut stream = tcp(addr);
        match kind {
            Kind::Head => {}
            Kind::Body => {
                let head = "POST /publish?clientName=slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
            }
            Kind::Frame => {
                let _ = stream.write_all(robust::upgrade_request(addr, "/").as_bytes());
                let _ = stream.write_all(&robust::text(&"x".repeat(1000))[..50]);
            }
        }
        Slow { kind, stream, sent: 0 }
    }

    /// One more byte of a head; whoever was cut comes again.
    fn go_on(&mut self, addr: SocketAddr) -> bool {
        if let Kind::Head = self.kind {
            let byte = HEAD.as_bytes().get(self.sent).copied().unwrap_or(b'x');
            self.sent += 1;
            let _ = self.stream.write_all(&[byte]);
        }
        let cut = has_ended(&mut self.stream);
        if cut {
            *self = Slow::open(self.kind, addr);
        }
        cut
    }
}

/// Keeps all of them busy until told to stop; returns how many were cut meanwhile.
fn slow_ones(addr: SocketAddr, ready: impl FnOnce(), stop: &Receiver<()>) -> usize {
    let kinds = [Kind::Head, Kind::Body, Kind::Frame];
    let mut all: Vec<Slow> = (0..EACH).flat_map(|_| kinds.map(|kind| Slow::open(kind, addr))).collect();
    ready();
    let mut cut = 0;
    repeat(Duration::from_millis(50), stop, || {
        cut += all.iter_mut().filter_map(|slow| slow.go_on(addr).then_some(())).count()
    });
    cut
}

/// Does one honest thing again and again; returns how often, and how long the slowest took.
fn honest(mut once: impl FnMut() + Send + 'static, until: Instant) -> JoinHandle<(usize, Duration)> {
    std::thread::spawn(move || {
        let (mut count, mut slowest) = (0, Duration::ZERO);
        while Instant::now() < until {
            let began = Instant::now();
            once();
            slowest = slowest.max(began.elapsed());
            count += 1;
        }
        (count, slowest)
    })
}

#[test]
fn three_hundred_slow_clients_disturb_nobody_and_leave_nothing_behind() {
    let (config, lasts) = if robust::full() { ("", 30) } else { (SHORT, 4) };
    let daemon = Daemon::with_config(config, &[]);
    daemon.ws("/").ask(r#"{"action":"READ_MEMORY"}"#);
    let before = Held::by_idle(&daemon);

    let addr = daemon.addr;
    let (all_in, wait_for_all) = channel();
    let (stop, stopped) = channel();
    let slow = std::thread::spawn(move || slow_ones(addr, || all_in.send(()).expect("awaited"), &stopped));
    wait_for_all.recv_timeout(common::LIMIT).expect("all slow clients are in");
    let until = Instant::now() + Duration::from_secs(lasts);
    let mut ws = daemon.ws("/");
    let ask = |ws: &mut common::Ws| assert_eq!(ws.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
    let honest = [
        ("round trips", honest(move || ask(&mut ws), until)),
        ("new WebSockets", honest(move || ask(&mut common::Ws::connect(addr, "/", &[]).expect("connects")), until)),
        ("HTTP requests", honest(move || http(addr), until)),
    ];
    let honest = honest.map(|(what, thread)| (what, thread.join().expect("served all the time")));
    let during = Held::by(daemon.pid());
    stop.send(()).expect("still running");
    let cut = slow.join().expect("the slow ones");
    eprintln!("held {before:?}, then {during:?}; {cut} slow ones were cut; {honest:?}");
    for (what, (count, slowest)) in honest {
        assert!(slowest <= HONEST, "{what}: one of {count} took {slowest:?}");
        assert!(count >= 10, "{what}: only {count}");
    }
    assert!(during.threads >= EACH, "they were really there: {during:?}");
    assert!(cut >= EACH, "their limits were kept: {cut} were cut");
    before.wait_for_return(daemon.pid());
}

fn http(addr: SocketAddr) {
    let mut stream = tcp(addr);
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    assert_eq!(robust::read_answer(&mut stream).0, 200);
}

#[test]
fn half_open_connections_that_never_say_anything_are_ended() {
    let daemon = Daemon::with_config(SHORT, &[]);
    let before = Held::by_idle(&daemon);
    let mut silent: Vec<TcpStream> = (0..EACH).map(|_| daemon.tcp()).collect();
    for stream in &mut silent {
        assert_eq!(std::io::Read::read(stream, &mut [0]).expect("ended without a word"), 0);
    }
    // They still hold their ends; the daemon holds nothing.
    before.wait_for_return(daemon.pid());
}
