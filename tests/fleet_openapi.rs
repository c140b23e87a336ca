//! The fleet's part of the API's description against a hub: what is described is served, what comes back is what is
//! described, and every success that is described can be had.

#[path = "openapi/api.rs"]
mod api;
mod common;
mod fleet;
mod schema;

use std::collections::BTreeSet;

use api::Api;
use common::Answer;
use fleet::Hub;
use serde_json::{Value, json};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// Of no use to anybody new; they have no success.
fn is_deprecated(what: &Value) -> bool {
    what["deprecated"] == true
}

fn is_fleet(operation: &api::Operation) -> bool {
    operation.1.starts_with("/api/v1/")
}

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { NOBODY } else { part }).collect();
    parts.join("/")
}

#[test]
fn what_is_described_is_served_and_answers_strangers_as_described() {
    let hub = Hub::start("");
    let api = Api::of(&hub.daemon);
    for (method, path, what) in api.operations().into_iter().filter(is_fleet) {
        let nobody = hub.daemon.http(&method, &filled(path), &[("Content-Type", "application/json")], "{}");
        assert_ne!(nobody.json()["detail"], "Not Found", "{method} {path} is not served");
        api.check(&method, path, &nobody);
        let open = what["security"].as_array().is_some_and(Vec::is_empty);
        assert!(open || nobody.status == 401, "{method} {path}: {nobody:?}");
        let wrong = [("X-API-Key", "wrong"), ("Content-Type", "application/json")];
        api.check(&method, path, &hub.daemon.http(&method, &filled(path), &wrong, "{}"));
    }
}

#[test]
fn what_is_not_described_is_not_served() {
    let hub = Hub::start("");
    let api = Api::of(&hub.daemon);
    let known: BTreeSet<(String, &str)> =
        api.operations().into_iter().filter(is_fleet).map(|(method, path, _)| (method, path)).collect();
    let paths: BTreeSet<&str> = known.iter().map(|(_, path)| *path).collect();
    for path in &paths {
        let own: Vec<&str> =
            METHODS.into_iter().filter(|method| known.contains(&((*method).to_owned(), *path))).collect();
        for method in METHODS.into_iter().chain(["PATCH"]).filter(|method| !own.contains(method)) {
            let real = filled(path).trim_start_matches("/api/v1").to_owned();
            let answer = hub.rest(method, &real, &json!({}));
            // A path may fit another description as well: `/alerts/thresholds` is no alert.
            let allowed: Vec<&str> = answer.header("allow").unwrap_or_default().split(", ").collect();
            assert_eq!((answer.status, allowed), (405, own.clone()), "{method} {path}");
        }
        let more =
            hub.rest("GET", &format!("{}/more/and/more", filled(path).trim_start_matches("/api/v1")), &Value::Null);
        assert_eq!((more.status, more.json()), (404, json!({"detail": "Not Found"})), "{path}");
    }
}

#[test]
fn every_operation_has_its_success_and_what_it_says_is_described() {
    let hub = Hub::start("[auth]\nopen_registration = true\n");
    let api = Api::of(&hub.daemon);
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    users(&hub, &api, &mut seen);
    // Asks, checks the answer against the description, and hands out its body.
    let mut ask = |method: &str, documented: &str, path: &str, body: Value, status: u16| {
        let answer = hub.rest(method, path, &body);
        checked(&api, &mut seen, method, documented, &answer, status)
    };
    let server = ask("POST", "/servers", "/servers", json!({"name": "greenhouse"}), 201);
    let id = server["id"].as_str().expect("an id").to_owned();
    let of = |path: &str| path.replace("{server_id}", &id);
    for (method, path, body, status) in [
        ("GET", "/servers", Value::Null, 200),
        ("GET", "/servers/{server_id}", Value::Null, 200),
        ("PUT", "/servers/{server_id}", json!({"name": "shed", "metadata": {"a": [1]}}), 200),
        ("POST", "/servers/{server_id}/health", Value::Null, 200),
        ("GET", "/servers/{server_id}/events", Value::Null, 200),
        ("GET", "/logs/{server_id}", Value::Null, 200),
        ("GET", "/docker/{server_id}/containers", Value::Null, 200),
        ("POST", "/metrics/{server_id}", serde_json::from_str(SAMPLE).expect("JSON"), 201),
        ("POST", "/metrics", with_server(&id), 201),
        ("GET", "/metrics/{server_id}", Value::Null, 200),
        ("GET", "/metrics/{server_id}/latest", Value::Null, 200),
        ("GET", "/metrics/{server_id}/history", Value::Null, 200),
    ] {
        ask(method, path, &of(path), body, status);
    }
    let wanted = json!({"server_id": id, "metric_type": "cpu", "threshold_value": 10, "comparison": "gt"});
    let threshold = ask("POST", "/alerts/thresholds", "/alerts/thresholds", wanted, 201);
    ask("GET", "/alerts/thresholds", "/alerts/thresholds", Value::Null, 200);
    ask("POST", "/metrics/{server_id}", &of("/metrics/{server_id}"), serde_json::from_str(SAMPLE).expect("JSON"), 201);
    let alerts = ask("GET", "/alerts", &format!("/alerts?server_id={id}"), Value::Null, 200);
    let alert = alerts[0]["id"].as_str().expect("an alert").to_owned();
    for (method, path) in [
        ("GET", "/alerts/{alert_id}"),
        ("POST", "/alerts/{alert_id}/acknowledge"),
        ("POST", "/alerts/{alert_id}/resolve"),
    ] {
        ask(method, path, &path.replace("{alert_id}", &alert), Value::Null, 200);
    }
    let one = "/alerts/thresholds/{threshold_id}";
    let own = one.replace("{threshold_id}", threshold["id"].as_str().expect("an id"));
    ask("PUT", one, &own, json!({"enabled": false}), 200);
    ask("DELETE", one, &own, Value::Null, 204);
    let key = ask("POST", "/api-keys", "/api-keys", json!({"server_id": id, "name": "first"}), 201);
    keys(&mut ask, &id, key["id"].as_str().expect("an id"));
    clusters(&mut ask);
    ask("DELETE", "/servers/{server_id}", &of("/servers/{server_id}"), Value::Null, 204);
    // Its agent is told what its key is; it is an agent of another server by now.
    let (other, me) = (hub.server("other"), "/api-keys/me");
    let own =
        hub.rest("POST", "/api-keys", &json!({"server_id": other})).json()["key"].as_str().expect("a key").to_owned();
    checked(&api, &mut seen, "GET", me, &hub.rest_with(&own, "GET", me, &Value::Null), 200);
    let described: BTreeSet<(String, String)> = api
        .operations()
        .into_iter()
        .filter(|operation| is_fleet(operation) && !is_deprecated(operation.2))
        .map(|(method, path, _)| (method, path.trim_start_matches("/api/v1").to_owned()))
        .filter(|(_, path)| !elsewhere(path))
        .collect();
    assert_eq!(seen, described, "every success was seen, and no other");
}

/// What needs an agent that answers: the run of schemathesis has one.
fn elsewhere(path: &str) -> bool {
    ["/commands/", "/actions", "/containers/"].iter().any(|part| path.contains(part))
}

const SAMPLE: &str = r#"{"cpu":{"usage_percent":50.5,"cores":2,"per_core_percent":[1,100]},"memory":{"total_gb":3.7,
    "usage_percent":30.2},"disk":{"total_gb":29.1,"used_gb":8,"available_gb":19.6,"usage_percent":29},"network":
    {"bytes_sent":1,"bytes_recv":2},"load":[0.1,0.2,0.3],"temperature_celsius":48.3,"throttled":0,"uptime_seconds":5,
    "clock_synchronised":true,"interfaces":[{"interface":"lo","bytes_sent":1,"bytes_recv":2}],"containers":[{"id":"a",
    "name":"web","ports":[{"private_port":80}]}],"processes":[{"pid":1,"name":"init","cpu":0.5,"memory":1.5}]}"#;

fn with_server(id: &str) -> Value {
    let mut sample: Value = serde_json::from_str(SAMPLE).expect("JSON");
    sample["server_id"] = id.into();
    sample
}

/// Asks for one documented operation; the path behind `/api/v1`.
type Ask<'a> = dyn FnMut(&str, &str, &str, Value, u16) -> Value + 'a;

fn keys(ask: &mut Ask, server: &str, key: &str) {
    let of_server = "/api-keys/server/{server_id}";
    ask("GET", of_server, &of_server.replace("{server_id}", server), Value::Null, 200);
    ask("GET", "/api-keys", "/api-keys", Value::Null, 200);
    for (method, path, status) in
        [("POST", "/api-keys/{key_id}/deactivate", 200), ("DELETE", "/api-keys/{key_id}", 204)]
    {
        ask(method, path, &path.replace("{key_id}", key), Value::Null, status);
    }
}

/// A user from the registration to the end of the login.
fn users(hub: &Hub, api: &Api, seen: &mut BTreeSet<(String, String)>) {
    let mut token = String::new();
    let mut ask = |method: &str, path: &str, token: &str, body: Value, status: u16| {
        let answer = hub.rest_with(token, method, path, &body);
        checked(api, seen, method, path, &answer, status)
    };
    let (old, new) = ("correct horse battery", "staple correct horse");
    let person = json!({"email": "ada@example.org", "username": "ada", "password": old, "password_confirm": old});
    ask("POST", "/auth/register", &token, person, 201);
    let change = json!({"current_password": old, "new_password": new, "new_password_confirm": new});
    for (password, method, path, body) in [
        (old, "GET", "/auth/me", Value::Null),
        (old, "GET", "/auth/profile", Value::Null),
        (old, "PUT", "/auth/me", json!({"full_name": "Ada"})),
        (old, "POST", "/auth/change-password", change),
        (new, "POST", "/auth/logout", Value::Null),
    ] {
        let login = ask("POST", "/auth/login", &token, json!({"username": "ada", "password": password}), 200);
        token = login["access_token"].as_str().expect("a token").to_owned();
        ask("POST", "/auth/refresh", &token, json!({"refresh_token": login["refresh_token"]}), 200);
        ask(method, path, &token, body, 200);
    }
}

fn clusters(ask: &mut Ask) {
    let cluster = ask("POST", "/clusters", "/clusters", json!({"name": "lab"}), 201);
    let node =
        json!({"name": "by-hand", "ip_address": "192.0.2.7", "mac_address": "b8:27:eb:00:00:01", "role": "worker"});
    let node = ask("POST", "/nodes", "/nodes", node, 201);
    let real = |path: &str| {
        path.replace("{cluster_id}", &cluster["id"].to_string()).replace("{node_id}", &node["id"].to_string())
    };
    for (method, path, body, status) in [
        ("GET", "/clusters", Value::Null, 200),
        ("GET", "/nodes", Value::Null, 200),
        ("PUT", "/clusters/{cluster_id}", json!({"description": "by the window"}), 200),
        ("POST", "/clusters/{cluster_id}/nodes", json!({"node_id": node["id"]}), 200),
        ("GET", "/clusters/{cluster_id}/nodes", Value::Null, 200),
        ("GET", "/clusters/{cluster_id}", Value::Null, 200),
        ("GET", "/clusters/{cluster_id}/status", Value::Null, 200),
        ("GET", "/nodes/{node_id}", Value::Null, 200),
        ("PUT", "/nodes/{node_id}", json!({"role": "master"}), 200),
        ("DELETE", "/clusters/{cluster_id}/nodes/{node_id}", Value::Null, 204),
        ("DELETE", "/nodes/{node_id}", Value::Null, 204),
        ("DELETE", "/clusters/{cluster_id}", Value::Null, 204),
        ("GET", "/system/info", Value::Null, 200),
        ("GET", "/system/metrics", Value::Null, 200),
    ] {
        ask(method, path, &real(path), body, status);
    }
    // The hub itself is the first node.
    ask("GET", "/nodes/{node_id}/gpio", "/nodes/1/gpio", Value::Null, 200);
}

fn checked(
    api: &Api,
    seen: &mut BTreeSet<(String, String)>,
    method: &str,
    documented: &str,
    answer: &Answer,
    status: u16,
) -> Value {
    assert_eq!(answer.status, status, "{method} {documented}: {}", answer.body);
    api.check(method, &format!("/api/v1{documented}"), answer);
    seen.insert((method.to_owned(), documented.to_owned()));
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}
