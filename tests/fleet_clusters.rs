//! Clusters and nodes: their REST in Pi-Controller's forms, and the events of `/ws`, each with a real cause.

mod common;
mod fleet;

use common::{Daemon, TempDir, Ws};
use fleet::{Hub, OPERATOR};
use serde_json::{Value, json};

/// Hears of nodes and clusters, and has read the welcome.
fn listener(hub: &Hub, query: &str) -> Ws {
    let mut ws = hub.daemon.try_ws(&format!("/ws{query}"), &[("X-API-Key", OPERATOR)]).expect("a socket");
    assert_eq!(ws.json()["type"], "pong");
    ws
}

fn subscribe(ws: &mut Ws, topic: &str) {
    ws.send(&json!({"type": "subscribe", "payload": {"topic": topic}}).to_string());
    ws.sync();
}

#[track_caller]
fn event(ws: &mut Ws, kind: &str, data: Value) -> Value {
    let event = ws.json();
    assert_eq!((&event["type"], &event["data"]), (&json!(kind), &data), "{event}");
    event
}

#[track_caller]
fn status(hub: &Hub, method: &str, path: &str, body: Value, expected: u16) -> Value {
    let answer = hub.rest(method, path, &body);
    assert_eq!(answer.status, expected, "{method} {path} {body}: {}", answer.body);
    if expected >= 400 {
        let error = answer.json();
        assert!(error["error"].is_string() && error["message"].is_string(), "{error}");
        assert_eq!(error["detail"], error["message"]);
    }
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn agent(hub: &Hub, key: &str, name: &str, cluster: Option<&str>) -> Ws {
    let node = json!({"ip_address": "192.168.1.103", "mac_address": "DC:A6:32:00:00:03", "model": "Raspberry Pi 4",
        "architecture": "aarch64", "cpu_cores": 4, "memory": 4_000_000_000_u64});
    let agent = json!({"name": name, "version": "0.1.0", "cluster": cluster, "node": node});
    let mut ws = hub.socket(&[]);
    let welcome = ws.ask(&json!({"type": "auth", "api_key": key, "protocol": "code", "agent": agent}).to_string());
    assert_eq!(welcome["type"], "auth_success", "{welcome}");
    ws
}

#[test]
fn an_agent_s_coming_and_going_are_events_and_it_joins_the_cluster_of_its_configuration() {
    let hub = Hub::start("node_id = \"hub\"\n");
    let mut events = listener(&hub, "?types=node.discovered,node.status.changed,cluster.node.*");
    event(&mut events, "node.status.changed", json!({"node_id": "hub", "status": "ready"}));
    let mut code = listener(&hub, "?types=none");
    subscribe(&mut code, "clusters");
    subscribe(&mut code, "nodes");
    let server = hub.server("worker");
    let key = hub.agent_key(&server);

    let ws = agent(&hub, &key, "pi-worker-03", Some("cluster-1"));
    event(&mut events, "node.status.changed", json!({"node_id": "pi-worker-03", "status": "ready"}));
    let added =
        json!({"cluster_id": "cluster-1", "node_id": "pi-worker-03", "ip_address": "192.168.1.103", "status": "ready"});
    let told = event(&mut events, "cluster.node.added", added);
    assert_eq!(told["cluster_id"], "cluster-1", "at the top level, as the document prints it");
    let push = code.json();
    assert_eq!(push["type"], "node_status");
    let payload = &push["payload"];
    assert_eq!(
        (&payload["node_id"], &payload["name"], &payload["status"], &payload["ip_address"]),
        (&json!(2), &json!("pi-worker-03"), &json!("ready"), &json!("192.168.1.103"))
    );
    let push = code.json();
    assert_eq!(push["type"], "cluster_status");
    let payload = &push["payload"];
    assert_eq!(
        (
            &payload["cluster_id"],
            &payload["name"],
            &payload["status"],
            &payload["nodes_ready"],
            &payload["nodes_total"]
        ),
        (&json!(1), &json!("cluster-1"), &json!("active"), &json!(1), &json!(1))
    );

    let node = hub.get("/nodes/pi-worker-03");
    assert_eq!((&node["model"], &node["mac_address"]), (&json!("Raspberry Pi 4"), &json!("dc:a6:32:00:00:03")));
    assert_eq!((&node["server_id"], &node["cluster_id"], &node["cpu_cores"]), (&json!(server), &json!(1), &json!(4)));

    // A second session in its place is no change.
    let second = agent(&hub, &key, "pi-worker-03", Some("cluster-1"));
    drop(ws);
    drop(second);
    event(&mut events, "node.status.changed", json!({"node_id": "pi-worker-03", "status": "offline"}));
    assert_eq!(code.json()["payload"]["status"], "offline");
    let degraded = code.json();
    assert_eq!((&degraded["payload"]["status"], &degraded["payload"]["nodes_ready"]), (&json!("degraded"), &json!(0)));
    assert_eq!(hub.get("/clusters/cluster-1/status"), json!("degraded"));

    // Without its server the machine is nobody's, and in no cluster.
    assert!(hub.rest("DELETE", &format!("/servers/{server}"), &Value::Null).status < 300);
    let removed = json!({"cluster_id": "cluster-1", "node_id": "pi-worker-03"});
    assert_eq!(event(&mut events, "cluster.node.removed", removed)["cluster_id"], "cluster-1");
    status(&hub, "GET", "/nodes/2", Value::Null, 404);
}

#[test]
fn something_critical_makes_a_node_not_ready_until_it_is_over() {
    let hub = Hub::start("node_id = \"hub\"\n");
    let server = hub.server("worker");
    let key = hub.agent_key(&server);
    let limit = json!({"server_id": server, "metric_type": "cpu", "threshold_value": 50, "comparison": "gt"});
    assert_eq!(hub.rest("POST", "/alerts/thresholds", &limit).status, 201);
    let mut events = listener(&hub, "?types=node.status.*");
    event(&mut events, "node.status.changed", json!({"node_id": "hub", "status": "ready"}));
    let mut ws = agent(&hub, &key, "pi", None);
    for (cpu, status) in [(10.0, "ready"), (95.0, "not_ready"), (96.0, "not_ready"), (10.0, "ready")] {
        assert_eq!(ws.ask(&fleet::nested(&server, cpu).to_string())["type"], "metrics_received");
        if cpu != 96.0 {
            event(&mut events, "node.status.changed", json!({"node_id": "pi", "status": status}));
        }
    }
}

#[test]
fn clusters_are_made_listed_changed_and_removed() {
    let hub = Hub::start("");
    let made = status(&hub, "POST", "/clusters", json!({"name": "test-cluster", "description": "a test"}), 201);
    assert_eq!((&made["id"], &made["name"], &made["status"]), (&json!(1), &json!("test-cluster"), &json!("active")));
    assert_eq!((&made["cluster_id"], &made["deleted_at"]), (&json!("test-cluster"), &Value::Null));
    assert!(made["created_at"].as_str().is_some_and(|stamp| humantime::parse_rfc3339(stamp).is_ok()), "{made}");
    status(&hub, "POST", "/clusters", json!({"name": "test-cluster"}), 409);
    for bad in [json!({}), json!({"name": ""}), json!({"name": 5}), json!({"name": "x".repeat(101)}), json!([])] {
        status(&hub, "POST", "/clusters", bad, 400);
    }
    for n in 2..6 {
        status(&hub, "POST", "/clusters", json!({"name": format!("c{n}")}), 201);
    }
    let list = hub.get("/clusters?limit=2&offset=1");
    assert_eq!(
        (&list["count"], &list["total"], &list["limit"], &list["offset"]),
        (&json!(2), &json!(5), &json!(2), &json!(1))
    );
    assert_eq!((&list["clusters"][0]["name"], &list["data"]), (&json!("c2"), &list["clusters"]));
    assert_eq!(hub.get("/clusters")["limit"], 50);
    status(&hub, "GET", "/clusters?limit=1001", Value::Null, 400);

    assert_eq!(hub.get("/clusters/1")["nodes"], json!([]));
    assert_eq!(hub.get("/clusters/1?envelope=data")["data"]["name"], "test-cluster");
    assert_eq!(hub.get("/clusters/1/status"), json!("active"));
    let changed = status(&hub, "PUT", "/clusters/1", json!({"description": "other", "status": "maintenance"}), 200);
    assert_eq!((&changed["description"], &changed["name"]), (&json!("other"), &json!("test-cluster")));
    assert_eq!(hub.get("/clusters/test-cluster/status"), json!("maintenance"));
    status(&hub, "PUT", "/clusters/1", json!({"name": "c2"}), 409);
    for (method, path) in [("GET", "/clusters/99"), ("PUT", "/clusters/99"), ("DELETE", "/clusters/99")] {
        let body = if method == "PUT" { json!({"name": "y"}) } else { Value::Null };
        status(&hub, method, path, body, 404);
    }
    assert_eq!(status(&hub, "GET", "/clusters/none", Value::Null, 400)["message"], "Invalid cluster ID");
    status(&hub, "PATCH", "/clusters/1", Value::Null, 405);
    for path in ["/clusters/1/provision", "/nodes/1/provision", "/nodes/1/deprovision", "/nodes/1/kubeconfig"] {
        status(&hub, "POST", path, json!({}), 501);
    }
    status(&hub, "DELETE", "/clusters/1", Value::Null, 204);
    status(&hub, "GET", "/clusters/1", Value::Null, 404);
    assert_eq!(status(&hub, "POST", "/clusters", json!({"name": "test-cluster"}), 201)["id"], 6);
}

#[test]
fn nodes_are_written_down_and_put_into_clusters_and_it_outlives_the_daemon() {
    let hub = Hub::start("node_id = \"hub\"\n");
    let mut events = listener(&hub, "?types=cluster.node.*");
    let new =
        json!({"name": "pi-2", "ip_address": "192.168.1.2", "mac_address": "B8-27-EB-00-00-02", "role": "worker"});
    let made = status(&hub, "POST", "/nodes", new.clone(), 201);
    assert_eq!((&made["id"], &made["status"], &made["role"]), (&json!(2), &json!("unknown"), &json!("worker")));
    for (member, value) in [("name", "pi-3"), ("ip_address", "192.168.1.3"), ("mac_address", "b8:27:eb:00:00:03")] {
        let mut twin = new.clone();
        twin[member] = json!(value);
        status(&hub, "POST", "/nodes", twin, 409);
        let mut without = new.clone();
        without.as_object_mut().expect("an object").remove(member);
        status(&hub, "POST", "/nodes", without, 400);
        let mut wrong = new.clone();
        wrong[member] = json!("\n");
        status(&hub, "POST", "/nodes", wrong, 400);
    }
    status(&hub, "POST", "/clusters", json!({"name": "lab"}), 201);
    status(&hub, "POST", "/clusters", json!({"name": "other"}), 201);

    status(&hub, "POST", "/clusters/lab/nodes", json!({"node_id": "pi-2"}), 200);
    let added = json!({"cluster_id": "lab", "node_id": "pi-2", "ip_address": "192.168.1.2", "status": "unknown"});
    event(&mut events, "cluster.node.added", added);
    status(&hub, "POST", "/clusters/1/nodes", json!({"node_id": 2}), 200); // and no event: it is there
    for (from, to) in [("lab", "other"), ("other", "lab")] {
        status(&hub, "POST", &format!("/clusters/{to}/nodes"), json!({"node_id": 2}), 200);
        event(&mut events, "cluster.node.removed", json!({"cluster_id": from, "node_id": "pi-2"}));
        assert_eq!(events.json()["cluster_id"], to);
    }
    status(&hub, "POST", "/clusters/lab/nodes", json!({"node_id": "nobody"}), 404);
    status(&hub, "POST", "/clusters/lab/nodes", json!({"node_id": "hub"}), 200);
    assert_eq!(events.json()["data"]["node_id"], "hub", "this device is a node like others");
    let members = hub.get("/clusters/1/nodes");
    assert_eq!(
        (&members["count"], &members["cluster_id"], &members["data"]),
        (&json!(2), &json!(1), &members["nodes"])
    );
    status(&hub, "DELETE", "/clusters/lab/nodes/1", Value::Null, 204);
    event(&mut events, "cluster.node.removed", json!({"cluster_id": "lab", "node_id": "hub"}));
    status(&hub, "DELETE", "/clusters/lab/nodes/1", Value::Null, 404);

    assert_eq!(status(&hub, "PUT", "/nodes/2", json!({"role": "master", "model": "Zero"}), 200)["role"], "master");
    status(&hub, "PUT", "/nodes/2", json!({"ip_address": "300.1.1.1"}), 400);
    status(&hub, "PUT", "/nodes/hub", json!({"name": "x"}), 409);
    status(&hub, "DELETE", "/nodes/hub", Value::Null, 409);
    let lines = hub.get("/nodes/1/gpio");
    assert_eq!((&lines["gpio_devices"][0]["node_id"], &lines["data"]), (&json!(1), &lines["gpio_devices"]));
    status(&hub, "GET", "/nodes/2/gpio", Value::Null, 501);
    assert!(hub.get("/system/info")["cpu_count"].as_u64().is_some_and(|count| count > 0));
    assert!(hub.get("/system/metrics")["memory_alloc"].as_u64().is_some_and(|bytes| bytes > 1 << 20));

    let mut daemon = hub.daemon;
    assert!(daemon.stop().success());
    let again = Daemon::start_in(TempDir::new(), |command| {
        let of = |name| daemon.dir.path().join(name);
        command.arg("--state-dir").arg(of("state")).arg("--api-key-file").arg(of("operator.key"));
    });
    let get = |path| again.http("GET", path, &[("X-API-Key", OPERATOR)], "").json();
    let node = get("/api/v1/nodes/2");
    assert_eq!((&node["role"], &node["cluster_id"], &node["status"]), (&json!("master"), &json!(1), &json!("unknown")));
    assert_eq!(get("/api/v1/clusters/1")["status"], "degraded", "nobody has heard of its node");
}

#[test]
fn removing_a_cluster_or_a_node_ends_membership_and_says_so() {
    let hub = Hub::start("node_id = \"hub\"\n");
    let mut events = listener(&hub, "?types=cluster.node.removed");
    for name in ["a", "b"] {
        status(&hub, "POST", "/clusters", json!({"name": name}), 201);
    }
    let new = |n: u8| {
        json!({"name": format!("pi-{n}"), "ip_address": format!("10.0.0.{n}"), "mac_address": format!("b8:27:eb:00:00:0{n}"),
               "role": "worker"})
    };
    for n in [2, 3] {
        status(&hub, "POST", "/nodes", new(n), 201);
        status(&hub, "POST", "/clusters/a/nodes", json!({"node_id": n}), 200);
    }
    status(&hub, "DELETE", "/nodes/pi-3", Value::Null, 204);
    event(&mut events, "cluster.node.removed", json!({"cluster_id": "a", "node_id": "pi-3"}));
    status(&hub, "DELETE", "/clusters/a", Value::Null, 204);
    event(&mut events, "cluster.node.removed", json!({"cluster_id": "a", "node_id": "pi-2"}));
    assert_eq!(hub.get("/nodes/pi-2")["cluster_id"], Value::Null);
}

#[test]
fn who_shows_nothing_good_or_is_an_agent_may_not() {
    let hub = Hub::start("");
    let nobody = hub.daemon.get("/api/v1/clusters");
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(nobody.json()["message"], "Authorization header is required");
    let wrong = hub.rest_with("wrong", "GET", "/nodes", &Value::Null);
    assert_eq!((wrong.status, &wrong.json()["message"]), (401, &json!("Invalid or expired token")));
    let server = hub.server("pi");
    let key = hub.agent_key(&server);
    let agent = hub.rest_with(&key, "GET", "/clusters", &Value::Null);
    assert_eq!((agent.status, &agent.json()["message"]), (403, &json!("Requires viewer role")));
    let form = hub.daemon.http("POST", "/api/v1/clusters", &[("X-API-Key", OPERATOR)], "{\"name\":\"x\"}");
    assert_eq!(form.status, 400, "{}", form.body);
}
