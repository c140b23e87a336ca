//! PiCloud's refusals, its names that belong to the daemon, and `/info`.

mod common;

use std::time::{Duration, Instant};

use common::{Answer, Daemon, TempDir, Ws};
use serde_json::{Value, json};

const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
const MESSAGE: &str = r#"{"event":"door","data":"open"}"#;

/// A daemon whose key is `secret`.
fn locked() -> Daemon {
    Daemon::start_in(TempDir::new(), |command| {
        command.env("API_KEY", "secret");
    })
}

#[track_caller]
fn assert_answer(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, body), "{answer:?}");
}

#[test]
fn method_key_and_name_are_checked_in_this_order() {
    let daemon = locked();
    for (path, allow) in [("/publish", "GET, POST"), ("/subscribe", "GET"), ("/info", "GET")] {
        let options = daemon.http("OPTIONS", path, &[], "");
        assert_answer(&options, 200, "");
        assert_eq!(options.header("allow"), Some(allow), "{path}");
        for method in ["DELETE", "PUT", "HEAD", "PATCH"] {
            let refused = daemon.http(method, path, &[], "");
            assert_eq!((refused.status, refused.header("allow")), (405, Some(allow)), "{method} {path}");
        }
        assert_answer(&daemon.http("DELETE", path, &[], ""), 405, "Method not allowed\n");
    }
    assert_answer(&daemon.http("POST", "/subscribe", &[], MESSAGE), 405, "Method not allowed\n");
    let post = |path: &str, headers: &[(&str, &str)], body: &str| daemon.http("POST", path, headers, body);
    let wrong = "Invalid API Key\n";
    assert_answer(&post("/publish", &[], "not json"), 401, wrong);
    assert_answer(&post("/publish?clientName=x", &[], MESSAGE), 401, wrong);
    assert_answer(&post("/publish?apiKey=no&clientName=x", &[], MESSAGE), 401, wrong);
    let rescue = post("/publish?apiKey=secret&clientName=x", &[("X-API-Key", "no")], MESSAGE);
    assert_answer(&rescue, 401, wrong);
    for name in ["/publish?apiKey=secret", "/publish?apiKey=secret&clientName="] {
        assert_answer(&post(name, &[], "not json"), 401, "Invalid client name\n");
    }
    assert_answer(&post("/publish?apiKey=secret&clientName=x", &[], MESSAGE), 201, "");
    let headers = [("X-API-Key", "secret"), ("X-API-Client-Name", "x")];
    assert_answer(&post("/publish", &headers, MESSAGE), 201, "");
    assert_answer(&post("/publish?apiKey=no", &headers, MESSAGE), 201, "");
    let refused = post("/publish", &[], MESSAGE);
    assert_eq!(refused.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn sockets_are_refused_before_the_upgrade_with_the_same_texts() {
    let daemon = locked();
    for path in ["/subscribe", "/publish"] {
        assert_answer(&daemon.http("GET", path, &UPGRADE, ""), 401, "Invalid API Key\n");
        let path = format!("{path}?apiKey=secret");
        assert_answer(&daemon.http("GET", &path, &UPGRADE, ""), 401, "Invalid client name\n");
        daemon.ws(&format!("{path}&clientName=x")).sync();
        let headers = [("x-api-key", "secret"), ("x-api-client-name", "x")];
        daemon.try_ws(path.split('?').next().expect("a path"), &headers).expect("let in by headers").sync();
    }
    assert_answer(&daemon.http("GET", "/info", &UPGRADE, ""), 401, "Invalid API Key\n");
    daemon.ws("/info?apiKey=secret").sync();
    // Without an upgrade, whoever would be let in is told what is missing.
    for path in ["/subscribe?clientName=x&apiKey=secret", "/publish?clientName=x&apiKey=secret", "/info?apiKey=secret"]
    {
        let answer = daemon.get(path);
        assert!(answer.status == 400 && answer.body.starts_with("Bad Request\n"), "{path}: {answer:?}");
        let bare = daemon.get(path.split('?').next().expect("a path"));
        assert_answer(&bare, 401, "Invalid API Key\n");
    }
}

#[test]
fn a_body_that_is_no_message_is_a_400() {
    let daemon = Daemon::start(&[]);
    let long = json!({"event": "e".repeat(257), "data": ""}).to_string();
    let bodies = [
        "",
        "{",
        "[]",
        "1",
        "\"x\"",
        "null",
        "{}",
        r#"{"event":""}"#,
        r#"{"data":"x"}"#,
        r#"{"event":null}"#,
        r#"{"event":1}"#,
        r#"{"event":"e","data":1}"#,
        r#"{"event":"e","data":{}}"#,
        r#"{"event":"e","data":["x"]}"#,
        r#"{"event":"e","created_at":"yesterday"}"#,
        r#"{"event":"e","action":7}"#,
        &long,
    ];
    for body in bodies {
        let answer = daemon.http("POST", "/publish?clientName=x", &[], body);
        assert_eq!(answer.status, 400, "{body} → {answer:?}");
        assert!(answer.body.starts_with("Bad request") && answer.body.ends_with('\n'), "{body} → {answer:?}");
    }
    let name = json!({"event": "e".repeat(256)}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=x", &[], &name).status, 201);
    let answer = daemon.http("POST", "/publish?clientName=x", &[("Content-Type", "text/css")], MESSAGE);
    assert_eq!(answer.status, 201, "the Content-Type does not matter");
}

#[test]
fn the_daemon_s_own_names_cannot_be_published() {
    let daemon = Daemon::start(&[]);
    let mut publisher = daemon.ws("/publish?clientName=x");
    let mut reader = daemon.ws("/subscribe?clientName=x");
    let names = ["gpio.state.changed", "node.x", "cluster.x", "system.log.created", "telemetry.x", "agent.x"];
    for name in names.iter().chain(&["gpio"]) {
        reader.send(&json!({"action": "subscribe", "event": name}).to_string());
    }
    reader.sync();
    for name in names {
        let message = json!({"event": name, "data": "lie"}).to_string();
        let answer = daemon.http("POST", "/publish?clientName=x", &[], &message);
        assert!(answer.status == 400 && answer.body.contains("the daemon's own"), "{answer:?}");
        let error = publisher.ask(&message);
        assert_eq!((&error["action"], &error["event"]), (&json!("error"), &json!(name)));
        assert!(error["error"].as_str().is_some_and(|text| text.contains("the daemon's own")), "{error}");
    }
    publisher.send(r#"{"event":"gpio","data":"not below a prefix"}"#);
    assert_eq!(reader.json()["event"], "gpio", "and nothing came before it");
}

#[test]
fn the_daemon_s_own_events_arrive_with_their_data_as_json_text() {
    let daemon = Daemon::with_config("[gpio.pins]\nporch-lamp = { pin = 23 }\n", &[]);
    let mut reader = daemon.ws("/subscribe?clientName=x");
    reader.send(r#"{"action":"subscribe","event":"gpio.state.changed"}"#);
    reader.sync();
    daemon.ws("/").ask(r#"{"action":"SIMULATE_INPUT","params":{"pin":"porch-lamp","level":1}}"#);
    let message = reader.json();
    assert_eq!((&message["action"], &message["event"]), (&json!("publish"), &json!("gpio.state.changed")));
    assert_eq!(message["data"], r#"{"resource":"porch-lamp","pin":23,"state":"high"}"#);
    assert!(message["created_at"].as_str().is_some_and(|text| humantime::parse_rfc3339(text).is_ok()), "{message}");
}

/// The clients' names under an event, in order.
fn names_under<'a>(info: &'a Value, event: &str) -> Vec<&'a str> {
    let all = info["subscriptions"].as_array().unwrap_or_else(|| panic!("{info}"));
    let found = all.iter().find(|subscription| subscription["name"] == event);
    names(found.map_or(&Value::Null, |subscription| &subscription["connections"]))
}

fn names(connections: &Value) -> Vec<&str> {
    connections.as_array().into_iter().flatten().map(|c| c["client_name"].as_str().expect("a name")).collect()
}

#[test]
fn info_lists_who_is_connected_and_subscribed() {
    let daemon = Daemon::with_config("[picloud]\ninfo_interval = \"20ms\"\n", &[]);
    let first = daemon.ws("/info").json();
    assert_eq!((&first["subscriptions"], &first["all_connections"]), (&json!([]), &json!([])), "nobody, but no null");

    let connected = std::time::SystemTime::now();
    let headers = [("x-api-client-name", "panel")];
    let mut panel = daemon.try_ws("/subscribe?clientName=shadowed", &headers).expect("let in");
    // One is known before the next one comes: the order below is theirs.
    panel.sync();
    let mut lamp = daemon.ws("/subscribe?clientName=the%20lamp");
    lamp.sync();
    let mut sensor = daemon.ws("/publish?clientName=sensor");
    for event in ["window", "door", "door"] {
        panel.send(&json!({"action": "subscribe", "event": event}).to_string());
    }
    lamp.send(r#"{"action":"subscribe","event":"door"}"#);
    for ws in [&mut panel, &mut lamp, &mut sensor] {
        ws.sync();
    }
    let mut info = daemon.ws("/info");
    let full = info.until(|info| names(&info["all_connections"]).len() == 3 && names_under(info, "door").len() == 2);
    assert_eq!(names(&full["all_connections"]), ["panel", "the lamp", "sensor"], "in the order of their coming");
    assert_eq!(names_under(&full, "door"), ["panel", "the lamp"]);
    assert_eq!(names_under(&full, "window"), ["panel"]);
    let own = panel.0.get_ref().local_addr().expect("an address").to_string();
    let entry = &full["all_connections"][0];
    assert_eq!(entry["ip_address"], own);
    let stamp = |text: &Value| humantime::parse_rfc3339(text.as_str().expect("a time")).expect("RFC 3339");
    assert!(stamp(&entry["connected_at"]) >= connected && stamp(&full["created_at"]) >= stamp(&entry["connected_at"]));

    // An event without subscribers and a client that is gone are not listed any more.
    panel.send(r#"{"action":"unsubscribe","event":"window"}"#);
    lamp.0.close(None).expect("closing");
    lamp.closed();
    let later = info.until(|info| names(&info["all_connections"]).len() == 2 && names_under(info, "window").is_empty());
    assert_eq!(names_under(&later, "door"), ["panel"]);
    assert_eq!(later["subscriptions"].as_array().map(Vec::len), Some(1), "{later}");
}

#[test]
fn info_comes_at_once_and_then_at_its_interval_whatever_the_client_sends() {
    const INTERVAL: Duration = Duration::from_millis(200);
    let daemon = Daemon::with_config("[picloud]\ninfo_interval = \"200ms\"\n", &[]);
    let begun = Instant::now();
    let mut info: Ws = daemon.ws("/info");
    info.json();
    for text in ["", "not json", r#"{"action":"subscribe","event":"door"}"#] {
        info.send(text);
    }
    info.json();
    info.json();
    assert!(begun.elapsed() >= INTERVAL * 2, "the frames did not hurry it: {:?}", begun.elapsed());
    info.sync();
    assert_eq!(info.json()["all_connections"], json!([]), "and it does not list itself");
}
