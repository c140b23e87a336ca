//! SIGTERM and SIGINT: everybody is told, what is under way is finished, and it is over within five seconds.

mod common;
mod robust;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use common::{Answer, Daemon, LIMIT, Ws};
use robust::{close_code, raw_ws, read_answer, text, tls, upgraded, wait_until};
use rustls::pki_types::CertificateDer;
use tungstenite::{Message, WebSocket};

/// How many publishers, subscribers and HTTP clients there are, each.
const EACH: usize = 20;

/// The whole budget.
const BUDGET: Duration = Duration::from_secs(5);

/// A subscriber that the machine gives no time for a moment is none that reads too slowly: with the usual 256 KiB it
/// would be cut (4008) before the signal comes.
const PATIENT: &str = "[session]\nbacklog_bytes = 16777216\ntotal_backlog_bytes = 536870912\n";

const SUBSCRIBE: &str = r#"{"action":"subscribe","event":"load"}"#;

/// What a client saw in the end: the close code, 1006 for an end without one.
type Client = JoinHandle<u16>;

/// Reads until `done` says so; the code of a Close that comes first.
fn read_until<S: Read + Write>(ws: &mut WebSocket<S>, mut done: impl FnMut(&Message) -> bool) -> Result<(), u16> {
    loop {
        match ws.read() {
            Ok(Message::Close(frame)) => {
                // Our answer to it goes out with the next read, which sees the end of the connection.
                let _ = ws.read();
                return Err(frame.map_or(1005, |frame| frame.code.into()));
            }
            Ok(message) if done(&message) => return Ok(()),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => panic!("stuck"),
            Err(_) => return Err(1006),
        }
    }
}

/// Publishes and waits for a pong, again and again, until it is closed.
fn publisher<S: Read + Write + Send + 'static>(mut ws: WebSocket<S>) -> Client {
    spawn(move || {
        loop {
            // A failing write is no end: what was said to us before is still to be read.
            let sent = ws.send(Message::text(r#"{"event":"load","data":"x"}"#));
            let sent = sent.and_then(|()| ws.send(Message::Ping("p".into())));
            if let Err(code) = read_until(&mut ws, |message| sent.is_ok() && matches!(message, Message::Pong(_))) {
                return code;
            }
        }
    })
}

/// Reads events until it is closed; says when the first one is here.
fn subscriber<S: Read + Write + Send + 'static>(mut ws: WebSocket<S>) -> (Client, Receiver<()>) {
    ws.send(Message::text(SUBSCRIBE)).expect("sent");
    let (first, seen) = channel();
    let client = spawn(move || {
        loop {
            if let Err(code) = read_until(&mut ws, |message| matches!(message, Message::Text(_))) {
                return code;
            }
            let _ = first.send(());
        }
    });
    (client, seen)
}

/// An HTTP client, and its answers as they come.
type HttpClient = (JoinHandle<()>, Receiver<()>);

/// Requests on new connections until there is nobody to connect to; an answer that begins is a whole one.
fn http_client<S: Read + Write>(connect: impl Fn() -> std::io::Result<S> + Send + 'static) -> HttpClient {
    let (answered, answers) = channel();
    let client = spawn(move || {
        while let Ok(mut stream) = connect() {
            let body = r#"{"event":"load","data":"y"}"#;
            let request = format!(
                "POST /publish?clientName=h HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(request.as_bytes());
            let mut bytes = Vec::new();
            match stream.read_to_end(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("stuck"),
                // Never accepted, or not read before the end: nothing was promised.
                _ if bytes.is_empty() => {}
                _ => {
                    assert_eq!(Answer::parse(&bytes).status, 201);
                    let _ = answered.send(());
                }
            }
        }
    });
    (client, answers)
}

fn try_tcp(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Signals a daemon under load and checks what everyone saw.
fn check_under_load<S: Read + Write + Send + 'static>(
    mut daemon: Daemon,
    signal: &str,
    ws: impl Fn(&Daemon, &str) -> WebSocket<S>,
    http: impl Fn() -> HttpClient,
) {
    let subscribers: Vec<_> =
        (0..EACH).map(|n| subscriber(ws(&daemon, &format!("/subscribe?clientName=s{n}")))).collect();
    let publishers: Vec<_> = (0..EACH).map(|n| publisher(ws(&daemon, &format!("/publish?clientName=p{n}")))).collect();
    let http: Vec<_> = (0..EACH).map(|_| http()).collect();
    // Under load means that everybody has been served for a while.
    for (_, seen) in &subscribers {
        for _ in 0..100 {
            seen.recv_timeout(LIMIT).expect("events flow");
        }
    }
    for (_, answers) in &http {
        for _ in 0..3 {
            answers.recv_timeout(LIMIT).expect("requests are answered");
        }
    }
    let began = Instant::now();
    daemon.signal(signal);
    let status = daemon.wait();
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(took < BUDGET * common::slow(), "{took:?}");
    let clients = subscribers.into_iter().map(|(client, _)| client).chain(publishers);
    let codes: Vec<u16> = clients.map(|client| client.join().expect("not stuck")).collect();
    assert!(codes.iter().all(|code| *code == 1001), "{codes:?}");
    for (client, _) in http {
        client.join().expect("whole answers, and not stuck");
    }
    assert!(!daemon.log().contains("did not"), "{}", daemon.log());
}

#[test]
fn sigterm_under_load_closes_everyone_with_1001_and_ends_within_the_budget() {
    let daemon = Daemon::with_config(PATIENT, &[]);
    let addr = daemon.addr;
    check_under_load(daemon, "TERM", |daemon, path| daemon.ws(path).0, || http_client(move || try_tcp(addr)));
}

#[test]
fn sigint_is_the_same() {
    let daemon = Daemon::with_config(PATIENT, &[]);
    let addr = daemon.addr;
    check_under_load(daemon, "INT", |daemon, path| daemon.ws(path).0, || http_client(move || try_tcp(addr)));
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn sigterm_under_load_over_tls_is_the_same() {
    if !tls::has_openssl() {
        return;
    }
    let (daemon, cert) = tls::daemon(PATIENT, &[]);
    let addr = daemon.addr;
    let https = |cert: CertificateDer<'static>| http_client(move || tls::over(try_tcp(addr)?, &cert, &[tls::TLS13]));
    check_under_load(daemon, "TERM", |daemon, path| tls::ws(daemon.addr, &cert, path), || https(cert.clone()));
}

#[test]
fn idle_clients_do_not_delay_the_end() {
    let mut daemon = Daemon::start(&[]);
    let mut kept = daemon.tcp();
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    assert_eq!(read_answer(&mut kept).0, 200);
    let mut silent = daemon.tcp();
    let mut half = daemon.tcp();
    half.write_all(b"GET /health HT").expect("sent");
    let sockets = ["/", "/ws", "/subscribe?clientName=a", "/publish?clientName=a", "/info"].map(|path| daemon.ws(path));
    let clients = sockets.map(|mut ws: Ws| spawn(move || read_until(&mut ws.0, |_| false)));
    let began = Instant::now();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(began.elapsed() < Duration::from_millis(1500), "nobody is waited for: {:?}", began.elapsed());
    for client in clients {
        assert_eq!(client.join().expect("not stuck"), Err(1001));
    }
    for stream in [&mut kept, &mut silent, &mut half] {
        assert!(!matches!(stream.read(&mut [0; 64]), Ok(1..)), "ended without a word");
    }
}

#[test]
fn nobody_is_let_in_while_the_last_ones_leave() {
    let mut daemon = Daemon::start(&[]);
    // Its thread goes on: it does not answer the Close.
    let mut last = raw_ws(daemon.addr, "/");
    daemon.signal("TERM");
    assert_eq!(close_code(&mut last), Some(1001));
    let refused = TcpStream::connect(daemon.addr).expect_err("nobody listens any more");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(last);
    assert!(daemon.wait().success());
}

#[test]
fn clients_that_do_not_answer_the_close_or_do_not_read_it_cannot_hold_the_daemon() {
    let mut daemon = Daemon::with_config("[session]\nsend_buffer_bytes = 16384\n", &[]);
    let mut mute = raw_ws(daemon.addr, "/");
    let _stalled = stall(&daemon);
    let began = Instant::now();
    daemon.signal("TERM");
    assert_eq!(close_code(&mut mute), Some(1001), "told at once, and it says nothing to that");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(began.elapsed() < BUDGET * common::slow(), "{:?}", began.elapsed());
}

/// A subscriber that does not read and has a backlog.
fn stall(daemon: &Daemon) -> TcpStream {
    let mut stream = upgraded(robust::small_tcp(daemon.addr), daemon.addr, "/subscribe?clientName=stalled");
    stream.write_all(&text(SUBSCRIBE)).expect("sent");
    let mut publisher = daemon.ws("/publish?clientName=p");
    for _ in 0..100 {
        publisher.send(&serde_json::json!({"event": "load", "data": "x".repeat(2000)}).to_string());
    }
    publisher.sync();
    assert_eq!(publisher.0.close(None).ok(), Some(()));
    let _ = publisher.closed();
    stream
}

#[test]
fn a_second_signal_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let config = "shutdown_deadline = \"60s\"\n[session]\nclose_deadline = \"50s\"\nsend_buffer_bytes = 16384\n";
        let mut daemon = Daemon::with_config(config, &[]);
        let _stalled = stall(&daemon);
        daemon.signal(signal);
        wait_until(LIMIT, "it has begun to shut down", || daemon.log().contains("shutting down"));
        let began = Instant::now();
        daemon.signal(signal);
        let status = daemon.wait();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_ne!(status.code(), Some(0), "it did not finish what it had begun");
    }
}

#[test]
fn requests_that_have_arrived_are_answered_before_the_end() {
    let mut daemon = Daemon::start(&[]);
    // All whole requests are with the daemon (the last one's first answer shows it) when the signal comes.
    let mut clients: Vec<TcpStream> = (0..EACH).map(|_| daemon.tcp()).collect();
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for stream in &mut clients {
        stream.write_all(request.repeat(20).as_bytes()).expect("sent");
        assert_eq!(read_answer(stream).0, 200);
    }
    let began = Instant::now();
    daemon.signal("TERM");
    for stream in &mut clients {
        for n in 1..20 {
            assert_eq!(read_answer(stream).0, 200, "answer {n}");
        }
    }
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(began.elapsed() < BUDGET * common::slow(), "{:?}", began.elapsed());
}
