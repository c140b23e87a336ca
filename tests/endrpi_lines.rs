//! Our own actions on Endrpi's WebSocket and their REST twins: reports of lines, and what leases, sequences and PWM
//! refuse before they reach a line.

mod common;

use common::{Daemon, Ws};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn ask(ws: &mut Ws, action: &str, params: Value) -> Value {
    ws.ask(&json!({"action": action, "params": params, "id": 1}).to_string())
}

fn lines(ws: &mut Ws, params: Value) -> Value {
    let answer = ask(ws, "READ_LINES", params);
    assert_eq!(answer["success"], true, "{answer}");
    answer["data"].clone()
}

#[test]
fn lines_report_everything_under_the_names_asked() {
    let daemon = Daemon::with_config("[gpio.pins]\nrelay = { pin = 17 }\n", &[]);
    let mut ws = daemon.ws("/");
    let answer = ws.ask(r#"{"action":"READ_LINES"}"#);
    assert_eq!(answer["data"].as_object().map(serde_json::Map::len), Some(28), "{answer}");
    assert_eq!(lines(&mut ws, json!({"pins": []})).as_object().map(serde_json::Map::len), Some(28));
    let update = json!({"pins": {"relay": {"io": "OUTPUT", "state": 1}}});
    assert_eq!(ask(&mut ws, "UPDATE_PIN_CONFIGURATIONS", update)["success"], true);
    let told = lines(&mut ws, json!({"pins": ["relay", "pin11", 4]}));
    assert_eq!(told.as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(told["relay"], told["pin11"]);
    let relay = &told["relay"];
    let known = [&relay["resource"], &relay["pin"], &relay["io"], &relay["state"], &relay["pull"]];
    assert_eq!(json!(known), json!(["relay", 17, "OUTPUT", 1.0, "FLOATING"]));
    assert_eq!((&relay["activeLow"], &relay["allowed"]), (&json!(false), &json!(true)));
    for nobody in ["consumer", "leasedBy", "sequence", "pwm"] {
        assert_eq!(relay[nobody], Value::Null, "{nobody}");
    }
    assert!(["rising", "falling", "lost", "summarised"].iter().all(|name| relay["edges"][name].is_u64()), "{relay}");
    assert_eq!(told["GPIO4"]["io"], "INPUT");
    assert_eq!(
        ask(&mut ws, "READ_LINES", json!({"pins": ["GPIO28"]}))["error"],
        "Received message with invalid 'pins' field"
    );

    let all = daemon.get("/lines").json();
    assert_eq!(all["GPIO17"], *relay, "the twin says the same");
    assert_eq!(daemon.get("/lines/relay").json(), *relay);
    assert_eq!(daemon.get("/lines/GPIO28").status, 404);
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_name_of_the_field() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let table = [
        ("LEASE_PINS", json!({"pins": ["GPIO17"]}), "missing 'lease'"),
        ("LEASE_PINS", json!({"pins": ["GPIO17"], "lease": "25h"}), "invalid 'lease' field: from 10ms to 1day"),
        ("RENEW_LEASE", json!({"lease": 5}), "invalid 'lease'"),
        ("RELEASE_LEASE", json!({}), "missing 'params'"),
        ("PULSE_PIN", json!({"pin": "GPIO17", "duration": -1}), "invalid 'duration'"),
        ("BLINK_PIN", json!({"pin": "GPIO99", "on": 1, "off": 1}), "invalid 'pin'"),
        (
            "PLAY_PINS",
            json!({"steps": [{"at": 5, "pins": {"17": 1}}, {"at": 4, "pins": {"17": 0}}]}),
            "invalid 'steps'",
        ),
        ("CANCEL_SEQUENCE", json!({"sequence": null}), "missing 'sequence'"),
        ("SET_PWM", json!({"pin": "GPIO18", "frequency": 100, "duty": 2}), "invalid 'duty'"),
    ];
    for (action, params, part) in table {
        let answer = ask(&mut ws, action, params.clone());
        assert_eq!((&answer["action"], &answer["success"], &answer["id"]), (&json!(action), &json!(false), &json!(1)));
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(part)), "{params}: {answer}");
    }
    for (action, field) in [("RENEW_LEASE", "lease"), ("RELEASE_LEASE", "lease"), ("CANCEL_SEQUENCE", "sequence")] {
        let answer = ask(&mut ws, action, json!({ field: "none" }));
        assert_eq!(answer["error"], format!("There is no {field} 'none': it has ended, or it never was"));
    }
}

#[test]
fn a_leased_line_refuses_others_in_every_way_they_may_ask() {
    let daemon = Daemon::start(&[]);
    let (mut holder, mut other) = (daemon.ws("/"), daemon.ws("/"));
    let wish = json!({"pins": ["GPIO17"], "lease": "1h", "grace": 0.5, "holder": "panel"});
    let lease = ask(&mut holder, "LEASE_PINS", wish)["data"].clone();
    let id = lease["lease"].as_str().expect("an id");
    let granted = json!({"lease": id, "pins": ["GPIO17"], "leaseSeconds": 3600.0, "graceSeconds": 0.5});
    assert_eq!(lease, granted);
    assert_eq!(ask(&mut holder, "RENEW_LEASE", json!({ "lease": id }))["data"], granted);
    assert_eq!(lines(&mut other, json!({"pins": [17]}))["GPIO17"]["leasedBy"], "panel");
    let high = json!({"io": "OUTPUT", "state": 1});
    for (action, params) in [
        ("UPDATE_PIN_CONFIGURATIONS", json!({"pins": {"GPIO17": high}})),
        ("LEASE_PINS", json!({"pins": [17], "lease": 1})),
        ("PULSE_PIN", json!({"pin": 17, "duration": 1})),
        ("PLAY_PINS", json!({"steps": [{"at": 0, "pins": {"4": 1, "17": 1}}]})),
        ("SET_PWM", json!({"pin": 17, "frequency": 10, "duty": 0.5})),
    ] {
        let answer = ask(&mut other, action, params);
        assert!(answer["error"].as_str().is_some_and(|text| text.contains("leased by panel")), "{action}: {answer}");
    }
    let answer = daemon.http("PUT", "/pins/17", &[JSON], &high.to_string());
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(ask(&mut holder, "RELEASE_LEASE", json!({ "lease": id }))["data"], "Lease released");
    assert_eq!(daemon.http("PUT", "/pins/17", &[JSON], &high.to_string()).status, 200);
}

#[test]
fn sequences_play_on_the_device_until_they_end_or_are_cancelled() {
    let daemon = Daemon::start(&[]);
    let (mut ws, mut watcher) = (daemon.ws("/"), daemon.ws("/"));
    assert_eq!(ask(&mut watcher, "SUBSCRIBE", json!({"topics": ["gpio.**"]}))["success"], true);
    let mut seen = |count: usize| -> Vec<Value> {
        let event = |_| watcher.json()["data"]["data"].clone();
        (0..count).map(event).map(|data| json!([data["pin"], data["state"]])).collect()
    };
    let answer = ask(&mut ws, "PULSE_PIN", json!({"pin": 17, "duration": "5ms"}));
    assert_eq!(answer["data"]["durationSeconds"], 0.005, "{answer}");
    assert_eq!(seen(2), [json!([17, "high"]), json!([17, "low"])]);
    let steps = json!([{"at": 0, "pins": {"4": 1}}, {"at": 500, "pins": {"5": 1}}, {"at": "1ms", "pins": {"4": 0}}]);
    let answer = ask(&mut ws, "PLAY_PINS", json!({ "steps": steps }));
    assert_eq!(answer["data"]["durationSeconds"], 0.001, "{answer}");
    assert_eq!(seen(3), [json!([4, "high"]), json!([5, "high"]), json!([4, "low"])]);
    let answer = ask(&mut ws, "BLINK_PIN", json!({"pin": 6, "on": "5ms", "off": "5ms"}));
    assert_eq!(answer["data"]["durationSeconds"], Value::Null);
    let id = answer["data"]["sequence"].clone();
    assert_eq!(seen(3), [json!([6, "high"]), json!([6, "low"]), json!([6, "high"])]);
    assert_eq!(lines(&mut ws, json!({"pins": [6]}))["GPIO6"]["sequence"], id);
    assert_eq!(ask(&mut ws, "CANCEL_SEQUENCE", json!({ "sequence": id }))["data"], "Sequence cancelled");
    assert_eq!(ask(&mut ws, "CANCEL_SEQUENCE", json!({ "sequence": id }))["success"], false);
    assert_eq!(lines(&mut ws, json!({"pins": [6]}))["GPIO6"]["sequence"], Value::Null);
}

#[test]
fn a_crash_is_told_under_its_own_visitors_name() {
    let daemon = Daemon::with_config("debug_actions = true\n", &[]);
    // Their threads wait for the next visitor.
    for _ in 0..4 {
        assert_eq!(daemon.get("/health").status, 200);
    }
    let mut ws = daemon.ws("/");
    ws.send(r#"{"action":"DEBUG_PANIC","params":{"thread":"connection"}}"#);
    daemon.wait_for_log("crashed: ");
    let log = daemon.log();
    let name = log.lines().find_map(|line| line.split_once("connection c")?.1.split_once(" crashed: ")).expect(&log).0;
    for line in log.lines().filter(|line| line.contains(" panicked at ") && line.contains("thread 'c")) {
        assert!(line.contains(&format!("thread 'c{name}'")), "c{name}: {line}");
    }
    assert!(log.contains(" panicked at "), "{log}");
}

#[test]
fn debug_actions_do_not_exist_unless_asked_for() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    for thread in ["connection", "hub", "gpio-in", "gpio-out"] {
        for action in ["DEBUG_PANIC", "DEBUG_HANG"] {
            let answer = ask(&mut ws, action, json!({ "thread": thread }));
            assert_eq!(answer["error"], "Received message with invalid 'action' field", "{answer}");
            assert_eq!(answer["action"], Value::Null);
        }
    }
    assert_eq!(ws.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
}

#[test]
fn the_twins_take_their_own_methods_and_json_only() {
    let daemon = Daemon::start(&[]);
    let table = [
        ("POST", "/lines", 405, "GET"),
        ("PUT", "/lines/GPIO17", 405, "GET"),
        ("GET", "/pins/GPIO17/pulse", 405, "POST"),
        ("DELETE", "/pins/GPIO17/blink", 405, "POST"),
        ("GET", "/sequences", 405, "POST"),
        ("GET", "/sequences/1", 405, "DELETE"),
        ("GET", "/pins/GPIO17/push", 404, ""),
        ("DELETE", "/sequences/", 404, ""),
    ];
    for (method, path, status, allow) in table {
        let answer = daemon.http(method, path, &[JSON], "{}");
        assert_eq!((answer.status, answer.header("allow").unwrap_or_default()), (status, allow), "{method} {path}");
    }
    let pulse = r#"{"duration":"1ms"}"#;
    let answer = daemon.http("POST", "/pins/GPIO17/pulse", &[("Content-Type", "text/plain")], pulse);
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = daemon.http("POST", "/pins/GPIO99/pulse", &[JSON], pulse);
    assert_eq!(answer.json()["message"], "Pin with BCM pin number `GPIO99` not found");
    let answer = daemon.http("DELETE", "/sequences/none", &[], "");
    assert_eq!(
        (answer.status, answer.json()["message"].clone()),
        (404, json!("There is no sequence 'none': it has ended, or it never was"))
    );
}
