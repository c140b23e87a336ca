//! Everything over TLS, with certificates made by openssl; without one these tests say that they are skipped.

mod common;
mod robust;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use common::{Answer, Daemon, LIMIT, run};
use robust::tls::{TLS12, TLS13, TlsStream, certificate, connect, daemon, der, has_openssl, over, ws};
use robust::{FIN, TEXT, frame, read_frame, small_tcp, upgraded, wait_until};
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tungstenite::{Message, WebSocket};

type Wss = WebSocket<TlsStream>;

fn send(ws: &mut Wss, text: &str) {
    ws.send(Message::text(text)).expect("sent");
}

fn json(ws: &mut Wss) -> Value {
    loop {
        match ws.read().expect("a message") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

fn ask(ws: &mut Wss, text: &str) -> Value {
    send(ws, text);
    json(ws)
}

fn sync(ws: &mut Wss) {
    ws.send(Message::Ping("sync".into())).expect("sent");
    while ws.read().expect("a message") != Message::Pong("sync".into()) {}
}

/// One request on a connection of its own.
fn https(daemon: &Daemon, cert: &CertificateDer<'static>, request: &str) -> Answer {
    let mut stream = connect(daemon.addr, cert);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer, and TLS's own goodbye");
    Answer::parse(&bytes)
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn endrpi_answers_over_wss() {
    if !has_openssl() {
        return;
    }
    let (daemon, cert) = daemon("", &[]);
    let answer = ask(&mut ws(daemon.addr, &cert, "/"), r#"{"action":"READ_MEMORY"}"#);
    assert_eq!(answer["success"], true, "{answer}");
    assert!(answer["data"]["total"]["quantity"].as_f64().is_some_and(|kib| kib > 1024.0), "{answer}");
    assert_eq!(https(&daemon, &cert, HEALTH).json()["status"], "healthy");
}

#[test]
fn picloud_clients_exchange_events_over_wss_and_https_and_one_that_never_reads_is_cut() {
    if !has_openssl() {
        return;
    }
    let config = "[session]\nclose_deadline = \"15s\"\nsend_buffer_bytes = 16384\n";
    let (daemon, cert) = daemon(config, &[]);
    let mut reader = ws(daemon.addr, &cert, "/subscribe?clientName=reader");
    send(&mut reader, r#"{"action":"subscribe","event":"door"}"#);
    sync(&mut reader);
    let slow = over(small_tcp(daemon.addr), &cert, &[TLS13]).expect("a TLS connection");
    let mut slow = upgraded(slow, daemon.addr, "/subscribe?clientName=slow");
    slow.write_all(&robust::text(r#"{"action":"subscribe","event":"door"}"#)).expect("sent");
    let mut publisher = ws(daemon.addr, &cert, "/publish?clientName=publisher");
    send(&mut publisher, r#"{"event":"door","data":"open"}"#);
    assert_eq!(json(&mut reader)["data"], "open");
    let body = r#"{"event":"door","data":"closed"}"#;
    let post = format!(
        "POST /publish?clientName=http HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(https(&daemon, &cert, &post).status, 201);
    assert_eq!(json(&mut reader)["data"], "closed");
    let info = json(&mut ws(daemon.addr, &cert, "/info")).to_string();
    for name in ["reader", "slow", "publisher"] {
        assert!(info.contains(&format!("\"client_name\":\"{name}\"")), "{name}: {info}");
    }
    // The slow one is cut at some point; the reader has everything until then and after.
    for n in 0..2000 {
        send(
            &mut publisher,
            &serde_json::json!({"event": "door", "data": format!("{n}:{}", "x".repeat(500))}).to_string(),
        );
        let event = json(&mut reader);
        assert!(event["data"].as_str().is_some_and(|data| data.starts_with(&format!("{n}:"))), "{n}: {event}");
    }
    wait_until(LIMIT, "the slow one is cut", || daemon.log().contains("reads too slowly"));
    assert_eq!(robust::close_code(&mut slow), Some(4008), "whole frames, and then a Close that says why");
    slow.write_all(&robust::close(4008, "")).expect("answered");
    assert_eq!(read_frame(&mut slow), None);
}

#[test]
fn a_changed_pin_appears_on_the_events_socket_and_in_watch_over_wss() {
    if !has_openssl() {
        return;
    }
    let (daemon, cert) = daemon("", &[]);
    let mut events = ws(daemon.addr, &cert, "/ws");
    while json(&mut events)["type"] != "node.status.changed" {}
    let mut watch = daemon.client("watch");
    watch.arg("--ca").arg(daemon.dir.path().join("server.pem")).arg("gpio.**");
    watch.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut watch = watch.spawn().expect("starts");
    let mut lines = std::io::BufReader::new(watch.stdout.take().expect("piped"));
    let (line, first_line) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = std::io::BufRead::read_line(&mut lines, &mut text);
        line.send(text)
    });
    let mut switch = ws(daemon.addr, &cert, "/");
    // What `watch` prints is the events alone: the pin is switched until it has seen a change.
    let mut state = 0;
    let until = Instant::now() + LIMIT;
    let seen = loop {
        state = 1 - state;
        let update = serde_json::json!({"action": "UPDATE_PIN_CONFIGURATIONS",
            "params": {"pins": {"GPIO17": {"io": "OUTPUT", "state": state}}}});
        assert_eq!(ask(&mut switch, &update.to_string())["success"], true);
        let event = json(&mut events);
        assert_eq!(event["type"], "gpio.state.changed", "{event}");
        if let Ok(line) = first_line.recv_timeout(Duration::from_millis(100)) {
            break line;
        }
        assert!(Instant::now() < until, "watch shows nothing");
    };
    let _ = watch.kill();
    let _ = watch.wait();
    assert!(seen.contains("gpio.state.changed"), "{seen}");
}

#[test]
fn both_versions_of_tls_are_spoken() {
    if !has_openssl() {
        return;
    }
    let (daemon, cert) = daemon("", &["--debug-echo"]);
    for (version, name) in [(TLS12, ProtocolVersion::TLSv1_2), (TLS13, ProtocolVersion::TLSv1_3)] {
        let stream = over(common::tcp(daemon.addr), &cert, &[version]).expect("a TLS connection");
        assert_eq!(stream.conn.protocol_version(), Some(name));
        let mut stream = upgraded(stream, daemon.addr, "/echo");
        stream.write_all(&robust::text("hello")).expect("sent");
        assert_eq!(read_frame(&mut stream), Some((FIN | TEXT, b"hello".to_vec())), "{name:?}");
    }
}

#[test]
fn large_messages_go_both_ways_in_either_version() {
    if !has_openssl() {
        return;
    }
    let (daemon, cert) = daemon("", &["--debug-echo"]);
    let large: Vec<u8> = (0..60 * 1024).map(|n| b'a' + (n % 26) as u8).collect();
    for version in [TLS12, TLS13] {
        let stream = over(common::tcp(daemon.addr), &cert, &[version]).expect("a TLS connection");
        let mut stream = upgraded(stream, daemon.addr, "/echo");
        for _ in 0..20 {
            stream.write_all(&frame(FIN | TEXT, &large)).expect("sent");
            let (first, payload) = read_frame(&mut stream).expect("an answer");
            assert_eq!(first, FIN | TEXT);
            assert!(payload == large, "what came back is what was sent");
        }
    }
}

#[test]
fn a_slow_reader_gets_whole_frames_and_all_of_them() {
    if !has_openssl() {
        return;
    }
    let (daemon, cert) = daemon("[session]\nsend_buffer_bytes = 16384\nbacklog_bytes = 65536\n", &["--debug-echo"]);
    let stream = over(small_tcp(daemon.addr), &cert, &[TLS13]).expect("a TLS connection");
    let mut stream = upgraded(stream, daemon.addr, "/echo");
    // More than the kernel holds is sent before any of it is read, so part of every round waits in the backlog.
    for round in 0..10 {
        for n in 0..20 {
            let text = format!("{round}/{n}:{}", "z".repeat(3000));
            stream.write_all(&robust::text(&text)).expect("taken");
        }
        for n in 0..20 {
            let (first, payload) = read_frame(&mut stream).expect("an answer");
            assert_eq!(first, FIN | TEXT);
            assert!(payload.starts_with(format!("{round}/{n}:z").as_bytes()), "in order");
        }
    }
}

/// What the daemon shows to a new connection.
fn shown(daemon: &Daemon, cert: &CertificateDer<'static>) -> bool {
    over(common::tcp(daemon.addr), cert, &[TLS13, TLS12]).is_ok()
}

#[test]
fn sighup_brings_a_new_certificate_to_new_connections_and_leaves_the_old_ones_alone() {
    if !has_openssl() {
        return;
    }
    let (daemon, first) = daemon("", &[]);
    let mut old = ws(daemon.addr, &first, "/");
    let (cert, key) = certificate(&daemon.dir, "next");
    let second = der(&cert);
    let path = |name: &str| daemon.dir.path().join(name);
    assert!(shown(&daemon, &first) && !shown(&daemon, &second));
    std::fs::copy(&cert, path("server.pem")).expect("copied");
    std::fs::copy(&key, path("server.key")).expect("copied");
    assert!(shown(&daemon, &first), "nothing changes before it is told");
    daemon.signal("HUP");
    wait_until(LIMIT, "the new certificate is shown", || shown(&daemon, &second));
    assert!(!shown(&daemon, &first));
    assert_eq!(ask(&mut old, r#"{"action":"READ_UPTIME"}"#)["success"], true, "the old connection goes on");
    // A file that is broken, or does not fit the other, changes nothing and says so.
    for (n, (name, text)) in [("server.pem", "not a certificate"), ("server.key", "")].into_iter().enumerate() {
        let good = std::fs::read(path(name)).expect("read");
        std::fs::write(path(name), text).expect("written");
        daemon.signal("HUP");
        wait_until(LIMIT, "it says so", || daemon.log().matches("everything in use stays").count() == n + 1);
        assert!(shown(&daemon, &second), "{name}");
        std::fs::write(path(name), good).expect("written");
    }
    let (_, other) = certificate(&daemon.dir, "other");
    std::fs::copy(other, path("server.key")).expect("copied");
    daemon.signal("HUP");
    wait_until(LIMIT, "it says so", || daemon.log().matches("everything in use stays").count() == 3);
    assert!(shown(&daemon, &second));
    assert_eq!(ask(&mut old, r#"{"action":"READ_UPTIME"}"#)["success"], true);
}

#[test]
fn plain_http_to_the_tls_port_is_told_what_to_use() {
    if !has_openssl() {
        return;
    }
    let (daemon, cert) = daemon("", &[]);
    let began = Instant::now();
    let mut stream = daemon.tcp();
    stream.write_all(HEALTH.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer, and the end");
    let answer = Answer::parse(&bytes);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("https://"), "{answer:?}");
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(began.elapsed() < Duration::from_secs(4), "at once, not at a deadline: {:?}", began.elapsed());
    assert_eq!(https(&daemon, &cert, HEALTH).status, 200);
}

#[test]
fn a_tls_handshake_has_the_head_s_deadline() {
    if !has_openssl() {
        return;
    }
    let (daemon, cert) = daemon("[front]\nhead_deadline = \"500ms\"\n", &[]);
    // Nothing at all; half a hello; a whole handshake and then silence.
    let mut silent = daemon.tcp();
    let mut half = daemon.tcp();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).expect("sent");
    let mut done = connect(daemon.addr, &cert);
    let began = Instant::now();
    for stream in [&mut silent, &mut half] {
        match stream.read(&mut [0; 64]) {
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "it hangs"),
            Ok(n) => assert_eq!(n, 0, "nothing was asked"),
        }
    }
    assert!(!matches!(done.read(&mut [0; 64]), Ok(1..)), "nothing was asked");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn call_trusts_the_certificate_it_is_given_and_no_other() {
    if !has_openssl() {
        return;
    }
    let (daemon, _) = daemon("", &[]);
    let ca = daemon.dir.path().join("server.pem");
    let output = run(daemon.client("call").arg("--ca").arg(&ca).arg("READ_MEMORY"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""success":true"#));
    let without = run(daemon.client("call").arg("READ_MEMORY"));
    let said = String::from_utf8_lossy(&without.stderr);
    assert_eq!(without.status.code(), Some(1), "{said}");
    assert!(said.contains("--ca") && said.trim().lines().count() == 1, "one line with the way out: {said}");
    let (other, _) = certificate(&daemon.dir, "other");
    let wrong = run(daemon.client("call").arg("--ca").arg(other).arg("READ_MEMORY"));
    assert_eq!(wrong.status.code(), Some(1), "{}", String::from_utf8_lossy(&wrong.stderr));
}
