//! Agents on the hub's socket: a client written from ChatOps' documentation alone and one that speaks its code's form,
//! side by side; and what becomes of those that misbehave.

mod common;
mod fleet;

use std::time::{Duration, SystemTime};

use common::Ws;
use fleet::{AGENTS, Hub, flat, nested};
use serde_json::{Value, json};

/// What a program by the documentation answers to a command.
fn documented_answer(command: &Value) -> Value {
    json!({
        "type": "command_response", "command_id": command["command_id"], "output": "total 100\n...", "exit_code": 0,
        "duration_ms": 150,
    })
}

#[test]
fn a_client_by_the_documentation_and_one_by_the_code_are_served_side_by_side() {
    let hub = Hub::start("");
    let (by_paper, by_code) = (hub.server("paper"), hub.server("code"));
    let (paper_key, code_key) = (hub.agent_key(&by_paper), hub.agent_key(&by_code));

    let mut paper = hub.socket(&[]);
    let welcome = paper.ask(&json!({"type": "auth", "api_key": paper_key}).to_string());
    assert_eq!(
        welcome,
        json!({"type": "auth_success", "server_id": by_paper, "message": "Connected successfully"}),
        "exactly what the documentation prints"
    );
    // ChatOps' own agent asks who it is before it connects, and is known by its handshake.
    let mut code = hub.socket(&[("User-Agent", "Go-http-client/1.1")]);
    assert_eq!(code.ask(&json!({"type": "auth", "api_key": code_key}).to_string())["server_id"], by_code);

    // Samples of both forms, each acknowledged.
    let received = json!({"type": "metrics_received", "status": "ok"});
    assert_eq!(paper.ask(&flat(&by_paper, 45.2).to_string()), received);
    assert_eq!(code.ask(&nested(&by_code, 12.5).to_string()), received);
    let latest = hub.get(&format!("/metrics/{by_paper}/latest"));
    assert_eq!((&latest["cpu"]["usage_percent"], &latest["memory"]["usage_percent"]), (&json!(45.2), &json!(62.5)));
    let latest = hub.get(&format!("/metrics/{by_code}"));
    assert_eq!((&latest["cpu_percent"], &latest["memory_percent"]), (&json!(12.5), &json!(30.2)));
    let containers = hub.get(&format!("/docker/{by_code}/containers"));
    assert_eq!(containers[0]["name"], "web");
    assert_eq!(hub.get(&format!("/docker/{by_paper}/containers")), json!([]));
    for id in [&by_paper, &by_code] {
        let server = hub.get(&format!("/servers/{id}"));
        assert_eq!(server["status"], "online");
        let history = hub.get(&format!("/metrics/{id}/history"));
        assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
    }

    // A command in each form.
    let asked = hub.order(&format!("/commands/{by_paper}"), &json!({"command": "ls -la"}));
    let command = paper.json();
    let id = command["command_id"].as_str().expect("an id").to_owned();
    assert_eq!(command, json!({"type": "command", "command_id": id, "command": "ls -la", "request_id": id}));
    paper.send(&documented_answer(&command).to_string());
    let answer = asked.join().expect("an answer");
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({
                "success": true, "output": "total 100\n...", "error": null, "exit_code": 0, "command_id": id,
                "command": "ls -la", "duration_ms": 150,
            })
        )
    );
    let asked = hub.order(&format!("/commands/{by_code}"), &json!({"command": "false"}));
    let command = code.json();
    assert_eq!((&command["type"], &command["command"]), (&json!("execute_command"), &json!("false")));
    let result = json!({"output": "bad", "exit_code": 1});
    code.send(&json!({"type": "command_result", "data": result, "request_id": command["request_id"]}).to_string());
    let answer = asked.join().expect("an answer").json();
    assert_eq!(
        (&answer["success"], &answer["error"], &answer["exit_code"]),
        (&json!(false), &json!("bad"), &json!(1)),
        "{answer}"
    );

    // Containers in each form.
    let asked = hub.order(&format!("/docker/{by_paper}/containers/web/start"), &Value::Null);
    let command = paper.json();
    assert_eq!(
        (&command["type"], &command["action"], &command["container_id"]),
        (&json!("docker_command"), &json!("start"), &json!("web"))
    );
    let done = json!({"type": "docker_response", "command_id": command["command_id"], "success": true,
        "message": "Container started"});
    paper.send(&done.to_string());
    let answer = asked.join().expect("an answer");
    let success = json!({"status": "success", "message": "Container started successfully"});
    assert_eq!((answer.status, answer.json()), (200, success));
    let asked = hub.order(&format!("/docker/{by_code}/containers/web/stop?timeout=3"), &Value::Null);
    let command = code.json();
    assert_eq!((&command["type"], &command["timeout"]), (&json!("stop_container"), &json!(3)));
    let failed = json!({"type": "error", "message": "Docker not available", "request_id": command["request_id"]});
    code.send(&failed.to_string());
    let answer = asked.join().expect("an answer");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["detail"], "Docker not available");
    // What was done to containers is in the server's log, and on the pages that watch it.
    let told = |id: &str| -> Vec<Value> { hub.get(&format!("/logs/{id}")).as_array().cloned().unwrap_or_default() };
    let line = |entry: &Value| (entry["level"].clone(), entry["source"].clone(), entry["message"].clone());
    let lines: Vec<_> = told(&by_paper).iter().map(line).collect();
    assert_eq!(lines, [(json!("info"), json!("system"), json!("Container web started"))]);
    let lines: Vec<_> = told(&by_code).iter().map(line).collect();
    assert_eq!(lines, [(json!("error"), json!("system"), json!("Failed to stop container web: Docker not available"))]);

    assert_eq!(code.ask(r#"{"type":"ping"}"#), json!({"type": "pong"}));
    assert_eq!(paper.ask(r#"{"type":"ping"}"#), json!({"type": "pong"}));
}

#[test]
fn who_shows_no_good_key_is_told_so_and_closed() {
    let hub = Hub::start("[hub]\nauth_deadline = \"300ms\"\n");
    let key = hub.agent_key(&hub.server("a"));
    let required = "Authentication required: send {'type': 'auth', 'api_key': '...'} as first message";
    let wrong = format!("{}x", &key[..key.len() - 1]);
    for (first, reason) in [
        (json!({"type": "auth", "api_key": wrong}).to_string(), "Invalid or inactive API key"),
        (json!({"type": "auth", "api_key": fleet::OPERATOR}).to_string(), "Invalid or inactive API key"),
        (json!({"type": "metrics", "cpu_percent": 1}).to_string(), required),
        ("hello".to_owned(), "Authentication failed: the message must be a JSON object"),
    ] {
        let mut ws = hub.socket(&[]);
        assert_eq!(ws.ask(&first), json!({"type": "error", "message": reason}), "{first}");
        assert_eq!(ws.closed(), (1008, reason.to_owned()));
    }
    // Silence, and a message after the limit.
    let mut ws = hub.socket(&[]);
    let error = ws.json();
    assert!(error["message"].as_str().is_some_and(|text| text.contains("hub.auth_deadline")), "{error}");
    assert_eq!(ws.closed().0, 1008);
    hub.agent(&key);
}

#[test]
fn a_second_agent_takes_the_seat_and_the_first_ones_end_changes_nothing() {
    let hub = Hub::start("");
    let id = hub.server("twice");
    let key = hub.agent_key(&id);
    let mut first = hub.agent(&key);
    let asked = hub.order(&format!("/commands/{id}"), &json!({"command": "sleep"}));
    assert_eq!(first.json()["command"], "sleep");
    let mut second = hub.agent(&key);
    assert_eq!(first.closed(), (4001, "replaced".to_owned()));
    let answer = asked.join().expect("an answer");
    assert_eq!(answer.status, 503, "what the first was asked ends with it: {}", answer.body);
    drop(first);
    assert_eq!(second.ask(&flat(&id, 1.0).to_string())["type"], "metrics_received");
    let asked = hub.order(&format!("/commands/{id}"), &json!({"command": "uptime"}));
    let command = second.json();
    second.send(&documented_answer(&command).to_string());
    assert_eq!(asked.join().expect("an answer").status, 200);
    assert_eq!(hub.get(&format!("/servers/{id}"))["status"], "online");
}

/// Reads the server until it has this status.
fn wait_for_status(hub: &Hub, id: &str, status: &str) {
    let until = std::time::Instant::now() + common::LIMIT;
    while hub.get(&format!("/servers/{id}"))["status"] != status {
        assert!(std::time::Instant::now() < until, "not {status} within the limit");
    }
}

#[test]
fn silence_is_offline_and_the_next_word_is_online_again() {
    let hub = Hub::start("[hub]\nagent_silence = \"300ms\"\n");
    let id = hub.server("quiet");
    let key = hub.agent_key(&id);
    assert_eq!(hub.get(&format!("/servers/{id}"))["status"], "unknown");
    let mut agent = hub.agent(&key);
    wait_for_status(&hub, &id, "offline");
    let refused = hub.rest("POST", &format!("/commands/{id}"), &json!({"command": "ls"}));
    assert_eq!(
        (refused.status, refused.json()["detail"].as_str().unwrap_or_default()),
        (503, "Agent not connected. Please ensure the agent is running and connected.")
    );
    agent.ask(r#"{"type":"ping"}"#);
    assert_eq!(hub.get(&format!("/servers/{id}"))["status"], "online");
    drop(agent);
    wait_for_status(&hub, &id, "offline");
    assert!(hub.get(&format!("/servers/{id}"))["last_seen"].is_string());
}

#[test]
fn nonsense_is_named_and_too_much_of_it_closes() {
    let hub = Hub::start("[hub]\ninvalid_messages = 3\n");
    let id = hub.server("babbler");
    let mut agent = hub.agent(&hub.agent_key(&id));
    for (text, detail) in [
        ("nonsense", "the message must be a JSON object"),
        (r#"{"type":"metrics","data":7}"#, "'data' must be an object"),
        (r#"{"type":"metrics","cpu_percent":"high"}"#, "'cpu_percent' must be a number"),
    ] {
        let expected = json!({"type": "error", "message": "Invalid message format", "detail": detail});
        assert_eq!(agent.ask(text), expected);
    }
    agent.send(r#"{"type":"never heard of"}"#);
    assert_eq!(agent.ask(&flat(&id, 1.0).to_string())["type"], "metrics_received", "the socket is none the worse");
    assert_eq!(agent.ask("[]")["message"], "Invalid message format");
    let (code, reason) = agent.closed();
    assert!(code == 1008 && reason.contains("hub.invalid_messages"), "{code} {reason}");
}

#[test]
fn chatops_own_agent_is_not_lost_over_a_sample_that_makes_no_sense() {
    let hub = Hub::start("");
    let id = hub.server("go");
    let mut agent = hub.socket(&[("User-Agent", "Go-http-client/1.1")]);
    assert_eq!(agent.ask(&json!({"type": "auth", "api_key": hub.agent_key(&id)}).to_string())["type"], "auth_success");
    let mut sample = nested(&id, 5.0);
    sample["data"]["memory"]["used_gb"] = json!(-0.1);
    // Without the acknowledgement it would tear the connection down, and come back with the same.
    assert_eq!(agent.ask(&sample.to_string())["message"], "Invalid message format");
    assert_eq!(agent.json(), json!({"type": "metrics_received", "status": "ok"}));
    assert_eq!(agent.ask("[]")["message"], "Invalid message format");
    assert_eq!(agent.ask(r#"{"type":"ping"}"#)["type"], "pong");
    assert_eq!(hub.rest("GET", &format!("/metrics/{id}"), &Value::Null).status, 404);
}

#[test]
fn a_revoked_key_and_a_removed_server_close_the_socket() {
    let hub = Hub::start("");
    let (kept, gone) = (hub.server("kept"), hub.server("gone"));
    let (first, second) = (hub.agent_key(&kept), hub.agent_key(&kept));
    let mut agent = hub.agent(&first);
    hub.revoke(&first);
    assert_eq!(agent.closed(), (1008, "API key revoked".to_owned()));
    hub.agent(&second);

    let key = hub.agent_key(&gone);
    let mut agent = hub.agent(&key);
    agent.ask(&flat(&gone, 1.0).to_string());
    assert_eq!(hub.rest("DELETE", &format!("/servers/{gone}"), &Value::Null).status, 204);
    assert_eq!(agent.closed().0, 1008);
    assert_eq!(hub.rest("GET", &format!("/servers/{gone}"), &Value::Null).status, 404);
    let mut late = hub.socket(&[]);
    assert_eq!(late.ask(&json!({"type": "auth", "api_key": key}).to_string())["type"], "error");
}

fn numbered(mut message: Value, stream: &str, seq: u64) -> String {
    message["stream"] = json!(stream);
    message["seq"] = json!(seq);
    message["clock"] = json!("synchronised");
    message.to_string()
}

fn own(hub: &Hub, key: &str, streams: &[&str]) -> (Ws, Value) {
    let mut ws = hub.socket(&[]);
    let agent = json!({"name": "pi", "version": "0.1.0", "streams": streams});
    let welcome = ws.ask(&json!({"type": "auth", "api_key": key, "protocol": "code", "agent": agent}).to_string());
    assert_eq!(welcome["type"], "auth_success", "{welcome}");
    (ws, welcome)
}

#[test]
fn numbered_records_are_taken_once_and_in_order() {
    let hub = Hub::start("");
    let id = hub.server("counted.pi");
    let key = hub.agent_key(&id);
    let (mut agent, welcome) = own(&hub, &key, &["s"]);
    assert_eq!(welcome["streams"], json!({}), "nothing is known of a stream that never came");
    let mut watcher = hub.daemon.try_ws("/ws?types=agent.**", &[("X-API-Key", fleet::OPERATOR)]).expect("a socket");
    assert_eq!(watcher.json()["type"], "pong");
    watcher.sync();
    let now = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    let happened = |pin: u64| {
        let data = json!({"pin": pin});
        json!({"type": "event", "event": {"type": "gpio.state.changed", "timestamp": now, "data": data}})
    };
    let sample = |seq| {
        let mut sample = nested(&id, seq as f64);
        sample["data"]["timestamp"] = json!(now);
        numbered(sample, "s", seq)
    };
    assert_eq!(agent.ask(&sample(1)), json!({"type": "metrics_received", "status": "ok", "seq": 1}));
    agent.send(&numbered(happened(2), "s", 2));
    agent.send(&numbered(happened(3), "s", 3));
    // Everything once more, as after a connection that broke.
    drop(agent);
    let (mut agent, _) = own(&hub, &key, &["s"]);
    assert_eq!(agent.ask(&sample(1))["seq"], 1, "acknowledged, and dropped");
    agent.send(&numbered(happened(2), "s", 2));
    agent.send(&numbered(happened(3), "s", 3));
    agent.send(&numbered(happened(4), "s", 4));
    assert_eq!(agent.ask(&sample(5))["seq"], 5);
    // What a client of the device published has a string for its data.
    let published = json!({"type": "event", "event": {"type": "door", "timestamp": now, "data": "open"}});
    agent.send(&numbered(published, "s", 6));
    for pin in 2..=4 {
        let event = watcher.json();
        assert_eq!(
            (&event["type"], &event["data"]["pin"]),
            (&json!("agent.counted-pi.gpio.state.changed"), &json!(pin))
        );
    }
    let door = watcher.json();
    assert_eq!((&door["type"], &door["data"]), (&json!("agent.counted-pi.door"), &json!("open")));
    let history = hub.get(&format!("/metrics/{id}/history"));
    let samples: u64 = history.as_array().expect("points").iter().map(|p| p["samples"].as_u64().unwrap_or(0)).sum();
    assert_eq!(samples, 2, "{history}");

    // An orderly end writes everything; the next hub knows how far the stream is.
    let Hub { mut daemon, .. } = hub;
    assert!(daemon.stop().success());
}

/// A hub whose own clock is wrong shows what agents with a right one say now, and what they kept is history for it too.
#[test]
fn how_old_a_sample_is_goes_by_the_agents_monotonic_clock() {
    const SECOND: u64 = 1_000_000_000;
    let hub = Hub::start("");
    let id = hub.server("pi");
    let key = hub.agent_key(&id);
    let mut agent = hub.socket(&[]);
    let about =
        json!({"name": "pi", "version": "0.1.0", "boot_id": "b", "monotonic_ns": 1000 * SECOND, "streams": ["s"]});
    let auth = json!({"type": "auth", "api_key": key, "protocol": "code", "agent": about});
    assert_eq!(agent.ask(&auth.to_string())["type"], "auth_success");
    let hour = Duration::from_secs(3600);
    let sample = |cpu: f64, seconds: u64, boot: &str, at: SystemTime| {
        let mut sample = nested(&id, cpu);
        sample["data"]["timestamp"] = json!(humantime::format_rfc3339_millis(at).to_string());
        sample["boot_id"] = json!(boot);
        sample["monotonic_ns"] = json!(seconds * SECOND);
        numbered(sample, "s", cpu as u64)
    };
    let now = SystemTime::now();
    let latest = || hub.get(&format!("/metrics/{id}/latest"))["cpu"]["usage_percent"].clone();
    agent.ask(&sample(1.0, 1000, "b", now - hour));
    assert_eq!(latest(), 1.0, "the wall clocks differ by an hour, and it was made just now");
    agent.ask(&sample(2.0, 900, "b", now));
    agent.ask(&sample(3.0, 1000, "a", now));
    assert_eq!(latest(), 1.0, "made long before, or in another boot");
    agent.ask(&sample(4.0, 1001, "b", now));
    assert_eq!(latest(), 4.0);
}

#[test]
fn the_hub_proves_that_it_knows_the_key_before_it_is_shown() {
    use pinwire::auth::{KeyId, proof, take_apart};
    let hub = Hub::start("");
    let id = hub.server("wary");
    let key = hub.agent_key(&id);
    let (_, digest) = take_apart(&key);
    let key_id = KeyId::parse(&key).expect("an id").to_string();
    let hello = json!({"type": "hello", "key_id": key_id, "nonce": "A".repeat(43)}).to_string();
    let given = |answer: &Value| {
        use base64::Engine as _;
        let text = answer["proof"].as_str().unwrap_or_else(|| panic!("{answer}"));
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
    };
    let mut agent = hub.socket(&[]);
    let answer = agent.ask(&hello);
    assert!(proof::is_good(&given(&answer), &digest, &[0; 32], &key_id), "{answer}");
    assert_eq!(agent.ask(&json!({"type": "auth", "api_key": key}).to_string())["type"], "auth_success");
    // A key that nobody has looks the same.
    let mut stranger = hub.socket(&[]);
    let answer = stranger.ask(&hello.replace(&key_id, "0123456789"));
    assert_eq!(given(&answer).len(), 32);
    let again = stranger.ask(&hello);
    assert!(again["message"].as_str().is_some_and(|text| text.contains("already")), "{again}");
    assert_eq!(stranger.closed().0, 1008);
}

#[test]
fn agents_of_this_program_hear_who_asks_and_answer_for_their_device() {
    let hub = Hub::start("");
    let id = hub.server("own");
    let (mut agent, _) = own(&hub, &hub.agent_key(&id), &[]);
    let asked = hub.order(&format!("/commands/{id}"), &json!({"command": "reboot now", "timeout": 7}));
    let order = agent.json();
    assert_eq!((&order["type"], &order["timeout"]), (&json!("execute_command"), &json!(7)));
    assert_eq!(order["issued_by"], json!({"who": "operator", "from": "127.0.0.1"}));
    let mut watcher = hub.daemon.try_ws("/ws?types=agent.**", &[("X-API-Key", fleet::OPERATOR)]).expect("a socket");
    assert_eq!(watcher.json()["type"], "pong");
    watcher.sync();
    let output = json!({"type": "command_output", "command_id": order["command_id"], "offset": 0, "chunk": "x"});
    agent.send(&output.to_string());
    let piece = watcher.json();
    assert_eq!((&piece["type"], &piece["data"]["chunk"]), (&json!("agent.own.command.output"), &json!("x")));
    let denied =
        json!({"type": "error", "message": "commands are off", "denied": true, "request_id": order["request_id"]});
    agent.send(&denied.to_string());
    let answer = asked.join().expect("an answer");
    assert_eq!((answer.status, answer.json()), (403, json!({"detail": "commands are off", "denied": true})));

    let asked = hub.order(&format!("/servers/{id}/actions"), &json!({"action": "READ_MEMORY"}));
    let action = agent.json();
    assert_eq!((&action["type"], &action["request"]), (&json!("action"), &json!({"action": "READ_MEMORY"})));
    let response = json!({"action": "READ_MEMORY", "success": true, "data": {"total": 1}});
    let result = json!({"type": "action_result", "command_id": action["command_id"], "response": response});
    agent.send(&result.to_string());
    let answer = asked.join().expect("an answer");
    assert_eq!((answer.status, answer.json()), (200, response));

    // An agent of another program is not asked what it cannot know.
    let other = hub.server("other");
    let _other = hub.agent(&hub.agent_key(&other));
    let answer = hub.rest("POST", &format!("/servers/{other}/actions"), &json!({"action": "READ_MEMORY"}));
    assert_eq!(answer.status, 501, "{}", answer.body);
    assert_eq!(hub.daemon.http("GET", AGENTS, &[("X-API-Key", fleet::OPERATOR)], "").status, 404);
}
