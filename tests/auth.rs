//! Who is let in: the API key in each of its places, and the `Host` and `Origin` checks.

mod common;

use std::time::{Duration, Instant};

use common::{Daemon, TempDir, Ws};
use serde_json::json;

const DEADLINE: Duration = Duration::from_millis(100);

/// A daemon whose key is `secret`, shown within 100 ms.
fn locked() -> Daemon {
    locked_with("[session]\nauth_deadline = \"100ms\"\n")
}

fn locked_with(config: &str) -> Daemon {
    let dir = TempDir::new();
    let key = dir.file("key", "secret\n");
    let config = dir.file("pinwire.toml", config);
    Daemon::start_in(dir, |command| {
        command.arg("--config").arg(config).arg("--api-key-file").arg(key);
    })
}

fn status(refused: Result<Ws, tungstenite::Error>) -> u16 {
    match refused {
        Ok(_) => 101,
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// It works, and goes on working after the deadline for showing a key.
fn assert_in(ws: &mut Ws, path: &str) {
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE * 2 {
        let answer = match path {
            "/" => ws.ask(r#"{"action":"READ_MEMORY"}"#)["success"] == true,
            _ => {
                ws.send(r#"{"type":"ping","request_id":"in"}"#);
                ws.until(|frame| frame["request_id"] == "in")["type"] == "pong"
            }
        };
        assert!(answer, "{path}");
    }
}

#[test]
fn a_key_in_the_handshake_opens_every_socket() {
    let daemon = locked();
    for path in ["/", "/ws"] {
        let query = |name: &str| format!("{path}?{name}=secret");
        let ways = [
            (path.to_owned(), vec![("x-api-key", "secret")]),
            (path.to_owned(), vec![("authorization", "Bearer secret")]),
            (path.to_owned(), vec![("authorization", "bearer secret")]),
            (query("apiKey"), vec![]),
            (query("token"), vec![]),
            (path.to_owned(), vec![("sec-websocket-protocol", "bearer, secret")]),
        ];
        for (path_and_query, headers) in ways {
            let mut ws = daemon.try_ws(&path_and_query, &headers).unwrap_or_else(|e| panic!("{headers:?}: {e}"));
            assert_in(&mut ws, path);
        }
    }
    for path in ["/subscribe?clientName=x", "/publish?clientName=x", "/info"] {
        for header in [("x-api-key", "secret"), ("authorization", "Bearer secret")] {
            daemon.try_ws(path, &[header]).unwrap_or_else(|e| panic!("{path} {header:?}: {e}")).sync();
        }
    }
}

#[test]
fn a_wrong_key_in_the_handshake_is_a_401_and_not_rescued_by_a_right_one_elsewhere() {
    let daemon = locked();
    for path in ["/", "/ws", "/subscribe?clientName=x", "/publish?clientName=x", "/info?x="] {
        let ways = [
            vec![("x-api-key", "Secret")],
            vec![("x-api-key", "secretsecret")],
            vec![("authorization", "Bearer secre")],
            vec![("sec-websocket-protocol", "bearer, wrong")],
            vec![("x-api-key", "wrong"), ("authorization", "Bearer secret")],
        ];
        for headers in ways {
            assert_eq!(status(daemon.try_ws(path, &headers)), 401, "{path} {headers:?}");
        }
        let join = if path.contains('?') { '&' } else { '?' };
        assert_eq!(status(daemon.try_ws(&format!("{path}{join}apiKey=wrong"), &[])), 401, "{path}");
        let right = format!("{path}{join}apiKey=secret");
        assert_eq!(status(daemon.try_ws(&right, &[("x-api-key", "wrong")])), 401, "{path}");
    }
    assert!(!daemon.log().contains("secre"), "keys are never logged");
}

#[test]
fn a_key_in_the_first_message_opens_what_browsers_use() {
    let daemon = locked();
    let mut ws = daemon.ws("/");
    let answer = ws.ask(r#"{"action":"AUTH","params":{"api_key":"secret"},"id":1}"#);
    assert_eq!(answer, json!({"action": "AUTH", "success": true, "data": "Authenticated", "error": null, "id": 1}));
    assert_in(&mut ws, "/");
    for member in ["api_key", "token"] {
        let mut ws = daemon.ws("/ws");
        ws.send(&json!({"type": "auth", member: "secret"}).to_string());
        assert_eq!(ws.json()["type"], "pong", "the welcome comes now");
        assert_eq!(ws.json()["type"], "node.status.changed");
        assert_in(&mut ws, "/ws");
    }
}

#[test]
fn whoever_says_anything_else_first_is_closed_with_4501() {
    let daemon = locked_with("");
    for text in [
        r#"{"action":"READ_MEMORY"}"#,
        r#"{"action":"SUBSCRIBE","params":{"topics":["**"]}}"#,
        r#"{"action":"AUTH","params":{"api_key":"wrong"}}"#,
        r#"{"action":"AUTH","params":{"api_key":""}}"#,
        r#"{"action":"AUTH"}"#,
        "",
        "{",
    ] {
        let mut ws = daemon.ws("/");
        ws.send(text);
        let (code, reason) = ws.closed();
        assert!(code == 4501 && reason.starts_with("Invalid API Key"), "{text} → {code} {reason}");
    }
    for text in [
        r#"{"type":"ping"}"#,
        r#"{"type":"subscribe","payload":{"topic":"gpio"}}"#,
        r#"{"type":"auth","api_key":"wrong"}"#,
        r#"{"type":"auth","token":""}"#,
        r#"{"type":"auth"}"#,
        "hello",
    ] {
        let mut ws = daemon.ws("/ws");
        ws.send(text);
        let (code, reason) = ws.closed();
        assert!(code == 4501 && reason.starts_with("Invalid API Key"), "{text} → {code} {reason}");
    }
}

#[test]
fn whoever_shows_no_key_in_time_is_closed_with_1008_and_has_seen_nothing() {
    let daemon = locked();
    for path in ["/", "/ws"] {
        let begun = Instant::now();
        let mut ws = daemon.ws(path);
        // Pings are answered, and do not buy time.
        ws.sync();
        let (code, reason) = match ws.0.read().expect("a frame") {
            tungstenite::Message::Close(Some(frame)) => (u16::from(frame.code), frame.reason.to_string()),
            other => panic!("{path}: {other:?} before a key was shown"),
        };
        assert_eq!((code, reason.as_str()), (1008, "auth_deadline: no key was shown"), "{path}");
        ws.closed(); // answers the Close, so that the daemon need not wait for that
        assert!(begun.elapsed() >= DEADLINE, "{path}: {:?}", begun.elapsed());
    }
}

#[test]
fn http_needs_the_key_except_for_what_holds_no_secrets() {
    let daemon = locked();
    for path in ["/pins", "/pins/GPIO4", "/system", "/system/memory", "/nothing", "/ws", "/pins/"] {
        for headers in [&[][..], &[("X-API-Key", "wrong")], &[("Authorization", "Bearer wrong")]] {
            let answer = daemon.http("GET", path, headers, "");
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            assert_eq!(answer.json(), json!({"detail": "Invalid API Key", "message": "Invalid API Key"}), "{path}");
        }
    }
    let body = r#"{"io":"OUTPUT","state":1}"#;
    let json = ("Content-Type", "application/json");
    assert_eq!(daemon.http("PUT", "/pins/GPIO4", &[json], body).status, 401);
    let key = ("X-API-Key", "secret");
    assert_eq!(daemon.http("GET", "/pins/GPIO4", &[key], "").json()["io"], "INPUT", "it was not done");
    for headers in [[key], [("Authorization", "Bearer secret")]] {
        assert_eq!(daemon.http("GET", "/pins", &headers, "").status, 200);
    }
    for query in ["apiKey=secret", "token=secret"] {
        assert_eq!(daemon.get(&format!("/pins?{query}")).status, 200, "{query}");
        assert_eq!(daemon.http("GET", &format!("/pins?{query}"), &[("X-API-Key", "wrong")], "").status, 401);
    }
    for path in ["/", "/health", "/ready", "/docs", "/openapi.json", "/asyncapi.yaml"] {
        assert_eq!(daemon.get(path).status, 200, "{path}");
    }
}

#[test]
fn without_a_key_any_key_is_as_good_as_none() {
    let daemon = Daemon::start(&["--auth", "none"]);
    assert_eq!(daemon.http("GET", "/pins", &[("X-API-Key", "anything")], "").status, 200);
    let mut ws = daemon.try_ws("/", &[("x-api-key", "anything")]).expect("let in");
    assert_eq!(ws.ask(r#"{"action":"AUTH","params":{"api_key":"anything"}}"#)["success"], true);
    let mut ws = daemon.ws("/ws");
    ws.send(r#"{"type":"auth","token":"anything"}"#);
    ws.send(r#"{"type":"ping","request_id":"r"}"#);
    ws.until(|frame| frame["request_id"] == "r");
}

#[test]
fn a_name_that_is_not_the_daemon_s_is_a_403() {
    let daemon = Daemon::with_config("[front]\nhosts = [\"garage.example\"]\n", &[]);
    let ask = |host: &str, upgrade: bool| {
        let mut stream = daemon.tcp();
        let rest = if upgrade {
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        } else {
            "Connection: close\r\n"
        };
        let text = format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n{rest}\r\n", if upgrade { "ws" } else { "health" });
        std::io::Write::write_all(&mut stream, text.as_bytes()).expect("sent");
        let mut status = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut status).expect("an answer");
        String::from_utf8_lossy(&status[9..]).parse::<u16>().expect("a status")
    };
    let port = daemon.addr.port();
    for good in ["localhost", "127.0.0.1:1", "[::1]:80", "garage.example", "GARAGE.example:8443", "x.localhost"] {
        assert_eq!((ask(good, false), ask(good, true)), (200, 101), "{good}");
    }
    for bad in [format!("evil.example:{port}"), "localhost.evil.example".into(), "evil".into(), String::new()] {
        assert_eq!((ask(&bad, false), ask(&bad, true)), (403, 403), "{bad}");
    }
}

#[test]
fn pages_of_other_origins_are_kept_out() {
    let daemon = Daemon::start(&[]);
    let own = format!("http://{}", daemon.addr);
    let json = ("Content-Type", "application/json");
    let body = r#"{"io":"OUTPUT","state":1}"#;
    for bad in ["http://evil.example", "null", "https://localhost", "http://127.0.0.1:1", "file://"] {
        for path in ["/", "/ws", "/subscribe?clientName=x", "/publish?clientName=x", "/info"] {
            assert_eq!(status(daemon.try_ws(path, &[("origin", bad)])), 403, "{bad} {path}");
        }
        let put = daemon.http("PUT", "/pins/GPIO4", &[("Origin", bad), json], body);
        assert_eq!(put.status, 403, "{bad}");
        assert!(put.json()["message"].as_str().is_some_and(|text| text.contains("front.origins")), "{put:?}");
        assert_eq!(put.header("access-control-allow-origin"), None);
        let post = daemon.http("POST", "/publish?clientName=x", &[("Origin", bad)], r#"{"event":"door"}"#);
        assert_eq!(post.status, 403, "{bad}");
    }
    assert_eq!(daemon.get("/pins/GPIO4").json()["io"], "INPUT");
    daemon.try_ws("/", &[("origin", &own)]).expect("its own page").sync();
    assert_eq!(daemon.http("GET", "/pins", &[("Origin", &own)], "").status, 200);
}

#[test]
fn listed_origins_are_let_in_and_may_read_answers() {
    let daemon = Daemon::with_config("[front]\norigins = [\"https://panel.example\"]\n", &[]);
    let listed = "https://panel.example";
    daemon.try_ws("/ws", &[("origin", listed)]).expect("listed").sync();
    let answer = daemon.http("GET", "/pins", &[("Origin", listed)], "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(listed)));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let answer = daemon.http("POST", "/publish?clientName=x", &[("Origin", listed)], "{}");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, Some(listed)));
    assert_eq!(daemon.get("/pins").header("access-control-allow-origin"), None);
    assert_eq!(status(daemon.try_ws("/ws", &[("origin", "https://panel.example.evil")])), 403);
}

#[test]
fn a_page_that_shows_the_key_may_come_from_anywhere() {
    let daemon = locked();
    let evil = ("origin", "http://elsewhere.example");
    daemon.try_ws("/?apiKey=secret", &[evil]).expect("it knows the key").sync();
    daemon.try_ws("/ws", &[evil, ("sec-websocket-protocol", "bearer, secret")]).expect("it knows the key").sync();
    for (path, headers) in [("/", vec![evil]), ("/?apiKey=wrong", vec![evil])] {
        assert_eq!(status(daemon.try_ws(path, &headers)), 403, "{path}");
    }
    let answer = daemon.http("GET", "/pins?apiKey=secret", &[("Origin", evil.1)], "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}

#[test]
fn a_listed_page_may_ask_what_it_may_send_without_the_key() {
    let daemon = locked_with("[front]\norigins = [\"https://panel.example\"]\n");
    let question = |origin| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "PUT")];
        daemon.http("OPTIONS", "/pins/GPIO17", &headers, "")
    };
    let answer = question("https://panel.example");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("https://panel.example")));
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PUT")));
    assert!(answer.header("access-control-allow-headers").is_some_and(|headers| headers.contains("X-API-Key")));
    assert_eq!(question("https://elsewhere.example").status, 403);
}

#[test]
fn keys_are_in_no_log_at_any_level() {
    let dir = TempDir::new();
    let key = dir.file("key", "secret-of-the-house\n");
    let daemon = Daemon::start_in(dir, |command| {
        command.arg("--api-key-file").arg(key).args(["--log-level", "trace"]);
    });
    let answer = daemon.ws("/").ask(r#"{"action":"AUTH","params":{"api_key":"secret-of-the-house"}}"#);
    assert_eq!(answer["success"], true, "{answer}");
    let mut ws = daemon.ws("/ws?token=secret-of-the-house");
    assert_eq!(ws.json()["type"], "pong");
    assert_eq!(daemon.http("GET", "/pins?apiKey=secret-of-the-house", &[], "").status, 200);
    daemon.signal("HUP");
    daemon.wait_for_log("SIGHUP");
    let log = daemon.log();
    assert!(!log.contains("secret-of-the-house"), "{log}");
    assert!(!log.replace(' ', "").contains("7365637265742d6f66"), "not in hexadecimal either: {log}");
}
