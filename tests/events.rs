//! Pi-Controller's `/ws`: the documented events without asking, and the code's own frames on the same socket.

mod common;

use std::process::ExitStatus;

use common::{Daemon, Ws};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

const CONFIG: &str = "node_id = \"porch\"\n[gpio.pins]\nporch-lamp = { pin = 23 }\n";

fn daemon() -> Daemon {
    Daemon::with_config(CONFIG, &[])
}

/// A client that has read its welcome and the status.
fn welcomed(daemon: &Daemon, path: &str) -> Ws {
    let mut ws = daemon.ws(path);
    assert_eq!(ws.json()["type"], "pong");
    assert_eq!(ws.json()["type"], "node.status.changed");
    ws
}

fn drive(daemon: &Daemon, pin: &str, level: &str) {
    let request = json!({"action": "SIMULATE_INPUT", "params": {"pin": pin, "level": level}});
    assert_eq!(daemon.ws("/").ask(&request.to_string())["success"], true);
}

fn tell(ws: &mut Ws, kind: &str, topic: &str) {
    ws.send(&json!({"type": kind, "payload": {"topic": topic}}).to_string());
    ws.sync();
}

#[track_caller]
fn assert_stamp(value: &Value) {
    let stamp = value["timestamp"].as_str().unwrap_or_else(|| panic!("{value}"));
    assert!(stamp.ends_with('Z') && humantime::parse_rfc3339(stamp).is_ok(), "{value}");
}

#[test]
fn a_newcomer_is_welcomed_and_told_the_state_of_the_node() {
    let daemon = daemon();
    let mut ws = daemon.ws("/ws");
    let welcome = ws.json();
    assert_eq!((&welcome["type"], &welcome["data"]), (&json!("pong"), &json!({})));
    assert_stamp(&welcome);
    let status = ws.json();
    assert_eq!(status["type"], "node.status.changed");
    assert_eq!(status["node_id"], "porch", "the id at the top level, as in the document's examples");
    assert_eq!(status["data"], json!({"node_id": "porch", "status": "ready"}), "and in data, as in its table");
    assert_stamp(&status);
}

#[test]
fn every_real_change_of_a_pin_is_an_event_whoever_made_it() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    drive(&daemon, "GPIO23", "high");
    let event = ws.json();
    let stamp = event["timestamp"].clone();
    assert_stamp(&event);
    let data = json!({"resource": "porch-lamp", "pin": 23, "state": "high"});
    assert_eq!(
        event,
        json!({"type": "gpio.state.changed", "timestamp": stamp, "resource": "porch-lamp", "data": data})
    );

    let body = r#"{"io":"OUTPUT","state":1}"#;
    let answer = daemon.http("PUT", "/pins/GPIO4", &[("Content-Type", "application/json")], body);
    assert_eq!(answer.status, 200);
    let event = ws.json();
    assert_eq!((&event["resource"], &event["data"]["pin"]), (&json!("GPIO4"), &json!(4)));
    assert_eq!((&event["data"]["resource"], &event["data"]["state"]), (&json!("GPIO4"), &json!("high")));

    // Several pins of one update are several events, in its order; the one that does not change is none.
    let pins = json!({"GPIO5": {"io": "INPUT", "pull": "UP"}, "GPIO6": {"io": "OUTPUT", "state": 0}, "GPIO4": {"io": "OUTPUT", "state": 0}});
    let update = json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}});
    assert_eq!(daemon.ws("/").ask(&update.to_string())["success"], true);
    let events = [ws.json(), ws.json()];
    let changes = events.each_ref().map(|event| (event["data"]["pin"].as_u64(), event["data"]["state"].as_str()));
    let expected = update["params"]["pins"].as_object().expect("pins").keys().filter(|name| *name != "GPIO6");
    let expected: Vec<_> =
        expected.map(|name| if name == "GPIO5" { (Some(5), Some("high")) } else { (Some(4), Some("low")) }).collect();
    assert_eq!(changes[..], expected[..]);
}

#[test]
fn published_messages_are_no_events_here() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    let answer = daemon.http("POST", "/publish?clientName=x", &[], r#"{"event":"door","data":"open"}"#);
    assert_eq!(answer.status, 201);
    drive(&daemon, "GPIO4", "high");
    assert_eq!(ws.json()["type"], "gpio.state.changed");
}

#[test]
fn a_warning_of_the_daemon_is_an_event() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws?types=node.**,system.**");
    // The private HTTP server has its descriptor for the next connection while it waits for one, as it does from now on.
    assert_eq!(daemon.get("/health").status, 200);
    // A daemon that may open no more descriptors cannot accept, and says so; those who are in are served on.
    let pid = Pid::from_raw(daemon.pid() as i32);
    let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), maximum: Some(4096) }).expect("prlimit");
    let waiting = daemon.tcp();
    let event = ws.json();
    assert_eq!(event["type"], "system.log.created", "{event}");
    assert_stamp(&event);
    assert_eq!(event["data"]["level"], "error");
    let message = event["data"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("cannot accept connections for now"), "{event}");
    assert_eq!(event["data"]["target"], "pinwire::front::accept");
    daemon.wait_for_log(message);
    let enough = Rlimit { current: before.current.map(|limit| limit.min(4096)).or(Some(4096)), maximum: Some(4096) };
    prlimit(pid, Resource::Nofile, enough).expect("prlimit");
    drop(waiting);
    assert_eq!(daemon.get("/health").status, 200, "and it accepts again");
}

#[test]
fn info_records_are_events_only_for_those_who_configure_it() {
    let daemon = Daemon::with_config("log_events = \"info\"\n", &[]);
    let mut ws = daemon.ws("/ws?types=system.log.created");
    assert_eq!(ws.json()["type"], "pong");
    ws.sync();
    daemon.signal("HUP");
    let event = ws.json();
    assert_eq!(event["data"]["level"], "info");
    assert!(event["data"]["message"].as_str().is_some_and(|text| text.starts_with("SIGHUP")), "{event}");
}

#[test]
fn types_in_the_query_choose_the_events() {
    let daemon = daemon();
    let mut gpio = daemon.ws("/ws?types=gpio.**,system.**");
    assert_eq!(gpio.json()["type"], "pong");
    // The status was not asked for: only the pong of this comes now.
    assert_eq!(gpio.ask(r#"{"type":"ping","request_id":"r"}"#)["request_id"], "r");
    drive(&daemon, "GPIO4", "high");
    assert_eq!(gpio.json()["type"], "gpio.state.changed");
    let mut nodes = daemon.ws("/ws?types=node.**&types=x");
    assert_eq!((&nodes.json()["type"], &nodes.json()["type"]), (&json!("pong"), &json!("node.status.changed")));
    drive(&daemon, "GPIO4", "low");
    assert_eq!(nodes.ask(r#"{"type":"ping"}"#)["type"], "pong", "and no pin's change before it");
    welcomed(&daemon, "/ws?types=");
    let long = format!("/ws?types={}", "x".repeat(300));
    let Err(tungstenite::Error::Http(answer)) = daemon.try_ws(&long, &[]) else { panic!("an endless type was taken") };
    assert_eq!(answer.status(), 400);
}

#[test]
fn pings_are_answered_in_the_code_s_dialect() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    let pong = ws.ask(r#"{"type":"ping","request_id":"r1"}"#);
    assert_eq!((&pong["type"], &pong["request_id"], &pong["data"]), (&json!("pong"), &json!("r1"), &json!({})));
    assert_stamp(&pong);
    let pong = ws.ask(r#"{"type":"ping","timestamp":"2026-03-02T08:15:30.123456789+01:00","payload":5}"#);
    assert_eq!(pong.get("request_id"), None);
    ws.0.send(tungstenite::Message::binary(&br#"{"type":"ping","request_id":"b"}"#[..])).expect("sent");
    assert_eq!(ws.json()["request_id"], "b");
}

#[test]
fn what_is_not_understood_is_an_error_frame_with_the_code_s_text() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    let table = [
        ("", "Invalid message format"),
        ("hello", "Invalid message format"),
        ("[]", "Invalid message format"),
        ("null", "Invalid message format"),
        (r#"{"type":5}"#, "Invalid message format"),
        (r#"{"type":"ping","timestamp":"now","request_id":"r"}"#, "Invalid message format"),
        (r#"{"type":"pong"}"#, "Unknown message type"),
        (r#"{"type":"dance","request_id":"r"}"#, "Unknown message type"),
        ("{}", "Unknown message type"),
        (r#"{"type":"subscribe"}"#, "Invalid subscribe message"),
        (r#"{"type":"subscribe","payload":"gpio"}"#, "Invalid subscribe message"),
        (r#"{"type":"subscribe","payload":{"topic":7}}"#, "Invalid subscribe message"),
        (r#"{"type":"unsubscribe","payload":null}"#, "Invalid unsubscribe message"),
    ];
    for (text, message) in table {
        let error = ws.ask(text);
        assert_eq!(error["type"], "error", "{text} → {error}");
        assert_eq!(error["payload"], json!({"code": 400, "message": message}), "{text}");
        assert_eq!(error.get("request_id"), None, "{text}");
        assert_stamp(&error);
    }
    assert_eq!(ws.ask(r#"{"type":"ping"}"#)["type"], "pong", "the socket is none the worse for it");
}

#[test]
fn subscribing_to_a_topic_of_the_code_adds_its_pushes() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    for topic in ["gpio", "nodes", "clusters", "", "no such topic"] {
        tell(&mut ws, "subscribe", topic);
    }
    tell(&mut ws, "subscribe", "gpio");
    drive(&daemon, "GPIO4", "high");
    let both = [ws.json(), ws.json()];
    let reading = both.iter().find(|event| event["type"] == "gpio_reading").expect("the push");
    assert!(both.iter().any(|event| event["type"] == "gpio.state.changed"), "the documented event stays: {both:?}");
    assert_stamp(reading);
    assert_stamp(&reading["payload"]);
    let payload = &reading["payload"];
    assert_eq!((&payload["pin"], &payload["value"]), (&json!(4), &json!(1.0)));
    assert!(payload["device_id"].is_u64() && payload["node_id"].is_u64(), "{reading}");

    tell(&mut ws, "unsubscribe", "gpio");
    drive(&daemon, "GPIO4", "low");
    drive(&daemon, "GPIO4", "high");
    for _ in 0..2 {
        assert_eq!(ws.json()["type"], "gpio.state.changed", "each once, and no push");
    }
}

#[test]
fn system_metrics_are_pushed_to_those_who_subscribed_to_them() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    tell(&mut ws, "subscribe", "system");
    let push = ws.json();
    assert_eq!(push["type"], "system_metrics");
    assert_stamp(&push["payload"]);
    for share in ["cpu_usage", "memory_usage"] {
        let percent = push["payload"][share].as_f64().unwrap_or_else(|| panic!("{push}"));
        assert!((0.0..=100.0).contains(&percent), "{push}");
    }
    assert!(push["payload"]["goroutines"].as_u64().is_some_and(|threads| threads > 1), "{push}");
}

#[test]
fn a_dotted_subscription_narrows_the_documented_events_and_its_end_widens_them() {
    let daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    let mut other = welcomed(&daemon, "/ws");
    tell(&mut ws, "subscribe", "system.");
    drive(&daemon, "GPIO4", "high");
    assert_eq!(ws.ask(r#"{"type":"ping"}"#)["type"], "pong", "nothing of pins any more");
    tell(&mut ws, "subscribe", "gpio.**");
    tell(&mut ws, "subscribe", "gpio.state.*");
    drive(&daemon, "GPIO4", "low");
    assert_eq!(ws.json()["data"]["state"], "low");
    tell(&mut ws, "unsubscribe", "gpio.**");
    tell(&mut ws, "unsubscribe", "gpio.state.*");
    drive(&daemon, "GPIO4", "high");
    assert_eq!(ws.ask(r#"{"type":"ping"}"#)["type"], "pong", "not both ways to it are left, and no duplicate came");
    tell(&mut ws, "unsubscribe", "system.");
    drive(&daemon, "GPIO4", "low");
    assert_eq!(ws.json()["data"]["state"], "low");
    for state in ["high", "low", "high", "low"] {
        assert_eq!(other.json()["data"]["state"], state, "the other client was never concerned");
    }
}

#[test]
fn the_end_is_announced_and_every_socket_closed_with_1001() {
    let mut daemon = daemon();
    let mut ws = welcomed(&daemon, "/ws");
    let mut code = welcomed(&daemon, "/ws?types=node.**");
    tell(&mut code, "subscribe", "nodes");
    let mut others = ["/", "/subscribe?clientName=x", "/publish?clientName=x", "/info"].map(|path| daemon.ws(path));
    others.iter_mut().for_each(Ws::sync);
    daemon.signal("TERM");
    let event = ws.json();
    assert_eq!((&event["type"], &event["node_id"]), (&json!("node.status.changed"), &json!("porch")));
    assert_eq!(event["data"], json!({"node_id": "porch", "status": "stopping"}));
    let both = [code.json(), code.json()];
    let push = both.iter().find(|event| event["type"] == "node_status").unwrap_or_else(|| panic!("{both:?}"));
    assert_eq!((&push["payload"]["name"], &push["payload"]["status"]), (&json!("porch"), &json!("stopping")));
    for ws in [&mut ws, &mut code].into_iter().chain(&mut others) {
        let (code, reason) = ws.closed();
        assert!(code == 1001 && !reason.is_empty(), "{code} {reason}");
    }
    assert!(ExitStatus::success(&daemon.wait()));
}
