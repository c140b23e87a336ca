//! Who is there, who came and went; and who hears of it.

mod common;

use common::{Daemon, Ws};
use serde_json::{Value, json};

fn subscribe(ws: &mut Ws, topics: Value) {
    let answer = ws.ask(&json!({"action": "SUBSCRIBE", "params": {"topics": topics}}).to_string());
    assert_eq!(answer["success"], true, "{answer}");
}

fn client<'a>(list: &'a Value, dialect: &str) -> &'a Value {
    let found = list["clients"].as_array().expect("clients").iter().find(|one| one["dialect"] == dialect);
    found.unwrap_or_else(|| panic!("no {dialect} in {list}"))
}

#[test]
fn presence_names_every_subscriber_and_what_it_is_subscribed_to() {
    let daemon = Daemon::start(&[]);
    let mut panel = daemon.ws("/subscribe?clientName=panel");
    panel.send(r#"{"action":"subscribe","event":"door"}"#);
    panel.send(r#"{"action":"subscribe","event":"house.*","pattern":true}"#);
    panel.sync();
    let mut events = daemon.ws("/ws?types=gpio.**,node.*");
    events.sync();
    let mut ws = daemon.ws("/");
    subscribe(&mut ws, json!(["garden.**"]));
    let list = ws.ask(r#"{"action":"READ_PRESENCE"}"#)["data"].clone();
    let of_panel = client(&list, "picloud");
    assert_eq!((&of_panel["name"], &of_panel["subscriptions"]), (&json!("panel"), &json!(["door", "house.*"])));
    assert_eq!((&of_panel["backlog"], &of_panel["lagged"]), (&json!(0), &json!(0)));
    let address = of_panel["address"].as_str().and_then(|text| text.parse::<std::net::SocketAddr>().ok());
    assert_eq!(address, panel.0.get_ref().local_addr().ok());
    assert!(of_panel["since"].as_str().is_some_and(|since| humantime::parse_rfc3339(since).is_ok()), "{of_panel}");
    assert_eq!(client(&list, "events")["subscriptions"], json!(["gpio.**", "node.*"]));
    assert_eq!(client(&list, "endrpi")["subscriptions"], json!(["garden.**"]));
    assert_eq!(daemon.get("/presence").json()["clients"].as_array().map(Vec::len), Some(3));
    // PiCloud's page sees PiCloud's clients in its own form, and who wants to know more finds all.
    let info = daemon.ws("/info").json();
    assert_eq!(info["all_connections"].as_array().map(Vec::len), Some(1));
    let names: Vec<&Value> = info["subscriptions"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["door", "house.*"]);
    assert_eq!(info["clients"].as_array().map(Vec::len), Some(3));
    drop(panel);
    let gone = || daemon.get("/presence").json()["clients"].as_array().map(Vec::len) == Some(2);
    let until = std::time::Instant::now() + common::LIMIT;
    while !gone() {
        assert!(std::time::Instant::now() < until, "a client that has left is still there");
    }
}

#[test]
fn joining_and_leaving_are_events_for_those_who_name_them() {
    let daemon = Daemon::start(&[]);
    let (mut curious, mut plain) = (daemon.ws("/"), daemon.ws("/"));
    subscribe(&mut curious, json!(["presence.*"]));
    subscribe(&mut plain, json!(["**", "*.joined"]));
    let mut all = daemon.ws("/ws");
    all.sync();
    let mut panel = daemon.ws("/subscribe?clientName=panel");
    panel.sync();
    let of = |kind: &str, ws: &mut Ws| {
        let event = ws.until(|event| event["data"]["data"]["name"] == "panel");
        assert_eq!(event["data"]["topic"], kind, "{event}");
        event["data"]["data"].clone()
    };
    let joined = of("presence.joined", &mut curious);
    assert_eq!(joined["dialect"], "picloud");
    assert_eq!(joined["address"], panel.0.get_ref().local_addr().expect("an address").to_string());
    drop(panel);
    assert_eq!(of("presence.left", &mut curious)["since"], joined["since"]);
    // Whoever did not name it has heard nothing of all this.
    let body = json!({"event": "door", "data": "open"}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=x", &[], &body).status, 201);
    assert_eq!(plain.json()["data"]["topic"], "door");
    assert_eq!(all.ask(r#"{"type":"ping"}"#)["type"], "pong");
    let refused = plain.ask(r#"{"action":"PUBLISH","params":{"topic":"presence.joined"}}"#);
    assert_eq!(refused["success"], false, "the daemon's own");
}

#[test]
fn picloud_s_names_are_exact_until_it_says_pattern() {
    let daemon = Daemon::start(&[]);
    let mut exact = daemon.ws("/subscribe?clientName=exact");
    exact.send(r#"{"action":"subscribe","event":"house.*"}"#);
    let mut pattern = daemon.ws("/subscribe?clientName=pattern");
    pattern.send(r#"{"action":"subscribe","event":"house.*","pattern":true}"#);
    pattern.send(r#"{"action":"subscribe","event":"house.door"}"#);
    exact.sync();
    pattern.sync();
    let publish = |event: &str| {
        let body = json!({"event": event, "data": event}).to_string();
        assert_eq!(daemon.http("POST", "/publish?clientName=x", &[], &body).status, 201);
    };
    ["house.door", "house.a.b", "house.*"].into_iter().for_each(publish);
    assert_eq!(exact.json()["event"], "house.*");
    assert_eq!(
        [pattern.json(), pattern.json()].map(|one| one["event"].clone()),
        ["house.door", "house.*"],
        "each once"
    );
    pattern.send(r#"{"action":"unsubscribe","event":"house.*","pattern":true}"#);
    pattern.sync();
    ["house.light", "house.door"].into_iter().for_each(publish);
    assert_eq!(pattern.json()["event"], "house.door", "of the two only the pattern has ended");
    let deep = format!("{}*", "a.".repeat(16));
    let refused = pattern.ask(&json!({"action": "subscribe", "event": deep, "pattern": true}).to_string());
    assert!(refused["error"].as_str().is_some_and(|text| text.contains("16 levels")), "{refused}");
}
