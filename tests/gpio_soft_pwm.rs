//! PWM made by software through the daemon, as the kernel is told each level.

mod common;
mod rig;

use common::{Daemon, TempDir, pinwire};
use rig::requests::{change, line, output, set, told, update};
use rig::trace::{Trace, Wire};
use rig::{Sim, outside, wait_until};
use serde_json::{Value, json};

/// When the line became high or low, in seconds.
fn levels(trace: &Trace) -> Vec<(f64, bool)> {
    let driven = trace.changes(17).into_iter().filter(|change| change.wire != Wire::Input);
    driven.map(|change| (change.at.as_secs_f64(), change.wire == Wire::High)).collect()
}

#[test]
fn software_makes_the_duty_it_says_and_ends_low() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("pwm-soft", 28).live();
    let lines = "[gpio.pins.dimmer]\npin = 17\nsafe = \"hold\"\n[gpio.pins.glow]\npin = 22\nmode = \"pwm\"\n";
    let dir = TempDir::new();
    let config = dir.file("pinwire.toml", &format!("[gpio]\nbackend = \"cdev\"\nchip = \"pwm-soft\"\n{lines}"));
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(config);
    let mut daemon = Daemon::launch(dir, command);
    let (mut ws, mut events) = (daemon.ws("/"), daemon.ws("/ws"));
    let why = set(&mut ws, 17, 1500.0, 0.5).expect_err("too fast for software");
    let field = "Received message with invalid 'frequency' field: 1500 Hz is not from 0.1 to ";
    assert!(why.starts_with(field), "{why}");
    assert!(why.contains("(gpio.software_pwm_limit)") && why.contains("no PWM block reaches GPIO17"), "{why}");
    assert_eq!(outside::info(&sim, 17), "unnamed unused input active-high");

    let trace = Trace::start(&sim, &[17]);
    for duty in [0.25, 0.7] {
        let seen = levels(&trace).len();
        let made = set(&mut ws, 17, 50.0, duty);
        assert_eq!(made, Ok(json!({"frequency": 50.0, "duty": duty, "source": "software"})));
        wait_until("fifty periods", || levels(&trace).len() > seen + 101);
        let levels = levels(&trace).split_off(seen + 1);
        let span = levels[levels.len() - 1].0 - levels[0].0;
        let high: f64 = levels.windows(2).filter(|pair| pair[0].1).map(|pair| pair[1].0 - pair[0].0).sum();
        let rises = levels.iter().filter(|level| level.1).count();
        assert!((high / span - duty).abs() < 0.1, "{high} of {span} s, wanted {duty}");
        assert!((rises as f64 / span / 50.0 - 1.0).abs() < 0.2, "{rises} in {span} s");
    }
    assert_eq!([change(&mut events), change(&mut events)], [told(17, "high", 25), told(17, "high", 70)]);
    let report = line(&mut ws, 17);
    assert_eq!((&report["state"], &report["held"]), (&json!(0.7), &json!(true)));
    assert_eq!(report["pwm"], json!({"frequency": 50.0, "duty": 0.7, "source": "software"}));

    // A plain level ends it; so does an input.
    update(&mut ws, json!({"dimmer": output(1.0), "glow": output(0.4)})).expect("a level, and a duty");
    assert_eq!(line(&mut ws, 17)["pwm"], Value::Null);
    assert_eq!(line(&mut ws, 22)["pwm"]["duty"], 0.4);
    let seen = levels(&trace).len();
    update(&mut ws, json!({"glow": {"io": "INPUT", "pull": "UP"}})).expect("it is a GPIO");
    assert_eq!(line(&mut ws, 22)["pwm"], Value::Null);
    assert!(sim.value(17));
    assert_eq!(levels(&trace).len(), seen, "no toggle comes after it");

    set(&mut ws, 17, 20.0, 0.9).expect("once more");
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let levels = levels(&trace);
    assert_eq!(levels.last().map(|last| last.1), Some(false), "a signal that has ended is low");
    assert!(!sim.value(17));
}
