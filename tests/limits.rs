//! Every limit is kept, says so, and leaves room for the next one.

mod common;
mod robust;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Answer, Daemon, LIMIT, TempDir, Ws, tcp};
use robust::{FIN, Held, PING, PONG, TEXT, close_code, frame, raw_ws, read_answer, read_frame, text, wait_until};

const GET: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A daemon that may open this many descriptors, hard limit included.
fn with_descriptors(limit: u32) -> Daemon {
    let mut command = Command::new("sh");
    let pinwire = common::pinwire();
    for (name, value) in pinwire.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" serve --listen 127.0.0.1:0 --gpio sim"));
    command.arg(pinwire.get_program());
    Daemon::launch(TempDir::new(), command)
}

/// The status of whatever answer has come to the end of the stream; `None` for an end without a word.
fn final_status(stream: &mut TcpStream) -> Option<u16> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("stuck: neither answered nor ended"),
        _ if bytes.is_empty() => None,
        _ => Some(Answer::parse(&bytes).status),
    }
}

#[test]
fn with_few_descriptors_two_hundred_connections_are_answered_or_refused_and_then_it_serves_again() {
    let daemon = with_descriptors(64);
    for round in 0..5 {
        let mut all: Vec<TcpStream> = (0..200).map(|_| tcp(daemon.addr)).collect();
        for stream in &mut all {
            // One that was refused may be closed already.
            let _ = stream.write_all(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes());
        }
        let (mut served, mut refused) = (0, 0);
        for stream in &mut all {
            match final_status(stream) {
                Some(200) => served += 1,
                Some(503) | None => refused += 1,
                Some(other) => panic!("status {other}"),
            }
        }
        assert!(served > 0, "round {round}: {refused} refused and none served");
        drop(all);
        serves_again(&daemon);
    }
}

#[test]
fn with_few_descriptors_kept_alive_connections_and_websockets_do_not_use_them_up() {
    let daemon = with_descriptors(64);
    for round in 0..5 {
        let mut all: Vec<TcpStream> = (0..200).map(|_| tcp(daemon.addr)).collect();
        let mut open = 0;
        for (n, stream) in all.iter_mut().enumerate() {
            let request = if n % 2 == 0 { GET.to_owned() } else { robust::upgrade_request(daemon.addr, "/") };
            let _ = stream.write_all(request.as_bytes());
        }
        for stream in &mut all {
            let mut first = [0; 12];
            match stream.read_exact(&mut first) {
                Ok(()) if first == *b"HTTP/1.1 200" || first == *b"HTTP/1.1 101" => open += 1,
                Ok(()) => assert_eq!(&first, b"HTTP/1.1 503", "round {round}"),
                Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "round {round}: stuck"),
            }
        }
        assert!(open > 5, "round {round}: {open} open");
        let held = Held::by(daemon.pid());
        assert!(held.descriptors <= 62, "some are kept for files: {held:?}");
        drop(all);
        serves_again(&daemon);
    }
}

/// Places are given back when their threads notice, so the first tries may still be refused.
fn serves_again(daemon: &Daemon) {
    wait_until(LIMIT, "an HTTP request is answered", || {
        let mut stream = tcp(daemon.addr);
        let _ = stream.write_all(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes());
        final_status(&mut stream) == Some(200)
    });
    wait_until(LIMIT, "a WebSocket is answered", || {
        daemon.try_ws("/", &[]).is_ok_and(|mut ws| ws.ask(r#"{"action":"READ_UPTIME"}"#)["success"] == true)
    });
}

#[test]
fn a_burst_of_kept_alive_connections_is_answered_on_each_at_once() {
    let daemon = Daemon::start(&[]);
    for _ in 0..10 {
        let mut all: Vec<TcpStream> = (0..40).map(|_| tcp(daemon.addr)).collect();
        let began = Instant::now();
        for stream in &mut all {
            stream.write_all(GET.as_bytes()).expect("sent");
        }
        for stream in &mut all {
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
            assert_eq!(read_answer(stream).0, 200);
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

/// What curl sends with `--http2`, and any client may: tiny_http would wait for the new protocol's bytes.
#[test]
fn an_offer_of_another_protocol_is_not_taken_up_and_holds_nobody() {
    let daemon = Daemon::start(&[]);
    let offers = [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "connection: upgrade\r\n",
        "Connection: keep-alive\r\nCONNECTION:Upgrade\r\nUpgrade: websocket-ish\r\n",
    ];
    let mut kept = Vec::new();
    for offer in offers.iter().cycle().take(9) {
        let mut stream = daemon.tcp();
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        for _ in 0..2 {
            stream.write_all(GET.replace("\r\n\r\n", &format!("\r\n{offer}\r\n")).as_bytes()).expect("sent");
            assert_eq!(read_answer(&mut stream).0, 200, "{offer}");
        }
        kept.push(stream);
    }
}

#[test]
fn a_head_with_bare_line_feeds_is_answered_like_any_other() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.tcp();
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    for _ in 0..2 {
        stream.write_all(GET.replace("\r\n", "\n").as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut stream).0, 200);
    }
}

#[test]
fn max_connections_are_in_and_the_next_one_is_told_so() {
    let daemon = Daemon::with_config("[front]\nmax_connections = 3\n", &[]);
    let mut inside: Vec<Ws> = (0..3).map(|_| daemon.ws("/")).collect();
    let mut fourth = daemon.tcp();
    let mut bytes = Vec::new();
    fourth.read_to_end(&mut bytes).expect("told and ended");
    let answer = Answer::parse(&bytes);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    // Those inside are not disturbed, and a place that is given back is taken again.
    for ws in &mut inside {
        assert_eq!(ws.ask(r#"{"action":"READ_UPTIME"}"#)["success"], true);
    }
    drop(inside.pop());
    wait_until(LIMIT, "the place is free again", || daemon.try_ws("/", &[]).is_ok());
}

#[test]
fn loopback_is_exempt_from_the_limit_per_address() {
    let daemon = Daemon::with_config("[front]\nmax_per_address = 2\n", &[]);
    let mut inside: Vec<Ws> = (0..8).map(|_| daemon.ws("/")).collect();
    for ws in &mut inside {
        assert_eq!(ws.ask(r#"{"action":"READ_UPTIME"}"#)["success"], true);
    }
}

/// Another address needs a network of its own, and that needs root.
#[test]
fn another_address_is_held_to_its_limit_and_others_are_not_disturbed() {
    // The loopback device carries any address, and needs no driver that a small kernel may lack.
    let script = "ip link set lo up && ip addr add 10.99.0.1/24 dev lo && ip addr add 10.99.0.2/24 dev lo";
    let try_out = Command::new("unshare").args(["-n", "sh", "-c", script]).output();
    if !try_out.is_ok_and(|output| output.status.success()) {
        common::skipped("no network namespace to be had (needs root)");
        return;
    }
    // Inside the namespace this very test runs again, as a client of a daemon that it starts.
    let own = std::env::current_exe().expect("this test");
    let inner = format!("{script} && exec \"$0\" --exact --ignored inside_the_namespace --nocapture");
    let output = common::run(Command::new("unshare").args(["-n", "sh", "-c", &inner]).arg(own));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by another_address_is_held_to_its_limit_and_others_are_not_disturbed"]
fn inside_the_namespace() {
    let config = "listen = \"10.99.0.1:0\"\n[auth]\nmode = \"none\"\n[front]\nmax_per_address = 2\n";
    let dir = TempDir::new();
    let file = dir.file("pinwire.toml", config);
    let mut command = common::pinwire();
    command.args(["serve", "--gpio", "sim", "--config"]).arg(file);
    let daemon = Daemon::launch(dir, command);
    // The client's own address is the one it connects to, unless it chooses another.
    let _inside: Vec<Ws> = (0..2).map(|_| daemon.ws("/")).collect();
    assert_eq!(final_status(&mut daemon.tcp()), Some(503));
    let mut other = from("10.99.0.2", &daemon);
    other.write_all(GET.as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut other).0, 200);
    // Places are per address and given back.
    drop(_inside);
    wait_until(LIMIT, "the place is free again", || daemon.try_ws("/", &[]).is_ok());
}

fn from(address: &str, daemon: &Daemon) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let own = std::net::SocketAddr::new(address.parse().expect("an address"), 0);
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &own).expect("our address");
    connect(&socket, &daemon.addr).expect("connects");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

#[test]
fn a_head_that_is_too_large_is_refused_with_431() {
    let daemon = Daemon::with_config("[front]\nhead_bytes = 1024\n", &[]);
    let fits = daemon.http("GET", "/health", &[("X-Filler", &"x".repeat(800))], "");
    assert_eq!(fits.status, 200);
    let mut stream = daemon.tcp();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Filler: {}", "x".repeat(4000)).as_bytes()).expect("sent");
    assert_eq!(final_status(&mut stream), Some(431));
    // The same on a connection that has been good so far.
    let mut stream = daemon.tcp();
    stream.write_all(GET.as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut stream).0, 200);
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Filler: {}", "x".repeat(4000)).as_bytes()).expect("sent");
    assert_eq!(final_status(&mut stream), Some(431));
    // Many small headers are as bad as one large.
    let mut stream = daemon.tcp();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(70)).as_bytes()).expect("sent");
    assert_eq!(final_status(&mut stream), Some(431));
}

const SHORT: &str = "[front]\nhead_deadline = \"300ms\"\nbody_deadline = \"300ms\"\nidle_deadline = \"300ms\"\n\
                     [session]\nclose_deadline = \"200ms\"\n";

#[test]
fn a_head_that_does_not_end_is_refused_with_408_and_silence_is_ended_without_a_word() {
    let daemon = Daemon::with_config(SHORT, &[]);
    let mut stream = daemon.tcp();
    stream.write_all(b"GET / HTTP/1.1\r\nHo").expect("sent");
    assert_eq!(final_status(&mut stream), Some(408));
    assert_eq!(final_status(&mut daemon.tcp()), None, "a port scanner has not asked anything");
    // On a kept-alive connection it is the same.
    let mut stream = daemon.tcp();
    stream.write_all(GET.as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut stream).0, 200);
    stream.write_all(b"GET / HTTP/1.1\r\nHo").expect("sent");
    assert_eq!(final_status(&mut stream), Some(408));
}

#[test]
fn a_body_that_does_not_end_is_refused_with_408_and_one_too_large_with_413() {
    let daemon = Daemon::with_config(SHORT, &[]);
    let head = "POST /publish?clientName=a HTTP/1.1\r\nHost: localhost\r\n";
    let mut stream = daemon.tcp();
    stream.write_all(format!("{head}Content-Length: 10\r\n\r\n{{").as_bytes()).expect("sent");
    assert_eq!(final_status(&mut stream), Some(408));
    let mut stream = daemon.tcp();
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nab").as_bytes()).expect("sent");
    assert_eq!(final_status(&mut stream), Some(408));
    let mut stream = daemon.tcp();
    stream.write_all(format!("{head}Content-Length: 65537\r\n\r\n").as_bytes()).expect("sent");
    assert_eq!(final_status(&mut stream), Some(413), "the length alone is enough");
}

#[test]
fn an_idle_kept_alive_connection_is_ended_without_a_word() {
    let daemon = Daemon::with_config(SHORT, &[]);
    let mut stream = daemon.tcp();
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut stream).0, 200);
    }
    assert_eq!(final_status(&mut stream), None);
}

#[test]
fn a_refused_client_that_goes_on_sending_is_ended_all_the_same() {
    let daemon = Daemon::with_config(SHORT, &[]);
    // The refusals of the front door, and a WebSocket that keeps sending behind its own Close.
    let too_large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(9000));
    let bad = "NOT HTTP AT ALL\r\n\r\n".to_owned();
    for first in [too_large, bad] {
        let mut stream = daemon.tcp();
        stream.write_all(first.as_bytes()).expect("sent");
        flood(stream, &first[..9]);
    }
    let mut stream = raw_ws(daemon.addr, "/");
    stream.write_all(&robust::close(1000, "")).expect("sent");
    flood(stream, "a WebSocket");
}

/// Writes without end and without reading; the daemon must end it.
fn flood(mut stream: TcpStream, who: &str) {
    let began = Instant::now();
    while stream.write_all(&[b'x'; 256 * 1024]).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "{who} sends for ever");
    }
}

#[test]
fn a_last_request_followed_by_the_end_of_the_stream_is_answered() {
    let daemon = Daemon::start(&[]);
    for _ in 0..20 {
        let mut stream = daemon.tcp();
        stream.write_all(GET.as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut stream).0, 200);
        // In one segment with the end, as `nc -N` and simple HTTP clients do.
        stream.write_all(GET.as_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        assert_eq!(final_status(&mut stream), Some(200));
    }
}

#[test]
fn pipelined_requests_are_all_answered_also_when_the_stream_ends_behind_them() {
    let daemon = Daemon::start(&[]);
    for _ in 0..20 {
        let mut stream = daemon.tcp();
        stream.write_all(GET.repeat(10).as_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        for n in 0..10 {
            let (status, body) = read_answer(&mut stream);
            assert_eq!(status, 200, "answer {n}");
            assert!(body.contains("healthy"), "answer {n}: {body}");
        }
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    }
}

#[test]
fn a_message_that_does_not_end_is_closed_with_1008() {
    // Pings are far away: it is the message's own deadline that counts, from its first byte on.
    let daemon = Daemon::with_config("[session]\nmessage_deadline = \"400ms\"\n", &["--debug-echo"]);
    let whole = text(&"x".repeat(2000));
    // Its beginning, and then nothing.
    let mut stream = raw_ws(daemon.addr, "/echo");
    stream.write_all(&whole[..100]).expect("sent");
    assert_eq!(close_code(&mut stream), Some(1008));
    // Byte by byte: life, but no message.
    let mut stream = raw_ws(daemon.addr, "/echo");
    let mut writer = stream.try_clone().expect("a second handle");
    let dripping = std::thread::spawn(move || drip(&mut writer, &whole));
    assert_eq!(close_code(&mut stream), Some(1008));
    drop(stream);
    dripping.join().expect("ended");
}

/// One byte each 20 ms, until the peer wants no more.
fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    let mut rest = bytes.iter();
    let (_never, stop) = std::sync::mpsc::channel::<()>();
    let mut open = true;
    while open {
        let _ = stop.recv_timeout(Duration::from_millis(20));
        open = rest.next().is_some_and(|byte| stream.write_all(&[*byte]).is_ok());
    }
}

#[test]
fn a_client_that_answers_no_ping_is_closed_and_one_that_does_stays() {
    let short = "[session]\nping_interval = \"300ms\"\npong_deadline = \"300ms\"\n";
    let daemon = Daemon::with_config(short, &["--debug-echo"]);
    let mut silent = raw_ws(daemon.addr, "/echo");
    let mut answering = raw_ws(daemon.addr, "/echo");
    let began = Instant::now();
    let alive = std::thread::spawn(move || {
        let mut pings = 0;
        while pings < 5 {
            let (first, payload) = read_frame(&mut answering).expect("pings, and no end");
            assert_eq!(first, FIN | PING);
            answering.write_all(&frame(FIN | PONG, &payload)).expect("pong");
            pings += 1;
        }
        answering.write_all(&text("still here")).expect("sent");
        loop {
            let (first, payload) = read_frame(&mut answering).expect("an answer");
            if first == FIN | TEXT {
                return assert_eq!(payload, b"still here");
            }
        }
    });
    assert_eq!(close_code(&mut silent), Some(1008));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    alive.join().expect("stays");
}
