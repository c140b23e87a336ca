//! The character device through the daemon: which chip it takes, what it does to lines, and what it tells, as other
//! programs see it. Everything is refused or done whole, and in one kernel call.

mod common;
mod rig;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Daemon, TempDir, Ws, pinwire, run};
use rig::{Hog, Sim, outside, wait_until};
use serde_json::{Value, json};

const SERVE: [&str; 4] = ["serve", "--listen", "127.0.0.1:0", "--gpio"];

/// The daemon on this chip.
fn daemon(sim: &Sim) -> Daemon {
    let dir = TempDir::new();
    let config = dir.file("pinwire.toml", &format!("[gpio]\nchip = \"{}\"\n", label(sim)));
    let mut command = pinwire();
    command.args(SERVE).args(["cdev", "--config"]).arg(config);
    Daemon::launch(dir, command)
}

/// Tests run side by side, so each has a chip with a label of its own.
fn label(sim: &Sim) -> String {
    let suffix = format!("{} [", sim.chip_name);
    let all = outside::detect();
    let found = all.iter().find_map(|chip| chip.strip_prefix(&suffix)?.split_once(']'));
    found.expect("the chip").0.to_owned()
}

fn update(ws: &mut Ws, pins: Value) -> Value {
    ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string())
}

#[track_caller]
fn updated(ws: &mut Ws, pins: Value) {
    let answer = update(ws, pins);
    assert_eq!(answer["success"], true, "{answer}");
}

fn read(ws: &mut Ws, pins: Value) -> Value {
    ws.ask(&json!({"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string())
}

fn output(state: u8) -> Value {
    json!({"io": "OUTPUT", "state": state})
}

fn input(pull: &str) -> Value {
    json!({"io": "INPUT", "pull": pull})
}

/// What gpioinfo says of all lines, and the levels and pulls on the wires.
fn all(sim: &Sim) -> (String, Vec<(bool, bool)>) {
    let info = run(Command::new("gpioinfo").arg(&sim.chip_name)).stdout;
    let wires = (0..sim.lines).map(|line| (sim.value(line), sim.is_pulled_up(line)));
    (String::from_utf8(info).expect("text"), wires.collect())
}

#[test]
fn only_a_pis_chip_is_taken_unasked() {
    if rig::absent() {
        return;
    }
    let _laptop = Sim::with("INTC1055:00", 4).live();
    let health = || {
        let mut command = pinwire();
        command.args(SERVE).arg("auto");
        Daemon::launch(TempDir::new(), command).get("/health").json()["gpio"].clone()
    };
    let gpio = health();
    assert_ne!(gpio["backend"], "cdev");
    let reason = gpio["reason"].as_str().expect("text").to_owned();
    assert!(reason.contains("no chip is labelled pinctrl-bcm2835") && reason.contains("'INTC1055:00'"), "{reason}");
    let output = run(pinwire().args(SERVE).arg("cdev"));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(complaint.contains("Failed to start GPIO backend `cdev`: no chip is labelled"), "{complaint}");

    let pi = Sim::with("pinctrl-bcm2711", 58).live();
    let gpio = health();
    assert_eq!((&gpio["backend"], &gpio["simulated"]), (&json!("cdev"), &json!(false)));
    let expected = format!("{} 'pinctrl-bcm2711' ({}, 58 lines)", pi.chip_name, pi.chip.display());
    assert_eq!(gpio["reason"], expected.as_str());

    // A user outside the group.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(pinwire().get_program());
    let output = run(command.args(SERVE).arg("cdev"));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("permission denied on {}: add the user to group gpio", pi.chip.display());
    assert!(!output.status.success() && complaint.contains(&expected), "{complaint}");
}

#[test]
fn reading_every_line_changes_none() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("reading", 28).hog(17, "spi0 CS1", Hog::OutputHigh).live();
    let _other = outside::hold(&sim, &[(22, true), (23, false)]);
    sim.pull(5, true);
    let before = all(&sim);
    let daemon = daemon(&sim);
    let mut ws = daemon.ws("/");
    let names: Vec<String> = (0..28).map(|bcm| format!("GPIO{bcm}")).collect();
    for _ in 0..3 {
        let answer = read(&mut ws, json!(names));
        assert_eq!(answer["success"], true, "{answer}");
    }
    assert_eq!(daemon.get("/pins").status, 200);
    assert_eq!(all(&sim), before);
    drop(daemon);
    assert_eq!(all(&sim), before);
}

#[test]
fn an_update_is_done_whole_and_seen_from_outside() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("update", 28).hog(17, "spi0 CS1", Hog::Input).live();
    let daemon = daemon(&sim);
    let mut ws = daemon.ws("/");
    updated(&mut ws, json!({"GPIO5": output(1), "GPIO6": output(0), "GPIO4": input("UP"), "GPIO27": input("DOWN")}));
    assert_eq!([5, 6, 4, 27].map(|line| sim.value(line)), [true, false, true, false]);
    assert_eq!(outside::info(&sim, 5), r#"unnamed "pinwire" output active-high [used]"#);
    assert_eq!(outside::info(&sim, 4), r#"unnamed "pinwire" input active-high [used pull-up]"#);
    assert_eq!(outside::info(&sim, 27), r#"unnamed "pinwire" input active-high [used pull-down]"#);
    assert!(sim.is_pulled_up(4) && !sim.is_pulled_up(27));
    assert!(outside::get(&sim, &[5]).is_err_and(|error| error.contains("busy")));

    let before = all(&sim);
    let answer =
        update(&mut ws, json!({"GPIO5": output(0), "GPIO6": input("UP"), "GPIO7": output(1), "GPIO17": output(1)}));
    assert_eq!(answer["success"], false);
    let text = answer["error"].as_str().expect("text");
    assert_eq!(text, "Failed to update pin `GPIO17`: line 17 is held by 'spi0 CS1'; end that first");
    assert_eq!(all(&sim), before);

    updated(&mut ws, json!({"GPIO5": output(0), "GPIO6": input("UP"), "GPIO7": output(1)}));
    assert_eq!([5, 6, 7].map(|line| sim.value(line)), [false, true, true]);
    assert!(!sim.is_output(6) && sim.is_output(7));
}

/// The kernel's calls that touch lines, by the last byte of their numbers; questions are left out.
fn calls(trace: &Path, from: usize) -> Vec<String> {
    let text = fs::read_to_string(trace).expect("the trace");
    let kind = |line: &str| {
        let (_, rest) = line.split_once("ioctl(")?;
        let number = rest.split(", ").nth(1)?.trim_end_matches(')');
        Some(match number.strip_prefix("0xc")?.get(3..)? {
            "b407" => "take",
            "b40d" => "configure",
            "b40f" => "set",
            _ => return None,
        })
    };
    text.lines().filter_map(kind).skip(from).map(str::to_owned).collect()
}

#[test]
fn a_good_update_of_several_lines_is_one_call() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("one-call", 28).live();
    let dir = TempDir::new();
    let config = dir.file("pinwire.toml", &format!("[gpio]\nchip = \"{}\"\n", label(&sim)));
    let trace = dir.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "--const-print-style=raw", "-e", "trace=ioctl", "-o"]).arg(&trace);
    command.arg(pinwire().get_program()).args(SERVE).args(["cdev", "--config"]).arg(&config);
    let daemon = Daemon::launch(dir, command);
    let mut ws = daemon.ws("/");
    let mut seen = 0;
    let mut expect = |expected: &[&str]| {
        wait_until("the trace is written", || calls(&trace, seen).len() >= expected.len());
        assert_eq!(calls(&trace, seen), expected);
        seen += expected.len();
    };
    expect(&[]);
    updated(&mut ws, json!({"GPIO5": output(1), "GPIO6": output(0), "GPIO7": output(1), "GPIO4": input("UP")}));
    expect(&["take"]);
    updated(&mut ws, json!({"GPIO5": output(0), "GPIO6": output(1), "GPIO7": output(0)}));
    expect(&["set"]);
    assert_eq!([5, 6, 7].map(|line| sim.value(line)), [false, true, false]);
    updated(&mut ws, json!({"GPIO5": output(1), "GPIO6": input("DOWN"), "GPIO4": output(1)}));
    expect(&["configure"]);
    assert_eq!([5, 6, 7, 4].map(|line| sim.value(line)), [true, false, false, true]);
    updated(&mut ws, json!({"GPIO5": output(1), "GPIO4": output(1)}));
    // Nothing to do, so the next one is the next call.
    updated(&mut ws, json!({"GPIO8": output(1), "GPIO5": output(0)}));
    expect(&["take", "set"]);
}

#[test]
fn edges_and_what_others_do_are_events() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("events", 28).live();
    let daemon = daemon(&sim);
    let mut events = daemon.ws("/ws");
    let mut next = |kind: &str| events.until(|event| event["type"] == kind);
    updated(&mut daemon.ws("/"), json!({"GPIO4": input("DOWN")}));
    // The level of a line that nobody held is news.
    let event = next("gpio.state.changed")["data"].clone();
    assert_eq!((&event["pin"], &event["state"]), (&json!(4), &json!("low")), "{event}");
    let mut last = 0;
    for (number, state, edge) in [(1, "high", "rising"), (2, "low", "falling"), (3, "high", "rising")] {
        sim.pull(4, state == "high");
        let event = next("gpio.state.changed")["data"].clone();
        let at = event["monotonic_ns"].as_u64().expect("a number");
        assert!(at > last);
        last = at;
        let expected = json!({
            "resource": "GPIO4", "pin": 4, "state": state, "edge": edge, "monotonic_ns": at,
            "seqno": number, "line_seqno": number,
        });
        assert_eq!(event, expected);
    }
    let held = outside::hold(&sim, &[(20, true)]);
    let event = next("gpio.line.changed")["data"].clone();
    // The daemon's own request was no event.
    assert_eq!((&event["pin"], &event["change"]), (&json!(20), &json!("requested")), "{event}");
    assert_eq!((&event["consumer"], &event["io"]), (&json!("gpioset"), &json!("OUTPUT")), "{event}");
    drop(held);
    let event = next("gpio.line.changed")["data"].clone();
    assert_eq!((&event["pin"], &event["change"]), (&json!(20), &json!("released")), "{event}");
    assert_eq!(event["consumer"], Value::Null);
}

#[test]
fn a_chip_that_vanishes_and_returns_is_survived() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("survive", 28).live();
    let daemon = daemon(&sim);
    let mut ws = daemon.ws("/");
    updated(&mut ws, json!({"GPIO5": output(1)}));
    sim.unplug();
    daemon.wait_for_log("the GPIO chip is gone: it was removed");
    let answer = update(&mut ws, json!({"GPIO5": output(0)}));
    let text = answer["error"].as_str().expect("text");
    assert!(text.contains("the GPIO chip is gone (it was removed)"), "{text}");
    let sim = Sim::with("survive", 28).live();
    daemon.wait_for_log("the GPIO chip is back");
    updated(&mut ws, json!({"GPIO5": output(1)}));
    sim.wait_for_value(5, true);
}
