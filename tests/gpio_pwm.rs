//! PWM through the daemon by the kernel's own PWM core: what is made, what is refused, and where signals end.

mod common;
mod rig;

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Daemon, TempDir, kill, pinwire, run};
use rig::doubles::{Channel, PwmChip};
use rig::requests::{ask, change, line, output, set, told, update};
use rig::{Sim, outside, read, wait_until};
use serde_json::json;

/// There is one PWM chip for all tests.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Raspberry Pi 5's, with a channel for each of its four lines.
const PI5: &str = "name=1f00098000.pwm channels=4";

/// Channels by the lines of a Pi 5.
const LINES: [(u32, u32); 4] = [(12, 0), (13, 1), (18, 2), (19, 3)];

fn config(label: &str, more: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let path = dir.file("pinwire.toml", &format!("[gpio]\nbackend = \"cdev\"\nchip = \"{label}\"\n{more}"));
    (dir, path)
}

/// The daemon on the chip with this label, which no other test has.
fn daemon(label: &str, more: &str) -> Daemon {
    let (dir, path) = config(label, more);
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--debug-actions", "--config"]).arg(path);
    Daemon::launch(dir, command)
}

/// A channel that somebody has exported and that is running.
fn running(period: u64, high: u64) -> Channel {
    Channel { exported: true, on: true, period, high }
}

#[track_caller]
fn assert_untouched(sim: &Sim, pin: u32) {
    assert_eq!(outside::info(sim, pin), "unnamed unused input active-high");
}

#[test]
fn a_block_makes_the_signal_and_its_line_is_never_taken() {
    if rig::absent() {
        return;
    }
    let (_alone, block) = (alone(), PwmChip::start(""));
    let sim = Sim::with("pwm-block", 28).live();
    let daemon = daemon("pwm-block", "");
    let (mut ws, mut events) = (daemon.ws("/"), daemon.ws("/ws"));
    line(&mut ws, 18);
    assert!(!block.channel(0).exported, "looking exports nothing");

    let made = set(&mut ws, 18, 1000.0, 0.25);
    assert_eq!(made, Ok(json!({"frequency": 1000.0, "duty": 0.25, "source": "hardware"})));
    assert_eq!(block.channel(0), running(1_000_000, 250_000));
    let files = ["period", "duty_cycle", "enable"].map(|name| read(&block.file(0, name)));
    assert_eq!(files, ["1000000", "250000", "1"]);
    assert_eq!(change(&mut events), told(18, "high", 25));
    let report = line(&mut ws, 18);
    assert_eq!([&report["io"], &report["state"], &report["held"]], [&json!("OUTPUT"), &json!(0.25), &json!(false)]);
    assert_eq!(report["pwm"], json!({"frequency": 1000.0, "duty": 0.25, "source": "hardware"}));

    // Up, down, full, nothing: each is refused by the kernel where the order of the writes is wrong.
    for (frequency, duty) in [(50.0, 1.0), (100_000.0, 1.0), (1.0, 0.0), (1e6, 1.0), (440.0, 0.25)] {
        let made = set(&mut ws, 18, frequency, duty).expect("within the chip's limits");
        assert!((made["frequency"].as_f64().expect("hertz") / frequency - 1.0).abs() < 1e-6, "{made}");
        let period = (1e9 / frequency).round();
        assert_eq!(block.channel(0), running(period as u64, (period * duty) as u64));
    }
    // Somebody else may set the channel too; what is told is what the kernel has.
    fs::write(block.file(0, "duty_cycle"), "1136364").expect("half of it");
    assert_eq!(line(&mut ws, 18)["state"], 0.5);

    let refused = update(&mut ws, json!({"18": {"io": "INPUT", "pull": "UP"}}));
    let why = "a PWM block drives it, and could not have it back without a restart of the board";
    assert_eq!(refused, Err(format!("Failed to update pin `GPIO18`: {why}")));
    let refused = ask(&mut ws, "PULSE_PIN", json!({"pin": 18, "duration": "10ms"}));
    let why = "a PWM block drives it; sequences need a plain output";
    assert_eq!(refused, Err(format!("Failed to update pin `GPIO18`: {why}")));
    update(&mut ws, json!({"18": output(1.0)})).expect("always on is a signal too");
    assert_eq!(block.channel(0), running(2_272_727, 2_272_727));
    update(&mut ws, json!({"18": output(0.0)})).expect("so is always off");
    assert_eq!(block.channel(0), running(2_272_727, 0));
    assert_untouched(&sim, 18);
    drop(daemon);
    assert_eq!(block.channel(0), Channel { exported: false, on: false, ..running(2_272_727, 0) });
    assert_untouched(&sim, 18);
}

#[test]
fn a_line_configured_for_pwm_takes_fractions_and_active_low() {
    if rig::absent() {
        return;
    }
    let (_alone, block) = (alone(), PwmChip::start(""));
    let sim = Sim::with("pwm-mode", 28).live();
    let lines = "[gpio.pins.lamp]\npin = 18\nmode = \"pwm\"\nfrequency = 200\nduty = 0.1\n\
                 [gpio.pins.fan]\npin = 13\nmode = \"pwm\"\nfrequency = 1000\nactive_low = true\n";
    let daemon = daemon("pwm-mode", lines);
    assert_eq!(block.channel(0), running(5_000_000, 500_000), "from the start");
    assert_eq!(block.channel(1), running(1_000_000, 1_000_000), "off is high");
    let (mut ws, mut events) = (daemon.ws("/"), daemon.ws("/ws"));
    update(&mut ws, json!({"lamp": output(0.75), "fan": output(0.3)})).expect("two duties");
    assert_eq!(block.channel(0), running(5_000_000, 3_750_000));
    assert_eq!(block.channel(1), running(1_000_000, 700_000));
    let mut changes = [change(&mut events), change(&mut events)];
    changes.sort();
    assert_eq!(changes, [told(13, "high", 30), told(18, "high", 75)]);
    assert_eq!([line(&mut ws, 18)["state"].clone(), line(&mut ws, 13)["state"].clone()], [json!(0.75), json!(0.3)]);
    let read = ask(&mut ws, "READ_PIN_CONFIGURATIONS", json!({"pins": ["GPIO13"]})).expect("a line");
    assert_eq!(read["GPIO13"]["state"], 0.3);
    fs::write(block.file(1, "duty_cycle"), "0").expect("on");
    assert_eq!(line(&mut ws, 13)["state"], 1.0);
    assert_untouched(&sim, 18);
    assert_untouched(&sim, 13);
    drop(daemon);
    assert!(!block.channel(0).on);
    assert_eq!(block.channel(1), running(1_000_000, 1_000_000), "off, for which somebody has to drive it high");
}

#[test]
fn what_the_block_cannot_make_is_refused_and_changes_nothing() {
    if rig::absent() {
        return;
    }
    let (_alone, block) = (alone(), PwmChip::start("busy=1"));
    let sim = Sim::with("pwm-limits", 28).live();
    let lines = "[gpio.pins.lamp]\npin = 12\nmode = \"pwm\"\nduty = 0.5\n\
                 [gpio.pins.fan]\npin = 13\nmode = \"pwm\"\n";
    let daemon = daemon("pwm-limits", lines);
    daemon.wait_for_log("fan could not be set up: ");
    let (mut ws, mut events) = (daemon.ws("/"), daemon.ws("/ws"));
    let before = block.channel(0);
    assert_eq!(before, running(10_000_000, 5_000_000));
    for wrong in [0.5, 2e6, 5e7] {
        let text = "Received message with invalid 'frequency' field: the PWM block cannot make";
        assert_eq!(set(&mut ws, 12, wrong, 0.25), Err(format!("{text} {wrong} Hz on GPIO12")));
        assert_eq!(block.channel(0), before);
    }
    let busy = set(&mut ws, 13, 100.0, 0.5).expect_err("the kernel itself uses it");
    assert!(busy.contains("PWM channel fe20c000.pwm:1 is in use by a driver"), "{busy}");
    // All or nothing: the first is not changed for the second's sake.
    let busy = update(&mut ws, json!({"lamp": output(0.9), "fan": output(0.1)})).expect_err("one of them is in use");
    assert!(busy.contains("`GPIO13`") && busy.contains("in use by a driver"), "{busy}");
    assert_eq!(block.channel(0), before);
    // Neither where it is a plain line that cannot be had.
    let held = outside::hold(&sim, &[(20, false)]);
    let busy = update(&mut ws, json!({"lamp": output(0.9), "20": output(1.0)})).expect_err("held");
    assert!(busy.contains("line 20 is held by 'gpioset'"), "{busy}");
    drop(held);
    assert_eq!(block.channel(0), before);
    assert_eq!(line(&mut ws, 12)["state"], 0.5);
    assert_untouched(&sim, 12);
    assert_untouched(&sim, 13);
    // What has been tried and undone is told as such, and the last word is what is.
    set(&mut ws, 12, 100.0, 0.75).expect("possible");
    let mut last = change(&mut events);
    while last.2 != Some(75) {
        assert_eq!(last.0, 12, "no other line has changed");
        last = change(&mut events);
    }
}

#[test]
fn a_new_signal_that_has_to_be_undone_leaves_no_trace() {
    if rig::absent() {
        return;
    }
    let (_alone, block) = (alone(), PwmChip::start("busy=1"));
    let sim = Sim::with("pwm-undo", 28).live();
    let lines = "[gpio.pins.dimmer]\npin = 5\nmode = \"pwm\"\n[gpio.pins.fan]\npin = 19\nmode = \"pwm\"\n";
    let daemon = daemon("pwm-undo", lines);
    daemon.wait_for_log("fan could not be set up: ");
    let mut ws = daemon.ws("/");
    let before = line(&mut ws, 5)["pwm"].clone();
    assert_eq!(before, json!({"frequency": 100.0, "duty": 0.0, "source": "software"}));
    update(&mut ws, json!({"dimmer": output(0.5), "fan": output(0.5)})).expect_err("one of them is in use");
    assert_eq!(line(&mut ws, 5)["pwm"], before);
    assert_eq!(outside::info(&sim, 5), r#"unnamed "pinwire" output active-high [used]"#);
    assert!(!sim.value(5) && !block.channel(0).exported);
}

#[test]
fn two_lines_of_one_channel_have_one_signal_of_the_block() {
    if rig::absent() {
        return;
    }
    let (_alone, block) = (alone(), PwmChip::start(""));
    let sim = Sim::with("pwm-shared", 28).live();
    let daemon = daemon("pwm-shared", "");
    let mut ws = daemon.ws("/");
    assert_eq!(set(&mut ws, 18, 1000.0, 0.5).expect("a block")["source"], "hardware");
    let why = set(&mut ws, 12, 5000.0, 0.5).expect_err("more than software makes");
    assert!(why.starts_with("Received message with invalid 'frequency' field: 5000 Hz is not from"), "{why}");
    assert!(why.contains("gpio.software_pwm_limit") && why.contains("at work for GPIO18"), "{why}");
    assert_untouched(&sim, 12);
    let made = set(&mut ws, 12, 50.0, 0.5);
    assert_eq!(made, Ok(json!({"frequency": 50.0, "duty": 0.5, "source": "software"})));
    daemon.wait_for_log("GPIO12: PWM by software, no hardware: its PWM channel is at work for GPIO18");
    assert_eq!(block.channel(0), running(1_000_000, 500_000));
    assert_eq!(sim.consumer(12).as_deref(), Some("pinwire"));
    assert_untouched(&sim, 18);
    // A line that is a GPIO already stays one.
    update(&mut ws, json!({"19": output(0.0)})).expect("a plain output");
    assert_eq!(set(&mut ws, 19, 100.0, 0.5).expect("by software")["source"], "software");
    assert!(!block.channel(1).exported);
}

#[test]
fn a_line_that_somebody_else_holds_gets_no_signal() {
    if rig::absent() {
        return;
    }
    let (_alone, block) = (alone(), PwmChip::start(""));
    let sim = Sim::with("pwm-held", 28).live();
    let daemon = daemon("pwm-held", "");
    let mut ws = daemon.ws("/");
    let held = outside::hold(&sim, &[(18, true)]);
    let why = set(&mut ws, 18, 100.0, 0.5).expect_err("nothing would come out of it");
    assert_eq!(why, "Failed to update pin `GPIO18`: line 18 is held by 'gpioset'; end that first");
    assert!(!block.channel(0).exported);
    drop(held);
}

/// The four safe states on a Pi 5's four lines, at a duty of 25 % of 1 ms.
fn safe_lines(active_low: bool) -> String {
    let line = |(pin, safe): (u32, &str)| {
        format!(
            "[gpio.pins.{safe}]\npin = {pin}\nmode = \"pwm\"\nfrequency = 1000\nduty = 0.25\nsafe = \"{safe}\"\n\
             active_low = {active_low}\n"
        )
    };
    [(12, "low"), (13, "high"), (18, "input"), (19, "hold")].map(line).concat()
}

/// What the wire has to be then: the share of a millisecond that each line is high. What stands still may be driven or
/// stopped.
fn safe_wires(active_low: bool) -> [u64; 4] {
    if active_low { [1_000_000, 0, 1_000_000, 750_000] } else { [0, 1_000_000, 0, 250_000] }
}

fn wires(block: &PwmChip) -> [u64; 4] {
    LINES.map(|(_, channel)| {
        let Channel { on, period, high, .. } = block.channel(channel);
        assert!(!on || period == 1_000_000, "channel {channel}: {period}");
        if on { high } else { 0 }
    })
}

#[test]
fn a_stop_a_crash_and_a_lease_that_ends_drive_the_safe_states() {
    if rig::absent() {
        return;
    }
    let _alone = alone();
    for active_low in [false, true] {
        let block = PwmChip::start(PI5);
        let label = format!("pwm-safe-{active_low}");
        let sim = Sim::with(&label, 28).live();
        let duty = if active_low { 750_000 } else { 250_000 };
        let is_safe = |cause: &str| {
            wait_until(&format!("safe after {cause}"), || wires(&block) == safe_wires(active_low));
            for (pin, _) in LINES {
                assert_untouched(&sim, pin);
            }
        };
        let mut daemon = daemon(&label, &safe_lines(active_low));
        let (mut ws, mut events) = (daemon.ws("/"), daemon.ws("/ws"));
        assert_eq!(wires(&block), [duty; 4]);

        ws.send(r#"{"action": "DEBUG_PANIC", "params": {"thread": "connection"}}"#);
        is_safe("a crash");
        let mut changes = [change(&mut events), change(&mut events), change(&mut events)];
        changes.sort();
        assert_eq!(changes, [told(12, "low", 0), told(13, "high", 100), told(18, "low", 0)]);
        let mut ws = daemon.ws("/");
        let states = LINES.map(|(pin, _)| line(&mut ws, pin)["state"].clone());
        assert_eq!(states, [0.0, 1.0, 0.0, 0.25].map(|state| json!(state)));

        let lease = json!({"pins": LINES.map(|(pin, _)| pin), "lease": "300ms", "grace": "0s"});
        ask(&mut ws, "LEASE_PINS", lease).expect("a lease");
        for (pin, _) in LINES {
            set(&mut ws, pin, 1000.0, 0.25).expect("the holder may");
        }
        assert_eq!(wires(&block), [duty; 4]);
        events.until(|event| event["type"] == "gpio.lease.expired");
        is_safe("a lease");

        for (pin, _) in LINES {
            set(&mut ws, pin, 1000.0, 0.25).expect("back from there");
        }
        assert_eq!(wires(&block), [duty; 4]);
        assert!(daemon.stop().success());
        is_safe("SIGTERM");
    }
}

#[test]
fn after_a_kill_the_safe_command_stops_the_signals() {
    if rig::absent() {
        return;
    }
    let _alone = alone();
    for active_low in [false, true] {
        let block = PwmChip::start(PI5);
        let label = format!("pwm-kill-{active_low}");
        let sim = Sim::with(&label, 28).live();
        let mut daemon = daemon(&label, &safe_lines(active_low));
        let before = wires(&block);
        kill(daemon.pid(), "KILL");
        daemon.wait();
        assert_eq!(wires(&block), before, "nobody is left to stop them");
        let (_dir, path) = config(&label, &safe_lines(active_low));
        let output = run(pinwire().arg("safe").arg("--config").arg(path));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(["low: low", "high: high", "input: input", "hold: hold"].iter().all(|line| text.contains(line)));
        assert_eq!(wires(&block), safe_wires(active_low));
        for (pin, _) in LINES {
            // A line that was a GPIO for a moment would be an output now.
            assert_untouched(&sim, pin);
        }
    }
}
