//! Endrpi's passive messages: SUBSCRIBE, EVENT, UNSUBSCRIBE on the WebSocket at `/`.

mod common;

use common::{Daemon, Ws};
use serde_json::{Value, json};

fn subscribe(ws: &mut Ws, topics: Value) {
    let answer = ws.ask(&json!({"action": "SUBSCRIBE", "params": {"topics": topics}}).to_string());
    assert_eq!((&answer["success"], &answer["error"]), (&json!(true), &Value::Null), "{answer}");
}

fn drive(ws: &mut Ws, pin: &str, level: &str) {
    let request = json!({"action": "SIMULATE_INPUT", "params": {"pin": pin, "level": level}});
    assert_eq!(ws.ask(&request.to_string())["success"], true);
}

fn publish(daemon: &Daemon, event: &str, data: &str) {
    let body = json!({"event": event, "data": data}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=test", &[], &body).status, 201, "{event}");
}

/// The pin of a `gpio.state.changed` in an EVENT.
fn pin_of(event: &Value) -> &Value {
    assert_eq!(event["action"], "EVENT", "{event}");
    &event["data"]["data"]["pin"]
}

#[test]
fn an_event_is_an_endrpi_message_of_its_own() {
    let daemon = Daemon::start(&[]);
    let (mut watcher, mut actor) = (daemon.ws("/"), daemon.ws("/"));
    subscribe(&mut watcher, json!(["gpio.**"]));
    drive(&mut actor, "GPIO4", "high");
    let text = watcher.text();
    let event: Value = serde_json::from_str(&text).expect("JSON");
    let stamp = event["data"]["timestamp"].as_str().expect("a timestamp");
    assert!(stamp.ends_with('Z') && humantime::parse_rfc3339(stamp).is_ok(), "{stamp}");
    assert_eq!(
        text,
        format!(
            r#"{{"action":"EVENT","success":true,"data":{{"topic":"gpio.state.changed","timestamp":"{stamp}","data":{{"resource":"GPIO4","pin":4,"state":"high"}}}},"error":null}}"#
        )
    );
    // The subscriber's own changes are news to it, too, and its requests are answered as before.
    let update =
        json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": {"GPIO5": {"io": "OUTPUT", "state": 1}}}});
    watcher.send(&update.to_string());
    let (first, second) = (watcher.json(), watcher.json());
    let (answer, event) = if first["action"] == "EVENT" { (second, first) } else { (first, second) };
    assert_eq!(answer["data"], "Pin configurations updated");
    assert_eq!(pin_of(&event), 5);
}

#[test]
fn an_unchanged_level_is_no_event() {
    let daemon = Daemon::start(&[]);
    let (mut watcher, mut actor) = (daemon.ws("/"), daemon.ws("/"));
    subscribe(&mut watcher, json!(["gpio.**"]));
    drive(&mut actor, "GPIO4", "low");
    drive(&mut actor, "GPIO5", "high");
    drive(&mut actor, "GPIO5", "high");
    drive(&mut actor, "GPIO6", "high");
    assert_eq!(pin_of(&watcher.json()), 5);
    assert_eq!(pin_of(&watcher.json()), 6);
}

#[test]
fn overlapping_patterns_bring_each_event_once() {
    let daemon = Daemon::start(&[]);
    let (mut watcher, mut actor) = (daemon.ws("/"), daemon.ws("/"));
    subscribe(&mut watcher, json!(["gpio.*.*", "gpio.**", "gpio.", "**"]));
    subscribe(&mut watcher, json!(["gpio.state.changed", "gpio.**", "*.*.changed"]));
    for pin in 4..10 {
        drive(&mut actor, &format!("GPIO{pin}"), "high");
    }
    for pin in 4..10 {
        assert_eq!(pin_of(&watcher.json()), pin);
    }
    // One less is not none.
    let answer =
        watcher.ask(r#"{"action":"UNSUBSCRIBE","params":{"topics":["gpio.**","**","gpio.*.*","never.subscribed"]}}"#);
    assert_eq!(answer["success"], true, "{answer}");
    drive(&mut actor, "GPIO10", "high");
    assert_eq!(pin_of(&watcher.json()), 10);
}

#[test]
fn patterns_select_topics_level_by_level() {
    let daemon = Daemon::start(&[]);
    let mut watcher = daemon.ws("/");
    subscribe(&mut watcher, json!(["house.*.door", "garage.", "cellar.**", "roof.*"]));
    for topic in
        ["house.door", "house.a.b.door", "house.front.door", "garage", "garagex.a", "garage.a.b", "cellar", "roof.a.b"]
    {
        publish(&daemon, topic, "");
    }
    publish(&daemon, "cellar.light", "");
    publish(&daemon, "roof.a", "");
    for expected in ["house.front.door", "garage.a.b", "cellar", "cellar.light", "roof.a"] {
        assert_eq!(watcher.json()["data"]["topic"], expected);
    }
}

#[test]
fn messages_of_picloud_s_publishers_are_events_too() {
    let daemon = Daemon::start(&[]);
    let mut watcher = daemon.ws("/");
    subscribe(&mut watcher, json!(["door"]));
    publish(&daemon, "window", "closed");
    publish(&daemon, "door", "open \"wide\" – ä");
    let event = watcher.json();
    assert_eq!(event["data"]["topic"], "door");
    assert_eq!(event["data"]["data"], "open \"wide\" – ä");
    daemon.ws("/publish?clientName=socket").send(r#"{"event":"door","data":"shut"}"#);
    assert_eq!(watcher.json()["data"]["data"], "shut");
}

#[test]
fn unsubscribing_ends_what_was_named_or_everything() {
    let daemon = Daemon::start(&[]);
    let (mut watcher, mut actor) = (daemon.ws("/"), daemon.ws("/"));
    assert_eq!(watcher.ask(r#"{"action":"UNSUBSCRIBE"}"#)["success"], true, "nothing to unsubscribe is no error");
    subscribe(&mut watcher, json!(["gpio.**", "door", "window"]));
    assert_eq!(watcher.ask(r#"{"action":"UNSUBSCRIBE","params":{"topics":["door"]}}"#)["data"], "Unsubscribed");
    publish(&daemon, "door", "");
    publish(&daemon, "window", "");
    assert_eq!(watcher.json()["data"]["topic"], "window");
    assert_eq!(watcher.ask(r#"{"action":"UNSUBSCRIBE"}"#)["success"], true);
    publish(&daemon, "window", "");
    drive(&mut actor, "GPIO4", "high");
    assert_eq!(watcher.ask(r#"{"action":"READ_MEMORY"}"#)["action"], "READ_MEMORY", "no event came in between");
    subscribe(&mut watcher, json!(["gpio.**"]));
    drive(&mut actor, "GPIO4", "low");
    assert_eq!(watcher.json()["data"]["data"]["state"], "low");
}

#[test]
fn subscriptions_that_cannot_be_are_refused_with_the_reason() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let long = "x".repeat(257);
    let table = [
        (Value::Null, "missing 'params'"),
        (json!({}), "missing 'params'"),
        (json!({"topic": "gpio.**"}), "missing 'topics'"),
        (json!({"topics": "gpio.**"}), "invalid 'topics'"),
        (json!({"topics": [1]}), "invalid 'topics'"),
        (json!({"topics": []}), "At least one topic"),
        (json!({"topics": [""]}), "must not be empty"),
        (json!({"topics": ["a", long]}), "256"),
        (json!({"topics": ["a.".repeat(16) + "*"]}), "16 levels"),
        (json!({"topics": ["**.a"]}), "last level"),
    ];
    for (params, part) in table {
        let answer = ws.ask(&json!({"action": "SUBSCRIBE", "params": params, "id": 7}).to_string());
        assert_eq!((&answer["action"], &answer["success"]), (&json!("SUBSCRIBE"), &json!(false)), "{answer}");
        assert_eq!(answer["id"], 7);
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(part)), "{part}: {answer}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("t{n}")).collect();
    let answer = ws.ask(&json!({"action": "SUBSCRIBE", "params": {"topics": many}}).to_string());
    assert_eq!(answer["error"], "Too many topics: at most 100 per connection");
    subscribe(&mut ws, json!(many[1..]));
    publish(&daemon, "t0", "");
    publish(&daemon, "t100", "");
    assert_eq!(ws.json()["data"]["topic"], "t100");
}
