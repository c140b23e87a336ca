//! The REST of servers, samples, logs, orders: its statuses and bodies, who sees what, and that nobody waits for agents.

mod common;
mod fleet;

use std::time::{Duration, Instant, SystemTime};

use fleet::{Hub, flat, nested, request};
use serde_json::{Value, json};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn servers_are_made_changed_listed_and_removed() {
    let hub = Hub::start("[hub]\nown_server = false\n");
    let made = hub.rest(
        "POST",
        "/servers",
        &json!({"name": "attic", "host": "10.0.0.7", "port": 22, "metadata": {"room": "attic"}}),
    );
    assert_eq!(made.status, 201);
    let server = made.json();
    let id = server["id"].as_str().expect("an id").to_owned();
    for (member, value) in [
        ("name", json!("attic")),
        ("host", json!("10.0.0.7")),
        ("port", json!(22)),
        ("metadata", json!({"room": "attic"})),
        ("status", json!("unknown")),
        ("health_status", json!("healthy")),
        ("last_seen", Value::Null),
    ] {
        assert_eq!(server[member], value, "{member}");
    }
    assert!(server["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{server}");
    let changed = hub.rest("PUT", &format!("/servers/{id}"), &json!({"name": "loft", "port": null}));
    let changed = (changed.status, changed.json());
    assert_eq!((changed.0, &changed.1["name"], &changed.1["port"]), (200, &json!("loft"), &Value::Null));
    assert_eq!(changed.1["host"], "10.0.0.7");
    assert_eq!(hub.get(&format!("/servers/{id}")), changed.1);
    // What was told at its making is what is told later.
    let key = hub.rest("POST", "/api-keys", &json!({"server_id": id})).json();
    assert_eq!(hub.get(&format!("/api-keys/server/{id}"))[0]["created_at"], key["created_at"]);
    hub.server("second");
    let names: Vec<Value> = hub.get("/servers").as_array().expect("a list").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, [json!("loft"), json!("second")]);
    assert_eq!(hub.get("/servers?skip=1&limit=5").as_array().map(Vec::len), Some(1));
    assert_eq!(hub.get("/servers?skip=4294967296"), json!([]), "also where addresses have 32 bits");
    let health = hub.rest("POST", &format!("/servers/{id}/health"), &Value::Null).json();
    assert_eq!(health, json!({"status": "healthy", "message": "no agent has ever connected; no alert is open"}));
    let removed = hub.rest("DELETE", &format!("/servers/{id}"), &Value::Null);
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    assert_eq!(hub.rest("DELETE", &format!("/servers/{id}"), &Value::Null).status, 404);
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let hub = Hub::start("[hub]\nservers = 2\nown_server = false\n");
    let id = hub.server("a");
    let table = [
        ("GET", "/servers/7".to_owned(), Value::Null, 422),
        ("GET", format!("/servers/{NOBODY}"), Value::Null, 404),
        ("POST", "/servers".into(), json!({}), 422),
        ("POST", "/servers".into(), json!({"name": "", "port": 70000}), 422),
        ("PATCH", "/servers".into(), Value::Null, 405),
        ("GET", format!("/servers/{id}/health"), Value::Null, 405),
        ("GET", format!("/servers/{id}/nothing"), Value::Null, 404),
        ("GET", "/servers?limit=0".into(), Value::Null, 422),
        ("GET", format!("/metrics/{id}"), Value::Null, 404),
        ("GET", format!("/metrics/{id}/latest"), Value::Null, 404),
        ("GET", format!("/metrics/{id}/history?start=yesterday"), Value::Null, 422),
        ("GET", format!("/metrics/{NOBODY}/history"), Value::Null, 404),
        ("POST", "/metrics".into(), json!({"cpu_percent": 1}), 400),
        ("POST", "/metrics/7".into(), json!({"cpu_percent": 1}), 400),
        ("POST", format!("/metrics/{NOBODY}"), json!({"cpu_percent": 1}), 403),
        ("POST", format!("/metrics/{id}"), json!({"cpu_percent": "1"}), 422),
        ("GET", format!("/logs/{id}?limit=1001"), Value::Null, 422),
        ("GET", format!("/logs/{NOBODY}"), Value::Null, 404),
        ("POST", format!("/commands/{id}"), json!({}), 422),
        ("POST", format!("/commands/{id}"), json!({"command": "ls", "timeout": 601}), 422),
        ("POST", format!("/commands/{id}"), json!({"command": "ls"}), 503),
        ("POST", format!("/commands/{NOBODY}"), json!({"command": "ls"}), 404),
        ("GET", format!("/commands/{id}"), Value::Null, 405),
        ("POST", format!("/docker/{id}/containers/web/explode"), Value::Null, 404),
        ("POST", format!("/docker/{id}/containers/..%2f/start"), Value::Null, 404),
        ("POST", format!("/docker/{id}/containers/web/start"), Value::Null, 503),
        ("GET", format!("/docker/{id}/containers/web/logs?tail=0"), Value::Null, 422),
        ("POST", format!("/servers/{id}/actions"), json!({"action": "READ_MEMORY"}), 503),
        ("GET", format!("/servers/{id}/events?since=x"), Value::Null, 422),
    ];
    for (method, path, body, status) in table {
        let answer = hub.rest(method, &path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(!answer.json()["detail"].is_null(), "{method} {path}: {}", answer.body);
    }
    hub.server("b");
    let full = hub.rest("POST", "/servers", &json!({"name": "c"}));
    assert!(full.status == 409 && full.body.contains("hub.servers"), "{}", full.body);
    for path in ["/servers", "/commands/x", "/logs/x", "/metrics/x"] {
        let answer = hub.daemon.http("GET", &format!("/api/v1{path}"), &[], "");
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(answer.json()["detail"], "Could not validate credentials");
    }
    let answer = hub.daemon.http("POST", "/api/v1/metrics", &[], "{}");
    assert_eq!((answer.status, &answer.json()["detail"]), (401, &json!("Not authenticated")));
}

#[test]
fn samples_come_by_http_too() {
    let hub = Hub::start("");
    let (id, other) = (hub.server("a"), hub.server("b"));
    let key = hub.agent_key(&id);
    let sample = nested(&id, 50.0)["data"].clone();
    let answer = hub.rest_with(&key, "POST", "/metrics", &sample);
    assert_eq!((answer.status, answer.json()), (201, json!({"status": "ok", "message": "Metrics received"})));
    let answer = hub.rest_with(&key, "POST", &format!("/metrics/{other}"), &sample);
    assert_eq!((answer.status, &answer.json()["detail"]), (403, &json!("API key does not belong to this server")));
    let answer = hub.rest("POST", &format!("/metrics/{other}"), &flat(&other, 7.0));
    assert_eq!(answer.status, 201, "{}", answer.body);
    let flat = hub.get(&format!("/metrics/{id}"));
    assert_eq!((&flat["cpu_percent"], &flat["server_id"]), (&json!(50.0), &json!(id)));
    assert_eq!(hub.get(&format!("/metrics/{other}/latest"))["cpu"]["usage_percent"], 7.0);
    // An agent's key opens nothing but its agent's doors.
    assert_eq!(hub.rest_with(&key, "GET", "/servers", &Value::Null).status, 401);
    let server = hub.get(&format!("/servers/{id}"));
    assert!(server["last_seen"].is_string() && server["status"] == "offline", "heard of, and no agent: {server}");
}

fn stamp(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

#[test]
fn history_logs_and_events_are_kept_and_found() {
    let hub = Hub::start("");
    let id = hub.server("kept");
    let mut agent = hub.agent(&hub.agent_key(&id));
    let now = SystemTime::now();
    for (age, cpu) in [(20, 10.0), (10, 30.0)] {
        let mut sample = nested(&id, cpu);
        sample["data"]["timestamp"] = json!(stamp(now - Duration::from_secs(age)));
        assert_eq!(agent.ask(&sample.to_string())["type"], "metrics_received");
    }
    // A day back, minutes are told; a minute back, the samples themselves.
    let history = hub.get(&format!("/metrics/{id}/history?start={}", stamp(now - Duration::from_secs(60))));
    let cpu: Vec<_> = history.as_array().expect("points").iter().map(|point| point["cpu_percent"].clone()).collect();
    assert_eq!(cpu, [json!(10.0), json!(30.0)], "{history}");
    let start = stamp(now - Duration::from_secs(15));
    for names in ["start_time", "start"] {
        let part = hub.get(&format!("/metrics/{id}/history?{names}={start}&limit=10"));
        assert_eq!(part.as_array().map(Vec::len), Some(1), "{part}");
    }
    for (level, message) in [("INFO", "started"), ("error", "broken")] {
        let line = json!({"type": "log", "data": {"level": level, "message": message, "component": "nginx",
            "timestamp": stamp(now)}});
        agent.send(&line.to_string());
    }
    agent.ask(r#"{"type":"ping"}"#);
    let entries = hub.get(&format!("/logs/{id}?component=nginx"));
    let said: Vec<_> = entries.as_array().expect("entries").iter().map(|entry| entry["message"].clone()).collect();
    assert_eq!(said, [json!("broken"), json!("started")], "the newest first: {entries}");
    let errors = hub.get(&format!("/logs/{id}?level=ERROR&source=agent"));
    assert_eq!((errors[0]["level"].as_str(), errors.as_array().map(Vec::len)), (Some("error"), Some(1)));
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let dir = common::TempDir::new();
    let state = dir.path().to_owned();
    let hub = Hub::start_in(dir, "");
    let id = hub.server("kept");
    let made = hub.get(&format!("/servers/{id}"));
    let key = hub.agent_key(&id);
    let mut agent = hub.agent(&key);
    let event = |pin: u64| {
        json!({"type": "event", "stream": "s", "seq": pin, "clock": "synchronised", "event":
            {"type": "gpio.state.changed", "timestamp": stamp(SystemTime::now()), "data": {"pin": pin}}})
    };
    (1..=3).for_each(|pin| agent.send(&event(pin).to_string()));
    assert_eq!(agent.ask(&nested(&id, 9.0).to_string())["type"], "metrics_received");
    let Hub { mut daemon, .. } = hub;
    assert!(daemon.stop().success());
    let dir = std::mem::replace(&mut daemon.dir, common::TempDir::new());
    let hub = Hub::start_in(dir, "");
    assert!(state.join("state").join("pinwire.db").exists());
    let events = hub.get(&format!("/servers/{id}/events"));
    let pins: Vec<_> = events.as_array().expect("events").iter().map(|event| event["data"]["pin"].clone()).collect();
    assert_eq!(pins, [json!(1), json!(2), json!(3)], "{events}");
    let second = events[1]["id"].as_u64().expect("a number");
    let later = hub.get(&format!("/servers/{id}/events?since={second}&limit=5"));
    assert_eq!((later.as_array().map(Vec::len), &later[0]["type"]), (Some(1), &json!("gpio.state.changed")));
    let server = hub.get(&format!("/servers/{id}"));
    assert!(server["status"] == "offline" && server["last_seen"].is_string(), "{server}");
    assert_eq!((&server["created_at"], &server["updated_at"]), (&made["created_at"], &made["updated_at"]));
    // The agent hears how far its stream is kept.
    let mut agent = hub.socket(&[]);
    let info = json!({"version": "0.1.0", "streams": ["s", "t"]});
    let welcome = agent.ask(&json!({"type": "auth", "api_key": key, "agent": info}).to_string());
    assert_eq!(welcome["streams"], json!({"s": 3}));
}

#[test]
fn slow_commands_hold_nobody_up_and_end_in_time() {
    // Longer than the front door waits for an answer that nobody has announced.
    let config = "[front]\nresponse_deadline = \"300ms\"\n[hub]\norder_timeout = \"1s\"\norders_per_server = 20\n";
    let hub = Hub::start(config);
    let id = hub.server("slow");
    let mut agent = hub.agent(&hub.agent_key(&id));
    let begun = Instant::now();
    let asked: Vec<_> =
        (0..20).map(|_| hub.order(&format!("/commands/{id}"), &json!({"command": "sleep 1000"}))).collect();
    (0..20).for_each(|_| assert_eq!(agent.json()["type"], "command"));
    // All are under way, and everything else goes on.
    for _ in 0..50 {
        let one = Instant::now();
        assert_eq!(hub.get(&format!("/servers/{id}"))["status"], "online");
        assert!(one.elapsed() < Duration::from_millis(500), "REST took {:?}", one.elapsed());
    }
    let full = hub.rest("POST", &format!("/commands/{id}"), &json!({"command": "ls"}));
    assert!(full.status == 503 && full.body.contains("hub.orders_per_server"), "{}: {}", full.status, full.body);
    for asked in asked {
        let answer = asked.join().expect("an answer");
        assert_eq!(
            (answer.status, answer.json()["detail"].as_str()),
            (500, Some("Failed to execute command: Timeout waiting for agent response"))
        );
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // There is room again, and a request's own time counts.
    let asked = hub.order(&format!("/commands/{id}"), &json!({"command": "date", "timeout": 5}));
    let command = agent.json();
    let response = json!({"type": "command_response", "command_id": command["command_id"], "output": "x".repeat(1 << 20),
        "exit_code": 0, "duration_ms": 1});
    agent.send(&response.to_string());
    let answer = asked.join().expect("an answer");
    assert_eq!((answer.status, answer.json()["output"].as_str().map(str::len)), (200, Some(1 << 20)));
}

#[test]
fn an_agent_that_goes_ends_what_it_was_asked_and_so_does_the_hub() {
    let hub = Hub::start("");
    let id = hub.server("gone");
    let key = hub.agent_key(&id);
    let mut agent = hub.agent(&key);
    let asked = hub.order(&format!("/commands/{id}"), &json!({"command": "reboot"}));
    agent.json();
    drop(agent);
    let answer = asked.join().expect("an answer");
    assert!(answer.status == 503 && answer.body.contains("not known"), "{}", answer.body);

    let mut agent = hub.agent(&key);
    let (addr, path) = (hub.daemon.addr, format!("/api/v1/commands/{id}"));
    let asked = std::thread::spawn(move || request(addr, "POST", &path, r#"{"command":"sleep","timeout":600}"#));
    agent.json();
    let Hub { mut daemon, .. } = hub;
    daemon.signal("TERM");
    assert_eq!(asked.join().expect("an answer").status, 503);
    assert!(daemon.wait().success());
}

#[test]
fn orders_are_in_the_audit_before_and_after() {
    let hub = Hub::start("");
    let id = hub.server("audited");
    let mut agent = hub.agent(&hub.agent_key(&id));
    let asked = hub.order(&format!("/commands/{id}"), &json!({"command": "uptime"}));
    let command = agent.json();
    let order_id = command["command_id"].as_str().expect("an id").to_owned();
    let rows = || -> Vec<(String, String, String, Option<String>)> {
        let store = rusqlite::Connection::open(hub.database()).expect("the store");
        let sql = "SELECT phase, who, what, result FROM audit WHERE order_id = ?1 ORDER BY number";
        let mut select = store.prepare(sql).expect("SQL");
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        select.query_map([&order_id], row).expect("rows").collect::<Result<_, _>>().expect("texts")
    };
    let what = "command on 'audited': uptime".to_owned();
    let before = ("before".to_owned(), "operator".to_owned(), what.clone(), None);
    assert_eq!(rows(), std::slice::from_ref(&before), "written before the agent hears of it");
    let response = json!({"type": "command_response", "command_id": order_id, "output": "up", "exit_code": 3});
    agent.send(&response.to_string());
    assert_eq!(asked.join().expect("an answer").json()["exit_code"], 3);
    let after = ("after".to_owned(), "operator".to_owned(), what, Some("exit code 3".to_owned()));
    assert_eq!(rows(), [before, after]);
}

#[test]
fn no_more_servers_are_made_than_there_may_be_also_by_many_at_once() {
    let hub = Hub::start("[hub]\nservers = 3\nown_server = false\n");
    let askers: Vec<_> = (0..20).map(|n| hub.order("/servers", &json!({"name": format!("s{n}")}))).collect();
    let made = askers.into_iter().map(|asker| asker.join().expect("an answer").status);
    assert_eq!(made.filter(|status| *status == 201).count(), 3);
    assert_eq!(hub.get("/servers").as_array().map(Vec::len), Some(3));
}
