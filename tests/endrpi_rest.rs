//! Endrpi's REST twin, and HTTP itself as the front door speaks it.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use common::{Answer, Daemon, TempDir};
use serde_json::json;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn put(daemon: &Daemon, pin: &str, body: &str) -> Answer {
    daemon.http("PUT", &format!("/pins/{pin}"), &[JSON], body)
}

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
fn readings_have_the_models_of_the_websocket_without_its_envelope() {
    let root = format!("{}/tests/fixtures/pi4", env!("CARGO_MANIFEST_DIR"));
    let daemon = Daemon::start(&["--root", &root]);
    let mut ws = daemon.ws("/");
    for what in ["platform", "temperature", "uptime", "memory", "throttle"] {
        let answer = daemon.get(&format!("/system/{what}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
        ws.send(&format!("{{\"action\":\"READ_{}\"}}", what.to_uppercase()));
        assert!(ws.text().contains(&format!("\"data\":{},", answer.body)), "{}", answer.body);
    }
    let temperature = daemon.get("/system/temperature?now");
    assert_eq!(temperature.body, r#"{"systemOnChip":{"quantity":48.312,"prefix":null,"unitOfMeasurement":"CELSIUS"}}"#);
    assert_eq!(daemon.get("/system/throttle").json()["underVoltageDetected"], true);
}

#[test]
fn a_reading_that_is_missing_is_a_500_with_its_text() {
    let empty = TempDir::new();
    let daemon = Daemon::start(&["--root", &empty.path().display().to_string()]);
    for (path, text) in [
        ("temperature", "Failed to query system on chip temperature"),
        ("throttle", "Failed to query system throttle status"),
        ("uptime", "Failed to query system uptime"),
        ("frequency", "Failed to query system ARM frequency"),
        ("memory", "Failed to query system memory"),
        ("platform", "Failed to query system platform"),
    ] {
        let answer = daemon.get(&format!("/system/{path}"));
        assert_eq!((answer.status, answer.json()), (500, json!({ "message": text })));
    }
    let answer = daemon.get("/system");
    assert_eq!((answer.status, answer.json()), (500, json!({"message": "Failed to query system platform"})));
}

#[test]
fn pins_are_listed_in_endrpi_s_order_and_read_one_by_one() {
    let daemon = Daemon::start(&[]);
    let body = daemon.get("/pins").body;
    let numbers: Vec<u8> =
        body.split("\"GPIO").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect();
    assert_eq!(
        numbers,
        [2, 3, 4, 14, 15, 17, 18, 27, 22, 23, 24, 10, 9, 25, 11, 8, 7, 5, 6, 12, 13, 19, 16, 26, 20, 21]
    );
    assert!(body.starts_with(r#"{"GPIO2":{"io":"INPUT","state":1.0,"pull":"UP"},"GPIO3":"#), "{body}");
    for id in ["GPIO0", "GPIO27", "17", "pin11"] {
        let answer = daemon.get(&format!("/pins/{id}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"io":"INPUT","state":0.0,"pull":"FLOATING"}"#));
    }
    for id in ["GPIO28", "gpio17", "x"] {
        let answer = daemon.get(&format!("/pins/{id}"));
        assert_eq!(answer.status, 404, "{id}");
        assert_eq!(answer.json(), json!({ "message": format!("Pin with BCM pin number `{id}` not found") }));
    }
}

#[test]
fn a_put_is_checked_body_first_then_pin_then_what_the_pin_needs() {
    let daemon = Daemon::start(&[]);
    let answer = put(&daemon, "GPIO17", r#"{"io":"OUTPUT","state":1.0,"pull":"UP"}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, r#"{"message":"Pin configuration for pin `GPIO17` was updated successfully"}"#);
    assert_eq!(daemon.get("/pins/GPIO17").body, r#"{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}"#);

    for body in ["", "null", "{", "[]", "{}", r#"{"io":"ALT0"}"#, r#"{"io":"OUTPUT","state":2}"#, "\"x\""] {
        for pin in ["GPIO17", "GPIO99"] {
            let answer = put(&daemon, pin, body);
            assert_eq!(answer.status, 400, "{pin} {body} → {answer:?}");
            let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.starts_with("1 validation error for Requestbody"), "{body} → {message}");
        }
    }
    for body in [r#"{"io":"INPUT"}"#, r#"{"io":"OUTPUT","state":0}"#] {
        let answer = put(&daemon, "GPIO99", body);
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (404, &json!("Pin with BCM pin number `GPIO99` not found"))
        );
    }
    for (body, message) in [
        (r#"{"io":"INPUT"}"#, "No pull specified for input pin configuration"),
        (r#"{"io":"OUTPUT"}"#, "No state specified for output pin configuration"),
    ] {
        let answer = put(&daemon, "GPIO17", body);
        assert_eq!((answer.status, &answer.json()["message"]), (400, &json!(message)));
    }
    let answer = put(&daemon, "GPIO2", r#"{"io":"INPUT","pull":"DOWN"}"#);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("Failed to update pin `GPIO2`"), "{answer:?}");
    assert_eq!(daemon.get("/pins/GPIO17").json()["state"], 1.0, "nothing of that has changed it");
}

#[test]
fn a_put_needs_the_content_type_json() {
    let daemon = Daemon::start(&[]);
    let body = r#"{"io":"OUTPUT","state":1}"#;
    for headers in [&[][..], &[("Content-Type", "text/plain")], &[("Content-Type", "application/jsonx")]] {
        let answer = daemon.http("PUT", "/pins/GPIO4", headers, body);
        assert_eq!(answer.status, 400, "{headers:?} → {answer:?}");
        assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("application/json")), "{answer:?}");
    }
    assert_eq!(daemon.get("/pins/GPIO4").json()["io"], "INPUT");
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(daemon.http("PUT", "/pins/GPIO4", &[("Content-Type", kind)], body).status, 200, "{kind}");
    }
}

#[test]
fn wrong_paths_methods_and_slashes_are_answered_as_endrpi_s_framework_does() {
    let daemon = Daemon::start(&[]);
    for path in ["/nothing", "/system/nothing", "/Pins", "/redoc", "/pins/GPIO4/x", "/public/../Cargo.toml", "/public/"]
    {
        let answer = daemon.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"detail":"Not Found"}"#), "{path}");
    }
    for (path, bare) in [("/pins/", "/pins"), ("/system/memory/", "/system/memory"), ("/pins/GPIO4/", "/pins/GPIO4")] {
        let answer = daemon.get(path);
        assert_eq!((answer.status, answer.header("location")), (307, Some(bare)), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        let answer = daemon.http(method, "/system/memory", &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method}");
    }
    for method in ["POST", "DELETE", "OPTIONS", "HEAD"] {
        let answer = daemon.http(method, "/pins/GPIO4", &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, PUT")), "{method}");
    }
    assert_eq!(daemon.http("DELETE", "/pins", &[], "").body, r#"{"detail":"Method Not Allowed"}"#);
}

#[test]
fn the_root_is_a_page_for_browsers_and_json_for_programs() {
    let daemon = Daemon::start(&[]);
    let page = daemon.http("GET", "/", &[("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")], "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for headers in [&[][..], &[("Accept", "*/*")], &[("Accept", "application/json")]] {
        let banner = daemon.http("GET", "/", headers, "");
        assert_eq!((banner.status, banner.header("content-type")), (200, Some("application/json")), "{headers:?}");
        assert_eq!(banner.json()["name"], "Pinwire");
        assert_eq!(banner.json()["version"], env!("CARGO_PKG_VERSION"));
    }
    assert_eq!(daemon.get("/").header("x-content-type-options"), Some("nosniff"));
    for (path, kind) in [("/docs", "text/html; charset=utf-8"), ("/openapi.json", "application/json")] {
        let answer = daemon.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
    }
}

#[test]
fn health_and_readiness_are_told_to_get_and_head() {
    let daemon = Daemon::with_config("node_id = \"porch\"\n", &[]);
    let health = daemon.get("/health").json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["node_id"], "porch");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&health["gpio"]["backend"], &health["gpio"]["simulated"]), (&json!("sim"), &json!(true)));
    assert!(health["timestamp"].as_str().is_some_and(|text| humantime::parse_rfc3339(text).is_ok()), "{health}");
    assert!(health["uptime_seconds"].is_u64() && health["uptime"].is_string(), "{health}");
    let ready = daemon.get("/ready").json();
    assert_eq!(ready["status"], "ready");
    assert!(ready["services"].is_object() && ready["timestamp"].is_string(), "{ready}");
    for path in ["/health", "/ready", "/"] {
        let head = daemon.http("HEAD", path, &[], "");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), Some("application/json"), "{path}");
        let post = daemon.http("POST", path, &[], "");
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")), "{path}");
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
    assert_eq!(put(&daemon, "GPIO4", &body(300)).status, 200);
    let answer = put(&daemon, "GPIO4", &body(301));
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

#[test]
fn a_socket_route_without_an_upgrade_and_an_upgrade_elsewhere_are_refused() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.get("/ws").status, 400);
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = daemon.http("GET", "/pins", &upgrade, "");
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("/subscribe")), "{answer:?}");
    let mut old = upgrade;
    old[2].1 = "8";
    let answer = daemon.http("GET", "/", &old, "");
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")));
    let answer = daemon.http("GET", "/", &upgrade[..3], "");
    assert_eq!(answer.status, 400, "no key: {answer:?}");
    assert_eq!(daemon.get("/echo").json(), json!({"detail": "Not Found"}));
    assert_eq!(daemon.http("GET", "/echo", &upgrade, "").status, 404, "only with --debug-echo");
}
