//! Web pages that watch a server: who gets in, what they are told at first, and that nothing is missing after it.

mod common;
mod watch;

use common::{Daemon, Ws};
use serde_json::{Value, json};
use watch::{Agent, KEY, ask, good, hub};

/// Nobody's id.
const UNKNOWN: &str = "0c9b1a52-0000-4000-8000-000000000001";

fn auth(token: &str) -> String {
    json!({"type": "auth", "token": token}).to_string()
}

/// A page that shows this token in its first message; what it is told is not read yet.
fn page(daemon: &Daemon, what: &str, server_id: &str, token: &str) -> Ws {
    let mut ws = daemon.ws(&format!("/api/v1/ws/{what}/{server_id}"));
    ws.send(&auth(token));
    ws
}

#[track_caller]
fn let_in(ws: &mut Ws) {
    assert_eq!(ws.json(), json!({"type": "auth_success", "message": "Authenticated successfully"}));
}

/// The error frame, and the Close after it that says the same.
#[track_caller]
fn assert_refused(mut ws: Ws, reason: &str) {
    assert_eq!(ws.json(), json!({"type": "error", "message": reason}));
    assert_eq!(ws.closed(), (1008, reason.to_owned()));
}

#[test]
fn metrics_begin_with_the_latest_sample_in_both_forms() {
    let daemon = hub("");
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    let mut early = page(&daemon, "metrics", &id, KEY);
    let_in(&mut early);
    agent.sample(json!({"cpu_percent": 45.2, "memory_percent": 62.5,
                        "disk_usage": [{"path": "/", "total": 100, "used": 40, "free": 60, "percent": 40.0}],
                        "network": [{"interface": "eth0", "bytes_sent": 1, "bytes_recv": 2}]}));
    let pushed = early.json();
    let data = &pushed["data"];
    assert_eq!((&pushed["type"], &data["server_id"]), (&json!("metrics"), &json!(id)), "{pushed}");
    assert_eq!((&data["cpu_percent"], &data["cpu"]["usage_percent"]), (&json!(45.2), &json!(45.2)));
    assert_eq!((&data["memory_percent"], &data["disk_usage"][0]["path"]), (&json!(62.5), &json!("/")));
    assert_eq!((&data["network"]["bytes_sent"], &data["interfaces"][0]["interface"]), (&json!(1), &json!("eth0")));
    assert!(pushed["timestamp"].is_string(), "{pushed}");
    let mut late = page(&daemon, "metrics", &id, KEY);
    let_in(&mut late);
    assert_eq!(late.json()["data"], *data, "a snapshot first");
    agent.log("info", "for logs only");
    agent.cpu(1.0);
    for ws in [&mut early, &mut late] {
        let next = ws.json();
        assert_eq!((&next["type"], &next["data"]["cpu_percent"]), (&json!("metrics"), &json!(1.0)), "{next}");
    }
}

#[test]
fn logs_begin_with_the_last_entries_the_oldest_first() {
    let daemon = hub("");
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    for number in 0..60 {
        agent.log("warning", &format!("line {number}"));
    }
    agent.sync();
    let mut ws = page(&daemon, "logs", &id, KEY);
    let_in(&mut ws);
    agent.cpu(1.0);
    agent.log("info", "line 60");
    for number in 10..=60 {
        let entry = ws.json();
        let level = if number == 60 { "INFO" } else { "WARNING" };
        assert_eq!((&entry["type"], &entry["data"]["level"]), (&json!("log"), &json!(level)), "{entry}");
        assert_eq!(entry["data"]["message"], format!("line {number}"));
        assert_eq!((&entry["data"]["server_id"], entry["timestamp"].is_string()), (&json!(id), true));
    }
}

#[test]
fn who_shows_nothing_good_is_told_why_and_closed() {
    let daemon = hub("");
    let (id, _agent) = Agent::new(&daemon, "pi1");
    let required = "Authentication required: send {'type': 'auth', 'token': '...'} as first message";
    for first in [json!({"type": "ping"}), json!({"type": "auth"}), json!({"type": "auth", "token": ""})] {
        let mut ws = daemon.ws(&format!("/api/v1/ws/logs/{id}"));
        ws.send(&first.to_string());
        assert_refused(ws, required);
    }
    let mut ws = daemon.ws(&format!("/api/v1/ws/metrics/{id}"));
    ws.send("hello");
    assert_refused(ws, "Authentication failed: the message must be a JSON object");
    assert_refused(page(&daemon, "metrics", &id, "wrong"), "Invalid token");
    let agents = watch::agent_key(&daemon, &id);
    assert_refused(page(&daemon, "metrics", &id, &agents), "Invalid token");
    assert_refused(page(&daemon, "metrics", "pi1", KEY), "Invalid server ID");
    assert_refused(page(&daemon, "logs", UNKNOWN, KEY), "Server not found or access denied");
    let shown = daemon.try_ws(&format!("/api/v1/ws/metrics/{id}"), &[("X-API-Key", "wrong")]);
    assert_refused(shown.expect("the reason is told on the socket"), "Invalid token");
    match daemon.try_ws("/api/v1/ws/events/x", &[]) {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 404),
        other => panic!("{:?}", other.map(|_| "a socket")),
    }
    let silent = Daemon::with_config("auth.mode = \"none\"\n[hub]\nauth_deadline = \"100ms\"\n", &[]);
    let ws = silent.ws(&format!("/api/v1/ws/logs/{UNKNOWN}"));
    assert_refused(ws, "Server not found or access denied");
    let silent = hub("[hub]\nauth_deadline = \"100ms\"\n");
    assert_refused(silent.ws(&format!("/api/v1/ws/logs/{UNKNOWN}")), required);
}

#[test]
fn a_page_pings_and_what_is_no_message_costs_nothing_until_it_comes_too_often() {
    let daemon = hub("[hub]\ninvalid_messages = 3\n");
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    let mut ws = daemon.try_ws(&format!("/api/v1/ws/metrics/{id}"), &[("Authorization", &format!("Bearer {KEY}"))]);
    let ws = ws.as_mut().expect("a page");
    let_in(ws);
    assert_eq!(ws.ask(r#"{"type":"ping"}"#), json!({"type": "pong"}));
    ws.send(&auth("again"));
    ws.send(r#"{"type":"subscribe","topic":"x"}"#);
    assert_eq!(ws.ask(r#"{"type":"ping"}"#), json!({"type": "pong"}), "anything else is ignored");
    for _ in 0..2 {
        let error = ws.ask("hello");
        assert_eq!((&error["type"], &error["message"]), (&json!("error"), &json!("Invalid message format")));
    }
    agent.cpu(3.0);
    assert_eq!(ws.json()["data"]["cpu_percent"], 3.0);
    assert_eq!(ws.ask("[]")["type"], "error");
    assert_eq!(ws.closed(), (1008, "too many invalid messages".to_owned()));
}

#[test]
fn pages_that_come_while_samples_do_miss_none_and_get_none_twice() {
    let daemon = hub("");
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    const SAMPLES: u32 = 400;
    agent.sample(json!({"cpu_percent": 0.0}));
    let sender = std::thread::spawn(move || {
        // Percent to a hundredth: each sample has a number of its own.
        for number in 1..=SAMPLES {
            agent.cpu(f64::from(number) / 100.0);
        }
        agent
    });
    let mut pages = Vec::new();
    while !sender.is_finished() && pages.len() < 50 {
        let mut ws = page(&daemon, "metrics", &id, KEY);
        let_in(&mut ws);
        pages.push(ws);
    }
    let _agent = sender.join().expect("sent");
    assert!(!pages.is_empty());
    for ws in &mut pages {
        let number = |frame: Value| (frame["data"]["cpu_percent"].as_f64().expect("a number") * 100.0).round() as u32;
        let first = number(ws.json());
        for expected in first + 1..=SAMPLES {
            assert_eq!(number(ws.json()), expected, "since {first}");
        }
    }
}

/// A user, and what they log in with.
fn user(daemon: &Daemon, name: &str) -> (Value, String) {
    let password = "correct horse battery";
    let body = json!({"email": format!("{name}@example.org"), "username": name, "password": password,
                      "password_confirm": password});
    let tokens = good(daemon, "POST", "auth/register", &body);
    let bearer = format!("Bearer {}", watch::text(&tokens["access_token"]));
    (tokens, bearer)
}

#[test]
fn users_watch_their_own_servers_with_their_access_token_until_they_log_out() {
    let daemon = hub("auth.open_registration = true\n");
    let (ann, as_ann) = user(&daemon, "ann");
    let (ben, _) = user(&daemon, "ben");
    let made = watch::ask_as(&daemon, &as_ann, "POST", "servers", &json!({"name": "anns"}));
    assert_eq!(made.status, 201, "{made:?}");
    let id = watch::text(&made.json()["id"]);
    let [ann_token, ben_token] = [&ann, &ben].map(|user| watch::text(&user["access_token"]));
    let mut ws = page(&daemon, "metrics", &id, &ann_token);
    let_in(&mut ws);
    assert_refused(page(&daemon, "metrics", &id, &ben_token), "Server not found or access denied");
    assert_refused(page(&daemon, "metrics", &id, &watch::text(&ann["refresh_token"])), "Invalid token");
    // What is hers is shown to her alone, and to who runs the hub.
    let body = json!({"server_id": id, "metric_type": "cpu", "threshold_value": 1, "comparison": "gt"});
    let threshold = watch::ask_as(&daemon, &as_ann, "POST", "alerts/thresholds", &body);
    assert_eq!(threshold.status, 201, "{threshold:?}");
    let key = watch::agent_key(&daemon, &id);
    let mut agent = Agent::connect(&daemon, &key);
    agent.cpu(99.0);
    assert_eq!(ws.until(|frame| frame["type"] == "alert")["data"]["server_id"], json!(id));
    let count = |who: &str| watch::ask_as(&daemon, who, "GET", "alerts", &Value::Null).json().as_array().map(Vec::len);
    assert_eq!(count(&as_ann), Some(1));
    assert_eq!(count(&format!("Bearer {ben_token}")), Some(0));
    assert_eq!(count(&format!("Bearer {KEY}")), Some(1));
    let alert = watch::ask_as(&daemon, &as_ann, "GET", "alerts", &Value::Null).json()[0].clone();
    let path = format!("alerts/{}/resolve", watch::text(&alert["id"]));
    assert_eq!(watch::ask_as(&daemon, &format!("Bearer {ben_token}"), "POST", &path, &Value::Null).status, 404);
    assert_eq!(watch::ask_as(&daemon, &as_ann, "POST", "auth/logout", &Value::Null).status, 200);
    assert_eq!(ws.closed().0, 1008);
    assert_refused(page(&daemon, "metrics", &id, &ann_token), "Invalid token");
}

#[test]
fn a_page_is_told_and_closed_when_its_server_is_removed() {
    let daemon = hub("");
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    let (other, _other_agent) = Agent::new(&daemon, "pi2");
    agent.cpu(1.0);
    agent.sync();
    let mut pages: Vec<Ws> = ["metrics", "logs"].map(|what| page(&daemon, what, &id, KEY)).into();
    let mut stays = page(&daemon, "logs", &other, KEY);
    pages.iter_mut().chain([&mut stays]).for_each(let_in);
    assert_eq!(pages[0].json()["type"], "metrics");
    let removed = ask(&daemon, "DELETE", &format!("servers/{id}"), &Value::Null);
    assert_eq!(removed.status, 204, "{}", removed.body);
    pages.into_iter().for_each(|ws| assert_refused(ws, "Server not found or access denied"));
    stays.sync();
    assert_refused(page(&daemon, "metrics", &id, KEY), "Server not found or access denied");
}
