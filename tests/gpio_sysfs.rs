//! The sysfs backend through the daemon, as other programs see it: exports, levels, events, what is left at the end.

mod common;
mod rig;

use std::fs;
use std::time::Instant;

use common::{Daemon, LIMIT, TempDir, Ws, pinwire, run};
use rig::{Hog, Sim, outside, read};
use serde_json::{Value, json};

const SERVE: [&str; 4] = ["serve", "--listen", "127.0.0.1:0", "--gpio"];

/// The daemon on the chip with this label, which no other test has.
fn daemon(label: &str, more: &str) -> Daemon {
    let dir = TempDir::new();
    let config = dir.file("pinwire.toml", &format!("[gpio]\nchip = \"{label}\"\n{more}"));
    let mut command = pinwire();
    command.args(SERVE).args(["sysfs", "--config"]).arg(config);
    Daemon::launch(dir, command)
}

fn update(ws: &mut Ws, pins: Value) -> Value {
    ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string())
}

#[track_caller]
fn updated(ws: &mut Ws, pins: Value) {
    let answer = update(ws, pins);
    assert_eq!(answer["success"], true, "{answer}");
}

fn configurations(ws: &mut Ws, pins: Value) -> Value {
    let answer = ws.ask(&json!({"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string());
    assert_eq!(answer["success"], true, "{answer}");
    answer["data"].clone()
}

fn output(state: u8) -> Value {
    json!({"io": "OUTPUT", "state": state})
}

fn input(pull: &str) -> Value {
    json!({"io": "INPUT", "pull": pull})
}

/// The next change of a line's level that a listener on `/ws` is told.
fn change(ws: &mut Ws) -> (u64, String) {
    let event = ws.until(|event| event["type"] == "gpio.state.changed");
    let text = event["data"]["state"].as_str().expect("a level").to_owned();
    (event["data"]["pin"].as_u64().expect("a number"), text)
}

#[test]
fn the_chip_is_found_by_its_label_wherever_its_numbers_begin() {
    if rig::absent() {
        return;
    }
    let _other = Sim::with("raspberrypi-exp-gpio", 8).live();
    let sim = Sim::with("label-in-sysfs", 54).live();
    let daemon = daemon("label-in-sysfs", "");
    let gpio = daemon.get("/health").json()["gpio"].clone();
    assert_eq!((&gpio["backend"], &gpio["simulated"]), (&json!("sysfs"), &json!(false)));
    let reason = gpio["reason"].as_str().expect("text");
    assert!(reason.contains("label-in-sysfs") && reason.contains(&sim.base.to_string()), "{reason}");
    updated(&mut daemon.ws("/"), json!({"GPIO17": output(1)}));
    assert!(sim.value(17) && sim.is_output(17) && sim.sysfs_line(17).exists());
    assert_eq!(sim.consumer(17).as_deref(), Some("sysfs"));
}

#[test]
fn what_cannot_be_is_refused_with_the_fix() {
    if rig::absent() {
        return;
    }
    let complaint = |config: &str| {
        let dir = TempDir::new();
        let file = dir.file("pinwire.toml", config);
        let output = run(pinwire().args(SERVE).args(["sysfs", "--config"]).arg(file));
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let none = complaint("[gpio]\nchip = \"nowhere\"\n");
    assert!(none.contains("labelled nowhere") && none.contains("gpio.chip"), "{none}");
    let sim = Sim::with("refusals-in-sysfs", 28).hog(5, "spi0 CS1", Hog::OutputHigh).live();
    let biased =
        "[gpio]\nchip = \"refusals-in-sysfs\"\n[gpio.pins.button]\npin = 17\nmode = \"input\"\nbias = \"up\"\n";
    let biased = complaint(biased);
    assert!(biased.contains("gpio.pins.button.bias") && biased.contains("gpio.sysfs_bias"), "{biased}");

    let daemon = daemon("refusals-in-sysfs", "");
    let mut ws = daemon.ws("/");
    updated(&mut ws, json!({"GPIO4": output(1)}));
    for (bad, why) in [
        (json!({"GPIO4": output(0), "GPIO17": input("UP")}), "gpio.sysfs_bias"),
        (json!({"GPIO4": output(0), "GPIO17": output(1), "GPIO5": output(0)}), "line 5 is held by 'spi0 CS1'"),
    ] {
        let answer = update(&mut ws, bad);
        assert_eq!(answer["success"], false);
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(why)), "{answer}");
        assert!(sim.value(4) && !sim.sysfs_line(17).exists() && sim.value(5), "nothing has changed");
    }
    updated(&mut ws, json!({"GPIO17": input("FLOATING")}));
}

#[test]
fn reading_every_line_exports_none() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("reading-in-sysfs", 28).hog(17, "spi0 CS1", Hog::OutputHigh).live();
    let _other = outside::hold(&sim, &[(22, true)]);
    sim.pull(5, true);
    let all = || (0..28).map(|line| (outside::info(&sim, line), sim.value(line))).collect::<Vec<_>>();
    let before = all();
    let daemon = daemon("reading-in-sysfs", "");
    let mut ws = daemon.ws("/");
    let names: Vec<String> = (0..28).map(|bcm| format!("GPIO{bcm}")).collect();
    assert_eq!(configurations(&mut ws, json!(names))["GPIO22"]["io"], "OUTPUT");
    assert_eq!(all(), before);
    let answer = update(&mut ws, json!({"GPIO22": output(0)}));
    assert!(answer["error"].as_str().is_some_and(|text| text.contains("held by 'gpioset'")), "{answer}");
}

#[test]
fn edges_and_writes_are_told_once_each() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("events-in-sysfs", 28).live();
    let pins = "[gpio.pins.door]\npin = 22\nmode = \"input\"\nactive_low = true\n";
    let daemon = daemon("events-in-sysfs", pins);
    let mut events = daemon.ws("/ws");
    let mut ws = daemon.ws("/");
    updated(&mut ws, json!({"GPIO17": output(1)}));
    assert_eq!(change(&mut events), (17, "high".into()));
    updated(&mut ws, json!({"GPIO27": input("FLOATING")}));
    assert_eq!(change(&mut events), (27, "low".into()), "nobody could tell before it was taken");
    for round in 0..20 {
        let up = round % 2 == 0;
        sim.pull(27, up);
        assert_eq!(change(&mut events), (27, if up { "high" } else { "low" }.into()), "round {round}");
    }
    sim.pull(22, true);
    assert_eq!(change(&mut events), (22, "low".into()));
    assert_eq!(configurations(&mut ws, json!(["door", "GPIO27"]))["door"]["state"], 0.0);
}

/// How many edges an event on `/ws` stands for, told and lost.
fn edges(event: &Value) -> (u64, u64) {
    let data = &event["data"];
    let told = data["edges"].as_u64().unwrap_or(u64::from(data["edge"].is_string()));
    (told, data["lost"].as_u64().unwrap_or(0))
}

/// How often the kernel was interrupted by these lines of sysfs, which no other test watches.
fn interrupts(lines: &[u32]) -> u64 {
    let table = read("/proc/interrupts".as_ref());
    let count = |row: &str| match row.split_whitespace().collect::<Vec<_>>()[..] {
        [_, count, _, line, "gpiolib"] if lines.iter().any(|own| own.to_string() == line) => count.parse::<u64>().ok(),
        _ => None,
    };
    table.lines().filter_map(count).sum()
}

#[test]
fn every_edge_is_told_or_told_as_lost_to_all_who_listen() {
    const LINES: [u32; 4] = [6, 13, 19, 26];
    if rig::absent() {
        return;
    }
    let rounds = std::env::var("PINWIRE_TEST_EDGES").ok().and_then(|edges| edges.parse().ok()).unwrap_or(4000) / 4;
    let expected = rounds * 4;
    let sim = Sim::with("burst-in-sysfs", 28).live();
    let pins = LINES.map(|line| format!("[gpio.pins.line-{line}]\npin = {line}\nmode = \"input\"\n")).concat();
    let daemon = daemon("burst-in-sysfs", &pins);
    let mut listeners: Vec<Ws> = (0..50).map(|_| daemon.ws("/ws")).collect();
    listeners.iter_mut().for_each(Ws::sync);
    // These never read.
    let _stalled = listeners.split_off(45);
    let readers: Vec<_> = listeners
        .into_iter()
        .map(|mut ws| {
            std::thread::spawn(move || {
                let (mut told, mut lost) = (0, 0);
                while told + lost < expected {
                    let (more_told, more_lost) = edges(&ws.json());
                    (told, lost) = (told + more_told, lost + more_lost);
                }
                (told, lost)
            })
        })
        .collect();
    for round in 0..rounds {
        let (before, until) = (interrupts(&LINES), Instant::now() + LIMIT);
        LINES.iter().for_each(|line| sim.pull(*line, round % 2 == 0));
        // The kernel makes one of two edges that come too close: then fewer were sent, not lost.
        while interrupts(&LINES) < before + 4 {
            assert!(Instant::now() < until, "an edge that did not interrupt");
            std::thread::yield_now();
        }
    }
    for reader in readers {
        let (told, lost) = reader.join().expect("a reader that has heard of everything");
        assert_eq!(told + lost, expected, "{lost} lost");
    }
}

#[test]
fn the_end_leaves_lines_safe_and_as_they_were_found() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("end-in-sysfs", 28).live();
    let export = |line: u32| fs::write("/sys/class/gpio/export", (sim.base + line).to_string()).expect("exported");
    export(22);
    fs::write(sim.sysfs_line(22).join("active_low"), "1").expect("written");
    let pins = "[gpio.pins.heater]\npin = 17\nmode = \"output\"\ninitial = \"high\"\nsafe = \"low\"\n";
    let mut daemon = daemon("end-in-sysfs", pins);
    assert!(sim.value(17), "its initial level");
    let mut ws = daemon.ws("/");
    updated(&mut ws, json!({"GPIO27": output(1), "GPIO22": input("FLOATING")}));
    assert_eq!(read(&sim.sysfs_line(22).join("edge")), "both");
    assert!(daemon.stop().success());
    assert!(!sim.value(17));
    assert!(!sim.sysfs_line(17).exists() && !sim.sysfs_line(27).exists());
    let found = ["direction", "active_low", "edge"].map(|name| read(&sim.sysfs_line(22).join(name)));
    assert_eq!(found, ["in", "1", "none"]);
}

#[test]
fn a_chip_that_comes_back_is_taken_again() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("gone-in-sysfs", 28).live();
    let pins = "[gpio.pins.lamp]\npin = 17\nmode = \"output\"\ninitial = \"high\"\n";
    let daemon = daemon("gone-in-sysfs", pins);
    let mut ws = daemon.ws("/");
    assert!(sim.value(17));
    sim.unplug();
    daemon.wait_for_log("the GPIO chip is gone");
    let answer = update(&mut ws, json!({"GPIO4": output(1)}));
    assert!(answer["error"].as_str().is_some_and(|text| text.contains("the GPIO chip is gone")), "{answer}");
    let sim = Sim::with("gone-in-sysfs", 28).live();
    rig::wait_until("the daemon drives it again", || sim.value(17));
    updated(&mut ws, json!({"GPIO4": output(1)}));
    assert!(sim.value(4));
}
