//! Every key of a line's configuration on real lines: what it does to the wire, and what is told of it.

mod common;
mod rig;

use std::time::Duration;

use common::{Daemon, TempDir, Ws};
use rig::bench::{Bench, ask, done, drive, drive_params, line, on_both, pass, refused, say};
use rig::outside;
use rig::trace::{Trace, Wire, now};
use serde_json::{Value, json};

use Wire::{High, Low};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Somebody who is told of levels.
fn listener(daemon: &Daemon) -> Ws {
    let mut events = daemon.ws("/");
    done(&mut events, "SUBSCRIBE", json!({"topics": ["gpio.state.*"]}));
    events
}

fn next(events: &mut Ws) -> Value {
    events.json()["data"]["data"].clone()
}

/// The levels that were told of a line until the marker, a line of its own, has changed.
fn told_until(events: &mut Ws, bench: &Bench, resource: &str, marker: &str, pin: u32) -> Vec<String> {
    bench.sim.pull(pin, !bench.sim.is_pulled_up(pin));
    let mut levels = Vec::new();
    loop {
        let event = next(events);
        if event["resource"] == marker {
            return levels;
        }
        assert_eq!(event["resource"], resource, "{event}");
        levels.push(event["state"].as_str().expect("a level").to_owned());
    }
}

#[test]
fn a_bias_is_seen_on_the_wire() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        for (bias, before, after) in
            [("up", false, true), ("down", true, false), ("off", true, true), ("as-is", true, true)]
        {
            bench.sim.pull(17, before);
            let pins = format!("[gpio.pins.button]\npin = 17\nmode = \"input\"\nbias = \"{bias}\"\n");
            let daemon = bench.serve(&format!("[gpio]\nsysfs_bias = \"cdev\"\n{pins}"));
            let what = format!("{} {bias}", bench.backend);
            assert_eq!((bench.sim.is_pulled_up(17), bench.sim.value(17)), (after, after), "{what}");
            assert_eq!(line(&mut daemon.ws("/"), "button")["state"], json!(f64::from(u8::from(after))), "{what}");
            if bias == "off" && !bench.is_sysfs() {
                let info = outside::info(&bench.sim, 17);
                assert!(info.contains("bias-disabled") || info.contains("disabled"), "{info}");
            }
        }
    });
}

#[test]
fn active_low_turns_levels_and_edges_round() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let pins = "[gpio.pins]\ndoor = { pin = 22, mode = \"input\", active_low = true }\nlamp = { pin = 17, active_low = true }\n";
        let daemon = bench.serve(pins);
        let (mut ws, mut events) = (daemon.ws("/"), listener(&daemon));
        assert_eq!(line(&mut ws, "door")["state"], 1.0);
        bench.sim.pull(22, true);
        let event = next(&mut events);
        assert_eq!(
            (&event["resource"], &event["state"], &event["edge"]),
            (&json!("door"), &json!("low"), &json!("falling"))
        );
        drive(&mut ws, "lamp", true);
        assert!(bench.sim.is_output(17) && !bench.sim.value(17));
        drive(&mut ws, "lamp", false);
        assert!(bench.sim.value(17));
        let told: Vec<Value> = (0..2).map(|_| next(&mut events)["state"].clone()).collect();
        assert_eq!(json!(told).as_array().map(|told| told.last().cloned()), Some(Some(json!("low"))));
    });
}

#[test]
fn what_bounces_within_the_debounce_time_is_one_event() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let pins = "[gpio.pins]\nbutton = { pin = 17, mode = \"input\", debounce = \"60ms\" }\nmark = { pin = 27, mode = \"input\" }\n";
        let daemon = bench.serve(pins);
        let mut events = listener(&daemon);
        for (up, level) in [(true, "high"), (false, "low")] {
            for bounce in [up, !up, up, !up, up] {
                bench.sim.pull(17, bounce);
                pass(ms(3));
            }
            let event = next(&mut events);
            assert_eq!((&event["resource"], &event["state"]), (&json!("button"), &json!(level)), "{}", bench.backend);
        }
        // A contact that settles where it was has not changed.
        for bounce in [true, false, true, false] {
            bench.sim.pull(17, bounce);
            pass(ms(3));
        }
        pass(ms(100));
        assert_eq!(told_until(&mut events, bench, "button", "mark", 27), [""; 0], "{}", bench.backend);
    });
}

#[test]
fn only_the_edges_asked_for_are_told() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        for (edge, expected) in [
            ("rising", &["high"; 3][..]),
            ("falling", &["low"; 3]),
            ("none", &[]),
            ("both", &["high", "low", "high", "low", "high", "low"]),
        ] {
            let line = format!("button = {{ pin = 17, mode = \"input\", edge = \"{edge}\" }}\n");
            let daemon = bench.serve(&format!("[gpio.pins]\n{line}mark = {{ pin = 27, mode = \"input\" }}\n"));
            let mut events = listener(&daemon);
            for up in [true, false, true, false, true, false] {
                bench.sim.pull(17, up);
                pass(ms(5));
            }
            let told = told_until(&mut events, bench, "button", "mark", 27);
            assert_eq!(told, expected, "{} {edge}", bench.backend);
        }
    });
}

#[test]
fn a_burst_is_told_as_a_number_and_nothing_is_hidden() {
    if rig::absent() {
        return;
    }
    const EDGES: u64 = 120;
    on_both(|bench| {
        let line = "button = { pin = 17, mode = \"input\" }\nmark = { pin = 27, mode = \"input\" }\n";
        let daemon = bench.serve(&format!("[gpio]\nedge_events = 5\n[gpio.pins]\n{line}"));
        let (mut ws, mut events) = (daemon.ws("/"), listener(&daemon));
        for edge in 0..EDGES {
            bench.sim.pull(17, edge % 2 == 0);
            pass(ms(3));
        }
        pass(ms(250));
        bench.sim.pull(27, true);
        let (mut single, mut summed, mut lost, mut last) = (0, 0, 0, Value::Null);
        let mut all = String::new();
        loop {
            let event = next(&mut events);
            if event["resource"] == "mark" {
                break;
            }
            all += &format!("{event}\n");
            lost += event["lost"].as_u64().unwrap_or(0);
            last = event["state"].clone();
            match event["edges"].as_u64() {
                Some(count) => {
                    assert_eq!(event["period_ms"], 100, "{event}");
                    summed += count;
                }
                None => single += 1,
            }
        }
        let edges = rig::bench::line(&mut ws, "button")["edges"].clone();
        say(&format!("{}: {EDGES} pulls: {single} told, {summed} summed up, {lost} lost", bench.backend));
        let number = |name: &str| edges[name].as_u64().expect("a count");
        assert_eq!(number("rising") + number("falling"), single + summed, "{edges}\n{all}");
        assert_eq!((number("lost"), number("summarised")), (lost, summed), "{edges}");
        // Two pulls within one of this kernel's ticks are no edge at all.
        assert!((EDGES / 2..=EDGES).contains(&(single + summed + lost)) && summed > 0, "{edges}");
        assert_eq!(last, "low");
    });
}

#[test]
fn on_disconnect_the_line_goes_to_its_safe_state_after_its_time() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17, 27]);
        let daemon = bench.serve(
            "[gpio.pins]\nlamp = { pin = 17, on_disconnect = \"safe after 100ms\" }\nfan = { pin = 27, on_disconnect = \"hold\" }\n",
        );
        let mut ws = daemon.ws("/");
        drive(&mut ws, "lamp", true);
        drive(&mut ws, "fan", true);
        let gone = now();
        drop(ws);
        rig::wait_until("the lamp is off", || trace.wires(17) == [High, Low]);
        let after = trace.changes(17)[1].at - gone;
        say(&format!("{}: on_disconnect after 100 ms: {after:?}", bench.backend));
        assert!((ms(100)..=ms(200)).contains(&after), "{after:?}");
        assert_eq!(trace.wires(27), [High]);
        // A client that comes back in time and writes again answers for it from then on.
        let mut first = daemon.ws("/");
        drive(&mut first, "lamp", true);
        let mut second = daemon.ws("/");
        drop(first);
        drive(&mut second, "lamp", true);
        pass(ms(200));
        assert_eq!(trace.wires(17), [High, Low, High]);
    });
}

#[test]
fn max_on_and_min_off_hold_for_every_write() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17]);
        let daemon = bench.serve("[gpio.pins]\nvalve = { pin = 17, max_on = \"150ms\", min_off = \"400ms\" }\n");
        let mut ws = daemon.ws("/");
        drive(&mut ws, "valve", true);
        // Being told again does not start its time again.
        pass(ms(50));
        drive(&mut ws, "valve", true);
        rig::wait_until("it is off", || trace.wires(17) == [High, Low]);
        let changes = trace.changes(17);
        let on = changes[1].at - changes[0].at;
        say(&format!("{}: max_on 150 ms: on for {on:?}", bench.backend));
        assert!((ms(149)..=ms(250)).contains(&on), "{on:?}");
        for (action, params) in [
            ("UPDATE_PIN_CONFIGURATIONS", drive_params("valve", true)),
            ("PULSE_PIN", json!({"pin": "valve", "duration": "1ms"})),
        ] {
            let why = refused(&mut ws, action, params);
            assert!(why.contains("min_off: it has to stay off for "), "{why}");
        }
        rig::wait_until("it may be on again", || {
            ask(&mut ws, "UPDATE_PIN_CONFIGURATIONS", &drive_params("valve", true))["success"] == true
        });
        let off = trace.changes(17)[2].at - changes[1].at;
        assert!((ms(400)..=ms(600)).contains(&off), "{off:?}");
    });
}

#[test]
fn interlocked_lines_are_never_on_together() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17, 27]);
        let daemon = bench.serve("[gpio.pins]\nup = { pin = 17, interlock = [\"down\"] }\ndown = { pin = 27 }\n");
        let mut ws = daemon.ws("/");
        drive(&mut ws, "up", true);
        let both = json!({"pins": {"up": {"io": "OUTPUT", "state": 1}, "down": {"io": "OUTPUT", "state": 1}}});
        for params in [drive_params("down", true), both] {
            let why = refused(&mut ws, "UPDATE_PIN_CONFIGURATIONS", params);
            assert!(why.contains("interlock: "), "{why}");
        }
        let why = refused(&mut ws, "BLINK_PIN", json!({"pin": "down", "on": "5ms", "off": "5ms"}));
        assert!(why.contains("interlock: "), "{why}");
        assert!(!bench.sim.value(27));
        // One off and the other on in one update is allowed; on the wire they are not on together either.
        let swap = json!({"pins": {"down": {"io": "OUTPUT", "state": 1}, "up": {"io": "OUTPUT", "state": 0}}});
        done(&mut ws, "UPDATE_PIN_CONFIGURATIONS", swap);
        assert_eq!((bench.sim.value(17), bench.sim.value(27)), (false, true));
        let (up, down) = (trace.changes(17), trace.changes(27));
        let (off, on) = (up.last().expect("off"), down.last().expect("on"));
        assert_eq!((off.wire, on.wire), (Low, High));
        assert!(off.at <= on.at, "{}: together for {:?}", bench.backend, off.at - on.at);
    });
}

#[test]
fn a_persistent_level_is_the_first_one_after_a_restart() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let kept = TempDir::new();
        let config = format!(
            "state_dir = \"{}\"\n[gpio.pins]\nlamp = {{ pin = 17, mode = \"output\", initial = \"low\", persist = true }}\n\
             fan = {{ pin = 27, mode = \"output\", initial = \"low\" }}\n",
            kept.path().join("state").display()
        );
        for (expected, next) in [(Low, true), (High, true), (High, false), (Low, true)] {
            let trace = Trace::start(&bench.sim, &[17, 27]);
            let mut daemon = bench.serve(&config);
            assert_eq!((trace.wires(17), trace.wires(27)), (vec![expected], vec![Low]), "{}", bench.backend);
            let mut ws = daemon.ws("/");
            drive(&mut ws, "lamp", next);
            drive(&mut ws, "fan", true);
            assert!(daemon.stop().success());
            assert_eq!((bench.sim.value(17), bench.sim.value(27)), (false, false), "safe in between");
        }
    });
}

#[test]
fn lines_that_clients_may_not_touch_stay_as_they_are() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[0, 4, 17, 22]);
        let daemon = bench.serve(
            "[gpio]\nallow = [\"lamp\", 4]\ndeny = [4]\n[gpio.pins]\nlamp = { pin = 17 }\n\
             relay = { pin = 22, mode = \"output\", initial = \"high\" }\n",
        );
        let mut ws = daemon.ws("/");
        for name in ["GPIO4", "relay", "GPIO0"] {
            for (action, params) in [
                ("UPDATE_PIN_CONFIGURATIONS", drive_params(name, false)),
                ("LEASE_PINS", json!({"pins": [name], "lease": "5s"})),
                ("PULSE_PIN", json!({"pin": name, "duration": "1ms"})),
            ] {
                let why = refused(&mut ws, action, params);
                assert!(why.contains("clients may not touch it; gpio.allow and gpio.deny decide that"), "{why}");
            }
        }
        drive(&mut ws, "lamp", true);
        assert_eq!([0, 4, 17, 22].map(|line| trace.wires(line)), [vec![], vec![], vec![High], vec![High]]);
    });
}
