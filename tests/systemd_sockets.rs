//! Socket activation: sockets that a service manager has opened are the daemon's listeners, and a restart loses nobody.

mod common;
mod manager;
mod robust;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use common::{Answer, Daemon, LIMIT, TempDir, pinwire, tcp};
use manager::{activated, copy};
use robust::{FIN, PING, close_code, read_frame};

fn bound(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

fn serve(flags: &[&str]) -> Command {
    let mut command = pinwire();
    command.args(["serve", "--gpio", "sim"]).args(flags);
    command
}

/// The daemon with this socket.
fn start(listener: &TcpListener, flags: &[&str]) -> Daemon {
    Daemon::launch_with(TempDir::new(), activated(copy(listener), &serve(flags)))
}

/// What it says of a socket that it does not take, and its exit code.
fn refused(socket: impl Into<OwnedFd>, flags: &[&str]) -> String {
    let mut command = activated(socket.into(), &serve(flags));
    let child = command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn();
    let output = child.expect("starts").wait_with_output().expect("output");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    Answer::parse(&bytes)
}

#[test]
fn a_socket_that_is_passed_takes_the_place_of_the_default() {
    let (listener, address) = bound("127.0.0.1:0");
    let daemon = start(&listener, &[]);
    assert_eq!((daemon.addr, daemon.listening.len()), (address, 1));
    assert_eq!(daemon.get("/health").status, 200);
    daemon.wait_for_log(&format!("{address} is the service manager's socket"));
}

#[test]
fn a_configured_address_is_the_socket_that_serves_it_or_another_one() {
    let (listener, address) = bound("127.0.0.1:0");
    let same = start(&listener, &["--listen", &address.to_string()]);
    assert_eq!((same.addr, same.listening.len()), (address, 1));
    drop(same);
    // Another one is opened beside it, and both are served.
    let mut other = start(&listener, &["--listen", "127.0.0.1:0"]);
    assert_ne!(other.addr, address);
    assert_eq!(other.get("/health").status, 200);
    let mut stream = tcp(address);
    stream.write_all(REQUEST).expect("sent");
    assert_eq!(answer(stream).status, 200);
    assert!(other.stop().success());
    // One that lets in everybody is not what "this machine only" means.
    let (everybody, address) = bound("0.0.0.0:0");
    let own = format!("127.0.0.1:{}", address.port());
    let why = refused(copy(&everybody), &["--listen", &own, "--auth", "none"]);
    assert!(why.contains(&format!("--listen: {own} cannot be opened beside {address}, which the service")), "{why}");
    // Nor is it a way round the rule that strangers need a key.
    let why = refused(copy(&everybody), &[]);
    assert!(why.contains("the service manager's socket: ") && why.contains("but there is no API key"), "{why}");
}

#[test]
fn what_cannot_be_served_is_refused_with_the_line_the_unit_needs() {
    let fix = "its unit needs ListenStream= with a port or ADDRESS:PORT, and Accept=no";
    let (listener, address) = bound("127.0.0.1:0");
    let connection = TcpStream::connect(address).expect("connects");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let file = std::fs::File::open("/dev/null").expect("opened");
    let cases: [(OwnedFd, &str); 3] = [
        (connection.into(), "a connection, or does not listen"),
        (datagrams.into(), "not one for streams"),
        (file.into(), "no socket"),
    ];
    for (socket, what) in cases {
        let why = refused(socket, &[]);
        let expected = format!("pinwire: the socket 'web' that the service manager handed over is {what}; {fix}\n");
        assert_eq!(why, expected);
    }
    drop(listener);
}

#[test]
fn who_connects_while_there_is_no_daemon_is_served_by_the_next() {
    let (listener, address) = bound("127.0.0.1:0");
    let mut first = start(&listener, &[]);
    let mut ws = first.ws("/");
    assert!(first.stop().success());
    assert_eq!(ws.closed().0, 1001);
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| tcp(address)).collect();
    for stream in &mut waiting {
        stream.write_all(REQUEST).expect("sent");
    }
    let second = start(&listener, &[]);
    for stream in waiting {
        assert_eq!(answer(stream).status, 200);
    }
    drop(second);
}

#[test]
fn who_connected_before_the_daemon_came_has_its_limits_too() {
    let (listener, address) = bound("127.0.0.1:0");
    let mut early = tcp(address);
    early.write_all(robust::upgrade_request(address, "/").as_bytes()).expect("sent");
    let directory = TempDir::new();
    let config = directory.file("pinwire.toml", "[session]\nping_interval = \"300ms\"\npong_deadline = \"300ms\"\n");
    let daemon = start(&listener, &["--config", config.to_str().expect("text")]);
    let head = robust::read_head(&mut early);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(read_frame(&mut early).map(|frame| frame.0), Some(FIN | PING));
    assert_eq!(close_code(&mut early), Some(1008));
    drop(daemon);
}

#[test]
fn who_was_let_in_and_has_not_asked_yet_is_answered_before_the_end() {
    let (listener, address) = bound("127.0.0.1:0");
    let mut daemon = start(&listener, &["--log-level", "debug"]);
    let mut quiet = tcp(address);
    // One that was let in after it: so the first one is in.
    assert_eq!(daemon.get("/health").status, 200);
    daemon.signal("TERM");
    daemon.wait_for_log("shutting down");
    quiet.write_all(REQUEST).expect("sent");
    assert_eq!(answer(quiet).status, 200);
    assert!(daemon.wait().success());
}

#[test]
fn restarts_under_load_lose_no_connection() {
    let (listener, address) = bound("127.0.0.1:0");
    let done = Arc::new(AtomicBool::new(false));
    let mut daemon = start(&listener, &[]);
    let (answered, answers) = channel();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (done, answered) = (Arc::clone(&done), answered.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let mut stream = TcpStream::connect(address).expect("never refused");
                    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
                    stream.write_all(REQUEST).expect("never reset");
                    assert_eq!(answer(stream).status, 200);
                    answered.send(()).expect("counted");
                }
            })
        })
        .collect();
    for _ in 0..3 {
        for _ in 0..200 {
            answers.recv_timeout(LIMIT).expect("answers all the time");
        }
        assert!(daemon.stop().success(), "{}", daemon.log());
        daemon = start(&listener, &[]);
    }
    done.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("no failure"));
}
