//! Proves the rig itself: simulated chips, other programs on their lines, and the daemon beside them.

mod common;
mod rig;

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use common::Daemon;
use rig::doubles::{Thermal, Vcio};
use rig::outside::{self, Monitor};
use rig::{Hog, Sim, read};

/// A chip as on a Raspberry Pi 4.
fn pi4() -> Sim {
    Sim::with("pinctrl-bcm2711", 58).name(17, "GPIO17").hog(42, "status-led", Hog::OutputHigh).live()
}

#[test]
fn a_chip_is_driven_and_read() {
    if rig::absent() {
        return;
    }
    let sim = pi4();
    assert!(outside::detect().contains(&format!("{} [pinctrl-bcm2711] (58 lines)", sim.chip_name)));
    for up in [true, false] {
        sim.pull(17, up);
        assert_eq!(outside::get(&sim, &[17]), Ok(vec![up]));
        assert_eq!((sim.value(17), sim.is_pulled_up(17)), (up, up));
    }
    assert_eq!(outside::info(&sim, 17), r#""GPIO17" unused input active-high"#);
    assert_eq!(outside::set(&sim, &[(4, true)]), Ok(()));
    let held = outside::hold(&sim, &[(17, true), (18, false)]);
    assert!(sim.value(17) && !sim.value(18) && sim.is_output(17) && sim.is_output(18));
    assert!(outside::get(&sim, &[17]).is_err_and(|error| error.contains("busy")));
    drop(held);
    assert_eq!(sim.consumer(17), None);
}

#[test]
fn a_hog_keeps_its_line() {
    if rig::absent() {
        return;
    }
    let sim = pi4();
    assert_eq!(sim.consumer(42).as_deref(), Some("status-led"));
    assert!(sim.value(42) && sim.is_output(42));
    assert!(outside::set(&sim, &[(42, false)]).is_err_and(|error| error.contains("busy")));
}

#[test]
fn edges_are_seen_and_none_is_invented() {
    if rig::absent() {
        return;
    }
    let sim = pi4();
    let monitor = Monitor::start(&sim, &[17, 27]);
    let mut waits = Vec::new();
    for round in 0..40 {
        let (line, up) = (if round % 4 < 2 { 17 } else { 27 }, round % 2 == 0);
        let begun = Instant::now();
        sim.pull(line, up);
        let seen = monitor.next();
        waits.push(begun.elapsed());
        assert_eq!((seen.line, seen.rising), (line, up), "round {round}");
    }
    assert_eq!(monitor.within(Duration::from_millis(20)), None);
    waits.sort();
    let _ = writeln!(std::io::stdout(), "edge to gpiomon's line: median {:?}, longest {:?}", waits[20], waits[39]);
}

#[test]
fn lines_are_exported_through_sysfs() {
    if rig::absent() {
        return;
    }
    let sim = pi4();
    assert_eq!(read(&sim.sysfs_chip().join("label")), "pinctrl-bcm2711");
    let line = sim.sysfs_line(17);
    fs::write("/sys/class/gpio/export", (sim.base + 17).to_string()).expect("exported");
    assert_eq!(sim.consumer(17).as_deref(), Some("sysfs"));
    assert!(line.join("edge").exists(), "a line without an interrupt");
    fs::write(line.join("direction"), "high").expect("an output");
    assert!(sim.value(17));
    fs::write("/sys/class/gpio/unexport", (sim.base + 17).to_string()).expect("unexported");
    assert!(!line.exists());
}

#[test]
fn a_chip_goes_while_somebody_watches_it() {
    if rig::absent() {
        return;
    }
    let sim = pi4();
    let chip = sim.chip.clone();
    let _monitor = Monitor::start(&sim, &[17]);
    sim.unplug();
    assert!(!chip.exists());
}

#[test]
fn the_daemon_runs_in_here_too() {
    if rig::absent() {
        return;
    }
    let daemon = Daemon::start(&[]);
    let answer = daemon.ws("/").ask(r#"{"action":"READ_MEMORY"}"#);
    assert_eq!(answer["success"], true, "{answer}");
}

#[test]
fn the_daemon_reads_the_doubles() {
    if rig::absent() {
        return;
    }
    let (thermal, vcio) = (Thermal::start(), Vcio::start());
    thermal.set(61_500);
    vcio.say(r#"{"throttled": "0x50000"}"#);
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let answer = ws.ask(r#"{"action":"READ_TEMPERATURE"}"#).to_string();
    assert!(answer.contains("61.5"), "{answer}");
    let answer = ws.ask(r#"{"action":"READ_THROTTLE"}"#);
    assert_eq!(answer["success"], true, "{answer}");
    vcio.say(r#"{"errno": 5}"#);
    // Within telemetry.max_age the first reading is still told.
    rig::wait_until("the mailbox's error arrives", || ws.ask(r#"{"action":"READ_THROTTLE"}"#)["success"] == false);
}
