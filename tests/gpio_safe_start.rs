//! Outputs from their first moment on, lines that somebody else holds then, and what `pinwire safe` does for a daemon
//! that was killed: every level on the way as the kernel traced it.

mod common;
mod rig;

use common::Daemon;
use rig::bench::{Bench, drive, line, on_both, refused};
use rig::outside::{self, Monitor};
use rig::trace::{Trace, Wire};
use rig::{bench::drive_params, read};
use serde_json::json;

use Wire::{High, Input, Low};

/// A daemon that is killed rather than ended.
fn kill(mut daemon: Daemon) {
    daemon.signal("KILL");
    assert!(!daemon.wait().success());
}

#[test]
fn a_first_level_is_there_with_the_first_call() {
    if rig::absent() {
        return;
    }
    // The key, the pull, active_low, and what becomes of the wire from the start to the end.
    let table: [(&str, bool, bool, &[Wire]); 9] = [
        ("low", false, false, &[Low]),
        ("low", true, false, &[Low]),
        ("high", false, false, &[High, Low]),
        ("high", true, false, &[High, Low]),
        ("high", false, true, &[Low, High]),
        ("low", true, true, &[High]),
        ("as-is", false, false, &[Low]),
        ("as-is", true, false, &[High, Low]),
        ("as-is", true, true, &[High]),
    ];
    on_both(|bench| {
        for (initial, pulled, active_low, wires) in table {
            bench.sim.pull(17, pulled);
            // A simulated line that was let go stays an output.
            assert_eq!(outside::get(&bench.sim, &[17]), Ok(vec![pulled]));
            let trace = Trace::start(&bench.sim, &[17]);
            let mut daemon = bench.serve(&format!(
                "[gpio.pins.lamp]\npin = 17\nmode = \"output\"\ninitial = \"{initial}\"\nactive_low = {active_low}\n"
            ));
            let what = format!("{} initial {initial}, pull {pulled}, active_low {active_low}", bench.backend);
            let seen = trace.wires(17);
            assert_eq!(seen, wires[..1], "{what}: at start");
            assert_eq!(bench.sim.value(17), seen[0] == High, "{what}: the wire");
            let on = (seen[0] == High) != active_low;
            assert_eq!(line(&mut daemon.ws("/"), "lamp")["state"], json!(f64::from(u8::from(on))), "{what}");
            assert!(daemon.stop().success());
            assert_eq!(trace.wires(17), wires, "{what}: to the end");
            assert_eq!(bench.sim.value(17), pulled, "{what}: let go of, it follows its pull");
        }
    });
}

/// What another program has made an output stays as it is; only sysfs keeps such a line for whoever comes next.
#[test]
fn a_level_that_was_driven_before_is_kept_without_a_gap() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        if !bench.is_sysfs() {
            return;
        }
        for driven in ["high", "low"] {
            let (sim, number) = (&bench.sim, (bench.sim.base + 17).to_string());
            std::fs::write("/sys/class/gpio/export", &number).expect("exported");
            std::fs::write(sim.sysfs_line(17).join("direction"), driven).expect("an output");
            let trace = Trace::start(sim, &[17]);
            let mut daemon = bench.serve("[gpio.pins.lamp]\npin = 17\nmode = \"output\"\nsafe = \"hold\"\n");
            assert_eq!(line(&mut daemon.ws("/"), "lamp")["state"], json!(if driven == "high" { 1.0 } else { 0.0 }));
            assert!(daemon.stop().success());
            assert_eq!((trace.wires(17), sim.value(17)), (vec![], driven == "high"), "nothing was written");
            assert_eq!(read(&sim.sysfs_line(17).join("direction")), "out", "as it was found");
            std::fs::write("/sys/class/gpio/unexport", &number).expect("unexported");
        }
    });
}

#[test]
fn a_start_with_a_line_that_is_held_serves_the_others_and_says_who_has_it() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let held = outside::hold(&bench.sim, &[(17, true)]);
        let trace = Trace::start(&bench.sim, &[17, 27]);
        let line = |name, pin| format!("{name} = {{ pin = {pin}, mode = \"output\", initial = \"high\" }}\n");
        let daemon = bench.serve(&format!("[gpio.pins]\n{}{}", line("taken", 17), line("free", 27)));
        daemon.wait_for_log("taken could not be set up");
        assert!(daemon.log().contains("line 17 is held by 'gpioset'"), "{}", daemon.log());
        assert_eq!((trace.wires(17), trace.wires(27)), (vec![], vec![High]));
        let mut ws = daemon.ws("/");
        let why = refused(&mut ws, "UPDATE_PIN_CONFIGURATIONS", drive_params("taken", false));
        assert!(why.contains("line 17 is held by 'gpioset'"), "{why}");
        drive(&mut ws, "free", false);
        drop(held);
        // Free at last, it is a line like any other.
        drive(&mut ws, "taken", true);
        assert_eq!((trace.wires(17), trace.wires(27)), (vec![High], vec![High, Low]));
    });
}

const SAFE: &str = r#"
[gpio.pins]
low = { pin = 17, mode = "output", initial = "high", safe = "low" }
high = { pin = 27, mode = "output", initial = "low", safe = "high" }
input = { pin = 22, mode = "output", initial = "high", safe = "input" }
hold = { pin = 23, mode = "output", initial = "high", safe = "hold" }
inverted = { pin = 24, mode = "output", active_low = true, initial = "high", safe = "low" }
button = { pin = 26, mode = "input" }
"#;

const LINES: [u32; 6] = [17, 27, 22, 23, 24, 26];

fn safe(bench: &Bench, config: &str) -> (Option<i32>, String, String) {
    let output = bench.safe(config);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn after_a_kill_the_configured_states_are_driven_without_a_daemon() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let daemon = bench.serve(SAFE);
        let trace = Trace::start(&bench.sim, &LINES);
        kill(daemon);
        assert!(LINES.iter().all(|line| trace.wires(*line).is_empty()), "the kernel drives nothing by itself");
        let (status, said, complaint) = safe(bench, SAFE);
        assert_eq!((status, complaint.as_str()), (Some(0), ""), "{said}");
        for told in ["low: low", "high: high", "input: input", "hold: hold", "inverted: low"] {
            assert!(said.lines().any(|line| line == told), "{told} in\n{said}");
        }
        let expected: [&[Wire]; 6] = [&[Low], &[High], &[Input], &[], &[High], &[]];
        for (line, wires) in LINES.into_iter().zip(expected) {
            assert_eq!(trace.wires(line), wires, "{}: line {line}", bench.backend);
        }
        if bench.is_sysfs() {
            // Lines that were found exported stay so, driven: a state that lasts.
            assert_eq!([17, 27, 23, 24].map(|line| bench.sim.value(line)), [false, true, true, true]);
        } else {
            let monitor = Monitor::start(&bench.sim, &LINES);
            assert_eq!(outside::get(&bench.sim, &[1]), Ok(vec![false]));
            drop(monitor);
        }
        for line in LINES.into_iter().filter(|line| bench.sim.sysfs_line(*line).exists()) {
            std::fs::write("/sys/class/gpio/unexport", (bench.sim.base + line).to_string()).expect("unexported");
        }
    });
}

/// The character device gives a line to one process only; sysfs gives it to everybody.
#[test]
fn beside_a_running_daemon_only_sysfs_lets_the_states_be_driven() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let daemon = bench.serve(SAFE);
        let trace = Trace::start(&bench.sim, &LINES);
        let (status, said, complaint) = safe(bench, SAFE);
        if bench.is_sysfs() {
            assert_eq!((status, complaint.as_str()), (Some(0), ""), "{said}");
            assert_eq!((trace.wires(17), trace.wires(27)), (vec![Low], vec![High]));
            // The daemon is not told, and its next write finds the line as it is.
            let mut ws = daemon.ws("/");
            drive(&mut ws, "low", true);
            drive(&mut ws, "input", true);
            assert_eq!((trace.wires(17), trace.wires(22)), (vec![Low, High], vec![Input, High]));
        } else {
            assert_eq!(status, Some(1), "{said}");
            for line in ["low", "high", "input", "inverted"] {
                let held = format!("{line} is held by a running daemon");
                assert!(complaint.contains(&held), "{line}: {complaint}");
            }
            assert!(LINES.iter().all(|line| trace.wires(*line).is_empty()), "nothing has changed");
        }
    });
}
