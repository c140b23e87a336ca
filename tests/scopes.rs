//! Scopes of keys: each dialect refuses what a key does not allow, names the scope that is missing, and changes nothing.

mod common;

use std::path::Path;

use common::{Daemon, LIMIT, TempDir, Ws, pinwire, run};
use serde_json::{Value, json};

fn key(dir: &Path, scopes: &[&str]) -> String {
    let mut command = pinwire();
    command.args(["key", "add", "--name", "panel", "--state-dir"]).arg(dir.join("state"));
    for scope in scopes {
        command.args(["--scope", scope]);
    }
    let made = run(&mut command);
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

/// A daemon, a key that may do everything, and one with these scopes.
fn serve(scopes: &[&str]) -> (Daemon, String, String) {
    let dir = TempDir::new();
    let (all, some) = (key(dir.path(), &[]), key(dir.path(), scopes));
    let state = dir.path().join("state");
    let daemon = Daemon::start_in(dir, |command| {
        command.args(["--auth", "key", "--state-dir"]).arg(state);
    });
    (daemon, all, some)
}

fn ws(daemon: &Daemon, path: &str, key: &str) -> Ws {
    daemon.try_ws(path, &[("x-api-key", key)]).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn update(pin: &str) -> String {
    json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": {pin: {"io": "OUTPUT", "state": 1}}}}).to_string()
}

fn lacks(answer: &Value, scope: &str) {
    assert_eq!(answer["success"], false, "{answer}");
    assert_eq!(answer["error"], format!("this API key lacks the scope '{scope}'"), "{answer}");
}

#[test]
fn endrpi_s_socket_touches_only_the_pins_of_the_key() {
    let (daemon, all, some) = serve(&["read:GPIO17", "read:GPIO4", "write:GPIO17", "subscribe:gpio.**"]);
    let mut ws = ws(&daemon, "/", &some);
    let read = |pins: &[&str]| json!({"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string();
    assert_eq!(ws.ask(&read(&["GPIO17", "GPIO4"]))["success"], true);
    lacks(&ws.ask(&read(&["GPIO17", "GPIO5"])), "read:GPIO5");
    let done = ws.ask(&update("GPIO17"));
    assert_eq!(done["success"], true, "{done}");
    lacks(&ws.ask(&update("GPIO4")), "write:GPIO4");
    let both = json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": {
        "GPIO17": {"io": "OUTPUT", "state": 0}, "GPIO4": {"io": "OUTPUT", "state": 1}}}});
    lacks(&ws.ask(&both.to_string()), "write:GPIO4");
    let states = ws.ask(&read(&["GPIO17", "GPIO4"]));
    let of = |pin: &str| states["data"].to_string().contains(pin);
    assert!(of("GPIO17") && of("GPIO4"), "{states}");
    let whole = daemon.http("GET", "/pins/GPIO17", &[("X-API-Key", &all)], "").json();
    assert_eq!(whole["state"], 1.0, "a refused update changes none of its pins: {whole}");
    lacks(&ws.ask(r#"{"action":"SUBSCRIBE","params":{"topics":["gpio.**","system.**"]}}"#), "subscribe:system.**");
    assert_eq!(ws.ask(r#"{"action":"SUBSCRIBE","params":{"topics":["gpio.state.*"]}}"#)["success"], true);
    // Telemetry has no scope.
    assert_eq!(ws.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
    // The same with the key in the first message, and more with a better one.
    let mut late = daemon.ws("/");
    let auth = |key: &str| json!({"action": "AUTH", "params": {"api_key": key}}).to_string();
    assert_eq!(late.ask(&auth(&some))["success"], true);
    lacks(&late.ask(&update("GPIO4")), "write:GPIO4");
    assert_eq!(late.ask(&auth(&all))["success"], true);
    assert_eq!(late.ask(&update("GPIO4"))["success"], true);
}

#[test]
fn endrpi_s_rest_answers_403_and_names_the_scope() {
    let (daemon, all, some) = serve(&["read:GPIO17", "write:GPIO4"]);
    let with = |key: &str, method: &str, path: &str, body: &str| {
        daemon.http(method, path, &[("X-API-Key", key), ("Content-Type", "application/json")], body)
    };
    let refused = |method: &str, path: &str, body: &str, scope: &str| {
        let answer = with(&some, method, path, body);
        let text = format!("this API key lacks the scope '{scope}'");
        assert_eq!((answer.status, &answer.json()["message"]), (403, &json!(text)), "{method} {path}");
    };
    let on = r#"{"io":"OUTPUT","state":1}"#;
    assert_eq!(with(&some, "GET", "/pins/GPIO17", "").status, 200);
    assert_eq!(with(&some, "PUT", "/pins/GPIO4", on).status, 200);
    assert_eq!(with(&some, "GET", "/system/memory", "").status, 200);
    refused("GET", "/pins/GPIO4", "", "read:GPIO4");
    refused("GET", "/pins", "", "read:GPIO2");
    refused("GET", "/lines", "", "read:GPIO0");
    refused("GET", "/lines/GPIO5", "", "read:GPIO5");
    refused("PUT", "/pins/GPIO17", on, "write:GPIO17");
    refused("POST", "/pins/GPIO17/pulse", r#"{"duration":"10ms"}"#, "write:GPIO17");
    let blink = with(&all, "POST", "/pins/GPIO22/blink", r#"{"on":"1s","off":"1s"}"#);
    if let Some(id) = blink.json()["sequence"].as_str() {
        refused("DELETE", &format!("/sequences/{id}"), "", "write:GPIO22");
    } else {
        panic!("{blink:?}");
    }
}

#[test]
fn events_are_narrowed_to_the_key() {
    let (daemon, all, some) = serve(&["subscribe:gpio.**"]);
    let mut ws = ws(&daemon, "/ws", &some);
    assert_eq!(ws.json()["type"], "pong");
    let refused = |ws: &mut Ws, topic: &str, scope: &str| {
        ws.send(&json!({"type": "subscribe", "payload": {"topic": topic}}).to_string());
        let answer = ws.until(|frame| frame["type"] == "error");
        assert!(answer.to_string().contains(&format!("lacks the scope '{scope}'")), "{answer}");
    };
    refused(&mut ws, "system", "subscribe:system.metrics");
    refused(&mut ws, "nodes", "subscribe:node.status.changed");
    refused(&mut ws, "system.**", "subscribe:system.**");
    let on = daemon.http(
        "PUT",
        "/pins/GPIO17",
        &[("X-API-Key", &all), ("Content-Type", "application/json")],
        r#"{"io":"OUTPUT","state":1}"#,
    );
    assert_eq!(on.status, 200);
    // Not the node's status, which everybody else gets first.
    assert_eq!(ws.json()["type"], "gpio.state.changed");
    let status = |path: &str| match daemon.try_ws(path, &[("x-api-key", &some)]) {
        Ok(_) => 101,
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    };
    assert_eq!((status("/ws?types=gpio.state.*"), status("/ws?types=gpio.**,node.**")), (101, 403));
    let mut late = daemon.ws("/ws?types=node.**");
    late.send(&json!({"type": "auth", "token": some}).to_string());
    assert_eq!(late.closed(), (4503, "this API key lacks the scope 'subscribe:node.**'".into()));
}

#[test]
fn picloud_refuses_in_its_own_form() {
    let (daemon, all, some) = serve(&["publish:door", "subscribe:door", "subscribe:alarm.*"]);
    let mut publish = ws(&daemon, "/publish?clientName=a", &some);
    let mut subscribe = ws(&daemon, "/subscribe?clientName=b", &some);
    let mut everything = ws(&daemon, "/subscribe?clientName=c", &all);
    for event in ["door", "window"] {
        everything.send(&json!({"action": "subscribe", "event": event}).to_string());
        subscribe.send(&json!({"action": "subscribe", "event": event}).to_string());
    }
    let refused = subscribe.json();
    assert_eq!((&refused["action"], &refused["event"]), (&json!("error"), &json!("window")), "{refused}");
    assert_eq!(refused["error"], "this API key lacks the scope 'subscribe:window'");
    everything.sync();
    publish.send(r#"{"event":"window","data":"open"}"#);
    let refused = publish.json();
    assert_eq!(refused["error"], "this API key lacks the scope 'publish:window'", "{refused}");
    publish.send(r#"{"event":"door","data":"open"}"#);
    for ws in [&mut subscribe, &mut everything] {
        let event = ws.json();
        assert_eq!((&event["event"], &event["data"]), (&json!("door"), &json!("open")), "nothing before it: {event}");
    }
    let http = |event: &str| {
        let body = json!({"event": event, "data": "x"}).to_string();
        daemon.http("POST", "/publish", &[("X-API-Key", &some), ("X-API-Client-Name", "h")], &body)
    };
    assert_eq!(http("door").status, 201);
    let refused = http("window");
    assert_eq!(
        (refused.status, refused.body.trim()),
        (403, "Forbidden: this API key lacks the scope 'publish:window'")
    );
    assert_eq!(daemon.http("GET", "/info", &[("X-API-Key", &all)], "").status, 400, "a socket's path");
    assert!(
        daemon.try_ws("/info", &[("x-api-key", &some)]).is_err()
            && daemon.try_ws("/info", &[("x-api-key", &all)]).is_ok()
    );
}

#[test]
fn the_fleet_s_rest_asks_for_verbs() {
    let (daemon, _, command) = serve(&["command"]);
    let state = daemon.dir.path().to_owned();
    let (admin, pins) = (key(&state, &["admin"]), key(&state, &["read:*"]));
    let status = |key: &str, method: &str, path: &str| {
        let answer = daemon.http(method, path, &[("X-API-Key", key)], "");
        (answer.status, answer.body)
    };
    let begun = std::time::Instant::now();
    while status(&pins, "GET", "/pins").0 != 200 {
        assert!(begun.elapsed() < LIMIT, "the new keys are not known");
    }
    let refused = |key: &str, method: &str, path: &str, scope: &str| {
        let (status, body) = status(key, method, path);
        assert!(
            status == 403 && body.contains(&format!("lacks the scope '{scope}'")),
            "{method} {path}: {status} {body}"
        );
    };
    let server = "/0c9b1a52-0000-4000-8000-000000000001";
    assert_eq!(status(&command, "GET", "/api/v1/servers").0, 200);
    refused(&command, "POST", "/api/v1/servers", "admin");
    refused(&command, "GET", &format!("/api/v1/docker{server}/containers"), "docker");
    refused(&command, "GET", "/api/v1/alerts", "admin");
    refused(&command, "GET", "/api/v1/api-keys", "admin");
    refused(&pins, "GET", "/api/v1/servers", "docker");
    refused(&pins, "POST", &format!("/api/v1/commands{server}"), "command");
    refused(&admin, "GET", "/pins", "read:GPIO2");
    assert_eq!(status(&admin, "GET", "/api/v1/servers").0, 200);
    assert_eq!(status(&admin, "GET", "/api/v1/api-keys").0, 200);
}

#[test]
fn a_scope_that_is_none_is_refused_on_the_command_line() {
    let dir = TempDir::new();
    for scope in ["everything", "read:GPIO99", "publish:", "write"] {
        let mut command = pinwire();
        command.args(["key", "add", "--name", "a", "--scope", scope, "--state-dir"]).arg(dir.path());
        let output = run(&mut command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("--scope"), "{said}");
    }
    key(dir.path(), &["read:pin11", "publish:a b"]);
    let listed = run(pinwire().args(["key", "list", "--state-dir"]).arg(dir.path().join("state")));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("read:pin11, publish:a b"), "{listed:?}");
}
