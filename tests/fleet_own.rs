//! The hub as its own first server: this machine's samples, orders and requests to it, without an agent.

mod common;
mod fleet;

use std::time::Instant;

use fleet::{Hub, flat};
use serde_json::{Value, json};

const CONFIG: &str = "node_id = \"home\"\n[agent]\nmetrics_interval = \"100ms\"\n";

/// The only server there is.
fn own(hub: &Hub) -> Value {
    let servers = hub.get("/servers");
    assert_eq!(servers.as_array().map(Vec::len), Some(1), "{servers}");
    servers[0].clone()
}

fn id_of(server: &Value) -> String {
    server["id"].as_str().expect("an id").to_owned()
}

#[test]
fn this_machine_measures_itself_and_takes_orders() {
    let hub = Hub::start(CONFIG);
    let server = own(&hub);
    assert_eq!((&server["name"], &server["status"]), (&json!("home"), &json!("online")));
    let id = id_of(&server);
    let until = Instant::now() + common::LIMIT;
    let sample = loop {
        let answer = hub.rest("GET", &format!("/metrics/{id}/latest"), &Value::Null);
        if answer.status == 200 {
            break answer.json();
        }
        assert!(Instant::now() < until, "no sample within the limit");
    };
    assert!(sample["memory"]["total_gb"].as_f64().is_some_and(|total| total > 0.0), "{sample}");
    // Its own file allows no commands, and does not ask the hub.
    let denied = hub.rest("POST", &format!("/commands/{id}"), &json!({"command": "ls"}));
    assert_eq!((denied.status, &denied.json()["denied"]), (403, &json!(true)), "{}", denied.body);
    let answer = hub.rest("POST", &format!("/servers/{id}/actions"), &json!({"action": "READ_MEMORY", "id": 7}));
    let told = answer.json();
    assert_eq!((answer.status, &told["success"], &told["id"]), (200, &json!(true), &json!(7)), "{told}");
    let wrong = hub.rest("POST", &format!("/servers/{id}/actions"), &json!({"action": "DANCE"})).json();
    assert_eq!(wrong["success"], false, "the device's own refusal: {wrong}");
}

#[test]
fn it_is_the_same_server_after_a_restart_and_gives_way_to_an_agent() {
    let hub = Hub::start(CONFIG);
    let id = id_of(&own(&hub));
    let Hub { mut daemon, .. } = hub;
    assert!(daemon.stop().success());
    let dir = std::mem::replace(&mut daemon.dir, common::TempDir::new());
    let hub = Hub::start_in(dir, CONFIG);
    assert_eq!(id_of(&own(&hub)), id);

    let mut agent = hub.agent(&hub.agent_key(&id));
    hub.daemon.wait_for_log("an agent has connected with a key of this server");
    agent.ask(&flat(&id, 99.5).to_string());
    assert_eq!(own(&hub)["status"], "online");
    let asked = hub.order(&format!("/commands/{id}"), &json!({"command": "ls"}));
    let command = agent.json();
    assert_eq!(command["command"], "ls");
    let answer = json!({"type": "command_response", "command_id": command["command_id"], "output": "", "exit_code": 0});
    agent.send(&answer.to_string());
    assert_eq!(asked.join().expect("an answer").status, 200);

    assert_eq!(hub.rest("DELETE", &format!("/servers/{id}"), &Value::Null).status, 204);
    assert_eq!(hub.get("/servers"), json!([]));
}

#[test]
fn a_hub_may_be_only_a_hub() {
    let hub = Hub::start("[hub]\nown_server = false\n");
    assert_eq!(hub.get("/servers"), json!([]));
}
