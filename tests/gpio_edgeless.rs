//! Lines without interrupts: held and read all the same, said to report no edges, once.
//!
//! A file of its own, because it uses up the interrupts that all simulated chips of a kernel share.

mod common;
mod rig;

use std::process::{Command, Stdio};

use common::{Daemon, TempDir, pinwire};
use rig::{Sim, wait_until};
use serde_json::{Value, json};

/// More chips than the rig's kernel has interrupts for; a line keeps its interrupt as long as its chip lives.
fn all_interrupts() -> Vec<Sim> {
    const LINES: u32 = 64;
    let chips: Vec<Sim> = (0..6).map(|number| Sim::with(&format!("hungry-{number}"), LINES).live()).collect();
    for sim in &chips {
        let mut command = Command::new("gpiomon");
        command.arg(&sim.chip_name).args((0..LINES).map(|line| line.to_string()));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        // The one for which there are not enough ends by itself.
        wait_until("gpiomon has the lines or has failed", || {
            let ended = child.try_wait().expect("its status").is_some();
            ended || sim.consumer(LINES - 1).as_deref() == Some("gpiomon")
        });
        let _ = child.kill();
        let _ = child.wait();
    }
    chips
}

#[test]
fn a_line_without_an_interrupt_is_held_without_edges() {
    if rig::absent() {
        return;
    }
    let _chips = all_interrupts();
    let sim = Sim::with("edgeless", 28).live();
    let dir = TempDir::new();
    let text = "[gpio]\nchip = \"edgeless\"\n[gpio.pins]\nbell = { pin = 6, mode = \"input\", debounce = \"5ms\" }\n";
    let config = dir.file("pinwire.toml", text);
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "cdev", "--config"]).arg(config);
    let daemon = Daemon::launch(dir, command);
    let mut ws = daemon.ws("/");
    let mut update = |pins: Value| {
        let answer = ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string());
        assert_eq!(answer["success"], true, "{answer}");
    };
    update(json!({"GPIO4": {"io": "INPUT", "pull": "UP"}, "GPIO5": {"io": "OUTPUT", "state": 1}}));
    assert_eq!(sim.consumer(4).as_deref(), Some("pinwire"));
    assert!(sim.is_pulled_up(4) && sim.value(5) && sim.is_output(5));
    update(json!({"GPIO4": {"io": "INPUT", "pull": "DOWN"}}));
    assert!(!sim.is_pulled_up(4));
    let request = json!({"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": ["GPIO4", "GPIO6"]}}).to_string();
    assert_eq!(ws.ask(&request)["data"]["GPIO4"]["state"], 0.0);
    sim.pull(6, true);
    assert_eq!(ws.ask(&request)["data"]["GPIO6"]["state"], 1.0, "it is read as it is");
    let log = daemon.log();
    for line in ["GPIO4", "GPIO6"] {
        let said = format!("{line} reports no edges: the kernel refuses edge detection on it");
        assert_eq!(log.matches(&said).count(), 1, "{log}");
    }
    assert!(!log.contains("GPIO5 reports"), "{log}");
}
