//! What is set on a line, as the kernel's own tracing has it.

use std::fs;
use std::path::PathBuf;

use super::{Sim, read};

/// What the kernel is told of one line's level, call by call.
pub struct Trace(PathBuf);

impl Trace {
    /// Begins to listen.
    pub fn start(sim: &Sim, pin: u32) -> Trace {
        let trace = Trace(PathBuf::from(format!("/sys/kernel/tracing/instances/{}-{pin}", sim.chip_name)));
        fs::create_dir(&trace.0).expect("an instance");
        let event = trace.0.join("events/gpio/gpio_value");
        fs::write(event.join("filter"), format!("gpio == {} && get == 0", sim.base + pin)).expect("a filter");
        fs::write(event.join("enable"), "1").expect("it is on");
        trace
    }

    /// Times in seconds and levels, as they were set.
    pub fn levels(&self) -> Vec<(f64, bool)> {
        let text = read(&self.0.join("trace"));
        let level = |line: &str| {
            let (head, rest) = line.split_once(": gpio_value: ")?;
            let at = head.rsplit(' ').next()?.parse().ok()?;
            Some((at, rest.trim_end().ends_with('1')))
        };
        text.lines().filter(|line| !line.starts_with('#')).filter_map(level).collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
