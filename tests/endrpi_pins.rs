//! Endrpi's pins over the WebSocket at `/`: the documented examples, all-or-nothing updates and simulated inputs.

mod common;

use common::{Daemon, Ws};
use serde_json::{Value, json};

fn update(ws: &mut Ws, pins: Value) -> Value {
    ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string())
}

fn read(ws: &mut Ws, pins: Value) -> Value {
    let answer = ws.ask(&json!({"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string());
    assert_eq!(answer["success"], true, "{answer}");
    answer["data"].clone()
}

fn simulate(ws: &mut Ws, params: Value) -> Value {
    ws.ask(&json!({"action": "SIMULATE_INPUT", "params": params}).to_string())
}

#[test]
fn the_documented_example_is_answered_as_printed_there() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let output = json!({"io": "OUTPUT", "state": 1.0});
    let answer = update(&mut ws, json!({"GPIO17": output, "GPIO15": output}));
    assert_eq!(
        answer,
        json!({"action": "UPDATE_PIN_CONFIGURATIONS", "success": true, "data": "Pin configurations updated", "error": null})
    );
    ws.send("{\n  \"action\": \"READ_PIN_CONFIGURATIONS\",\n  \"params\": {\n    \"pins\": [ \"GPIO17\", \"GPIO15\" ]\n  }\n}");
    assert_eq!(
        ws.text(),
        concat!(
            r#"{"action":"READ_PIN_CONFIGURATIONS","success":true,"data":{"#,
            r#""GPIO17":{"io":"OUTPUT","state":1.0,"pull":"FLOATING"},"GPIO15":{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}},"#,
            r#""error":null}"#
        )
    );
}

#[test]
fn all_of_bcm_0_to_27_can_be_read_and_written_by_each_of_their_names() {
    let daemon = Daemon::with_config("[gpio.pins]\nporch-lamp = { pin = 17 }\n", &[]);
    let mut ws = daemon.ws("/");
    for bcm in 0..28 {
        let name = format!("GPIO{bcm}");
        let expected = match bcm {
            2 | 3 => json!({"io": "INPUT", "state": 1.0, "pull": "UP"}),
            _ => json!({"io": "INPUT", "state": 0.0, "pull": "FLOATING"}),
        };
        assert_eq!(read(&mut ws, json!([name]))[&name], expected, "{name}");
        let answer = update(&mut ws, json!({ &name: {"io": "OUTPUT", "state": 1} }));
        // The EEPROM of add-on boards answers on the first two.
        if bcm < 2 {
            assert!(answer["error"].as_str().is_some_and(|text| text.contains("gpio.deny")), "{answer}");
            continue;
        }
        assert_eq!(answer["success"], true, "{name}");
        assert_eq!(read(&mut ws, json!([name]))[&name]["state"], 1.0, "{name}");
    }
    // The answer goes by the names and in the order of the request; a name twice is one member.
    ws.send(r#"{"action":"READ_PIN_CONFIGURATIONS","params":{"pins":["porch-lamp","17","pin11","GPIO17","17",17]}}"#);
    let line = r#"{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}"#;
    let expected = format!(r#""data":{{"porch-lamp":{line},"17":{line},"pin11":{line},"GPIO17":{line}}}"#);
    let answer = ws.text();
    assert!(answer.contains(&expected), "{answer}");
    assert_eq!(read(&mut ws, json!([])), json!({}), "no pins are a legal question");
}

#[test]
fn inputs_take_their_level_from_the_pull_and_outputs_are_digital() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let table = [
        (json!({"io": "INPUT", "pull": "UP"}), json!({"io": "INPUT", "state": 1.0, "pull": "UP"})),
        (json!({"io": "INPUT", "pull": "FLOATING"}), json!({"io": "INPUT", "state": 1.0, "pull": "FLOATING"})),
        (json!({"io": "INPUT", "pull": "DOWN", "state": 1}), json!({"io": "INPUT", "state": 0.0, "pull": "DOWN"})),
        (json!({"io": "OUTPUT", "state": 0.5}), json!({"io": "OUTPUT", "state": 1.0, "pull": "DOWN"})),
        (json!({"io": "OUTPUT", "state": 0}), json!({"io": "OUTPUT", "state": 0.0, "pull": "DOWN"})),
        (json!({"io": "OUTPUT", "state": "1", "pull": "UP"}), json!({"io": "OUTPUT", "state": 1.0, "pull": "DOWN"})),
        (json!({"io": "OUTPUT", "state": false}), json!({"io": "OUTPUT", "state": 0.0, "pull": "DOWN"})),
    ];
    for (configuration, expected) in table {
        let answer = update(&mut ws, json!({"GPIO22": configuration}));
        assert_eq!(answer["success"], true, "{configuration} → {answer}");
        assert_eq!(read(&mut ws, json!(["GPIO22"]))["GPIO22"], expected, "{configuration}");
    }
}

#[test]
fn an_update_that_fails_at_its_last_pin_has_changed_none() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let mut watcher = daemon.ws("/");
    watcher.ask(r#"{"action":"SUBSCRIBE","params":{"topics":["gpio.**"]}}"#);
    let output = json!({"io": "OUTPUT", "state": 1});
    let bad = [
        json!({"GPIO4": output, "GPIO5": output, "GPIO28": output}),
        json!({"GPIO4": output, "GPIO5": {"io": "OUTPUT", "state": 2}}),
        json!({"GPIO4": output, "GPIO5": {"io": "OUTPUT"}}),
        json!({"GPIO4": output, "GPIO5": {"io": "INPUT"}}),
        json!({"GPIO4": output, "GPIO2": {"io": "INPUT", "pull": "DOWN"}}),
        json!({"GPIO4": output, "GPIO3": {"io": "INPUT", "pull": "FLOATING"}}),
        json!({"GPIO4": output, "4": {"io": "OUTPUT", "state": 0}}),
    ];
    for pins in bad {
        let answer = update(&mut ws, pins.clone());
        assert_eq!(answer["success"], false, "{pins} → {answer}");
        let states = read(&mut ws, json!(["GPIO4", "GPIO5"]));
        for pin in ["GPIO4", "GPIO5"] {
            assert_eq!(states[pin], json!({"io": "INPUT", "state": 0.0, "pull": "FLOATING"}), "{pins}");
        }
    }
    let answer = update(&mut ws, json!({"GPIO2": {"io": "INPUT", "pull": "DOWN"}}));
    assert!(answer["error"].as_str().is_some_and(|text| text.starts_with("Failed to update pin `GPIO2`")), "{answer}");
    assert_eq!(update(&mut ws, json!({"GPIO6": output}))["success"], true);
    assert_eq!(watcher.json()["data"]["data"]["pin"], 6, "nothing else has changed");
}

#[test]
fn a_simulated_input_is_seen_by_readers_and_refused_on_outputs() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    for (level, state) in [(json!("high"), 1.0), (json!(0), 0.0), (json!(true), 1.0), (json!("LOW"), 0.0)] {
        let answer = simulate(&mut ws, json!({"pin": "GPIO23", "level": level}));
        assert_eq!(answer["success"], true, "{answer}");
        assert_eq!(read(&mut ws, json!(["GPIO23"]))["GPIO23"]["state"], state, "{level}");
    }
    let refusals = [
        (json!({}), "Received message with missing 'params' field"),
        (json!({"pin": "GPIO23"}), "Received message with missing 'level' field"),
        (json!({"level": "high"}), "Received message with missing 'pin' field"),
        (json!({"pin": "GPIO99", "level": "high"}), "Received message with invalid 'pin' field"),
        (json!({"pin": "GPIO23", "level": "up"}), "Received message with invalid 'level' field"),
        (json!({"pin": "GPIO23", "level": 0.5}), "Received message with invalid 'level' field"),
    ];
    for (params, error) in refusals {
        let answer = simulate(&mut ws, params.clone());
        assert_eq!((&answer["action"], &answer["error"]), (&json!("SIMULATE_INPUT"), &json!(error)), "{params}");
    }
    update(&mut ws, json!({"GPIO23": {"io": "OUTPUT", "state": 0}}));
    let answer = simulate(&mut ws, json!({"pin": "GPIO23", "level": "high"}));
    let text = answer["error"].as_str().unwrap_or_default();
    assert!(text.contains("GPIO23") && text.contains("output"), "{answer}");
    assert_eq!(read(&mut ws, json!(["GPIO23"]))["GPIO23"]["state"], 0.0);
}

#[test]
fn reading_never_changes_a_pin() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    update(&mut ws, json!({"GPIO10": {"io": "OUTPUT", "state": 1}, "GPIO9": {"io": "INPUT", "pull": "UP"}}));
    let before = daemon.get("/pins").body;
    for path in ["/pins", "/pins/GPIO10", "/pins/GPIO9"] {
        assert_eq!(daemon.get(path).status, 200);
    }
    read(&mut ws, json!(["GPIO10", "GPIO9"]));
    assert_eq!(daemon.get("/pins").body, before);
}
