//! Every key of an input's configuration on real lines: what it does to the wire, and what is told of it.

mod common;
mod rig;

use std::time::Duration;

use common::{Daemon, Ws};
use rig::bench::{Bench, done, drive, line, on_both, pass, say};
use rig::outside;
use serde_json::{Value, json};

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
