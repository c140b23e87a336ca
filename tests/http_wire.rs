//! HTTP itself, as the front door speaks it: kept connections, pipelines, bodies in every form, and bad heads.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use common::{Answer, Daemon};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A connection that is kept for several requests.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn new(daemon: &Daemon) -> Kept {
        Kept(BufReader::new(daemon.tcp()))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("sent");
    }

    /// One answer's head.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("a head") > 0, "closed after {head:?}");
        }
        head
    }

    /// One answer whose length is announced.
    fn answer(&mut self) -> Answer {
        let mut bytes = self.head().into_bytes();
        let length = Answer::parse(&bytes).header("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.expect("a length")];
        self.0.read_exact(&mut body).expect("a body");
        bytes.extend(body);
        Answer::parse(&bytes)
    }

    /// Everything until the daemon closes.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end");
        rest
    }
}

#[test]
fn a_connection_is_kept_for_several_requests() {
    let daemon = Daemon::start(&[]);
    let mut kept = Kept::new(&daemon);
    for _ in 0..3 {
        kept.send("GET /system/uptime HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = kept.answer();
        assert!(answer.status == 200 && answer.json()["seconds"].is_f64(), "{answer:?}");
        kept.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(kept.answer().status, 404);
        kept.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(kept.head().starts_with("HTTP/1.1 200"), "a HEAD has no body to stumble over");
        let body = r#"{"io":"OUTPUT","state":1}"#;
        let length = body.len();
        kept.send(&format!(
            "PUT /pins/GPIO4 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(kept.answer().status, 200);
    }
    kept.send("GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(kept.answer().status, 200);
    assert_eq!(kept.rest(), b"", "closed as asked");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start(&[]);
    let mut kept = Kept::new(&daemon);
    let mut text = String::new();
    for n in 0..50 {
        text += &format!("GET /pins/p{n} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    kept.send(&text);
    for n in 0..50 {
        let answer = kept.answer();
        assert_eq!(answer.json()["message"], format!("Pin with BCM pin number `p{n}` not found"));
    }
}

#[test]
fn a_chunked_body_is_a_body() {
    let daemon = Daemon::start(&[]);
    let mut kept = Kept::new(&daemon);
    for state in ["1", "0"] {
        let tail = format!("\"state\":{state}}}");
        let length = tail.len();
        kept.send("PUT /pins/GPIO5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        kept.send("Transfer-Encoding: chunked\r\n\r\n");
        kept.send("e\r\n{\"io\":\"OUTPUT\"\r\n1;ext=1\r\n,\r\n");
        kept.send(&format!("{length:x}\r\n{tail}\r\n0\r\n\r\n"));
        let answer = kept.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(daemon.get("/pins/GPIO5").json()["state"], state.parse::<f64>().expect("a number"));
    }
}

#[test]
fn a_body_is_asked_for_when_the_client_waits_for_that() {
    let daemon = Daemon::start(&[]);
    let mut kept = Kept::new(&daemon);
    let body = r#"{"io":"OUTPUT","state":1}"#;
    let length = body.len();
    for _ in 0..2 {
        kept.send("PUT /pins/GPIO6 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        kept.send(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"));
        assert_eq!(kept.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        kept.send(body);
        let answer = kept.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // A client that does not wait is not made to read a 100 it no longer needs, and one that announces too much
    // is refused before it sends anything.
    kept.send("PUT /pins/GPIO6 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    kept.send("Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
    assert_eq!(kept.answer().status, 413);
}

#[test]
fn a_body_beyond_the_limit_is_a_413() {
    let daemon = Daemon::with_config("[front]\nbody_bytes = 300\n", &[]);
    let body = |length: usize| format!("{:length$}", r#"{"io":"OUTPUT","state":1}"#);
    assert_eq!(daemon.http("PUT", "/pins/GPIO4", &[JSON], &body(300)).status, 200);
    let answer = daemon.http("PUT", "/pins/GPIO4", &[JSON], &body(301));
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.body.contains("front.body_bytes"), "the limit is named: {answer:?}");
    let mut kept = Kept::new(&daemon);
    kept.send("PUT /pins/GPIO4 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    kept.send(&format!("12c\r\n{}\r\n12c\r\n", "x".repeat(300)));
    assert_eq!(kept.answer().status, 413);
    assert_eq!(daemon.get("/health").status, 200);
}

#[test]
fn heads_that_are_none_are_refused_and_the_connection_ends() {
    let daemon = Daemon::start(&[]);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(8192));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(70));
    let table = [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        ("POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (&*long, 431),
        (&*many, 431),
    ];
    for (text, status) in table {
        let mut kept = Kept::new(&daemon);
        kept.send(text);
        let answer = kept.answer();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{text:.60}");
        assert_eq!(kept.rest(), b"");
    }
    // The second head of a connection is held to the same.
    let mut kept = Kept::new(&daemon);
    kept.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(kept.answer().status, 200);
    kept.send(&long);
    assert_eq!(kept.answer().status, 431);
}
