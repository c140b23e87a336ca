//! What somebody must not get by way of the fleet: more than a key's scopes or a user's servers, names of users, and a
//! line of its own in the log or on a terminal.

mod common;
mod fleet;

use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use common::{LIMIT, pinwire, run};
use fleet::Hub;
use serde_json::{Value, json};

const PASSWORD: &str = "a password for tests";

/// A key with these scopes, made beside the running hub, as soon as the hub knows it.
fn key(hub: &Hub, scopes: &[&str]) -> String {
    let mut command = pinwire();
    command.args(["key", "add", "--name", "panel", "--state-dir"]).arg(hub.database().parent().expect("a directory"));
    for scope in scopes {
        command.args(["--scope", scope]);
    }
    let made = run(&mut command);
    assert!(made.status.success(), "{made:?}");
    let key = String::from_utf8(made.stdout).expect("text").trim().to_owned();
    let begun = Instant::now();
    while hub.rest_with(&key, "GET", "/servers", &Value::Null).status == 401 {
        assert!(begun.elapsed() < LIMIT, "the new key is not known");
    }
    key
}

/// A user, and an access token.
fn user(hub: &Hub, name: &str, role: &str) -> String {
    let mut command = pinwire();
    command.args(["user", "add", "--username", name, "--email", &format!("{name}@example.org"), "--role", role]);
    command.arg("--state-dir").arg(hub.database().parent().expect("a directory"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("starts");
    writeln!(child.stdin.take().expect("piped"), "{PASSWORD}").expect("a password");
    assert!(child.wait().expect("ends").success());
    let body = json!({"username": name, "password": PASSWORD}).to_string();
    let begun = Instant::now();
    loop {
        let answer = hub.daemon.http("POST", "/api/v1/auth/login", &[("Content-Type", "application/json")], &body);
        if answer.status == 200 {
            return answer.json()["access_token"].as_str().expect("a token").to_owned();
        }
        assert!(begun.elapsed() < LIMIT, "'{name}' cannot log in: {}", answer.body);
    }
}

fn lacks(answer: &common::Answer, scope: &str) {
    let text = format!("lacks the scope '{scope}'");
    assert!(answer.status == 403 && answer.body.contains(&text), "{}: {}", answer.status, answer.body);
}

#[test]
fn a_key_that_administers_gets_at_no_pin_by_way_of_the_fleet() {
    let hub = Hub::start("");
    let servers = hub.get("/servers");
    let own = servers[0]["id"].as_str().expect("the hub's own server").to_owned();
    let path = format!("/servers/{own}/actions");
    let update =
        json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": {"GPIO17": {"io": "OUTPUT", "state": 1}}}});
    let read = json!({"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": ["GPIO17"]}});
    let memory = json!({"action": "READ_MEMORY"});
    let admin = key(&hub, &["admin", "write:GPIO4"]);
    lacks(&hub.rest_with(&admin, "POST", &path, &update), "read:*");
    lacks(&hub.rest_with(&admin, "POST", &path, &read), "read:*");
    lacks(&hub.rest_with(&admin, "POST", &path, &json!({"action": "NEW_ONE"})), "read:*");
    assert_eq!(hub.rest_with(&admin, "POST", &path, &memory).status, 200);
    lacks(&hub.rest_with(&admin, "GET", "/nodes/1/gpio", &Value::Null), "read:GPIO0");
    let pins = key(&hub, &["admin", "read:*", "write:*"]);
    for request in [&update, &read, &memory] {
        let answer = hub.rest_with(&pins, "POST", &path, request);
        assert_eq!((answer.status, &answer.json()["success"]), (200, &json!(true)), "{}", answer.body);
    }
    assert_eq!(hub.rest_with(&pins, "GET", "/nodes/1/gpio", &Value::Null).status, 200);
    // To find the server is one thing, what happened on it another.
    let command = key(&hub, &["command"]);
    assert_eq!(hub.rest_with(&command, "GET", &format!("/servers/{own}"), &Value::Null).status, 200);
    lacks(&hub.rest_with(&command, "GET", &format!("/servers/{own}/events"), &Value::Null), "admin");
}

#[test]
fn the_machines_of_others_are_no_nodes_of_one_s_own() {
    let hub = Hub::start("");
    let (ann, ben) = (user(&hub, "ann", "operator"), user(&hub, "ben", "operator"));
    let boss = user(&hub, "boss", "admin");
    let rest = |token: &str, method: &str, path: &str, body: &Value| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        hub.daemon.http(method, &format!("/api/v1{path}"), &headers, &body)
    };
    let made = rest(&ann, "POST", "/servers", &json!({"name": "attic"}));
    assert_eq!(made.status, 201, "{}", made.body);
    let server = made.json()["id"].as_str().expect("an id").to_owned();
    let mut agent = hub.socket(&[]);
    let hello = json!({"type": "auth", "api_key": hub.agent_key(&server), "agent": {"name": "attic", "version": "0.1.0",
        "cluster": "lab", "node": {"ip_address": "10.1.2.3", "mac_address": "DC:A6:32:00:00:03"}}});
    assert_eq!(agent.ask(&hello.to_string())["type"], "auth_success");
    let begun = Instant::now();
    while rest(&ann, "GET", "/nodes/attic", &Value::Null).status != 200 {
        assert!(begun.elapsed() < LIMIT, "the agent is no node");
    }
    let names = |token: &str, path: &str| {
        let nodes = rest(token, "GET", path, &Value::Null).json()["nodes"].clone();
        let names: Vec<String> = nodes.as_array().expect("nodes").iter().map(|node| node["name"].to_string()).collect();
        names.contains(&"\"attic\"".to_owned())
    };
    for path in ["/nodes", "/clusters/lab/nodes"] {
        assert!(names(&ann, path) && names(&boss, path) && !names(&ben, path), "{path}");
    }
    let cluster = rest(&ben, "GET", "/clusters/lab", &Value::Null);
    assert!(cluster.status == 200 && !cluster.body.contains("10.1.2.3"), "{}", cluster.body);
    assert_eq!(rest(&ben, "POST", "/clusters", &json!({"name": "mine"})).status, 201);
    // As one that is not there at all.
    for (method, path, body) in [
        ("GET", "/nodes/NAME", Value::Null),
        ("GET", "/nodes/NAME/gpio", Value::Null),
        ("PUT", "/nodes/NAME", json!({"status": "maintenance"})),
        ("POST", "/clusters/mine/nodes", json!({"node_id": "NAME"})),
        ("DELETE", "/clusters/lab/nodes/NAME", Value::Null),
    ] {
        let of = |name: &str| {
            let body = body.to_string().replace("NAME", name);
            let body = serde_json::from_str(&body).expect("JSON");
            let answer = rest(&ben, method, &path.replace("NAME", name), &body);
            (answer.status, answer.body)
        };
        let answer = of("attic");
        assert!(matches!(answer.0, 400 | 404), "{method} {path}: {answer:?}");
        assert_eq!(answer, of("nobody"), "{method} {path}");
    }
    assert_eq!(rest(&ann, "PUT", "/nodes/attic", &json!({"status": "maintenance"})).status, 200);
}

#[test]
fn who_registers_cannot_find_out_quickly_who_is_there() {
    let hub = Hub::start("[auth]\nopen_registration = true\n");
    user(&hub, "ann", "operator");
    let body = json!({"email": "ann@example.org", "username": "x", "password": PASSWORD, "password_confirm": PASSWORD});
    let statuses: Vec<u16> = (0..10)
        .map(|_| {
            let headers = [("Content-Type", "application/json")];
            hub.daemon.http("POST", "/api/v1/auth/register", &headers, &body.to_string()).status
        })
        .collect();
    assert_eq!((statuses[0], statuses[9]), (400, 429), "{statuses:?}");
}

#[test]
fn names_are_one_line_in_the_log_and_on_a_terminal() {
    let hub = Hub::start("");
    let server = hub.server("a\n2026-01-01T00:00:00Z [ERROR] \u{1b}[2J");
    let first = hub.agent_key(&server);
    let _one = hub.agent(&first);
    let _two = hub.agent(&first);
    hub.daemon.wait_for_log(r"server 'a\n2026-01-01T00:00:00Z [ERROR] \u{1b}[2J': another agent has come");
    let named = json!({"server_id": server, "name": "a\n\u{1b}]0;x\u{7}"});
    assert_eq!(hub.rest("POST", "/api-keys", &named).status, 201);
    let listed = run(pinwire().args(["key", "list", "--state-dir"]).arg(hub.database().parent().expect("a directory")));
    let text = String::from_utf8(listed.stdout).expect("text");
    assert!(text.contains(r"a\n\u{1b}]0;x\u{7}"), "{text:?}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn an_agent_cannot_fill_the_store_with_streams() {
    let mut hub = Hub::start("");
    let server = hub.server("many");
    let mut agent = hub.agent(&hub.agent_key(&server));
    for stream in 0..1500 {
        let event = json!({"type": "t", "data": {}});
        agent.send(&json!({"type": "event", "event": event, "stream": format!("s{stream}"), "seq": 1}).to_string());
    }
    agent.send(&json!({"type": "ping"}).to_string());
    agent.until(|message| message["type"] == "pong");
    assert!(hub.daemon.stop().success());
    let store = rusqlite::Connection::open(hub.database()).expect("the store");
    let rows: i64 = store.query_row("SELECT count(*) FROM streams", [], |row| row.get(0)).expect("a count");
    assert!((64..=256).contains(&rows), "{rows} streams");
}
