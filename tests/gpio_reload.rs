//! A reload on real lines, as the kernel traced them: what is not concerned does not move, what is gone goes to its
//! safe state first, inputs are looked at in another way, and a line that somebody else holds stays theirs.

mod common;
#[path = "reload/mod.rs"]
mod reloading;
mod rig;

use std::time::Duration;

use common::{Daemon, Ws};
use reloading::{reload, rewrite};
use rig::bench::{Bench, done, drive, line, on_both, pass};
use rig::outside;
use rig::trace::{Trace, Wire};
use serde_json::{Value, json};

/// Somebody who is told of levels.
fn listener(daemon: &Daemon) -> Ws {
    let mut events = daemon.ws("/");
    done(&mut events, "SUBSCRIBE", json!({"topics": ["gpio.state.*"]}));
    events
}

fn next(events: &mut Ws) -> Value {
    events.json()["data"]["data"].clone()
}

#[track_caller]
fn reload_to(daemon: &Daemon, text: &str, restart: bool) -> String {
    rewrite(daemon, text);
    let told = reload(daemon);
    assert_eq!(told.contains("needs a restart"), restart, "{told}");
    told
}

#[test]
fn lines_that_are_not_concerned_do_not_move_and_those_that_are_go_where_they_are_told() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17, 27, 24, 23, 13]);
        let daemon = bench.serve(
            "[gpio.pins]\nlamp = { pin = 17, mode = \"output\", initial = \"high\" }\n\
             pump = { pin = 27, mode = \"output\", initial = \"high\", safe = \"low\" }\n\
             inverted = { pin = 24, mode = \"output\", active_low = true, initial = \"high\", safe = \"low\" }\n\
             stays = { pin = 13, mode = \"output\", initial = \"high\", safe = \"hold\" }\n",
        );
        let is_held = |line: u32| bench.sim.consumer(line).is_some();
        // Nothing about lines, and then nothing but what is said of them.
        let mut ws = daemon.ws("/");
        drive(&mut ws, "GPIO6", true);
        reload_to(
            &daemon,
            "[gpio]\nedge_events = 7\n[gpio.pins]\nlight = { pin = 17, mode = \"output\", safe = \"high\" }\n\
             fan = { pin = 23, mode = \"output\", initial = \"high\" }\n",
            false,
        );
        let wires = |line: u32| trace.wires(line);
        assert_eq!(wires(17), [Wire::High], "{}: a name and a safe state are no reason to move", bench.backend);
        assert_eq!(wires(27), [Wire::High, Wire::Low], "{}: to its safe state, and let go", bench.backend);
        assert_eq!(wires(24), [Wire::Low, Wire::High], "{}", bench.backend);
        assert_eq!(wires(13), [Wire::High], "{}", bench.backend);
        assert_eq!(wires(23), [Wire::High], "{}: at once what it starts with", bench.backend);
        assert_eq!([17, 27, 24, 13, 23, 6].map(is_held), [true, false, false, false, true, true], "{}", bench.backend);
        assert_eq!(line(&mut ws, "light")["state"], 1.0);
        // And back, fifty times.
        for _ in 0..25 {
            reload_to(&daemon, "[gpio.pins]\nlight = { pin = 17, mode = \"output\" }\n", false);
            reload_to(
                &daemon,
                "[gpio.pins]\nlamp = { pin = 17, mode = \"output\", safe = \"high\" }\nfan = { pin = 23, mode = \
                 \"output\", initial = \"high\" }\n",
                false,
            );
        }
        assert_eq!((wires(17), wires(23).len()), (vec![Wire::High], 51), "{}", bench.backend);
    });
}

#[test]
fn an_input_is_looked_at_in_another_way() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let config = |door: &str| {
            format!(
                "[gpio]\nsysfs_bias = \"cdev\"\n[gpio.pins]\nmarker = {{ pin = 26, mode = \"input\" }}\n\
                 door = {{ pin = 22, mode = \"input\"{door} }}\n"
            )
        };
        bench.sim.pull(22, false);
        bench.sim.pull(26, false);
        let daemon = bench.serve(&config(", edge = \"none\""));
        let mut events = listener(&daemon);
        // What the door has told until the marker has changed.
        let mut mark = {
            let bench: &Bench = bench;
            let mut up = false;
            move |events: &mut Ws| {
                up = !up;
                bench.sim.pull(26, up);
                let mut told = Vec::new();
                loop {
                    let event = next(events);
                    if event["resource"] == "marker" {
                        return told;
                    }
                    told.push(event["state"].as_str().expect("a level").to_owned());
                }
            }
        };
        bench.sim.pull(22, true);
        assert!(mark(&mut events).is_empty(), "{}: no edges are asked for", bench.backend);
        bench.sim.pull(22, false);
        reload_to(&daemon, &config(", edge = \"rising\""), false);
        bench.sim.pull(22, true);
        let event = next(&mut events);
        assert_eq!((&event["resource"], &event["state"]), (&json!("door"), &json!("high")), "{}", bench.backend);
        bench.sim.pull(22, false);
        assert!(mark(&mut events).is_empty(), "{}: falling is not asked for", bench.backend);
        // Debounced from now on: what does not last is none.
        reload_to(&daemon, &config(", debounce = \"50ms\""), false);
        bench.sim.pull(22, true);
        bench.sim.pull(22, false);
        pass(Duration::from_millis(120));
        assert!(mark(&mut events).is_empty(), "{}", bench.backend);
        bench.sim.pull(22, true);
        assert_eq!(next(&mut events)["state"], "high", "{}: it has lasted", bench.backend);
        // Its meaning, and its resistor.
        reload_to(&daemon, &config(", active_low = true"), false);
        assert_eq!(next(&mut events)["state"], "low", "{}: the same level means another thing", bench.backend);
        bench.sim.pull(22, false);
        assert_eq!(next(&mut events)["state"], "high", "{}", bench.backend);
        reload_to(&daemon, &config(", active_low = true, bias = \"up\""), false);
        assert!(bench.sim.is_pulled_up(22), "{}", bench.backend);
        assert_eq!(next(&mut events)["state"], "low", "{}", bench.backend);
        // Not ours any more.
        reload_to(&daemon, "[gpio]\nsysfs_bias = \"cdev\"\n", false);
        assert_eq!((bench.sim.consumer(22), bench.sim.consumer(26)), (None, None), "{}", bench.backend);
    });
}

#[test]
fn a_line_that_somebody_else_holds_is_named_and_taken_by_a_later_reload() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let daemon = bench.serve("");
        let other = outside::hold(&bench.sim, &[(5, true)]);
        let config = "[gpio.pins]\nlamp = { pin = 5, mode = \"output\", initial = \"low\" }\n\
                      pump = { pin = 6, mode = \"output\", initial = \"high\" }\n";
        let told = reload_to(&daemon, config, true);
        assert!(told.contains("gpio.pins.lamp is new: needs a restart (") && told.contains("held by"), "{told}");
        assert!(told.contains("applied gpio.pins.pump"), "{told}");
        assert!(bench.sim.value(5) && bench.sim.value(6), "{}", bench.backend);
        drop(other);
        let told = reload_to(&daemon, config, false);
        assert!(told.contains("applied gpio.pins.lamp"), "{told}");
        assert!(!bench.sim.value(5) && bench.sim.value(6) && bench.sim.is_output(5), "{}", bench.backend);
    });
}
