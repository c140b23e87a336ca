//! Lines that come, go and change with a reload, on simulated pins; `gpio_reload` does the same to real ones.

mod common;
#[path = "reload/mod.rs"]
mod reloading;
mod robust;

use common::{Daemon, Ws};
use reloading::{reload, rewrite};
use serde_json::{Value, json};

/// What is said of a line by whom it is asked, and every event of lines up to then.
struct Bench {
    daemon: Daemon,
    ws: Ws,
    events: Ws,
}

impl Bench {
    fn new(pins: &str) -> Bench {
        let daemon = Daemon::with_config(&file(pins), &[]);
        let (ws, mut events) = (daemon.ws("/"), daemon.ws("/ws?types=gpio.**"));
        events.until(|event| event["type"] == "pong");
        let mut bench = Bench { daemon, ws, events };
        bench.told();
        bench
    }

    /// Reloads with other lines; what the daemon says.
    fn reload(&self, pins: &str) -> String {
        rewrite(&self.daemon, &file(pins));
        reload(&self.daemon)
    }

    fn ask(&mut self, action: &str, params: Value) -> Value {
        self.ws.ask(&json!({"action": action, "params": params}).to_string())
    }

    #[track_caller]
    fn done(&mut self, action: &str, params: Value) -> Value {
        let answer = self.ask(action, params);
        assert_eq!(answer["success"], true, "{answer}");
        answer["data"].clone()
    }

    fn drive(&mut self, name: &str, level: u8) -> Value {
        self.ask("UPDATE_PIN_CONFIGURATIONS", json!({"pins": {name: {"io": "OUTPUT", "state": level}}}))
    }

    fn line(&mut self, name: &str) -> Value {
        self.done("READ_LINES", json!({"pins": [name]}))[name].clone()
    }

    /// Events since the last call, as "name level".
    fn told(&mut self) -> Vec<String> {
        // Who asks the hub is answered behind everything that waits in it.
        self.done("READ_PRESENCE", json!({}));
        self.events.0.send(tungstenite::Message::Ping("end".into())).expect("sent");
        let mut told = Vec::new();
        loop {
            match self.events.0.read().expect("a message") {
                tungstenite::Message::Text(text) => {
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    told.push(format!("{} {}", text(&event["resource"]), event["data"]["state"]));
                }
                tungstenite::Message::Pong(_) => return told,
                _ => {}
            }
        }
    }
}

fn file(pins: &str) -> String {
    format!("state_dir = \"\"\n[gpio]\n{pins}")
}

#[test]
fn lines_come_go_and_change_their_names_and_no_other_line_moves() {
    let mut bench = Bench::new(
        "pins.lamp = { pin = 17, mode = \"output\", initial = \"high\" }\n\
         pins.pump = { pin = 27, mode = \"output\", initial = \"high\" }\n",
    );
    // One goes, one comes, and one is called something else.
    let told = bench.reload(
        "pins.light = { pin = 17, mode = \"output\", initial = \"low\" }\n\
         pins.fan = { pin = 22, mode = \"output\", initial = \"high\" }\n\
         pins.button = { pin = 23, mode = \"input\", bias = \"up\" }\n",
    );
    assert!(!told.contains("needs a restart") && told.contains("pump: gone from the configuration"), "{told}");
    let told = bench.told();
    assert_eq!(told.iter().filter(|told| told.starts_with("pump")).count(), 1, "to its safe state: {told:?}");
    assert!(!told.iter().any(|told| told.starts_with("light") || told.starts_with("lamp")), "{told:?}");
    let light = bench.line("light");
    assert_eq!((&light["io"], &light["state"], &light["resource"]), (&json!("OUTPUT"), &json!(1.0), &json!("light")));
    let fan = bench.line("fan");
    assert_eq!((&fan["io"], &fan["state"]), (&json!("OUTPUT"), &json!(1.0)));
    let button = bench.line("button");
    assert_eq!((&button["io"], &button["pull"], &button["state"]), (&json!("INPUT"), &json!("UP"), &json!(1.0)));
    let pump = bench.line("GPIO27");
    assert_eq!((&pump["io"], &pump["state"], &pump["resource"]), (&json!("INPUT"), &json!(0.0), &json!("GPIO27")));
    for nobody in ["lamp", "pump"] {
        assert_eq!(bench.ask("READ_LINES", json!({"pins": [nobody]}))["success"], false, "{nobody}");
    }
    assert_eq!(bench.drive("button", 1)["success"], false, "it is an input's now");
    // Back: it is anybody's again, and one that a client has made an output keeps its level under its name.
    assert_eq!(bench.drive("GPIO27", 1)["success"], true);
    bench.told();
    let told = bench.reload("pins.pump = { pin = 27, mode = \"output\", initial = \"low\" }\n");
    assert!(!told.contains("needs a restart"), "{told}");
    assert_eq!(bench.line("pump")["state"], 1.0);
    assert!(!bench.told().iter().any(|told| told.starts_with("pump")));
    assert_eq!(bench.drive("GPIO23", 1)["success"], true);
}

#[test]
fn what_is_said_of_a_line_holds_at_once_and_moves_nothing() {
    let lamp = |more: &str| format!("pins.lamp = {{ pin = 17, mode = \"output\"{more} }}\n");
    let mut bench = Bench::new(&lamp(""));
    assert_eq!(bench.drive("lamp", 1)["success"], true);
    // A pong may overtake what the hub has to tell.
    bench.events.until(|event| event["resource"] == "lamp");
    bench.reload(&lamp(", safe = \"high\", on_disconnect = \"safe after 1ms\", min_off = \"1h\""));
    assert_eq!(bench.line("lamp")["safe"], "high");
    let told = bench.told();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(bench.drive("lamp", 0)["success"], true);
    let why = bench.drive("lamp", 1);
    assert!(why["error"].as_str().is_some_and(|why| why.contains("min_off")), "{why}");
    bench.events.until(|event| event["resource"] == "lamp");
    // Its writer goes, and it to the safe state of now.
    bench.ws = bench.daemon.ws("/");
    bench.events.until(|event| event["resource"] == "lamp");
    assert_eq!(bench.line("lamp")["state"], 1.0);
    // On for longer than it may be from now on: off at once.
    bench.reload(&lamp(", max_on = \"1ms\""));
    bench.events.until(|event| event["resource"] == "lamp");
    assert_eq!(bench.line("lamp")["state"], 0.0);
    // Who may touch what, and interlocks.
    bench.reload(&format!("deny = [5]\n{}pins.pump = {{ pin = 27, interlock = [\"lamp\"] }}\n", lamp("")));
    assert_eq!(bench.drive("lamp", 1)["success"], true);
    assert!(bench.drive("pump", 1)["error"].as_str().is_some_and(|why| why.contains("interlock")));
    assert!(bench.drive("GPIO5", 1)["error"].as_str().is_some_and(|why| why.contains("gpio.deny")));
    bench.reload(&lamp(""));
    assert_eq!(
        (&bench.drive("GPIO27", 1)["success"], &bench.drive("GPIO5", 1)["success"]),
        (&json!(true), &json!(true))
    );
    // Both are on: an interlock cannot begin now.
    let told = bench.reload(&format!("{}pins.pump = {{ pin = 27, interlock = [\"lamp\"] }}\n", lamp("")));
    assert!(told.contains("gpio.pins.pump is new: needs a restart") && told.contains("are on together"), "{told}");
    assert_eq!((bench.line("lamp")["state"].clone(), bench.line("GPIO27")["state"].clone()), (json!(1.0), json!(1.0)));
}

#[test]
fn a_line_that_is_in_use_keeps_what_it_had_and_is_named() {
    let both = "pins.lamp = { pin = 17, mode = \"output\", initial = \"high\" }\n\
                pins.door = { pin = 27, mode = \"input\", bias = \"up\" }\n\
                pins.fan = { pin = 18, mode = \"pwm\", frequency = 50, duty = 0.5 }\n";
    let mut bench = Bench::new(both);
    let lease = bench.done("LEASE_PINS", json!({"pins": ["lamp", "door"], "lease": "1h", "holder": "panel"}));
    let told = bench.reload("pins.door = { pin = 27, mode = \"input\", bias = \"down\", safe = \"low\" }\n");
    assert!(told.contains("everything in use stays"), "safe is no input's: {told}");
    let told = bench.reload("pins.door = { pin = 27, mode = \"input\", bias = \"down\" }\npins.fan = { pin = 18 }\n");
    for line in [
        "gpio.pins.lamp is gone: needs a restart (it is in use now: leased by panel",
        "gpio.pins.door.bias has changed from \"up\" to \"down\": needs a restart (it is in use now: leased by panel",
        "gpio.pins.fan.mode has changed from \"pwm\" to \"\": needs a restart (its mode changes)",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert_eq!((&bench.line("lamp")["state"], &bench.line("door")["pull"]), (&json!(1.0), &json!("UP")));
    assert_eq!(bench.line("fan")["pwm"]["frequency"], 50.0);
    assert!(bench.told().is_empty());
    // Its name is wanted for another line: it keeps its rules under the one it always has.
    let told = bench.reload(
        "pins.lamp = { pin = 5, mode = \"output\" }\npins.fan = { pin = 18, mode = \"pwm\", \
                             frequency = 100, duty = 0.1 }\n",
    );
    assert!(told.contains("gpio.pins.GPIO17 is gone: needs a restart"), "{told}");
    assert_eq!((&bench.line("GPIO17")["state"], &bench.line("lamp")["pin"]), (&json!(1.0), &json!(5)));
    // A signal goes on with its duty, at the frequency of now.
    let pwm = bench.line("fan")["pwm"].clone();
    assert_eq!((&pwm["frequency"], &pwm["duty"]), (&json!(100.0), &json!(0.5)), "{pwm}");
    // When nobody is at it any more, another reload does it.
    bench.done("RELEASE_LEASE", json!({"lease": lease["lease"]}));
    let told = bench.reload("pins.door = { pin = 27, mode = \"input\", bias = \"down\" }\n");
    assert!(!told.contains("needs a restart"), "{told}");
    assert_eq!((&bench.line("GPIO17")["io"], &bench.line("door")["pull"]), (&json!("INPUT"), &json!("DOWN")));
    assert_eq!(bench.line("GPIO18")["pwm"], Value::Null);
}

#[test]
fn what_on_means_changes_for_inputs_and_never_for_what_is_driven() {
    let pins = |low: bool| {
        format!(
            "pins.door = {{ pin = 27, mode = \"input\", bias = \"up\", active_low = {low} }}\n\
             pins.lamp = {{ pin = 17, mode = \"output\", active_low = {low}, initial = \"high\" }}\n"
        )
    };
    let mut bench = Bench::new(&pins(false));
    assert_eq!(bench.line("door")["state"], 1.0);
    let told = bench.reload(&pins(true));
    let line = "gpio.pins.lamp.active_low has changed from false to true: needs a restart (it is driven now";
    assert!(told.contains(line) && told.contains("applied gpio.pins.door.active_low"), "{told}");
    assert_eq!((&bench.line("door")["state"], &bench.line("door")["activeLow"]), (&json!(0.0), &json!(true)));
    assert_eq!((&bench.line("lamp")["state"], &bench.line("lamp")["activeLow"]), (&json!(1.0), &json!(false)));
    assert_eq!(bench.told().len(), 1, "the door's");
}

#[test]
fn a_crash_in_a_reload_makes_the_outputs_safe_and_is_told() {
    let lamp = |edges: u8| {
        let lamp = "pins.lamp = { pin = 17, mode = \"output\", initial = \"high\" }";
        file(&format!("edge_events = {edges}\n{lamp}\n"))
    };
    let mut daemon = Daemon::with_config(&lamp(5), &["--debug-actions"]);
    let answer = daemon.ws("/").ask(r#"{"action": "DEBUG_PANIC", "params": {"thread": "reload"}}"#);
    assert_eq!(answer["success"], true, "{answer}");
    rewrite(&daemon, &lamp(6));
    daemon.signal("HUP");
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
    let log = daemon.log();
    for told in ["1 output went to the safe state: a thread has crashed", "thread main crashed", "src/gpio/reload.rs"] {
        assert!(log.contains(told), "{told}: {log}");
    }
}
